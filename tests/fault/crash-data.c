/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading and writing: what a guest does, on each kind of image, alone, in chains and after a kill. */
#include "crash-walk.h"

static const ImageKind expanded = {PLK_FORMAT_EXPANDED, 2}, version_1 = {PLK_FORMAT_EXPANDED, 1},
                       preallocated = {PLK_FORMAT_PREALLOCATED, 2}, raw = {PLK_FORMAT_RAW, 2};

static void two_sessions(World *w)
{
    world_session(w, 14);
    world_session(w, 8);
}

static void write_expanded(World *w)
{
    world_bare(w, expanded, 4);
    two_sessions(w);
}

static void write_version_1(World *w)
{
    world_bare(w, version_1, 4);
    two_sessions(w);
}

static void write_preallocated(World *w)
{
    world_bare(w, preallocated, 4);
    two_sessions(w);
}

static void write_raw(World *w)
{
    world_bare(w, raw, 4);
    two_sessions(w);
}

static void write_real_blocks(World *w)
{
    world_bare(w, expanded, 3);
    w->alloc_full = true;
    two_sessions(w);
}

/* Clusters come and go, so that most that are handed out were somebody else's. */
static void discard_and_reuse(World *w)
{
    world_bare(w, expanded, 4);
    world_open(w);
    for (unsigned i = 0; i < 14; i++) {
        unsigned cluster = chance(4);

        if (chance(3) == 0)
            world_discard(w, cluster, 1);
        else
            world_put(w, cluster * CLUSTER_SECTORS + chance(16), 1 + chance(8));
        if (chance(2) == 0)
            world_flush(w);
    }
    world_close(w);
}

/* Killed, opened again, killed again: recovery by going on. */
static void write_and_die(World *w)
{
    world_bare(w, expanded, 4);
    for (unsigned i = 0; i < 4; i++) {
        world_open(w);
        world_about(w, 6);
        if (i < 3)
            world_drop(w);
        else
            world_close(w);
    }
}

static void write_above(World *w, ImageKind base)
{
    world_bare(w, base, 3);
    world_session(w, 8);
    world_stack(w, base.version);
    two_sessions(w);
}

static void write_above_expanded(World *w)
{
    write_above(w, expanded);
}

static void write_above_raw(World *w)
{
    write_above(w, raw);
}

static void write_above_two(World *w)
{
    world_bare(w, version_1, 3);
    world_session(w, 6);
    world_stack(w, 1);
    world_session(w, 6);
    world_stack(w, 1);
    two_sessions(w);
}

static void write_described(World *w)
{
    world_describe(w, expanded, 4);
    two_sessions(w);
}

const ScenarioGroup data_scenarios = {"data", (const Scenario[]){
    {"write-expanded", write_expanded, 4},
    {"write-version-1", write_version_1, 2},
    {"write-preallocated", write_preallocated, 1},
    {"write-raw", write_raw, 1},
    {"write-real-blocks", write_real_blocks, 1},
    {"discard-and-reuse", discard_and_reuse, 4},
    {"write-and-die", write_and_die, 3},
    {"write-above-expanded", write_above_expanded, 2},
    {"write-above-raw", write_above_raw, 1},
    {"write-above-two", write_above_two, 1},
    {"write-described", write_described, 1},
    {0},
}};
