/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index of a pool's volumes: an immutable list, sorted by name, in chunks that lists share. Who changes it makes a
 * new list: one chunk and the table of chunks are copied, whatever the number of volumes.
 *
 * Records and lists are reference counted and never change; any thread may read what it has a reference to.
 */
#pragma once

#include "pool/volumes.h"

/* Takes name over, and what facts point to. reason: g_free; NULL when good. */
PlkVolume *plk_volume_new(char *name, PlkVolumeState state, char *reason, PlkVolumeFacts *facts);
/* The same volume in another state. facts are copied. */
PlkVolume *plk_volume_in_state(const PlkVolume *volume, PlkVolumeState state, char *reason);

PlkVolumeList *plk_volume_list_ref(PlkVolumeList *list);
/* Takes the references in `sorted`, n of them, all names different. */
PlkVolumeList *plk_index_build(PlkVolume **sorted, size_t n);
/* Borrowed from the list; NULL: there is none. */
PlkVolume *plk_index_find(const PlkVolumeList *list, const char *name);
/* Where it is, or would be. */
size_t plk_index_seek(const PlkVolumeList *list, const char *name);
/* How many are broken or incomplete; at once. */
size_t plk_index_count_bad(const PlkVolumeList *list);
/* New lists; the old one stays as it is. The reference to volume is taken. */
PlkVolumeList *plk_index_with(const PlkVolumeList *list, PlkVolume *volume);
PlkVolumeList *plk_index_without(const PlkVolumeList *list, const char *name);
