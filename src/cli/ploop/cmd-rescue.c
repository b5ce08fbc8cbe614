/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop rescue: what is there, what it probably was, and the way back. Without an option it only tells; the
 * exit code says whether there is anything to do.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <ploopkit/filesystem.h>
#include <ploopkit/rescue.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/units.h"
#include "cli.h"
#include "cli/common/json.h"
#include "look.h"

enum { OPT_APPLY = PLK_LONG_ONLY, OPT_TRY, OPT_KEEP, OPT_DROP, OPT_FSCK, OPT_JSON };

/* ---- telling ---- */

/* Sentences name files, whose names others chose. */
static void tell_text(const char *before, const char *text)
{
    if (text)
        plk_put_name(before, text, "\n");
}

static void tell_shape(const PlkRescueFile *f)
{
    char bytes[32];

    printf("    %-10s %8s", plk_rescue_role_name(f->role), plk_human_size(f->bytes, bytes, sizeof bytes));
    if (f->version > 0)
        printf("  version %d, %" PRIu64 " sectors, clusters of %" PRIu32 ", %" PRIu64 " used", f->version,
               f->size_sectors, f->cluster_sectors, f->clusters);
    printf("%s%s\n", f->in_use ? ", not closed" : "",
           f->described   ? ""
           : f->in_future ? ", named by the unfinished descriptor only"
           : f->deserted  ? ", left by an interrupted change"
           : f->clusters  ? ", not named by a descriptor"
                          : "");
}

static void tell_file(const PlkRescueFile *f)
{
    plk_put_name("  ", f->name, "\n");
    tell_shape(f);
    tell_text("    ", f->fault);
    tell_text("    a repair would ", f->found[PLK_FINDING_FATAL] ? NULL : f->way_out);
    tell_text("    lost: ", f->loss);
}

static void tell_action(const PlkRescueAction *a)
{
    tell_text("    - ", a->what);
    tell_text("      lost: ", a->loss);
}

static void tell_chain(const PlkRescueProposal *p)
{
    for (size_t i = 0; i < p->n_chain; i++)
        plk_put_name(i ? "    above it " : "    base ", p->chain[i], "\n");
}

static void tell_proposal(size_t number, const PlkRescueProposal *p)
{
    printf("\nProposal %zu (%s): ", number, plk_rescue_confidence_name(p->confidence));
    tell_text("", p->title);
    tell_chain(p);
    if (p->n_evidence)
        puts("  because");
    for (size_t i = 0; i < p->n_evidence; i++)
        tell_text("    - ", p->evidence[i]);
    if (p->n_actions)
        puts("  to do");
    for (size_t i = 0; i < p->n_actions; i++)
        tell_action(&p->actions[i]);
}

static void tell_way_on(const PlkRescueProposal *first, const char *path)
{
    bool guess = first->confidence == PLK_RESCUE_GUESS;

    puts("");
    if (first->can_apply) {
        printf("To do the first: ploop rescue --apply%s%s ", guess ? "=1" : "", first->lossy ? " -F" : "");
        plk_put_name("'", path, "'\n");
    }
    plk_put_name("To look at it without changing anything: ploop rescue --try '", path, "'\n");
}

static void tell(const PlkRescue *rescue, const char *path)
{
    size_t n;
    const PlkRescueFile *files = plk_rescue_files(rescue, &n);
    const PlkRescueProposal *proposals;

    for (size_t i = 0; i < n; i++)
        tell_file(&files[i]);
    tell_text("", plk_rescue_verdict(rescue));
    proposals = plk_rescue_proposals(rescue, &n);
    for (size_t i = 0; i < n; i++)
        tell_proposal(i + 1, &proposals[i]);
    if (n && !plk_rescue_is_trying(rescue))
        tell_way_on(&proposals[0], path);
}

/* ---- the same as JSON ---- */

static void put_strings(PlkJson *j, const char *key, const char *const *strings, size_t n)
{
    plk_json_open(j, key, '[');
    for (size_t i = 0; i < n; i++)
        plk_json_string(j, NULL, strings[i]);
    plk_json_close(j, ']');
}

static void put_file(PlkJson *j, const PlkRescueFile *f)
{
    plk_json_open(j, NULL, '{');
    plk_json_string(j, "name", f->name);
    plk_json_string(j, "role", plk_rescue_role_name(f->role));
    plk_json_uint(j, "bytes", f->bytes);
    plk_json_uint(j, "version", (uint64_t)f->version);
    plk_json_uint(j, "cluster_sectors", f->cluster_sectors);
    plk_json_uint(j, "size_sectors", f->size_sectors);
    plk_json_bool(j, "in_use", f->in_use);
    plk_json_uint(j, "clusters", f->clusters);
    plk_json_open(j, "found", '{');
    for (unsigned rank = 0; rank < 4; rank++)
        plk_json_uint(j, plk_finding_rank_name((PlkFindingRank)rank), f->found[rank]);
    plk_json_close(j, '}');
    plk_json_string(j, "fault", f->fault);
    plk_json_string(j, "way_out", f->way_out);
    plk_json_string(j, "loss", f->loss);
    plk_json_bool(j, "described", f->described);
    plk_json_bool(j, "in_future", f->in_future);
    plk_json_bool(j, "deserted", f->deserted);
    plk_json_close(j, '}');
}

static void put_action(PlkJson *j, const PlkRescueAction *a)
{
    plk_json_open(j, NULL, '{');
    plk_json_string(j, "action", plk_rescue_action_name(a->kind));
    plk_json_string(j, "file", a->file);
    plk_json_string(j, "what", a->what);
    plk_json_string(j, "loss", a->loss);
    plk_json_close(j, '}');
}

static void put_proposal(PlkJson *j, const PlkRescueProposal *p)
{
    plk_json_open(j, NULL, '{');
    plk_json_string(j, "confidence", plk_rescue_confidence_name(p->confidence));
    plk_json_string(j, "title", p->title);
    put_strings(j, "chain", p->chain, p->n_chain);
    put_strings(j, "evidence", p->evidence, p->n_evidence);
    plk_json_open(j, "actions", '[');
    for (size_t i = 0; i < p->n_actions; i++)
        put_action(j, &p->actions[i]);
    plk_json_close(j, ']');
    plk_json_string(j, "descriptor", p->descriptor);
    plk_json_bool(j, "lossy", p->lossy);
    plk_json_bool(j, "can_apply", p->can_apply);
    plk_json_close(j, '}');
}

static void put_rescue(const PlkRescue *rescue)
{
    PlkJson j = {.out = stdout};
    size_t n;
    const PlkRescueFile *files = plk_rescue_files(rescue, &n);
    const PlkRescueProposal *proposals;

    plk_json_open(&j, NULL, '{');
    plk_json_bool(&j, "sound", plk_rescue_is_sound(rescue));
    plk_json_bool(&j, "trying", plk_rescue_is_trying(rescue));
    plk_json_string(&j, "verdict", plk_rescue_verdict(rescue));
    plk_json_open(&j, "files", '[');
    for (size_t i = 0; i < n; i++)
        put_file(&j, &files[i]);
    plk_json_close(&j, ']');
    proposals = plk_rescue_proposals(rescue, &n);
    plk_json_open(&j, "proposals", '[');
    for (size_t i = 0; i < n; i++)
        put_proposal(&j, &proposals[i]);
    plk_json_close(&j, ']');
    plk_json_close(&j, '}');
}

/* ---- doing ---- */

static int survey(const char *path, bool json)
{
    PlkRescue *rescue;
    PlkError err;
    bool sound;

    if (plk_rescue_survey(path, plk_root, plk_cli_progress(), &rescue, &err) < 0)
        return plk_cli_fail(&err);
    if (json)
        put_rescue(rescue);
    else
        tell(rescue, path);
    sound = plk_rescue_is_sound(rescue);
    plk_rescue_free(rescue);
    return sound ? PLK_EXIT_OK : PLK_EXIT_FORMAT;
}

static void say_done(void *arg, const PlkRescueAction *action, const char *kept)
{
    plk_progress_clear();
    plk_say(0, "%s", action->what);
    if (kept)
        plk_say(0, "    what was there is kept as '%s'", kept);
}

typedef int RescueFn(const char *path, const PlkRescueOptions *options, const PlkProgress *progress,
                     PlkError *err);

/* id: the option that names the proposal, 0: none does. */
static int carry_out(const PlkArgs *args, RescueFn *what, int id)
{
    PlkRescueOptions options = {
        .struct_size = sizeof options,
        .root = plk_root,
        .lossy = plk_arg_given(args, 'F'),
        .done = say_done,
    };
    uint64_t proposal = 0;
    PlkError err;

    if (id && *plk_arg(args, id) && plk_arg_uint(args, id, UINT16_MAX, &proposal))
        return PLK_EXIT_PARAM;
    if (id && *plk_arg(args, id) && proposal == 0)
        return plk_cli_param("rescue: proposals are counted from 1");
    options.proposal = (unsigned)proposal;
    return what(args->operands[0], &options, plk_cli_progress(), &err) < 0 ? plk_cli_fail(&err) : PLK_EXIT_OK;
}

static int drop(const char *path)
{
    PlkError err;

    return plk_rescue_drop(path, plk_root, &err) < 0 ? plk_cli_fail(&err) : PLK_EXIT_OK;
}

/* The descriptor of the try, beside the one of the disk. malloc'd. */
static char *try_path(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!plk_is_descriptor(path))
        return plk_printf("%s/" PLK_RESCUE_TRY_NAME, path);
    return plk_printf("%.*s" PLK_RESCUE_TRY_NAME, slash ? (int)(slash + 1 - path) : 0, path);
}

static int make_try(const PlkArgs *args)
{
    PLK_FREE char *path = try_path(args->operands[0]);
    int rc = carry_out(args, plk_rescue_try, OPT_TRY);
    PlkError err;

    if (rc != PLK_EXIT_OK)
        return rc;
    if (!path)
        return PLK_EXIT_MALLOC;
    plk_put_name("The try is '", path, "': look at it, then --keep or --drop it\n");
    if (plk_arg_given(args, OPT_FSCK) &&
        plk_filesystem_check(path, plk_root, true, plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    return PLK_EXIT_OK;
}

static int run(const PlkArgs *args)
{
    unsigned ways = plk_arg_given(args, OPT_APPLY) + plk_arg_given(args, OPT_TRY) +
                    plk_arg_given(args, OPT_KEEP) + plk_arg_given(args, OPT_DROP);

    if (ways > 1)
        return plk_cli_param("rescue: one of --apply, --try, --keep and --drop at a time");
    if (plk_arg_given(args, OPT_FSCK) && !plk_arg_given(args, OPT_TRY))
        return plk_cli_param("rescue: --fsck goes with --try");
    if (plk_arg_given(args, OPT_APPLY))
        return carry_out(args, plk_rescue_apply, OPT_APPLY);
    if (plk_arg_given(args, OPT_TRY))
        return make_try(args);
    if (plk_arg_given(args, OPT_KEEP))
        return carry_out(args, plk_rescue_keep, 0);
    if (plk_arg_given(args, OPT_DROP))
        return drop(args->operands[0]);
    return survey(args->operands[0], plk_arg_given(args, OPT_JSON));
}

static const PlkOption options[] = {
    {OPT_APPLY, "apply", "[=N]", "do proposal N; the first, if that is no mere guess"},
    {'F', "force", NULL, "--apply: also repairs that lose what the survey says they lose"},
    {OPT_TRY, "try", "[=N]",
     "show proposal N as a disk of its own, DIR/rescue-try.xml; no file of the disk is changed"},
    {OPT_FSCK, "fsck", NULL, "--try: run e2fsck in it"},
    {OPT_KEEP, "keep", NULL, "the try becomes the disk"},
    {OPT_DROP, "drop", NULL, "the try goes"},
    {OPT_JSON, "json", NULL, "the survey as JSON"},
    {0},
};

static const char *const notes[] = {
    "Without an option nothing is written: exit 0 says that nothing is to be done, 11",
    "that something is. What is replaced or in the way stays as NAME.rescued-1.",
    NULL,
};

const PlkVerb plk_verb_rescue = {
    .name = "rescue",
    .min = 1,
    .max = 1,
    .operands = "DIR|DiskDescriptor.xml",
    .options = options,
    .run = run,
    .help = "find the way back to a disk that does not open",
    .notes = notes,
};
