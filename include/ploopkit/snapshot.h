/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots, in ploop's own model.
 *
 * A GUID names a state. The active state always has the GUID {5fbaabe3-6958-40ff-92a7-860e329aab41}; taking
 * snapshot U renames the active entry to U (its file keeps its name) and adds a new empty delta under
 * the active GUID. Every operation is one descriptor commit: before it, the old disk; after it, the new
 * one; files are unlinked only after the commit that stopped naming them.
 *
 * path: DiskDescriptor.xml or its directory. root as in PlkDiskOptions. GUID texts with or without braces. Each call takes the
 * descriptor's lock (60 s wait, then LOCKED) and the locks of the images it changes (no wait).
 */
#ifndef PLOOPKIT_SNAPSHOT_H
#define PLOOPKIT_SNAPSHOT_H

#include <ploopkit/disk.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct PlkSnapshot {
    char guid[40], parent[40]; /* with braces */
    bool active;               /* the state that is written to */
    bool temporary;
    char *path; /* absolute path of its image */
} PlkSnapshot;

typedef struct PlkSnapshotList {
    PlkSnapshot *items; /* in descriptor order */
    size_t n;
    bool old_format; /* the active GUID is not the constant one */
} PlkSnapshotList;

/* Reads without a lock. BUSY... never; a writer is reported by plk_snapshot_writer(). Free with _clear(). */
PLK_API int plk_snapshot_list(const char *path, const char *root, PlkSnapshotList *ret, PlkError *err);
PLK_API void plk_snapshot_list_clear(PlkSnapshotList *list);
/* LOCKED error naming the process when somebody writes to an image of the disk, else 0; an image that is missing
 * has no writer. */
PLK_API int plk_snapshot_writer(const char *path, const char *root, PlkError *err);

typedef struct PlkSnapshotSpec {
    size_t struct_size;
    const char *guid; /* NULL = random */
    bool temporary;
    bool alloc_full;
} PlkSnapshotSpec;

/* ret_guid (may be NULL) gets 39 bytes. ARGUMENT if the GUID exists; UNSUPPORTED past 126 images. */
PLK_API int plk_snapshot_create(const char *path, const char *root, const PlkSnapshotSpec *spec,
                                char *ret_guid, PlkError *err);
/* The same on a disk this process has open for writing: requests wait for milliseconds, none fails. */
PLK_API int plk_disk_snapshot(PlkDisk *disk, const PlkSnapshotSpec *spec, char *ret_guid, PlkError *err);

/* How a deletion went, for the words the command prints. */
typedef struct PlkDeleteResult {
    enum { PLK_DELETED_LEAF, PLK_DELETED_MERGED, PLK_DELETED_MARKED } how;
    size_t children;     /* MARKED: references that keep it */
    char child_guid[40]; /* MERGED: the snapshot that was merged into it */
} PlkDeleteResult;

/*
 * No child: the delta is dropped (never the base). One child: the child's data is merged down into this
 * one's file, which keeps its name and takes the child's GUID. More: marked temporary, deleted when it can be.
 */
PLK_API int plk_snapshot_delete(const char *path, const char *root, const char *guid,
                                PlkDeleteResult *ret, const PlkProgress *progress, PlkError *err);

typedef struct PlkMergeSpec {
    size_t struct_size;
    const char *guid;     /* upper end; NULL = the active state */
    const char *down_to;  /* lower end; NULL = its parent */
    bool all;             /* everything from the active state down to the base */
    const char *new_file; /* merge into this new image instead of the lowest one */
} PlkMergeSpec;

/* Merge a range of states into one file; the kept state has the upper one's GUID. Every state but the lowest must be
 * an only child. The merged files are removed after the commit. */
PLK_API int plk_snapshot_merge(const char *path, const char *root, const PlkMergeSpec *spec,
                               const PlkProgress *progress, PlkError *err);

/* Throw away the active state's changes since its parent and go on from snapshot `guid`. keep_old leaves
 * the old active delta as a snapshot of a random GUID. */
PLK_API int plk_snapshot_switch(const char *path, const char *root, const char *guid, bool keep_old,
                                PlkError *err);

/* Delete temporary snapshots that have become mergeable; *ret_n counts them. */
PLK_API int plk_snapshot_merge_temporary(const char *path, const char *root, size_t *ret_n,
                                         const PlkProgress *progress, PlkError *err);

/* Bare files, no descriptor: paths listed from top to base are merged into the last one, or into new_file;
 * inputs stay. Into the last one: those between that are smaller than the first take its size before. */
PLK_API int plk_merge_files(const char *const *top_to_base, size_t n, bool base_is_raw,
                            const char *new_file, const PlkProgress *progress, PlkError *err);

/* Swap the image of one state by an identical copy. */
typedef struct PlkReplaceSpec {
    size_t struct_size;
    const char *guid;     /* by state, or ... */
    int level;            /* ... by level of the active chain if guid and current_file are NULL, or ... */
    const char *current_file; /* ... by the file it replaces */
    const char *new_file;
    bool keep_name; /* rename new_file over the old one */
} PlkReplaceSpec;
PLK_API int plk_image_replace(const char *path, const char *root, const PlkReplaceSpec *spec,
                              PlkError *err);

#ifdef __cplusplus
}
#endif
#endif
