/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Another size for a disk: the future descriptor is written first, then the image changes (crash-safe by
 * itself, image/grow.c), then the descriptor is committed. A crash between the last two leaves an image
 * bigger than its descriptor says; the header rules, and the same command again finishes the work.
 */
#include <ploopkit/resize.h>

#include <inttypes.h>

#include "base/cleanup.h"
#include "base/math.h"
#include "change/operation.h"
#include "disk/bare.h"

#define RAW_ALIGN 8u /* sectors; as ploop rounds */

typedef int ResizeImage(PlkImage *img, uint64_t size_sectors, const PlkProgress *progress, PlkError *err);

/* Closes clean in any case; the first error counts. */
static int change_and_close(PlkImage *img, ResizeImage *change, uint64_t size_sectors,
                            const PlkProgress *progress, PlkError *err)
{
    int r = change(img, size_sectors, progress, err);

    if (plk_image_close(img, r < 0 ? NULL : err) < 0)
        r = -1;
    return r;
}

static int open_active(PlkStore *store, PlkImage **ret, PlkError *err)
{
    int index = plk_descriptor_find_image(&store->desc, &store->desc.top);

    if (index < 0)
        return plk_fail(err, PLK_ERROR_DESCRIPTOR, "descriptor '%s/%s': the active state has no image",
                        store->dir->path, store->name);
    return plk_store_open_image(store, index, PLK_IMAGE_WRITE, ret, err);
}

static int resize(PlkStore *store, PlkImage *img, ResizeImage *change, uint64_t size_sectors,
                  const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};

    if (plk_descriptor_copy(&store->desc, &future, err) < 0) {
        plk_image_drop(img);
        return -1;
    }
    plk_descriptor_set_size(&future, size_sectors);
    if (plk_store_begin(store, &future, err) < 0) {
        plk_image_drop(img);
        return -1;
    }
    if (change_and_close(img, change, size_sectors, progress, err) < 0)
        return -1;
    return plk_store_commit(store, &future, err);
}

static uint64_t rounded(const PlkImage *img, uint64_t size_sectors)
{
    bool over = size_sectors > UINT64_MAX - RAW_ALIGN;

    return img->kind == PLK_IMAGE_RAW && !over ? plk_round_up(size_sectors, RAW_ALIGN) : size_sectors;
}

int plk_store_grow(PlkStore *store, uint64_t size_sectors, const PlkProgress *progress, PlkError *err)
{
    PlkImage *img;

    if (open_active(store, &img, err) < 0)
        return -1;
    size_sectors = rounded(img, size_sectors);
    if (size_sectors == img->header.size_sectors && size_sectors == store->desc.size_sectors) {
        plk_image_drop(img);
        return 0;
    }
    return resize(store, img, plk_image_grow, size_sectors, progress, err);
}

int plk_disk_grow(const char *path, const char *root, uint64_t size_sectors, const PlkProgress *progress,
                  PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_locked(path, root, &store, err) < 0)
        return -1;
    return plk_store_grow(store, size_sectors, progress, err);
}

int plk_store_shrink(PlkStore *store, uint64_t size_sectors, const PlkProgress *progress, PlkError *err)
{
    PlkImage *img;

    if (store->desc.n_images > 1)
        return plk_fail(err, PLK_ERROR_BUSY,
                        "disk '%s/%s' has snapshots: delete them before making it smaller", store->dir->path,
                        store->name);
    if (open_active(store, &img, err) < 0)
        return -1;
    return resize(store, img, plk_image_shrink, rounded(img, size_sectors), progress, err);
}

int plk_disk_shrink(const char *path, const char *root, uint64_t size_sectors, const PlkProgress *progress,
                    PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_locked(path, root, &store, err) < 0)
        return -1;
    return plk_store_shrink(store, size_sectors, progress, err);
}

int plk_image_file_grow(const char *image_path, bool raw, uint64_t size_sectors, const PlkProgress *progress,
                        PlkError *err)
{
    unsigned flags = PLK_IMAGE_WRITE | PLK_IMAGE_REFUSE_DIRTY | (raw ? PLK_IMAGE_IS_RAW : 0);
    PlkImage *img;
    PlkIo *io;

    if (plk_bare_open_locked(image_path, true, &io, err) < 0)
        return -1;
    if (plk_image_open(io, flags, raw ? PLK_CLUSTER_SECTORS_DEFAULT : 0, &img, err) < 0) {
        plk_io_close(io);
        return -1;
    }
    return change_and_close(img, plk_image_grow, rounded(img, size_sectors), progress, err);
}
