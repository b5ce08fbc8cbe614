/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs that drive the OpenVZ kernel's block device. There is none here: they say so and exit 40, what
 * the original says of a disk that is not mounted. Their options are accepted, so that the answer is the same
 * for every call.
 */
#include "offline.h"

#include "cli.h"

int plk_offline_only(const char *name, const char *detail)
{
    plk_complain(
        "%s%s%s: not supported: this ploop works without a kernel device, on disks that are not in use", name,
        detail ? " " : "", detail ? detail : "");
    return PLK_EXIT_NOT_MOUNTED;
}

static int run(const PlkArgs *args)
{
    return plk_offline_only(args->name, NULL);
}

static const PlkOption device_options[] = {
    {'d', NULL, "DEVICE", NULL},
    {'l', NULL, "LEVEL", NULL},
    {'m', NULL, "DIR", NULL},
    {'c', NULL, "NAME", NULL},
    {0},
};

static const PlkOption stat_options[] = {
    {'d', NULL, "DEVICE", NULL},
    {'c', NULL, NULL, NULL},
    {'l', NULL, NULL, NULL},
    {0},
};

static const PlkOption mount_options[] = {
    {'r', NULL, NULL, NULL},
    {'F', NULL, NULL, NULL},
    {'f', NULL, "FORMAT", NULL},
    {'b', NULL, "SECTORS", NULL},
    {'d', NULL, "DEVICE", NULL},
    {'m', NULL, "DIR", NULL},
    {'o', NULL, "OPTS", NULL},
    {'t', NULL, "FSTYPE", NULL},
    {'c', NULL, "NAME", NULL},
    {'u', NULL, "UUID", NULL},
    {0},
};

static const PlkOption tsnapshot_options[] = {
    {'u', NULL, "UUID", NULL},
    {'c', NULL, "NAME", NULL},
    {'m', NULL, "DIR", NULL},
    {0},
};

#define KERNEL_VERB(id, option_list, operand_text, text)                                                     \
    const PlkVerb plk_verb_##id = {                                                                          \
        .name = #id,                                                                                         \
        .max = -1,                                                                                           \
        .operands = operand_text,                                                                            \
        .options = option_list,                                                                              \
        .flags = PLK_VERB_REFUSED,                                                                            \
        .run = run,                                                                                          \
        .help = text,                                                                                        \
    }

KERNEL_VERB(mount, mount_options, "DELTA...|DiskDescriptor.xml", "mount a disk");
KERNEL_VERB(umount, device_options, "DELTA|DiskDescriptor.xml", "unmount a disk");
KERNEL_VERB(tsnapshot, tsnapshot_options, "DiskDescriptor.xml", "take and mount a temporary snapshot");
KERNEL_VERB(start, device_options, NULL, "start a device");
KERNEL_VERB(stop, device_options, NULL, "stop a device");
KERNEL_VERB(clear, device_options, NULL, "clear a device");
KERNEL_VERB(delete, device_options, NULL, "take an image from a device");
KERNEL_VERB(getdev, device_options, NULL, "find an unused device");
KERNEL_VERB(stat, stat_options, NULL, "show a device's counters");
