/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A scratch delta; scratch.h says what for. It has no name until it is committed, so a crash while the helper
 * works leaves nothing at all.
 */
#include "change/scratch.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "change/operation.h"
#include "disk/intent.h"

struct PlkScratch {
    PlkStore *store;
    PlkDisk *disk;
    int top; /* index of the active image, which becomes a temporary snapshot */
    uint64_t old_size;
};

/* base .. active image, shared, and the scratch above; *ret_n counts what is open also after a failure. */
static int open_images(PlkStore *store, const int *chain, size_t n, uint64_t size, PlkImage **images,
                       size_t *ret_n, PlkError *err)
{
    PlkImage *top;

    for (*ret_n = 0; *ret_n < n; ++*ret_n)
        if (plk_store_open_image(store, chain[*ret_n], 0, &images[*ret_n], err) < 0)
            return -1;
    top = images[n - 1];
    if (size && size < top->header.size_sectors)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "disk '%s' has %llu sectors; %llu are less", top->io->name,
                        (unsigned long long)top->header.size_sectors, (unsigned long long)size);
    if (plk_store_create_unnamed(store, top, size ? size : top->header.size_sectors, false, &images[n], err) <
        0)
        return -1;
    *ret_n = n + 1;
    return 0;
}

static int open_disk(PlkScratch *s, const int *chain, size_t n, uint64_t size, PlkError *err)
{
    const char *paths[PLK_CHAIN_SLOTS + 1];
    PlkImage *images[PLK_CHAIN_SLOTS + 1];
    size_t opened;
    int r = open_images(s->store, chain, n, size, images, &opened, err);

    for (size_t i = 0; i < opened; i++)
        paths[i] = images[i]->io->name;
    if (r == 0) {
        s->old_size = images[n - 1]->header.size_sectors;
        r = plk_disk_from_images(images, paths, n + 1, true, 0, &s->disk, err);
    }
    for (size_t i = 0; r < 0 && i < opened; i++)
        plk_image_drop(images[i]);
    return r;
}

static int begin(PlkScratch *s, uint64_t size, PlkError *err)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    PLK_FREE int *chain = NULL;
    PlkGuid unused;
    size_t n;

    if (plk_store_refuse_old(s->store, err) < 0 || plk_store_merge_temporary(s->store, NULL, NULL, err) < 0 ||
        plk_store_plan_snapshot(s->store, &spec, &unused, err) < 0 ||
        plk_descriptor_chain(&s->store->desc, &PLK_GUID_TOP, s->store->path, &chain, &n, err) < 0)
        return -1;
    s->top = chain[n - 1];
    if (plk_store_settle(s->store, s->top, err) < 0)
        return -1;
    return open_disk(s, chain, n, size, err);
}

int plk_scratch_begin_store(PlkStore *store, uint64_t size_sectors, PlkScratch **ret, PlkError *err)
{
    PlkScratch *s = plk_calloc(1, sizeof *s);

    if (!s) {
        plk_store_close(store);
        return plk_fail_nomem(err);
    }
    s->store = store;
    if (begin(s, size_sectors, err) < 0) {
        plk_scratch_drop(s);
        return -1;
    }
    *ret = s;
    return 0;
}

int plk_scratch_begin(const char *path, const char *root, uint64_t size_sectors, PlkScratch **ret,
                      PlkError *err)
{
    PlkStore *store;

    if (plk_store_open_locked(path, root, &store, err) < 0)
        return -1;
    return plk_scratch_begin_store(store, size_sectors, ret, err);
}

PlkDisk *plk_scratch_disk(PlkScratch *scratch)
{
    return scratch->disk;
}

void plk_scratch_drop(PlkScratch *scratch)
{
    if (!scratch)
        return;
    plk_disk_drop(scratch->disk);
    plk_store_close(scratch->store);
    free(scratch);
}

/* ---- commit ---- */

/* Flushed, named and closed. */
static int finish_delta(PlkScratch *s, const char *file, PlkError *err)
{
    PlkDisk *disk = s->disk;
    int r = plk_disk_flush(disk);

    if (r < 0) {
        plk_disk_explain(disk, r, err);
        return -1;
    }
    r = plk_dir_link(s->store->dir, plk_disk_top(disk)->io, file);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot create delta '%s' in '%s'", file,
                           s->store->dir->path);
    s->disk = NULL;
    if (plk_disk_close(disk, err) == 0)
        return 0;
    plk_dir_unlink(s->store->dir, file);
    return -1;
}

static int publish(PlkScratch *s, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor future = {0};
    plk_cleanup(plk_image_dropp) PlkImage *guard = NULL;
    uint64_t size = plk_disk_top(s->disk)->header.size_sectors;
    PLK_FREE char *file = plk_store_delta_name(s->store, NULL);
    PlkGuid guid;

    if (!file)
        return plk_fail_nomem(err);
    plk_guid_random(&guid);
    if (plk_store_stack(s->store, &guid, true, file, &future, err) < 0)
        return -1;
    if (size != s->old_size)
        plk_descriptor_set_size(&future, size);
    /* Its locks go with the disk: until the commit nobody may write to what is below the scratch. */
    if (plk_store_open_image(s->store, s->top, 0, &guard, err) < 0 ||
        plk_intent_declare(s->store, &future, file, NULL, 0, err) < 0 || finish_delta(s, file, err) < 0)
        return -1;
    return plk_store_commit_file(s->store, &future, file, err);
}

static bool is_untouched(const PlkScratch *s)
{
    const PlkImage *top = plk_disk_top(s->disk);

    return !atomic_load(&top->prepared) && top->header.size_sectors == s->old_size;
}

/* What is published is done: from there on progress is told, but nobody is asked whether to go on. */
static int tell_only(void *arg, const char *what, uint64_t done, uint64_t total)
{
    const PlkProgress *progress = arg;

    if (progress)
        (void)progress->update(progress->arg, what, done, total);
    return 0;
}

int plk_scratch_commit(PlkScratch *scratch, const PlkProgress *progress, PlkError *err)
{
    PlkProgress uncancelled = {.update = tell_only, .arg = (void *)(uintptr_t)progress};
    int r = 0;

    if (!is_untouched(scratch)) {
        r = publish(scratch, err);
        if (r == 0) {
            r = plk_store_merge_down(scratch->store, &PLK_GUID_TOP, &uncancelled, err);
            if (r < 0)
                plk_error_prefix(
                    err, "the change is made, but a temporary snapshot stays until the next operation: ");
        }
    }
    plk_scratch_drop(scratch);
    return r;
}
