/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Another format for a disk of one image.
 *
 * To preallocated: missing clusters are added in place, an ordinary growth, and the descriptor says so last.
 * To and from raw: a new file is filled beside the old one, and the descriptor switches to it. Then the new
 * file takes over the old name, which other tools look for: it gets a second link, that link is renamed over
 * the old file, and the descriptor names it; at each step the descriptor names a complete image of its own
 * format.
 */
#include <ploopkit/create.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "change/fold.h"
#include "change/operation.h"
#include "disk/intent.h"
#include "image/relocate.h"

#define IMAGE_MODE 0600
#define BATCH_PAGES 256
#define ZERO_BYTES (1u << 20)
#define TELL_BYTES (64u << 20) /* between two looks at the cancel flag */

/* ---- to preallocated: fill the gaps ---- */

typedef struct Filling {
    PlkImage *img;
    bool zeros; /* write real ones */
    uint8_t *zero_buffer;
    uint32_t (*slots)[PLK_BAT_PAGE_SLOTS];
    uint32_t pages[BATCH_PAGES];
    size_t n;
    uint64_t untold; /* bytes filled since progress was told */
    const PlkProgress *progress;
} Filling;

static int tell(Filling *f, uint64_t slot)
{
    const PlkProgress *p = f->progress;
    uint64_t total = (uint64_t)plk_image_slots(f->img) << f->img->cluster_shift;
    uint64_t done = PLK_MIN(slot << f->img->cluster_shift, total);

    f->untold = 0;
    return p && p->update(p->arg, "preallocating", done, total) ? -ECANCELED : 0;
}

static int add_cluster(Filling *f, uint32_t *slot)
{
    uint64_t at;
    int r = plk_image_alloc_cluster(f->img, slot);

    if (r < 0 || !f->zeros)
        return r;
    at = plk_image_offset(f->img, *slot);
    for (uint32_t done = 0; r == 0 && done < f->img->cluster_bytes; done += ZERO_BYTES)
        r = plk_io_write(f->img->io, f->zero_buffer, PLK_MIN(ZERO_BYTES, f->img->cluster_bytes - done),
                         at + done, PLK_POINT_DATA_ZERO);
    return r;
}

static int fill_page(Filling *f, uint32_t page, uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    uint64_t first = (uint64_t)page * PLK_BAT_PAGE_SLOTS;
    uint64_t end = (uint64_t)plk_image_slots(f->img) + PLK_BAT_FIRST_SLOT;
    int r = 0;

    for (uint32_t i = page == 0 ? PLK_BAT_FIRST_SLOT : 0; r == 0 && i < PLK_BAT_PAGE_SLOTS && first + i < end;
         i++) {
        if (slots[i] != PLK_SLOT_NONE)
            continue;
        r = add_cluster(f, &slots[i]);
        f->untold += f->img->cluster_bytes;
        if (r == 0 && f->untold >= TELL_BYTES)
            r = tell(f, first + i);
    }
    return r;
}

static int publish_batch(Filling *f)
{
    int r = plk_io_sync(f->img->io, PLK_POINT_DATA_SYNC);

    for (size_t i = 0; r == 0 && i < f->n; i++)
        r = plk_image_write_page(f->img, f->pages[i], f->slots[i]);
    f->n = 0;
    return r < 0 ? r : plk_io_sync(f->img->io, PLK_POINT_META_SYNC);
}

static int fill_pages(Filling *f)
{
    uint32_t pages = plk_bat_page_count(plk_image_slots(f->img));
    int r = 0;

    for (uint32_t page = 0; r == 0 && page < pages; page++) {
        r = plk_image_read_page(f->img, page, f->slots[f->n]);
        if (r == 0)
            r = fill_page(f, page, f->slots[f->n]);
        f->pages[f->n++] = page;
        if (r == 0 && f->n == BATCH_PAGES)
            r = publish_batch(f);
        if (r == 0)
            r = tell(f, (uint64_t)(page + 1) * PLK_BAT_PAGE_SLOTS);
    }
    return r < 0 ? r : publish_batch(f);
}

/* Rather refused now than full half-way. */
static int check_space(PlkStore *store, const PlkImage *img, PlkError *err)
{
    uint64_t full = (uint64_t)img->first_cluster + plk_image_slots(img),
             have = atomic_load(&img->file_clusters), room;

    if (have >= full || plk_dir_free_space(store->dir, &room) < 0 ||
        (full - have) << img->cluster_shift <= room)
        return 0;
    return plk_fail(err, PLK_ERROR_NO_SPACE, "image '%s': preallocating needs %llu more bytes, %llu are free",
                    img->io->name, (unsigned long long)((full - have) << img->cluster_shift),
                    (unsigned long long)room);
}

static int fill_image(PlkStore *store, bool zeros, const PlkProgress *progress, PlkError *err)
{
    PLK_FREE uint8_t *zero_buffer = plk_calloc(1, ZERO_BYTES);
    PLK_FREE void *slots = plk_calloc(BATCH_PAGES, PLK_BAT_PAGE_BYTES);
    Filling f = {.zeros = zeros, .zero_buffer = zero_buffer, .slots = slots, .progress = progress};
    int r;

    if (!zero_buffer || !slots)
        return plk_fail_nomem(err);
    if (plk_store_open_image(store, 0, PLK_IMAGE_WRITE | PLK_IMAGE_ALLOC_FULL, &f.img, err) < 0)
        return -1;
    if (check_space(store, f.img, err) < 0) {
        plk_image_drop(f.img);
        return -1;
    }
    r = plk_image_prepare_write(f.img);
    if (r == 0)
        r = fill_pages(&f);
    if (r < 0)
        (void)plk_image_relearn(f.img); /* what no slot names yet goes when the image is closed */
    if (r == -EUCLEAN && f.img->damage.code && err)
        *err = f.img->damage;
    else if (r < 0)
        plk_fail_io(err, PLK_ERROR_ALLOCATE, r, "image '%s': cannot preallocate it", f.img->io->name);
    if (plk_image_close(f.img, r < 0 ? NULL : err) < 0)
        r = -1;
    return r < 0 ? -1 : 0;
}

static int set_preallocated(PlkStore *store, bool preallocated, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};

    if (store->desc.preallocated == preallocated)
        return 0;
    if (plk_descriptor_copy(&store->desc, &future, err) < 0)
        return -1;
    future.preallocated = preallocated;
    return plk_store_commit(store, &future, err);
}

/* ---- to and from raw: a new file ---- */

static int create_file(PlkStore *store, const PlkImage *old, PlkFormat to, bool alloc_full,
                       const PlkProgress *progress, PlkIo **ret, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    PlkImageSpec spec = {
        .version = 2,
        .size_sectors = old->header.size_sectors,
        .cluster_sectors = old->header.cluster_sectors,
        .preallocated = to == PLK_FORMAT_PREALLOCATED,
        .alloc_full = alloc_full,
    };
    int r = plk_dir_create_unnamed(store->dir, IMAGE_MODE, &io);

    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot create an image in '%s'", store->dir->path);
    if (to == PLK_FORMAT_RAW)
        r = plk_image_create_raw(io, old->header.size_sectors * PLK_SECTOR, alloc_full, progress, err);
    else
        r = plk_image_create(io, &spec, progress, err);
    if (r < 0)
        return -1;
    r = plk_io_lock(io, PLK_IO_LOCK_EXCLUSIVE);
    if (r < 0)
        return plk_fail_locked(err, io, r);
    *ret = PLK_TAKE(io);
    return 0;
}

static int create_target(PlkStore *store, PlkImage *old, PlkFormat to, bool alloc_full,
                         const PlkProgress *progress, PlkImage **ret, PlkError *err)
{
    unsigned flags = PLK_IMAGE_WRITE | (to == PLK_FORMAT_RAW ? PLK_IMAGE_IS_RAW : 0) |
                     (alloc_full ? PLK_IMAGE_ALLOC_FULL : 0);
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;

    if (create_file(store, old, to, alloc_full, progress, &io, err) < 0 ||
        plk_image_open(io, flags, old->header.cluster_sectors, ret, err) < 0)
        return -1;
    io = NULL;
    return 0;
}

static int plan(PlkStore *store, PlkFormat to, const char *file, uint64_t size, PlkDescriptor *ret,
                PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};
    char *copy;

    if (plk_descriptor_copy(&store->desc, &future, err) < 0)
        return -1;
    copy = plk_strdup(file);
    if (!copy)
        return plk_fail_nomem(err);
    free(future.images[0].file);
    future.images[0].file = copy;
    future.images[0].plain = to == PLK_FORMAT_RAW;
    future.preallocated = to == PLK_FORMAT_PREALLOCATED;
    if (future.size_sectors != size)
        plk_descriptor_set_size(&future, size);
    *ret = future;
    future = (PlkDescriptor){0};
    return 0;
}

/*
 * The new file, which the descriptor names `file`, takes over `name`. Where the filesystem has no second
 * links it keeps the name it has: the disk is whole either way.
 */
static void take_over_name(PlkStore *store, PlkIo *file_io, const char *file, const char *name, PlkFormat to)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};
    PLK_FREE char *link = plk_store_delta_name(store, NULL);

    if (!link || plan(store, to, name, store->desc.size_sectors, &future, NULL) < 0 ||
        plk_intent_declare(store, &future, link, (char *[]){(char *)file}, 1, NULL) < 0 ||
        plk_dir_link(store->dir, file_io, link) < 0)
        return;
    if (plk_dir_rename(store->dir, link, name, true) < 0) {
        plk_dir_unlink(store->dir, link);
        return;
    }
    if (plk_dir_sync(store->dir) == 0 && plk_store_commit(store, &future, NULL) == 0)
        plk_store_remove_file(store, file);
}

static int close_target(PlkImage *target, PlkError *err)
{
    int r = plk_image_mark_closed(target); /* the file stays open for its second name */

    atomic_store(&target->prepared, false);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_SYNC, r, "cannot finish the converted image '%s'", target->io->name);
    return 0;
}

static int replace_image(PlkStore *store, PlkFormat to, bool alloc_full, const PlkProgress *progress,
                         PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};
    plk_cleanup(plk_image_dropp) PlkImage *old = NULL, *target = NULL;
    PLK_FREE char *file = plk_store_delta_name(store, NULL), *name = plk_strdup(store->desc.images[0].file);
    int r;

    if (!file || !name)
        return plk_fail_nomem(err);
    if (plk_store_open_image(store, 0, PLK_IMAGE_WRITE, &old, err) < 0 ||
        create_target(store, old, to, alloc_full, progress, &target, err) < 0 ||
        plk_images_fold(&old, 1, target, PLK_FOLD_BASE | PLK_FOLD_FRESH, progress, err) < 0 ||
        close_target(target, err) < 0 ||
        plan(store, to, file, target->header.size_sectors, &future, err) < 0 ||
        plk_intent_declare(store, &future, file, NULL, 0, err) < 0)
        return -1;
    r = plk_dir_link(store->dir, target->io, file);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot create image '%s' in '%s'", file,
                           store->dir->path);
    if (plk_store_commit_file(store, &future, file, err) < 0)
        return -1;
    take_over_name(store, target->io, file, name, to);
    plk_store_remove_file(store, name);
    return 0;
}

/* ---- the whole ---- */

static PlkFormat format_of(const PlkStore *store)
{
    if (plk_store_is_raw(&store->desc, 0))
        return PLK_FORMAT_RAW;
    return store->desc.preallocated ? PLK_FORMAT_PREALLOCATED : PLK_FORMAT_EXPANDED;
}

int plk_store_convert_format(PlkStore *store, PlkFormat to, bool alloc_full, const PlkProgress *progress,
                             PlkError *err)
{
    PlkFormat from = format_of(store);

    if (store->desc.n_images != 1)
        return plk_fail(err, PLK_ERROR_BUSY,
                        "disk '%s' has snapshots, which keep its format as it is; delete or merge them first",
                        store->dir->path);
    if (plk_store_settle(store, 0, err) < 0)
        return -1;
    if (from == to)
        return 0;
    if (from == PLK_FORMAT_RAW || to == PLK_FORMAT_RAW)
        return replace_image(store, to, alloc_full, progress, err);
    if (to == PLK_FORMAT_PREALLOCATED && fill_image(store, alloc_full, progress, err) < 0)
        return -1;
    return set_preallocated(store, to == PLK_FORMAT_PREALLOCATED, err);
}

int plk_convert_format(const char *path, const char *root, PlkFormat to, bool alloc_full,
                       const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_locked(path, root, &store, err) < 0)
        return -1;
    return plk_store_convert_format(store, to, alloc_full, progress, err);
}
