/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots: taken offline and of an open disk, deleted at every place of the tree, switched to. */
#include "crash-walk.h"

static const ImageKind expanded = {PLK_FORMAT_EXPANDED, 2}, version_1 = {PLK_FORMAT_EXPANDED, 1},
                       raw = {PLK_FORMAT_RAW, 2};

static void begin(World *w, ImageKind kind)
{
    world_describe(w, kind, 3);
    w->leaves = LEAVES_TMP;
    world_session(w, 6);
}

/* Of an open disk. */
static Shot *take_open(World *w)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    Shot *s = world_remember_shot(w);

    MUST(plk_disk_snapshot(w->disk, &spec, s->guid, &must_error));
    s->since = world_now(w);
    world_acknowledge(w);
    return s;
}

static void snapshot_closed(World *w)
{
    begin(w, expanded);
    world_take(w);
    world_session(w, 6);
    world_take(w);
    world_session(w, 4);
}

static void snapshot_raw(World *w)
{
    begin(w, raw);
    world_take(w);
    world_session(w, 6);
}

/* After a kill: what is below a snapshot is brought to rest first. */
static void snapshot_dirty(World *w)
{
    begin(w, version_1);
    world_open(w);
    world_about(w, 6);
    world_flush(w);
    world_drop(w);
    world_take(w);
    world_session(w, 6);
}

static void snapshot_open(World *w)
{
    begin(w, expanded);
    world_open(w);
    world_about(w, 6);
    take_open(w);
    world_about(w, 6);
    take_open(w);
    world_about(w, 4);
    world_close(w);
    world_session(w, 3);
}

static void delete_first(World *w)
{
    Shot *first;

    begin(w, expanded);
    first = world_take(w);
    world_session(w, 6);
    world_take(w);
    world_session(w, 6);
    world_delete(w, first);
    world_session(w, 4);
}

static void delete_middle(World *w)
{
    Shot *second;

    begin(w, expanded);
    world_take(w);
    world_session(w, 6);
    second = world_take(w);
    world_session(w, 6);
    world_delete(w, second);
    world_session(w, 4);
}

static void delete_last(World *w)
{
    Shot *only;

    begin(w, version_1);
    only = world_take(w);
    world_session(w, 8);
    world_delete(w, only);
    world_session(w, 4);
}

/* A branch that nobody goes on from. */
static void delete_leaf(World *w)
{
    Shot *root, *leaf;

    begin(w, expanded);
    root = world_take(w);
    world_session(w, 6);
    leaf = world_take(w);
    world_switch(w, root, false);
    world_session(w, 6);
    world_delete(w, leaf);
    world_session(w, 3);
}

/* It only goes when the other branch does. */
static void delete_fork(World *w)
{
    Shot *root, *leaf;
    PlkGuid guid;

    begin(w, expanded);
    root = world_take(w);
    world_session(w, 6);
    leaf = world_take(w);
    world_switch(w, root, false);
    world_session(w, 6);
    guid = world_guid(root);
    world_open_store(w);
    root->doomed = world_now(w);
    MUST(plk_store_delete(w->store, &guid, NULL, NULL, &must_error));
    world_close_store(w);
    world_delete(w, leaf);
    root->gone = world_now(w);
    world_session(w, 4);
}

/* The active state goes; its parent is gone on with. */
static void delete_active(World *w)
{
    Shot *only;

    begin(w, expanded);
    only = world_take(w);
    world_session(w, 6);
    world_open_store(w);
    only->doomed = world_now(w);
    for (unsigned i = 0; i < w->sectors; i++)
        world_remember(w, i, only->stamps[i]);
    MUST(plk_store_delete(w->store, &PLK_GUID_TOP, NULL, NULL, &must_error));
    only->gone = world_now(w);
    world_acknowledge(w);
    world_close_store(w);
    world_session(w, 4);
}

/* The state that a scratch delta leaves when it is killed between its commit and its merge. */
static void merge_temporary(World *w)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .temporary = true};
    PlkGuid unused;

    begin(w, expanded);
    world_take(w);
    world_session(w, 6);
    world_open_store(w);
    MUST(plk_store_snapshot(w->store, &spec, &unused, &must_error));
    world_close_store(w);
    world_session(w, 6);
    world_open_store(w);
    MUST(plk_store_merge_temporary(w->store, NULL, NULL, &must_error));
    world_close_store(w);
    world_session(w, 3);
}

static void go_back(World *w, bool keep_old)
{
    Shot *first;

    begin(w, expanded);
    first = world_take(w);
    world_session(w, 6);
    world_take(w);
    world_session(w, 4);
    world_switch(w, first, keep_old);
    world_session(w, 6);
}

static void switch_and_drop(World *w)
{
    go_back(w, false);
}

static void switch_and_keep(World *w)
{
    go_back(w, true);
}

const ScenarioGroup chain_scenarios = {"chain", (const Scenario[]){
    {"snapshot-closed", snapshot_closed, 2},
    {"snapshot-raw", snapshot_raw, 1},
    {"snapshot-dirty", snapshot_dirty, 1},
    {"snapshot-open", snapshot_open, 3},
    {"delete-first", delete_first, 2},
    {"delete-middle", delete_middle, 2},
    {"delete-last", delete_last, 2},
    {"delete-leaf", delete_leaf, 1},
    {"delete-fork", delete_fork, 2},
    {"delete-active", delete_active, 1},
    {"merge-temporary", merge_temporary, 1},
    {"switch-and-drop", switch_and_drop, 1},
    {"switch-and-keep", switch_and_keep, 1},
    {0},
}};
