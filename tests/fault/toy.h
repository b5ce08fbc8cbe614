/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A storage engine of a hundred lines that can make mistakes: a header and a table in the first cluster,
 * data clusters behind it. It shows that the crash laboratory finds what is wrong and nothing else, and how
 * fast it is.
 */
#pragma once

#include "io/dir.h"

#define TOY_CLUSTER 2048u /* four sectors, so that torn writes bite */
#define TOY_SLOTS 64u

typedef enum ToyBug {
    TOY_TABLE_FIRST = 1 << 0,       /* the table names a cluster before its bytes are written */
    TOY_NO_BARRIER = 1 << 1,        /* no sync between bytes and table */
    TOY_EARLY_ACK = 1 << 2,         /* a flush returns without its last sync */
    TOY_UNSYNCED_FILE = 1 << 3,     /* a new file gets its name before it is durable */
    TOY_UNSYNCED_NAME = 1 << 4,     /* the directory is not synced after that */
    TOY_CARELESS_RECOVERY = 1 << 5, /* recovery empties the header before it writes it anew */
} ToyBug;

typedef struct Toy {
    PlkDir *dir;
    PlkIo *io;
    unsigned bugs;
    uint64_t dirty; /* slots to be written, one bit each */
    uint32_t table[TOY_SLOTS];
} Toy;

/* All return 0 or -errno; -EUCLEAN: the file is damaged. */
int toy_create(Toy *toy, PlkDir *dir, unsigned bugs);
int toy_open(Toy *toy, PlkDir *dir, unsigned flags, unsigned bugs);
void toy_close(Toy *toy);
int toy_write(Toy *toy, unsigned slot, const void *bytes); /* one cluster */
int toy_flush(Toy *toy);
int toy_read(Toy *toy, unsigned slot, void *bytes);
/* Names lie inside the file, and differ. */
int toy_check(Toy *toy);
/* What nobody names behind the last cluster goes. */
int toy_recover(Toy *toy);
