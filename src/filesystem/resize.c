/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `ploop resize`: filesystem, partition and disk take a new size together.
 *
 * All that is not crash-safe by itself (e2fsck, resize2fs, the table) happens on a scratch delta. Its commit
 * is the resize; what follows a shrink (giving back the freed clusters, cutting the device) may be
 * interrupted and repeated.
 */
#include <ploopkit/filesystem.h>
#include <ploopkit/resize.h>
#include <ploopkit/snapshot.h>

#include <assert.h>
#include <inttypes.h>

#include "base/cleanup.h"
#include "base/math.h"
#include "change/scratch.h"
#include "filesystem/e2fsck.h"
#include "filesystem/ext4-io.h"
#include "filesystem/trim.h"

typedef struct Resize {
    const char *path, *root;
    uint64_t target; /* bytes of device, whole clusters */
    uint32_t cluster;
    bool shrink_device;
    uint64_t fs_end;   /* after a shrink: first byte of the disk behind the filesystem ... */
    uint64_t tail_end; /* ... and behind its partition */
    const PlkProgress *progress;
} Resize;

/* Room ploop leaves for table and alignment, in clusters. */
#define RESERVE 4

static int check_snapshots(const Resize *r, PlkError *err)
{
    PlkSnapshotList list;
    size_t n;

    if (plk_snapshot_list(r->path, r->root, &list, err))
        return -1;
    n = list.n;
    plk_snapshot_list_clear(&list);
    if (n > 1)
        return plk_fail(err, PLK_ERROR_BUSY, "'%s' has snapshots: its device cannot be made smaller",
                        r->path);
    return 0;
}

/* The filesystem that is there, or an error that says what else can be done. */
static int check_filesystem(const Resize *r, PlkDisk *disk, PlkError *err)
{
    PlkError why = {0};
    PlkFsUsage usage;

    if (plk_filesystem_usage(disk, &usage, &why) == 0)
        return 0;
    if (why.code == PLK_ERROR_NOT_FOUND)
        return plk_fail(err, PLK_ERROR_UNSUPPORTED,
                        "'%s' holds no ext4 filesystem to resize; `ploop grow` makes the device alone bigger",
                        r->path);
    if (err)
        *err = why;
    return -1;
}

static int check_disk(Resize *r, uint64_t sectors, PlkDisk *disk, bool *ret_grow, PlkError *err)
{
    r->cluster = plk_disk_cluster(disk);
    if (sectors > (UINT64_MAX - r->cluster) / PLK_SECTOR)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "a disk of %" PRIu64 " sectors is too big", sectors);
    r->target = plk_round_up(sectors * PLK_SECTOR, r->cluster);
    *ret_grow = r->target > plk_disk_size(disk);
    if (r->target <= (uint64_t)RESERVE * r->cluster)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "cannot resize '%s' to %" PRIu64
                        " sectors: the size has to be more than %u clusters, %" PRIu64 " sectors",
                        r->path, sectors, RESERVE, (uint64_t)RESERVE * r->cluster / PLK_SECTOR);
    if (r->shrink_device && !*ret_grow && check_snapshots(r, err))
        return -1;
    return check_filesystem(r, disk, err);
}

/* Before anything is locked or made: is it possible at all, and which way? */
static int plan(Resize *r, uint64_t sectors, bool *ret_grow, PlkError *err)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .root = r->root};
    PlkDisk *disk;
    int rc;

    if (plk_disk_open(r->path, &options, &disk, err))
        return -1;
    rc = check_disk(r, sectors, disk, ret_grow, err);
    plk_disk_close(disk, NULL);
    return rc;
}

static int grow(Resize *r, PlkDisk *disk, PlkError *err)
{
    PlkPartition part;

    if (plk_partition_fit(disk, r->target, &part, err) ||
        plk_e2fsck(disk, &part, PLK_FSCK_REPAIR, r->progress, err))
        return -1;
    return plk_resize2fs(disk, &part, 0, r->progress, err);
}

/* ploop's size for the filesystem of a device of `target` bytes: F = target - 4 clusters, in KiB, whole 4
 * KiB. */
static uint64_t shrunk_kib(const Resize *r, uint64_t partition)
{
    uint64_t bytes = PLK_MIN(r->target - (uint64_t)RESERVE * r->cluster, partition);

    return plk_round_down(bytes / 1024, 4);
}

static int shrink(Resize *r, PlkDisk *disk, PlkError *err)
{
    PlkPartition part;
    uint64_t kib;

    if (plk_partition_find(disk, &part, err) || plk_e2fsck(disk, &part, PLK_FSCK_REPAIR, r->progress, err))
        return -1;
    kib = shrunk_kib(r, part.length);
    r->fs_end = part.offset + kib * 1024;
    r->tail_end = part.offset + part.length;
    if (r->shrink_device && r->fs_end > r->target)
        return plk_fail(err, PLK_ERROR_UNSUPPORTED,
                        "the partition begins too far into '%s' to cut the device", r->path);
    if (plk_resize2fs(disk, &part, kib, r->progress, err))
        return -1;
    if (!r->shrink_device)
        return 0;
    if (plk_partition_fit(disk, r->target, &part, err))
        return -1;
    /* The backup table is behind that now; what lies beyond the device goes with it. */
    r->tail_end = part.offset + part.length;
    return 0;
}

/* Works on the scratch and publishes it, or throws it away. */
static int on_scratch(Resize *r, bool growing, PlkError *err)
{
    PlkScratch *scratch;
    uint64_t sectors = growing ? r->target / PLK_SECTOR : 0;
    int rc;

    if (plk_scratch_begin(r->path, r->root, sectors, &scratch, err))
        return -1;
    rc = growing ? grow(r, plk_scratch_disk(scratch), err) : shrink(r, plk_scratch_disk(scratch), err);
    if (rc == 0)
        return plk_scratch_commit(scratch, r->progress, err);
    plk_scratch_drop(scratch);
    return -1;
}

static int trim_tail(Resize *r, PlkError *err)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .root = r->root, .writable = true};
    uint64_t discarded = 0;
    PlkDisk *disk;
    int rc;

    if (plk_disk_open(r->path, &options, &disk, err))
        return -1;
    rc = plk_trim(disk, r->fs_end, r->tail_end, &discarded, err);
    return plk_disk_close(disk, rc ? NULL : err) || rc ? -1 : 0;
}

static int give_back(Resize *r, PlkError *err)
{
    if (trim_tail(r, err) || plk_disk_compact(r->path, r->root, NULL, r->progress, err))
        return -1;
    if (!r->shrink_device)
        return 0;
    return plk_disk_shrink(r->path, r->root, r->target / PLK_SECTOR, r->progress, err);
}

int plk_filesystem_resize(const char *path, const char *root, const PlkResizeSpec *spec,
                          const PlkProgress *progress, PlkError *err)
{
    Resize r = {.path = path, .root = root, .shrink_device = spec->shrink_device, .progress = progress};
    bool growing = false;

    assert(spec->struct_size == sizeof *spec);
    if (plan(&r, spec->size_sectors, &growing, err) || on_scratch(&r, growing, err))
        return -1;
    if (growing || give_back(&r, err) == 0)
        return 0;
    plk_error_prefix(err, "the filesystem is smaller now, but what it left is not all given back: ");
    return -1;
}
