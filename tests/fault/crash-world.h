/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disk under test, and an oracle that knows what each of its sectors may hold.
 *
 * A scenario runs operations on a world; the world records every change of its directory (io/record.h) and
 * notes, at which position of that log, what was written and what was promised. Afterwards states of crashes
 * are made from the log and held against these notes (crash-examine.h).
 *
 *  - A sector's content is its number and a stamp that grows with every write, so that a lost, an old and a
 *    foreign sector are all told apart. Stamp 0 is zeros.
 *  - An acknowledgement says: from here on each sector holds what it holds now, or something newer.
 *  - A shot is what a snapshot holds; it counts until somebody begins to delete it.
 *
 * A world is described (DiskDescriptor.xml and its images) or bare (image files, base to top).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "change/operation.h"
#include "io/record.h"

#define CLUSTER_SECTORS 64u
#define CLUSTER_BYTES (CLUSTER_SECTORS * 512u)
#define SECTORS_MAX (8u * CLUSTER_SECTORS)
#define HISTORY_MAX 64u
#define ACKS_MAX 96u
#define SHOTS_MAX 4u
#define FILES_MAX 3u
#define SIZES_MAX 8u
#define DESCRIPTOR "DiskDescriptor.xml"

/* Names that may be left behind although nobody uses them. */
enum {
    LEAVES_TMP = 1 << 0,    /* DiskDescriptor.xml.tmp: the next transaction replaces it */
    LEAVES_ORPHAN = 1 << 1, /* root.hds.{guid}, unnamed: `ploop rescue` tells of it */
    LEAVES_BACKUP = 1 << 2, /* FILE.idx of a finished conversion: the next one replaces it */
    LEAVES_BASE = 1 << 3,   /* a base image without a descriptor */
    LEAVES_NEW = 1 << 4,    /* the file the caller asked for by name */
    LEAVES_OLD = 1 << 5,    /* what a merge of files leaves to the caller */
    LEAVES_KEPT = 1 << 6,   /* NAME.rescued-N: `ploop rescue` deletes nothing; and its temporary name */
};

typedef uint16_t Stamp;

typedef struct Write {
    Stamp stamp;
    size_t from; /* position of the log at which it began */
} Write;

typedef struct Size {
    uint64_t sectors; /* of the disk */
    size_t from;
} Size;

typedef struct Ack {
    size_t position; /* when the promise was given */
    uint8_t newest[SECTORS_MAX], size;
} Ack;

typedef struct Shot {
    char guid[40];
    Stamp stamps[SECTORS_MAX];
    size_t since;  /* from this position on it must be listed */
    size_t doomed; /* from here on nobody counts on it */
    size_t gone;   /* from here on it must not be listed */
} Shot;

typedef struct World World;
struct Exam;
typedef bool Judge(struct Exam *x);

struct World {
    PlkRecord *record;
    PlkRecordBug bug; /* to be made in what is recorded from world_ready() on */
    PlkStore *store;
    PlkDisk *disk;
    PlkDir *dir; /* borrowed by what runs in it */
    unsigned sectors; /* that the oracle knows; the disk may be bigger */
    bool bare, alloc_full, killed;
    bool damaged; /* opening it comes after its repair, */
    bool fills;   /* which gives holes real blocks */
    uint8_t alias[SECTORS_MAX / CLUSTER_SECTORS]; /* it reads as this cluster, counted from 1; 0: as itself */
    PlkChainFile files[FILES_MAX]; /* bare: base to top */
    size_t n_files, n_after;       /* that many from position `collapse` on, if that is not 0 */
    size_t collapse;
    Write history[SECTORS_MAX][HISTORY_MAX];
    uint8_t newest[SECTORS_MAX]; /* index of the last entry */
    Size sizes[SIZES_MAX];
    uint8_t newest_size;
    Ack acks[ACKS_MAX];
    size_t n_acks, n_shots;
    Shot shots[SHOTS_MAX];
    Stamp stamp;
    Stamp joint;        /* what was written with this stamp is there as a whole or not at all ... */
    size_t joint_until; /* ... in crashes before this position */
    size_t start;     /* crashes are made from here on */
    unsigned leaves;  /* LEAVES_ */
    size_t done;      /* the operation had returned at this position; for judges */
    Judge *judge;     /* NULL: the usual one */
    Judge *recover;   /* NULL: opening for writing */
    int choice;       /* of a scenario that has variants */
    unsigned nest_every; /* of so many states one recovery is crashed in turn; 0: the usual number */
};

/* ---- chance: the same seed gives the same history ---- */

void chance_seed(uint32_t seed);
uint32_t chance(uint32_t n); /* 0 .. n - 1 */

/* ---- what must not fail while a scenario runs ---- */

extern PlkError must_error; /* for the calls inside MUST() */
__attribute__((noreturn, format(printf, 3, 4))) void must_die(const char *file, int line, const char *fmt,
                                                              ...);
#define MUST(call) ((call) == 0 ? (void)0 : must_die(__FILE__, __LINE__, "%s: %s", #call, must_error.message))
#define MUST_BE(cond) ((cond) ? (void)0 : must_die(__FILE__, __LINE__, "not true: %s", #cond))

/* Somebody who says "stop" when asked for the first time. */
extern const PlkProgress impatient;

/* ---- making a world ---- */

typedef struct ImageKind {
    PlkFormat format;
    int version;
} ImageKind;

/* Empty, with its recorded directory; `clusters` the oracle watches. */
void world_new(World *w, unsigned clusters);
void world_free(World *w);
/* A new image file of `sectors` in the directory. */
void world_make_image(World *w, const char *file, ImageKind kind, uint64_t sectors);
/* root.hds and its descriptor, or the bare file, empty; the disk is as big as what the oracle watches. */
void world_describe(World *w, ImageKind kind, unsigned clusters);
void world_bare(World *w, ImageKind kind, unsigned clusters);
/* One more bare image on top. */
void world_stack(World *w, int version);
/* What was done up to here is durable and not crashed; what follows is. */
void world_ready(World *w);

/* ---- notes ---- */

size_t world_now(World *w);
void world_remember(World *w, unsigned sector, Stamp stamp);
void world_forget(World *w, unsigned cluster, unsigned n); /* they are written as zeros */
void world_resized(World *w, uint64_t sectors);            /* from now on it may have this size */
void world_acknowledge(World *w);
Shot *world_remember_shot(World *w);
void render(uint32_t out[128], unsigned sector, Stamp stamp);

/* ---- doing things ---- */

PlkDir *world_dir(World *w); /* opened anew; the caller's */
void world_open(World *w);   /* w->disk, for writing */
void world_close(World *w);
void world_drop(World *w); /* the process is killed */
void world_put(World *w, unsigned sector, unsigned n);
void world_zero(World *w, unsigned sector, unsigned n);
void world_discard(World *w, unsigned cluster, unsigned n);
void world_flush(World *w);
/* Writes, discards and flushes here and there. */
void world_about(World *w, unsigned steps);
/* Open, about, close. */
void world_session(World *w, unsigned steps);
/* Locked. */
void world_open_store(World *w);
void world_close_store(World *w);
/* An offline snapshot. */
Shot *world_take(World *w);
void world_delete(World *w, Shot *shot);
/* ... and on from another state. */
void world_switch(World *w, Shot *shot, bool keep_old);
PlkGuid world_guid(const Shot *shot);
