/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopctl snapshot: the states of a ploop volume. */
#include <glib.h>

#include "ctl.h"
#include "grid.h"

enum { OPT_UUID = OPT_OWN };

/* ---- list ---- */

static void print_json(const PlkSnapshotList *list)
{
    PlkJson j = {.out = stdout};

    plk_json_open(&j, NULL, '[');
    for (size_t i = 0; i < list->n; i++) {
        const PlkSnapshot *s = &list->items[i];

        plk_json_open(&j, NULL, '{');
        plk_json_string(&j, "uuid", s->guid);
        plk_json_string(&j, "parent", s->parent);
        plk_json_bool(&j, "active", s->active);
        plk_json_bool(&j, "temporary", s->temporary);
        plk_json_string(&j, "file", s->path);
        plk_json_close(&j, '}');
    }
    plk_json_close(&j, ']');
}

/* A state with nothing below it has a UUID of zeros as its parent. */
static const char *parent_of(const PlkSnapshot *s)
{
    return g_str_has_prefix(s->parent, "{00000000-0000-0000-0000-000000000000}") ? "-" : s->parent;
}

static void print_table(const PlkSnapshotList *list)
{
    static const PlkGridColumn columns[] = {{"UUID"}, {"Parent"}, {"State"}};
    PlkGrid *grid = plk_grid_new(columns, G_N_ELEMENTS(columns));

    for (size_t i = 0; i < list->n; i++) {
        const PlkSnapshot *s = &list->items[i];

        plk_grid_row(grid, (const char *[]){s->guid, parent_of(s),
                                            s->active      ? "active"
                                            : s->temporary ? "to be deleted"
                                                           : "snapshot"});
    }
    plk_grid_print(grid);
}

static int run_list(const PlkArgs *args)
{
    PLK_SESSION s = {0};
    PlkSnapshotList list = {0};
    PlkError err;
    int rc = plk_need_volume(args, PLK_STORAGE_LOOK, &s);

    if (rc)
        return rc;
    if (plk_pool_snapshots(s.pool, s.volume, &list, &err) < 0)
        return plk_cli_fail(&err);
    if (plk_settings.json)
        print_json(&list);
    else
        print_table(&list);
    plk_snapshot_list_clear(&list);
    return PLK_EXIT_OK;
}

/* ---- changes ---- */

static int run_create(const PlkArgs *args)
{
    PlkJson j = {.out = stdout};
    PLK_SESSION s = {0};
    char wanted[39] = "", guid[39];
    PlkError err;
    int rc = plk_arg_guid(args, OPT_UUID, wanted);

    if (rc == 0)
        rc = plk_need_volume(args, PLK_STORAGE_COMMAND, &s);
    if (rc)
        return rc;
    if (plk_pool_snapshot_create(s.pool, s.volume, *wanted ? wanted : NULL, guid, &err) < 0)
        return plk_cli_fail(&err);
    if (!plk_settings.json) {
        puts(guid); /* the one word a script wants */
        return PLK_EXIT_OK;
    }
    plk_json_open(&j, NULL, '{');
    plk_json_string(&j, "uuid", guid);
    plk_json_close(&j, '}');
    return PLK_EXIT_OK;
}

typedef int Change(PlkPool *pool, const char *volume, const char *guid, PlkError *err);

static int run_change(const PlkArgs *args, Change *change, const char *done)
{
    PLK_SESSION s = {0};
    char guid[39] = "";
    PlkError err;
    int rc = plk_arg_guid(args, OPT_UUID, guid);

    if (rc == 0)
        rc = plk_need_volume(args, PLK_STORAGE_COMMAND, &s);
    if (rc)
        return rc;
    if (change(s.pool, s.volume, *guid ? guid : NULL, &err) < 0)
        return plk_cli_fail(&err);
    if (!plk_settings.json)
        plk_say(1, "Snapshot %s of %s %s", *guid ? guid : "below the active state", s.volume, done);
    return PLK_EXIT_OK;
}

static int delete_snapshot(PlkPool *pool, const char *volume, const char *guid, PlkError *err)
{
    return plk_pool_snapshot_delete(pool, volume, guid, plk_cli_progress(), err);
}

static int merge(PlkPool *pool, const char *volume, const char *guid, PlkError *err)
{
    return plk_pool_snapshot_merge(pool, volume, guid, plk_cli_progress(), err);
}

static int run_switch(const PlkArgs *args)
{
    return run_change(args, plk_pool_snapshot_switch, "is what the active state goes on from");
}

static int run_delete(const PlkArgs *args)
{
    return run_change(args, delete_snapshot, "deleted");
}

static int run_merge(const PlkArgs *args)
{
    return run_change(args, merge, "merged");
}

#define THE_SNAPSHOT                                                                                         \
    {                                                                                                        \
        OPT_UUID, "uuid", "UUID", "the snapshot, with or without braces", true, true                         \
    }

static const PlkOption list_options[] = {PLK_THE_VOLUME, PLK_ITS_POOL, {0}};
static const PlkOption create_options[] = {
    PLK_THE_VOLUME,
    PLK_ITS_POOL,
    {OPT_UUID, "uuid", "UUID", "its UUID; a random one otherwise"},
    {0},
};
static const PlkOption change_options[] = {PLK_THE_VOLUME, THE_SNAPSHOT, PLK_ITS_POOL, {0}};
static const PlkOption merge_options[] = {
    PLK_THE_VOLUME,
    {OPT_UUID, "uuid", "UUID", "this one into the one below; else the active state", false, true},
    {OPT_POOL, "pool", "POOL", "the pool the volume is in"},
    {0},
};
static const char *const switch_notes[] = {
    "What was written since the last snapshot is thrown away.",
    NULL,
};

static const PlkVerb verb_list = {
    .name = "list",
    .options = list_options,
    .run = run_list,
    .help = "list the states of a ploop volume",
};

static const PlkVerb verb_create = {
    .name = "create",
    .options = create_options,
    .run = run_create,
    .help = "freeze the present state; prints its UUID",
};

static const PlkVerb verb_switch = {
    .name = "switch",
    .options = change_options,
    .run = run_switch,
    .help = "go back to a snapshot",
    .notes = switch_notes,
};

static const PlkVerb verb_delete = {
    .name = "delete",
    .options = change_options,
    .run = run_delete,
    .help = "remove a snapshot; the states above it stay as they are",
};

static const PlkVerb verb_merge = {
    .name = "merge",
    .options = merge_options,
    .run = run_merge,
    .help = "make one state of two",
};

static const PlkVerb *const verbs[] = {&verb_list,   &verb_create, &verb_switch,
                                       &verb_delete, &verb_merge,  NULL};

const PlkVerb plk_verb_snapshot = {
    .name = "snapshot",
    .sub = verbs,
    .help = "list, create, switch, ... snapshots",
};
