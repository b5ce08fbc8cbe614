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

const PlkVerb plk_verb_mount = {
    "mount", 0, -1, "DELTA...|DiskDescriptor.xml", mount_options, PLK_VERB_KERNEL, run, "mount a disk",
};
const PlkVerb plk_verb_umount = {
    "umount", 0, -1, "DELTA|DiskDescriptor.xml", device_options, PLK_VERB_KERNEL, run, "unmount a disk",
};
const PlkVerb plk_verb_start = {"start", 0, -1, NULL, device_options, PLK_VERB_KERNEL, run, "start a device"};
const PlkVerb plk_verb_stop = {"stop", 0, -1, NULL, device_options, PLK_VERB_KERNEL, run, "stop a device"};
const PlkVerb plk_verb_clear = {"clear", 0, -1, NULL, device_options, PLK_VERB_KERNEL, run, "clear a device"};
const PlkVerb plk_verb_delete = {
    "delete", 0, -1, NULL, device_options, PLK_VERB_KERNEL, run, "take an image from a device"};
const PlkVerb plk_verb_getdev = {
    "getdev", 0, -1, NULL, device_options, PLK_VERB_KERNEL, run, "find an unused device"};
const PlkVerb plk_verb_stat = {
    "stat", 0, -1, NULL, stat_options, PLK_VERB_KERNEL, run, "show a device's counters"};
const PlkVerb plk_verb_tsnapshot = {
    "tsnapshot",
    0,
    -1,
    "DiskDescriptor.xml",
    tsnapshot_options,
    PLK_VERB_KERNEL,
    run,
    "take and mount a temporary snapshot",
};
