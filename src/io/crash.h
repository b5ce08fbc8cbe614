/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A crash from inside: what is durable at its position, which crash.c keeps up to date along the log, and the
 * pieces that are up to chance, which crash-state.c turns into states.
 *
 * The second half is a plan, made for one position and one size of piece. Each sector that pending pieces
 * touch is a site. What a site holds in a state is what its newest kept piece put there, as far as the
 * changes of length that were kept let it be seen, else what lies below all pieces. So keeping or dropping
 * a piece changes its own sites and nothing else; a change of a file's kept lengths makes the file anew.
 */
#pragma once

#include "io/record-log.h"

#define PLK_NO_SLOT UINT32_MAX

/* Positions in the log. */
typedef struct PlkPending {
    size_t *items;
    size_t n, room;
} PlkPending;

/* A content whose print is kept up to date. */
typedef struct PlkPrinted {
    PlkContent content;
    uint64_t print;
} PlkPrinted;

/* A pending change of length. */
typedef struct PlkLength {
    size_t position;
    uint64_t size;
    bool cuts;
} PlkLength;

typedef struct PlkCrashFile {
    PlkPrinted durable; /* may hold bytes beyond the size: of writes whose change of length is not kept */
    uint64_t size;
    PlkPending pending;
    /* the plan */
    bool reachable; /* some name may lead to it */
    PlkLength *lengths;
    size_t n_lengths, lengths_room, kept_lengths;
    size_t first_live, end_live, first_slot, end_slot, first_site, end_site;
    PlkPrinted state;
    uint64_t state_size;
} PlkCrashFile;

typedef struct PlkName {
    const char *path;
    uint64_t print;
    unsigned file;
} PlkName;

typedef struct PlkNames {
    PlkName *items;
    size_t n, room;
} PlkNames;

/* What is kept or lost as one: a sector, or what was written of a block. */
typedef struct PlkPiece {
    size_t position; /* of the write */
    unsigned file;
    uint32_t first_slot, n_slots;
    bool kept;
} PlkPiece;

/* One sector of a piece. */
typedef struct PlkSlot {
    PlkSectorData *written; /* the log's */
    PlkSectorData *shown;   /* the same, or cut, or NULL: as kept lengths let it be seen; counted */
    uint32_t piece, site;
    uint32_t below; /* the next older slot of its site */
} PlkSlot;

typedef struct PlkSite {
    uint64_t sector;
    unsigned file;
    uint32_t top;           /* the newest slot */
    bool idle;              /* all its slots hold what is durable there */
    PlkSectorData *base;    /* below all slots; counted */
    PlkSectorData *current; /* in the state */
} PlkSite;

/* Changes of which a prefix is kept. */
typedef struct PlkChain {
    unsigned file; /* whose lengths; PLK_NAMES: names */
    size_t n;
} PlkChain;

#define PLK_NAMES UINT32_MAX

struct PlkCrash {
    const PlkRecord *record;
    size_t position;
    PlkCrashFile *files;
    unsigned n_files;
    PlkNames durable;
    PlkPending pending; /* changes of names */
    /* the plan */
    unsigned unit; /* 0: there is none */
    PlkPiece *pieces;
    PlkSlot *slots;
    PlkSite *sites;
    PlkChain *chains;
    uint32_t *live;  /* the pieces that change something */
    uint32_t *table; /* sites by hash: number + 1 */
    size_t n_pieces, n_slots, n_sites, n_chains, n_live;
    size_t pieces_room, slots_room, sites_room, chains_room, live_room, table_room;
    size_t table_size; /* power of two */
    PlkNames names;    /* in the state */
};

/* The array, or a bigger one, with room for n; NULL when out of memory: then it is as it was. */
void *plk_grown(void *items, size_t *room, size_t n, size_t size);

int plk_printed_set(PlkPrinted *p, uint64_t sector, PlkSectorData *s);
int plk_printed_cut(PlkPrinted *p, uint64_t bytes); /* what lies beyond goes */
int plk_names_copy(const PlkNames *from, PlkNames *to);
int plk_names_apply(PlkNames *names, const PlkChange *change);

void plk_crash_drop_plan(PlkCrash *crash);
