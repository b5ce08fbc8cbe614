/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The volumes of a pool while it runs: its directory and the present index. Reference counted, so that who began
 * before the pool stopped can end; what it then says of the pool nobody hears.
 *
 * Invariants
 *  a  `list` is replaced under the lock, whole; readers take a reference and go on without it.
 *  b  While a refresh runs, a name that a job changes is in `touched`, and the refresh leaves the job's record of it
 *     as it is: a scan that began before the change knows less.
 *  c  One refresh at a time. Who asks while one runs waits for the next, which begins after the asking, and shares it.
 */
#pragma once

#include <glib.h>
#include <pthread.h>

#include "pool/index.h"
#include "pool/pool.h"
#include "pool/stage.h"

struct PlkPoolVolumes {
    int refs;
    PlkStorage *storage;
    PlkPool *pool; /* borrowed: a storage outlives what runs in it */
    int dir;       /* of our own, readable */
    char *path;    /* the target */
    int jobs;      /* that change something; atomic */
    PlkStage stage;

    pthread_mutex_t lock; /* guards all that follows */
    pthread_cond_t refreshed;
    PlkVolumeList *list;
    GHashTable *touched;           /* set of names, while a refresh runs; else NULL */
    unsigned long begun, done;     /* rounds of refresh */
    int last;                      /* how the last round ended */
    PlkError last_error;
    struct timespec seen_m, seen_c; /* times of the directory when the last round began */
    bool trusted;                   /* ... and they were old enough to tell a later change */
};

/* A reference; STATE when the pool is not active. */
int plk_live_hold(PlkPool *pool, PlkPoolVolumes **ret, PlkError *err);
void plk_live_release(PlkPoolVolumes *live);
static inline void plk_live_releasep(PlkPoolVolumes **live)
{
    if (*live)
        plk_live_release(*live);
}
#define PLK_LIVE plk_cleanup(plk_live_releasep) PlkPoolVolumes

/* The present list, a reference. */
PlkVolumeList *plk_live_list(PlkPoolVolumes *live);
/* What a job, or a look at one name, found: replaces the record; volume NULL: there is none any more. Takes the reference. */
void plk_live_put(PlkPoolVolumes *live, const char *name, PlkVolume *volume);
static inline PlkPlace plk_live_place(const PlkPoolVolumes *live, const char *name)
{
    return (PlkPlace){.dir = live->dir, .dir_path = live->path, .name = name};
}

/* ---- refresh.c ---- */

int plk_live_refresh(PlkPoolVolumes *live, const PlkProgress *progress, PlkError *err);
/* Whether names came or went in the directory since the last round. */
bool plk_live_is_stale(PlkPoolVolumes *live);
/*
 * One name looked at anew: a record (1), nothing of that name (0), -1 out of memory. old: what was known, may be NULL; it
 * comes back, with another reference, if nothing changed.
 */
int plk_live_look(PlkPoolVolumes *live, const char *name, PlkVolume *old, PlkVolume **ret, PlkError *err);
/* Looks, and puts what is there into the index; *ret (may be NULL): a reference, or NULL. */
int plk_live_renew(PlkPoolVolumes *live, const char *name, PlkVolume **ret, PlkError *err);
