/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop snapshot-delete, snapshot-merge and merge: fewer images, the same contents of the active state. What
 * is printed beforehand comes from a look without lock; what counts is what the library finds under its own.
 */
#include <string.h>

#include <ploopkit/snapshot.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "cli.h"
#include "look.h"
#include "offline.h"

/* The states of one merge, from the upper one down. */
typedef struct MergeRange {
    const PlkSnapshot *from, *to; /* NULL when the look found none: the library will refuse and say why */
    size_t n;
} MergeRange;

static void say_merge(const MergeRange *range)
{
    plk_say(0, "Offline snapshot merge %s -> %s", range->from->guid, range->to->guid);
    plk_say(0, "Merging image: %s -> %s", plk_last_name(range->from->path), plk_last_name(range->to->path));
}

/* ---- snapshot-delete ---- */

static const PlkSnapshot *only_child(const PlkLook *look, const PlkSnapshot *of)
{
    const PlkSnapshot *child = NULL;

    for (size_t i = 0; i < look->list.n; i++) {
        if (plk_look_parent(look, &look->list.items[i]) != of)
            continue;
        if (child)
            return NULL;
        child = &look->list.items[i];
    }
    return child;
}

static void say_deleted(const PlkLook *look, const char *guid, const PlkDeleteResult *result)
{
    const PlkSnapshot *gone = plk_look_find(look, guid);

    switch (result->how) {
    case PLK_DELETED_LEAF:
        plk_say(0, "del snapshot %s", guid);
        plk_say(0, "Storing %s", look->descriptor);
        if (gone)
            plk_say(0, "Removing %s", gone->path);
        plk_say(0, "ploop snapshot %s has been successfully deleted", guid);
        break;
    case PLK_DELETED_MERGED:
        plk_say(0, "Storing %s.tmp", look->descriptor);
        if (plk_look_find(look, result->child_guid))
            plk_say(0, "Removing %s", plk_look_find(look, result->child_guid)->path);
        plk_say(0, "ploop snapshot has been successfully merged");
        break;
    case PLK_DELETED_MARKED:
        plk_say(0,
                "Warning: Unable to delete snapshot %s as there are %zu references to it; marking it as "
                "temporary instead",
                guid, result->children);
        plk_say(0, "Storing %s", look->descriptor);
        break;
    }
}

/* The deletion may have left a marked snapshot with one child. It stays usable if this fails. */
static void merge_temporary(const char *path)
{
    PlkError err;
    size_t n = 0;

    if (plk_snapshot_merge_temporary(path, plk_root, &n, plk_cli_progress(), &err) < 0)
        plk_warn("a temporary snapshot stays: %s", err.message);
    else if (n)
        plk_say(0, "Offline temporary snapshot merge: %zu", n);
}

static int run_delete(const PlkArgs *args)
{
    const char *path = args->operands[0];
    char guid[39];
    PLK_LOOK_AUTO PlkLook look = {0};
    PlkDeleteResult result;
    MergeRange range;
    PlkError err;

    if (plk_arg_guid(args, 'u', guid) || plk_need_descriptor(path))
        return PLK_EXIT_PARAM;
    if (plk_look(path, &look, &err) < 0)
        return plk_cli_fail(&err);
    range.to = plk_look_find(&look, guid);
    range.from = range.to ? only_child(&look, range.to) : NULL;
    if (range.from)
        say_merge(&range);
    fflush(stdout);
    if (plk_snapshot_delete(path, plk_root, guid, &result, plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    say_deleted(&look, guid, &result);
    merge_temporary(path);
    return PLK_EXIT_OK;
}

/* ---- snapshot-merge ---- */

static MergeRange find_range(const PlkLook *look, const PlkMergeSpec *spec)
{
    MergeRange r = {.n = 1};
    const PlkSnapshot *s;

    r.from = spec->guid ? plk_look_find(look, spec->guid) : plk_look_active(look);
    for (s = r.from; s && r.n <= look->list.n; s = r.to) {
        r.to = plk_look_parent(look, s);
        if (!r.to && spec->all)
            r.to = s;
        if (!r.to || r.to == s)
            return r;
        r.n++;
        if (!spec->all && (!spec->down_to || strcasecmp(r.to->guid, spec->down_to) == 0))
            return r;
    }
    r.to = NULL;
    return r;
}

/* "Merging images: TOP MIDDLE -> BASE", or all of them "-> (new) NEW". */
static void say_merge_many(const PlkLook *look, const MergeRange *r, const PlkMergeSpec *spec)
{
    const PlkSnapshot *s = r->from;
    size_t sources = spec->new_file ? r->n : r->n - 1;

    if (spec->all || spec->down_to)
        plk_say(0, "Offline merge of %zu snapshot%s", r->n - 1, r->n > 2 ? "s" : "");
    else
        plk_say(0, "Offline snapshot merge %s -> %s", r->from->guid, r->to->guid);
    if (plk_verbosity < 0)
        return;
    printf("Merging image%s:", sources > 1 ? "s" : "");
    for (size_t i = 0; s && i < sources; i++, s = plk_look_parent(look, s))
        plk_put_name(" ", plk_last_name(s->path), "");
    if (spec->new_file)
        plk_put_name(" -> (new) ", spec->new_file, "\n");
    else
        plk_put_name(" -> ", plk_last_name(r->to->path), "\n");
}

static void say_removed(const PlkLook *look, const MergeRange *r, const PlkMergeSpec *spec)
{
    const PlkSnapshot *s = r->from;

    plk_say(0, "Storing %s.tmp", look->descriptor);
    for (size_t i = 0; s && i < (spec->new_file ? r->n : r->n - 1); i++, s = plk_look_parent(look, s))
        plk_say(0, "Removing %s", s->path);
}

static int check_merge_options(const PlkArgs *args, PlkMergeSpec *spec)
{
    spec->all = plk_arg_given(args, 'A');
    spec->new_file = plk_arg(args, 'n');
    if (spec->all && (plk_arg_given(args, 'u') || plk_arg_given(args, 'U')))
        return plk_cli_param("-A takes everything: it does not go with -u or -U");
    return plk_need_descriptor(args->operands[0]);
}

static int run_snapshot_merge(const PlkArgs *args)
{
    const char *path = args->operands[0];
    char upper[39] = "", lower[39] = "";
    PlkMergeSpec spec = {.struct_size = sizeof(spec)};
    PLK_LOOK_AUTO PlkLook look = {0};
    MergeRange range;
    PlkError err;

    if (plk_arg_guid(args, 'u', upper) || plk_arg_guid(args, 'U', lower) || check_merge_options(args, &spec))
        return PLK_EXIT_PARAM;
    spec.guid = upper[0] ? upper : NULL;
    spec.down_to = lower[0] ? lower : NULL;
    if (plk_look(path, &look, &err) < 0)
        return plk_cli_fail(&err);
    range = find_range(&look, &spec);
    if (range.to && range.n > 1)
        say_merge_many(&look, &range, &spec);
    fflush(stdout);
    if (plk_snapshot_merge(path, plk_root, &spec, plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    if (range.to)
        say_removed(&look, &range, &spec);
    plk_say(0, spec.all || spec.down_to ? "Snapshots successfully merged" : "ploop snapshot has been successfully merged");
    return PLK_EXIT_OK;
}

/* ---- merge: bare files ---- */

static int run_merge(const PlkArgs *args)
{
    const char *format = plk_arg(args, 'f'), *new_file = plk_arg(args, 'n');
    bool raw = format && strcmp(format, "raw") == 0;
    PlkError err;

    if (plk_arg_given(args, 'd') || plk_arg_given(args, 'l'))
        return plk_offline_only(args->name, "-d DEVICE");
    if (args->n < 2)
        return plk_cli_param("merge needs at least two images, the base one last");
    if (format && !raw && strcmp(format, "ploop1") != 0 && strcmp(format, "expanded") != 0)
        return plk_cli_param("Incorrect format specified: %s (raw or ploop1)", format);
    for (int i = 0; i < args->n; i++)
        plk_say(0, "Opening delta %s", args->operands[i]);
    fflush(stdout);
    if (plk_merge_files((const char *const *)args->operands, (size_t)args->n, raw, new_file,
                        plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    return PLK_EXIT_OK;
}

static const PlkOption delete_options[] = {
    {'u', "uuid", "UUID", "the snapshot", true},
    {0},
};

static const char *const delete_notes[] = {
    "No child: its image is removed. One child: the child's data moves into its",
    "image. More: it is marked temporary and goes when that becomes possible.",
    NULL,
};

const PlkVerb plk_verb_snapshot_delete = {
    .name = "snapshot-delete",
    .min = 1,
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = delete_options,
    .run = run_delete,
    .help = "delete a snapshot; the active state stays what it is",
    .notes = delete_notes,
};

static const PlkOption snapshot_merge_options[] = {
    {'u', "uuid", "UUID", "merge this one into its parent; default: the active state"},
    {'U', NULL, "UUID", "merge down to this one instead of the parent"},
    {'A', NULL, NULL, "merge everything into the base"},
    {'n', NULL, "NEW", "merge into a new image instead of the lowest one"},
    {0},
};

const PlkVerb plk_verb_snapshot_merge = {
    .name = "snapshot-merge",
    .min = 1,
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = snapshot_merge_options,
    .run = run_snapshot_merge,
    .help = "merge a snapshot into its parent, or a range of them",
};

static const PlkOption merge_options[] = {
    {'f', NULL, "FORMAT", "what BASE is: ploop1 (default) or raw"},
    {'n', NULL, "NEW", "merge into a new image; BASE stays as it is"},
    {'d', NULL, "DEVICE", NULL},
    {'l', NULL, "LEVEL", NULL},
    {0},
};

static const char *const merge_notes[] = {
    "For files that no descriptor names; with one, use snapshot-merge.",
    NULL,
};

const PlkVerb plk_verb_merge = {
    .name = "merge",
    .max = -1,
    .operands = "TOP... BASE",
    .options = merge_options,
    .run = run_merge,
    .help = "merge bare images without a descriptor",
    .notes = merge_notes,
};
