/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The volumes of a running pool.
 *
 * Reading. The index is an immutable, sorted array, swapped whole (pool/index.h). A list, lookup or info takes a
 * reference to the present one and waits for nobody. What is asked about one volume is compared with statx first and
 * probed anew if it changed; a name that is missing from the index is probed by itself.
 *
 * Writing. Each call is a job (pool/job.h): it reserves the name for its whole duration with a flock on
 * .ploopkit/names/NAME (STATE "in use by PROGRAM (pid)" otherwise), works in .ploopkit/stage/... or on
 * the volume, publishes, syncs both directories, puts the new record into the index. Refresh and everything
 * about other volumes go on meanwhile.
 */
#pragma once

#include "pool/storage.h"
#include "volume/stream.h"

typedef enum PlkVolumeState {
    PLK_STATE_GOOD,
    PLK_STATE_BROKEN,     /* reason */
    PLK_STATE_INCOMPLETE, /* an upload began and did not end: reason tells which range and when */
    PLK_STATE_BUILDING,   /* being created, here or by another process; facts are those of the definition */
    PLK_STATE_BUSY,       /* good, and a job of somebody works on it: reason names the job */
} PlkVolumeState;

/* One volume, as the index knows it. Reference counted, immutable. */
typedef struct PlkVolume {
    char *name;
    PlkVolumeState state;
    char *reason; /* NULL when good */
    PlkVolumeFacts facts;
    /* private: */
    int refs;
} PlkVolume;

PlkVolume *plk_volume_ref(PlkVolume *volume);
void plk_volume_unref(PlkVolume *volume);
static inline void plk_volume_unrefp(PlkVolume **volume)
{
    if (*volume)
        plk_volume_unref(*volume);
}

/* Immutable, sorted by name; at(): borrowed, i < count. */
typedef struct PlkVolumeList PlkVolumeList;
size_t plk_volume_list_count(const PlkVolumeList *list);
PlkVolume *plk_volume_list_at(const PlkVolumeList *list, size_t i);
/* A snapshot; STATE when the pool is inactive. Unref with plk_volume_list_unref(). */
int plk_pool_volumes(PlkPool *pool, PlkVolumeList **ret, PlkError *err);
void plk_volume_list_unref(PlkVolumeList *list); /* NULL is fine */

/* Fresh: statx'ed now. NO_VOLUME. *ret is a reference. */
int plk_pool_volume(PlkPool *pool, const char *name, PlkVolume **ret, PlkError *err);
/* key and path are the same for us: TARGET/NAME over active pools. */
int plk_storage_volume_by_path(PlkStorage *storage, const char *path, PlkPool **ret_pool, PlkVolume **ret,
                               PlkError *err);
char *plk_pool_volume_path(PlkPool *pool, const char *name);                  /* g_free */
PlkVolumeDef *plk_pool_volume_definition(PlkPool *pool, const PlkVolume *volume); /* for its XML */

/*
 * Long operations. `progress` may be NULL; a job is made in any case (pool/job.h), and another process can
 * cancel it. def is borrowed. *ret (may be NULL) is a reference to the new record.
 */
int plk_pool_create_volume(PlkPool *pool, const PlkVolumeDef *def, unsigned flags, const PlkProgress *progress,
                           PlkVolume **ret, PlkError *err);
/* snapshot: of a ploop source; NULL = its active state. */
int plk_pool_clone_volume(PlkPool *pool, const PlkVolumeDef *def, PlkPool *from_pool, const char *from,
                          const char *snapshot, unsigned flags, const PlkProgress *progress, PlkVolume **ret,
                          PlkError *err);
int plk_pool_delete_volume(PlkPool *pool, const char *name, unsigned flags, PlkError *err);
int plk_pool_resize_volume(PlkPool *pool, const char *name, uint64_t capacity, unsigned flags,
                           const PlkProgress *progress, PlkError *err);
int plk_pool_wipe_volume(PlkPool *pool, const char *name, PlkWipe how, const PlkProgress *progress, PlkError *err);

/*
 * Streams hold the name from open to close. An upload is written in place under a mark
 * (.ploopkit/incomplete/NAME), durable before the first byte, and taken off by a finish() that covers the marked
 * range. The job ends with close(); what is cancelled fails with -ECANCELED at the next call.
 */
int plk_pool_upload(PlkPool *pool, const char *name, PlkStreamWhat what, uint64_t offset, uint64_t length,
                    PlkStream **ret, PlkError *err);
int plk_pool_download(PlkPool *pool, const char *name, PlkStreamWhat what, uint64_t offset, uint64_t length,
                      PlkStream **ret, PlkError *err);
/* "I know that it is not whole": the mark goes. */
int plk_pool_accept_volume(PlkPool *pool, const char *name, PlkError *err);

/* ploop volumes; the same rules (reservation, job, index). */
int plk_pool_snapshots(PlkPool *pool, const char *name, PlkSnapshotList *ret, PlkError *err);
int plk_pool_snapshot_create(PlkPool *pool, const char *name, const char *guid, char *ret_guid, PlkError *err);
int plk_pool_snapshot_switch(PlkPool *pool, const char *name, const char *guid, PlkError *err);
int plk_pool_snapshot_delete(PlkPool *pool, const char *name, const char *guid, const PlkProgress *progress,
                             PlkError *err);
int plk_pool_snapshot_merge(PlkPool *pool, const char *name, const char *guid, const PlkProgress *progress,
                            PlkError *err);
int plk_pool_volume_map(PlkPool *pool, const char *name, PlkVolumeMapEach *each, void *arg, PlkError *err);

/* ---- doctor: what is wrong in this pool, and what would mend it ---- */

typedef struct PlkAilment {
    char *object;   /* volume or file, relative to the pool; "" = the pool itself */
    char *what;     /* one sentence */
    char *remedy;   /* a command line that mends it, or advice; NULL */
    bool harmless;  /* leftovers and the like */
} PlkAilment;
typedef int PlkAilmentEach(void *arg, const PlkAilment *ailment);
int plk_pool_doctor(PlkPool *pool, PlkAilmentEach *each, void *arg, PlkError *err);
/* Leftovers of dead processes of this host are removed (stages, reservations). */
int plk_pool_sweep(PlkPool *pool, unsigned *ret_swept, PlkError *err);
