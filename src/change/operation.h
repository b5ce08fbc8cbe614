/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The operations of <ploopkit/snapshot.h>, <ploopkit/create.h> and <ploopkit/resize.h> on a store that is
 * open, locked and loaded, so that one can be a step of another and tests can run them on any kind of
 * directory.
 */
#pragma once

#include <ploopkit/check.h>
#include <ploopkit/create.h>
#include <ploopkit/snapshot.h>

#include "disk/store.h"
#include "disk/version.h"

/* "Old format": the active GUID is not the constant one; ploop refuses to touch the snapshots of such a disk.
 */
int plk_store_refuse_old(const PlkStore *store, PlkError *err);
/* With or without braces; NO_SNAPSHOT unless the descriptor has it, ARGUMENT if it is no GUID. */
int plk_store_find_guid(const PlkStore *store, const char *text, PlkGuid *ret, PlkError *err);
/* Checks spec->guid (or makes one) and the length of the chain. */
int plk_store_plan_snapshot(PlkStore *store, const PlkSnapshotSpec *spec, PlkGuid *ret_guid, PlkError *err);
/* The descriptor with the active state renamed to `guid` and a new one in `file` above it. */
int plk_store_stack(PlkStore *store, const PlkGuid *guid, bool temporary, const char *file,
                    PlkDescriptor *ret, PlkError *err);

/* Commits a future that names `file`, which was just made: it goes again if there is no commit. */
int plk_store_commit_file(PlkStore *store, PlkDescriptor *future, const char *file, PlkError *err);

int plk_store_snapshot(PlkStore *store, const PlkSnapshotSpec *spec, PlkGuid *ret_guid, PlkError *err);
int plk_store_switch(PlkStore *store, const PlkGuid *guid, bool keep_old, PlkError *err);
int plk_store_delete(PlkStore *store, const PlkGuid *guid, PlkDeleteResult *ret, const PlkProgress *progress,
                     PlkError *err);
int plk_store_merge(PlkStore *store, const PlkMergeSpec *spec, const PlkProgress *progress, PlkError *err);
/* `upper` into its parent. */
int plk_store_merge_down(PlkStore *store, const PlkGuid *upper, const PlkProgress *progress, PlkError *err);
/* Temporary snapshots that somebody uses are left for later. */
int plk_store_merge_temporary(PlkStore *store, size_t *ret_n, const PlkProgress *progress, PlkError *err);
int plk_store_replace(PlkStore *store, const PlkReplaceSpec *spec, PlkError *err);
int plk_store_convert_format(PlkStore *store, PlkFormat to, bool alloc_full, const PlkProgress *progress,
                             PlkError *err);

/* Of a store that is neither loaded nor locked: a new image `base` in its directory, then a descriptor. */
int plk_store_create(PlkStore *store, const char *base, const PlkCreateSpec *spec, PlkCreateFill *fill,
                     void *fill_arg, const PlkProgress *progress, PlkError *err);
/* The same for a descriptor alone. */
int plk_store_restore(PlkStore *store, const char *base_path, bool raw, uint32_t cluster_sectors,
                      unsigned *ret_orphans, PlkError *err);
int plk_store_grow(PlkStore *store, uint64_t size_sectors, const PlkProgress *progress, PlkError *err);
int plk_store_shrink(PlkStore *store, uint64_t size_sectors, const PlkProgress *progress, PlkError *err);
int plk_store_compact(PlkStore *store, uint64_t *ret_freed, const PlkProgress *progress, PlkError *err);
/* plk_check_disk(); to repair, the store is locked. */
int plk_store_check(PlkStore *store, const PlkCheckOptions *options, PlkFindingFn *report, void *arg,
                    const PlkProgress *progress, PlkCheckResult *ret, PlkError *err);
/* plk_merge_files() in an open directory. `where` makes the new file, if there is to be one. */
int plk_dir_merge_files(PlkDir *dir, char *const *top_to_base, size_t n, bool base_is_raw, PlkStore *where,
                        const char *new_path, const PlkProgress *progress, PlkError *err);
