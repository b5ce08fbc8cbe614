/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Images that a good descriptor does not name. Most are what an operation left that was cut short: empty,
 * meant to go, or merged into the image below. What is none of that may be newer than the descriptor.
 */
#include "rescue/rescue.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"

#define SAMPLES 64 /* clusters that are compared */

typedef struct Sampling {
    PlkDisk *disk;
    PlkImage *img;
    uint64_t stride, at;
    void *a, *b;
    bool differs;
} Sampling;

/* Every so many clusters one is compared. Non-zero: one differs, or could not be read. */
static int sample_page(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Sampling *s = arg;
    uint32_t bytes = s->img->cluster_bytes;

    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++) {
        uint64_t cluster = (uint64_t)page * PLK_BAT_PAGE_SLOTS + i - PLK_BAT_FIRST_SLOT;

        if (slots[i] == PLK_SLOT_NONE || s->at++ % s->stride)
            continue;
        if ((cluster + 1) * bytes > plk_disk_size(s->disk) || slots[i] >= PLK_SLOT_BEYOND ||
            plk_disk_read(s->disk, s->a, bytes, cluster * bytes) < 0 ||
            plk_io_read(s->img->io, s->b, bytes, plk_image_offset(s->img, slots[i]), PLK_POINT_DATA_READ) <
                0 ||
            memcmp(s->a, s->b, bytes) != 0)
            return 1;
    }
    return 0;
}

static bool samples_agree(PlkRescue *r, const PlkRescueFile *orphan, PlkDisk *disk)
{
    plk_cleanup(plk_image_dropp) PlkImage *img = NULL;
    Sampling s = {.disk = disk, .stride = plk_div_up(orphan->clusters, SAMPLES)};
    PLK_FREE void *a = NULL, *b = NULL;
    PlkError why = {0};

    if (plk_chain_open_image(r->store->dir, orphan->name, 0, false, 0, &img, &why) < 0) {
        plk_rescue_note_words(r, &why);
        return false;
    }
    if (img->cluster_bytes != plk_disk_cluster(disk))
        return false;
    s.img = img;
    s.a = a = plk_malloc(img->cluster_bytes);
    s.b = b = plk_malloc(img->cluster_bytes);
    r->starved |= !a || !b;
    return a && b && plk_rescue_note(r, plk_image_walk_bat(img, sample_page, &s)) == 0;
}

/* Is all that the orphan holds in the disk as well? Then it was merged into it. */
static bool is_redundant(PlkRescue *r, const PlkDescriptor *desc, const PlkRescueFile *orphan)
{
    PlkDisk *disk = plk_rescue_open(r, desc);
    bool same = disk && samples_agree(r, orphan, disk);

    plk_disk_drop(disk);
    return same;
}

size_t plk_rescue_orphans(PlkRescue *r, const PlkDescriptor *desc, const char **says, const char *ret[],
                          size_t max)
{
    PLK_FREE bool *named = plk_rescue_mark_named(r, desc);
    size_t n = 0;

    for (size_t i = 0; named && i < r->n_files && n < max; i++) {
        const PlkRescueFile *f = &r->files[i];

        if (f->role != PLK_RESCUE_IMAGE || !plk_rescue_stem(f->name) || named[i])
            continue;
        if (f->clusters == 0)
            *says = plk_rescue_text(r, "'%s' is not described and holds nothing", f->name);
        else if (f->deserted)
            *says = plk_rescue_text(
                r, "the operation that '%s' belongs to said that it goes if it is cut short", f->name);
        else if (is_redundant(r, desc, f))
            *says = plk_rescue_text(r, "what '%s' holds is in the disk as well: it was merged", f->name);
        else
            ret[n++] = f->name;
    }
    return n;
}
