/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listing snapshots, taking one of a disk at rest, and going on from another. Each is one descriptor commit;
 * the new delta is complete and named before it, the old one goes after it. online.c takes one of an open
 * disk.
 */
#include <ploopkit/snapshot.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "change/operation.h"
#include "disk/intent.h"

#define STATFS_NAME ".statfs" /* ploop's cache of filesystem figures: those of the active state */

/* ---- looking ---- */

static int fill_item(PlkStore *store, const PlkDescShot *shot, PlkSnapshot *item, PlkError *err)
{
    int i = plk_descriptor_find_image(&store->desc, &shot->guid);

    if (i < 0)
        return plk_fail(err, PLK_ERROR_DESCRIPTOR, "descriptor '%s/%s': snapshot %s has no image",
                        store->dir->path, store->name, shot->guid.text);
    item->path = plk_path_canonical(store->dir->path, store->desc.images[i].file);
    if (!item->path)
        return errno == ENOMEM ? plk_fail_nomem(err)
                               : plk_chain_fail_open(store->dir, store->desc.images[i].file, -errno, err);
    snprintf(item->guid, sizeof item->guid, "%s", shot->guid.text);
    snprintf(item->parent, sizeof item->parent, "%s", shot->parent.text);
    item->active = plk_guid_equal(&shot->guid, &store->desc.top);
    item->temporary = shot->temporary;
    return 0;
}

int plk_snapshot_list(const char *path, const char *root, PlkSnapshotList *ret, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    PlkSnapshotList list = {0};

    if (plk_store_open(path, root, &store, err) < 0 || plk_store_load(store, err) < 0)
        return -1;
    list.items = plk_calloc(store->desc.n_shots, sizeof *list.items);
    if (!list.items)
        return plk_fail_nomem(err);
    for (; list.n < store->desc.n_shots; list.n++)
        if (fill_item(store, &store->desc.shots[list.n], &list.items[list.n], err) < 0) {
            plk_snapshot_list_clear(&list);
            return -1;
        }
    list.old_format = !plk_guid_equal(&store->desc.top, &PLK_GUID_TOP);
    *ret = list;
    return 0;
}

void plk_snapshot_list_clear(PlkSnapshotList *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i].path);
    free(list->items);
    *list = (PlkSnapshotList){0};
}

int plk_snapshot_writer(const char *path, const char *root, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open(path, root, &store, err) < 0 || plk_store_load(store, err) < 0)
        return -1;
    for (size_t i = 0; i < store->desc.n_images; i++) {
        plk_cleanup(plk_io_closep) PlkIo *io = NULL;
        const char *file = store->desc.images[i].file;
        int r = plk_dir_open_file(store->dir, file, 0, 0, &io);

        if (r == -ENOENT) /* nobody writes to it, and who mends the disk wants to see the list */
            continue;
        if (r < 0)
            return plk_chain_fail_open(store->dir, file, r, err);
        r = plk_io_lock_test(io, PLK_IO_LOCK_SHARED);
        if (r < 0)
            return plk_fail_locked(err, io, r);
    }
    return 0;
}

/* ---- what the operations have in common ---- */

int plk_store_refuse_old(const PlkStore *store, PlkError *err)
{
    if (plk_guid_equal(&store->desc.top, &PLK_GUID_TOP))
        return 0;
    return plk_fail(
        err, PLK_ERROR_UNSUPPORTED,
        "descriptor '%s/%s': Snapshot is in old format (the active state is %s); grow the disk or merge to "
        "bring it up to date",
        store->dir->path, store->name, store->desc.top.text);
}

int plk_store_find_guid(const PlkStore *store, const char *text, PlkGuid *ret, PlkError *err)
{
    PlkGuid guid;

    if (!plk_guid_parse(text, &guid))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "Incorrect uuid specified: '%s'", text);
    if (plk_descriptor_find_shot(&store->desc, &guid) < 0)
        return plk_fail(err, PLK_ERROR_NO_SNAPSHOT, "descriptor '%s/%s': Can't find snapshot by uuid %s",
                        store->dir->path, store->name, guid.text);
    *ret = guid;
    return 0;
}

static int check_depth(PlkStore *store, const PlkGuid *guid, PlkError *err)
{
    PLK_FREE int *chain = NULL;
    size_t n;

    if (plk_descriptor_chain(&store->desc, guid, store->path, &chain, &n, err) < 0)
        return -1;
    if (n >= PLK_CHAIN_MAX)
        return plk_fail(
            err, PLK_ERROR_UNSUPPORTED,
            "descriptor '%s/%s': %zu images lie above one another, more than %d cannot; delete or merge "
            "snapshots first",
            store->dir->path, store->name, n, PLK_CHAIN_MAX);
    return 0;
}

int plk_store_plan_snapshot(PlkStore *store, const PlkSnapshotSpec *spec, PlkGuid *ret_guid, PlkError *err)
{
    PlkGuid guid;

    if (plk_store_refuse_old(store, err) < 0)
        return -1;
    if (!spec->guid)
        plk_guid_random(&guid);
    else if (!plk_guid_parse(spec->guid, &guid))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "Incorrect uuid specified: '%s'", spec->guid);
    if (plk_descriptor_find_shot(&store->desc, &guid) >= 0 || plk_guid_equal(&guid, &PLK_GUID_NONE))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "descriptor '%s/%s': The snapshot %s already exist",
                        store->dir->path, store->name, guid.text);
    if (check_depth(store, &store->desc.top, err) < 0)
        return -1;
    *ret_guid = guid;
    return 0;
}

int plk_store_stack(PlkStore *store, const PlkGuid *guid, bool temporary, const char *file,
                    PlkDescriptor *ret, PlkError *err)
{
    PlkDescriptor future = {0};

    if (plk_descriptor_copy(&store->desc, &future, err) < 0)
        return -1;
    plk_descriptor_rename(&future, &PLK_GUID_TOP, guid);
    future.top = PLK_GUID_TOP;
    future.shots[plk_descriptor_find_shot(&future, guid)].temporary = temporary;
    if (plk_descriptor_add(&future, &PLK_GUID_TOP, guid, file, err) < 0) {
        plk_descriptor_clear(&future);
        return -1;
    }
    *ret = future;
    return 0;
}

int plk_store_commit_file(PlkStore *store, PlkDescriptor *future, const char *file, PlkError *err)
{
    if (plk_store_commit(store, future, err) == 0)
        return 0;
    if (!store->committed)
        plk_dir_unlink(store->dir, file);
    return -1;
}

/* ---- taking ---- */

int plk_store_snapshot(PlkStore *store, const PlkSnapshotSpec *spec, PlkGuid *ret_guid, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};
    plk_cleanup(plk_image_dropp) PlkImage *top = NULL;
    PLK_FREE char *file = NULL;
    PlkGuid guid;
    int index;

    if (plk_store_refuse_old(store, err) < 0 || plk_store_merge_temporary(store, NULL, NULL, err) < 0 ||
        plk_store_plan_snapshot(store, spec, &guid, err) < 0)
        return -1;
    file = plk_store_delta_name(store, NULL);
    if (!file)
        return plk_fail_nomem(err);
    index = plk_descriptor_find_image(&store->desc, &PLK_GUID_TOP);
    if (plk_store_settle(store, index, err) < 0 ||
        plk_store_stack(store, &guid, spec->temporary, file, &future, err) < 0)
        return -1;
    /* Held to the end: nobody must begin to write to what becomes a lower image. */
    if (plk_store_open_image(store, index, PLK_IMAGE_WRITE, &top, err) < 0)
        return -1;
    if (plk_intent_declare(store, &future, file, NULL, 0, err) < 0 ||
        plk_store_create_delta(store, file, top, top->header.size_sectors, spec->alloc_full, err) < 0 ||
        plk_store_commit_file(store, &future, file, err) < 0)
        return -1;
    *ret_guid = guid;
    return 0;
}

int plk_snapshot_create(const char *path, const char *root, const PlkSnapshotSpec *spec, char *ret_guid,
                        PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    PlkSnapshotSpec none = {.struct_size = sizeof none};
    PlkGuid guid;

    if (plk_store_open_locked(path, root, &store, err) < 0 ||
        plk_store_snapshot(store, spec ? spec : &none, &guid, err) < 0)
        return -1;
    if (ret_guid)
        memcpy(ret_guid, guid.text, sizeof guid.text);
    return 0;
}

/* ---- switching ---- */

static int check_switch(PlkStore *store, const PlkGuid *guid, PlkError *err)
{
    int shot = plk_descriptor_find_shot(&store->desc, guid);

    if (plk_store_refuse_old(store, err) < 0)
        return -1;
    if (shot < 0)
        return plk_fail(err, PLK_ERROR_NO_SNAPSHOT, "descriptor '%s/%s': Can't find snapshot by uuid %s",
                        store->dir->path, store->name, guid->text);
    if (plk_guid_equal(guid, &PLK_GUID_TOP))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "descriptor '%s/%s': %s is the active state already",
                        store->dir->path, store->name, guid->text);
    if (store->desc.shots[shot].temporary)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "descriptor '%s/%s': snapshot %s is temporary; it cannot be gone on from",
                        store->dir->path, store->name, guid->text);
    return check_depth(store, guid, err);
}

static int plan_switch(PlkStore *store, const PlkGuid *guid, bool keep_old, const PlkImage *below,
                       const char *file, PlkDescriptor *ret, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};
    PlkGuid random;

    if (plk_descriptor_copy(&store->desc, &future, err) < 0)
        return -1;
    plk_guid_random(&random);
    if (keep_old)
        plk_descriptor_rename(&future, &PLK_GUID_TOP, &random);
    else
        plk_descriptor_remove(&future, &PLK_GUID_TOP);
    future.top = PLK_GUID_TOP;
    if (plk_descriptor_add(&future, &PLK_GUID_TOP, guid, file, err) < 0)
        return -1;
    if (future.size_sectors != below->header.size_sectors)
        plk_descriptor_set_size(&future, below->header.size_sectors);
    *ret = future;
    future = (PlkDescriptor){0};
    return 0;
}

int plk_store_switch(PlkStore *store, const PlkGuid *guid, bool keep_old, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};
    plk_cleanup(plk_image_dropp) PlkImage *old = NULL, *below = NULL;
    PLK_FREE char *file = NULL, *old_file = NULL;
    int top = plk_descriptor_find_image(&store->desc, &store->desc.top);

    if (check_switch(store, guid, err) < 0)
        return -1;
    file = plk_store_delta_name(store, NULL);
    old_file = plk_strdup(store->desc.images[top].file);
    if (!file || !old_file)
        return plk_fail_nomem(err);
    if (keep_old && plk_store_settle(store, top, err) < 0)
        return -1;
    if (plk_store_open_image(store, top, PLK_IMAGE_WRITE, &old, err) < 0 ||
        plk_store_open_image(store, plk_descriptor_find_image(&store->desc, guid), 0, &below, err) < 0)
        return -1;
    if (plan_switch(store, guid, keep_old, below, file, &future, err) < 0)
        return -1;
    if (plk_intent_declare(store, &future, file, &old_file, keep_old ? 0 : 1, err) < 0 ||
        plk_store_create_delta(store, file, below, below->header.size_sectors, false, err) < 0 ||
        plk_store_commit_file(store, &future, file, err) < 0)
        return -1;
    if (!keep_old)
        plk_store_remove_file(store, old_file);
    (void)plk_dir_unlink(store->dir, STATFS_NAME);
    return 0;
}

int plk_snapshot_switch(const char *path, const char *root, const char *guid, bool keep_old, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    PlkGuid g;

    if (!plk_guid_parse(guid, &g))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "Incorrect uuid specified: '%s'", guid);
    if (plk_store_open_locked(path, root, &store, err) < 0)
        return -1;
    return plk_store_switch(store, &g, keep_old, err);
}
