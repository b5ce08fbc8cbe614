/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's eye on the directories of its running pools: what others put there, change or take away is in the index
 * within a moment. One inotify for all. Commands have none: they compare times when they are asked.
 */
#pragma once

#include "pool/live.h"

/* storage->watch; -1 only when there are no inotify instances left. */
int plk_watch_start(PlkStorage *storage, PlkError *err);
void plk_watch_stop(PlkStorage *storage);
/* Nothing to do without a watch. */
void plk_watch_add(PlkPoolVolumes *live);
void plk_watch_remove(PlkPoolVolumes *live);
/* There is a new stage, to be removed when nobody has used it for a while. */
void plk_watch_tidy(PlkStorage *storage);
