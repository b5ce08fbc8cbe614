/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The open disk: a chain of images with one flat map in front. Private half of <ploopkit/disk.h>.
 *
 * A request walks: data.c cuts it into clusters -> pins.c pins one cluster -> map.c says (level, file
 * cluster) -> image/ gives and takes clusters -> io/ moves bytes. flush.c makes it durable.
 *
 * Lock order: flush_lock, pins, map page load, map dirty list, image allocator.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include <ploopkit/disk.h>

#include "disk/map.h"
#include "disk/pins.h"
#include "image/image.h"

#define PLK_CHAIN_MAX 126 /* images in one chain; the format reserves the rest of 128 */

struct PlkDisk {
    PlkDir *dir; /* owned if owns_dir */
    bool owns_dir, writable;
    PlkImage **images; /* base to top; images[n_images - 1] is written to */
    char **paths;      /* absolute, for people */
    unsigned n_images;
    uint64_t size; /* bytes, the top's */
    uint32_t cluster_bytes;
    unsigned cluster_shift;
    uint32_t slots; /* virtual clusters of the top */
    PlkPins pins;
    PlkMap map;
    pthread_mutex_t flush_lock;
    uint8_t *flush_buffer; /* BAT pages rendered by the running flush */
    _Atomic int copy_method;        /* PlkCopyMethod that works between these files */
};

static inline PlkImage *plk_disk_top(const PlkDisk *disk)
{
    return disk->images[disk->n_images - 1];
}

/* One file of a chain to open. */
typedef struct PlkChainFile {
    const char *path; /* as plk_dir_open_file() takes it */
    bool raw;         /* only the base may be */
} PlkChainFile;

/*
 * Opens and locks base to top; the top for writing if options say so. All ploop images must agree in version and
 * cluster size, and none may be bigger than the one above it (FORMAT error naming both). dir is borrowed
 * and must outlive the disk, unless ownership is handed over with plk_disk_own_dir().
 */
int plk_disk_open_chain(PlkDir *dir, const PlkChainFile *files, size_t n, uint32_t cluster_sectors,
                        const PlkDiskOptions *options, PlkDisk **ret, PlkError *err);
/* The same over images already open, base to top; they are taken over on success. paths are copied. */
int plk_disk_from_images(PlkImage **images, const char *const *paths, size_t n, bool writable,
                         size_t cache_bytes, PlkDisk **ret, PlkError *err);
void plk_disk_own_dir(PlkDisk *disk);
/* Like plk_disk_close(), but nothing is flushed or marked closed: for disks whose files go away. */
void plk_disk_drop(PlkDisk *disk);

/* ---- seams for operations that change levels or move clusters under an open disk ---- */

/* Waits until no request runs and keeps new ones out, then flushes. 0 or -errno; on failure nothing is held. */
int plk_disk_quiesce(PlkDisk *disk);
/* map_changed: clusters or levels moved, forget what was resolved. Re-reads size and slots from the top. */
void plk_disk_resume(PlkDisk *disk, bool map_changed);

/*
 * Copy the cluster range [first, first + n) of `src` (a level of the disk) ... see merge.c; exposed for tests.
 */
int plk_disk_copy_level_down(PlkDisk *disk, unsigned from, unsigned to, PlkImage *target,
                             const PlkProgress *progress, PlkError *err);
