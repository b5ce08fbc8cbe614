/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Space the guest has freed, back to the host: the filesystem's block bitmaps say which clusters hold
 * nothing.
 *
 * The bitmaps are right only when the filesystem was unmounted, so anything else is refused. Discarding is an
 * ordinary, crash-proof engine operation: cut short, the disk is merely less empty than it could be.
 */
#include <ploopkit/filesystem.h>
#include <ploopkit/resize.h>

#include <errno.h>

#include "base/cleanup.h"
#include "base/math.h"
#include "filesystem/ext4-io.h"
#include "filesystem/step.h"
#include "filesystem/trim.h"

#define STEP "giving back free space"

static int check_clean(ext2_filsys fs, PlkError *err)
{
    struct ext2_super_block *super = fs->super;

    if (ext2fs_has_feature_journal_needs_recovery(super))
        return plk_fail(err, PLK_ERROR_DIRTY,
                        "the filesystem was not unmounted: its journal has to be replayed first, "
                        "by repairing or mounting it");
    if (!(super->s_state & EXT2_VALID_FS) || (super->s_state & EXT2_ERROR_FS))
        return plk_fail(err, PLK_ERROR_DIRTY, "the filesystem is marked as having errors: repair it first");
    return 0;
}

typedef struct FreeMap {
    PlkDisk *disk;
    PlkPartition part;
    ext2_filsys fs;
    blk64_t last;
    uint64_t discarded;
} FreeMap;

/* The next run of free blocks from *at on: [*at, *ret_end). False when there is none. */
static bool next_free(const FreeMap *map, blk64_t *at, blk64_t *ret_end)
{
    blk64_t used;

    if (*at > map->last || ext2fs_find_first_zero_block_bitmap2(map->fs->block_map, *at, map->last, at))
        return false;
    if (ext2fs_find_first_set_block_bitmap2(map->fs->block_map, *at, map->last, &used))
        used = map->last + 1;
    *ret_end = used;
    return true;
}

static int discard_free(FreeMap *map, const PlkProgress *progress, PlkError *err)
{
    uint64_t block = map->fs->blocksize, total = map->part.length;
    blk64_t end;

    for (blk64_t at = map->fs->super->s_first_data_block; next_free(map, &at, &end); at = end) {
        if (plk_step(progress, STEP, at * block, total, err) ||
            plk_trim(map->disk, map->part.offset + at * block, map->part.offset + end * block,
                     &map->discarded, err))
            return -1;
    }
    return plk_step(progress, STEP, total, total, err);
}

static int reclaim(PlkDisk *disk, uint64_t *ret_discarded, const PlkProgress *progress, PlkError *err)
{
    PLK_EXT4_AUTO ext2_filsys fs = NULL;
    FreeMap map = {.disk = disk};
    errcode_t rc;

    if (plk_partition_find(disk, &map.part, err) || plk_ext4_open(disk, &map.part, false, &fs, err) ||
        check_clean(fs, err))
        return -1;
    rc = ext2fs_read_block_bitmap(fs);
    if (rc)
        return plk_fail_ext4(err, PLK_ERROR_FORMAT, rc, "cannot read the filesystem's block bitmaps");
    map.fs = fs;
    map.last = ext2fs_blocks_count(fs->super) - 1;
    if (discard_free(&map, progress, err))
        return -1;
    *ret_discarded = map.discarded;
    return 0;
}

int plk_filesystem_reclaim(const char *path, const char *root, PlkReclaim *ret, const PlkProgress *progress,
                           PlkError *err)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .root = root, .writable = true};
    PlkReclaim result = {0};
    PlkDisk *disk;
    int rc;

    if (plk_disk_open(path, &options, &disk, err))
        return -1;
    rc = reclaim(disk, &result.discarded, progress, err);
    if (plk_disk_close(disk, rc ? NULL : err) || rc)
        return -1;
    if (plk_disk_compact(path, root, &result.freed, progress, err))
        return -1;
    *ret = result;
    return 0;
}
