/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making disks: a new empty one, a descriptor for an image that lost its own, another format or version.
 *
 * A path is that of the base image to be; the descriptor is DiskDescriptor.xml beside it. Nothing that
 * exists is overwritten or, on failure, removed; what was begun here is removed on failure, and a crash
 * leaves at most files that no descriptor names.
 */
#ifndef PLOOPKIT_CREATE_H
#define PLOOPKIT_CREATE_H

#include <ploopkit/disk.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum PlkFormat {
    PLK_FORMAT_EXPANDED,
    PLK_FORMAT_PREALLOCATED,
    PLK_FORMAT_RAW,
} PlkFormat;

typedef struct PlkCreateSpec {
    size_t struct_size;
    uint64_t size_sectors;    /* rounded up to a cluster */
    uint32_t cluster_sectors; /* 0 = 2048 (1 MiB), below 16 MiB of disk 64 (32 KiB) */
    int version;              /* 0 = 2 */
    PlkFormat format;
    bool alloc_full;
} PlkCreateSpec;

/*
 * Fills the finished but still unnamed disk; nobody else can see it yet. Non-zero (with *err set) undoes the creation.
 */
typedef int PlkCreateFill(PlkDisk *disk, void *arg, const PlkProgress *progress, PlkError *err);

/* fill may be NULL. fs_word is the filesystem's name for the geometry text beside the descriptor ("ext4", "none"). */
PLK_API int plk_disk_create(const char *base_path, const PlkCreateSpec *spec, PlkCreateFill *fill,
                            void *fill_arg, const char *fs_word, const PlkProgress *progress,
                            PlkError *err);

/* Cluster size plk_disk_create() picks for spec->cluster_sectors == 0. */
PLK_API uint32_t plk_default_cluster_sectors(uint64_t size_sectors);

/* The geometry last committed in a directory whose image and descriptor are both gone (wiped), from
 * DiskDescriptor.xml.lck. NOT_FOUND if there is none or if either file still exists. */
typedef struct PlkGeometryNote {
    uint64_t size_sectors;
    uint32_t cluster_sectors;
    int version;
    PlkFormat format;
    char filesystem[16];
} PlkGeometryNote;
PLK_API int plk_geometry_note_read(const char *dir, const char *base_name, PlkGeometryNote *ret,
                                   PlkError *err);

/*
 * DIR/DiskDescriptor.xml for one base image: size, cluster and version from its header, or for raw from
 * its length and cluster_sectors (0 = the largest of 1 MiB .. 32 KiB that divides it). EXISTS if there is a descriptor already.
 * Touches no other file, waits for no data lock. `orphans` gets the number of root.hds.{...} deltas it does not describe.
 */
PLK_API int plk_descriptor_restore(const char *dir, const char *base_path, bool raw,
                                   uint32_t cluster_sectors, unsigned *ret_orphans, PlkError *err);

/*
 * The same over the descriptor of an image in DIR that was replaced by other content: what the descriptor said of sizes and
 * snapshots is void, and the one that is there stays until the new one is durable. Waits 60 s for others who
 * change the descriptor, then LOCKED.
 */
PLK_API int plk_descriptor_renew(const char *dir, const char *base, bool raw, uint32_t cluster_sectors, PlkError *err);

/* Offline conversions of a whole disk; refused while snapshots exist for a format change. */
PLK_API int plk_convert_format(const char *path, const char *root, PlkFormat to, bool alloc_full,
                               const PlkProgress *progress, PlkError *err);
/* All images of the disk; UNSUPPORTED for raw and for disks too big for version 1. */
PLK_API int plk_convert_version(const char *path, const char *root, int to, const PlkProgress *progress,
                                PlkError *err);

#ifdef __cplusplus
}
#endif
#endif
