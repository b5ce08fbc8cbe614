/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The walk through the states that crashes could have left: every position of a record, at each one all
 * states if they are few, else nothing kept, everything kept, each piece alone, each piece missing, each
 * prefix, and chance up to the budget.
 *
 * What is examined once need not be examined again while the same is promised: a state that holds the same
 * as one before it counts as covered, not as examined. That is right if time only widens what is allowed:
 * at a later position of the same promise every state that was good before must be good.
 *
 * Threads, processes: the walk keeps nothing but what it is given. To use several processes, fork and give
 * each its slice: all walk everywhere, each examines the states whose print falls to it. Their sums of
 * `covered` and `examined` are those of one process, but for crashes of recoveries.
 */
#pragma once

#include "io/record.h"

typedef struct PlkCrashWalk {
    unsigned sector;  /* 512 or 4096; 0: both at every position */
    uint64_t budget;  /* of states at one position, for each size of sector */
    uint64_t seed;    /* of chance */
    size_t from;      /* the first position */
    unsigned slice, n_slices; /* 0 of 0: everything */
    uint64_t max_examined;    /* 0: no limit */
    double max_seconds;       /* 0: no limit */

    /* Of one in so many states examined the recovery is recorded and crashed in turn; 0: of none. */
    unsigned nest_every;
    uint64_t nest_budget;
    /* Recovers what is in `dir`, which is recorded. Non-zero ends the walk. */
    int (*recover)(void *arg, PlkDir *dir, size_t position);

    /* Non-zero ends the walk. `dir` may be changed; it is closed. In a crashed recovery the outer position. */
    int (*examine)(void *arg, PlkDir *dir, size_t position);
    /* A number that changes whenever something new is promised. NULL: at every position. */
    uint64_t (*promise)(void *arg, size_t position);
    void *arg;
} PlkCrashWalk;

typedef struct PlkCrashTally {
    uint64_t positions; /* walked through; with both sizes of sector each counts twice */
    uint64_t exhausted; /* ... so many of them had all their states covered */
    uint64_t covered;              /* states, each as often as it came */
    uint64_t examined;             /* of them */
    uint64_t nested;               /* of those examined, crashes of a recovery */
    double seconds;
} PlkCrashTally;

/*
 * Adds to *tally. 0; or what examine() or recover() returned if not 0; or -errno of its own. A limit that was
 * reached is no error: then positions are missing from the tally.
 */
int plk_crash_walk(const PlkRecord *record, const PlkCrashWalk *walk, PlkCrashTally *tally);
