/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The walk through the states of crashes; see crash-walk.h. Consecutive states differ in as little as
 * possible.
 */
#include "io/crash-walk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/math.h"
#include "io/record-log.h"

#define STOPPED 1 /* at a limit: no error. What examine() returned is kept apart. */

/* Prints of what was examined under the present promise; 0 is free. */
typedef struct Seen {
    uint64_t *prints;
    size_t n, size; /* power of two */
} Seen;

typedef struct Walker {
    const PlkCrashWalk *walk;
    PlkCrashTally *tally;
    Seen *seen;
    PlkCrash *crash;
    size_t position; /* the outer one */
    uint64_t budget, left;
    uint64_t chance;
    double deadline;
    int verdict; /* of examine() or recover() */
    bool nested;
} Walker;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t next_chance(Walker *w)
{
    uint64_t h = w->chance += 0x9e3779b97f4a7c15ull;

    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
    h = (h ^ h >> 27) * 0x94d049bb133111ebull;
    return h ^ h >> 31;
}

/* ---- what was seen ---- */

static void seen_forget(Seen *seen)
{
    if (seen->n > 0)
        memset(seen->prints, 0, seen->size * sizeof *seen->prints);
    seen->n = 0;
}

static uint64_t *seen_find(const Seen *seen, uint64_t print)
{
    size_t at = (size_t)print & (seen->size - 1);

    while (seen->prints[at] && seen->prints[at] != print)
        at = (at + 1) & (seen->size - 1);
    return &seen->prints[at];
}

static int seen_grow(Seen *seen)
{
    Seen grown = {.n = seen->n, .size = seen->size ? seen->size * 4 : 1024};

    grown.prints = plk_calloc(grown.size, sizeof *grown.prints);
    if (!grown.prints)
        return -ENOMEM;
    for (size_t i = 0; i < seen->size; i++)
        if (seen->prints[i])
            *seen_find(&grown, seen->prints[i]) = seen->prints[i];
    free(seen->prints);
    *seen = grown;
    return 0;
}

/* 1: it is new, and remembered. */
static int seen_add(Seen *seen, uint64_t print)
{
    uint64_t *entry;

    if (print == 0)
        print = 1;
    if (seen->n * 2 >= seen->size && seen_grow(seen) < 0)
        return -ENOMEM;
    entry = seen_find(seen, print);
    if (*entry)
        return 0;
    *entry = print;
    seen->n++;
    return 1;
}

/* ---- one state ---- */

static int walk_record(Walker *w, const PlkRecord *record, size_t from);

static int judge(Walker *w, int verdict)
{
    w->verdict = verdict;
    return verdict ? STOPPED : 0;
}

/* The present state is recovered under a recorder, and crashes of that are walked through. */
static int crash_again(Walker *w)
{
    Walker inner = *w;
    PlkRecord *record;
    PlkDir *dir;
    int r = plk_crash_state(w->crash, &dir);

    if (r < 0)
        return r;
    r = plk_record_new_over(dir, &record);
    if (r < 0) {
        plk_dir_close(dir);
        return r;
    }
    r = plk_record_open(record, &dir);
    if (r == 0) {
        r = judge(w, w->walk->recover(w->walk->arg, dir, w->position));
        plk_dir_close(dir);
    }
    inner.nested = true;
    inner.budget = w->walk->nest_budget;
    if (r == 0) {
        r = walk_record(&inner, record, 0);
        w->verdict = inner.verdict;
    }
    plk_record_free(record);
    return r;
}

static bool is_over(const Walker *w)
{
    return (w->walk->max_examined && w->tally->examined >= w->walk->max_examined) ||
           (w->deadline > 0 && w->tally->covered % 64 == 0 && now() >= w->deadline);
}

static int examine(Walker *w)
{
    PlkDir *dir;
    int r;

    w->tally->examined++;
    w->tally->nested += w->nested;
    r = plk_crash_state(w->crash, &dir);
    if (r < 0)
        return r;
    r = judge(w, w->walk->examine(w->walk->arg, dir, w->position));
    plk_dir_close(dir);
    if (r == 0 && !w->nested && w->walk->nest_every && w->tally->examined % w->walk->nest_every == 0)
        r = crash_again(w);
    return r;
}

/* Counts the present state, and examines it if it is a new one. */
static int visit(Walker *w)
{
    uint64_t print = plk_crash_print(w->crash);
    int r;

    w->left -= w->left > 0;
    if (w->walk->n_slices > 1 && !w->nested && (print >> 32) % w->walk->n_slices != w->walk->slice)
        return 0;
    if (is_over(w))
        return STOPPED;
    w->tally->covered++;
    r = seen_add(w->seen, print);
    return r > 0 ? examine(w) : r;
}

/* ---- all states of a position, or some ---- */

static int keep_all(Walker *w, bool keep)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < plk_crash_pieces(w->crash); i++)
        r = plk_crash_keep(w->crash, i, keep);
    return r;
}

/* As many of each chain as there are, or none. */
static int keep_chains(Walker *w, bool full)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < plk_crash_chains(w->crash); i++)
        r = plk_crash_keep_first(w->crash, i, full ? plk_crash_chain_length(w->crash, i) : 0);
    return r;
}

/* How many states there are, or more than the budget. */
static uint64_t count(const Walker *w)
{
    size_t pieces = plk_crash_pieces(w->crash);
    uint64_t n = pieces < 40 ? 1ull << pieces : UINT64_MAX;

    for (size_t i = 0; n <= w->budget && i < plk_crash_chains(w->crash); i++)
        n *= plk_crash_chain_length(w->crash, i) + 1;
    return n;
}

/* Every subset of pieces once, each one piece away from the one before. */
static int walk_subsets(Walker *w)
{
    uint64_t n = 1ull << plk_crash_pieces(w->crash);
    int r = visit(w);

    for (uint64_t i = 1; r == 0 && i < n; i++) {
        size_t piece = (size_t)__builtin_ctzll(i);

        r = plk_crash_keep(w->crash, piece, !plk_crash_keeps(w->crash, piece));
        if (r == 0)
            r = visit(w);
    }
    return r;
}

/* Every combination of prefixes: the chains are the digits of a number that counts up. */
static int walk_all(Walker *w, uint64_t n)
{
    uint64_t combinations = n >> plk_crash_pieces(w->crash);
    int r = 0;

    for (uint64_t k = 0; r == 0 && k < combinations; k++) {
        uint64_t rest = k;

        for (size_t i = 0; r == 0 && i < plk_crash_chains(w->crash); i++) {
            size_t digits = plk_crash_chain_length(w->crash, i) + 1;

            r = plk_crash_keep_first(w->crash, i, (size_t)(rest % digits));
            rest /= digits;
        }
        if (r == 0)
            r = walk_subsets(w);
    }
    return r;
}

/* All pieces are dropped, or kept; then each is turned for a moment. */
static int walk_singles(Walker *w, bool keep, size_t step)
{
    size_t n = plk_crash_pieces(w->crash);
    int r = keep_all(w, keep);

    if (r == 0)
        r = visit(w);
    for (size_t i = next_chance(w) % step; r == 0 && i < n; i += step) {
        r = plk_crash_keep(w->crash, i, !keep);
        if (r == 0)
            r = visit(w);
        if (r == 0)
            r = plk_crash_keep(w->crash, i, keep);
    }
    return r;
}

static int walk_prefixes(Walker *w, size_t step)
{
    size_t n = plk_crash_pieces(w->crash);
    int r = keep_all(w, false);

    for (size_t i = 0; r == 0 && i < n; i++) {
        r = plk_crash_keep(w->crash, i, true);
        if (r == 0 && i % step == 0)
            r = visit(w);
    }
    return r;
}

/* Each prefix of each chain while the others are as they are. */
static int walk_chains(Walker *w, bool full)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < plk_crash_chains(w->crash); i++) {
        size_t n = plk_crash_chain_length(w->crash, i);

        for (size_t k = 0; r == 0 && k <= n; k++) {
            r = plk_crash_keep_first(w->crash, i, k);
            if (r == 0)
                r = visit(w);
        }
        if (r == 0)
            r = plk_crash_keep_first(w->crash, i, full ? n : 0);
    }
    return r;
}

static int walk_corners(Walker *w, bool full, size_t step)
{
    int r = keep_chains(w, full);

    if (r == 0)
        r = walk_singles(w, false, step);
    if (r == 0)
        r = walk_chains(w, full);
    if (r == 0)
        r = walk_prefixes(w, step);
    if (r == 0)
        r = walk_singles(w, true, step);
    return r == 0 ? walk_chains(w, full) : r;
}

/*
 * Pieces are kept with a chance of 1, 2, 4, 6 or 7 in 8: mixed states, and such that are nearly none or
 * all.
 */
static int keep_some(Walker *w)
{
    static const unsigned odds[] = {1, 2, 4, 4, 6, 7};
    unsigned odd = odds[next_chance(w) % 6];
    uint64_t bits = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < plk_crash_pieces(w->crash); i++, bits >>= 3) {
        if (i % 21 == 0)
            bits = next_chance(w);
        r = plk_crash_keep(w->crash, i, (bits & 7) < odd);
    }
    return r;
}

static int walk_chance(Walker *w)
{
    int r = 0;

    while (r == 0 && w->left > 0) {
        for (size_t i = 0; r == 0 && i < plk_crash_chains(w->crash); i++)
            r = plk_crash_keep_first(w->crash, i,
                                     next_chance(w) % (plk_crash_chain_length(w->crash, i) + 1));
        for (unsigned i = 0; r == 0 && i < 8 && w->left > 0; i++) {
            r = keep_some(w);
            if (r == 0)
                r = visit(w);
        }
    }
    return r;
}

static int walk_some(Walker *w)
{
    size_t step = (size_t)(8 * (uint64_t)plk_crash_pieces(w->crash) / w->budget + 1);
    int r = walk_corners(w, false, step);

    if (r == 0 && plk_crash_chains(w->crash) > 0)
        r = walk_corners(w, true, step);
    return r == 0 ? walk_chance(w) : r;
}

/* ---- positions ---- */

static int walk_position(Walker *w, unsigned sector)
{
    int r = plk_crash_plan(w->crash, sector);
    uint64_t n;

    if (r < 0)
        return r;
    n = count(w);
    w->left = w->budget;
    r = n <= w->budget ? walk_all(w, n) : walk_some(w);
    if (r == 0) {
        w->tally->positions++;
        w->tally->exhausted += n <= w->budget;
    }
    return r;
}

static void note_promise(Walker *w, uint64_t *promise)
{
    uint64_t at = w->walk->promise ? w->walk->promise(w->walk->arg, w->position) : w->position;

    if (at != *promise)
        seen_forget(w->seen);
    *promise = at;
}

static int walk_record(Walker *w, const PlkRecord *record, size_t from)
{
    size_t end = record->n;
    uint64_t promise = UINT64_MAX;
    int r = plk_crash_new(record, &w->crash);

    if (r < 0)
        return r;
    for (size_t at = from; r == 0 && at <= end; at++) {
        r = plk_crash_advance(w->crash, at);
        if (!w->nested) {
            w->position = at;
            note_promise(w, &promise);
        }
        if (r == 0 && w->walk->sector != 4096)
            r = walk_position(w, 512);
        if (r == 0 && w->walk->sector != 512)
            r = walk_position(w, 4096);
    }
    plk_crash_free(w->crash);
    return r;
}

int plk_crash_walk(const PlkRecord *record, const PlkCrashWalk *walk, PlkCrashTally *tally)
{
    Seen seen = {0};
    double start = now();
    Walker w = {.walk = walk, .tally = tally, .seen = &seen, .budget = walk->budget, .chance = walk->seed,
                .deadline = walk->max_seconds > 0 ? start + walk->max_seconds : 0};
    int r;

    assert(walk->budget > 0 && (!walk->nest_every || (walk->recover && walk->nest_budget > 0)));
    r = walk_record(&w, record, walk->from);
    free(seen.prints);
    tally->seconds += now() - start;
    return r == STOPPED ? w.verdict : r;
}
