/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DiskDescriptor.xml: text -> struct. As lenient as the ploop command where it is harmless, and strict where
 * two readers could understand two different disks.
 *
 * The text may come from anybody. Before libxml2 sees it, look_hostile() refuses what its parser needs
 * long for; the parser is stopped at the first error and at any DOCTYPE, so there are no
 * entities to expand and nothing to load.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/tree.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "format/descriptor.h"
#include "format/header.h"
#include "format/xml.h"

#define TAGS_MAX 65536    /* opening and closing; 1024 snapshots need 16384 */
#define ATTRIBUTES_MAX 64 /* of one element */
#define NAMESPACES_MAX 64 /* declared in the whole text */

/* The id under which Parallels keeps backups; it names no state of the disk. */
static const PlkGuid GUID_BACKUP = {"{704718e1-2314-44c8-9087-d78ed36b0f4e}"};

typedef struct Reader {
    const char *name; /* of the file, for messages */
    PlkError *err;
    char problem[256]; /* the parser's first complaint */
    int line;
    bool nomem; /* that was it */
} Reader;

PLK_DEFINE_CLEANUP(xmlDoc, xmlFreeDoc)
PLK_DEFINE_CLEANUP(xmlParserCtxt, xmlFreeParserCtxt)

#define refuse(reader, fmt, ...)                                                                             \
    plk_fail((reader)->err, PLK_ERROR_DESCRIPTOR, "%s: " fmt, (reader)->name, ##__VA_ARGS__)

/*
 * Counts what could be attributes, wherever it stands: two quotes each between one '<' and the next. It does
 * not ask whether that is a tag, a comment or broken, so no parser can disagree with it.
 */
static int look_hostile(Reader *r, const char *text, size_t len)
{
    unsigned tags = 0, quotes = 0, namespaces = 0;

    if (memchr(text, '\0', len))
        return refuse(r, "not XML: contains a NUL byte");
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '<') {
            quotes = 0;
            tags++;
        } else if (text[i] == '"' || text[i] == '\'') {
            quotes++;
        } else if (text[i] == 'x' && len - i >= 5 && memcmp(text + i, "xmlns", 5) == 0) {
            namespaces++;
        }
        if (tags > TAGS_MAX)
            return refuse(r, "more than %d tags", TAGS_MAX);
        if (quotes > 2 * ATTRIBUTES_MAX)
            return refuse(r, "more than %d attributes in one element", ATTRIBUTES_MAX);
        if (namespaces > NAMESPACES_MAX)
            return refuse(r, "more than %d namespaces", NAMESPACES_MAX);
    }
    return 0;
}

static void stop(xmlParserCtxt *parser, int line, const char *problem)
{
    Reader *r = parser->_private;

    if (!r->problem[0]) {
        snprintf(r->problem, sizeof r->problem, "%s", problem);
        r->problem[strcspn(r->problem, "\n")] = '\0';
        r->line = line;
    }
    xmlStopParser(parser);
}

/* libxml2 goes on after an error to look for more; a megabyte of them would take a second. */
static void on_problem(void *arg, xmlError *problem)
{
    Reader *r = ((xmlParserCtxt *)arg)->_private;

    r->nomem |= problem->code == XML_ERR_NO_MEMORY;
    if (problem->level >= XML_ERR_ERROR)
        stop(arg, problem->line, problem->message ? problem->message : "malformed XML");
}

static void on_doctype(void *arg, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
    stop(arg, xmlSAX2GetLineNumber(arg), "a document type is not allowed");
}

/* Forcing UTF-8 makes it look declared, and printing would then add a declaration nobody wrote. */
static void forget_undeclared_encoding(xmlDoc *doc, const char *text, size_t len)
{
    const char *end = memmem(text, len, "?>", 2);

    if (end && memmem(text, (size_t)(end - text), "encoding", 8))
        return;
    xmlFree((xmlChar *)doc->encoding);
    doc->encoding = NULL;
}

/*
 * The parser reads the text itself. Given a buffer of libxml2's own, as xmlCtxtReadMemory() does, it makes that grow
 * again and again, and when there is no memory for it, reads through NULL. `text` ends in a NUL. UTF-8 whatever it
 * declares: other encodings could hide tags from look_hostile().
 */
static bool feed(xmlParserCtxt *parser, const char *text)
{
    bool marked = strncmp(text, "\xef\xbb\xbf", 3) == 0;
    xmlParserInput *input = xmlNewStringInputStream(parser, (const xmlChar *)text + (marked ? 3 : 0));

    if (!input || inputPush(parser, input) < 0) {
        xmlFreeInputStream(input);
        return false;
    }
    xmlCtxtUseOptions(parser, XML_PARSE_NONET | XML_PARSE_IGNORE_ENC);
    parser->encoding = xmlStrdup((const xmlChar *)"UTF-8");
    return parser->encoding != NULL;
}

static xmlDoc *run_parser(xmlParserCtxt *parser)
{
    xmlDoc *doc;

    xmlParseDocument(parser);
    doc = PLK_TAKE(parser->myDoc);
    if (parser->wellFormed)
        return doc;
    xmlFreeDoc(doc);
    return NULL;
}

static xmlDoc *parse_xml(Reader *r, const char *text, size_t len)
{
    plk_cleanup(xmlFreeParserCtxtp) xmlParserCtxt *parser = xmlNewParserCtxt();
    PLK_FREE char *copy = plk_malloc(len + 1);
    xmlDoc *doc;

    if (copy) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    if (!copy || !parser || !feed(parser, copy)) {
        plk_fail_nomem(r->err);
        return NULL;
    }
    parser->_private = r;
    parser->sax->serror = on_problem;
    parser->sax->internalSubset = on_doctype;
    doc = run_parser(parser);
    if (doc && !r->problem[0]) {
        forget_undeclared_encoding(doc, text, len);
        return doc;
    }
    if (doc)
        xmlFreeDoc(doc);
    if (r->nomem || !r->problem[0]) /* what is not XML has a problem */
        plk_fail_nomem(r->err);
    else
        refuse(r, "line %d: %s", r->line, r->problem);
    return NULL;
}

/* The next element of that name among `node` and its followers. */
static xmlNode *next_named(xmlNode *node, const char *name)
{
    for (; node; node = node->next)
        if (node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0)
            return node;
    return NULL;
}

/* *ret_node is NULL when there is none; two are an error, because readers would differ in which one counts.
 */
static int find_one(Reader *r, xmlNode *parent, const char *name, xmlNode **ret_node)
{
    xmlNode *node = next_named(parent->children, name), *second = node ? next_named(node->next, name) : NULL;

    if (second)
        return refuse(r, "line %ld: a second %s", xmlGetLineNo(second), name);
    *ret_node = node;
    return 0;
}

static int require_one(Reader *r, xmlNode *parent, const char *name, xmlNode **ret_node)
{
    xmlNode *node = NULL;

    if (find_one(r, parent, name, &node) != 0)
        return -1;
    if (!node)
        return refuse(r, "line %ld: %s has no %s", xmlGetLineNo(parent), (const char *)parent->name, name);
    *ret_node = node;
    return 0;
}

/* The text of child `name`, to be freed; *ret is NULL when there is no such child. */
static int read_text(Reader *r, xmlNode *parent, const char *name, char **ret)
{
    xmlNode *node;
    xmlChar *content;
    char *text;

    if (find_one(r, parent, name, &node) != 0)
        return -1;
    if (!node) {
        *ret = NULL;
        return 0;
    }
    content = xmlNodeGetContent(node);
    text = content ? plk_strdup((const char *)content) : NULL;
    xmlFree(content);
    if (!text)
        return plk_fail_nomem(r->err);
    *ret = text;
    return 0;
}

bool plk_descriptor_number(const char *text, uint64_t max, uint64_t *ret)
{
    unsigned long long v;
    char *end;

    text += strspn(text, " \t\r\n");
    if (!isdigit((unsigned char)*text)) /* strtoull would take signs */
        return false;
    errno = 0;
    v = strtoull(text, &end, 0);
    end += strspn(end, " \t\r\n");
    if (errno || *end || v > max)
        return false;
    *ret = v;
    return true;
}

/* Missing or unreadable numbers are 0: so ploop reads them, and the image header knows better. */
static int read_number(Reader *r, xmlNode *parent, const char *name, uint64_t max, uint64_t *ret)
{
    PLK_FREE char *text = NULL;

    if (read_text(r, parent, name, &text) != 0)
        return -1;
    if (!text || !plk_descriptor_number(text, max, ret))
        *ret = 0;
    return 0;
}

static int read_u32(Reader *r, xmlNode *parent, const char *name, uint32_t *ret)
{
    uint64_t v;

    if (read_number(r, parent, name, UINT32_MAX, &v) != 0)
        return -1;
    *ret = (uint32_t)v;
    return 0;
}

static int read_guid(Reader *r, xmlNode *parent, const char *name, PlkGuid *ret)
{
    PLK_FREE char *text = NULL;
    xmlNode *node;

    if (require_one(r, parent, name, &node) != 0 || read_text(r, parent, name, &text) != 0)
        return -1;
    if (text[0] != '{' || !plk_guid_parse(text, ret))
        return refuse(r, "line %ld: %s '%.60s' is not a GUID", xmlGetLineNo(node), name, text);
    return 0;
}

/* The name of an image or snapshot, which can be anything but one of the two that mean none. */
static int read_name(Reader *r, xmlNode *parent, PlkGuid *ret)
{
    PlkGuid guid;

    if (read_guid(r, parent, "GUID", &guid) != 0)
        return -1;
    if (plk_guid_equal(&guid, &PLK_GUID_NONE))
        return refuse(r, "line %ld: %s has the GUID that means none", xmlGetLineNo(parent),
                      (const char *)parent->name);
    *ret = guid;
    return 0;
}

static int read_disk(Reader *r, xmlNode *root, PlkDescriptor *desc)
{
    xmlNode *disk;

    if (require_one(r, root, "Disk_Parameters", &disk) != 0 ||
        read_number(r, disk, "Disk_size", UINT64_MAX, &desc->size_sectors) != 0 ||
        read_number(r, disk, "Max_delta_size", UINT64_MAX, &desc->max_delta_size) != 0 ||
        read_u32(r, disk, "Cylinders", &desc->cylinders) != 0 ||
        read_u32(r, disk, "Heads", &desc->heads) != 0)
        return -1;
    return read_u32(r, disk, "Sectors", &desc->sectors);
}

static int read_preallocated(Reader *r, xmlNode *storage, bool *ret)
{
    PLK_FREE char *text = NULL;
    uint64_t v = 0;

    if (read_text(r, storage, "Preallocated", &text) != 0)
        return -1;
    if (text && !plk_descriptor_number(text, 1, &v))
        return refuse(r, "Preallocated is '%.40s', neither 0 nor 1", text);
    *ret = v;
    return 0;
}

static int read_image(Reader *r, xmlNode *node, PlkDescImage *image)
{
    PLK_FREE char *type = NULL, *file = NULL;

    if (read_name(r, node, &image->guid) != 0 || read_text(r, node, "Type", &type) != 0 ||
        read_text(r, node, "File", &file) != 0)
        return -1;
    if (!file || !file[0])
        return refuse(r, "line %ld: Image has no File name", xmlGetLineNo(node));
    if (strlen(file) >= PATH_MAX)
        return refuse(r, "line %ld: File name is longer than %d bytes", xmlGetLineNo(node), PATH_MAX - 1);
    image->plain = type && strcmp(type, "Plain") == 0;
    image->file = PLK_TAKE(file);
    return 0;
}

static int read_shot(Reader *r, xmlNode *node, PlkDescShot *shot)
{
    if (read_name(r, node, &shot->guid) != 0)
        return -1;
    shot->temporary = next_named(node->children, "Temporary") != NULL;
    return read_guid(r, node, "ParentGUID", &shot->parent);
}

static size_t count_named(xmlNode *parent, const char *name)
{
    size_t n = 0;

    for (xmlNode *node = next_named(parent->children, name); node; node = next_named(node->next, name))
        n++;
    return n;
}

static int read_images(Reader *r, xmlNode *storage, PlkDescriptor *desc)
{
    size_t n = count_named(storage, "Image");

    if (n == 0)
        return refuse(r, "Storage has no Image");
    if (n > PLK_DESC_IMAGES_MAX)
        return refuse(r, "%zu images, more than %d", n, PLK_DESC_IMAGES_MAX);
    desc->images = plk_calloc(n, sizeof *desc->images);
    if (!desc->images)
        return plk_fail_nomem(r->err);
    for (xmlNode *node = next_named(storage->children, "Image"); node;
         node = next_named(node->next, "Image")) {
        PlkDescImage *image = &desc->images[desc->n_images];

        if (read_image(r, node, image) != 0)
            return -1;
        image->element = ++desc->n_images;
    }
    return 0;
}

static int read_storage(Reader *r, xmlNode *root, PlkDescriptor *desc)
{
    xmlNode *data, *storage;

    if (require_one(r, root, "StorageData", &data) != 0 || require_one(r, data, "Storage", &storage) != 0 ||
        read_u32(r, storage, "Blocksize", &desc->cluster_sectors) != 0 ||
        read_preallocated(r, storage, &desc->preallocated) != 0)
        return -1;
    if (!plk_cluster_is_valid(desc->cluster_sectors))
        return refuse(r, "Blocksize of %" PRIu32 " sectors is not a power of two from %u to %u",
                      desc->cluster_sectors, PLK_CLUSTER_SECTORS_MIN, PLK_CLUSTER_SECTORS_MAX);
    if (read_images(r, storage, desc) != 0)
        return -1;
    for (size_t i = 0; i < desc->n_images; i++)
        if (desc->preallocated && desc->images[i].plain)
            return refuse(r, "Preallocated is 1 but Image %s is Plain", desc->images[i].guid.text);
    return 0;
}

static int read_shots(Reader *r, xmlNode *snapshots, PlkDescriptor *desc)
{
    size_t n = count_named(snapshots, "Shot");

    if (n > PLK_DESC_IMAGES_MAX)
        return refuse(r, "%zu shots, more than %d", n, PLK_DESC_IMAGES_MAX);
    desc->shots = plk_calloc(n + 1, sizeof *desc->shots);
    if (!desc->shots)
        return plk_fail_nomem(r->err);
    for (xmlNode *node = next_named(snapshots->children, "Shot"); node;
         node = next_named(node->next, "Shot")) {
        PlkDescShot *shot = &desc->shots[desc->n_shots];

        if (read_shot(r, node, shot) != 0)
            return -1;
        shot->element = ++desc->n_shots;
    }
    if (n == 0 && desc->n_images == 1) /* very old descriptors have none */
        desc->shots[desc->n_shots++] = (PlkDescShot){.guid = desc->top, .parent = PLK_GUID_NONE};
    if (desc->n_shots != desc->n_images)
        return refuse(r, "%zu images but %zu shots", desc->n_images, desc->n_shots);
    return 0;
}

static int read_snapshots(Reader *r, xmlNode *root, PlkDescriptor *desc)
{
    xmlNode *snapshots, *top;
    int shot;

    desc->top = PLK_GUID_TOP;
    if (require_one(r, root, "Snapshots", &snapshots) != 0 || find_one(r, snapshots, "TopGUID", &top) != 0)
        return -1;
    if (top && read_guid(r, snapshots, "TopGUID", &desc->top) != 0)
        return -1;
    if (plk_guid_equal(&desc->top, &PLK_GUID_NONE)) /* without Shots nothing else would notice */
        return refuse(r, "TopGUID has the GUID that means none");
    if (plk_guid_equal(&desc->top, &GUID_BACKUP))
        return refuse(r, "TopGUID %s is reserved for backups", desc->top.text);
    if (read_shots(r, snapshots, desc) != 0)
        return -1;
    shot = plk_descriptor_find_shot(desc, &desc->top);
    if (shot < 0)
        return refuse(r, "TopGUID %s names no Shot", desc->top.text);
    if (desc->shots[shot].temporary)
        return refuse(r, "the top Shot %s is Temporary", desc->top.text);
    return 0;
}

static int compare_guids(const void *a, const void *b)
{
    return strcasecmp((*(const PlkGuid *const *)a)->text, (*(const PlkGuid *const *)b)->text);
}

/* `stride` is the size of the structs, each of which begins with its GUID. */
static int check_unique(Reader *r, const char *what, const void *structs, size_t stride, size_t n)
{
    PLK_FREE const PlkGuid **sorted = plk_calloc(n, sizeof *sorted);

    if (!sorted)
        return plk_fail_nomem(r->err);
    for (size_t i = 0; i < n; i++)
        sorted[i] = (const PlkGuid *)((const char *)structs + i * stride);
    qsort(sorted, n, sizeof *sorted, compare_guids);
    for (size_t i = 1; i < n; i++)
        if (plk_guid_equal(sorted[i - 1], sorted[i]))
            return refuse(r, "two %s have the GUID %s", what, sorted[i]->text);
    return 0;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A file under two states would be merged into itself, and removed. */
static int check_files(Reader *r, const PlkDescriptor *desc)
{
    PLK_FREE const char **sorted = plk_calloc(desc->n_images, sizeof *sorted);

    if (!sorted)
        return plk_fail_nomem(r->err);
    for (size_t i = 0; i < desc->n_images; i++)
        sorted[i] = desc->images[i].file;
    qsort(sorted, desc->n_images, sizeof *sorted, compare_files);
    for (size_t i = 1; i < desc->n_images; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            return refuse(r, "two images have the File '%s'", sorted[i]);
    return 0;
}

static int read_tree(Reader *r, xmlDoc *doc, PlkDescriptor *desc)
{
    xmlNode *root = xmlDocGetRootElement(doc); /* whatever its name: products differ, and ploop never looks */

    if (!root)
        return refuse(r, "no root element");
    if (read_disk(r, root, desc) != 0 || read_storage(r, root, desc) != 0 ||
        read_snapshots(r, root, desc) != 0)
        return -1;
    if (check_unique(r, "images", desc->images, sizeof *desc->images, desc->n_images) != 0 ||
        check_files(r, desc) != 0)
        return -1;
    return check_unique(r, "shots", desc->shots, sizeof *desc->shots, desc->n_shots);
}

static int read_all(Reader *r, const char *text, size_t len, PlkDescriptor *ret)
{
    plk_cleanup(xmlFreeDocp) xmlDoc *doc = parse_xml(r, text, len);
    PlkDescriptor desc = {0};

    if (!doc)
        return -1;
    if (read_tree(r, doc, &desc) != 0) {
        plk_descriptor_clear(&desc);
        return -1;
    }
    desc.tree = PLK_TAKE(doc);
    *ret = desc;
    return 0;
}

int plk_descriptor_parse(const char *text, size_t len, const char *name, PlkDescriptor *ret, PlkError *err)
{
    Reader r = {.name = name, .err = err};
    PlkDescriptor desc = {0};
    PlkXmlWatch watch;
    int failed;

    if (len > PLK_DESC_TEXT_MAX)
        return refuse(&r, "%zu bytes, more than the %u a descriptor may have", len, PLK_DESC_TEXT_MAX);
    if (look_hostile(&r, text, len) != 0)
        return -1;
    plk_xml_watch(&watch);
    failed = read_all(&r, text, len, &desc);
    if (!plk_xml_unwatch(&watch)) {
        plk_descriptor_clear(&desc);
        return plk_fail_nomem(err);
    }
    if (failed)
        return -1;
    *ret = desc;
    return 0;
}
