/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Merging neighbours of a chain: the lowest image of the range takes what those above it hold and the GUID of
 * the uppermost, in one descriptor commit; then the others go. Or a new file takes everything. fold.c copies.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/seeded.h"
#include "change/fold.h"
#include "change/operation.h"
#include "disk/intent.h"

/* The range: chain[lower .. upper], as indexes into the descriptor's images. */
typedef struct Merge {
    PlkStore *store;
    int *chain;
    size_t lower, upper;
    const char *new_file; /* as the descriptor will name it, or NULL */
    PlkDescriptor future;
    PlkImage **sources; /* uppermost first */
    size_t n_sources;
    char **doomed; /* the sources' files */
} Merge;

static const PlkDescImage *image_at(const Merge *m, size_t level)
{
    return &m->store->desc.images[m->chain[level]];
}

static void merge_clear(Merge *m)
{
    for (size_t i = 0; m->sources && i < m->n_sources; i++)
        plk_image_drop(m->sources[i]);
    for (size_t i = 0; m->doomed && i < m->n_sources; i++)
        free(m->doomed[i]);
    free(m->sources);
    free(m->doomed);
    free(m->chain);
    plk_descriptor_clear(&m->future);
}

/* ---- what is asked for ---- */

static int find_lower(Merge *m, const PlkMergeSpec *spec, PlkError *err)
{
    PlkGuid guid;

    if (spec->all) {
        m->lower = 0;
        return 0;
    }
    m->lower = m->upper - 1;
    if (!spec->down_to)
        return 0;
    if (plk_store_find_guid(m->store, spec->down_to, &guid, err) < 0)
        return -1;
    for (m->lower = m->upper; m->lower-- > 0;)
        if (plk_guid_equal(&image_at(m, m->lower)->guid, &guid))
            return 0;
    return plk_fail(err, PLK_ERROR_ARGUMENT, "snapshot %s is not an ancestor of %s: nothing to merge",
                    guid.text, image_at(m, m->upper)->guid.text);
}

static int find_range(Merge *m, const PlkMergeSpec *spec, PlkError *err)
{
    const PlkDescriptor *desc = &m->store->desc;
    PlkGuid upper = desc->top;
    size_t n;

    if (spec->guid && plk_store_find_guid(m->store, spec->guid, &upper, err) < 0)
        return -1;
    if (plk_descriptor_chain(desc, &upper, m->store->path, &m->chain, &n, err) < 0)
        return -1;
    if (n < 2)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "snapshot %s is the base: it has no parent to be merged into", upper.text);
    m->upper = n - 1;
    if (find_lower(m, spec, err) < 0)
        return -1;
    for (size_t i = m->lower; i < m->upper; i++) {
        const PlkGuid *guid = &image_at(m, i)->guid;
        size_t children = plk_descriptor_count_children(desc, guid);
        if (children != 1)
            return plk_fail(
                err, PLK_ERROR_ARGUMENT,
                "cannot merge into snapshot %s: %zu other states depend on it; delete those first",
                guid->text, children - 1);
    }
    return 0;
}

/* The lowest entry stays where it is in the list: new deltas are named after the first. */
static int plan_descriptor(Merge *m, PlkError *err)
{
    const PlkDescriptor *desc = &m->store->desc;
    PlkGuid upper = image_at(m, m->upper)->guid, lower = image_at(m, m->lower)->guid;
    bool temporary = desc->shots[plk_descriptor_find_shot(desc, &upper)].temporary;
    PlkDescriptor *f = &m->future;
    int i;

    if (plk_descriptor_copy(desc, f, err) < 0)
        return -1;
    for (size_t level = m->lower + 1; level <= m->upper; level++)
        plk_descriptor_remove(f, &image_at(m, level)->guid);
    plk_descriptor_rename(f, &lower, &upper);
    f->top = desc->top;
    f->shots[plk_descriptor_find_shot(f, &upper)].temporary = temporary;
    if (!m->new_file)
        return 0;
    i = plk_descriptor_find_image(f, &upper);
    free(f->images[i].file);
    f->images[i].file = plk_strdup(m->new_file);
    if (!f->images[i].file)
        return plk_fail_nomem(err);
    if (m->lower == 0) { /* the base is a growing ploop image now, whatever it was */
        f->preallocated = false;
        for (size_t k = 0; k < f->n_images; k++)
            f->images[k].plain = false;
    }
    return 0;
}

/* ---- doing it ---- */

static int open_sources(Merge *m, PlkError *err)
{
    size_t lowest = m->new_file ? m->lower : m->lower + 1, n = m->upper + 1 - lowest;

    m->sources = plk_calloc(n, sizeof *m->sources);
    m->doomed = plk_calloc(n, sizeof *m->doomed);
    if (!m->sources || !m->doomed)
        return plk_fail_nomem(err);
    for (size_t level = m->upper + 1; level-- > lowest; m->n_sources++) {
        m->doomed[m->n_sources] = plk_strdup(image_at(m, level)->file);
        if (!m->doomed[m->n_sources])
            return plk_fail_nomem(err);
        if (plk_store_open_image(m->store, m->chain[level], 0, &m->sources[m->n_sources], err) < 0) {
            free(m->doomed[m->n_sources]);
            return -1;
        }
    }
    return 0;
}

static int open_target(Merge *m, PlkImage **ret, PlkError *err)
{
    if (!m->new_file)
        return plk_store_open_image(m->store, m->chain[m->lower], PLK_IMAGE_WRITE, ret, err);
    return plk_store_create_unnamed(m->store, m->sources[0], m->sources[0]->header.size_sectors, false, ret,
                                    err);
}

static int raise_image(Merge *m, size_t level, uint64_t size_sectors, const PlkProgress *progress, PlkError *err)
{
    PlkImage *img;

    if (plk_store_open_image(m->store, m->chain[level], PLK_IMAGE_WRITE, &img, err) < 0)
        return -1;
    if (img->header.size_sectors < size_sectors && plk_image_grow(img, size_sectors, progress, err) < 0) {
        plk_image_drop(img);
        return -1;
    }
    return plk_image_close(img, err);
}

/*
 * The target takes the uppermost's size before the commit. Were an image between them smaller, a crash would
 * leave a chain that narrows towards the top, which nobody opens: those are grown first, from the top down.
 */
static int raise_between(Merge *m, const PlkProgress *progress, PlkError *err)
{
    PlkImage *img;
    uint64_t size;

    if (m->new_file || m->upper - m->lower < 2)
        return 0;
    if (plk_store_open_image(m->store, m->chain[m->upper], 0, &img, err) < 0)
        return -1;
    size = img->header.size_sectors;
    plk_image_drop(img);
    for (size_t level = m->upper - 1; level > m->lower; level--)
        if (raise_image(m, level, size, progress, err) < 0)
            return -1;
    return 0;
}

/* Everything up to, but not including, the commit. */
static int fold(Merge *m, const PlkProgress *progress, PlkError *err)
{
    PlkImage *target;
    bool linked = false;
    unsigned flags = (m->lower == 0 ? PLK_FOLD_BASE : 0) | (m->new_file ? PLK_FOLD_FRESH : 0);
    int r;

    if (open_target(m, &target, err) < 0)
        return -1;
    r = plk_images_fold(m->sources, m->n_sources, target, flags, progress, err);
    if (r == 0 && m->new_file) {
        r = plk_image_publish(target); /* what gets a name is whole */
        if (r == 0)
            r = plk_dir_link(m->store->dir, target->io, m->new_file);
        linked = r == 0;
        if (r < 0)
            plk_fail_io(err, r == -EEXIST ? PLK_ERROR_EXISTS : PLK_ERROR_CREATE, r,
                        "cannot create image '%s' of '%s'", m->new_file, m->store->dir->path);
    }
    if (plk_image_close(target, r < 0 ? NULL : err) < 0)
        r = -1;
    if (r < 0 && linked)
        plk_dir_unlink(m->store->dir, m->new_file);
    return r < 0 ? -1 : 0;
}

static int run(Merge *m, const PlkProgress *progress, PlkError *err)
{
    PlkStore *store = m->store;
    int r;

    for (size_t level = m->lower; level <= m->upper; level++)
        if (plk_store_settle(store, m->chain[level], err) < 0)
            return -1;
    if (raise_between(m, progress, err) < 0 || plan_descriptor(m, err) < 0 || open_sources(m, err) < 0 ||
        plk_intent_declare(store, &m->future, NULL, m->doomed, m->n_sources, err) < 0)
        return -1;
    if (plk_store_begin(store, &m->future, err) < 0)
        return -1;
    if (fold(m, progress, err) < 0) {
        plk_store_abort(store);
        return -1;
    }
    /* A new file was named after begin() had synced the directory. */
    r = m->new_file ? plk_dir_sync(store->dir) : 0;
    if (r < 0) {
        plk_store_abort(store);
        plk_dir_unlink(store->dir, m->new_file);
        return plk_fail_io(err, PLK_ERROR_SYNC, r, "cannot sync directory '%s'", store->dir->path);
    }
    if (PLK_SEEDED(UNLINK_FIRST))
        plk_dir_unlink(store->dir, m->doomed[0]);
    if (plk_store_commit(store, &m->future, err) < 0) {
        if (m->new_file && !store->committed)
            plk_dir_unlink(store->dir, m->new_file);
        return -1;
    }
    for (size_t i = 0; i < m->n_sources; i++)
        plk_store_remove_file(store, m->doomed[i]);
    return 0;
}

int plk_store_merge(PlkStore *store, const PlkMergeSpec *spec, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(merge_clear) Merge m = {.store = store};
    PLK_FREE char *new_file = NULL;

    if (find_range(&m, spec, err) < 0)
        return -1;
    if (spec->new_file) {
        if (plk_store_file_entry(store, spec->new_file, &new_file, err) < 0 ||
            plk_store_refuse_existing(store, new_file, err) < 0)
            return -1;
        m.new_file = new_file;
    }
    return run(&m, progress, err);
}

int plk_store_merge_down(PlkStore *store, const PlkGuid *upper, const PlkProgress *progress, PlkError *err)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .guid = upper->text};

    return plk_store_merge(store, &spec, progress, err);
}

int plk_snapshot_merge(const char *path, const char *root, const PlkMergeSpec *spec,
                       const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_locked(path, root, &store, err) < 0)
        return -1;
    return plk_store_merge(store, spec, progress, err);
}
