/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A scratch delta: somewhere to try a change of the whole disk (resize2fs, e2fsck, GPT rewrite) that is not
 * crash-safe by itself.
 *
 *   begin   lock the descriptor and the images; a new delta that no descriptor names lies above the active
 * one (work)  the caller writes to plk_scratch_disk(); the disk itself is untouched commit  flush; one
 * descriptor commit publishes the scratch as the active delta over the old one, which becomes a temporary
 * snapshot; then the ordinary crash-proof merge folds it into the old file drop    delete the scratch: the
 * disk is as before
 *
 * A crash before the commit leaves an unnamed-by-anybody file root.hds.{guid}; after it, a disk with one
 * temporary snapshot that the next operation merges.
 */
#pragma once

#include "disk/store.h"

typedef struct PlkScratch PlkScratch;

/* size_sectors: size of the scratch, at least the disk's (0 = the same); the disk takes this size at commit.
 */
int plk_scratch_begin(const char *path, const char *root, uint64_t size_sectors, PlkScratch **ret,
                      PlkError *err);
/* The same of a locked store, which is taken over, also on failure. */
int plk_scratch_begin_store(PlkStore *store, uint64_t size_sectors, PlkScratch **ret, PlkError *err);
PlkDisk *plk_scratch_disk(PlkScratch *scratch);
/* Frees scratch in any case. An error before the descriptor commit has dropped it. */
int plk_scratch_commit(PlkScratch *scratch, const PlkProgress *progress, PlkError *err);
void plk_scratch_drop(PlkScratch *scratch); /* NULL is fine */
