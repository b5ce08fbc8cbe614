/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A table for people, in virsh's layout: a heading, a line, rows, an empty line; columns as wide as their
 * widest cell. -q leaves all but the rows out.
 */
#pragma once

#include <stddef.h>

typedef struct PlkGridColumn {
    const char *title;
    enum { PLK_LEFT, PLK_RIGHT, PLK_STATUS } kind; /* STATUS: coloured on a terminal by its first word */
} PlkGridColumn;

typedef struct PlkGrid PlkGrid;
PlkGrid *plk_grid_new(const PlkGridColumn *columns, size_t n_columns); /* columns: borrowed */
void plk_grid_row(PlkGrid *grid, const char *const *cells);            /* n_columns texts, copied, escaped */
void plk_grid_print(PlkGrid *grid);                                    /* and free it */
