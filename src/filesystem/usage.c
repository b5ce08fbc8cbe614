/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How full the filesystem is, from its superblock. */
#include <ploopkit/filesystem.h>

#include <stdio.h>

#include "base/cleanup.h"
#include "filesystem/ext4-io.h"

const char *plk_ext4_type(ext2_filsys fs)
{
    if (ext2fs_has_feature_extents(fs->super) || ext2fs_has_feature_flex_bg(fs->super) ||
        ext2fs_has_feature_64bit(fs->super) || ext2fs_has_feature_metadata_csum(fs->super) ||
        ext2fs_has_feature_gdt_csum(fs->super) || ext2fs_has_feature_huge_file(fs->super))
        return "ext4";
    return ext2fs_has_feature_journal(fs->super) ? "ext3" : "ext2";
}

int plk_filesystem_usage(PlkDisk *disk, PlkFsUsage *ret, PlkError *err)
{
    PLK_EXT4_AUTO ext2_filsys fs = NULL;
    PlkPartition part;

    if (plk_partition_find(disk, &part, err) || plk_ext4_open(disk, &part, false, &fs, err))
        return -1;
    *ret = (PlkFsUsage){
        .block_bytes = fs->blocksize,
        .blocks = ext2fs_blocks_count(fs->super),
        .blocks_free = ext2fs_free_blocks_count(fs->super),
        .inodes = fs->super->s_inodes_count,
        .inodes_free = fs->super->s_free_inodes_count,
    };
    snprintf(ret->type, sizeof ret->type, "%s", plk_ext4_type(fs));
    return 0;
}
