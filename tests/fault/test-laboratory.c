/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The crash laboratory (io/crash-walk.h) with an engine that makes mistakes: it finds each of them, and no
 * others. Prints how many states it examines in a second. Which states there are, tests/unit/test-record.c
 * shows.
 */
#include <errno.h>

#include "base/cleanup.h"
#include "io/crash-walk.h"
#include "test.h"
#include "toy.h"

static PlkRecord *record;
static PlkDir *dir;

static void begin(void)
{
    CHECK_INT(plk_record_new("/d", &record), 0);
    CHECK_INT(plk_record_open(record, &dir), 0);
}

static void end(void)
{
    plk_dir_close(PLK_TAKE(dir));
    plk_record_free(PLK_TAKE(record));
}

/* ---- an engine under examination ---- */

#define CLUSTERS 6u
#define WRITES_MAX 64u

/* What each cluster may hold; as the promises of tests/fault/crash-world.h. */
typedef struct Oracle {
    unsigned bugs;
    size_t created;             /* the position from which on there is a file */
    size_t from[WRITES_MAX];    /* the position at which a write began, */
    unsigned cluster[WRITES_MAX], n_writes; /* and where it went */
    size_t acks[WRITES_MAX], n_acks;
    int newest[WRITES_MAX][CLUSTERS]; /* write that each cluster held then; -1: zeros */
} Oracle;

static uint32_t seed;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(seed >> 4) * n >> 28);
}

static void fill(uint64_t bytes[TOY_CLUSTER / 8], int write)
{
    for (unsigned i = 0; i < TOY_CLUSTER / 8; i++)
        bytes[i] = write < 0 ? 0 : (uint64_t)(write + 1) << 32 | i;
}

static void acknowledge(Oracle *o, const int newest[CLUSTERS])
{
    o->acks[o->n_acks] = plk_record_length(record);
    memcpy(o->newest[o->n_acks++], newest, sizeof o->newest[0]);
}

static void run(Oracle *o, unsigned bugs, unsigned steps)
{
    int newest[CLUSTERS] = {-1, -1, -1, -1, -1, -1};
    uint64_t bytes[TOY_CLUSTER / 8];
    Toy toy;

    *o = (Oracle){.bugs = bugs};
    CHECK_INT(toy_create(&toy, dir, bugs), 0);
    o->created = plk_record_length(record);
    acknowledge(o, newest);
    for (unsigned i = 0; i < steps; i++) {
        if (chance(100) < 35) {
            CHECK_INT(toy_flush(&toy), 0);
            acknowledge(o, newest);
            continue;
        }
        o->from[o->n_writes] = plk_record_length(record);
        o->cluster[o->n_writes] = chance(CLUSTERS);
        newest[o->cluster[o->n_writes]] = (int)o->n_writes;
        fill(bytes, (int)o->n_writes);
        CHECK_INT(toy_write(&toy, o->cluster[o->n_writes++], bytes), 0);
    }
    toy_close(&toy);
}

static size_t last_ack(const Oracle *o, size_t position)
{
    size_t i = 0;

    while (i + 1 < o->n_acks && o->acks[i + 1] <= position)
        i++;
    return i;
}

static uint64_t promise(void *arg, size_t position)
{
    const Oracle *o = arg;

    return position < o->created ? 0 : last_ack(o, position) + 1;
}

static bool sector_holds(const uint64_t words[64], unsigned at, int write)
{
    for (unsigned i = 0; i < 64; i++)
        if (words[i] != (write < 0 ? 0 : (uint64_t)(write + 1) << 32 | (at + i)))
            return false;
    return true;
}

/* Each sector is what was acknowledged, or something newer. */
static bool cluster_holds(const Oracle *o, size_t position, unsigned cluster, const uint64_t *words)
{
    int acked = o->newest[last_ack(o, position)][cluster];

    for (unsigned at = 0; at < TOY_CLUSTER / 8; at += 64) {
        bool good = sector_holds(words + at, at, acked);

        for (int i = acked + 1; !good && i < (int)o->n_writes && o->from[i] <= position; i++)
            good = o->cluster[i] == cluster && sector_holds(words + at, at, i);
        if (!good)
            return false;
    }
    return true;
}

static int examine(void *arg, PlkDir *state, size_t position)
{
    uint64_t words[TOY_CLUSTER / 8];
    const Oracle *o = arg;
    Toy toy;
    int r = toy_open(&toy, state, 0, o->bugs);

    if (r < 0)
        return r == -ENOENT && position < o->created ? 0 : 1;
    r = toy_check(&toy) < 0;
    for (unsigned i = 0; r == 0 && i < CLUSTERS; i++)
        r = toy_read(&toy, i, words) < 0 || !cluster_holds(o, position, i, words);
    toy_close(&toy);
    return r;
}

static int recover(void *arg, PlkDir *state, size_t position)
{
    const Oracle *o = arg;
    Toy toy;
    int r = toy_open(&toy, state, PLK_OPEN_WRITE, o->bugs);

    if (r == -ENOENT)
        return 0;
    if (r == 0) {
        r = toy_recover(&toy);
        toy_close(&toy);
    }
    return r;
}

static int walk_toy(unsigned bugs, PlkCrashWalk walk, PlkCrashTally *tally)
{
    static Oracle o;
    int r;

    begin();
    run(&o, bugs, 40);
    walk.examine = examine;
    walk.recover = recover;
    walk.promise = promise;
    walk.arg = &o;
    r = plk_crash_walk(record, &walk, tally);
    end();
    return r;
}

static bool is_found(unsigned bug, unsigned sector)
{
    PlkCrashWalk walk = {.sector = sector, .budget = 512, .nest_every = 50, .nest_budget = 64};
    PlkCrashTally tally = {0};
    int r = 0;

    for (seed = 1; r == 0 && seed < 20; seed++)
        r = walk_toy(bug, walk, &tally);
    return r > 0;
}

TEST(every_mistake_of_an_engine_is_found)
{
    for (unsigned bug = TOY_TABLE_FIRST; bug <= TOY_CARELESS_RECOVERY; bug <<= 1) {
        CHECK(is_found(bug, 512));
        CHECK(is_found(bug, 4096));
    }
}

TEST(an_engine_without_mistakes_is_not_blamed)
{
    PlkCrashWalk walk = {.budget = 2048, .nest_every = 200, .nest_budget = 64};
    PlkCrashTally tally = {0};

    for (unsigned i = 1; i <= 30; i++) {
        seed = walk.seed = i;
        CHECK_INT(walk_toy(0, walk, &tally), 0);
    }
    CHECK(tally.nested > 0 && tally.exhausted > 0 && tally.exhausted < tally.positions);
    printf("%" PRIu64 " states of %" PRIu64 " crashes covered, %" PRIu64 " examined (%" PRIu64
           " of them crashes of a recovery): %.0f a second, %.0f examined\n",
           tally.covered, tally.positions, tally.examined, tally.nested,
           (double)tally.covered / tally.seconds, (double)tally.examined / tally.seconds);
}

TEST(slices_add_up_to_the_whole)
{
    PlkCrashWalk walk = {.budget = 300, .n_slices = 3};
    PlkCrashTally whole = {0}, sum = {0};

    for (walk.slice = 0; walk.slice < 3; walk.slice++) {
        seed = 5;
        CHECK_INT(walk_toy(0, walk, &sum), 0);
    }
    walk.n_slices = 0;
    seed = 5;
    CHECK_INT(walk_toy(0, walk, &whole), 0);
    CHECK_INT(sum.covered, whole.covered);
    CHECK_INT(sum.examined, whole.examined);
}

TEST(a_limit_ends_the_walk_without_blame)
{
    PlkCrashWalk walk = {.budget = 300, .max_examined = 100};
    PlkCrashTally tally = {0};

    seed = 5;
    CHECK_INT(walk_toy(0, walk, &tally), 0);
    CHECK_INT(tally.examined, 100);
}

TEST_MAIN()
