/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DiskDescriptor.xml: struct -> text. A copy of the tree the descriptor came from is edited, and only where
 * it says something else than the struct, so everything else stays as its author wrote it. A new descriptor
 * starts from a skeleton: one way of writing for both.
 *
 * New elements take their place in ploop's order and the indentation their siblings have.
 */
#include <inttypes.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "format/descriptor.h"
#include "format/header.h"
#include "format/xml.h"

static const char skeleton[] = "<?xml version=\"1.0\"?>\n"
                               "<Parallels_disk_image>\n"
                               "  <Disk_Parameters>\n"
                               "    <Padding>0</Padding>\n"
                               "  </Disk_Parameters>\n"
                               "  <StorageData>\n"
                               "    <Storage>\n"
                               "      <Start>0</Start>\n"
                               "    </Storage>\n"
                               "  </StorageData>\n"
                               "  <Snapshots/>\n"
                               "</Parallels_disk_image>\n";

static const char *const disk_order[] = {"Disk_size", "Max_delta_size", "Cylinders", "Heads",
                                         "Sectors",   "Padding",        NULL};
static const char *const storage_order[] = {"Start", "End", "Blocksize", "Preallocated", "Image", NULL};
static const char *const image_order[] = {"GUID", "Type", "File", NULL};
static const char *const snapshots_order[] = {"TopGUID", "Shot", NULL};
static const char *const shot_order[] = {"GUID", "ParentGUID", "Temporary", NULL};

/*
 * One element being edited. nomem is the watch's: sticky and shared. What was made without memory may lack a name or
 * its text, so no function below looks at a node once it is set.
 */
typedef struct Edit {
    xmlNode *node;
    const char *const *order; /* of its children */
    bool *nomem;
} Edit;

static xmlNode *child_named(const xmlNode *parent, const char *name)
{
    for (xmlNode *node = parent->children; node; node = node->next)
        if (node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0)
            return node;
    return NULL;
}

static bool is_blank(const xmlNode *node)
{
    return node && node->type == XML_TEXT_NODE && xmlIsBlankNode(node);
}

/* The last child that stands before a new `name` in ploop's order; NULL = it comes first. */
static xmlNode *place_of(const Edit *at, const char *name)
{
    xmlNode *after = NULL;

    for (size_t i = 0; at->order[i]; i++) {
        for (xmlNode *node = at->node->children; node; node = node->next)
            if (node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, at->order[i]) == 0)
                after = node;
        if (strcmp(at->order[i], name) == 0)
            break;
    }
    return after;
}

static xmlNode *new_text(const Edit *at, const char *text)
{
    xmlNode *node = xmlNewDocText(at->node->doc, (const xmlChar *)text);

    *at->nomem |= !node;
    return node;
}

static int depth_of(const xmlNode *node)
{
    int depth = 0;

    while ((node = node->parent) && node->type == XML_ELEMENT_NODE)
        depth++;
    return depth;
}

/* What stands between the children of an element, or would; "" where nothing is indented. */
static char *indent_of(const Edit *at, int depth)
{
    const xmlNode *first = at->node->children;
    const xmlNode *root = xmlDocGetRootElement(at->node->doc);
    char *text;

    if (is_blank(first))
        text = plk_strdup((const char *)first->content);
    else if (first || !is_blank(root->children))
        text = plk_strdup("");
    else
        text = plk_printf("\n%*s", 2 * depth, "");
    *at->nomem |= !text;
    return text;
}

/* xmlAddNextSibling() merges adjacent texts; here an element always stands between them. */
static void add_text_before(const Edit *at, xmlNode *node, const char *text)
{
    xmlNode *blank = *text ? new_text(at, text) : NULL;

    if (blank)
        xmlAddPrevSibling(node, blank);
}

static xmlNode *insert(const Edit *at, const char *name)
{
    xmlNode *after, *first = at->node->children, *node;
    PLK_FREE char *indent = NULL;

    if (*at->nomem)
        return NULL;
    after = place_of(at, name);
    if (is_blank(first) && !first->next) { /* <Snapshots> </Snapshots> is as good as empty */
        xmlUnlinkNode(first);
        xmlFreeNode(first);
        first = NULL;
    }
    indent = indent_of(at, depth_of(at->node) + 1);
    node = xmlNewDocRawNode(at->node->doc, at->node->ns, (const xmlChar *)name, NULL);
    if (!node || !indent) {
        *at->nomem = true;
        xmlFreeNode(node);
        return NULL;
    }
    if (after) {
        xmlAddNextSibling(after, node);
        add_text_before(at, node, indent);
    } else if (is_blank(first)) {
        xmlAddPrevSibling(first, node);
        add_text_before(at, node, indent);
    } else if (first) {
        xmlAddPrevSibling(first, node);
    } else {
        xmlAddChild(at->node, node);
        add_text_before(at, node, indent);
        if (*indent) {
            indent[strlen(indent) - 2] = '\0'; /* the closing tag stands one step to the left */
            xmlAddNextSibling(node, new_text(at, indent));
        }
    }
    return node;
}

static void remove_node(xmlNode *node)
{
    xmlNode *before = node->prev;

    if (is_blank(before)) {
        xmlUnlinkNode(before);
        xmlFreeNode(before);
    }
    xmlUnlinkNode(node);
    xmlFreeNode(node);
}

static void set_text(const Edit *at, const char *name, const char *text)
{
    xmlNode *node = *at->nomem ? NULL : child_named(at->node, name);

    if (!node)
        node = insert(at, name);
    if (!node || *at->nomem)
        return;
    xmlNodeSetContent(node, NULL);
    xmlNodeAddContent(node, (const xmlChar *)text);
    *at->nomem |= *text && !node->children;
}

/* The text of a child, to be freed; NULL = no such child. */
static char *text_of(const Edit *at, const char *name)
{
    xmlNode *node = *at->nomem ? NULL : child_named(at->node, name);
    xmlChar *content = node ? xmlNodeGetContent(node) : NULL;
    char *text = content ? plk_strdup((const char *)content) : NULL;

    *at->nomem |= node && !text;
    xmlFree(content);
    return text;
}

static void set_number(const Edit *at, const char *name, uint64_t value)
{
    PLK_FREE char *old = text_of(at, name);
    char text[24];
    uint64_t v;

    if (old && plk_descriptor_number(old, UINT64_MAX, &v) && v == value)
        return;
    snprintf(text, sizeof text, "%" PRIu64, value);
    set_text(at, name, text);
}

static void drop(const Edit *at, const char *name)
{
    xmlNode *node = *at->nomem ? NULL : child_named(at->node, name);

    if (node)
        remove_node(node);
}

static void set_string(const Edit *at, const char *name, const char *value)
{
    PLK_FREE char *old = text_of(at, name);

    if (!old || strcmp(old, value) != 0)
        set_text(at, name, value);
}

static Edit enter(const Edit *at, xmlNode *node, const char *const *order)
{
    return (Edit){.node = node, .order = order, .nomem = at->nomem};
}

static void edit_disk(const Edit *disk, const PlkDescriptor *desc)
{
    PlkDescriptor fixed = *desc; /* descriptors without a geometry get one: old readers divide by it */

    if (desc->size_sectors == 0)
        return;
    if (desc->cylinders == 0 || desc->heads == 0)
        plk_descriptor_set_size(&fixed, desc->size_sectors);
    set_number(disk, "Disk_size", desc->size_sectors);
    set_number(disk, "Cylinders", fixed.cylinders);
    set_number(disk, "Heads", fixed.heads);
    set_number(disk, "Sectors", fixed.sectors);
}

static void edit_image(const Edit *at, const PlkDescImage *image)
{
    PLK_FREE char *type = text_of(at, "Type");

    if (*at->nomem)
        return;
    set_string(at, "GUID", image->guid.text);
    if (!type || image->plain != (strcmp(type, "Plain") == 0))
        set_text(at, "Type", image->plain ? "Plain" : "Compressed");
    set_string(at, "File", image->file);
}

static void edit_shot(const Edit *at, const PlkDescShot *shot)
{
    bool temporary;

    if (*at->nomem)
        return;
    temporary = child_named(at->node, "Temporary") != NULL;
    set_string(at, "GUID", shot->guid.text);
    set_string(at, "ParentGUID", shot->parent.text);
    if (temporary && !shot->temporary)
        drop(at, "Temporary");
    else if (shot->temporary && !temporary)
        insert(at, "Temporary");
}

/* The elements of that name under at, in *ret (to be freed), numbered from 1; returns the last number. */
static size_t number_elements(const Edit *at, const char *name, xmlNode ***ret)
{
    size_t n = 0, max = xmlChildElementCount(at->node);
    xmlNode **nodes = plk_calloc(max + 1, sizeof *nodes);

    *at->nomem |= !nodes;
    for (xmlNode *node = at->node->children; !*at->nomem && node; node = node->next)
        if (node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0)
            nodes[++n] = node;
    *ret = nodes;
    return n;
}

/* The element an item came from, or a new one. It stays. */
static Edit enter_element(const Edit *list, xmlNode **nodes, size_t last, size_t element, const char *name,
                          const char *const *order)
{
    xmlNode *node = element <= last ? PLK_TAKE(nodes[element]) : NULL;

    return enter(list, node ? node : insert(list, name), order);
}

/* Those no item came back for. */
static void remove_rest(const Edit *list, xmlNode **nodes, size_t last)
{
    for (size_t i = 1; !*list->nomem && i <= last; i++)
        if (nodes[i])
            remove_node(nodes[i]);
}

static void edit_images(const Edit *storage, const PlkDescriptor *desc)
{
    PLK_FREE xmlNode **nodes = NULL;
    size_t last = number_elements(storage, "Image", &nodes);

    for (size_t i = 0; i < desc->n_images && !*storage->nomem; i++) {
        Edit at = enter_element(storage, nodes, last, desc->images[i].element, "Image", image_order);

        if (at.node)
            edit_image(&at, &desc->images[i]);
    }
    remove_rest(storage, nodes, last);
}

static void edit_shots(const Edit *snapshots, const PlkDescriptor *desc)
{
    PLK_FREE xmlNode **nodes = NULL;
    size_t last = number_elements(snapshots, "Shot", &nodes);

    for (size_t i = 0; i < desc->n_shots && !*snapshots->nomem; i++) {
        Edit at = enter_element(snapshots, nodes, last, desc->shots[i].element, "Shot", shot_order);

        if (at.node)
            edit_shot(&at, &desc->shots[i]);
    }
    remove_rest(snapshots, nodes, last);
}

static void edit_tree(xmlDoc *doc, const PlkDescriptor *desc, bool *nomem)
{
    Edit root = {xmlDocGetRootElement(doc), NULL, nomem};
    Edit disk = enter(&root, child_named(root.node, "Disk_Parameters"), disk_order);
    Edit storage = enter(&root, child_named(child_named(root.node, "StorageData"), "Storage"), storage_order);
    Edit snapshots = enter(&root, child_named(root.node, "Snapshots"), snapshots_order);

    edit_disk(&disk, desc);
    if (desc->max_delta_size)
        set_number(&disk, "Max_delta_size", desc->max_delta_size);
    else
        drop(&disk, "Max_delta_size");
    if (desc->size_sectors)
        set_number(&storage, "End", desc->size_sectors);
    set_number(&storage, "Blocksize", desc->cluster_sectors);
    if (desc->preallocated)
        set_number(&storage, "Preallocated", 1);
    else
        drop(&storage, "Preallocated");
    edit_images(&storage, desc);
    set_string(&snapshots, "TopGUID", desc->top.text);
    edit_shots(&snapshots, desc);
}

static xmlDoc *copy_tree(const PlkDescriptor *desc)
{
    if (desc->tree)
        return xmlCopyDoc(desc->tree, 1);
    return xmlReadMemory(skeleton, sizeof skeleton - 1, NULL, NULL, XML_PARSE_NONET);
}

/* XML has no way to write control bytes, nor what is not UTF-8. */
static bool can_be_written(const char *file)
{
    for (const unsigned char *p = (const unsigned char *)file; *p; p++)
        if (*p < 0x20 && *p != '\t' && *p != '\n' && *p != '\r')
            return false;
    return xmlCheckUTF8((const xmlChar *)file);
}

static int check_files(const PlkDescriptor *desc, PlkError *err)
{
    for (size_t i = 0; i < desc->n_images; i++)
        if (!can_be_written(desc->images[i].file))
            return plk_fail(err, PLK_ERROR_ARGUMENT, "a descriptor cannot hold the file name '%s'",
                            desc->images[i].file);
    return 0;
}

/* NULL = want of memory; a text that lacks something never leaves here. */
static xmlChar *print_xml(const PlkDescriptor *desc, int *ret_len)
{
    xmlChar *xml = NULL;
    PlkXmlWatch watch;
    xmlDoc *doc;

    plk_xml_watch(&watch);
    doc = copy_tree(desc);
    if (doc && !watch.nomem)
        edit_tree(doc, desc, &watch.nomem);
    if (doc && !watch.nomem)
        xmlDocDumpMemory(doc, &xml, ret_len);
    xmlFreeDoc(doc);
    if (plk_xml_unwatch(&watch))
        return xml;
    xmlFree(xml);
    return NULL;
}

int plk_descriptor_print(const PlkDescriptor *desc, char **ret, size_t *ret_len, PlkError *err)
{
    xmlChar *xml;
    char *text;
    int len = 0;

    if (check_files(desc, err) != 0)
        return -1;
    xml = print_xml(desc, &len);
    text = xml ? plk_malloc((size_t)len + 1) : NULL;
    if (text)
        memcpy(text, xml, (size_t)len + 1);
    xmlFree(xml);
    if (!text)
        return plk_fail_nomem(err);
    *ret = text;
    *ret_len = (size_t)len;
    return 0;
}
