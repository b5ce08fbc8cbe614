/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of a described disk: size, packing, format and version; and a scratch delta above it. */
#include "crash-walk.h"

#include "change/scratch.h"

#define BIG (20000ull * CLUSTER_SECTORS) /* its table needs the first data clusters' place */

static const ImageKind expanded = {PLK_FORMAT_EXPANDED, 2}, version_1 = {PLK_FORMAT_EXPANDED, 1},
                       raw = {PLK_FORMAT_RAW, 2};

static void begin(World *w, ImageKind kind, unsigned clusters)
{
    world_describe(w, kind, clusters);
    w->leaves = LEAVES_TMP;
    world_session(w, 8);
    world_ready(w);
}

/* ---- size ---- */

static void grow(World *w, uint64_t sectors)
{
    world_open_store(w);
    world_resized(w, sectors);
    MUST(plk_store_grow(w->store, sectors, NULL, &must_error));
    world_acknowledge(w);
    world_close_store(w);
}

static void shrink(World *w, uint64_t sectors)
{
    world_open_store(w);
    world_resized(w, sectors);
    MUST(plk_store_shrink(w->store, sectors, NULL, &must_error));
    world_acknowledge(w);
    world_close_store(w);
}

static void grow_disk(World *w)
{
    begin(w, expanded, 3);
    grow(w, BIG);
    world_session(w, 4);
}

/* The snapshot below keeps its size. */
static void grow_above(World *w)
{
    begin(w, version_1, 3);
    world_take(w);
    world_session(w, 4);
    world_ready(w);
    grow(w, BIG);
    world_session(w, 4);
}

static void grow_raw(World *w)
{
    begin(w, raw, 3);
    grow(w, 5 * CLUSTER_SECTORS);
    world_session(w, 3);
}

static void shrink_disk(World *w)
{
    begin(w, expanded, 4);
    world_forget(w, 2, 2);
    shrink(w, 2 * CLUSTER_SECTORS);
    grow(w, 4 * CLUSTER_SECTORS);
    world_session(w, 4);
}

static void pack_disk(World *w)
{
    uint64_t freed;

    begin(w, expanded, 4);
    world_open(w);
    world_put(w, 3 * CLUSTER_SECTORS, 8);
    world_flush(w);
    world_discard(w, chance(3), 1);
    world_close(w);
    world_open_store(w);
    MUST(plk_store_compact(w->store, &freed, NULL, &must_error));
    world_acknowledge(w);
    world_close_store(w);
    world_session(w, 4);
}

/* ---- version and format ---- */

static void change_version(World *w)
{
    begin(w, expanded, 3);
    world_take(w);
    world_session(w, 4);
    world_ready(w);
    for (int version = 1; version <= 2; version++) {
        world_open_store(w);
        MUST(plk_store_convert_version(w->store, version, NULL, &must_error));
        world_acknowledge(w);
        world_close_store(w);
    }
    world_session(w, 4);
}

/* Undone while the process lives; or after it. */
static void version_cancelled(World *w)
{
    PlkError err;

    begin(w, expanded, 3);
    world_take(w);
    world_session(w, 4);
    world_ready(w);
    world_open_store(w);
    MUST_BE(plk_store_convert_version(w->store, 1, &impatient, &err) < 0);
    world_close_store(w);
    world_session(w, 4);
}

static void convert(World *w, PlkFormat to, bool alloc_full)
{
    world_open_store(w);
    MUST(plk_store_convert_format(w->store, to, alloc_full, NULL, &must_error));
    world_acknowledge(w);
    world_close_store(w);
    world_session(w, 3);
}

static void format_to_raw_and_back(World *w)
{
    begin(w, expanded, 3);
    w->leaves |= LEAVES_BASE;
    convert(w, PLK_FORMAT_RAW, false);
    convert(w, PLK_FORMAT_EXPANDED, false);
}

static void format_preallocated(World *w)
{
    begin(w, version_1, 4);
    convert(w, PLK_FORMAT_PREALLOCATED, false);
    convert(w, PLK_FORMAT_EXPANDED, false);
}

static void format_cancelled(World *w)
{
    PlkError err;

    begin(w, expanded, 4);
    world_open_store(w);
    MUST_BE(plk_store_convert_format(w->store, PLK_FORMAT_PREALLOCATED, chance(2), &impatient, &err) < 0);
    world_close_store(w);
    world_session(w, 4);
}

/* All clusters get an entry and real blocks. */
static void fill_holes(World *w)
{
    begin(w, expanded, 4);
    convert(w, PLK_FORMAT_PREALLOCATED, true);
}

static void format_raw_to_preallocated(World *w)
{
    begin(w, raw, 3);
    w->leaves |= LEAVES_BASE;
    convert(w, PLK_FORMAT_PREALLOCATED, false);
}

/* ---- a scratch delta ---- */

static PlkScratch *begin_scratch(World *w, uint64_t sectors)
{
    PlkScratch *scratch;
    PlkStore *store;

    MUST(plk_store_open_dir(world_dir(w), DESCRIPTOR, &store, &must_error));
    MUST(plk_store_lock(store, &must_error));
    MUST(plk_scratch_begin_store(store, sectors, &scratch, &must_error));
    return scratch;
}

/* What a helper that knows nothing of crashes would do. The oracle hears of it when it is committed. */
static void scribble(World *w, PlkDisk *disk, unsigned *ret_sector, unsigned n)
{
    uint32_t words[128];

    w->stamp++;
    for (unsigned i = 0; i < n; i++) {
        unsigned sector = i * w->sectors / n + chance(8);

        render(words, sector, w->stamp);
        MUST_BE(plk_disk_write(disk, words, sizeof words, sector * 512ull) == 0);
        ret_sector[i] = sector;
        if (chance(4) == 0)
            MUST_BE(plk_disk_flush(disk) == 0);
    }
}

static void commit_scratch(World *w, uint64_t sectors)
{
    PlkScratch *scratch = begin_scratch(w, sectors);
    unsigned written[6];

    scribble(w, plk_scratch_disk(scratch), written, 6);
    for (unsigned i = 0; i < 6; i++)
        world_remember(w, written[i], w->stamp);
    w->joint = w->stamp;
    if (sectors)
        world_resized(w, sectors);
    MUST(plk_scratch_commit(scratch, NULL, &must_error));
    world_acknowledge(w);
    w->joint_until = world_now(w);
    world_session(w, 3);
}

static void scratch_commit(World *w)
{
    begin(w, expanded, 3);
    commit_scratch(w, 0);
}

static void scratch_commit_bigger(World *w)
{
    begin(w, expanded, 3);
    commit_scratch(w, BIG);
}

static void scratch_commit_raw(World *w)
{
    begin(w, raw, 3);
    commit_scratch(w, 0);
}

static void scratch_above_snapshot(World *w)
{
    begin(w, version_1, 3);
    world_take(w);
    world_session(w, 4);
    world_ready(w);
    commit_scratch(w, 0);
}

static void scratch_drop(World *w)
{
    PlkScratch *scratch;
    unsigned written[6];

    begin(w, expanded, 3);
    scratch = begin_scratch(w, 0);
    scribble(w, plk_scratch_disk(scratch), written, 6);
    plk_scratch_drop(scratch);
    world_session(w, 3);
}

const ScenarioGroup change_scenarios = {"change", (const Scenario[]){
    {"grow-disk", grow_disk, 2},
    {"grow-above", grow_above, 2},
    {"grow-raw", grow_raw, 1},
    {"shrink-disk", shrink_disk, 2},
    {"pack-disk", pack_disk, 2},
    {"change-version", change_version, 3},
    {"version-cancelled", version_cancelled, 2},
    {"format-to-raw-and-back", format_to_raw_and_back, 3},
    {"format-preallocated", format_preallocated, 2},
    {"format-raw-to-preallocated", format_raw_to_preallocated, 1},
    {"format-cancelled", format_cancelled, 1},
    {"fill-holes", fill_holes, 1},
    {"scratch-commit", scratch_commit, 3},
    {"scratch-commit-bigger", scratch_commit_bigger, 2},
    {"scratch-commit-raw", scratch_commit_raw, 1},
    {"scratch-above-snapshot", scratch_above_snapshot, 2},
    {"scratch-drop", scratch_drop, 1},
    {0},
}};
