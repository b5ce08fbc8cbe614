/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deleting a snapshot: a leaf is dropped, one child is merged down into it (the older file stays, the younger
 * GUID stays), and with more children it is only marked temporary, to go when it can.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "base/seeded.h"
#include "change/operation.h"
#include "disk/intent.h"

static int find_child(const PlkDescriptor *desc, const PlkGuid *guid)
{
    for (size_t i = 0; i < desc->n_shots; i++)
        if (plk_guid_equal(&desc->shots[i].parent, guid))
            return (int)i;
    return -1;
}

/* ---- a leaf ---- */

static int check_leaf(PlkStore *store, const PlkDescShot *shot, PlkError *err)
{
    size_t siblings;

    if (plk_guid_equal(&shot->parent, &PLK_GUID_NONE))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "descriptor '%s/%s': Unable to delete base image",
                        store->dir->path, store->name);
    if (!plk_guid_equal(&shot->guid, &store->desc.top))
        return 0;
    siblings = plk_descriptor_count_children(&store->desc, &shot->parent) - 1;
    if (siblings)
        return plk_fail(
            err, PLK_ERROR_ARGUMENT,
            "descriptor '%s/%s': without the active state, %s would be written to, but %zu other states "
            "depend on it; use snapshot-switch",
            store->dir->path, store->name, shot->parent.text, siblings);
    return 0;
}

/* The parent becomes the active state. */
static int promote(PlkStore *store, const PlkGuid *parent, PlkDescriptor *future, PlkError *err)
{
    plk_cleanup(plk_image_dropp) PlkImage *img = NULL;
    int index = plk_descriptor_find_image(&store->desc, parent);

    if (plk_store_open_image(store, index, 0, &img, err) < 0)
        return -1;
    plk_descriptor_rename(future, parent, &store->desc.top);
    future->top = store->desc.top;
    future->shots[plk_descriptor_find_shot(future, &future->top)].temporary = false;
    if (future->size_sectors != img->header.size_sectors)
        plk_descriptor_set_size(future, img->header.size_sectors);
    return 0;
}

static int delete_leaf(PlkStore *store, const PlkDescShot *shot, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};
    plk_cleanup(plk_image_dropp) PlkImage *img = NULL;
    int index = plk_descriptor_find_image(&store->desc, &shot->guid);
    bool active = plk_guid_equal(&shot->guid, &store->desc.top);
    PlkGuid parent = shot->parent;
    PLK_FREE char *file = NULL;

    if (check_leaf(store, shot, err) < 0)
        return -1;
    file = plk_strdup(store->desc.images[index].file);
    if (!file)
        return plk_fail_nomem(err);
    /* Locked against use; what it holds does not matter any more. */
    if (plk_store_open_image(store, index, PLK_IMAGE_WRITE, &img, err) < 0 ||
        plk_descriptor_copy(&store->desc, &future, err) < 0)
        return -1;
    plk_descriptor_remove(&future, &shot->guid);
    if (active && promote(store, &parent, &future, err) < 0)
        return -1;
    if (PLK_SEEDED(UNLINK_FIRST))
        plk_dir_unlink(store->dir, file);
    if (plk_intent_declare(store, &future, NULL, &file, 1, err) < 0 ||
        plk_store_commit(store, &future, err) < 0)
        return -1;
    plk_store_remove_file(store, file);
    return 0;
}

/* ---- any ---- */

static int mark_temporary(PlkStore *store, int shot, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};

    if (store->desc.shots[shot].temporary)
        return 0;
    if (plk_descriptor_copy(&store->desc, &future, err) < 0)
        return -1;
    future.shots[shot].temporary = true;
    return plk_store_commit(store, &future, err);
}

static int merge_child(PlkStore *store, const PlkGuid *guid, PlkDeleteResult *result,
                       const PlkProgress *progress, PlkError *err)
{
    PlkGuid child = store->desc.shots[find_child(&store->desc, guid)].guid;

    for (size_t i = 0; i < sizeof child.text; i++)
        result->child_guid[i] = child.text[i];
    result->how = PLK_DELETED_MERGED;
    return plk_store_merge_down(store, &child, progress, err);
}

static int delete_one(PlkStore *store, const PlkGuid *guid, PlkDeleteResult *result,
                      const PlkProgress *progress, PlkError *err)
{
    int shot = plk_descriptor_find_shot(&store->desc, guid);

    result->children = plk_descriptor_count_children(&store->desc, guid);
    if (result->children == 0) {
        result->how = PLK_DELETED_LEAF;
        return delete_leaf(store, &store->desc.shots[shot], err);
    }
    if (result->children == 1)
        return merge_child(store, guid, result, progress, err);
    result->how = PLK_DELETED_MARKED;
    return mark_temporary(store, shot, err);
}

int plk_store_delete(PlkStore *store, const PlkGuid *guid, PlkDeleteResult *ret, const PlkProgress *progress,
                     PlkError *err)
{
    PlkDeleteResult result = {0};

    if (plk_store_refuse_old(store, err) < 0 || delete_one(store, guid, &result, progress, err) < 0)
        return -1;
    if (ret)
        *ret = result;
    /* What is asked for is done; what else can go now goes, or waits for the next occasion. */
    (void)plk_store_merge_temporary(store, NULL, progress, NULL);
    return 0;
}

int plk_snapshot_delete(const char *path, const char *root, const char *guid, PlkDeleteResult *ret,
                        const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    PlkGuid g;

    if (plk_store_open_locked(path, root, &store, err) < 0 || plk_store_find_guid(store, guid, &g, err) < 0)
        return -1;
    return plk_store_delete(store, &g, ret, progress, err);
}

/* ---- temporary snapshots ---- */

/* The first temporary shot from `from` on that one child or none keeps; -1 if there is none. */
static int find_disposable(const PlkDescriptor *desc, size_t from)
{
    for (size_t i = from; i < desc->n_shots; i++)
        if (desc->shots[i].temporary && plk_descriptor_count_children(desc, &desc->shots[i].guid) < 2)
            return (int)i;
    return -1;
}

int plk_store_merge_temporary(PlkStore *store, size_t *ret_n, const PlkProgress *progress, PlkError *err)
{
    size_t n = 0, from = 0;
    int i;

    while ((i = find_disposable(&store->desc, from)) >= 0) {
        PlkGuid guid = store->desc.shots[i].guid;
        PlkDeleteResult result;
        PlkError why;

        if (delete_one(store, &guid, &result, progress, &why) == 0) {
            n++;
            from = 0; /* its going may have freed another */
        } else if (why.code == PLK_ERROR_LOCKED || why.code == PLK_ERROR_ARGUMENT) {
            from = (size_t)i + 1; /* in use, or still needed: for a later time */
        } else {
            if (err)
                *err = why;
            plk_error_prefix(err, "temporary snapshot %s: ", guid.text);
            return -1;
        }
    }
    if (ret_n)
        *ret_n = n;
    return 0;
}

int plk_snapshot_merge_temporary(const char *path, const char *root, size_t *ret_n,
                                 const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_locked(path, root, &store, err) < 0)
        return -1;
    return plk_store_merge_temporary(store, ret_n, progress, err);
}
