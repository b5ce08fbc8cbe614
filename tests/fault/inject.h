/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the injection tests work on: a disk in memory, behind the fault shim, that every public function of the
 * engine reaches by the path /disk. The linker puts inject-world.c's versions in the place of plk_dir_open_fs() and
 * realpath() (--wrap in meson.build), so nothing in the engine knows of it.
 *
 * Sectors hold stamps: 0 is zeros, another number fills it with that number and the sector's own. A world knows
 * for every sector which stamps it may hold now, and which after everything was closed and opened again.
 */
#pragma once

#include <ploopkit/disk.h>

#include "io/fault.h"

#define CLUSTERS 8u
#define CLUSTER_SECTORS 64u
#define CLUSTER_BYTES (CLUSTER_SECTORS * 512u)
#define SECTORS (CLUSTERS * CLUSTER_SECTORS)
#define KNOWN_MAX 4u

#define DIR_PATH "/disk"
#define XML DIR_PATH "/DiskDescriptor.xml"
#define BASE DIR_PATH "/root.hds"
#define GUID_1 "{11111111-1111-4111-8111-111111111111}"
#define GUID_2 "{22222222-2222-4222-8222-222222222222}"
#define GUID_3 "{33333333-3333-4333-8333-333333333333}"
#define GUID_NEW "{99999999-9999-4999-8999-999999999999}"

typedef uint8_t Stamp;
#define STAMP_BAD 0xffu /* in a picture: the sector holds what nobody wrote */

typedef struct Known { /* a snapshot, which never changes */
    char guid[40];
    Stamp stamps[SECTORS];
} Known;

typedef struct World {
    PlkDir *mem; /* the bare directory; the engine sees it through `fault` */
    PlkFault fault;
    PlkDisk *disk; /* while a scenario has it open */
    uint64_t now[SECTORS], safe[SECTORS]; /* bit s: it may hold stamp s */
    Stamp last;                           /* the newest stamp */
    Known known[KNOWN_MAX];
    unsigned n_known;
    bool poisoned; /* a sync of the open disk failed */
    PlkError *err; /* of the first data call that failed */
    unsigned n_failed;
    const PlkProgress *progress; /* what long operations of a scenario are given */
    const char *broken; /* the scenario itself saw a broken promise */
} World;

extern World world; /* the one that paths lead to */

/* ---- worlds ---- */

void world_empty(void);               /* no files */
void world_clone(const World *from);  /* world becomes a copy, the directory too; no faults */
void world_clear(World *w);
__attribute__((noreturn, format(printf, 1, 2))) void world_die(const char *fmt, ...); /* the test itself is wrong */

/* ---- data, of world.disk; failures are counted, the first one's words kept ---- */

void world_open(void); /* for writing; dies if it cannot, and there is no fault */
bool world_try_open(PlkError *err);
void put(unsigned sector, unsigned n);
void discard(unsigned cluster, unsigned n);
void flush(void);
void world_close(void);
void remember_known(const char *guid); /* the contents as they are now */

/* ---- looking ---- */

typedef struct Picture {
    bool exists;
    char shape[512];       /* states, size, format, version: all but names that are random */
    Stamp active[SECTORS]; /* what lies beyond the end counts as zeros */
} Picture;

/* After recovery, read-only. False with words in `why`. */
bool take_picture(Picture *p, char *why, size_t len);
/* The state reads as these stamps. */
bool read_stamps(const char *guid, Stamp out[SECTORS], char *why, size_t len);
/* Everything in the directory but lock files, as one number. */
uint64_t world_fingerprint(void);
/* A name in the directory that is neither the descriptor's, nor named by it, nor in `also` (words). */
bool find_stray(const char *also, char *name, size_t len);

/* Live allocations of the whole process; constant where a sanitizer does that work. */
long live_allocations(void);

/* ---- disks to begin with ---- */

void start_one_image(void);
void start_one_image_v1(void);
void start_preallocated(void);
void start_raw(void);
void start_three_states(void);
void start_three_states_v1(void);
void start_three_states_on_raw(void);
void start_forked(void);
void start_temporary_below(void);
void start_left_open(void);
void start_with_a_copy(void);
void start_without_descriptor(void);
void start_damaged(void);
void start_bare_files(void);

/* ---- scenarios ---- */

typedef enum ScenarioFlags {
    READS = 1 << 0, /* no byte changes */
    DATA = 1 << 1,  /* judged by what was acknowledged, sector by sector */
    STEPS = 1 << 2, /* more than one commit: what lies between before and after may be seen */
    MAKES = 1 << 3, /* there is no disk before */
    BARE = 1 << 4,  /* there is none after either: images without a descriptor */
} ScenarioFlags;

typedef struct Scenario {
    const char *name;
    void (*start)(void);      /* makes the world it begins with */
    int (*run)(PlkError *err);
    unsigned flags;
    const char *also; /* names that may lie in the directory besides, before and after; "x*" = begins with x */
    const char *doomed; /* snapshots that go, and whose contents nobody counts on from the first moment */
} Scenario;

extern const Scenario scenarios[];
extern const unsigned n_scenarios;
