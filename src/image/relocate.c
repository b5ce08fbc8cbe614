/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Batches of cluster moves; relocate.h says what they promise. */
#include "image/relocate.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/math.h"
#include "image/alloc.h"

#define BOUNCE_BYTES (1u << 20)
#define TELL_BYTES (32ull << 20) /* copied between two progress calls */

int plk_batch_init(PlkBatch *b, PlkImage *img, const char *what, uint64_t total_bytes,
                   const PlkProgress *progress)
{
    *b = (PlkBatch){.img = img, .what = what, .progress = progress, .total = total_bytes};
    atomic_init(&b->method, PLK_COPY_CLONE);
    b->slots = plk_malloc(PLK_BATCH_PAGES * sizeof *b->slots);
    b->bounce = plk_malloc(BOUNCE_BYTES);
    if (b->slots && b->bounce)
        return 0;
    plk_batch_clear(b);
    return -ENOMEM;
}

void plk_batch_clear(PlkBatch *b)
{
    free(b->slots);
    free(b->bounce);
    b->slots = NULL;
    b->bounce = NULL;
}

int plk_batch_publish(PlkBatch *b)
{
    int r;

    if (b->n_pages == 0)
        return 0;
    r = plk_io_sync(b->img->io, PLK_POINT_DATA_SYNC);
    for (unsigned i = 0; r == 0 && i < b->n_pages; i++)
        r = plk_image_write_page(b->img, b->pages[i], b->slots[i]);
    if (r == 0)
        r = plk_io_sync(b->img->io, PLK_POINT_META_SYNC);
    b->n_pages = 0;
    b->done += b->waiting;
    b->waiting = 0;
    return r;
}

/* Also once at the end. */
static int tell(PlkBatch *b)
{
    const PlkProgress *p = b->progress;
    uint64_t moved = b->done + b->waiting;

    if (!p || (moved < b->told + TELL_BYTES && moved < b->total))
        return 0;
    b->told = moved;
    return p->update(p->arg, b->what, moved, b->total) ? -ECANCELED : 0;
}

int plk_batch_page(PlkBatch *b, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS], uint32_t **ret)
{
    int r;

    if (b->n_pages == PLK_BATCH_PAGES || b->waiting >= PLK_BATCH_BYTES) {
        r = plk_batch_publish(b);
        if (r < 0)
            return r;
    }
    b->pages[b->n_pages] = page;
    memcpy(b->slots[b->n_pages], slots, sizeof b->slots[0]);
    *ret = b->slots[b->n_pages++];
    return 0;
}

int plk_batch_move(PlkBatch *b, uint32_t *slot, uint32_t to)
{
    PlkImage *img = b->img;
    int r;

    assert(*slot != to && to >= img->first_cluster);
    r = plk_io_copy(img->io, plk_image_offset(img, to), img->io, plk_image_offset(img, *slot),
                    img->cluster_bytes, &b->method, b->bounce, BOUNCE_BYTES, PLK_POINT_DATA_COPY);
    if (r < 0)
        return r;
    b->waiting += img->cluster_bytes;
    *slot = to;
    return tell(b);
}

int plk_image_relearn(PlkImage *img)
{
    PlkAllocator *a = &img->alloc;
    uint64_t bytes;
    int r = plk_io_size(img->io, &bytes);

    if (r < 0) { /* nothing is known: it stays marked in use, and whoever opens it next looks for himself */
        atomic_store(&img->prepared, false);
        return r;
    }
    assert(a->pending.n == 0 && a->sealed.n == 0);
    /* Until the scan has succeeded, the whole file counts as named: closing must not cut moved clusters off.
     */
    a->next = a->end = plk_div_up(bytes, img->cluster_bytes);
    atomic_store(&img->file_clusters, a->end);
    free(a->free_bits);
    a->free_bits = NULL;
    a->window = a->n_free = a->cursor = 0;
    return plk_allocator_scan(img);
}

int plk_image_fail(const PlkImage *img, int neg_errno, const char *act, PlkError *err)
{
    if (img->damage.code != PLK_OK) {
        if (err)
            *err = img->damage;
        return -1;
    }
    return plk_fail_io(err, PLK_ERROR_WRITE, neg_errno, "cannot %s image '%s'", act, img->io->name);
}
