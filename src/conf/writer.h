/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Prints XML as libvirt does: one element a line, two spaces deeper a level, single quotes. Private to conf/.
 *
 *     plk_write_start(&w, "host");
 *     plk_write_attribute(&w, "name", name);
 *     plk_write_empty(&w);
 *
 * Values that are NULL are left out, with their element or attribute.
 */
#pragma once

#include <glib.h>

typedef struct PlkWriter {
    GString *text;
    int depth;
} PlkWriter;

PlkWriter plk_writer_begin(void);
char *plk_writer_finish(PlkWriter *writer); /* g_free */

void plk_write_start(PlkWriter *writer, const char *element);
void plk_write_attribute(PlkWriter *writer, const char *name, const char *value);
void plk_write_attribute_format(PlkWriter *writer, const char *name, const char *format, ...) G_GNUC_PRINTF(3, 4);
void plk_write_empty(PlkWriter *writer);                      /* what was started has nothing in it */
void plk_write_open(PlkWriter *writer);                       /* ... has: up to plk_write_close() */
void plk_write_close(PlkWriter *writer, const char *element);

void plk_write_section(PlkWriter *writer, const char *element); /* started and opened at once */
void plk_write_text(PlkWriter *writer, const char *element, const char *value);
void plk_write_format(PlkWriter *writer, const char *element, const char *format, ...) G_GNUC_PRINTF(3, 4);
void plk_write_bytes(PlkWriter *writer, const char *element, const char *unit, guint64 bytes);
void plk_write_typed(PlkWriter *writer, const char *element, const char *type); /* <element type='...'/> */
