/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The gate in front of directory backends, and whole small files made of its calls. */
#include "io/dir.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "io/path.h"
#include "io/retry.h"

static int traced(PlkDir *dir, const char *what, const char *path, int result)
{
    plk_debug(PLK_DEBUG_IO, "%s: %s '%s': %d", dir->path, what, path, result);
    return result;
}

void plk_dir_close(PlkDir *dir)
{
    char *path, *root;

    if (!dir)
        return;
    path = dir->path;
    root = dir->root;
    dir->ops->close(dir);
    free(path);
    free(root);
}

int plk_dir_open_file(PlkDir *dir, const char *path, unsigned flags, mode_t mode, PlkIo **ret)
{
    assert(!(flags & PLK_OPEN_EXCLUSIVE) || (flags & PLK_OPEN_CREATE));
    if (flags & PLK_OPEN_CREATE)
        flags |= PLK_OPEN_WRITE;
    return traced(dir, "open", path, PLK_UNINTERRUPTED(dir->ops->open(dir, path, flags, mode, ret)));
}

int plk_dir_create_unnamed(PlkDir *dir, mode_t mode, PlkIo **ret)
{
    PLK_FREE char *name = plk_printf("%s/(unnamed)", dir->path); /* an error must not blame the directory */
    PlkIo *io;
    int r = name ? PLK_UNINTERRUPTED(dir->ops->create_unnamed(dir, mode, &io)) : -ENOMEM;

    if (r == 0) {
        free(io->name);
        io->name = PLK_TAKE(name);
        *ret = io;
    }
    return traced(dir, "create", "", r);
}

int plk_dir_link(PlkDir *dir, PlkIo *unnamed, const char *path)
{
    PLK_FREE char *name = NULL;
    int r = plk_path_resolve(dir, path, &name);

    if (r == 0)
        r = PLK_UNINTERRUPTED(dir->ops->link(dir, unnamed, path));
    if (r == 0) {
        free(unnamed->name);
        unnamed->name = PLK_TAKE(name);
    }
    return traced(dir, "link", path, r);
}

int plk_dir_rename(PlkDir *dir, const char *from, const char *to, bool replace)
{
    traced(dir, replace ? "rename" : "rename-new", from, 0);
    return traced(dir, "... to", to, PLK_UNINTERRUPTED(dir->ops->rename(dir, from, to, replace)));
}

int plk_dir_unlink(PlkDir *dir, const char *path)
{
    return traced(dir, "unlink", path, PLK_UNINTERRUPTED(dir->ops->unlink(dir, path)));
}

int plk_dir_exists(PlkDir *dir, const char *path)
{
    return traced(dir, "exists", path, PLK_UNINTERRUPTED(dir->ops->exists(dir, path)));
}

int plk_dir_include(PlkDir *dir, const char *path)
{
    int r = dir->ops->include ? PLK_UNINTERRUPTED(dir->ops->include(dir, path)) : 0;

    return traced(dir, "include", path, r);
}

int plk_dir_sync(PlkDir *dir)
{
    return traced(dir, "sync", "", PLK_UNINTERRUPTED(dir->ops->sync(dir)));
}

int plk_dir_list(PlkDir *dir, int (*each)(void *arg, const char *name), void *arg)
{
    return traced(dir, "list", "", dir->ops->list(dir, each, arg));
}

int plk_dir_free_space(PlkDir *dir, uint64_t *ret)
{
    return PLK_UNINTERRUPTED(dir->ops->free_space(dir, ret));
}

int plk_dir_flock(PlkDir *dir, const char *path, int timeout_ms, PlkIo **ret_held)
{
    return traced(dir, "flock", path, PLK_UNINTERRUPTED(dir->ops->flock(dir, path, timeout_ms, ret_held)));
}

/* ---- whole files ---- */

int plk_dir_read_file(PlkDir *dir, const char *path, size_t max, char **ret, size_t *ret_len)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    PLK_FREE char *text = NULL;
    uint64_t size;
    size_t len;
    int r = plk_dir_open_file(dir, path, 0, 0, &io);

    if (r == 0)
        r = plk_io_size(io, &size);
    if (r < 0)
        return r;
    if (size > max)
        return -EFBIG;
    text = plk_malloc((size_t)size + 1);
    if (!text)
        return -ENOMEM;
    r = plk_io_read_upto(io, text, (size_t)size, 0, &len, PLK_POINT_OPEN_READ);
    if (r < 0)
        return r;
    text[len] = '\0';
    *ret = PLK_TAKE(text);
    if (ret_len)
        *ret_len = len;
    return 0;
}

/* Beside `path`, so that the rename stays within one directory. */
static int make_temp_name(const char *path, char **ret)
{
    const char *base = strrchr(path, '/');
    uint64_t random;
    int r = PLK_UNINTERRUPTED(getrandom(&random, sizeof random, 0) < 0 ? -errno : 0);

    if (r < 0)
        return r;
    *ret = plk_printf("%.*s.ploopkit-%016llx.tmp", base ? (int)(base + 1 - path) : 0, path,
                      (unsigned long long)random);
    return *ret ? 0 : -ENOMEM;
}

static int write_new_file(PlkDir *dir, const char *path, const char *text, size_t len, mode_t mode)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    int r = plk_dir_open_file(dir, path, PLK_OPEN_CREATE | PLK_OPEN_EXCLUSIVE, mode, &io);

    if (r == -EEXIST)
        return r;
    if (r == 0)
        r = plk_io_write(io, text, len, 0, PLK_POINT_FILE_WRITE);
    if (r == 0)
        r = plk_io_sync(io, PLK_POINT_FILE_SYNC);
    if (r < 0)
        plk_dir_unlink(dir, path); /* even one that was made, but could not be opened for want of memory */
    return r;
}

int plk_dir_publish_file(PlkDir *dir, const char *path, const char *text, size_t len, mode_t mode)
{
    PLK_FREE char *temp = NULL;
    int r = make_temp_name(path, &temp);

    if (r < 0)
        return r;
    r = write_new_file(dir, temp, text, len, mode);
    if (r < 0)
        return r;
    r = plk_dir_rename(dir, temp, path, true);
    if (r < 0) {
        plk_dir_unlink(dir, temp);
        return r;
    }
    return plk_dir_sync(dir);
}
