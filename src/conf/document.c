/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Parsing within bounds.
 *
 * libxml2 has bounds of its own, but its cost within them is not linear: attributes of one element are compared
 * with each other, namespaces are searched one by one. So the text is measured first, by a scanner that knows no
 * more of XML than where markup begins and ends. libxml2 is stopped at its first error, and up to there it sees the
 * same markup as the scanner did: nothing can be hidden from the one and shown to the other.
 */
#include "conf/document.h"

#include <glib.h>
#include <libxml/parser.h>
#include <string.h>

#include "base/error.h"

#define TEXT_MAX (1024 * 1024)
#define ATTRIBUTES_MAX 64
#define DEPTH_MAX 64
#define MARKUP_MAX 16384
#define NAMESPACES_MAX 64

/* ---- measuring ---- */

/* Behind the closing mark of what begins at `at`; the end of the text when it is never closed. */
static const char *behind(const char *at, const char *mark)
{
    const char *found = strstr(at, mark);
    return found ? found + strlen(mark) : at + strlen(at);
}

/* Behind a start tag or an end tag. *ret_attributes: how many there are at least, *ret_empty: it ends in "/>". */
static const char *measure_tag(const char *at, size_t *ret_attributes, bool *ret_empty)
{
    char quote = 0;

    *ret_attributes = 0;
    *ret_empty = false;
    for (; *at; at++) {
        if (quote) {
            quote = *at == quote ? 0 : quote;
        } else if (*at == '>') {
            *ret_empty = at[-1] == '/';
            return at + 1;
        } else if (*at == '"' || *at == '\'') {
            quote = *at;
            ++*ret_attributes;
        }
    }
    return at;
}

static bool has_more_than(const char *text, const char *what, size_t max)
{
    for (text = strstr(text, what); text && max; text = strstr(text + 1, what))
        max--;
    return text;
}

static size_t count_markup(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += *text == '<' || *text == '&';
    return n;
}

static int measure_tree(const char *at, PlkError *err)
{
    size_t depth = 0, attributes;
    bool empty;

    for (at = strchr(at, '<'); at; at = strchr(at, '<')) {
        if (g_str_has_prefix(at, "<!--")) {
            at = behind(at + 4, "-->");
        } else if (g_str_has_prefix(at, "<![CDATA[")) {
            at = behind(at, "]]>");
        } else if (g_str_has_prefix(at, "<?")) {
            at = behind(at, "?>");
        } else if (at[1] == '!') {
            return plk_fail(err, PLK_ERROR_XML_SYNTAX, "a definition has no document type: leave <!DOCTYPE> out");
        } else {
            bool closes = at[1] == '/';
            at = measure_tag(at + 1, &attributes, &empty);
            if (attributes > ATTRIBUTES_MAX)
                return plk_fail(err, PLK_ERROR_XML_SYNTAX, "an element of the definition has more than %d attributes",
                                ATTRIBUTES_MAX);
            if (closes)
                depth -= depth > 0;
            else if (!empty && ++depth > DEPTH_MAX)
                return plk_fail(err, PLK_ERROR_XML_SYNTAX, "the definition is nested deeper than %d elements",
                                DEPTH_MAX);
        }
    }
    return 0;
}

static int measure(const char *xml, PlkError *err)
{
    if (strnlen(xml, TEXT_MAX + 1) > TEXT_MAX)
        return plk_fail(err, PLK_ERROR_XML_SYNTAX, "the definition is longer than %d bytes", TEXT_MAX);
    if (count_markup(xml) > MARKUP_MAX)
        return plk_fail(err, PLK_ERROR_XML_SYNTAX, "the definition has more than %d pieces of markup", MARKUP_MAX);
    if (has_more_than(xml, "xmlns", NAMESPACES_MAX))
        return plk_fail(err, PLK_ERROR_XML_SYNTAX, "the definition declares more than %d namespaces",
                        NAMESPACES_MAX);
    return measure_tree(xml, err);
}

/* ---- parsing ---- */

typedef struct FirstError {
    xmlParserCtxt *parser;
    int line;
    char *text;
} FirstError;

static void note_error(void *arg, xmlError *error)
{
    FirstError *first = arg;

    if (error->level != XML_ERR_FATAL || first->text)
        return;
    first->line = error->line;
    first->text = g_strchomp(g_strdup(error->message ? error->message : "unreadable"));
    xmlStopParser(first->parser);
}

static xmlDoc *parse_tree(const char *xml, PlkError *err)
{
    FirstError first = {.parser = xmlNewParserCtxt()};

    if (!first.parser) {
        plk_error_set(err, PLK_ERROR_NO_MEMORY, "out of memory");
        return NULL;
    }
    xmlStructuredErrorFunc handler = xmlStructuredError;
    void *arg = xmlStructuredErrorContext;
    xmlSetStructuredErrorFunc(&first, note_error);
    xmlDoc *doc = xmlCtxtReadMemory(first.parser, xml, strlen(xml), NULL, "UTF-8",
                                    XML_PARSE_NONET | XML_PARSE_NOWARNING | XML_PARSE_IGNORE_ENC);
    xmlSetStructuredErrorFunc(arg, handler);
    if (!doc || first.text) {
        plk_error_set(err, PLK_ERROR_XML_SYNTAX, "line %d of the definition: %s", first.line,
                      first.text ? first.text : "it holds no document");
        g_clear_pointer(&doc, xmlFreeDoc);
    }
    g_free(first.text);
    xmlFreeParserCtxt(first.parser);
    return doc;
}

int plk_document_parse(const char *xml, const char *root, xmlDoc **ret, PlkError *err)
{
    if (measure(xml, err) != 0)
        return -1;
    xmlDoc *doc = parse_tree(xml, err);
    if (!doc)
        return -1;
    const xmlNode *top = xmlDocGetRootElement(doc);
    if (!top || strcmp((const char *)top->name, root) != 0) {
        plk_error_set(err, PLK_ERROR_XML, "the definition begins with <%s>, where <%s> belongs",
                      top ? (const char *)top->name : "", root);
        xmlFreeDoc(doc);
        return -1;
    }
    *ret = doc;
    return 0;
}

/* ---- looking around ---- */

static bool is_plain(const xmlNode *node, const char *name, size_t len)
{
    return node->type == XML_ELEMENT_NODE && !node->ns && strlen((const char *)node->name) == len &&
           memcmp(node->name, name, len) == 0;
}

xmlNode *plk_element_next(const xmlNode *parent, const xmlNode *node, const char *name)
{
    xmlNode *at = node ? node->next : parent->children;

    while (at && !is_plain(at, name, strlen(name)))
        at = at->next;
    return at;
}

char *plk_element_attribute(const xmlNode *node, const char *name)
{
    xmlChar *value = xmlGetNoNsProp(node, BAD_CAST name);
    char *copy = g_strdup((char *)value);

    xmlFree(value);
    return copy;
}

/* The first element at path, which ends at `end`; an attribute it must have, or NULL. */
static xmlNode *find(const xmlNode *from, const char *path, const char *end, const char *attribute)
{
    if (path == end)
        return !attribute || xmlHasNsProp(from, BAD_CAST attribute, NULL) ? (xmlNode *)from : NULL;
    const char *slash = memchr(path, '/', end - path);
    size_t len = (slash ? slash : end) - path;
    for (const xmlNode *child = from->children; child; child = child->next) {
        xmlNode *found = is_plain(child, path, len) ? find(child, path + len + !!slash, end, attribute) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

xmlNode *plk_element_find(const xmlNode *from, const char *path)
{
    return find(from, path, path + strlen(path), NULL);
}

char *plk_element_text(const xmlNode *from, const char *path)
{
    const char *at = strchr(path, '@');
    const char *end = !at ? path + strlen(path) : at > path ? at - 1 : at;
    const xmlNode *node = find(from, path, end, at ? at + 1 : NULL);

    if (!node)
        return NULL;
    xmlChar *value = at ? xmlGetNoNsProp(node, BAD_CAST(at + 1)) : xmlNodeGetContent(node);
    char *copy = value && *value ? g_strdup((char *)value) : NULL;
    xmlFree(value);
    return copy;
}
