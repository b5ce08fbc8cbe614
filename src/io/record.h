/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The recorder: a directory in memory that logs every change made through it, and the states a crash could
 * have left behind.
 *
 * A change is what was really done: sectors of 512 bytes that a write, a punch or a clone left in a file, as
 * they were after the call (a clone holds what its source held then); a length that a write, a truncation
 * or an allocation gave a file; a name made, moved or removed; a sync.
 *
 * What a crash keeps, at any point of the log:
 *
 *  - what a sync covered, always;
 *  - of the sectors written to a file since its last sync any subset, in any order; with pieces of 4096 bytes
 *    what one write left in one block is kept or lost as one;
 *  - of the file's changes of length since then a prefix, whatever is kept of the bytes: bytes beyond the
 *    kept length do not show, a kept length without its bytes shows zeros, and bytes that a kept truncation
 *    cut off stay away;
 *  - of the directory's changes since its last sync a prefix. A sync of a file does not make its name
 *    durable.
 *
 * That is less than filesystems promise, and all that the engine may rely on. States share what they have in
 * common; making one costs about a microsecond.
 *
 * Threads: recording may go on in several; a crash is looked at by one, with nobody recording. Nothing here
 * is global: processes that were forked may look at the same record.
 */
#pragma once

#include "base/cleanup.h"
#include "io/dir.h"

typedef struct PlkRecord PlkRecord;
typedef struct PlkCrash PlkCrash;

/* A mistake built in on purpose, to see that a test of crashes notices. */
typedef struct PlkRecordBug {
    PlkPoint swallow; /* syncs at this point do nothing; PLK_POINT_NONE = there is none */
    PlkPoint hasten;  /* changes at this point come before the last sync of their file */
} PlkRecordBug;

/* `path` is what the directory says it is called. */
int plk_record_new(const char *path, PlkRecord **ret);
/*
 * A record that begins with what is in a directory in memory, such as one of the states below, all of it
 * durable: for recording a recovery. Takes the directory over when it succeeds.
 */
int plk_record_new_over(PlkDir *state, PlkRecord **ret);
void plk_record_free(PlkRecord *record); /* after all that was opened through it; NULL is fine */
PLK_DEFINE_CLEANUP(PlkRecord, plk_record_free)
void plk_record_set_bug(PlkRecord *record, PlkRecordBug bug);

/* From now on copying goes through writes, as on filesystems that cannot clone. */
void plk_record_refuse_clones(PlkRecord *record);

/* The recorded directory; may be opened again and again, and closed, while the record lives. */
int plk_record_open(PlkRecord *record, PlkDir **ret);

/* Changes so far: positions a crash can be at go from 0 to this. */
size_t plk_record_length(PlkRecord *record);

/* A crash before the first change. */
int plk_crash_new(const PlkRecord *record, PlkCrash **ret);
void plk_crash_free(PlkCrash *crash); /* NULL is fine */
PLK_DEFINE_CLEANUP(PlkCrash, plk_crash_free)
/* The crash comes later: after `position` changes. Never goes back. 0 or -ENOMEM. */
int plk_crash_advance(PlkCrash *crash, size_t position);

/* Answers with 0 .. n - 1, n > 1. All zeros: as little as possible was kept. */
typedef unsigned PlkChooseFn(void *arg, unsigned n);

/*
 * One of the states it may leave, as a directory in memory of its own. `sector` is 512 or 4096. Asked for
 * are: how many changes of names are kept; for each file that has a name then, how many of its lengths, and
 * of each write whether nothing (0), all (1) or some (2) of it is, then piece by piece. What makes no
 * difference is not asked.
 */
int plk_crash_materialise(PlkCrash *crash, unsigned sector, PlkChooseFn *choose, void *arg, PlkDir **ret);

/*
 * ---- states one by one; io/crash-walk.h walks through them ----
 *
 * A plan divides what is pending into pieces, each kept or not, and chains, of each of which a prefix is
 * kept. Pieces that make no difference to any state, and those of files that no name can lead to, are left
 * out. At first nothing is kept. All return 0 or -ENOMEM, after which the crash can only be freed.
 */
int plk_crash_plan(PlkCrash *crash, unsigned sector);
size_t plk_crash_pieces(const PlkCrash *crash);
bool plk_crash_keeps(const PlkCrash *crash, size_t piece);
int plk_crash_keep(PlkCrash *crash, size_t piece, bool keep);
size_t plk_crash_chains(const PlkCrash *crash);
size_t plk_crash_chain_length(const PlkCrash *crash, size_t chain);
int plk_crash_keep_first(PlkCrash *crash, size_t chain, size_t n);

/*
 * What the state holds: names, lengths, bytes; whatever number or history a file has. Different states have
 * the same print with a chance of 2^-64.
 */
uint64_t plk_crash_print(const PlkCrash *crash);
/* The state, as a directory in memory of its own. */
int plk_crash_state(const PlkCrash *crash, PlkDir **ret);
