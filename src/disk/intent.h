/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a change of the descriptor is about to leave behind, said before it begins, so that whoever comes after
 * a crash can clear up:
 *
 *   created   a file made before the descriptor names it; goes if the descriptor is still the old one
 *   doomed    files that the new descriptor will not name; go if the descriptor is the new one
 *
 * Old and new are told by the digests of their text. A descriptor that is neither (somebody mended it by hand)
 * makes the list void, and the files stay; restoring one and rescuing take the list out. A name that people choose
 * stays too: only "NAME.{guid}" in the descriptor's own directory is ever taken off without being asked.
 *
 * The list stands in NAME.lck behind the geometry note, with a digest of its own; one that a crash has torn counts
 * as none. It describes one change, the last.
 */
#pragma once

#include "disk/store.h"

/*
 * Durable before 0 comes back; the lock is held. `created` may be NULL. `future` is what plk_store_commit() will
 * get, unchanged.
 */
int plk_intent_declare(PlkStore *store, PlkDescriptor *future, const char *created, char *const *doomed,
                       size_t n_doomed, PlkError *err);

/* The store has just been locked and loaded: what a change that did not come to its end left, goes. */
void plk_intent_sweep(PlkStore *store);

/* The change came to its end, or was undone, and has cleared up itself. */
void plk_intent_clear(PlkStore *store);

/*
 * Would the next one to lock the descriptor, whose digest is given, take this file off? lock_text: what NAME.lck
 * holds. For those who look and do not touch.
 */
bool plk_intent_leaves(const char *lock_text, const char *digest, const char *file);
