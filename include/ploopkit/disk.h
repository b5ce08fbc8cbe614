/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk: the chain of images that DiskDescriptor.xml names, read and written as one flat array of bytes.
 *
 * Units are bytes unless a name says sectors (512 bytes). Offsets need no alignment.
 *
 * Threads. All data functions (read, write, zero, discard, flush, status) may be called on one disk from
 * any number of threads at once. A request that has returned is visible to every later one. Opening,
 * closing and the functions of the other headers are the owner's, one at a time.
 *
 * Promises. After plk_disk_flush() returned 0, everything written before it began survives any crash.
 * What was not flushed may be lost, but never mixed up with other clusters' bytes. If a sync fails, the disk is poisoned:
 * every later write and flush fails with -EIO until it is opened again.
 *
 * Locks. Images are locked from open to close on the byte ranges QEMU uses: the top one exclusively for a writer, everything
 * else shared. The descriptor is locked only while something about it changes.
 *
 * Forking with an open disk is not supported.
 */
#ifndef PLOOPKIT_DISK_H
#define PLOOPKIT_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <ploopkit/error.h>
#include <ploopkit/progress.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct PlkDisk PlkDisk;

/* Where the disk is and how it is opened. Zero-initialise, set struct_size, then what you need. */
typedef struct PlkDiskOptions {
    size_t struct_size;   /* sizeof(PlkDiskOptions) */
    const char *root;     /* File entries may point anywhere beneath this directory; NULL = the descriptor's own */
    bool writable;
    const char *snapshot; /* GUID text of the state to open, NULL = the active one; read-only then */
    bool alloc_full;      /* give new clusters real blocks (old OpenVZ tools call sparse images damaged) */
    bool refuse_dirty;    /* fail with PLK_ERROR_DIRTY instead of recovering an image left in use */
    bool skip_locks;      /* read-only only: look at a disk somebody else is writing; may see torn state */
    size_t cache_bytes;   /* bound for the map cache; 0 = 64 MiB */
} PlkDiskOptions;

/*
 * path: a DiskDescriptor.xml (any name ending in ".xml"), or a directory holding one, or a single ploop image, which is then
 * the whole disk. *ret is to be closed with plk_disk_close().
 */
PLK_API int plk_disk_open(const char *path, const PlkDiskOptions *options, PlkDisk **ret, PlkError *err);

/* Without a descriptor: ploop images from base to top. first_is_raw with cluster_sectors (0 = default) for a raw base. */
PLK_API int plk_disk_open_images(const char *const *paths, size_t n, bool first_is_raw,
                                 uint32_t cluster_sectors, const PlkDiskOptions *options, PlkDisk **ret,
                                 PlkError *err);

/* Flushes, marks closed, frees. The memory is freed in any case; -1 tells that something may not be
 * on disk. NULL is fine. */
PLK_API int plk_disk_close(PlkDisk *disk, PlkError *err);

typedef struct PlkDiskInfo {
    uint64_t size;            /* bytes the guest sees */
    uint32_t cluster;         /* bytes */
    int version;              /* 1, 2; 0 for a raw base alone */
    unsigned levels;          /* images in the chain */
    bool preallocated, raw;   /* raw: the base is a raw image */
    bool dirty;               /* the top image was found marked in use */
    uint64_t allocated;       /* bytes of all its files on the host, holes left out */
} PlkDiskInfo;

/* Path of level i (0 = base) as opened, valid until close; NULL past the end. */
PLK_API const char *plk_disk_image_path(PlkDisk *disk, unsigned level);
PLK_API int plk_disk_info(PlkDisk *disk, PlkDiskInfo *ret, PlkError *err);
PLK_API uint64_t plk_disk_size(const PlkDisk *disk);
PLK_API uint32_t plk_disk_cluster(const PlkDisk *disk);

/* ---- data path: 0 or -errno; -EINVAL outside [0, size); -EROFS on a read-only disk; -EUCLEAN where the image is damaged ---- */

PLK_API int plk_disk_read(PlkDisk *disk, void *buf, size_t len, uint64_t offset);
PLK_API int plk_disk_write(PlkDisk *disk, const void *buf, size_t len, uint64_t offset);
/* Reads as zeros afterwards. Space is given back where that is possible. */
PLK_API int plk_disk_zero(PlkDisk *disk, uint64_t offset, uint64_t len);
/* A hint: whole clusters that no lower image holds are given back and read as zeros, others read as zeros too;
 * partial clusters at the ends are left alone. */
PLK_API int plk_disk_discard(PlkDisk *disk, uint64_t offset, uint64_t len);
PLK_API int plk_disk_flush(PlkDisk *disk);

typedef enum PlkExtentKind {
    PLK_EXTENT_DATA,        /* an image holds it */
    PLK_EXTENT_ZERO,        /* an image holds it, as a hole */
    PLK_EXTENT_UNALLOCATED, /* no image holds it: zeros */
} PlkExtentKind;

typedef struct PlkExtent {
    uint64_t length; /* bytes from the asked offset on that are alike */
    PlkExtentKind kind;
    int level;            /* which image, -1 if unallocated */
    uint64_t file_offset; /* in that image; contiguous over `length` */
} PlkExtent;

/* What lies at `offset`, for at most max_len bytes on. */
PLK_API int plk_disk_status(PlkDisk *disk, uint64_t offset, uint64_t max_len, PlkExtent *ret);

/* What made the last data call fail, as a sentence; for -EUCLEAN it names file and offset. Control path. */
PLK_API void plk_disk_explain(PlkDisk *disk, int neg_errno, PlkError *err);

#ifdef __cplusplus
}
#endif
#endif
