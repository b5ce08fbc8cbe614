/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptor as a struct: life, questions, edits. Text is read in descriptor-read.c and printed in
 * descriptor-write.c.
 *
 * GUIDs are unique among images and among shots (the reader and plk_descriptor_add see to it), so a walk up
 * the parents that takes more steps than there are shots has met a cycle.
 */
#include "format/descriptor.h"

#include <inttypes.h>
#include <libxml/tree.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "format/header.h"
#include "format/xml.h"

#define CHAIN_MAX 128

static void append(PlkDescriptor *desc, const PlkGuid *guid, const PlkGuid *parent, bool plain, char *file)
{
    desc->images[desc->n_images++] = (PlkDescImage){.guid = *guid, .plain = plain, .file = file};
    desc->shots[desc->n_shots++] = (PlkDescShot){.guid = *guid, .parent = *parent};
}

/* Room for one more image and shot. */
static bool make_room(PlkDescriptor *desc)
{
    PlkDescImage *images = plk_realloc(desc->images, desc->n_images + 1, sizeof *images);
    PlkDescShot *shots;

    if (!images)
        return false;
    desc->images = images;
    shots = plk_realloc(desc->shots, desc->n_shots + 1, sizeof *shots);
    if (!shots)
        return false;
    desc->shots = shots;
    return true;
}

int plk_descriptor_new(uint64_t size_sectors, uint32_t cluster_sectors, bool preallocated, bool plain,
                       const char *file, PlkDescriptor *ret, PlkError *err)
{
    PlkDescriptor desc = {
        .cluster_sectors = cluster_sectors, .preallocated = preallocated, .top = PLK_GUID_TOP};
    PLK_FREE char *name = plk_strdup(file);

    if (!name || !make_room(&desc)) {
        plk_descriptor_clear(&desc);
        return plk_fail_nomem(err);
    }
    plk_descriptor_set_size(&desc, size_sectors);
    append(&desc, &PLK_GUID_TOP, &PLK_GUID_NONE, plain, PLK_TAKE(name));
    *ret = desc;
    return 0;
}

void plk_descriptor_drop_tree(PlkDescriptor *desc)
{
    if (desc->tree)
        xmlFreeDoc(desc->tree);
    desc->tree = NULL;
}

void plk_descriptor_clear(PlkDescriptor *desc)
{
    for (size_t i = 0; i < desc->n_images; i++)
        free(desc->images[i].file);
    free(desc->images);
    free(desc->shots);
    plk_descriptor_drop_tree(desc);
    *desc = (PlkDescriptor){0};
}

static bool copy_contents(const PlkDescriptor *from, PlkDescriptor *to)
{
    PlkXmlWatch watch;
    to->images = plk_calloc(from->n_images, sizeof *to->images);
    to->shots = plk_calloc(from->n_shots, sizeof *to->shots);
    if (!to->images || !to->shots)
        return false;
    for (; to->n_images < from->n_images; to->n_images++) {
        PlkDescImage *image = &to->images[to->n_images];

        *image = from->images[to->n_images];
        image->file = plk_strdup(image->file);
        if (!image->file)
            return false;
    }
    for (; to->n_shots < from->n_shots; to->n_shots++)
        to->shots[to->n_shots] = from->shots[to->n_shots];
    if (!from->tree)
        return true;
    plk_xml_watch(&watch);
    to->tree = xmlCopyDoc(from->tree, 1);
    return plk_xml_unwatch(&watch) && to->tree;
}

int plk_descriptor_copy(const PlkDescriptor *desc, PlkDescriptor *ret, PlkError *err)
{
    PlkDescriptor copy = *desc;

    copy.images = NULL;
    copy.shots = NULL;
    copy.n_images = copy.n_shots = 0;
    copy.tree = NULL;
    if (!copy_contents(desc, &copy)) {
        plk_descriptor_clear(&copy);
        return plk_fail_nomem(err);
    }
    *ret = copy;
    return 0;
}

int plk_descriptor_find_image(const PlkDescriptor *desc, const PlkGuid *guid)
{
    for (size_t i = 0; i < desc->n_images; i++)
        if (plk_guid_equal(&desc->images[i].guid, guid))
            return (int)i;
    return -1;
}

int plk_descriptor_find_shot(const PlkDescriptor *desc, const PlkGuid *guid)
{
    for (size_t i = 0; i < desc->n_shots; i++)
        if (plk_guid_equal(&desc->shots[i].guid, guid))
            return (int)i;
    return -1;
}

size_t plk_descriptor_count_children(const PlkDescriptor *desc, const PlkGuid *guid)
{
    size_t n = 0;

    for (size_t i = 0; i < desc->n_shots; i++)
        n += plk_guid_equal(&desc->shots[i].parent, guid);
    return n;
}

/* Fills chain[] from guid down to the base; returns how many, or -1. */
static int walk_to_base(const PlkDescriptor *desc, const PlkGuid *guid, const char *name,
                        int chain[CHAIN_MAX], PlkError *err)
{
    const PlkGuid *at = guid;
    int n = 0;

    while (!plk_guid_equal(at, &PLK_GUID_NONE)) {
        int shot = plk_descriptor_find_shot(desc, at);
        int image = plk_descriptor_find_image(desc, at);

        if ((size_t)n == desc->n_shots)
            return plk_fail(err, PLK_ERROR_DESCRIPTOR, "%s: Shot %s is its own ancestor", name, at->text);
        if (shot < 0)
            return plk_fail(err, PLK_ERROR_DESCRIPTOR, "%s: ParentGUID %s names no Shot", name, at->text);
        if (image < 0)
            return plk_fail(err, PLK_ERROR_DESCRIPTOR, "%s: Shot %s has no Image", name, at->text);
        if (n == CHAIN_MAX)
            return plk_fail(err, PLK_ERROR_DESCRIPTOR, "%s: more than %d images below %s", name, CHAIN_MAX,
                            guid->text);
        chain[n++] = image;
        at = &desc->shots[shot].parent;
    }
    return n;
}

int plk_descriptor_chain(const PlkDescriptor *desc, const PlkGuid *guid, const char *name, int **ret,
                         size_t *ret_n, PlkError *err)
{
    int down[CHAIN_MAX], n;
    int *chain;

    if (plk_descriptor_find_shot(desc, guid) < 0)
        return plk_fail(err, PLK_ERROR_NO_SNAPSHOT, "%s: no snapshot %s", name, guid->text);
    n = walk_to_base(desc, guid, name, down, err);
    if (n < 0)
        return -1;
    chain = plk_calloc((size_t)n, sizeof *chain);
    if (!chain)
        return plk_fail_nomem(err);
    for (int i = 0; i < n; i++)
        chain[i] = down[n - 1 - i];
    *ret = chain;
    *ret_n = (size_t)n;
    return 0;
}

int plk_descriptor_add(PlkDescriptor *desc, const PlkGuid *guid, const PlkGuid *parent, const char *file,
                       PlkError *err)
{
    PLK_FREE char *name = NULL;

    if (plk_descriptor_find_image(desc, guid) >= 0 || plk_descriptor_find_shot(desc, guid) >= 0)
        return plk_fail(err, PLK_ERROR_EXISTS, "snapshot %s exists already", guid->text);
    if (desc->n_images >= PLK_DESC_IMAGES_MAX || desc->n_shots >= PLK_DESC_IMAGES_MAX)
        return plk_fail(err, PLK_ERROR_NO_SPACE, "cannot add image '%s': a disk has at most %d images", file,
                        PLK_DESC_IMAGES_MAX);
    name = plk_strdup(file);
    if (!name || !make_room(desc))
        return plk_fail_nomem(err);
    append(desc, guid, parent, desc->n_images && desc->images[0].plain, PLK_TAKE(name));
    return 0;
}

void plk_descriptor_remove(PlkDescriptor *desc, const PlkGuid *guid)
{
    int image = plk_descriptor_find_image(desc, guid);
    int shot = plk_descriptor_find_shot(desc, guid);

    if (image >= 0) {
        PlkDescImage *at = &desc->images[image];

        free(at->file);
        memmove(at, at + 1, (--desc->n_images - (size_t)image) * sizeof *at);
    }
    if (shot >= 0) {
        PlkDescShot *at = &desc->shots[shot];

        memmove(at, at + 1, (--desc->n_shots - (size_t)shot) * sizeof *at);
    }
}

static void rename_one(PlkGuid *guid, const PlkGuid *from, const PlkGuid *to)
{
    if (plk_guid_equal(guid, from))
        *guid = *to;
}

void plk_descriptor_rename(PlkDescriptor *desc, const PlkGuid *from, const PlkGuid *to)
{
    PlkGuid old = *from, new = *to; /* they may point into desc */

    for (size_t i = 0; i < desc->n_images; i++)
        rename_one(&desc->images[i].guid, &old, &new);
    for (size_t i = 0; i < desc->n_shots; i++) {
        rename_one(&desc->shots[i].guid, &old, &new);
        rename_one(&desc->shots[i].parent, &old, &new);
    }
    rename_one(&desc->top, &old, &new);
}

void plk_descriptor_set_size(PlkDescriptor *desc, uint64_t size_sectors)
{
    uint64_t tracks = (uint64_t)desc->cylinders * desc->heads;
    uint32_t unused;

    desc->size_sectors = size_sectors;
    if (tracks == 0) { /* no geometry yet, or one that was lost */
        plk_geometry(size_sectors, &desc->heads, &desc->cylinders, &unused);
        tracks = PLK_MAX(1, (uint64_t)desc->cylinders * desc->heads);
    }
    desc->sectors = (uint32_t)PLK_MIN(size_sectors / tracks, UINT32_MAX);
}
