/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every operation on a volume has: the running pool, held; the name, reserved; a job that others can see and
 * stop. From begin to end no other operation, of any process, gets at the volume.
 */
#pragma once

#include "pool/job.h"
#include "pool/live.h"
#include "pool/names.h"

typedef struct PlkWork {
    PlkPoolVolumes *live;
    PlkReservation *reservation;
    PlkJob *job;
    char *name;
    bool changes; /* exclusive */
} PlkWork;

/* outer: the caller's progress, or NULL; it must outlive the work. STATE, READ_ONLY. */
int plk_work_begin(PlkPool *pool, const char *name, const char *kind, bool changes, const PlkProgress *outer,
                   PlkWork *ret, PlkError *err);
void plk_work_end(PlkWork *work);
static inline PlkPlace plk_work_place(const PlkWork *work)
{
    return plk_live_place(work->live, work->name);
}

/* What is there now, probed: NO_VOLUME; STATE if it is a link or broken in a way that forbids work on it. */
int plk_work_look(const PlkWork *work, PlkVolume **ret, PlkError *err);
/* After a change: the index has what is there now, and other processes hear of it. *ret (may be NULL): a reference. */
int plk_work_done(const PlkWork *work, PlkVolume **ret, PlkError *err);

/* A name a new volume may have: ARGUMENT, or STATE for one with a slash, as libvirt has it. */
int plk_volume_name_check(const char *name, PlkError *err);
