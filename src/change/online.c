/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A snapshot of a disk that this process has open for writing.
 *
 * All slow steps come first: the new delta is made, named and synced and the future descriptor written while
 * requests run on. Then, with the disk quiet: flush, mark the old top closed, commit, put the new delta on
 * top. The map stays valid, since every slot keeps its level; the old top's clusters are simply no longer the
 * top's.
 */
#include <ploopkit/snapshot.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "change/operation.h"
#include "disk/intent.h"

typedef struct Stacking {
    PlkDisk *disk;
    PlkStore *store;
    PlkImage *delta;
    char *file; /* its name in the descriptor */
    bool named;
    PlkDescriptor future;
} Stacking;

/* The descriptor may have changed since the disk was opened: never under an exclusively locked top, but trust
 * is no proof. */
static int check_chain(const PlkDisk *disk, PlkStore *store, PlkError *err)
{
    PLK_FREE int *chain = NULL;
    PLK_FREE char *top = NULL;
    size_t n;

    if (plk_descriptor_chain(&store->desc, &store->desc.top, store->path, &chain, &n, err) < 0)
        return -1;
    top = plk_path_canonical(store->dir->path, store->desc.images[chain[n - 1]].file);
    if (!top)
        return errno == ENOMEM
                   ? plk_fail_nomem(err)
                   : plk_chain_fail_open(store->dir, store->desc.images[chain[n - 1]].file, -errno, err);
    if (n == disk->n_images && strcmp(top, plk_disk_top(disk)->io->name) == 0)
        return 0;
    return plk_fail(err, PLK_ERROR_BUSY,
                    "descriptor '%s/%s' no longer describes the open disk; open it again", store->dir->path,
                    store->name);
}

static int make_delta(Stacking *s, const PlkSnapshotSpec *spec, PlkError *err)
{
    PlkImage *top = plk_disk_top(s->disk);
    int r;

    if (plk_store_create_unnamed(s->store, top, s->disk->size / 512, spec->alloc_full || top->alloc_full,
                                 &s->delta, err) < 0)
        return -1;
    r = plk_dir_link(s->store->dir, s->delta->io, s->file);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot create delta '%s' in '%s'", s->file,
                           s->store->dir->path);
    s->named = true;
    r = plk_image_publish(s->delta);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_SYNC, r, "delta '%s' in '%s'", s->file, s->store->dir->path);
    return 0;
}

/* ---- with the disk quiet ---- */

/* The snapshot did not come about, and the old top is written to again. */
static void mark_open_again(PlkImage *top)
{
    if (top->kind == PLK_IMAGE_RAW)
        return;
    top->header.flags &= ~(uint32_t)PLK_FLAG_EMPTY;
    if (plk_image_write_header(top, PLK_IN_USE_OPEN, PLK_POINT_META_IN_USE) < 0 ||
        plk_io_sync(top->io, PLK_POINT_META_SYNC) < 0)
        atomic_store(&top->io->poisoned, true); /* better no writes than writes to an image marked closed */
}

static void put_on_top(Stacking *s, char *path)
{
    PlkDisk *disk = s->disk;
    PlkImage *old = plk_disk_top(disk);

    disk->paths[disk->n_images] = path;
    disk->images[disk->n_images] = PLK_TAKE(s->delta);
    disk->n_images++; /* last: from here on it is the top */
    (void)plk_io_lock(old->io, PLK_IO_LOCK_SHARED); /* still exclusive if that fails: stricter, not wrong */
}

static int commit_quiet(Stacking *s, PlkError *err)
{
    PlkImage *top = plk_disk_top(s->disk);
    char *path = plk_strdup(s->delta->io->name);
    int r;

    if (!path)
        return plk_fail_nomem(err);
    r = plk_image_mark_closed(top);
    if (r < 0)
        plk_fail_io(err, PLK_ERROR_SYNC, r, "image '%s': cannot mark it closed", top->io->name);
    else
        r = plk_store_commit(s->store, &s->future, err);
    if (r == 0 || s->store->committed) {
        /* Named, but perhaps not after a crash: no flush may promise anything any more. */
        if (r < 0)
            atomic_store(&s->delta->io->poisoned, true);
        put_on_top(s, path);
    } else {
        mark_open_again(top);
        free(path);
    }
    return r < 0 ? -1 : 0;
}

/* ---- the whole ---- */

static int make_ready(PlkImage *img, PlkError *err)
{
    int r = plk_image_prepare_write(img);

    if (r == 0)
        return 0;
    if (r == -EUCLEAN && err)
        *err = img->damage;
    else
        plk_fail_io(err, PLK_ERROR_WRITE, r, "image '%s': cannot make it ready for a snapshot",
                    img->io->name);
    return -1;
}

static int stack(Stacking *s, const PlkSnapshotSpec *spec, PlkGuid *guid, PlkError *err)
{
    int r;

    s->file = plk_store_delta_name(s->store, NULL);
    if (!s->file)
        return plk_fail_nomem(err);
    if (check_chain(s->disk, s->store, err) < 0 || plk_store_plan_snapshot(s->store, spec, guid, err) < 0 ||
        plk_store_stack(s->store, guid, spec->temporary, s->file, &s->future, err) < 0 ||
        plk_intent_declare(s->store, &s->future, s->file, NULL, 0, err) < 0 ||
        make_delta(s, spec, err) < 0 || make_ready(plk_disk_top(s->disk), err) < 0 ||
        make_ready(s->delta, err) < 0 || plk_store_begin(s->store, &s->future, err) < 0)
        return -1;
    s->store->committed = false;
    r = plk_disk_quiesce(s->disk);
    if (r < 0) {
        plk_disk_explain(s->disk, r, err);
        return -1;
    }
    r = commit_quiet(s, err);
    plk_disk_resume(s->disk);
    return r;
}

int plk_disk_snapshot(PlkDisk *disk, const PlkSnapshotSpec *spec, char *ret_guid, PlkError *err)
{
    PlkSnapshotSpec none = {.struct_size = sizeof none};
    Stacking s = {.disk = disk, .store = disk->store};
    PlkGuid guid;
    bool held;
    int r;

    if (!s.store || !disk->writable)
        return plk_fail(err, PLK_ERROR_UNSUPPORTED,
                        "disk '%s': a snapshot needs a disk opened for writing by its descriptor",
                        disk->images[0]->io->name);
    PLK_LOCKED(&disk->snapshot_lock);
    held = s.store->lock != NULL;
    if (plk_store_lock(s.store, err) < 0)
        return -1;
    r = stack(&s, spec ? spec : &none, &guid, err);
    plk_store_abort(s.store);
    if (s.delta && s.named)
        plk_dir_unlink(s.store->dir, s.file);
    if (!held)
        plk_store_unlock(s.store);
    plk_image_drop(s.delta);
    plk_descriptor_clear(&s.future);
    free(s.file);
    if (r == 0 && ret_guid)
        memcpy(ret_guid, guid.text, sizeof guid.text);
    return r;
}
