/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing XML; what is in values cannot leave its place. */
#include "xml-text.h"

/* Not g_markup_escape_text(): that makes entities of bytes libvirt writes as they are. */
static void put_escaped(GString *xml, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<':
            g_string_append(xml, "&lt;");
            break;
        case '>':
            g_string_append(xml, "&gt;");
            break;
        case '&':
            g_string_append(xml, "&amp;");
            break;
        case '\'':
            g_string_append(xml, "&apos;");
            break;
        case '"':
            g_string_append(xml, "&quot;");
            break;
        default:
            g_string_append_c(xml, *text);
        }
}

void plk_xml_attribute(GString *xml, int indent, const char *element, const char *attribute,
                       const char *value)
{
    if (!value)
        return;
    g_string_append_printf(xml, "%*s<%s %s='", indent, "", element, attribute);
    put_escaped(xml, value);
    g_string_append(xml, "'/>\n");
}

void plk_xml_element(GString *xml, int indent, const char *element, const char *value)
{
    if (!value)
        return;
    g_string_append_printf(xml, "%*s<%s>", indent, "", element);
    put_escaped(xml, value);
    g_string_append_printf(xml, "</%s>\n", element);
}

void plk_xml_open(GString *xml, int indent, const char *tag)
{
    g_string_append_printf(xml, "%*s<%s>\n", indent, "", tag);
}

void plk_xml_close(GString *xml, int indent, const char *element)
{
    g_string_append_printf(xml, "%*s</%s>\n", indent, "", element);
}
