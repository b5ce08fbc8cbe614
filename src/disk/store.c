/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptor as a transaction; store.h draws it. The order of a commit:
 *
 *  1  new files are complete, synced and named (the caller);
 *  2  begin(): the future text as NAME.tmp, synced, then the directory: 1 and 2 are durable from here;
 *  3  commit(): rename over NAME, sync the directory: the operation has happened;
 *  4  files that are no longer named go (the caller).
 *
 * A crash between 2 and 3 leaves the old disk and files that nobody names.
 */
#include "disk/store.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "disk/intent.h"
#include "disk/note.h"
#include "disk/version.h"
#include "io/lock.h"

#define DEFAULT_NAME "DiskDescriptor.xml"
#define DESCRIPTOR_MODE 0666 /* as far as the umask lets it */
#define LOCK_WAIT_MS 60000 /* what ploop waits */

/* ---- opening ---- */

int plk_store_open_dir(PlkDir *dir, const char *name, PlkStore **ret, PlkError *err)
{
    PlkStore *store = plk_calloc(1, sizeof *store);

    if (!store)
        return plk_fail_nomem(err);
    store->name = plk_strdup(name);
    store->path = plk_printf("%s/%s", dir->path, name);
    if (!store->name || !store->path) {
        free(store->name);
        free(store->path);
        free(store);
        return plk_fail_nomem(err);
    }
    store->dir = dir;
    *ret = store;
    return 0;
}

static bool ends_in_xml(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot && strcmp(dot, ".xml") == 0;
}

/* path -> the directory and the name in it. */
static int split_path(const char *path, char **ret_dir, const char **ret_name, PlkError *err)
{
    const char *slash = strrchr(path, '/');
    struct stat st;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        *ret_dir = plk_strdup(path);
        *ret_name = DEFAULT_NAME;
    } else if (ends_in_xml(path)) {
        *ret_dir = slash == path ? plk_strdup("/")
                                 : plk_printf("%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
        *ret_name = slash ? slash + 1 : path;
    } else {
        return plk_fail(err, PLK_ERROR_DESCRIPTOR, "'%s' is neither a %s nor a directory with one", path,
                        DEFAULT_NAME);
    }
    return *ret_dir ? 0 : plk_fail_nomem(err);
}

int plk_store_open_any(const char *path, const char *root, PlkStore **ret, PlkError *err)
{
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    PLK_FREE char *where = NULL;
    const char *name;
    int r;

    if (split_path(path, &where, &name, err) < 0)
        return -1;
    r = plk_dir_open_fs(where, root, &dir);
    if (r == -ENOENT || r == -ENOTDIR)
        return plk_fail_errno(err, PLK_ERROR_DESCRIPTOR, -r, "descriptor '%s'", path);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_OPEN, r, "cannot open directory '%s'", where);
    if (plk_store_open_dir(dir, name, ret, err) < 0)
        return -1;
    dir = NULL;
    return 0;
}

int plk_store_open(const char *path, const char *root, PlkStore **ret, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    int r;

    if (plk_store_open_any(path, root, &store, err) < 0)
        return -1;
    r = plk_dir_exists(store->dir, store->name);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_OPEN, r, "descriptor '%s'", store->path);
    if (r == 0)
        return plk_fail_errno(err, PLK_ERROR_DESCRIPTOR, ENOENT, "descriptor '%s'", store->path);
    *ret = PLK_TAKE(store);
    return 0;
}

void plk_store_close(PlkStore *store)
{
    if (!store)
        return;
    plk_store_abort(store);
    plk_store_unlock(store);
    plk_descriptor_clear(&store->desc);
    plk_dir_close(store->dir);
    free(store->name);
    free(store->path);
    free(store->fs_word);
    free(store);
}

int plk_store_load(PlkStore *store, PlkError *err)
{
    PLK_FREE char *text = NULL;
    const char *path = store->path;
    PlkDescriptor desc = {0};
    size_t len;
    int r;

    r = plk_dir_read_file(store->dir, store->name, PLK_DESC_TEXT_MAX, &text, &len);
    if (r == -EFBIG)
        return plk_fail(err, PLK_ERROR_DESCRIPTOR, "descriptor '%s' is bigger than 1 MiB", path);
    if (r == -ELOOP)
        return plk_fail(err, PLK_ERROR_DESCRIPTOR,
                        "descriptor '%s' is a symbolic link, which is not followed", path);
    if (r == -ENOENT)
        return plk_fail_errno(err, PLK_ERROR_DESCRIPTOR, -r, "descriptor '%s'", path);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_OPEN, r, "cannot read descriptor '%s'", path);
    if (plk_descriptor_parse(text, len, path, &desc, err) < 0)
        return -1;
    plk_descriptor_clear(&store->desc);
    store->desc = desc;
    store->loaded = true;
    plk_digest_text(text, len, store->digest);
    return 0;
}

/* ---- the lock ---- */

static char *lock_name(const PlkStore *store)
{
    return plk_printf("%s.lck", store->name);
}

static int fail_lock(PlkStore *store, const char *lck, int r, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    char owner[128] = "another process";

    if (r != -EAGAIN)
        return plk_fail_io(err, PLK_ERROR_LOCK_CALL, r, "cannot lock descriptor '%s/%s'", store->dir->path,
                           store->name);
    if (plk_dir_open_file(store->dir, lck, 0, 0, &io) == 0 && plk_io_fd(io) >= 0)
        plk_lock_owner(plk_io_fd(io), owner, sizeof owner);
    return plk_fail(err, PLK_ERROR_LOCKED,
                    "descriptor '%s/%s': still locked by %s after %d s; try again when that is done",
                    store->dir->path, store->name, owner, LOCK_WAIT_MS / 1000);
}

int plk_store_lock_only(PlkStore *store, PlkError *err)
{
    PLK_FREE char *lck = lock_name(store);
    int r;

    if (store->lock)
        return 0;
    if (!lck)
        return plk_fail_nomem(err);
    r = plk_dir_flock(store->dir, lck, LOCK_WAIT_MS, &store->lock);
    return r < 0 ? fail_lock(store, lck, r, err) : 0;
}

int plk_store_lock(PlkStore *store, PlkError *err)
{
    if (plk_store_lock_only(store, err) < 0)
        return -1;
    if (plk_store_load(store, err) < 0 || plk_version_recover(store, err) < 0) {
        plk_store_unlock(store);
        return -1;
    }
    plk_intent_sweep(store);
    return 0;
}

void plk_store_unlock(PlkStore *store)
{
    if (store->lock && !store->uncertain)
        plk_intent_clear(store);
    store->declared = store->uncertain = false;
    plk_io_close(PLK_TAKE(store->lock));
}

int plk_store_open_locked(const char *path, const char *root, PlkStore **ret, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open(path, root, &store, err) < 0 || plk_store_lock(store, err) < 0)
        return -1;
    *ret = PLK_TAKE(store);
    return 0;
}

/* ---- begin, commit, abort ---- */

static char *future_name(const PlkStore *store)
{
    return plk_printf("%s.tmp", store->name);
}

/* Whatever is written names its active state as all of today do; one in "old format" ends here. */
static void bring_up_to_date(PlkDescriptor *future)
{
    PlkGuid old = future->top;

    if (plk_guid_equal(&old, &PLK_GUID_TOP) || plk_descriptor_find_shot(future, &PLK_GUID_TOP) >= 0)
        return;
    plk_descriptor_rename(future, &old, &PLK_GUID_TOP);
    future->top = PLK_GUID_TOP;
}

/* Not every operation walks down to the base; but none goes on from a disk that nobody could open. */
static int prove_chain(const PlkStore *store, const PlkDescriptor *future, PlkError *err)
{
    PLK_FREE int *chain = NULL;
    size_t n;

    return plk_descriptor_chain(future, &future->top, store->path, &chain, &n, err);
}

int plk_store_render(PlkStore *store, PlkDescriptor *future, char **ret, size_t *ret_len, PlkError *err)
{
    bring_up_to_date(future);
    if (prove_chain(store, future, err) < 0)
        return -1;
    return plk_descriptor_print(future, ret, ret_len, err);
}

/*
 * Nobody reads NAME.tmp, so it need not be replaced in one step, but it must not be named before it is whole:
 * who restores a descriptor holds no lock. Nothing else has a name on the way, so nothing else can be left.
 */
static int write_future(PlkStore *store, const char *tmp, const char *text, size_t len)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    int r = plk_dir_create_unnamed(store->dir, DESCRIPTOR_MODE, &io);

    if (r == 0)
        r = plk_io_write(io, text, len, 0, PLK_POINT_FILE_WRITE);
    if (r == 0)
        r = plk_io_sync(io, PLK_POINT_FILE_SYNC);
    if (r == 0)
        r = plk_dir_unlink(store->dir, tmp);
    if (r == 0 || r == -ENOENT)
        r = plk_dir_link(store->dir, io, tmp);
    return r < 0 ? r : plk_dir_sync(store->dir);
}

int plk_store_begin(PlkStore *store, PlkDescriptor *future, PlkError *err)
{
    PLK_FREE char *tmp = future_name(store), *text = NULL;
    size_t len;
    int r;

    assert((store->lock || store->is_new) && !store->begun);
    if (!tmp)
        return plk_fail_nomem(err);
    if (plk_store_render(store, future, &text, &len, err) < 0)
        return -1;
    plk_digest_text(text, len, store->future_digest);
    store->begun = true; /* also when publishing fails half-way: abort() then removes what is there */
    r = write_future(store, tmp, text, len);
    if (r < 0) {
        plk_store_abort(store);
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot write descriptor '%s/%s'", store->dir->path,
                           tmp);
    }
    return 0;
}

void plk_store_abort(PlkStore *store)
{
    PLK_FREE char *tmp = NULL;

    if (!store->begun)
        return;
    store->begun = false;
    tmp = future_name(store);
    if (tmp)
        plk_dir_unlink(store->dir, tmp);
}

static int rename_future(PlkStore *store, PlkError *err)
{
    PLK_FREE char *tmp = future_name(store);
    int r = tmp ? plk_dir_rename(store->dir, tmp, store->name, !store->is_new) : -ENOMEM;

    if (r == 0)
        return 0;
    plk_store_abort(store);
    if (r == -EEXIST)
        return plk_fail(err, PLK_ERROR_EXISTS, "descriptor '%s/%s' exists already; nothing was changed",
                        store->dir->path, store->name);
    return plk_fail_io(err, PLK_ERROR_RENAME, r, "cannot replace descriptor '%s/%s'", store->dir->path,
                       store->name);
}

int plk_store_commit(PlkStore *store, PlkDescriptor *future, PlkError *err)
{
    int r;

    assert(store->lock || store->is_new); /* only a descriptor that is not there yet needs no lock */
    store->committed = false;
    if (!store->begun && plk_store_begin(store, future, err) < 0)
        return -1;
    if (rename_future(store, err) < 0)
        return -1;
    store->begun = false;
    store->is_new = false;
    store->committed = true;
    memcpy(store->digest, store->future_digest, sizeof store->digest);
    plk_descriptor_clear(&store->desc);
    store->desc = *future;
    store->loaded = true;
    *future = (PlkDescriptor){0};
    r = plk_dir_sync(store->dir);
    store->uncertain |= r < 0;
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_SYNC, r,
                           "descriptor '%s/%s' was replaced, but may be the old one after a crash",
                           store->dir->path, store->name);
    if (!store->declared) /* else plk_intent_clear() does */
        plk_note_write(store);
    return 0;
}

/* ---- names ---- */

int plk_file_split(const char *path, char **ret_dir, const char **ret_base, PlkError *err)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;

    if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' is not the name of a file", path);
    *ret_dir = slash == path ? plk_strdup("/")
                             : plk_printf("%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    *ret_base = base;
    return *ret_dir ? 0 : plk_fail_nomem(err);
}

int plk_file_locate(const char *path, char **ret, PlkError *err)
{
    PLK_FREE char *dir = NULL, *real = NULL, *joined = NULL;
    const char *base;

    if (plk_file_split(path, &dir, &base, err) < 0)
        return -1;
    real = realpath(dir, NULL);
    if (!real)
        return plk_fail_errno(err, errno == ENOENT ? PLK_ERROR_NOT_FOUND : PLK_ERROR_OPEN, errno,
                              "directory '%s'", dir);
    joined = plk_printf("%s/%s", strcmp(real, "/") == 0 ? "" : real, base);
    if (!joined)
        return plk_fail_nomem(err);
    *ret = PLK_TAKE(joined);
    return 0;
}

int plk_store_file_entry(PlkStore *store, const char *path, char **ret, PlkError *err)
{
    PLK_FREE char *absolute = NULL;
    const char *beneath;
    char *entry;

    /* What lies beneath as text is not looked up: a directory in memory has nothing to look up. */
    beneath = *path == '/' ? plk_path_beneath(store->dir->path, path) : NULL;
    if (!beneath || strstr(path, "..")) {
        if (plk_file_locate(path, &absolute, err) < 0)
            return -1;
        path = absolute;
        beneath = plk_path_beneath(store->dir->path, path);
    }
    entry = plk_strdup(beneath ? beneath : path);
    if (!entry)
        return plk_fail_nomem(err);
    *ret = entry;
    return 0;
}

int plk_store_refuse_existing(PlkStore *store, const char *file, PlkError *err)
{
    int r = plk_dir_exists(store->dir, file);

    if (r == -EXDEV)
        return plk_fail_outside(store->dir, file, PLK_ERROR_ARGUMENT, err);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot create image '%s' of '%s'", file,
                           store->dir->path);
    if (r > 0)
        return plk_fail(err, PLK_ERROR_EXISTS, "cannot create image '%s' of '%s': File exists", file,
                        store->dir->path);
    return 0;
}
