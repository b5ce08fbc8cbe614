/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* e2fsck on a disk that nobody has open. */
#include <ploopkit/filesystem.h>

#include "base/cleanup.h"
#include "change/scratch.h"
#include "filesystem/e2fsck.h"
#include "filesystem/ext4-io.h"

/* e2fsck on something else only says that the superblock is damaged. */
static int find(PlkDisk *disk, PlkPartition *ret, PlkError *err)
{
    PLK_EXT4_AUTO ext2_filsys fs = NULL;
    PlkError why = {0};

    if (plk_partition_find(disk, ret, err))
        return -1;
    if (plk_ext4_open(disk, ret, false, &fs, &why) == 0 || why.code != PLK_ERROR_NOT_FOUND)
        return 0;
    if (err)
        *err = why;
    return -1;
}

static int look(const char *path, const char *root, const PlkProgress *progress, PlkError *err)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .root = root};
    PlkPartition part;
    PlkDisk *disk;
    int rc;

    if (plk_disk_open(path, &options, &disk, err))
        return -1;
    rc = find(disk, &part, err);
    if (!rc)
        rc = plk_e2fsck(disk, &part, PLK_FSCK_LOOK, progress, err);
    plk_disk_close(disk, NULL);
    return rc;
}

static int repair_scratch(PlkDisk *disk, const PlkProgress *progress, PlkError *err)
{
    PlkPartition part;

    if (find(disk, &part, err))
        return -1;
    return plk_e2fsck(disk, &part, PLK_FSCK_REPAIR, progress, err);
}

int plk_filesystem_check(const char *path, const char *root, bool repair, const PlkProgress *progress,
                         PlkError *err)
{
    PlkScratch *scratch;

    if (!repair)
        return look(path, root, progress, err);
    if (plk_scratch_begin(path, root, 0, &scratch, err))
        return -1;
    if (repair_scratch(plk_scratch_disk(scratch), progress, err) == 0)
        return plk_scratch_commit(scratch, progress, err);
    plk_scratch_drop(scratch);
    return -1;
}
