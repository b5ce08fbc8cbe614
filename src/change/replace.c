/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Swapping an image for an identical copy: by another name in the descriptor, or, to keep the name, by a
 * rename over the old file. Either is one atomic step. "Identical" means length and header; the copy's BAT
 * must be sound.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "change/operation.h"

/* ---- which image ---- */

/* Relative to the descriptor or to this process. */
static int find_by_file(PlkStore *store, const char *file, PlkError *err)
{
    PLK_FREE char *entry = NULL, *wanted = NULL, *beside = plk_path_canonical(store->dir->path, file);

    if (!beside && errno == ENOMEM)
        return plk_fail_nomem(err);
    if (plk_store_file_entry(store, file, &entry, err) < 0)
        return -1;
    wanted = plk_path_canonical(store->dir->path, entry);
    if (!wanted)
        return plk_fail_nomem(err);
    for (size_t i = 0; i < store->desc.n_images; i++) {
        PLK_FREE char *path = plk_path_canonical(store->dir->path, store->desc.images[i].file);

        if (!path && errno == ENOMEM)
            return plk_fail_nomem(err);
        if (path && (strcmp(path, wanted) == 0 || (beside && strcmp(path, beside) == 0)))
            return (int)i;
    }
    return plk_fail(err, PLK_ERROR_ARGUMENT, "descriptor '%s/%s' names no image '%s'", store->dir->path,
                    store->name, file);
}

static int find_by_level(PlkStore *store, int level, PlkError *err)
{
    PLK_FREE int *chain = NULL;
    size_t n;

    if (plk_descriptor_chain(&store->desc, &store->desc.top, store->path, &chain, &n, err) < 0)
        return -1;
    if (level < 0 || (size_t)level >= n)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "descriptor '%s/%s': level %d is outside 0..%zu",
                        store->dir->path, store->name, level, n - 1);
    return chain[level];
}

static int find_image(PlkStore *store, const PlkReplaceSpec *spec, PlkError *err)
{
    PlkGuid guid;

    if (spec->guid) {
        if (plk_store_find_guid(store, spec->guid, &guid, err) < 0)
            return -1;
        return plk_descriptor_find_image(&store->desc, &guid);
    }
    return spec->current_file ? find_by_file(store, spec->current_file, err)
                              : find_by_level(store, spec->level, err);
}

/* ---- is it a copy? ---- */

static int check_page(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++)
        if (slots[i] == PLK_SLOT_BAD || slots[i] == PLK_SLOT_BEYOND)
            return -EUCLEAN;
    return 0;
}

static bool same_header(const PlkImage *a, const PlkImage *b)
{
    uint8_t x[PLK_HEADER_BYTES], y[PLK_HEADER_BYTES];
    PlkHeader h = a->header, g = b->header;

    if (a->kind == PLK_IMAGE_RAW)
        return true;
    h.in_use = g.in_use = PLK_IN_USE_CLOSED;
    plk_header_encode(&h, x);
    plk_header_encode(&g, y);
    return memcmp(x, y, sizeof x) == 0;
}

static int check_copy(PlkImage *old, PlkImage *copy, PlkError *err)
{
    uint64_t a, b;
    int r = plk_io_size(old->io, &a);

    if (r == 0)
        r = plk_io_size(copy->io, &b);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, r, "image '%s'", copy->io->name);
    if (a != b || !same_header(old, copy))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "image '%s' is not a copy of '%s': %s differs",
                        copy->io->name, old->io->name, a != b ? "its length" : "its header");
    r = copy->kind == PLK_IMAGE_RAW ? 0 : plk_image_walk_bat(copy, check_page, NULL);
    if (r == -EUCLEAN && plk_image_explain_bat(copy, err))
        return -1;
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_READ, r, "image '%s': its block allocation table is damaged",
                           copy->io->name);
    return 0;
}

static bool is_in_use(const PlkStore *store, const char *entry)
{
    for (size_t i = 0; i < store->desc.n_images; i++)
        if (strcmp(store->desc.images[i].file, entry) == 0)
            return true;
    return false;
}

/* ---- doing it ---- */

/*
 * Whoever made the copy need not have waited for the disk; once it is named, the old file may go. The copy's name
 * is for the directory sync before the descriptor changes.
 */
static int make_durable(PlkStore *store, PlkImage *copy, const char *entry, PlkError *err)
{
    int r = plk_io_sync(copy->io, PLK_POINT_DATA_SYNC);

    if (r == 0)
        r = plk_dir_include(store->dir, entry);
    return r < 0 ? plk_fail_io(err, PLK_ERROR_SYNC, r, "image '%s'", copy->io->name) : 0;
}

static int rename_over(PlkStore *store, const char *entry, const char *old_file, PlkError *err)
{
    int r = plk_dir_rename(store->dir, entry, old_file, true);

    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_RENAME, r, "cannot rename '%s' to '%s'", entry, old_file);
    r = plk_dir_sync(store->dir);
    return r < 0 ? plk_fail_io(err, PLK_ERROR_SYNC, r, "cannot sync directory '%s'", store->dir->path) : 0;
}

static int rename_entry(PlkStore *store, int index, char **entry, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};

    if (plk_descriptor_copy(&store->desc, &future, err) < 0)
        return -1;
    free(future.images[index].file);
    future.images[index].file = PLK_TAKE(*entry);
    return plk_store_commit(store, &future, err);
}

int plk_store_replace(PlkStore *store, const PlkReplaceSpec *spec, PlkError *err)
{
    plk_cleanup(plk_image_dropp) PlkImage *old = NULL, *copy = NULL;
    PLK_FREE char *entry = NULL;
    unsigned flags;
    int index = find_image(store, spec, err);

    if (index < 0 || plk_store_file_entry(store, spec->new_file, &entry, err) < 0)
        return -1;
    if (plk_dir_exists(store->dir, entry) == -EXDEV)
        return plk_fail_outside(store->dir, entry, PLK_ERROR_ARGUMENT, err);
    if (is_in_use(store, entry))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' is an image of this disk already", spec->new_file);
    flags = plk_store_is_raw(&store->desc, index) ? PLK_IMAGE_IS_RAW : 0;
    if (plk_store_open_image(store, index, PLK_IMAGE_WRITE, &old, err) < 0 ||
        plk_chain_open_image(store->dir, entry, flags | PLK_IMAGE_REFUSE_DIRTY, false,
                             store->desc.cluster_sectors, &copy, err) < 0 ||
        check_copy(old, copy, err) < 0 || make_durable(store, copy, entry, err) < 0)
        return -1;
    if (spec->keep_name)
        return rename_over(store, entry, store->desc.images[index].file, err);
    return rename_entry(store, index, &entry, err);
}

int plk_image_replace(const char *path, const char *root, const PlkReplaceSpec *spec, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_locked(path, root, &store, err) < 0)
        return -1;
    return plk_store_replace(store, spec, err);
}
