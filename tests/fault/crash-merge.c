/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Merging of a described chain, whole and in part, into what is there and into a new file. */
#include "crash-walk.h"

static const ImageKind expanded = {PLK_FORMAT_EXPANDED, 2}, version_1 = {PLK_FORMAT_EXPANDED, 1},
                       preallocated = {PLK_FORMAT_PREALLOCATED, 2}, raw = {PLK_FORMAT_RAW, 2};

/* Base and two snapshots, all with something in them. */
static void stack(World *w, ImageKind kind)
{
    world_describe(w, kind, 3);
    w->leaves = LEAVES_TMP;
    world_session(w, 6);
    world_take(w);
    world_session(w, 6);
    world_take(w);
    world_session(w, 6);
    world_ready(w);
}

static void merge(World *w, const PlkMergeSpec *spec)
{
    world_open_store(w);
    MUST(plk_store_merge(w->store, spec, NULL, &must_error));
    world_acknowledge(w);
    world_close_store(w);
    world_session(w, 4);
}

static void merge_all(World *w, ImageKind kind)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .all = true};

    stack(w, kind);
    w->shots[0].doomed = w->shots[1].doomed = world_now(w);
    merge(w, &spec);
}

static void merge_expanded(World *w)
{
    merge_all(w, expanded);
}

static void merge_version_1(World *w)
{
    merge_all(w, version_1);
}

static void merge_raw(World *w)
{
    merge_all(w, raw);
}

static void merge_preallocated(World *w)
{
    merge_all(w, preallocated);
}

/* The two snapshots become one, under the name of the upper. */
static void merge_range(World *w)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec};

    stack(w, expanded);
    spec.guid = w->shots[1].guid;
    w->shots[0].doomed = world_now(w);
    merge(w, &spec);
}

static void merge_top(World *w)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec};

    stack(w, expanded);
    w->shots[1].doomed = world_now(w);
    merge(w, &spec);
}

static void merge_new(World *w, ImageKind kind)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .all = true, .new_file = "/disk/new.hds"};

    stack(w, kind);
    w->leaves |= LEAVES_NEW | LEAVES_BASE;
    w->shots[0].doomed = w->shots[1].doomed = world_now(w);
    merge(w, &spec);
}

static void merge_to_new(World *w)
{
    merge_new(w, expanded);
}

static void merge_raw_to_new(World *w)
{
    merge_new(w, raw);
}

/* Stopped, written to, and merged after all. */
static void merge_cancelled(World *w)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .all = true};
    PlkError err;

    stack(w, expanded);
    w->shots[0].doomed = w->shots[1].doomed = world_now(w);
    world_open_store(w);
    (void)plk_store_merge(w->store, &spec, &impatient, &err); /* unless there was nothing to copy */
    world_close_store(w);
    world_session(w, 4);
    world_open_store(w);
    if (w->store->desc.n_images > 1)
        MUST(plk_store_merge(w->store, &spec, NULL, &must_error));
    world_close_store(w);
}

const ScenarioGroup merge_scenarios = {"merge", (const Scenario[]){
    {"merge-expanded", merge_expanded, 3},
    {"merge-version-1", merge_version_1, 2},
    {"merge-raw", merge_raw, 2},
    {"merge-preallocated", merge_preallocated, 1},
    {"merge-range", merge_range, 2},
    {"merge-cancelled", merge_cancelled, 2},
    {"merge-top", merge_top, 1},
    {"merge-to-new", merge_to_new, 2},
    {"merge-raw-to-new", merge_raw_to_new, 1},
    {0},
}};
