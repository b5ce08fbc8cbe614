/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New disks, born whole: the image is made and filled without a name, then named, then the descriptor is
 * published. Until then nobody sees anything, and a killed process leaves nothing; a crash between the last
 * two steps leaves an image without a descriptor.
 */
#include <ploopkit/create.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "base/seeded.h"
#include "change/operation.h"

#define IMAGE_MODE 0600
#define DESCRIPTOR_NAME "DiskDescriptor.xml"
#define SMALL_DISK_SECTORS 32768u /* 16 MiB */
#define SMALL_CLUSTER_SECTORS 64u

typedef struct Creation {
    PlkStore *store;
    const char *base;   /* name of the image in the store's directory */
    PlkCreateSpec spec; /* made definite */
    PlkIo *io;          /* the image, until the disk has it */
    PlkDisk *disk;      /* over it, while it is filled */
} Creation;

uint32_t plk_default_cluster_sectors(uint64_t size_sectors)
{
    return size_sectors < SMALL_DISK_SECTORS ? SMALL_CLUSTER_SECTORS : PLK_CLUSTER_SECTORS_DEFAULT;
}

/* ---- what is wanted ---- */

static int settle_raw(PlkCreateSpec *s, PlkError *err)
{
    if (!plk_cluster_is_valid(s->cluster_sectors))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "Incorrect blocksize specified: %u", s->cluster_sectors);
    if (s->size_sectors == 0 || s->size_sectors > INT64_MAX / PLK_SECTOR - s->cluster_sectors)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "a raw disk cannot have %llu sectors",
                        (unsigned long long)s->size_sectors);
    s->size_sectors = plk_round_up(s->size_sectors, s->cluster_sectors);
    return 0;
}

static int make_definite(const PlkCreateSpec *given, PlkCreateSpec *ret, PlkError *err)
{
    PlkCreateSpec s = {0};
    PlkHeader header;

    memcpy(&s, given, PLK_MIN(given->struct_size, sizeof s));
    if (!s.cluster_sectors)
        s.cluster_sectors = plk_default_cluster_sectors(s.size_sectors);
    if (!s.version)
        s.version = 2;
    if (s.format == PLK_FORMAT_RAW) {
        if (settle_raw(&s, err) < 0)
            return -1;
    } else {
        if (plk_header_make(s.version, s.size_sectors, s.cluster_sectors, &header, err) < 0)
            return -1;
        s.size_sectors = header.size_sectors;
    }
    *ret = s;
    return 0;
}

static int check_absent(Creation *c, const char *name, PlkError *err)
{
    int r = plk_dir_exists(c->store->dir, name);

    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot look for '%s/%s'", c->store->dir->path, name);
    if (r > 0)
        return plk_fail(err, PLK_ERROR_EXISTS, "Can't create '%s/%s': File exists; it was left alone",
                        c->store->dir->path, name);
    return 0;
}

/* ---- the image ---- */

static int create_image(Creation *c, const PlkProgress *progress, PlkError *err)
{
    const PlkCreateSpec *s = &c->spec;
    PlkImageSpec spec = {
        .version = s->version,
        .size_sectors = s->size_sectors,
        .cluster_sectors = s->cluster_sectors,
        .preallocated = s->format == PLK_FORMAT_PREALLOCATED,
        .alloc_full = s->alloc_full,
    };
    int r = plk_dir_create_unnamed(c->store->dir, IMAGE_MODE, &c->io);

    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot create an image in '%s'", c->store->dir->path);
    if (s->format == PLK_FORMAT_RAW)
        return plk_image_create_raw(c->io, s->size_sectors * PLK_SECTOR, s->alloc_full, progress, err);
    return plk_image_create(c->io, &spec, progress, err);
}

static int open_disk(Creation *c, PlkError *err)
{
    unsigned flags = PLK_IMAGE_WRITE | PLK_IMAGE_UNPUBLISHED |
                     (c->spec.format == PLK_FORMAT_RAW ? PLK_IMAGE_IS_RAW : 0) |
                     (c->spec.alloc_full ? PLK_IMAGE_ALLOC_FULL : 0);
    plk_cleanup(plk_image_dropp) PlkImage *img = NULL;
    PLK_FREE char *path = plk_printf("%s/%s", c->store->dir->path, c->base);
    const char *paths[] = {path};
    int r;

    if (!path)
        return plk_fail_nomem(err);
    r = plk_io_lock(c->io, PLK_IO_LOCK_EXCLUSIVE);
    if (r < 0)
        return plk_fail_locked(err, c->io, r);
    if (plk_image_open(c->io, flags, c->spec.cluster_sectors, &img, err) < 0)
        return -1;
    c->io = NULL;
    if (plk_disk_from_images(&img, paths, 1, true, 0, &c->disk, err) < 0)
        return -1;
    img = NULL;
    return 0;
}

static int fill_disk(Creation *c, PlkCreateFill *fill, void *arg, const PlkProgress *progress, PlkError *err)
{
    int r;

    if (open_disk(c, err) < 0 || fill(c->disk, arg, progress, err) != 0)
        return -1;
    r = plk_disk_flush(c->disk);
    if (r < 0)
        plk_disk_explain(c->disk, r, err);
    return r < 0 ? -1 : 0;
}

/* ---- publishing ---- */

/* What gets a name is whole: a crash before the descriptor leaves an image that one can be restored for. */
static int complete_image(Creation *c, PlkError *err)
{
    int r = c->disk && !PLK_SEEDED(NAME_UNSYNCED) ? plk_image_publish(plk_disk_top(c->disk)) : 0;

    return r < 0 ? plk_fail_io(err, PLK_ERROR_SYNC, r, "image '%s/%s'", c->store->dir->path, c->base) : 0;
}

static int name_image(Creation *c, PlkError *err)
{
    int r = plk_dir_link(c->store->dir, c->disk ? plk_disk_top(c->disk)->io : c->io, c->base);

    if (r == -EEXIST)
        return check_absent(c, c->base, err);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot create image '%s/%s'", c->store->dir->path,
                           c->base);
    return 0;
}

/* The image has its name; it stays only if all of this succeeds. */
static int describe(Creation *c, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
    const PlkCreateSpec *s = &c->spec;

    if (plk_disk_close(PLK_TAKE(c->disk), err) < 0)
        return -1;
    if (plk_descriptor_new(s->size_sectors, s->cluster_sectors, s->format == PLK_FORMAT_PREALLOCATED,
                           s->format == PLK_FORMAT_RAW, c->base, &desc, err) < 0)
        return -1;
    return plk_store_commit(c->store, &desc, err);
}

static int publish_locked(Creation *c, PlkError *err)
{
    if (check_absent(c, c->store->name, err) < 0 || complete_image(c, err) < 0 || name_image(c, err) < 0)
        return -1;
    if (describe(c, err) == 0)
        return 0;
    if (!c->store->committed)
        plk_dir_unlink(c->store->dir, c->base);
    return -1;
}

static int publish(Creation *c, PlkError *err)
{
    static const char lck[] = DESCRIPTOR_NAME ".lck";
    bool lock_is_new = plk_dir_exists(c->store->dir, lck) == 0;
    int r = plk_store_lock_only(c->store, err);

    if (r < 0)
        return -1;
    r = publish_locked(c, err);
    /* Who held the lock before us may have made a disk, whose lock file this is now. */
    if (r < 0 && lock_is_new && !c->store->committed && plk_dir_exists(c->store->dir, DESCRIPTOR_NAME) == 0)
        plk_dir_unlink(c->store->dir, lck);
    return r;
}

/* ---- the whole ---- */

static int open_store(const char *where, const char *fs_word, PlkStore **ret, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    int r = plk_dir_open_fs(where, NULL, &dir);

    if (r < 0)
        return plk_fail_io(err, r == -ENOENT ? PLK_ERROR_NOT_FOUND : PLK_ERROR_OPEN, r, "directory '%s'", where);
    if (plk_store_open_dir(dir, DESCRIPTOR_NAME, &store, err) < 0)
        return -1;
    dir = NULL;
    store->fs_word = plk_strdup(fs_word ? fs_word : "none");
    if (!store->fs_word)
        return plk_fail_nomem(err);
    *ret = PLK_TAKE(store);
    return 0;
}

static int create(Creation *c, PlkCreateFill *fill, void *fill_arg, const PlkProgress *progress,
                  PlkError *err)
{
    if (check_absent(c, DESCRIPTOR_NAME, err) < 0 || check_absent(c, c->base, err) < 0 ||
        create_image(c, progress, err) < 0)
        return -1;
    if (fill && fill_disk(c, fill, fill_arg, progress, err) < 0)
        return -1;
    return publish(c, err);
}

int plk_store_create(PlkStore *store, const char *base, const PlkCreateSpec *spec, PlkCreateFill *fill,
                     void *fill_arg, const PlkProgress *progress, PlkError *err)
{
    Creation c = {.store = store, .base = base};
    int r;

    store->is_new = true;
    if (make_definite(spec, &c.spec, err) < 0)
        return -1;
    r = create(&c, fill, fill_arg, progress, err);
    plk_disk_drop(c.disk);
    plk_io_close(c.io);
    return r;
}

int plk_disk_create(const char *base_path, const PlkCreateSpec *spec, PlkCreateFill *fill, void *fill_arg,
                    const char *fs_word, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    PLK_FREE char *where = NULL;
    PlkCreateSpec unused;
    const char *base;

    if (make_definite(spec, &unused, err) < 0 || plk_file_split(base_path, &where, &base, err) < 0 ||
        open_store(where, fs_word, &store, err) < 0)
        return -1;
    return plk_store_create(store, base, spec, fill, fill_arg, progress, err);
}
