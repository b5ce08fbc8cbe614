/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing the geometry note; reading is plk_geometry_note_read(). */
#pragma once

#include "disk/store.h"

/*
 * Into NAME.lck, whose lock is held: the geometry of the active image. Best effort, since it follows a commit
 * that has succeeded already.
 */
void plk_note_write(PlkStore *store);
