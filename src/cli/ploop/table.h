/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lists with columns that the user picks with -o. Cells are padded to their width and followed by one
 * space, the last cell of a row is not padded: the layout that scripts cut up.
 */
#pragma once

#include <stddef.h>

typedef struct PlkColumn {
    const char *name; /* for -o */
    const char *title;
    int width;
} PlkColumn;

#define PLK_MAX_COLUMNS 8

typedef struct PlkTable {
    const PlkColumn *columns; /* all there are */
    size_t n_columns;
    size_t shown[PLK_MAX_COLUMNS]; /* indices in the order of printing */
    size_t n_shown;
} PlkTable;

/* text: names with commas between, NULL = all. -1 when a name is unknown or there are too many; *ret_bad
 * names it. */
int plk_table_pick(PlkTable *table, const char *text, char *ret_bad, size_t bad_size);
void plk_table_header(const PlkTable *table);
void plk_table_row(const PlkTable *table, const char *const *cells); /* cells parallel to columns */
