/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checking one file. The passes, each in its own function, all over one PlkChecker:
 *
 *   check.c            the course; in-use mark, flags, file length, holes in the file; decides what is repaired
 *   check-header.c     whether the header can be meant so, and what it was if it can not
 *   check-bat.c        every BAT entry, unnamed clusters; clears entries, copies shared clusters apart
 *   check-extension.c  the format extension
 *   check-report.c     words
 *
 * The BAT is read once silently (survey), to learn whether a repair is allowed at all; when something is wrong
 * with it again to report and clear, and a third time if clusters are to be copied.
 *
 * Order of a repair; each step is durable before the next begins, and a finding is reported before its change:
 *
 *   1. mark in use
 *   2. entries that name nothing are cleared: the file may grow now without giving them a meaning
 *   3. shared clusters are copied behind the last used one
 *   4. the entries that are to name the copies
 *   5. header, with its final mark
 *   6. the file is cut, or its last cluster made whole
 */
#pragma once

#include <ploopkit/check.h>

#include "base/endian.h"
#include "base/error.h"
#include "format/extension.h"
#include "format/header.h"
#include "io/io.h"

/* A cluster that several slots name, and the first of them. */
typedef struct PlkSharedCluster {
    uint64_t cluster, slot;
} PlkSharedCluster;

typedef enum PlkCheckPass {
    PLK_PASS_SURVEY, /* count, tell nobody, change nothing */
    PLK_PASS_REPORT, /* tell; clear entries that name nothing, when mending */
    PLK_PASS_COPY,   /* give each entry that shares a cluster a copy of it */
} PlkCheckPass;

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

    PlkHeader found;  /* the header as it stands in the file */
    PlkHeader header; /* the same, or as other evidence says that it was: what is gone on with */
    PlkFinding fault; /* where these two differ, or the file is too short for its BAT; count 0: nothing */
    bool header_ok;   /* sane enough to go on, and to compare with its neighbours */
    PlkLe32 size_high; /* bytes 40 to 43, which version 1 does not use */
    bool tidy;        /* the header is written again even if it says the same */
    uint64_t found_size, size; /* of the file; copies make it grow */
    uint64_t first_cluster, file_clusters; /* as found; a partial last one counts */
    unsigned cluster_shift;

    uint8_t *ext; /* a valid extension's cluster, mapped; NULL if there is none */
    PlkDirtyBitmap bitmap;
    bool has_bitmap;
    bool locked; /* it forbids repairs */

    /* what the survey learned */
    uint64_t slots_end, ext_end;           /* behind the highest cluster that a slot, the extension has */
    uint64_t n_named;                      /* distinct clusters that slots name */
    uint64_t n_ext, n_ext_named;           /* distinct clusters of the extension; those that slots name, too */
    uint64_t n_lossless, n_lossy, n_fatal; /* faulty entries, those below not counted in */
    uint64_t n_shared_entries;             /* entries that want a copy of their cluster */
    PlkSharedCluster *shared;              /* sorted; not all if there are very many */
    size_t n_shared;

    /* what was decided then */
    PlkFindingRank shared_rank; /* of duplicates: fatal if the file has no room for copies */
    bool mending;               /* faults are repaired, or would be, if this is a dry run */
    bool drops_ext;             /* a valid extension is given up, since entries change */
    uint64_t used_end;          /* behind the highest used cluster, copies not counted in */

    PlkCheckPass pass;
    bool slots_changed;
    uint64_t copy_to; /* where the next copy goes */

    /* the window of the BAT walk: one bit a cluster */
    uint64_t *used, *ext_used, window_from, window_to;
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

/* Fills in the words and calls the user; the survey reports nothing. -ECANCELED when the callback stops. */
int plk_checker_report(PlkChecker *c, const PlkFinding *finding);

/* The options ask for this repair, and the file is open for it or will not be touched. */
bool plk_checker_may(const PlkChecker *c, unsigned repair);
bool plk_checker_is_closed(const PlkHeader *h);
/* Something is to be written now. */
static inline bool plk_checker_writes(const PlkChecker *c)
{
    return c->mending && !c->options->dry_run;
}

/* Reports what can not be gone on with; else header_ok, the geometry, and maybe `fault`, which is yet to be told. */
int plk_checker_read_header(PlkChecker *c);
/* What is odd, but read by everybody as meant. */
int plk_checker_check_oddities(PlkChecker *c);
/* After the survey: reports it if all entries, most of which are wrong, are right in the other version. */
int plk_checker_check_version(PlkChecker *c, bool *ret_wrong);

int plk_checker_load_extension(PlkChecker *c);
void plk_checker_forget_extension(PlkChecker *c);
/* Marks its clusters that lie in the window. */
void plk_checker_mark_extension(PlkChecker *c);

/* One pass over all entries. */
int plk_checker_walk_bat(PlkChecker *c, PlkCheckPass pass);
