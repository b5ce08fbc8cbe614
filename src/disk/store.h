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
 * over NAME and syncs the directory: that instant is the operation. Only after it may files be unlinked, and
 * only before it may new files be taken back: undo code asks `committed`. commit() also writes the geometry
 * note into NAME.lck, which outlives a wipe of the volume.
 */
#pragma once

#include "disk/disk.h"
#include "format/descriptor.h"
#include "format/md5.h"

typedef struct PlkStore {
    PlkDir *dir;
    char *name;         /* "DiskDescriptor.xml" */
    char *path;         /* directory and name, for messages */
    char *fs_word;      /* what the geometry note says is inside; kept from the old note unless set */
    PlkDescriptor desc; /* as loaded */
    bool loaded;
    bool is_new; /* there is no descriptor yet: commit() must not replace one */
    PlkIo *lock; /* held */
    bool declared; /* the lock file holds what this change intends: intent.h */
    char digest[PLK_DIGEST_CHARS + 1]; /* of the descriptor's text, as loaded or committed */
    char future_digest[PLK_DIGEST_CHARS + 1]; /* once begun */
    bool begun;
    bool uncertain; /* a commit could not be made durable: what it left is for the next to clear up */
    bool committed; /* a commit() has replaced the descriptor, even if it failed to sync it then */
} PlkStore;

/* path: the descriptor or its directory. DESCRIPTOR error if it is not there. Reads nothing. */
int plk_store_open(const char *path, const char *root, PlkStore **ret, PlkError *err);
/* A descriptor, or a directory, whether there is a descriptor or not. For a rescue. */
int plk_store_open_any(const char *path, const char *root, PlkStore **ret, PlkError *err);
/* The same in an open directory, which is taken over on success; the descriptor need not exist. */
int plk_store_open_dir(PlkDir *dir, const char *name, PlkStore **ret, PlkError *err);
void plk_store_close(PlkStore *store); /* aborts what was begun; NULL is fine */
static inline void plk_store_closep(PlkStore **store)
{
    plk_store_close(*store);
}
int plk_store_load(PlkStore *store, PlkError *err);
/* Also rolls back a version conversion that was cut short. */
int plk_store_lock(PlkStore *store, PlkError *err);
/* The lock alone, for a descriptor that is not there yet: nothing is loaded. */
int plk_store_lock_only(PlkStore *store, PlkError *err);
void plk_store_unlock(PlkStore *store);
/* plk_store_open() and plk_store_lock(). */
int plk_store_open_locked(const char *path, const char *root, PlkStore **ret, PlkError *err);

/* The text a commit of `future` would publish, which is brought up to date on the way. malloc'd. */
int plk_store_render(PlkStore *store, PlkDescriptor *future, char **ret, size_t *ret_len, PlkError *err);
/* An active state in "old format" is renamed to the constant GUID on the way. */
int plk_store_begin(PlkStore *store, PlkDescriptor *future, PlkError *err);
/* future becomes store->desc (moved; *future is zeroed). begin() is done first if it was not. */
int plk_store_commit(PlkStore *store, PlkDescriptor *future, PlkError *err);
void plk_store_abort(PlkStore *store);

/* Opens the chain of a state (NULL = the active one). The store outlives the disk, whose `store` it becomes.
 */
int plk_store_open_state(PlkStore *store, const PlkGuid *guid, const PlkDiskOptions *options, PlkDisk **ret,
                         PlkError *err);
/* Any image of the descriptor, locked: exclusively with PLK_IMAGE_WRITE in flags. */
int plk_store_open_image(PlkStore *store, int image_index, unsigned flags, PlkImage **ret, PlkError *err);
/*
 * Nobody uses the image now, and it is closed: what a crash left open is checked, cut to its used length and
 * marked closed. LOCKED if somebody has it.
 */
int plk_store_settle(PlkStore *store, int image_index, PlkError *err);
/* Only a base can be raw: deltas above one say "Plain" too, but are ploop images. */
bool plk_store_is_raw(const PlkDescriptor *desc, int image_index);

/* "root.hds.{guid}": a name for a new delta, after the first image's path, as ploop chooses it; NULL = a
 * random one. malloc'd. */
char *plk_store_delta_name(PlkStore *store, const PlkGuid *guid);
/* Creates, syncs and names an empty delta like `below`, of size_sectors. Directory not synced yet. */
int plk_store_create_delta(PlkStore *store, const char *file, const PlkImage *below, uint64_t size_sectors,
                           bool alloc_full, PlkError *err);
/* The same without a name: an open, exclusively locked image, gone when closed unless linked to one. */
int plk_store_create_unnamed(PlkStore *store, const PlkImage *below, uint64_t size_sectors, bool alloc_full,
                             PlkImage **ret, PlkError *err);
/* After a commit: a file the descriptor names no more. What cannot be removed stays, named by nobody. */
void plk_store_remove_file(PlkStore *store, const char *file);
/*
 * How the descriptor names the file at `path` (of this process): relative if it is beneath the descriptor's
 * directory, else absolute. malloc'd.
 */
int plk_store_file_entry(PlkStore *store, const char *path, char **ret, PlkError *err);
/* EXISTS when the descriptor's directory has this `File` entry, ARGUMENT also when it may not name it. */
int plk_store_refuse_existing(PlkStore *store, const char *file, PlkError *err);
/* Directory (malloc'd) and last component (within path) of a file that need not exist. */
int plk_file_split(const char *path, char **ret_dir, const char **ret_base, PlkError *err);
/* The canonical absolute path of a file that need not exist: its directory with links resolved. malloc'd. */
int plk_file_locate(const char *path, char **ret, PlkError *err);

/* The file is beyond the directory's root. Returns -1. */
int plk_fail_outside(const PlkDir *dir, const char *path, PlkErrorCode code, PlkError *err);
/* LOCKED naming who is in the way, or LOCK_CALL. Returns -1. neg_errno is what plk_io_lock() said. */
int plk_fail_locked(PlkError *err, PlkIo *io, int neg_errno);
