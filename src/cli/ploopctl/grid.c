/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables; the layout is described in the header. */
#include "grid.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/common/command.h"

struct PlkGrid {
    const PlkGridColumn *columns;
    size_t n_columns;
    size_t *widths;
    GPtrArray *cells; /* row by row */
};

/* Columns of a terminal. Escaped text is UTF-8 without control characters. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text; text = g_utf8_next_char(text)) {
        gunichar c = g_utf8_get_char(text);

        width += g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
    }
    return width;
}

PlkGrid *plk_grid_new(const PlkGridColumn *columns, size_t n_columns)
{
    PlkGrid *grid = g_new0(PlkGrid, 1);

    grid->columns = columns;
    grid->n_columns = n_columns;
    grid->widths = g_new0(size_t, n_columns);
    grid->cells = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; i < n_columns && plk_verbosity > 0; i++)
        grid->widths[i] = width_of(columns[i].title);
    return grid;
}

void plk_grid_row(PlkGrid *grid, const char *const *cells)
{
    for (size_t i = 0; i < grid->n_columns; i++) {
        size_t room = PLK_ESCAPE_MAX * strlen(cells[i]) + 1;
        char *cell = g_malloc(room);

        plk_escape(cell, room, cells[i]);
        g_ptr_array_add(grid->cells, cell);
        grid->widths[i] = MAX(grid->widths[i], width_of(cell));
    }
}

static bool want_colours(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

/* Green, red, yellow for what waits; plain for everything else. */
static const char *colour_of(const char *text)
{
    static const struct {
        const char *word, *colour;
    } colours[] = {
        {"good", "\033[32m"},       {"running", "\033[32m"},  {"broken", "\033[31m"},
        {"incomplete", "\033[31m"}, {"building", "\033[33m"}, {"busy", "\033[33m"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(colours); i++)
        if (g_str_has_prefix(text, colours[i].word))
            return colours[i].colour;
    return "";
}

static void put_cell(const PlkGrid *grid, size_t column, const char *text, bool colours)
{
    const char *colour = colours && grid->columns[column].kind == PLK_STATUS ? colour_of(text) : "";
    int pad = (int)(grid->widths[column] - width_of(text));
    bool last = column + 1 == grid->n_columns;

    printf(" %*s%s%s%s", grid->columns[column].kind == PLK_RIGHT ? pad : 0, "", colour, text,
           *colour ? "\033[0m" : "");
    if (last)
        putchar('\n');
    else
        printf("%*s", (grid->columns[column].kind == PLK_RIGHT ? 0 : pad) + 2, "");
}

static void put_heading(const PlkGrid *grid)
{
    size_t line = 0;

    for (size_t i = 0; i < grid->n_columns; i++) {
        put_cell(grid, i, grid->columns[i].title, false);
        line += grid->widths[i] + 3;
    }
    while (line--)
        putchar('-');
    putchar('\n');
}

void plk_grid_print(PlkGrid *grid)
{
    bool colours = want_colours();

    plk_progress_clear();
    if (plk_verbosity > 0)
        put_heading(grid);
    for (size_t i = 0; i < grid->cells->len; i++)
        put_cell(grid, i % grid->n_columns, grid->cells->pdata[i], colours);
    if (plk_verbosity > 0)
        putchar('\n');
    g_ptr_array_unref(grid->cells);
    g_free(grid->widths);
    g_free(grid);
}
