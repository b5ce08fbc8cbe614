/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The recorder: a directory in memory that logs every change made through it, and the states a crash could
 * have left behind.
 *
 * What a crash keeps, at any point of the log:
 *
 *  - what a sync covered, always;
 *  - of the writes to a file since its last sync any subset of sectors, each as it was after one of these
 *    writes;
 *  - of its changes of length since then a prefix; bytes that a kept truncation cut off stay away;
 *  - of the directory's changes since its last sync a prefix. A sync of a file does not make its name
 *    durable.
 *
 * That is less than filesystems promise, and all that the engine may rely on. Files are meant to be small:
 * each crash state copies them. Copies and clones are not offered, so the gate makes writes of them.
 *
 * Threads: recording may go on in several; a crash is looked at by one, with nobody recording.
 */
#pragma once

#include "base/cleanup.h"
#include "io/dir.h"

#define PLK_RECORD_BLOCK 4096u /* logged writes are whole blocks of this size */

typedef struct PlkRecord PlkRecord;
typedef struct PlkCrash PlkCrash;

/* A mistake built in on purpose, to see that a test of crashes notices. */
typedef struct PlkRecordBug {
    PlkPoint swallow; /* syncs at this point do nothing; PLK_POINT_NONE = none */
    PlkPoint hasten;  /* changes at this point come before the last sync of their file; PLK_POINT_NONE = none */
} PlkRecordBug;

/* `path` is what the directory says it is called. */
int plk_record_new(const char *path, PlkRecord **ret);
void plk_record_free(PlkRecord *record); /* after all that was opened through it; NULL is fine */
PLK_DEFINE_CLEANUP(PlkRecord, plk_record_free)
void plk_record_set_bug(PlkRecord *record, PlkRecordBug bug);

/* The recorded directory; may be opened again and again, and closed, while the record lives. */
int plk_record_open(PlkRecord *record, PlkDir **ret);

/* Changes so far: positions a crash can be at go from 0 to this. */
size_t plk_record_length(PlkRecord *record);

/* Answers with 0 .. n - 1, n > 1. All zeros: as little as possible was kept. */
typedef unsigned PlkChooseFn(void *arg, unsigned n);

/* A crash before the first change. */
int plk_crash_new(const PlkRecord *record, PlkCrash **ret);
void plk_crash_free(PlkCrash *crash); /* NULL is fine */
PLK_DEFINE_CLEANUP(PlkCrash, plk_crash_free)
/* The crash comes later: after `position` changes. Never goes back. 0 or -ENOMEM. */
int plk_crash_advance(PlkCrash *crash, size_t position);
/* One of the states it may leave, as a directory in memory of its own. `sector` is 512 or 4096. */
int plk_crash_materialise(PlkCrash *crash, unsigned sector, PlkChooseFn *choose, void *arg, PlkDir **ret);
