/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is inside a disk: one GPT partition holding ext4, as `ploop init` lays it out. No mount, no root, no kernel feature:
 * e2fsprogs does the work on a view of the disk (FUSE where it is there, else a sparse copy whose space is checked first).
 *
 * Anything that changes the filesystem of an existing disk runs on a scratch delta above it, published by one descriptor
 * commit after the helper succeeded and then merged: a crash or a failing helper leaves the disk as it was.
 */
#ifndef PLOOPKIT_FILESYSTEM_H
#define PLOOPKIT_FILESYSTEM_H

#include <ploopkit/create.h>
#include <ploopkit/disk.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct PlkMkfsSpec {
    size_t struct_size;
    const char *type;     /* "ext4" or "ext3" */
    uint32_t block_bytes; /* 0 = 4096 */
    bool no_lazy;         /* initialise inode tables now */
    const char *populate; /* directory or tar archive to fill it from; NULL = empty */
} PlkMkfsSpec;

/* Smallest disk in sectors that mkfs accepts for this cluster size. */
PLK_API uint64_t plk_mkfs_min_sectors(uint32_t cluster_sectors);

/* A PlkCreateFill for plk_disk_create(); arg is a const PlkMkfsSpec *. ARGUMENT (naming the minimum) if the disk is too small. */
PLK_API int plk_mkfs_fill(PlkDisk *disk, void *arg, const PlkProgress *progress, PlkError *err);

/*
 * `ploop resize`: size_sectors rounded up to a cluster. Above the device: disk, partition and filesystem grow. At or below: the
 * filesystem shrinks to size minus four clusters, the freed clusters are given back, the device keeps its size; with
 * shrink_device the device is cut too (BUSY while snapshots exist).
 */
typedef struct PlkResizeSpec {
    size_t struct_size;
    uint64_t size_sectors;
    bool shrink_device;
} PlkResizeSpec;
PLK_API int plk_filesystem_resize(const char *path, const char *root, const PlkResizeSpec *spec,
                                  const PlkProgress *progress, PlkError *err);

typedef struct PlkFsUsage {
    uint64_t block_bytes, blocks, blocks_free;
    uint64_t inodes, inodes_free;
    char type[16]; /* "ext4", "ext3", "ext2" */
} PlkFsUsage;
/* From the superblock through the chain. NOT_FOUND when there is no ext filesystem. */
PLK_API int plk_filesystem_usage(PlkDisk *disk, PlkFsUsage *ret, PlkError *err);

/*
 * Give back what the filesystem does not use: whole clusters are discarded, unused parts of others become holes, then the
 * active image is packed. Refused (DIRTY) unless the filesystem was unmounted cleanly. Sizes in bytes.
 */
typedef struct PlkReclaim {
    uint64_t discarded, freed;
} PlkReclaim;
PLK_API int plk_filesystem_reclaim(const char *path, const char *root, PlkReclaim *ret,
                                   const PlkProgress *progress, PlkError *err);

/* e2fsck on the disk: read-only, or repairing (-p) on a scratch delta. FSCK error if errors are left. */
PLK_API int plk_filesystem_check(const char *path, const char *root, bool repair,
                                 const PlkProgress *progress, PlkError *err);

/* The files inside, as a tar archive (pax) to a descriptor; owners, modes, devices, xattrs, hard links and holes kept. */
PLK_API int plk_filesystem_export_tar(PlkDisk *disk, int out_fd, const PlkProgress *progress,
                                      PlkError *err);

#ifdef __cplusplus
}
#endif
#endif
