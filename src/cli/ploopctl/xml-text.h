/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Definitions written from options, in virsh's words, to be parsed like one that somebody wrote by hand. */
#pragma once

#include <glib.h>

/* "<format type='raw'/>" on a line of its own; value NULL: nothing. */
void plk_xml_attribute(GString *xml, int indent, const char *element, const char *attribute,
                       const char *value);
/* "<path>/srv</path>"; value NULL: nothing. */
void plk_xml_element(GString *xml, int indent, const char *element, const char *value);
void plk_xml_open(GString *xml, int indent, const char *tag);
void plk_xml_close(GString *xml, int indent, const char *element);
