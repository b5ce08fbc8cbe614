/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk/bare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "disk/store.h"

static int fail_open(const char *path, int r, PlkError *err)
{
    return plk_fail_io(err, PLK_ERROR_OPEN, r, "cannot open image '%s'", path);
}

int plk_bare_open(const char *path, bool write, PlkIo **ret, PlkError *err)
{
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    PLK_FREE char *real = realpath(path, NULL);
    char *slash = real ? strrchr(real, '/') : NULL;
    int r;

    if (!slash)
        return fail_open(path, -errno, err);
    *slash = '\0';
    r = plk_dir_open_fs(slash == real ? "/" : real, NULL, &dir);
    if (r == 0)
        r = plk_dir_open_file(dir, slash + 1, write ? PLK_OPEN_WRITE : 0, 0, ret);
    if (r == -EMLINK)
        return plk_fail(err, PLK_ERROR_OPEN,
                        "image '%s' is somebody else's file under a second name (a hard link); it is not written to", path);
    if (r == -EINVAL)
        return plk_fail(err, PLK_ERROR_OPEN, "cannot open image '%s': it is not a regular file", path);
    return r < 0 ? fail_open(path, r, err) : 0;
}

int plk_bare_open_locked(const char *path, bool write, PlkIo **ret, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    int r;

    if (plk_bare_open(path, write, &io, err) < 0)
        return -1;
    r = plk_io_lock(io, write ? PLK_IO_LOCK_EXCLUSIVE : PLK_IO_LOCK_SHARED);
    if (r < 0)
        return plk_fail_locked(err, io, r);
    *ret = PLK_TAKE(io);
    return 0;
}
