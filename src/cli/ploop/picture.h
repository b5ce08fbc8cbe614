/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk as a grid of cells, each telling which image holds most of its bytes. Taken once, then
 * drawn as letters, in colours or as SVG.
 */
#pragma once

#include <stdio.h>

#include <ploopkit/disk.h>

enum { PLK_CELL_UNALLOCATED = -1, PLK_CELL_ZERO = -2 }; /* else the level */

typedef struct PlkPicture {
    unsigned width, rows;
    uint64_t cell; /* bytes, whole clusters */
    size_t cells;  /* the last row may be short */
    unsigned levels;
    int *owner;      /* one per cell */
    uint64_t *bytes; /* by level: what it holds of the active state, then zero, then unallocated */
} PlkPicture;

int plk_picture_take(PlkDisk *disk, unsigned width, const PlkProgress *progress, PlkPicture *ret,
                     PlkError *err);
void plk_picture_clear(PlkPicture *p);

void plk_picture_draw_text(const PlkPicture *p, PlkDisk *disk, bool colours);
void plk_picture_draw_svg(const PlkPicture *p, PlkDisk *disk, FILE *out);
