/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories as volumes: made, listed, and removed when there is nothing in them. What is inside belongs to
 * its user and is never touched, nor do they have a size.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "volume/volume.h"

static int dir_check(const PlkVolumeDef *def, unsigned flags, PlkError *err)
{
    if (def->backing)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "volume '%s': a directory cannot have a backing store",
                        def->name);
    if (def->target.encryption)
        return plk_fail(err, PLK_ERROR_CONFIG, "volume '%s': a directory cannot be encrypted", def->name);
    if (flags & PLK_CREATE_PREALLOC_METADATA)
        return plk_fail(err, PLK_ERROR_CONFIG, "volume '%s': a directory has nothing to preallocate",
                        def->name);
    return 0;
}

static int own_and_sync(const PlkPlace *at, const PlkVolumeDef *def, PlkError *err)
{
    PLK_CLOSE int fd = plk_place_open(at, O_RDONLY | O_DIRECTORY);

    if (fd < 0)
        return plk_fail_io(err, PLK_ERROR_OPEN, fd, "cannot open '%s/%s'", at->dir_path, at->name);
    if (plk_volume_own(fd, &def->target.permissions, true, err) < 0)
        return -1;
    if (fsync(fd) < 0)
        return plk_fail_io(err, PLK_ERROR_SYNC, -errno, "'%s/%s'", at->dir_path, at->name);
    return 0;
}

static int dir_create(const PlkPlace *at, const PlkVolumeDef *def, unsigned flags,
                      const PlkProgress *progress, PlkError *err)
{
    int r;

    if (dir_check(def, flags, err) < 0)
        return -1;
    if (mkdirat(at->dir, at->name, 0700) < 0)
        return plk_fail_io(err, errno == EEXIST ? PLK_ERROR_EXISTS : PLK_ERROR_CREATE, -errno,
                           "cannot make the directory '%s/%s'", at->dir_path, at->name);
    r = own_and_sync(at, def, err);
    if (r < 0)
        unlinkat(at->dir, at->name, AT_REMOVEDIR);
    return r;
}

static int dir_remove(const PlkPlace *at, const PlkVolumeFacts *facts, PlkError *err)
{
    if (unlinkat(at->dir, at->name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno == ENOTEMPTY || errno == EEXIST)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, ENOTEMPTY,
                              "directory '%s/%s' still holds files; it goes when they have gone",
                              at->dir_path, at->name);
    return plk_fail_errno(err, PLK_ERROR_UNLINK, errno, "cannot delete the directory '%s/%s'", at->dir_path,
                          at->name);
}

const PlkVolumeDriver plk_driver_dir = {
    .name = "dir",
    .type = PLK_VOLUME_DIR,
    .check = dir_check,
    .create = dir_create,
    .remove = dir_remove,
};
