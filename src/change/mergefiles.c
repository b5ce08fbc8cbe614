/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Merging bare image files: the caller is the descriptor. Inputs stay, and read as before; only their sizes may be
 * raised to the uppermost's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "change/fold.h"
#include "change/operation.h"

/* The directory of an absolute path, from which every file of the system may be named. */
static int open_dir_of(const char *path, PlkDir **ret, PlkError *err)
{
    PLK_FREE char *where = plk_printf("%.*s", (int)PLK_MAX(strrchr(path, '/') - path, 1), path);
    int r = where ? plk_dir_open_fs(where, "/", ret) : -ENOMEM;

    return r < 0 ? plk_fail_io(err, PLK_ERROR_OPEN, r, "cannot open the directory of '%s'", path) : 0;
}

static int open_sources(PlkDir *dir, char *const *paths, size_t n, bool last_is_raw, PlkImage **images,
                        PlkError *err)
{
    for (size_t i = 0; i < n; i++) {
        unsigned flags = PLK_IMAGE_REFUSE_DIRTY;
        uint32_t cluster = i ? images[0]->header.cluster_sectors : 0;

        if (i == n - 1 && last_is_raw)
            flags |= PLK_IMAGE_IS_RAW;
        if ((flags & PLK_IMAGE_IS_RAW) && !cluster)
            cluster = PLK_CLUSTER_SECTORS_DEFAULT;
        if (plk_chain_open_image(dir, paths[i], flags, false, cluster, &images[i], err) < 0)
            return -1;
    }
    return 0;
}

static int raise_image(PlkDir *dir, const char *path, PlkImage **image, uint64_t size_sectors,
                       const PlkProgress *progress, PlkError *err)
{
    uint32_t cluster = (*image)->header.cluster_sectors;
    PlkImage *img;

    plk_image_drop(PLK_TAKE(*image)); /* whoever writes is alone */
    if (plk_chain_open_image(dir, path, PLK_IMAGE_WRITE | PLK_IMAGE_REFUSE_DIRTY, false, cluster, &img, err) < 0)
        return -1;
    if (plk_image_grow(img, size_sectors, progress, err) < 0) {
        plk_image_drop(img);
        return -1;
    }
    if (plk_image_close(img, err) < 0)
        return -1;
    return plk_chain_open_image(dir, path, PLK_IMAGE_REFUSE_DIRTY, false, cluster, image, err);
}

/*
 * The last file takes the uppermost's size first of all. Were one between them smaller, a merge cut short would
 * leave files that narrow towards the top, which nobody opens as a disk: those are grown before, from the top
 * down. That they belong together is known by then.
 */
static int raise_between(PlkDir *dir, char *const *paths, PlkImage **images, size_t n, const PlkProgress *progress,
                         PlkError *err)
{
    uint64_t size = images[0]->header.size_sectors;

    for (size_t i = 1; i < n; i++)
        if (images[i]->header.size_sectors < size &&
            raise_image(dir, paths[i], &images[i], size, progress, err) < 0)
            return -1;
    return 0;
}

static int fold_into_last(PlkDir *dir, char *const *paths, PlkImage **images, size_t n, bool base_is_raw,
                          const PlkProgress *progress, PlkError *err)
{
    unsigned flags = PLK_IMAGE_WRITE | (base_is_raw ? PLK_IMAGE_IS_RAW : 0);
    PlkImage *target;
    int r;

    if (plk_chain_open_image(dir, paths[n], flags, false, images[0]->header.cluster_sectors, &target, err) < 0)
        return -1;
    r = plk_images_check_fit(images, n, target, err);
    if (r == 0)
        r = raise_between(dir, paths, images, n, progress, err);
    /* Whether something lies below the last file is not known here, so zeros are written out. */
    if (r == 0)
        r = plk_images_fold(images, n, target, 0, progress, err);
    if (plk_image_close(target, r < 0 ? NULL : err) < 0)
        r = -1;
    return r;
}

static int fold_into_new(PlkStore *store, PlkImage **images, size_t n, const char *path,
                         const PlkProgress *progress, PlkError *err)
{
    PlkImage *target;
    int r, linked;

    if (plk_store_refuse_existing(store, path, err) < 0)
        return -1;
    if (plk_store_create_unnamed(store, images[0], images[0]->header.size_sectors, false, &target, err) < 0)
        return -1;
    r = plk_images_fold(images, n, target, PLK_FOLD_FRESH, progress, err);
    linked = r < 0 ? r : plk_image_publish(target); /* what gets a name is whole */
    if (linked == 0)
        linked = plk_dir_link(store->dir, target->io, path);
    if (r == 0 && linked < 0)
        r = plk_fail_io(err, linked == -EEXIST ? PLK_ERROR_EXISTS : PLK_ERROR_CREATE, linked,
                        "cannot create image '%s'", path);
    if (plk_image_close(target, r < 0 ? NULL : err) < 0)
        r = -1;
    if (r == 0) {
        r = plk_dir_sync(store->dir);
        if (r < 0)
            r = plk_fail_io(err, PLK_ERROR_SYNC, r, "cannot sync the directory of '%s'", path);
    }
    if (r < 0 && linked == 0)
        plk_dir_unlink(store->dir, path);
    return r;
}

int plk_dir_merge_files(PlkDir *dir, char *const *paths, size_t n, bool base_is_raw, PlkStore *where,
                        const char *new_path, const PlkProgress *progress, PlkError *err)
{
    size_t n_sources = new_path ? n : n - 1;
    PLK_FREE PlkImage **images = plk_calloc(n, sizeof *images);
    int r;

    if (!images)
        return plk_fail_nomem(err);
    r = open_sources(dir, paths, n_sources, base_is_raw && new_path, images, err);
    if (r == 0)
        r = new_path ? fold_into_new(where, images, n, new_path, progress, err)
                     : fold_into_last(dir, paths, images, n_sources, base_is_raw, progress, err);
    for (size_t i = 0; i < n; i++)
        plk_image_drop(images[i]);
    return r;
}

/* For its functions that make files: there is no descriptor. */
static int open_store_of(const char *path, PlkStore **ret, PlkError *err)
{
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;

    if (open_dir_of(path, &dir, err) < 0 || plk_store_open_dir(dir, "none.xml", ret, err) < 0)
        return -1;
    dir = NULL;
    return 0;
}

static int merge_located(char *const *paths, size_t n, bool base_is_raw, const char *new_path,
                         const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    plk_cleanup(plk_store_closep) PlkStore *where = NULL;

    if (open_dir_of(paths[n - 1], &dir, err) < 0 || (new_path && open_store_of(new_path, &where, err) < 0))
        return -1;
    return plk_dir_merge_files(dir, paths, n, base_is_raw, where, new_path, progress, err);
}

int plk_merge_files(const char *const *top_to_base, size_t n, bool base_is_raw, const char *new_file,
                    const PlkProgress *progress, PlkError *err)
{
    PLK_FREE char *new_path = NULL;
    char *paths[PLK_CHAIN_SLOTS] = {0};
    int r = 0;

    if (n < 2 || n > PLK_CHAIN_SLOTS)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "cannot merge %zu images: 2 to %d are needed", n,
                        PLK_CHAIN_SLOTS);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = plk_file_locate(top_to_base[i], &paths[i], err);
    if (r == 0 && new_file)
        r = plk_file_locate(new_file, &new_path, err);
    if (r == 0)
        r = merge_located(paths, n, base_is_raw, new_path, progress, err);
    for (size_t i = 0; i < n; i++)
        free(paths[i]);
    return r;
}
