/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See writer.h. */
#include "conf/writer.h"

#include <stdarg.h>
#include <string.h>

PlkWriter plk_writer_begin(void)
{
    return (PlkWriter){.text = g_string_sized_new(1024)};
}

char *plk_writer_finish(PlkWriter *writer)
{
    return g_string_free(g_steal_pointer(&writer->text), FALSE);
}

/*
 * Control characters cannot be said in XML at all, so they are left out: a name that has one comes from a directory,
 * and the rest of its volume is worth printing. Readers turn line ends into '\n', and any blank of an attribute into
 * a space: libvirt lets that happen, here what is printed reads as what it was. blanks: those to be spelled out.
 */
static void append_escaped(GString *text, const char *value, const char *blanks)
{
    for (; *value; value++) {
        switch (*value) {
        case '<':
            g_string_append(text, "&lt;");
            break;
        case '>':
            g_string_append(text, "&gt;");
            break;
        case '&':
            g_string_append(text, "&amp;");
            break;
        case '"':
            g_string_append(text, "&quot;");
            break;
        case '\'':
            g_string_append(text, "&apos;");
            break;
        default:
            if (strchr(blanks, *value))
                g_string_append_printf(text, "&#%d;", *value);
            else if ((unsigned char)*value >= 0x20 || *value == '\t' || *value == '\n')
                g_string_append_c(text, *value);
        }
    }
}

void plk_write_start(PlkWriter *writer, const char *element)
{
    g_string_append_printf(writer->text, "%*s<%s", 2 * writer->depth, "", element);
}

void plk_write_attribute(PlkWriter *writer, const char *name, const char *value)
{
    if (!value)
        return;
    g_string_append_printf(writer->text, " %s='", name);
    append_escaped(writer->text, value, "\t\n\r");
    g_string_append_c(writer->text, '\'');
}

void plk_write_attribute_format(PlkWriter *writer, const char *name, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    g_autofree char *value = g_strdup_vprintf(format, ap);
    va_end(ap);
    plk_write_attribute(writer, name, value);
}

void plk_write_empty(PlkWriter *writer)
{
    g_string_append(writer->text, "/>\n");
}

void plk_write_open(PlkWriter *writer)
{
    g_string_append(writer->text, ">\n");
    writer->depth++;
}

void plk_write_close(PlkWriter *writer, const char *element)
{
    writer->depth--;
    g_string_append_printf(writer->text, "%*s</%s>\n", 2 * writer->depth, "", element);
}

void plk_write_section(PlkWriter *writer, const char *element)
{
    plk_write_start(writer, element);
    plk_write_open(writer);
}

/* The value of an element, behind its start. */
static void end_with_text(PlkWriter *writer, const char *element, const char *value)
{
    g_string_append_c(writer->text, '>');
    append_escaped(writer->text, value, "\r");
    g_string_append_printf(writer->text, "</%s>\n", element);
}

void plk_write_text(PlkWriter *writer, const char *element, const char *value)
{
    if (!value)
        return;
    plk_write_start(writer, element);
    end_with_text(writer, element, value);
}

void plk_write_format(PlkWriter *writer, const char *element, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    g_autofree char *value = g_strdup_vprintf(format, ap);
    va_end(ap);
    plk_write_text(writer, element, value);
}

void plk_write_bytes(PlkWriter *writer, const char *element, const char *unit, guint64 bytes)
{
    g_autofree char *value = g_strdup_printf("%" G_GUINT64_FORMAT, bytes);

    plk_write_start(writer, element);
    plk_write_attribute(writer, "unit", unit);
    end_with_text(writer, element, value);
}

void plk_write_typed(PlkWriter *writer, const char *element, const char *type)
{
    plk_write_start(writer, element);
    plk_write_attribute(writer, "type", type);
    plk_write_empty(writer);
}
