/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptor as a transaction. A store is a directory, the name of its descriptor and, while locked, the
 * right to change it.
 *
 *   open -> load (look) ................................. close
 *   open -> lock (waits 60 s, loads) -> begin(future) -> [work on images] -> commit -> [unlink] -> close
 *                                          \-> abort
 *
 * begin() writes the future descriptor as NAME.tmp, durable, so that a crash leaves both; commit() renames it
 * over NAME and syncs the directory: that instant is the operation. Only after it may files be unlinked. commit()
 * also writes the geometry note into NAME.lck, which outlives a wipe of the volume.
 */
#pragma once

#include "disk/disk.h"
#include "format/descriptor.h"

typedef struct PlkStore {
    PlkDir *dir;
    char *name;          /* "DiskDescriptor.xml" */
    char *fs_word;       /* what the geometry note says is inside; kept from the old note unless set */
    PlkDescriptor desc;  /* as loaded */
    bool loaded;
    PlkIo *lock;         /* held */
    bool begun;
} PlkStore;

/* path: the descriptor or its directory. DESCRIPTOR error if it is not there. Reads nothing. */
int plk_store_open(const char *path, const char *root, PlkStore **ret, PlkError *err);
void plk_store_close(PlkStore *store); /* aborts what was begun; NULL is fine */
static inline void plk_store_closep(PlkStore **store)
{
    plk_store_close(*store);
}
int plk_store_load(PlkStore *store, PlkError *err);
int plk_store_lock(PlkStore *store, PlkError *err);

int plk_store_begin(PlkStore *store, const PlkDescriptor *future, PlkError *err);
/* future becomes store->desc (moved; *future is zeroed). begin() is done first if it was not. */
int plk_store_commit(PlkStore *store, PlkDescriptor *future, PlkError *err);
void plk_store_abort(PlkStore *store);

/* Opens the chain of a state (NULL = the active one). The store outlives the disk. */
int plk_store_open_state(PlkStore *store, const PlkGuid *guid, const PlkDiskOptions *options, PlkDisk **ret,
                         PlkError *err);
/* Any image of the descriptor, locked: exclusively with PLK_IMAGE_WRITE in flags. */
int plk_store_open_image(PlkStore *store, int image_index, unsigned flags, PlkImage **ret, PlkError *err);

/* "root.hds.{guid}": a name for a new delta, after the first image's path, as ploop chooses it. malloc'd. */
char *plk_store_delta_name(PlkStore *store, const PlkGuid *guid);
/* Creates, syncs and names an empty delta like `below`, of size_sectors. Directory not synced yet. */
int plk_store_create_delta(PlkStore *store, const char *file, const PlkImage *below, uint64_t size_sectors,
                           bool alloc_full, PlkError *err);
