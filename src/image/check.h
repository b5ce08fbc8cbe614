/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checking one file. The passes, each in its own function, all over one PlkChecker:
 *
 *   check.c            header, in-use mark, flags, file length, holes in the file; decides what is repaired
 *   check-bat.c        every BAT entry, unnamed clusters; rewrites entries
 *   check-extension.c  the format extension
 *   check-report.c     words
 *
 * The BAT is read twice when something is wrong with it: silently, to learn whether a repair is allowed at
 * all, then again to report and repair. Order of a repair: mark in use, sync; entries, sync; header with its
 * final mark, sync; only then the file is cut.
 */
#pragma once

#include <ploopkit/check.h>

#include "base/error.h"
#include "format/extension.h"
#include "format/header.h"
#include "io/io.h"

typedef struct PlkChecker {
    PlkIo *io;
    const char *name; /* of the file, for people */
    const PlkCheckOptions *options;
    unsigned level;
    bool lower; /* other images stand on it */
    PlkFindingFn *report;
    void *arg;
    const PlkProgress *progress;
    PlkCheckResult *result;
    bool silent; /* count nothing, call nobody */

    PlkHeader header;                      /* as found */
    bool header_ok;                        /* sane enough to go on, and to compare with its neighbours */
    uint64_t size;                         /* of the file */
    uint64_t first_cluster, file_clusters; /* a partial last one counts */
    unsigned cluster_shift;

    uint8_t *ext; /* a valid extension's cluster, mapped; NULL if there is none */
    PlkDirtyBitmap bitmap;
    bool has_bitmap;
    bool locked; /* it forbids repairs */

    /* what the silent walk learned */
    uint64_t used_end;                     /* behind the highest used cluster */
    uint64_t n_used;                       /* distinct used clusters */
    uint64_t n_lossless, n_lossy, n_fatal; /* faulty entries */
    bool mending;                          /* faults may be repaired */
    bool slots_changed;

    /* the window of the BAT walk */
    uint64_t *used, window_from, window_to;
} PlkChecker;

/*
 * 0 or -1 with *err: could not look, write, or was stopped. *ret (added to) says what was found. ret_header,
 * may be NULL, gets the header if it makes sense; version 0 stands for a raw image, else untouched.
 */
int plk_image_check(PlkIo *io, unsigned level, const PlkCheckOptions *options, PlkFindingFn *report,
                    void *arg, const PlkProgress *progress, PlkCheckResult *ret, PlkHeader *ret_header,
                    PlkError *err);

/* Is it a well-known header that says "closed"? 1, 0 or -errno. */
int plk_image_is_closed(PlkIo *io);

/* ---- between the files of the check; 0 or -errno ---- */

/* meaning and proposal are formats for (value, count). -ECANCELED when the callback stops. */
int plk_checker_report(PlkChecker *c, const PlkFinding *finding);

int plk_checker_load_extension(PlkChecker *c);
/* Marks its clusters that lie in the window. */
void plk_checker_mark_extension(PlkChecker *c);
/* True if the cluster was not marked before; false also outside the window. */
bool plk_checker_mark(PlkChecker *c, uint64_t cluster);

/* Silently: fills in what the walk learns. Else: reports, and repairs when c->mending. */
int plk_checker_walk_bat(PlkChecker *c);
