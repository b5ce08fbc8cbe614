/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening, making, filling and removing plain files for the drivers. A failure that only comes late (delayed
 * allocation, a full quota on the server) shows at fsync, so nothing is done before plk_plain_finish().
 */
#include "volume/plain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "io/lock.h"

#define ALLOCATE_STEP (1024ull << 20) /* between two looks at progress */
#define ZEROS (1u << 20)
#define PACE_MS 100

/* ---- progress ---- */

int plk_pace(PlkPace *pace, uint64_t add)
{
    struct timespec now;

    pace->done += add;
    if (!pace->progress)
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (pace->done != pace->total &&
        (now.tv_sec - pace->told.tv_sec) * 1000 + (now.tv_nsec - pace->told.tv_nsec) / 1000000 < PACE_MS)
        return 0;
    pace->told = now;
    return pace->progress->update(pace->progress->arg, pace->what, pace->done, pace->total) ? -ECANCELED : 0;
}

/* ---- open, make, remove ---- */

static int fail_open(const PlkPlace *at, int error, PlkError *err)
{
    switch (error) {
    case -ENOENT:
        return plk_fail(err, PLK_ERROR_NO_VOLUME, "there is no '%s/%s'", at->dir_path, at->name);
    case -ELOOP:
        return plk_fail(err, PLK_ERROR_REFUSED, "'%s/%s' is a symbolic link, and links are never followed",
                        at->dir_path, at->name);
    case -ENXIO:
        return plk_fail(err, PLK_ERROR_REFUSED, "'%s/%s' is neither a file nor a directory", at->dir_path,
                        at->name);
    case -EMLINK:
        return plk_fail(
            err, PLK_ERROR_REFUSED,
            "'%s/%s' has further names (hard links) and belongs to another user: it is not written to",
            at->dir_path, at->name);
    default:
        return plk_fail_io(err, PLK_ERROR_OPEN, error, "cannot open '%s/%s'", at->dir_path, at->name);
    }
}

static int fail_in_use(const PlkPlace *at, int fd, int error, PlkError *err)
{
    char owner[128];

    if (error != -EAGAIN)
        return plk_fail_io(err, PLK_ERROR_LOCK_CALL, error, "cannot lock '%s/%s'", at->dir_path, at->name);
    return plk_fail(err, PLK_ERROR_STATE, "'%s/%s' is in use by %s", at->dir_path, at->name,
                    plk_lock_owner(fd, owner, sizeof owner));
}

int plk_plain_test_lock(const PlkPlace *at, int fd, PlkIoLock lock, PlkError *err)
{
    int r = plk_lock_fd_test(fd, lock);

    return r < 0 ? fail_in_use(at, fd, r, err) : 0;
}

int plk_plain_open(const PlkPlace *at, int flags, PlkIoLock lock, int *ret_fd, PlkError *err)
{
    PLK_CLOSE int fd = plk_place_open(at, flags);
    struct stat st;
    int r;

    if (fd < 0)
        return fail_open(at, fd, err);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return plk_fail(err, PLK_ERROR_REFUSED, "'%s/%s' is not a file", at->dir_path, at->name);
    r = plk_lock_fd(fd, lock);
    if (r < 0)
        return fail_in_use(at, fd, r, err);
    *ret_fd = PLK_TAKE_FD(fd);
    return 0;
}

int plk_plain_create(const PlkPlace *at, int *ret_fd, PlkError *err)
{
    int fd = openat(at->dir, at->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 && errno == EEXIST)
        return plk_fail(err, PLK_ERROR_EXISTS, "'%s/%s' is there already", at->dir_path, at->name);
    if (fd < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, -errno, "cannot create '%s/%s'", at->dir_path, at->name);
    *ret_fd = fd;
    return 0;
}

void plk_plain_undo(const PlkPlace *at)
{
    unlinkat(at->dir, at->name, 0);
}

/* In use by somebody who can be told. What cannot be opened has no user to disturb, as far as we may know. */
static int check_unused(const PlkPlace *at, PlkError *err)
{
    PLK_CLOSE int fd = plk_place_open(at, O_RDONLY);

    return fd < 0 ? 0 : plk_plain_test_lock(at, fd, PLK_IO_LOCK_EXCLUSIVE, err);
}

int plk_plain_remove(const PlkPlace *at, PlkError *err)
{
    if (check_unused(at, err) < 0)
        return -1;
    if (unlinkat(at->dir, at->name, 0) < 0 && errno != ENOENT)
        return plk_fail_io(err, PLK_ERROR_UNLINK, -errno, "cannot delete '%s/%s'", at->dir_path, at->name);
    return 0;
}

int plk_plain_finish(const PlkPlace *at, int fd, const PlkPermissions *permissions, PlkError *err)
{
    if (permissions && plk_volume_own(fd, permissions, false, err) < 0) {
        plk_error_prefix(err, "'%s/%s': ", at->dir_path, at->name);
        return -1;
    }
    if (fsync(fd) < 0)
        return plk_fail_io(err, PLK_ERROR_SYNC, -errno, "'%s/%s' could not be written completely",
                           at->dir_path, at->name);
    return 0;
}

int plk_plain_check(const PlkVolumeDef *def, PlkError *err)
{
    if (def->target.encryption)
        return plk_fail(
            err, PLK_ERROR_CONFIG,
            "volume '%s': encrypted volumes cannot be made here, since there is no store of secrets; "
            "make it with 'qemu-img create' and refresh the pool",
            def->name);
    if (def->capacity > INT64_MAX || def->allocation > INT64_MAX)
        return plk_fail(err, PLK_ERROR_OVERFLOW, "volume '%s': no file can be as large as that", def->name);
    return 0;
}

/* ---- room ---- */

static int write_zeros(int fd, uint64_t start, uint64_t end, PlkPace *pace)
{
    PLK_FREE unsigned char *zeros = plk_calloc(1, ZEROS);
    int r = zeros ? 0 : -ENOMEM;

    while (r == 0 && start < end) {
        ssize_t n = pwrite(fd, zeros, PLK_MIN(end - start, ZEROS), (off_t)start);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        start += (uint64_t)n;
        r = plk_pace(pace, (uint64_t)n);
    }
    return r;
}

static int allocate(int fd, uint64_t start, uint64_t end, PlkPace *pace)
{
    int r = 0;

    while (r == 0 && start < end) {
        uint64_t step = PLK_MIN(end - start, ALLOCATE_STEP);

        if (fallocate(fd, 0, (off_t)start, (off_t)step) < 0) {
            if (errno == EINTR)
                continue;
            return errno == EOPNOTSUPP || errno == ENOSYS ? write_zeros(fd, start, end, pace) : -errno;
        }
        start += step;
        r = plk_pace(pace, step);
    }
    return r;
}

int plk_plain_allocate(const PlkPlace *at, int fd, uint64_t start, uint64_t end, const PlkProgress *progress,
                       PlkError *err)
{
    PlkPace pace = {.progress = progress, .what = "allocating", .total = end - start};
    int r = allocate(fd, start, end, &pace);

    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_ALLOCATE, r, "cannot reserve room for '%s/%s'", at->dir_path,
                           at->name);
    return 0;
}
