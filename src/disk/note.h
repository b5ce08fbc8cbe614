/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What NAME.lck holds: the geometry note, read by plk_geometry_note_read(), and the list of intent.h. */
#pragma once

#include "disk/store.h"

/*
 * Into NAME.lck, whose lock is held: the geometry of the active image. Best effort, since it follows a commit
 * that has succeeded already.
 */
void plk_note_write(PlkStore *store);

/* The text behind the note, whatever it is: malloc'd, "" if there is none. 0 or -errno. */
int plk_note_read_behind(PlkStore *store, char **ret);
int plk_note_write_behind(PlkStore *store, const char *text, bool durable);
