/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of a file in memory, as sectors that files share: what copies of a file have in common exists
 * once, and is copied when one of them changes it. A copy costs a handful of instructions for each 32 KiB.
 *
 *  - A sector that is not there reads as zeros.
 *  - A sector or chunk that somebody else refers to as well is never written to: its writer takes a copy.
 *  - Each sector knows a print of its bytes once it was asked for it; so two contents can be compared, and
 *    the print of one be carried along, without looking at the bytes again.
 *
 * Threads: one content is its owner's to lock; sectors and chunks are counted atomically and may be shared
 * between contents of different owners.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/math.h"

#define PLK_CHUNK_SECTORS 64u

typedef struct PlkSectorData {
    _Atomic unsigned refs;
    _Atomic uint64_t print; /* 0: not known yet */
    unsigned char bytes[PLK_SECTOR];
} PlkSectorData;

PlkSectorData *plk_sector_ref(PlkSectorData *s); /* NULL is fine */
void plk_sector_unref(PlkSectorData *s);         /* NULL is fine */
/* A new sector with the first `len` bytes of another, and zeros; NULL when out of memory. */
PlkSectorData *plk_sector_cut(const PlkSectorData *s, size_t len);
/*
 * A sector's share of the print of a content, which is the exclusive or of all shares: 0 for zeros, wherever
 * they are. Two different contents have the same print with a chance of 2^-64.
 */
uint64_t plk_sector_print(PlkSectorData *s, uint64_t sector);

typedef struct PlkChunk {
    _Atomic unsigned refs;
    uint64_t present; /* one bit each: data, or zeros that take room */
    PlkSectorData *sectors[PLK_CHUNK_SECTORS];
} PlkChunk;

typedef struct PlkChunkSlot {
    uint64_t index;
    PlkChunk *chunk;
} PlkChunkSlot;

/* All zeros is an empty one. */
typedef struct PlkContent {
    PlkChunkSlot *slots; /* by index */
    size_t n, room;
} PlkContent;

void plk_content_clear(PlkContent *c);
/* *ret, which is overwritten, has the same bytes and shares them. 0 or -ENOMEM. */
int plk_content_share(const PlkContent *c, PlkContent *ret);

/* Borrowed; NULL: zeros. */
PlkSectorData *plk_content_get(const PlkContent *c, uint64_t sector);
/* Takes a reference of its own; NULL makes a hole. 0 or -ENOMEM. */
int plk_content_set(PlkContent *c, uint64_t sector, PlkSectorData *s);

void plk_content_read(const PlkContent *c, void *buf, size_t len, uint64_t off);
/* How much of it was written: less than `len` when out of memory. */
size_t plk_content_write(PlkContent *c, const void *buf, size_t len, uint64_t off);
/* Zeros from off to end, without taking room. Needs memory, -ENOMEM, only for what is shared. */
int plk_content_punch(PlkContent *c, uint64_t off, uint64_t end);
/* Zeros that were not there take room from now on. 0 or -ENOMEM. */
int plk_content_reserve(PlkContent *c, uint64_t off, uint64_t end);

/* The first run of blocks of 4 KiB, as filesystems have, that take room, at or after off; false: none. */
bool plk_content_next_data(const PlkContent *c, uint64_t off, uint64_t *ret_start, uint64_t *ret_end);
/* The exclusive or of the shares of all sectors from this one on. */
uint64_t plk_content_print(const PlkContent *c, uint64_t sector);
