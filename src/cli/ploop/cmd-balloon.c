/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop balloon: giving space back.
 *
 * The original inflates a hidden file inside the mounted filesystem. Here the filesystem's own map of free
 * blocks says what the images need not keep, and the disk is not in use meanwhile. A balloon that an OpenVZ
 * host has left inside is shown, never touched.
 */
#include <inttypes.h>

#include <ploopkit/filesystem.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli.h"
#include "filesystem/ext4-io.h"
#include "look.h"
#include "offline.h"

#define BALLOON_NAME ".balloon-c3a5ae3d-ce7f-43c4-a1ea-c61e2b4504e8"
#define MIB (1024 * 1024)

enum { OPT_STAT = PLK_LONG_ONLY, OPT_AUTOMOUNT, OPT_TO_FREE, OPT_MIN_BLOCK, OPT_DEFRAG };

/* The original's selectors: -d and -m mean a device; else the descriptor must be there. -1 to go on. */
static int check_selector(const PlkArgs *args)
{
    if (plk_arg_given(args, 'd') || plk_arg_given(args, 'm'))
        return plk_offline_only(args->name, "with -d or -m");
    if (args->n == 0)
        return plk_cli_param("balloon %s: which disk? name its DiskDescriptor.xml", args->name);
    return plk_need_descriptor(args->operands[0]) ? PLK_EXIT_PARAM : -1;
}

/* ---- what is there ---- */

/* 0 where there is no balloon file. */
static int balloon_size(PlkDisk *disk, uint64_t *ret, PlkError *err)
{
    PLK_EXT4_AUTO ext2_filsys fs = NULL;
    PlkPartition part;
    struct ext2_inode inode;
    ext2_ino_t ino;

    if (plk_partition_find(disk, &part, err) < 0 || plk_ext4_open(disk, &part, false, &fs, err) < 0)
        return -1;
    *ret = 0;
    if (ext2fs_lookup(fs, EXT2_ROOT_INO, BALLOON_NAME, sizeof(BALLOON_NAME) - 1, NULL, &ino) != 0)
        return 0;
    if (ext2fs_read_inode(fs, ino, &inode) != 0)
        return plk_fail(err, PLK_ERROR_READ, "cannot read the inode of the hidden balloon");
    *ret = EXT2_I_SIZE(&inode);
    return 0;
}

static int print_balloon(PlkDisk *disk, PlkError *err)
{
    uint64_t size;

    if (balloon_size(disk, &size, err) < 0)
        return -1;
    printf("Current size of hidden balloon is %" PRIu64 " bytes\n", size);
    return 0;
}

static int print_stat(PlkDisk *disk, PlkError *err)
{
    uint64_t balloon;
    PlkFsUsage usage;
    PlkDiskInfo info;

    if (balloon_size(disk, &balloon, err) < 0 || plk_filesystem_usage(disk, &usage, err) < 0 ||
        plk_disk_info(disk, &info, err) < 0)
        return -1;
    printf("Balloon size: %8" PRIu64 "MB\n", balloon / MIB);
    printf("Data size:    %8" PRIu64 "MB\n", (usage.blocks - usage.blocks_free) * usage.block_bytes / MIB);
    printf("Ploop size:   %8" PRIu64 "MB\n", info.size / MIB);
    printf("Image size:   %8" PRIu64 "MB\n", info.allocated / MIB);
    return 0;
}

static int with_disk(const PlkArgs *args, int (*print)(PlkDisk *disk, PlkError *err))
{
    PlkDisk *disk;
    PlkError err;
    int rc = PLK_EXIT_OK;

    if (plk_cli_open(args->operands[0], false, &disk, &err) < 0)
        return plk_cli_fail(&err);
    if (print(disk, &err) < 0)
        rc = plk_cli_fail(&err);
    plk_disk_close(disk, NULL);
    return rc;
}

static int run_show(const PlkArgs *args)
{
    int rc = check_selector(args);

    return rc < 0 ? with_disk(args, print_balloon) : rc;
}

static int run_status(const PlkArgs *args)
{
    int rc = check_selector(args);

    if (rc >= 0)
        return rc;
    puts("Current state of in-kernel maintenance: OFF");
    return PLK_EXIT_OK;
}

/* ---- discard ---- */

static int run_discard(const PlkArgs *args)
{
    PlkReclaim reclaim;
    char discarded[32], freed[32];
    PlkError err;
    int rc = check_selector(args);

    if (rc >= 0)
        return rc;
    if (plk_arg_given(args, OPT_STAT))
        return with_disk(args, print_stat);
    if (plk_filesystem_reclaim(args->operands[0], plk_root, &reclaim, plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    plk_say(0, "Discarded %s, the image is %s shorter",
            plk_human_size(reclaim.discarded, discarded, sizeof(discarded)),
            plk_human_size(reclaim.freed, freed, sizeof(freed)));
    return PLK_EXIT_OK;
}

static int run_refused(const PlkArgs *args)
{
    return plk_offline_only("balloon", args->name);
}

#define SELECTORS                                                                                            \
    {'d', NULL, "DEVICE", NULL}, {'m', NULL, "DIR", NULL},                                                   \
    {                                                                                                        \
        'f', NULL, NULL, NULL                                                                                \
    }

static const PlkOption selector_options[] = {SELECTORS, {0}};
static const PlkOption change_options[] = {SELECTORS, {'s', NULL, "SIZE", NULL}, {0}};
static const PlkOption discard_options[] = {
    SELECTORS,
    {OPT_STAT, "stat", NULL, "only show sizes"},
    {OPT_AUTOMOUNT, "automount", NULL, "accepted; nothing need be mounted"},
    {OPT_TO_FREE, "to-free", "SIZE", "accepted; everything that is free is given back"},
    {OPT_MIN_BLOCK, "min-block", "SIZE", "accepted; whole clusters count"},
    {OPT_DEFRAG, "defrag", NULL, "accepted; the image is always packed"},
    {0},
};

static const PlkVerb discard = {
    .name = "discard",
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = discard_options,
    .run = run_discard,
    .help = "give back what the filesystem does not use, and pack the image",
};
static const PlkVerb show = {
    .name = "show",
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = selector_options,
    .run = run_show,
    .help = "show the size of the hidden balloon file",
};
static const PlkVerb status = {
    .name = "status",
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = selector_options,
    .run = run_status,
    .help = "say that nothing is under way",
};
#define KERNEL_VERB(id, option_list, text)                                                                   \
    static const PlkVerb id = {                                                                              \
        .name = #id,                                                                                         \
        .max = 1,                                                                                            \
        .operands = "DiskDescriptor.xml",                                                                    \
        .options = option_list,                                                                              \
        .flags = PLK_VERB_REFUSED,                                                                            \
        .run = run_refused,                                                                                  \
        .help = text,                                                                                        \
    }

KERNEL_VERB(change, change_options, "resize the balloon");
KERNEL_VERB(clear, selector_options, "clear the kernel's state");
KERNEL_VERB(complete, selector_options, "finish the kernel's work");
KERNEL_VERB(check, selector_options, "look at the balloon's blocks");
KERNEL_VERB(repair, selector_options, "mend the balloon");

static const PlkVerb *const sub_verbs[] = {
    &discard, &show, &status, &change, &clear, &complete, &check, &repair, NULL,
};

const PlkVerb plk_verb_balloon = {
    .name = "balloon",
    .help = "give unused space back to the host",
    .sub = sub_verbs,
};
