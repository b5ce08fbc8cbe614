/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the contents of a disk say about the chain it is read through: for the rescue, which joins images nobody
 * remembers the order of.
 *
 * Images put together wrongly mix tables of different times, and a filesystem's tables vouch for one another:
 * group descriptors carry checksums of themselves and of the bitmaps, directories name inodes that the bitmap
 * must know, inodes carry checksums. Each disagreement counts as one fault; a sound chain has none.
 *
 * Read-only, and bounded whatever the superblock claims: so many inodes and entries are looked at, no more.
 */
#include <ploopkit/rescue.h>

#include <stdio.h>

#include "base/cleanup.h"
#include "filesystem/ext4-io.h"
#include "rescue/rescue.h"

#define INODES_MAX 65536u
#define ENTRIES_MAX 262144u
#define GROUPS_MAX 65536u

typedef struct Look {
    ext2_filsys fs;
    uint64_t faults;
    unsigned entries;
} Look;

static void look_at_groups(Look *l)
{
    ext2_filsys fs = l->fs;

    for (dgrp_t g = 0; g < fs->group_desc_count && g < GROUPS_MAX; g++)
        l->faults += !ext2fs_group_desc_csum_verify(fs, g);
    l->faults += ext2fs_check_desc(fs) != 0;
    /* Bitmaps that their descriptors do not vouch for are not read at all. */
    l->faults += ext2fs_read_bitmaps(fs) != 0;
}

static int look_at_entry(ext2_ino_t dir, int entry, struct ext2_dir_entry *dirent, int offset, int blocksize, char *buf,
                         void *arg)
{
    Look *l = arg;
    ext2_filsys fs = l->fs;

    if (++l->entries > ENTRIES_MAX)
        return DIRENT_ABORT;
    if (dirent->inode > fs->super->s_inodes_count ||
        (fs->inode_map && !ext2fs_test_inode_bitmap2(fs->inode_map, dirent->inode)))
        l->faults++;
    return 0;
}

static void look_at_inode(Look *l, ext2_ino_t ino, const struct ext2_inode *inode)
{
    if (inode->i_links_count == 0 || !LINUX_S_ISDIR(inode->i_mode))
        return;
    if (ext2fs_dir_iterate2(l->fs, ino, 0, NULL, look_at_entry, l))
        l->faults++;
}

static void look_at_inodes(Look *l)
{
    ext2_inode_scan scan;
    struct ext2_inode inode;
    ext2_ino_t ino;

    if (ext2fs_open_inode_scan(l->fs, 0, &scan)) {
        l->faults++;
        return;
    }
    for (unsigned n = 0; n < INODES_MAX && l->entries <= ENTRIES_MAX; n++) {
        errcode_t rc = ext2fs_get_next_inode(scan, &ino, &inode);

        if (rc)
            l->faults++;
        if (rc ? rc != EXT2_ET_INODE_CSUM_INVALID : ino == 0)
            break;
        if (rc == 0)
            look_at_inode(l, ino, &inode);
    }
    ext2fs_close_inode_scan(scan);
}

static void look_at_filesystem(PlkDisk *disk, const PlkPartition *part, PlkRescueContent *ret)
{
    PLK_EXT4_AUTO ext2_filsys fs = NULL;
    Look l = {0};

    if (plk_ext4_open(disk, part, false, &fs, NULL) < 0)
        return;
    l.fs = fs;
    look_at_groups(&l);
    look_at_inodes(&l);
    snprintf(ret->type, sizeof ret->type, "%s", plk_ext4_type(fs));
    ret->faults = l.faults;
    ret->written = fs->super->s_wtime;
    ret->mounts = fs->super->s_mnt_count;
}

static void look(void *arg, PlkDisk *disk, PlkRescueContent *ret)
{
    PlkPartition part;

    if (plk_partition_find(disk, &part, NULL) < 0)
        return;
    ret->table = part.in_table;
    look_at_filesystem(disk, &part, ret);
}

static const PlkRescueEvidence evidence = {.look = look};

/* ---- the public face ---- */

int plk_rescue_survey(const char *path, const char *root, const PlkProgress *progress, PlkRescue **ret,
                      PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_any(path, root, &store, err) < 0)
        return -1;
    return plk_store_rescue_survey(store, &evidence, progress, ret, err);
}

int plk_rescue_apply(const char *path, const PlkRescueOptions *options, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_any(path, options->root, &store, err) < 0)
        return -1;
    return plk_store_rescue_apply(store, &evidence, options, progress, err);
}

int plk_rescue_try(const char *path, const PlkRescueOptions *options, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_any(path, options->root, &store, err) < 0)
        return -1;
    return plk_store_rescue_try(store, &evidence, options, progress, err);
}

int plk_rescue_keep(const char *path, const PlkRescueOptions *options, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_any(path, options->root, &store, err) < 0)
        return -1;
    return plk_store_rescue_keep(store, options, progress, err);
}

int plk_rescue_drop(const char *path, const char *root, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_any(path, root, &store, err) < 0)
        return -1;
    return plk_store_rescue_drop(store, err);
}
