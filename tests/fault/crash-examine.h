/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What must hold after a crash. For one state of a world's directory:
 *
 *  1  the disk opens and reads; every sector holds what was acknowledged, or something newer;
 *  2  one recovery, which is opening for writing, makes all images sound; a second one changes no byte;
 *  3  it reads as before, so does every snapshot that is still listed and was not to go;
 *  4  no file is there but those the descriptor names, and leftovers that the scenario allows;
 *  5  the disk can be written to again, with partial writes that copy up and reuse whatever they can, and
 *     reads and is sound after that.
 */
#pragma once

#include <ploopkit/check.h>

#include "crash-world.h"

typedef struct Exam {
    World *w;
    size_t position;   /* of the log, at which the crash came */
    PlkDir *dir;       /* the state; borrowed */
    PlkStore *store;   /* while a described one is looked at */
    const Ack *ack;    /* the last promise before the crash */
    bool thorough;     /* look at every sector, recover twice, write again; else only ... */
    bool hasty;        /* ... write at once, and let that be the recovery, or else recover and look */
    bool probed;       /* step 5 has begun */
    unsigned joint[2]; /* sectors that hold old, and new, of what belongs together */
    char what[400];    /* is wrong */
} Exam;

__attribute__((format(printf, 2, 3))) bool exam_wrong(Exam *x, const char *fmt, ...); /* false */

/* The oracle's notes as of a position. */
void exam_at(Exam *x, World *w, size_t position);
bool examine(Exam *x);
/* Whatever the world calls a recovery, in x->dir; else opening for writing and closing. */
bool exam_recover(Exam *x);
bool exam_open_and_close(Exam *x);

/* ---- for scenarios with a judge of their own ---- */

bool exam_disk(Exam *x); /* the usual judge */
/* Names of the directory that the descriptor does not explain. Loaded store. */
bool exam_names(Exam *x);
bool exam_image_is_sound(Exam *x, const char *file, bool raw);
/* A PlkFindingFn: what is found is what is wrong. */
int exam_note_finding(void *arg, const PlkFinding *f);
/* The oracle on the whole of an open disk. */
bool exam_read(Exam *x, PlkDisk *disk, const Shot *shot);
bool exam_open_store(Exam *x);
void exam_close_store(Exam *x);
