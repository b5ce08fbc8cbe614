/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists with columns; the layout is described in the header. */
#include "table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli.h"

static size_t find_column(const PlkTable *table, const char *name, size_t len)
{
    size_t i = 0;

    while (i < table->n_columns &&
           (strlen(table->columns[i].name) != len || memcmp(table->columns[i].name, name, len) != 0))
        i++;
    return i;
}

int plk_table_pick(PlkTable *table, const char *text, char *ret_bad, size_t bad_size)
{
    assert(table->n_columns <= PLK_MAX_COLUMNS);
    table->n_shown = 0;
    if (!text) {
        for (size_t i = 0; i < table->n_columns; i++)
            table->shown[table->n_shown++] = i;
        return 0;
    }
    for (;;) {
        size_t len = strcspn(text, ","), i = find_column(table, text, len);

        if (i == table->n_columns || table->n_shown == PLK_MAX_COLUMNS) {
            snprintf(ret_bad, bad_size, "%.*s", (int)len, text);
            return -1;
        }
        table->shown[table->n_shown++] = i;
        if (!text[len])
            return 0;
        text += len + 1;
    }
}

void plk_table_header(const PlkTable *table)
{
    for (size_t i = 0; i < table->n_shown; i++) {
        const PlkColumn *c = &table->columns[table->shown[i]];

        printf("%-*s ", c->width, c->title);
    }
    putchar('\n');
}

/* Names can hold anything but '/': a row stays a row. */
void plk_table_row(const PlkTable *table, const char *const *cells)
{
    char cell[PLK_NAME_ROOM];

    for (size_t i = 0; i < table->n_shown; i++) {
        size_t column = table->shown[i];

        plk_escape(cell, sizeof(cell), cells[column]);
        if (i + 1 < table->n_shown)
            printf("%-*s ", table->columns[column].width, cell);
        else
            printf("%s\n", cell);
    }
}
