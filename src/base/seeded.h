/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mistakes on purpose, so that the proofs can be proven: a test of crashes or repairs that stays green while
 * one of them is made is broken. They exist only in a build configured with -Dseeded=true; anywhere else
 * PLK_SEEDED() is the constant false and leaves no code.
 *
 *     if (!PLK_SEEDED(NO_DATA_BARRIER))
 *         r = plk_io_sync(...);
 *
 * Lost syncs and hastened writes at a named point need no line in the engine: the recorder makes these
 * (io/record.h).
 */
#pragma once

#include <stdbool.h>

typedef enum PlkSeed {
    PLK_SEED_NONE,
    PLK_SEED_TRUST_TAIL,    /* after a crash nothing is cut behind the highest named cluster */
    PLK_SEED_EARLY_REUSE,   /* a freed cluster is handed out before the flush that clears its name */
    PLK_SEED_OLD_BYTES,     /* a reused cluster keeps what it held */
    PLK_SEED_UNLINK_FIRST,  /* files go before the commit that stops naming them */
    PLK_SEED_ONE_SYNC,      /* a repair writes entries and the clean header under one sync */
    PLK_SEED_ACK_EARLY,     /* a flush returns before its last sync */
    PLK_SEED_MARK_LATE,     /* the in-use mark is not synced before the first change */
    PLK_SEED_COPY_UNSYNCED, /* a merge names what it copied without a sync between */
    PLK_SEED_NAME_UNSYNCED, /* a new image gets its name before its data is synced */
    PLK_SEED_FORGET_EARLY,  /* the list of files that are to go is taken off before they are durably gone */
    PLK_SEED_MAX
} PlkSeed;

#ifdef PLK_SEEDED_BUGS
extern PlkSeed plk_seed;
#define PLK_SEEDED(which) (plk_seed == PLK_SEED_##which)
#else
#define PLK_SEEDED(which) false
#endif
