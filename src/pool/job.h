/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A long operation somebody may watch and stop, from any process of the host: a file runtime/ploopkit/jobs/ID,
 * flocked by who works and rewritten at most twice a second; ID.cancel beside it asks to stop. A file whose lock is
 * free belongs to a process that died and goes with the next look.
 */
#pragma once

#include <ploopkit/progress.h>

#include "pool/storage.h"

typedef struct PlkJob PlkJob;

typedef struct PlkJobInfo {
    char id[24]; /* "20261123-1a2b3c4d" */
    char kind[16]; /* "create", "clone", "upload", ... */
    char pool[256], volume[256], program[32];
    int pid;
    uint64_t done, total; /* bytes; 0 of 0 = unknown */
    int64_t started;      /* seconds since the epoch */
    char what[64];        /* what it is at */
    bool cancelled;
} PlkJobInfo;

/* outer: told as well, and may stop it too; NULL. The file is made; failing that only costs being seen. */
PlkJob *plk_job_begin(PlkStorage *storage, const char *kind, const char *pool, const char *volume,
                      const PlkProgress *outer);
const PlkProgress *plk_job_progress(PlkJob *job); /* for the engine; valid until the end */
void plk_job_report(PlkJob *job, uint64_t done, uint64_t total);
bool plk_job_cancelled(PlkJob *job); /* cheap */
void plk_job_end(PlkJob *job); /* NULL is fine */

/* Called when a job of this process begins and when it ends, by its thread, without a lock. One hook, set before the first job. */
typedef void PlkJobHook(void *arg, const PlkJobInfo *job, bool begins);
void plk_storage_on_job(PlkStorage *storage, PlkJobHook *hook, void *arg);

int plk_jobs_list(PlkStorage *storage, PlkJobInfo **ret, size_t *ret_n, PlkError *err); /* g_free */
int plk_job_cancel(PlkStorage *storage, const char *id, PlkError *err);
/* Until it is over; timeout_ms -1 = for ever. CANCELLED by `progress`, BUSY at the end of the time. */
int plk_job_wait(PlkStorage *storage, const char *id, int timeout_ms, const PlkProgress *progress, PlkError *err);
