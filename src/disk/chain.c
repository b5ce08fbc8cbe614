/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening a chain: each image under its lock, base first, then the demands they make of one another: one
 * version, one cluster size, raw only at the bottom, none bigger than the one above it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "disk/disk.h"
#include "disk/store.h"

int plk_fail_outside(const PlkDir *dir, const char *path, PlkErrorCode code, PlkError *err)
{
    return plk_fail(err, code,
                    "image '%s' of '%s' lies outside '%s', which nothing may leave; a wider root (--root) "
                    "allows it",
                    path, dir->path, dir->root);
}

int plk_chain_fail_open(const PlkDir *dir, const char *path, int r, PlkError *err)
{
    switch (-r) {
    case EXDEV:
        return plk_fail_outside(dir, path, PLK_ERROR_DESCRIPTOR, err);
    case ELOOP:
        return plk_fail(err, PLK_ERROR_OPEN, "image '%s' of '%s': a symbolic link is on the way, which is not followed",
                        path, dir->path);
    case EMLINK:
        return plk_fail(err, PLK_ERROR_OPEN, "image '%s' of '%s' is somebody else's file under a second name (a hard link); "
                                             "it is not written to",
                        path, dir->path);
    case EINVAL:
        return plk_fail(err, PLK_ERROR_OPEN, "image '%s' of '%s' is not a regular file", path, dir->path);
    case ENOENT:
        return plk_fail_errno(err, PLK_ERROR_NOT_FOUND, ENOENT, "cannot open image '%s' of '%s'", path, dir->path);
    default:
        return plk_fail_io(err, PLK_ERROR_OPEN, r, "cannot open image '%s' of '%s'", path, dir->path);
    }
}

int plk_chain_open_image(PlkDir *dir, const char *path, unsigned flags, bool skip_lock,
                         uint32_t cluster_sectors, PlkImage **ret, PlkError *err)
{
    bool write = flags & PLK_IMAGE_WRITE;
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    int r = plk_dir_open_file(dir, path, write ? PLK_OPEN_WRITE : 0, 0, &io);

    if (r < 0)
        return plk_chain_fail_open(dir, path, r, err);
    r = skip_lock ? 0 : plk_io_lock(io, write ? PLK_IO_LOCK_EXCLUSIVE : PLK_IO_LOCK_SHARED);
    if (r < 0)
        return plk_fail_locked(err, io, r);
    if (plk_image_open(io, flags, cluster_sectors, ret, err) < 0)
        return -1;
    io = NULL;
    return 0;
}

static int check_pair(const PlkImage *lower, const PlkImage *upper, PlkError *err)
{
    const char *l = lower->io->name, *u = upper->io->name;

    if (lower->cluster_bytes != upper->cluster_bytes)
        return plk_fail(err, PLK_ERROR_FORMAT, "images '%s' and '%s' of one disk differ in cluster size (%u and %u bytes)",
                        l, u, lower->cluster_bytes, upper->cluster_bytes);
    if (upper->kind == PLK_IMAGE_RAW)
        return plk_fail(err, PLK_ERROR_FORMAT, "image '%s' above '%s' is raw; only a base can be", u, l);
    if (lower->kind == PLK_IMAGE_PLOOP && lower->header.version != upper->header.version)
        return plk_fail(err, PLK_ERROR_FORMAT, "images '%s' (version %d) and '%s' (version %d) cannot form one disk", l,
                        lower->header.version, u, upper->header.version);
    if (lower->header.size_sectors > upper->header.size_sectors)
        return plk_fail(err, PLK_ERROR_FORMAT, "image '%s' is smaller than '%s' below it (%llu and %llu sectors)", u, l,
                        (unsigned long long)upper->header.size_sectors,
                        (unsigned long long)lower->header.size_sectors);
    return 0;
}

/* Bytes the guest sees: whole sectors that the table covers. */
static uint64_t disk_bytes(const PlkImage *top)
{
    if (top->kind == PLK_IMAGE_RAW)
        return top->raw_bytes;
    return PLK_MIN(top->header.size_sectors * PLK_SECTOR,
                   (uint64_t)top->header.bat_entries * top->cluster_bytes);
}

void plk_disk_take_size(PlkDisk *disk)
{
    PlkImage *top = plk_disk_top(disk);
    uint64_t size = disk_bytes(top);

    /* Requests look at the size without a pin: it is only written when it changes, which is done offline. */
    if (disk->size != size)
        disk->size = size;
    if (disk->slots != top->header.bat_entries)
        disk->slots = top->header.bat_entries;
}

static int copy_paths(PlkDisk *disk, const char *const *paths, size_t n)
{
    disk->paths = plk_calloc(PLK_CHAIN_SLOTS, sizeof *disk->paths);
    for (size_t i = 0; disk->paths && i < n; i++) {
        disk->paths[i] = plk_strdup(paths[i]);
        if (!disk->paths[i])
            return -ENOMEM;
    }
    return disk->paths ? 0 : -ENOMEM;
}

static int set_up(PlkDisk *disk, const char *const *paths, size_t n, size_t cache_bytes)
{
    pthread_mutex_init(&disk->snapshot_lock, NULL);
    pthread_mutex_init(&disk->flush_lock, NULL);
    if (plk_pins_init(&disk->pins) < 0 || copy_paths(disk, paths, n) < 0 ||
        plk_map_init(&disk->map, disk->slots, cache_bytes) < 0)
        return -ENOMEM;
    disk->flush_pages = PLK_MIN(PLK_FLUSH_BATCH, PLK_MAX(disk->map.n_pages, 1u));
    disk->flush_buffer = plk_malloc(disk->flush_pages * PLK_BAT_PAGE_BYTES);
    return disk->flush_buffer ? 0 : -ENOMEM;
}

int plk_disk_from_images(PlkImage **images, const char *const *paths, size_t n, bool writable, size_t cache_bytes,
                         PlkDisk **ret, PlkError *err)
{
    PlkDisk *disk;

    for (size_t i = 1; i < n; i++)
        if (check_pair(images[i - 1], images[i], err) < 0)
            return -1;
    disk = plk_calloc(1, sizeof *disk);
    if (!disk)
        return plk_fail_nomem(err);
    disk->images = plk_calloc(PLK_CHAIN_SLOTS, sizeof *disk->images);
    if (!disk->images) {
        free(disk);
        return plk_fail_nomem(err);
    }
    for (size_t i = 0; i < n; i++)
        disk->images[i] = images[i];
    disk->n_images = (unsigned)n;
    disk->writable = writable;
    disk->cluster_bytes = images[0]->cluster_bytes;
    disk->cluster_shift = images[0]->cluster_shift;
    plk_disk_take_size(disk);
    if (set_up(disk, paths, n, cache_bytes) < 0) {
        disk->n_images = 0; /* they stay the caller's */
        plk_disk_drop(disk);
        return plk_fail_nomem(err);
    }
    *ret = disk;
    return 0;
}

static unsigned image_flags(const PlkChainFile *file, bool is_top, const PlkDiskOptions *o)
{
    unsigned flags = file->raw ? PLK_IMAGE_IS_RAW : 0;

    if (is_top && o->writable)
        flags |= PLK_IMAGE_WRITE;
    if (o->alloc_full)
        flags |= PLK_IMAGE_ALLOC_FULL;
    if (is_top && o->refuse_dirty)
        flags |= PLK_IMAGE_REFUSE_DIRTY;
    return flags;
}

int plk_disk_open_chain(PlkDir *dir, const PlkChainFile *files, size_t n, uint32_t cluster_sectors,
                        const PlkDiskOptions *options, PlkDisk **ret, PlkError *err)
{
    PlkImage *images[PLK_CHAIN_SLOTS] = {0};
    const char *paths[PLK_CHAIN_SLOTS];
    size_t got;
    int r = 0;

    if (n == 0 || n > PLK_CHAIN_SLOTS)
        return plk_fail(err, PLK_ERROR_UNSUPPORTED, "a disk of %zu images; the format allows 1 to %d", n,
                        PLK_CHAIN_SLOTS);
    for (got = 0; r == 0 && got < n; got++) {
        r = plk_chain_open_image(dir, files[got].path, image_flags(&files[got], got == n - 1, options),
                                 options->skip_locks && !options->writable, cluster_sectors, &images[got], err);
        if (r == 0)
            paths[got] = images[got]->io->name;
    }
    if (r == 0)
        r = plk_disk_from_images(images, paths, n, options->writable, options->cache_bytes, ret, err);
    for (size_t i = 0; r < 0 && i < n; i++)
        plk_image_drop(images[i]);
    if (r == 0)
        (*ret)->dir = dir;
    return r;
}
