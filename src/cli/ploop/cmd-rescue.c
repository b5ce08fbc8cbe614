/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop rescue: what is there, what it probably was, and the way back. Without an option it only tells; the exit
 * code says whether there is anything to do.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <ploopkit/filesystem.h>
#include <ploopkit/rescue.h>

#include "base/units.h"
#include "cli.h"
#include "json.h"
#include "look.h"

enum { OPT_APPLY = PLK_LONG_ONLY, OPT_TRY, OPT_KEEP, OPT_DROP, OPT_PROPOSAL, OPT_JSON };

/* ---- telling ---- */

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
                          : "");
}

static void tell_file(const PlkRescueFile *f)
{
    plk_put_name("  ", f->name, "\n");
    tell_shape(f);
    if (f->fault)
        printf("    %s\n", f->fault);
    if (f->way_out)
        printf("    a repair would %s\n", f->way_out);
    if (f->loss)
        printf("    lost: %s\n", f->loss);
}

static void tell_action(const PlkRescueAction *a)
{
    printf("    - %s\n", a->what);
    if (a->loss)
        printf("      lost: %s\n", a->loss);
}

static void tell_chain(const PlkRescueProposal *p)
{
    for (size_t i = 0; i < p->n_chain; i++)
        plk_put_name(i ? "    above it " : "    base ", p->chain[i], "\n");
}

static void tell_proposal(size_t number, const PlkRescueProposal *p)
{
    printf("\nProposal %zu (%s): %s\n", number, plk_rescue_confidence_name(p->confidence), p->title);
    tell_chain(p);
    if (p->n_evidence)
        puts("  because");
    for (size_t i = 0; i < p->n_evidence; i++)
        printf("    - %s\n", p->evidence[i]);
    if (p->n_actions)
        puts("  to do");
    for (size_t i = 0; i < p->n_actions; i++)
        tell_action(&p->actions[i]);
}

static void tell_way_on(const PlkRescueProposal *first, const char *path)
{
    puts("");
    if (first->can_apply && first->confidence != PLK_RESCUE_GUESS)
        plk_put_name(first->lossy ? "To do the first: ploop rescue --apply -F '" : "To do the first: ploop rescue --apply '",
                     path, "'\n");
    plk_put_name("To look at it without changing anything: ploop rescue --try '", path, "'\n");
}

static void tell(const PlkRescue *rescue, const char *path)
{
    size_t n;
    const PlkRescueFile *files = plk_rescue_files(rescue, &n);
    const PlkRescueProposal *proposals;

    for (size_t i = 0; i < n; i++)
        tell_file(&files[i]);
    printf("%s\n", plk_rescue_verdict(rescue));
    proposals = plk_rescue_proposals(rescue, &n);
    for (size_t i = 0; i < n; i++)
        tell_proposal(i + 1, &proposals[i]);
    if (n)
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
        plk_put_name("  kept as ", kept, "\n");
}

typedef int RescueFn(const char *path, const PlkRescueOptions *options, const PlkProgress *progress, PlkError *err);

static int carry_out(const PlkArgs *args, RescueFn *what, uint64_t proposal)
{
    PlkRescueOptions options = {
        .struct_size = sizeof options,
        .root = plk_root,
        .proposal = (unsigned)proposal,
        .lossy = plk_arg_given(args, 'F'),
        .done = say_done,
    };
    PlkError err;

    return what(args->operands[0], &options, plk_cli_progress(), &err) < 0 ? plk_cli_fail(&err) : PLK_EXIT_OK;
}

static int drop(const char *path)
{
    PlkError err;

    return plk_rescue_drop(path, plk_root, &err) < 0 ? plk_cli_fail(&err) : PLK_EXIT_OK;
}

static int run(const PlkArgs *args)
{
    unsigned ways = plk_arg_given(args, OPT_APPLY) + plk_arg_given(args, OPT_TRY) + plk_arg_given(args, OPT_KEEP) +
                    plk_arg_given(args, OPT_DROP);
    uint64_t proposal = 0;

    if (ways > 1)
        return plk_cli_param("rescue: one of --apply, --try, --keep and --drop at a time");
    if (plk_arg_uint(args, OPT_PROPOSAL, 99, &proposal))
        return PLK_EXIT_PARAM;
    if (plk_arg_given(args, OPT_APPLY))
        return carry_out(args, plk_rescue_apply, proposal);
    if (plk_arg_given(args, OPT_TRY))
        return carry_out(args, plk_rescue_try, proposal);
    if (plk_arg_given(args, OPT_KEEP))
        return carry_out(args, plk_rescue_keep, proposal);
    if (plk_arg_given(args, OPT_DROP))
        return drop(args->operands[0]);
    return survey(args->operands[0], plk_arg_given(args, OPT_JSON));
}

static const PlkOption options[] = {
    {OPT_APPLY, "apply", NULL, "do the first proposal, or that of --proposal"},
    {OPT_PROPOSAL, "proposal", "N", "the one meant, as numbered in the survey"},
    {'F', "force", NULL, "also repairs that lose what the survey says they lose"},
    {OPT_TRY, "try", NULL, "show it as a disk of its own, rescue-try.xml; no file is changed"},
    {OPT_KEEP, "keep", NULL, "the try becomes the disk"},
    {OPT_DROP, "drop", NULL, "the try goes"},
    {OPT_JSON, "json", NULL, "the survey as JSON"},
    {0},
};

static const char *const notes[] = {
    "Without an option nothing is written: exit 0 says that the disk is whole, 11 that",
    "there is something to do. What is replaced stays beside it as NAME.rescued-1.",
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
