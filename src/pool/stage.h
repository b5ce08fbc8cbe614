/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a volume is born: .ploopkit/stage/MACHINE-RANDOM/NAME, in a directory of its own that is locked for as long as
 * its maker lives. When the volume is whole and synced, one rename puts it under its name; until then nobody sees it,
 * and a crash leaves it where the next sweep finds it unlocked.
 *
 * Only stages of this machine are swept: on a network file system locks of another host may not show.
 */
#pragma once

#include "volume/volume.h"

typedef struct PlkStage {
    int pool_dir; /* borrowed */
    int dir;      /* the stage */
    char *name;   /* of the stage */
    PlkPlace place; /* where to build; its dir_path is the pool's, for messages */
} PlkStage;

/* name: of the volume, borrowed, as pool_path is. */
int plk_stage_open(int pool_dir, const char *pool_path, const char *machine, const char *name, PlkStage *ret, PlkError *err);
/* The volume gets its name, durably. VOLUME_EXISTS when there is one by now, which stays as it is. */
int plk_stage_publish(const PlkStage *stage, PlkError *err);
/* Removes the stage and what is left in it. */
void plk_stage_close(PlkStage *stage);

/* Stages of dead processes of this machine go; *ret: how many. foreign (may be NULL) is called for those of others. */
void plk_stages_sweep(int pool_dir, const char *machine, unsigned *ret,
                      void (*foreign)(void *arg, const char *stage), void *arg);
