/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop resize (disk and filesystem) and ploop grow (the disk alone).
 *
 * resize to a size at or below the disk's keeps the device: only the filesystem shrinks. Stock libvirt relies
 * on that without knowing; --shrink-device is the way to cut the disk.
 */
#include <string.h>

#include <ploopkit/filesystem.h>
#include <ploopkit/resize.h>

#include "cli.h"
#include "look.h"
#include "offline.h"

enum { OPT_SHRINK_DEVICE = PLK_LONG_ONLY };

static int begin(const char *path, const char *storing)
{
    PLK_LOOK_AUTO PlkLook look = {0};
    PlkError err;

    if (plk_look(path, &look, &err) < 0)
        return plk_cli_fail(&err);
    plk_say(0, "Storing %s%s", look.descriptor, storing);
    plk_say_opening(&look);
    fflush(stdout);
    return 0;
}

static int run_resize(const PlkArgs *args)
{
    const char *path = args->operands[0];
    PlkResizeSpec spec = {
        .struct_size = sizeof(spec),
        .shrink_device = plk_arg_given(args, OPT_SHRINK_DEVICE),
    };
    PlkError err;
    int rc;

    if (plk_arg_sectors(args, 's', &spec.size_sectors) || plk_need_descriptor(path))
        return PLK_EXIT_PARAM;
    if (spec.size_sectors == 0)
        return plk_cli_param("the size must be above 0");
    rc = begin(path, ".tmp");
    if (rc)
        return rc;
    if (plk_filesystem_resize(path, plk_root, &spec, plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    return PLK_EXIT_OK;
}

static int grow_image(const PlkArgs *args, uint64_t sectors)
{
    const char *path = args->operands[0], *format = plk_arg(args, 'f');
    bool raw = format && strcmp(format, "raw") == 0;
    PlkError err;

    if (format && !raw && strcmp(format, "ploop1") != 0 && strcmp(format, "expanded") != 0)
        return plk_cli_param("Incorrect format specified: %s (raw or ploop1)", format);
    plk_say(0, "Opening delta %s", path);
    if (plk_image_file_grow(path, raw, sectors, plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    return PLK_EXIT_OK;
}

static int run_grow(const PlkArgs *args)
{
    const char *path = args->n ? args->operands[0] : NULL;
    uint64_t sectors = 0;
    PlkError err;
    int rc;

    if (plk_arg_given(args, 'd'))
        return plk_offline_only(args->name, "-d DEVICE");
    if (plk_arg_sectors(args, 's', &sectors))
        return PLK_EXIT_PARAM;
    if (args->n == 0)
        return plk_cli_param("grow: which disk?");
    if (!plk_is_descriptor(path))
        return grow_image(args, sectors);
    rc = begin(path, ".tmp");
    if (rc)
        return rc;
    if (plk_disk_grow(path, plk_root, sectors, plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    return PLK_EXIT_OK;
}

static const PlkOption resize_options[] = {
    {'s', NULL, "SIZE", "new size: NUMBER[KMGT], without a letter in sectors", true},
    {OPT_SHRINK_DEVICE, "shrink-device", NULL, "a smaller size cuts the disk too; refused with snapshots"},
    {0},
};

static const char *const resize_notes[] = {
    "Above the present size disk, partition and filesystem grow. At or below it the",
    "filesystem shrinks to SIZE less four clusters and the disk keeps its size.",
    NULL,
};

const PlkVerb plk_verb_resize = {
    .name = "resize",
    .min = 1,
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = resize_options,
    .run = run_resize,
    .help = "resize the filesystem, and the disk where it must grow",
    .notes = resize_notes,
};

static const PlkOption grow_options[] = {
    {'s', NULL, "SIZE", "new size: NUMBER[KMGT], without a letter in sectors", true},
    {'f', NULL, "FORMAT", "what DELTA is: ploop1 (default) or raw"},
    {'d', NULL, "DEVICE", NULL},
    {0},
};

static const char *const grow_notes[] = {
    "With a DELTA only that file grows, and no descriptor is told.",
    NULL,
};

const PlkVerb plk_verb_grow = {
    .name = "grow",
    .max = 1,
    .operands = "DELTA|DiskDescriptor.xml",
    .options = grow_options,
    .run = run_grow,
    .help = "grow the disk alone, not the filesystem in it",
    .notes = grow_notes,
};
