/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The images a descriptor names: opening them under their locks, bringing them to rest, and making new
 * deltas.
 */
#include "disk/store.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/math.h"
#include "io/lock.h"

#define IMAGE_MODE 0600

bool plk_store_is_raw(const PlkDescriptor *desc, int image_index)
{
    const PlkDescImage *image = &desc->images[image_index];
    int shot = plk_descriptor_find_shot(desc, &image->guid);

    return image->plain && shot >= 0 && plk_guid_equal(&desc->shots[shot].parent, &PLK_GUID_NONE);
}

/* ---- opening ---- */

int plk_fail_locked(PlkError *err, PlkIo *io, int neg_errno)
{
    char owner[128] = "another process";

    if (neg_errno != -EAGAIN)
        return plk_fail_io(err, PLK_ERROR_LOCK_CALL, neg_errno, "cannot lock image '%s'", io->name);
    if (plk_io_fd(io) >= 0)
        plk_lock_owner(plk_io_fd(io), owner, sizeof owner);
    return plk_fail(err, PLK_ERROR_LOCKED, "image '%s': in use by %s", io->name, owner);
}

int plk_store_open_image(PlkStore *store, int image_index, unsigned flags, PlkImage **ret, PlkError *err)
{
    if (plk_store_is_raw(&store->desc, image_index))
        flags |= PLK_IMAGE_IS_RAW;
    return plk_chain_open_image(store->dir, store->desc.images[image_index].file, flags, false,
                                store->desc.cluster_sectors, ret, err);
}

int plk_store_settle(PlkStore *store, int image_index, PlkError *err)
{
    PlkImage *img;
    int r;

    if (plk_store_open_image(store, image_index, PLK_IMAGE_WRITE, &img, err) < 0)
        return -1;
    if (!img->was_dirty) {
        plk_image_drop(img);
        return 0;
    }
    r = plk_image_prepare_write(img);
    if (r == 0)
        return plk_image_close(img, err);
    if (r == -EUCLEAN && err)
        *err = img->damage;
    else
        plk_fail_io(err, PLK_ERROR_WRITE, r, "image '%s': cannot recover it from a crash", img->io->name);
    plk_image_drop(img);
    return -1;
}

int plk_store_open_state(PlkStore *store, const PlkGuid *guid, const PlkDiskOptions *options, PlkDisk **ret,
                         PlkError *err)
{
    PLK_FREE PlkChainFile *files = NULL;
    PLK_FREE int *chain = NULL;
    size_t n;

    if (plk_descriptor_chain(&store->desc, guid ? guid : &store->desc.top, store->path, &chain, &n, err) < 0)
        return -1;
    files = plk_calloc(n, sizeof *files);
    if (!files)
        return plk_fail_nomem(err);
    for (size_t i = 0; i < n; i++)
        files[i] =
            (PlkChainFile){store->desc.images[chain[i]].file, plk_store_is_raw(&store->desc, chain[i])};
    if (plk_disk_open_chain(store->dir, files, n, store->desc.cluster_sectors, options, ret, err) < 0)
        return -1;
    (*ret)->store = store;
    return 0;
}

/* ---- making ---- */

char *plk_store_delta_name(PlkStore *store, const PlkGuid *guid)
{
    PlkGuid random;

    if (!guid) {
        plk_guid_random(&random);
        guid = &random;
    }
    return plk_printf("%s.%s", store->desc.images[0].file, guid->text);
}

/* An empty file filled as a delta, not named. */
static int create_io(PlkStore *store, const PlkImage *below, uint64_t size_sectors, bool alloc_full,
                     PlkIo **ret, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    PlkImageSpec spec = {
        .version = below->kind == PLK_IMAGE_RAW ? 2 : below->header.version,
        .size_sectors = size_sectors,
        .cluster_sectors = below->cluster_bytes / PLK_SECTOR,
        .alloc_full = alloc_full,
    };
    int r = plk_dir_create_unnamed(store->dir, IMAGE_MODE, &io);

    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot create a delta in '%s'", store->dir->path);
    if (plk_image_create(io, &spec, NULL, err) < 0)
        return -1;
    *ret = PLK_TAKE(io);
    return 0;
}

int plk_store_create_unnamed(PlkStore *store, const PlkImage *below, uint64_t size_sectors, bool alloc_full,
                             PlkImage **ret, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    int r;

    if (create_io(store, below, size_sectors, alloc_full, &io, err) < 0)
        return -1;
    r = plk_io_lock(io, PLK_IO_LOCK_EXCLUSIVE);
    if (r < 0)
        return plk_fail_locked(err, io, r);
    if (plk_image_open(io, PLK_IMAGE_WRITE | PLK_IMAGE_UNPUBLISHED | (alloc_full ? PLK_IMAGE_ALLOC_FULL : 0),
                       0, ret, err) < 0)
        return -1;
    io = NULL;
    return 0;
}

int plk_store_create_delta(PlkStore *store, const char *file, const PlkImage *below, uint64_t size_sectors,
                           bool alloc_full, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    int r;

    if (create_io(store, below, size_sectors, alloc_full, &io, err) < 0)
        return -1;
    r = plk_dir_link(store->dir, io, file);
    if (r == -EEXIST)
        return plk_fail(err, PLK_ERROR_EXISTS, "cannot create delta '%s' in '%s': File exists", file,
                        store->dir->path);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot create delta '%s' in '%s'", file,
                           store->dir->path);
    return 0;
}

/* ---- removing ---- */

/* Two entries of a descriptor may spell one file differently. */
static bool is_named(const PlkStore *store, const char *path)
{
    bool named = false;

    for (size_t i = 0; !named && i < store->desc.n_images; i++) {
        PLK_FREE char *other = plk_path_canonical(store->dir->path, store->desc.images[i].file);
        named = !other || strcmp(other, path) == 0;
    }
    return named;
}

void plk_store_remove_file(PlkStore *store, const char *file)
{
    PLK_FREE char *path = plk_path_canonical(store->dir->path, file);
    int r;

    assert(store->lock && !store->begun); /* what is durable decides, not what is to come */
    if (path && is_named(store, path))
        return;
    r = path ? plk_dir_unlink(store->dir, file) : -ENOMEM;
    if (r < 0 && r != -ENOENT)
        store->uncertain = true; /* the intent stays, and whoever locks the store next tries again */
    if (r < 0)
        plk_debug(PLK_DEBUG_DISK, "%s: cannot remove '%s': %s", store->dir->path, file, strerror(-r));
}
