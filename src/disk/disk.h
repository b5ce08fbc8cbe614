/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The open disk: a chain of images with one flat map in front. Private half of <ploopkit/disk.h>.
 *
 * A request walks: data.c cuts it into clusters -> pins.c pins one cluster -> map.c says (level, file
 * cluster) -> image/ gives and takes clusters -> io/ moves bytes. flush.c makes it durable.
 *
 * Lock order: snapshot_lock, flush_lock, pins, map page load, map dirty list, image allocator.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include <ploopkit/disk.h>

#include "disk/map.h"
#include "disk/pins.h"
#include "image/image.h"

#define PLK_CHAIN_MAX 126   /* images a chain may grow to; the format reserves the rest of 128 */
#define PLK_CHAIN_SLOTS 128 /* images a chain can be opened with */
#define PLK_FLUSH_BATCH 256 /* BAT pages one flush writes behind one data sync; when a writer flushes by itself */

struct PlkDisk {
    PlkDir *dir; /* owned if owns_dir */
    bool owns_dir, writable;
    struct PlkStore *store; /* the descriptor it was opened from, NULL without one; see plk_store_open_state() */
    bool owns_store;        /* plk_store_close() at close, after the images and instead of closing dir */
    PlkImage **images; /* base to top; images[n_images - 1] is written to */
    char **paths;      /* absolute, for people */
    _Atomic unsigned n_images; /* grows by one, disk quiet, at a snapshot; begin_change() looks without a pin */
    uint64_t size; /* bytes, the top's */
    uint32_t cluster_bytes;
    unsigned cluster_shift;
    uint32_t slots; /* virtual clusters of the top */
    PlkPins pins;
    PlkMap map;
    pthread_mutex_t snapshot_lock; /* one at a time: the store is no thread's own */
    pthread_mutex_t flush_lock;
    uint8_t *flush_buffer; /* BAT pages rendered by the running flush ... */
    size_t flush_pages;    /* ... that it holds: no more than the BAT has */
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
 * Opens one image of a directory and locks it: exclusively with PLK_IMAGE_WRITE, else shared (or not at all).
 * LOCKED names who is in the way.
 */
int plk_chain_open_image(PlkDir *dir, const char *path, unsigned flags, bool skip_lock,
                         uint32_t cluster_sectors, PlkImage **ret, PlkError *err);
/* Words for an image of the directory that could not be opened: -1. */
int plk_chain_fail_open(const PlkDir *dir, const char *path, int r, PlkError *err);

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

/* ---- seams for operations that change levels under an open disk ---- */

/* Waits until no request runs and keeps new ones out, then flushes. 0 or -errno; on failure nothing is held. */
int plk_disk_quiesce(PlkDisk *disk);
/* No cluster has moved meanwhile: what was resolved stays. Size and slots follow the top. */
void plk_disk_resume(PlkDisk *disk);
/* Size and slots as the top image has them now. */
void plk_disk_take_size(PlkDisk *disk);
