/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where volumes are born: .ploopkit/stage/MACHINE-RANDOM/NAME, in a directory that is locked for as long as its maker
 * lives. When the volume is whole and synced, one rename puts it under its name; until then nobody sees it, and
 * a crash leaves it where the next sweep finds it unlocked.
 *
 * All that a process makes in a pool at the same time shares one stage: reserved names do not collide. It may be kept for a
 * moment after the last, for the next: to make and remove a directory costs more than a small volume.
 *
 * Only stages of this machine are swept: on a network file system locks of another host may not show.
 */
#pragma once

#include <glib.h>
#include <pthread.h>

#include "volume/volume.h"

typedef struct PlkStage {
    int pool_dir;          /* borrowed, as the next two */
    const char *pool_path; /* for messages */
    const char *machine;

    pthread_mutex_t lock; /* guards all that follows */
    int dir;              /* -1: there is none at present */
    char *name;           /* of the stage */
    unsigned users;
    gint64 left_at; /* g_get_monotonic_time() when the last user went */
} PlkStage;

void plk_stage_init(PlkStage *stage, int pool_dir, const char *pool_path, const char *machine);
/* Removes it. No user is left. */
void plk_stage_clear(PlkStage *stage);

/* *ret: where to build the volume of that reserved name (borrowed); its dir_path is the pool's, for messages. 1: the stage is new. To be left. */
int plk_stage_enter(PlkStage *stage, const char *name, PlkPlace *ret, PlkError *err);
/* The volume gets its name, durably. VOLUME_EXISTS when there is one by now, which stays as it is. */
int plk_stage_publish(const PlkStage *stage, const PlkPlace *built, PlkError *err);
/* Removes what is left of it, and with the last one the stage, unless it is to be kept a while. */
void plk_stage_leave(PlkStage *stage, const PlkPlace *built, bool keep);
/* There is one, so names/ need not go before it does: the next volume needs both. */
bool plk_stage_is_kept(PlkStage *stage);
/* Removes a stage that was kept long enough. True: there still is one, ask again. */
bool plk_stage_tidy(PlkStage *stage);

/* Stages of dead processes of this machine go; *ret: how many. foreign (may be NULL) is called for those of others. */
void plk_stages_sweep(int pool_dir, const char *machine, unsigned *ret,
                      void (*foreign)(void *arg, const char *stage), void *arg);
