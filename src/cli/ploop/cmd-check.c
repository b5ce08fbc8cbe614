/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop check: says what the library finds in the words of the original, which scripts and people know, and
 * ends with its exit codes. Where these differ on purpose: docs/formats/check.md.
 */
#include <inttypes.h>
#include <string.h>

#include <ploopkit/check.h>

#include "cli.h"
#include "cli/common/json.h"
#include "look.h"

enum { OPT_JSON = PLK_LONG_ONLY, OPT_DRY_RUN, OPT_ALL };

/* One run of the command. */
typedef struct Run {
    const char *path;
    bool disk;      /* a descriptor, not one image */
    bool hard;      /* -F */
    bool read_only; /* -r */
    bool all;       /* --all: lower images, too */
    bool holes;     /* -c: name them */
    bool dry_run;   /* say what would be done */
    bool silent;    /* -s: without the reasons */
    bool entries_bad;
    int rc; /* of the first finding that has one */
    PlkJson *json;
} Run;

static void fail_with(Run *run, int rc)
{
    if (run->rc == PLK_EXIT_OK)
        run->rc = rc;
}

/* ---- entries: two lines each ---- */

static void say_entry(const PlkFinding *f)
{
    switch (f->kind) {
    case PLK_FOUND_BEYOND_DEVICE:
        plk_say(0, "Data cluster (%" PRIu64 ") beyond block device size... ", f->slot);
        break;
    case PLK_FOUND_MISALIGNED:
        plk_say(0, "L2 slot (%" PRIu64 ") corrupted... ", f->slot);
        break;
    case PLK_FOUND_BEYOND_EOF:
        plk_say(0, "Data cluster %" PRIu64 " beyond EOF, vsec=%" PRIu64 "... ", f->value, f->slot);
        break;
    default:
        plk_say(0, "Block %" PRIu64 " is used more than once, vsec=%" PRIu64 "... ", f->value, f->slot);
        break;
    }
}

static const char *verdict(const Run *run, const PlkFinding *f)
{
    if (f->fixed)
        return run->dry_run ? "Would be fixed" : "Fixed";
    if (f->kind == PLK_FOUND_BEYOND_DEVICE)
        return "Skipped";
    return run->hard && !run->read_only ? "Ignored" : "FATAL";
}

static bool is_entry(PlkFindingKind kind)
{
    return kind >= PLK_FOUND_BEYOND_DEVICE && kind <= PLK_FOUND_DUPLICATE;
}

static bool counts_as_failure(const Run *run, const PlkFinding *f)
{
    return !f->fixed && strcmp(verdict(run, f), "Ignored") != 0;
}

/* ---- the rest: one line each ---- */

static const char *done(const Run *run, const PlkFinding *f)
{
    return !f->fixed ? "" : run->dry_run ? "; would be fixed" : "; fixed";
}

static void say_holes(const Run *run, const PlkFinding *f)
{
    for (uint64_t i = 0; run->holes && i < f->count; i++)
        plk_say(0, "Hole at block %" PRIu64, f->value + i);
}

static void say_tail(const Run *run, const PlkFinding *f)
{
    if (f->fixed)
        plk_say(0, run->dry_run ? "Want to trim tail" : "Trimming tail");
    else
        plk_complain("Want to trim tail");
}

static void say_sparse(const Run *run, const PlkFinding *f)
{
    if (f->fixed)
        plk_say(0, "%s hole at start=%" PRIu64 " len=%" PRIu64, run->dry_run ? "Want to fill" : "Filling", f->offset,
                f->value);
    else
        plk_complain("ploop image '%s' is sparse: start=%" PRIu64 " len=%" PRIu64, f->image, f->offset,
                     f->value);
}

static void say_empty_flag(const Run *run, const PlkFinding *f)
{
    plk_complain("CIF_Empty flag is incorrect%s", run->dry_run ? done(run, f) : "");
    if (!f->fixed && run->read_only)
        plk_complain("Image is clean but unable to fix the header on ro image");
}

/* Lines of its own for what a repair does and loses: see say_reasons(). */
static bool wants_reasons(const Run *run, const PlkFinding *f)
{
    if (run->silent || !f->proposal)
        return false;
    return f->rank >= PLK_FINDING_LOSSY || (run->dry_run && f->rank == PLK_FINDING_LOSSLESS) || f->fixed;
}

/* What the original does not look for. */
static void say_meaning(const Run *run, const PlkFinding *f)
{
    if (f->rank == PLK_FINDING_INFO || f->fixed)
        plk_say(0, "%s: offset %" PRIu64 ": %s%s", f->image, f->offset, f->meaning, done(run, f));
    else if (f->proposal && !wants_reasons(run, f))
        plk_complain("%s: offset %" PRIu64 ": %s (%s%s)", f->image, f->offset, f->meaning,
                     f->rank == PLK_FINDING_FATAL ? "" : "a repair would ", f->proposal);
    else
        plk_complain("%s: offset %" PRIu64 ": %s", f->image, f->offset, f->meaning);
}

/* The original's words, which scripts look for, and behind them which field it is and where. */
static void say_header(const Run *run, const char *words, const PlkFinding *f)
{
    plk_complain("%s in image %s: offset %" PRIu64 ": %s%s", words, f->image, f->offset, f->meaning, done(run, f));
}

static void say(const Run *run, const PlkFinding *f)
{
    switch (f->kind) {
    case PLK_FOUND_SIGNATURE:
        say_header(run, "Wrong signature", f);
        break;
    case PLK_FOUND_TYPE:
        say_header(run, "Wrong type", f);
        break;
    case PLK_FOUND_CLUSTER_SIZE:
        say_header(run, "Wrong cluster size", f);
        break;
    case PLK_FOUND_FIRST_BLOCK:
        say_header(run, "Wrong first block offset", f);
        break;
    case PLK_FOUND_BAT_SHORT:
    case PLK_FOUND_FIRST_BLOCK_OUTSIDE:
        say_header(run, "Short read index table", f);
        break;
    case PLK_FOUND_CONVERTING:
        plk_complain("Image %s is in the changing version state", f->image);
        break;
    case PLK_FOUND_HOLE:
        say_holes(run, f);
        break;
    case PLK_FOUND_TAIL:
        say_tail(run, f);
        break;
    case PLK_FOUND_IN_USE:
        plk_complain("%s: Dirty flag is set%s", f->image, run->dry_run ? done(run, f) : "");
        break;
    case PLK_FOUND_EMPTY_FLAG:
        say_empty_flag(run, f);
        break;
    case PLK_FOUND_SPARSE:
        say_sparse(run, f);
        break;
    default:
        say_meaning(run, f);
        break;
    }
}

/* ---- why, and at what cost: below what the original says too ---- */

static void say_reasons(const Run *run, const PlkFinding *f)
{
    const char *how = "repair";

    if (!wants_reasons(run, f))
        return;
    if (f->rank == PLK_FINDING_FATAL)
        how = "way out";
    else if (f->rank == PLK_FINDING_LOSSY && !f->fixed)
        how = "repair, with -F";
    else if (f->kind == PLK_FOUND_IN_USE && !f->fixed)
        how = "repair, with -d";
    if (is_entry(f->kind))
        plk_say(0, "    offset %" PRIu64 ": %s", f->offset, f->meaning);
    if (f->rank >= PLK_FINDING_LOSSY || run->dry_run)
        plk_say(0, "    %s: %s", how, f->proposal);
    if (f->loss)
        plk_say(0, "    lost: %s", f->loss);
}

/* ---- exit codes ---- */

/* Of a finding that is no entry and was not fixed. */
static int exit_of(const Run *run, const PlkFinding *f)
{
    switch (f->kind) {
    case PLK_FOUND_HEADER_SHORT:
    case PLK_FOUND_BAT_SHORT:
    case PLK_FOUND_FIRST_BLOCK_OUTSIDE:
        return PLK_EXIT_READ;
    case PLK_FOUND_CONVERTING:
        return PLK_EXIT_BUSY;
    case PLK_FOUND_IN_USE: /* of a disk, the images below the top are not repaired unless asked for */
        return run->disk && !run->all && !run->read_only ? PLK_EXIT_WRITE : PLK_EXIT_DIRTY;
    case PLK_FOUND_EMPTY_FLAG:
        return run->read_only && !run->disk ? PLK_EXIT_WRITE : PLK_EXIT_OK;
    case PLK_FOUND_SPARSE:
        return PLK_EXIT_FORMAT;
    default:
        return f->rank >= PLK_FINDING_LOSSY ? PLK_EXIT_FORMAT : PLK_EXIT_OK;
    }
}

static void say_in_json(PlkJson *j, const PlkFinding *f)
{
    plk_json_open(j, NULL, '{');
    plk_json_string(j, "kind", plk_finding_name(f->kind));
    plk_json_string(j, "rank", plk_finding_rank_name(f->rank));
    plk_json_string(j, "image", f->image);
    plk_json_uint(j, "level", f->level);
    if (f->slot != PLK_NO_SLOT)
        plk_json_uint(j, "slot", f->slot);
    if (f->other != PLK_NO_SLOT)
        plk_json_uint(j, "other_slot", f->other);
    plk_json_uint(j, "offset", f->offset);
    plk_json_uint(j, "value", f->value);
    if (f->rank == PLK_FINDING_LOSSLESS || f->rank == PLK_FINDING_LOSSY)
        plk_json_uint(j, "becomes", f->becomes);
    plk_json_uint(j, "count", f->count);
    plk_json_string(j, "meaning", f->meaning);
    plk_json_string(j, "proposal", f->proposal);
    plk_json_string(j, "loss", f->loss);
    plk_json_bool(j, "fixed", f->fixed);
    plk_json_close(j, '}');
}

static int take_finding(void *arg, const PlkFinding *f)
{
    Run *run = arg;

    if (run->json) {
        say_in_json(run->json, f);
    } else if (is_entry(f->kind)) {
        say_entry(f);
        plk_say(0, "%s", verdict(run, f));
    } else {
        say(run, f);
    }
    if (!run->json)
        say_reasons(run, f);
    if (is_entry(f->kind) && counts_as_failure(run, f)) {
        run->entries_bad |= f->kind != PLK_FOUND_BEYOND_DEVICE;
        fail_with(run, PLK_EXIT_FORMAT);
    } else if (!is_entry(f->kind) && !f->fixed) {
        fail_with(run, exit_of(run, f));
    }
    return plk_cancelled();
}

/* ---- the command ---- */

static void say_end(const Run *run, const PlkCheckResult *result)
{
    if (result->skipped)
        plk_say(0, "Image is clean, check is skipped");
    if (run->entries_bad)
        plk_complain("Fatal errors were found, image %s is not repaired", run->path);
    else if (run->rc == PLK_EXIT_OK && result->found[PLK_FINDING_FATAL])
        plk_warn("%s: %" PRIu64 " fault(s) left that check can not repair; writing to it is refused",
                 run->path, result->left);
}

static int check(Run *run, const PlkCheckOptions *options)
{
    const PlkProgress *progress = run->silent ? NULL : plk_cli_progress();
    PlkCheckResult result = {0};
    PlkError err;
    int r;

    if (run->json) {
        plk_json_open(run->json, NULL, '{');
        plk_json_string(run->json, "path", run->path);
        plk_json_bool(run->json, "dry_run", run->dry_run);
        plk_json_open(run->json, "findings", '[');
    }
    r = run->disk ? plk_check_disk(run->path, options, take_finding, run, progress, &result, &err)
                  : plk_check_image(run->path, options, take_finding, run, progress, &result, &err);
    if (r < 0)
        run->rc = plk_exit_code(err.code);
    if (run->json) {
        plk_json_close(run->json, ']');
        plk_json_bool(run->json, "skipped", result.skipped);
        plk_json_uint(run->json, "fixed", result.fixed);
        plk_json_uint(run->json, "left", result.left);
        plk_json_uint(run->json, "exit", (uint64_t)run->rc);
        plk_json_close(run->json, '}');
    }
    if (r < 0)
        return plk_cli_fail(&err);
    if (!run->json && !run->silent)
        say_end(run, &result);
    return run->rc;
}

/* A disk as a whole is not repaired with loss in passing: only with --all, which asks for it. */
static unsigned repairs(const PlkArgs *args, bool disk)
{
    unsigned repair = PLK_REPAIR_LOSSLESS;

    if (plk_arg_given(args, 'r'))
        return 0;
    if (plk_arg_given(args, 'F') && (!disk || plk_arg_given(args, OPT_ALL)))
        repair |= PLK_REPAIR_LOSSY;
    if (plk_arg_given(args, 'd') || disk)
        repair |= PLK_REPAIR_IN_USE;
    if (plk_arg_given(args, 'S'))
        repair |= PLK_REPAIR_SPARSE;
    return repair;
}

static void warn_of_ignored(const PlkArgs *args)
{
    bool all = plk_arg_given(args, OPT_ALL);

    for (const char *o = all ? "fdRb" : "fFdRb"; *o; o++) {
        if (plk_arg_given(args, *o)) {
            plk_warn("options -f %s-d -R -b are ignored for DiskDescriptor.xml form", all ? "" : "-F ");
            return;
        }
    }
}

static int run_check(const PlkArgs *args)
{
    Run run = {
        .path = args->operands[0],
        .disk = plk_is_descriptor(args->operands[0]),
        .hard = plk_arg_given(args, 'F'),
        .read_only = plk_arg_given(args, 'r'),
        .all = plk_arg_given(args, OPT_ALL),
        .holes = plk_arg_given(args, 'c'),
        .dry_run = plk_arg_given(args, OPT_DRY_RUN) && !plk_arg_given(args, 'r'),
        .silent = plk_arg_given(args, 's'),
    };
    PlkJson json = {.out = stdout};
    PlkCheckOptions options = {
        .struct_size = sizeof options,
        .root = plk_root,
        .raw = plk_arg_given(args, 'R') && !run.disk,
        .repair = repairs(args, run.disk),
        .skip_clean = !run.disk && !run.hard && !plk_arg_given(args, 'f'),
        .sparse = plk_arg_given(args, 'S'),
        .dry_run = run.dry_run,
        .lower = run.all,
    };
    uint64_t cluster = 0;
    char guid[39];

    if (plk_arg_uint(args, 'b', UINT32_MAX, &cluster) ||
        (plk_arg_given(args, 'u') && plk_arg_guid(args, 'u', guid)))
        return PLK_EXIT_PARAM;
    if (options.raw && !cluster)
        return plk_cli_param("Cluster blocksize required for raw image");
    options.cluster_sectors = (uint32_t)cluster;
    options.snapshot = plk_arg_given(args, 'u') ? guid : NULL;
    run.json = plk_arg_given(args, OPT_JSON) ? &json : NULL;
    if (run.all && !run.disk)
        return plk_cli_param("--all is for a DiskDescriptor.xml");
    if (run.disk) {
        run.hard = run.hard && run.all;
        warn_of_ignored(args);
    }
    return check(&run, &options);
}

static const PlkOption options_of_check[] = {
    {'u', "uuid", "UUID", "descriptor: the images up to this snapshot, not to the top"},
    {'f', "force", NULL, "look also into an image that was closed cleanly"},
    {'F', "hard-force", NULL, "-f, and repair what has lost data or loses some"},
    {'c', "check", NULL, "name unused clusters inside the file too"},
    {'r', "ro", NULL, "change nothing"},
    {'s', "silent", NULL, "only say what is wrong"},
    {'d', "drop-inuse", NULL, "take off the mark of an image that was not closed"},
    {'R', "raw", NULL, "DELTA is a raw image"},
    {'b', "blocksize", "SECTORS", "cluster of a raw image"},
    {'S', "repair-sparse", NULL, "give holes of the file real blocks, as old tools want"},
    {OPT_ALL, "all", NULL, "descriptor: repair images below snapshots too; -F counts"},
    {OPT_DRY_RUN, "dry-run", NULL, "say what these options would do, and lose; do nothing"},
    {OPT_JSON, "json", NULL, "findings as JSON"},
    {0},
};

static const char *const notes[] = {
    "Given a descriptor, all images from base to top are checked, the top one is",
    "repaired as with -f -d, and whether they fit together is looked at as well.",
    NULL,
};

const PlkVerb plk_verb_check = {
    .name = "check",
    .min = 1,
    .max = 1,
    .operands = "DELTA|DiskDescriptor.xml",
    .options = options_of_check,
    .run = run_check,
    .help = "look for damage, and repair it",
    .notes = notes,
};
