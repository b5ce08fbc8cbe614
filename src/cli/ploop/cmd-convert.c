/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploop convert: another format or another image version, in place. */
#include <ploopkit/check.h>
#include <ploopkit/create.h>

#include "cli.h"
#include "fill.h"
#include "look.h"

enum { OPT_ALLOC = PLK_LONG_ONLY };

static int ignore_finding(void *arg, const PlkFinding *finding)
{
    return 0;
}

/* The conversion fills what it adds; the clusters that were there before may have holes, too. */
static int fill_holes(const char *path)
{
    PlkCheckOptions options = {
        .struct_size = sizeof(options),
        .root = plk_root,
        .sparse = true,
        .repair = PLK_REPAIR_SPARSE,
    };
    PlkCheckResult result;
    PlkError err;

    if (plk_check_disk(path, &options, ignore_finding, NULL, plk_cli_progress(), &result, &err) < 0)
        return plk_cli_fail(&err);
    return PLK_EXIT_OK;
}

static int convert_format(const PlkArgs *args, const PlkLook *look, bool full)
{
    const char *path = args->operands[0];
    PlkFormat format = PLK_FORMAT_EXPANDED;
    PlkError err;

    if (plk_arg_format(args, 'f', &format))
        return PLK_EXIT_PARAM;
    plk_say(0, "Storing %s.tmp", look->descriptor);
    if (format != PLK_FORMAT_EXPANDED) {
        plk_say(0, "Converting image to %s...", format == PLK_FORMAT_RAW ? "raw" : "preallocated");
        plk_say_opening(look);
    }
    fflush(stdout);
    if (plk_convert_format(path, plk_root, format, full, plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    return PLK_EXIT_OK;
}

static int convert_version(const PlkArgs *args, const PlkLook *look)
{
    uint64_t version = 0;
    PlkError err;

    if (plk_arg_uint(args, 'v', 2, &version))
        return PLK_EXIT_PARAM;
    if (version == 0)
        return plk_cli_param("Unknown ploop image version: 0");
    plk_say_opening(look);
    fflush(stdout);
    if (plk_convert_version(args->operands[0], plk_root, (int)version, plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    plk_say(0, "ploop image has been successfully converted");
    return PLK_EXIT_OK;
}

static int run(const PlkArgs *args)
{
    bool format = plk_arg_given(args, 'f');
    PLK_LOOK_AUTO PlkLook look = {0};
    bool full = false;
    PlkError err;
    int rc;

    if (format == plk_arg_given(args, 'v'))
        return plk_cli_param("convert needs exactly one of -f and -v");
    if (plk_need_descriptor(args->operands[0]) || plk_arg_alloc(args, OPT_ALLOC, &full))
        return PLK_EXIT_PARAM;
    if (plk_look(args->operands[0], &look, &err) < 0)
        return plk_cli_fail(&err);
    rc = format ? convert_format(args, &look, full) : convert_version(args, &look);
    return rc == PLK_EXIT_OK && full ? fill_holes(args->operands[0]) : rc;
}

static const PlkOption options[] = {
    {'f', NULL, "FORMAT", "expanded (= ploop1), preallocated or raw; not while snapshots exist"},
    {'v', NULL, "VERSION", "1 or 2, for all images of the disk"},
    {OPT_ALLOC, "alloc", "full|sparse", "real blocks for every cluster, or holes (default)"},
    {0},
};

static const char *const notes[] = {"Exactly one of -f and -v.", NULL};

const PlkVerb plk_verb_convert = {
    .name = "convert",
    .min = 1,
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = options,
    .run = run,
    .help = "change the format or the version of the images",
    .notes = notes,
};
