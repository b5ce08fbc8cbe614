/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files in memory, with the semantics of real ones: a file lives as long as it has a name or is open, holes
 * take no space, and locks exclude other opens of it. A node is what an inode is; names are memdir.c's.
 */
#pragma once

#include "base/cleanup.h"
#include "io/io.h"

typedef struct PlkMemoryNode PlkMemoryNode;

PlkMemoryNode *plk_memory_new(void); /* one reference; NULL when out of memory */
PlkMemoryNode *plk_memory_ref(PlkMemoryNode *node);
void plk_memory_unref(PlkMemoryNode *node);
PLK_DEFINE_CLEANUP(PlkMemoryNode, plk_memory_unref)

/* The open file takes its own reference. */
int plk_memory_open(PlkMemoryNode *node, const char *name, bool writable, PlkIo **ret);
PlkMemoryNode *plk_memory_node(PlkIo *io); /* NULL when io is something else */

/* A number that stays with the file, for whoever watches files; 0 at first. Guarded by that one's own lock. */
unsigned *plk_memory_tag(PlkMemoryNode *node);

/* Held until the file is closed; -EAGAIN when the time is over. */
int plk_memory_flock(PlkIo *io, int timeout_ms);
