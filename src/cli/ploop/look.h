/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking at a disk before and after an operation, without a lock: which images it has, for the lines that
 * tell what is being done. Nothing decides on what it finds here; the library looks again under its locks.
 */
#pragma once

#include <ploopkit/disk.h>
#include <ploopkit/snapshot.h>

/* --root DIR: images may lie anywhere beneath it; NULL = beneath the descriptor's own directory. */
extern const char *plk_root;

typedef struct PlkLook {
    char *descriptor; /* resolved path */
    PlkSnapshotList list;
} PlkLook;

/* Zero-initialise *ret; free with plk_look_clear(). Prints nothing. */
int plk_look(const char *path, PlkLook *ret, PlkError *err);
void plk_look_clear(PlkLook *look);
#define PLK_LOOK_AUTO __attribute__((cleanup(plk_look_clear)))

/* NULL when there is none. */
const PlkSnapshot *plk_look_find(const PlkLook *look, const char *guid);
const PlkSnapshot *plk_look_active(const PlkLook *look);
const PlkSnapshot *plk_look_parent(const PlkLook *look, const PlkSnapshot *of);
/* Level 0 is the base of the active chain. */
const PlkSnapshot *plk_look_level(const PlkLook *look, uint64_t level);

/* Read-only. Unlocked for a mere look, which a writer does not keep out; locked where the contents are
 * copied. */
int plk_cli_open(const char *path, bool locked, PlkDisk **ret, PlkError *err);

/* "Opening delta PATH" for the active image, where there is one. */
void plk_say_opening(const PlkLook *look);
/* "Creating delta PATH bs=2048 size=16384 sectors v2" from the disk's geometry as it is now. */
void plk_say_created(const char *descriptor, const char *path);
const char *plk_last_name(const char *path); /* the part behind the last slash */
