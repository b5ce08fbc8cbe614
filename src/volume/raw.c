/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raw images: the bytes of the disk are the bytes of the file. Capacity is the file's length, so a clone is
 * as long as its source to the byte; allocation says how much of it is reserved from the start.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "volume/plain.h"
#include "volume/ploop.h"
#include "volume/qemu.h"
#include "volume/stream.h"

static int raw_check(const PlkVolumeDef *def, unsigned flags, PlkError *err)
{
    if (def->backing)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "volume '%s': a raw image cannot have a backing store",
                        def->name);
    if (flags & PLK_CREATE_PREALLOC_METADATA)
        return plk_fail(err, PLK_ERROR_CONFIG, "volume '%s': a raw image has no metadata to preallocate",
                        def->name);
    return plk_plain_check(def, err);
}

/* Copy on write costs a busy image much; where the filesystem has no such flag there is nothing to switch
 * off. */
static void set_nocow(int fd)
{
    int flags;

    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        return;
    flags |= FS_NOCOW_FL;
    (void)!ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static int set_size(const PlkPlace *at, int fd, uint64_t size, PlkError *err)
{
    if (size > INT64_MAX || ftruncate(fd, (off_t)size) < 0)
        return plk_fail_io(err, PLK_ERROR_TRUNCATE, size > INT64_MAX ? -EFBIG : -errno,
                           "cannot make '%s/%s' %llu bytes long", at->dir_path, at->name,
                           (unsigned long long)size);
    return 0;
}

static int fill_new(const PlkPlace *at, int fd, const PlkVolumeDef *def, const PlkProgress *progress,
                    PlkError *err)
{
    uint64_t reserved = PLK_MIN(def->allocation, def->capacity);

    if (def->target.nocow)
        set_nocow(fd);
    if (set_size(at, fd, def->capacity, err) < 0 ||
        plk_plain_allocate(at, fd, 0, reserved, progress, err) < 0)
        return -1;
    return plk_plain_finish(at, fd, &def->target.permissions, err);
}

static int raw_create(const PlkPlace *at, const PlkVolumeDef *def, unsigned flags,
                      const PlkProgress *progress, PlkError *err)
{
    PLK_CLOSE int fd = -1;
    int r;

    if (raw_check(def, flags, err) < 0 || plk_plain_create(at, &fd, err) < 0)
        return -1;
    r = fill_new(at, fd, def, progress, err);
    if (r < 0)
        plk_plain_undo(at);
    return r;
}

/* ---- clone ---- */

static int copy_file(const PlkPlace *at, int fd, const PlkVolumeOrigin *from, unsigned flags,
                     const PlkProgress *progress, PlkError *err)
{
    PLK_CLOSE int in = -1;
    struct stat st;

    if (plk_plain_open(&from->place, O_RDONLY, PLK_IO_LOCK_SHARED, &in, err) < 0)
        return -1;
    if (fstat(in, &st) < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, -errno, "'%s/%s'", from->place.dir_path, from->place.name);
    return plk_plain_copy(at, in, fd, (uint64_t)st.st_size, flags & PLK_CREATE_REFLINK, progress, err);
}

static int fetch(const PlkPlace *at, int fd, const PlkVolumeOrigin *from, unsigned flags,
                 const PlkProgress *progress, PlkError *err)
{
    const PlkVolumeDriver *driver = plk_volume_driver_of(from->facts);

    if (driver == &plk_driver_raw)
        return copy_file(at, fd, from, flags, progress, err);
    if (flags & PLK_CREATE_REFLINK)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s/%s' can share blocks only with a raw image",
                        at->dir_path, at->name);
    if (driver == &plk_driver_ploop)
        return plk_ploop_export(from, fd, progress, err);
    if (driver == &plk_driver_qemu)
        return plk_qemu_convert_to_raw(from, fd, progress, err);
    return plk_fail(err, PLK_ERROR_NO_SUPPORT, "'%s/%s' holds no disk that could be cloned",
                    from->place.dir_path, from->place.name);
}

/* Larger if asked for, never smaller than what came; reserved if asked for. */
static int round_off_clone(const PlkPlace *at, int fd, const PlkVolumeDef *def, const PlkProgress *progress,
                           PlkError *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, -errno, "'%s/%s'", at->dir_path, at->name);
    if (def->capacity > (uint64_t)st.st_size && set_size(at, fd, def->capacity, err) < 0)
        return -1;
    if (def->has_allocation && def->allocation && def->allocation >= def->capacity &&
        plk_plain_allocate(at, fd, 0, PLK_MAX(def->capacity, (uint64_t)st.st_size), progress, err) < 0)
        return -1;
    return plk_plain_finish(at, fd, &def->target.permissions, err);
}

static int raw_clone(const PlkPlace *at, const PlkVolumeDef *def, const PlkVolumeOrigin *from, unsigned flags,
                     const PlkProgress *progress, PlkError *err)
{
    PLK_CLOSE int fd = -1;
    int r;

    if (raw_check(def, flags, err) < 0 || plk_plain_create(at, &fd, err) < 0)
        return -1;
    if (def->target.nocow)
        set_nocow(fd);
    r = fetch(at, fd, from, flags, progress, err);
    if (r == 0)
        r = round_off_clone(at, fd, def, progress, err);
    if (r < 0)
        plk_plain_undo(at);
    return r;
}

/* ---- what is done to one that is there ---- */

static int raw_remove(const PlkPlace *at, const PlkVolumeFacts *facts, PlkError *err)
{
    return plk_plain_remove(at, err);
}

/* Also what it had before is to have blocks; a file system that cannot do that keeps the holes. */
static int fill_holes(const PlkPlace *at, int fd, uint64_t end, PlkError *err)
{
    if (end == 0 || fallocate(fd, 0, 0, (off_t)end) == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
        return 0;
    return plk_fail_io(err, PLK_ERROR_ALLOCATE, -errno, "cannot reserve room for '%s/%s'", at->dir_path, at->name);
}

static int change_size(const PlkPlace *at, int fd, uint64_t capacity, unsigned flags,
                       const PlkProgress *progress, PlkError *err)
{
    struct stat st;
    uint64_t old;
    int r;

    if (fstat(fd, &st) < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, -errno, "'%s/%s'", at->dir_path, at->name);
    old = (uint64_t)st.st_size;
    if (capacity < old && !(flags & PLK_RESIZE_SHRINK))
        return plk_fail(
            err, PLK_ERROR_ARGUMENT,
            "'%s/%s' is larger than %llu bytes; shrinking loses what lies behind and is to be asked for",
            at->dir_path, at->name, (unsigned long long)capacity);
    r = set_size(at, fd, capacity, err);
    if (r == 0 && (flags & PLK_RESIZE_ALLOCATE) && capacity > old)
        r = plk_plain_allocate(at, fd, old, capacity, progress, err);
    if (r == 0 && (flags & PLK_RESIZE_ALLOCATE))
        r = fill_holes(at, fd, PLK_MIN(old, capacity), err);
    if (r == 0)
        r = plk_plain_finish(at, fd, NULL, err);
    if (r < 0 && capacity > old)
        (void)!ftruncate(fd, st.st_size);
    return r;
}

static int raw_resize(const PlkPlace *at, const PlkVolumeFacts *facts, uint64_t capacity, unsigned flags,
                      const PlkProgress *progress, PlkError *err)
{
    PLK_CLOSE int fd = -1;

    if (facts->format == PLK_FILE_PLOOP)
        return plk_fail(err, PLK_ERROR_NOT_THIS_FORMAT,
                        "'%s/%s' is a ploop image without its directory: its header would not follow",
                        at->dir_path, at->name);
    if (facts->encryption != PLK_ENCRYPTION_NONE)
        return plk_fail(err, PLK_ERROR_NOT_THIS_FORMAT, "'%s/%s' is encrypted: its header would not follow",
                        at->dir_path, at->name);
    if (plk_plain_open(at, O_RDWR, PLK_IO_LOCK_EXCLUSIVE, &fd, err) < 0)
        return -1;
    return change_size(at, fd, capacity, flags, progress, err);
}

static int raw_wipe(const PlkPlace *at, const PlkVolumeFacts *facts, PlkWipe how, const PlkProgress *progress,
                    PlkError *err)
{
    PLK_CLOSE int fd = -1;

    if (plk_plain_open(at, O_RDWR, PLK_IO_LOCK_EXCLUSIVE, &fd, err) < 0)
        return -1;
    return plk_plain_wipe(at, fd, how, progress, err);
}

int plk_plain_stream(const PlkPlace *at, const PlkVolumeFacts *facts, PlkStreamWhat what, bool writing,
                     uint64_t offset, uint64_t length, PlkStream **ret, PlkError *err)
{
    PLK_CLOSE int fd = -1;

    if (what != PLK_STREAM_CONTAINER && facts->format != PLK_FILE_RAW)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "'%s/%s' can be read and written only as the file it is",
                        at->dir_path, at->name);
    if (plk_plain_open(at, writing ? O_RDWR : O_RDONLY, writing ? PLK_IO_LOCK_EXCLUSIVE : PLK_IO_LOCK_SHARED,
                       &fd, err) < 0)
        return -1;
    if (plk_stream_file(fd, writing, offset, length, ret, err) < 0) {
        plk_error_prefix(err, "'%s/%s': ", at->dir_path, at->name);
        return -1;
    }
    fd = -1;
    return 0;
}

const PlkVolumeDriver plk_driver_raw = {
    .name = "raw",
    .type = PLK_VOLUME_FILE,
    .check = raw_check,
    .create = raw_create,
    .clone = raw_clone,
    .remove = raw_remove,
    .resize = raw_resize,
    .wipe = raw_wipe,
    .open = plk_plain_stream,
};
