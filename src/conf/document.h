/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Definitions as trees: a bounded way in, and the few questions parsers ask of them. Private to conf/.
 *
 * A path is "a/b" or "a/b/@c", below a node: the first hit in the order of the document. Elements and attributes in
 * a namespace are other ones, as they are for libvirt.
 */
#pragma once

#include <libxml/tree.h>
#include <stdbool.h>

#include <ploopkit/error.h>

/*
 * What is refused before anything is built of it (XML_SYNTAX): more than 1 MiB, 64 attributes at one element, depth
 * 64, 16384 pieces of markup or of references, 64 declarations of namespaces, any document type. Whatever encoding
 * it declares, it is UTF-8. *ret is to be freed with xmlFreeDoc(). root: the name the outermost element must have.
 */
int plk_document_parse(const char *xml, const char *root, xmlDoc **ret, PlkError *err);

xmlNode *plk_element_find(const xmlNode *from, const char *path);
/* The next element of that name beside node, or (node NULL) the first child of parent. */
xmlNode *plk_element_next(const xmlNode *parent, const xmlNode *node, const char *name);
/* g_free. NULL when it is missing or empty: nobody means an empty value. */
char *plk_element_text(const xmlNode *from, const char *path);
char *plk_element_attribute(const xmlNode *node, const char *name); /* g_free; NULL when missing; "" is a value */

/* xmlFreeDoc() at the end of a scope. */
static inline void plk_document_freep(xmlDoc **doc)
{
    xmlFreeDoc(*doc);
}
