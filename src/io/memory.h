/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files in memory, with the semantics of real ones: a file lives as long as it has a name or is open, holes
 * take no space, and locks exclude other opens of it. A node is what an inode is; names are memdir.c's.
 */
#pragma once

#include "base/cleanup.h"
#include "io/content.h"
#include "io/dir.h"

typedef struct PlkMemoryNode PlkMemoryNode;

PlkMemoryNode *plk_memory_new(void); /* one reference; NULL when out of memory */
PlkMemoryNode *plk_memory_ref(PlkMemoryNode *node);
void plk_memory_unref(PlkMemoryNode *node);
PLK_DEFINE_CLEANUP(PlkMemoryNode, plk_memory_unref)

/* The open file takes its own reference. */
int plk_memory_open(PlkMemoryNode *node, const char *name, bool writable, PlkIo **ret);
PlkMemoryNode *plk_memory_node(PlkIo *io); /* NULL when io is something else */

/*
 * A number that stays with the file, for whoever watches files; 0 at first. Guarded by that one's own lock.
 */
unsigned *plk_memory_tag(PlkMemoryNode *node);

/* ---- for those that make and compare states of files: the recorder ---- */

/* A file of this size that shares the bytes of `content`, which has none beyond. NULL when out of memory. */
PlkMemoryNode *plk_memory_new_of(const PlkContent *content, uint64_t size);
/* What it holds now; *ret is overwritten. 0 or -ENOMEM. */
int plk_memory_share(PlkMemoryNode *node, PlkContent *ret, uint64_t *ret_size);
/* Of its bytes and length. */
uint64_t plk_memory_print(PlkMemoryNode *node);
/* References to its sectors as they are now, NULL for holes. */
void plk_memory_get(PlkMemoryNode *node, uint64_t sector, size_t n, PlkSectorData **ret);
/*
 * Puts these in their place, zeros if there is no list; the file reaches to their end at least. 0 or
 * -ENOMEM.
 */
int plk_memory_put(PlkMemoryNode *node, uint64_t sector, size_t n, PlkSectorData *const *sectors);

/* One more name, a canonical path that is not there yet, in a directory in memory. 0 or -ENOMEM. */
int plk_memdir_add(PlkDir *dir, const char *path, PlkMemoryNode *node);
/* Calls each name, as a canonical path, with its file; stops when it returns non-zero and returns that. */
int plk_memdir_each(PlkDir *dir, int (*each)(void *arg, const char *path, PlkMemoryNode *node), void *arg);

/*
 * What a directory in memory holds: names, lengths, bytes. Two that differ have the same print with a chance of
 * 2^-64. Bytes that were asked for before and not changed since are not looked at again.
 */
uint64_t plk_memdir_print(PlkDir *dir);

/* Held until the file is closed; -EAGAIN when the time is over. */
int plk_memory_flock(PlkIo *io, int timeout_ms);
