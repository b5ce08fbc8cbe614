/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file's bytes into a new file: shared with it where the filesystem can, else by the kernel, else by hand.
 * Holes are not read and not written; the copy is exactly as long as was asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "volume/plain.h"

#define STEP (16u << 20) /* copied by one call, between two looks at progress */
#define BUFFER (1u << 20)

typedef struct Copy {
    int in, out;
    uint64_t size;
    PlkPace pace;
    bool by_hand;          /* the kernel refused */
    unsigned char *buffer; /* made when needed */
} Copy;

/* What kernels answer when they cannot do it for these two files, rather than when it fails. */
static bool is_refusal(int error)
{
    return error == EXDEV || error == EINVAL || error == ENOSYS || error == EOPNOTSUPP || error == EBADF ||
           error == EPERM || error == ETXTBSY;
}

static int write_all(int fd, const unsigned char *buf, size_t len, uint64_t at)
{
    for (ssize_t n; len; buf += n, len -= (size_t)n, at += (uint64_t)n) {
        n = pwrite(fd, buf, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n < 0)
            return -errno;
    }
    return 0;
}

/* Bytes copied; 0 = the source ends here. */
static ssize_t copy_by_hand(Copy *c, uint64_t at, uint64_t len)
{
    ssize_t n;
    int r;

    if (!c->buffer)
        c->buffer = plk_malloc(BUFFER);
    if (!c->buffer)
        return -ENOMEM;
    do
        n = pread(c->in, c->buffer, PLK_MIN(len, BUFFER), (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? -errno : 0;
    r = write_all(c->out, c->buffer, (size_t)n, at);
    return r < 0 ? r : n;
}

static ssize_t copy_some(Copy *c, uint64_t at, uint64_t len)
{
    off_t from = (off_t)at, to = (off_t)at;
    ssize_t n;

    if (c->by_hand)
        return copy_by_hand(c, at, len);
    do
        n = copy_file_range(c->in, &from, c->out, &to, PLK_MIN(len, STEP), 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return n;
    if (n < 0 && !is_refusal(errno))
        return -errno;
    c->by_hand = true; /* also after 0, which some filesystems answer for what they cannot do */
    return copy_by_hand(c, at, len);
}

static int copy_run(Copy *c, uint64_t at, uint64_t end)
{
    int r = 0;

    while (r == 0 && at < end) {
        ssize_t n = copy_some(c, at, end - at);

        if (n < 0)
            return (int)n;
        if (n == 0)
            return -ENODATA; /* somebody shortened the source */
        /* It is synced at the end: the disk may begin with it now. */
        (void)sync_file_range(c->out, (off_t)at, (off_t)n, SYNC_FILE_RANGE_WRITE);
        at += (uint64_t)n;
        r = plk_pace(&c->pace, (uint64_t)n);
    }
    return r;
}

/* The next run of data at or after `at`; *ret_start is c->size when there is none. */
static int next_data(const Copy *c, uint64_t at, uint64_t *ret_start, uint64_t *ret_end)
{
    off_t start = lseek(c->in, (off_t)at, SEEK_DATA), end;

    *ret_start = at;
    *ret_end = c->size;
    if (start < 0 && errno == ENXIO)
        *ret_start = c->size;
    else if (start < 0)
        return errno == EINVAL || errno == EOPNOTSUPP ? 0 : -errno; /* no holes on this filesystem */
    if (start < 0 || (uint64_t)start >= c->size) {
        *ret_start = start < 0 ? *ret_start : c->size;
        return 0;
    }
    end = lseek(c->in, start, SEEK_HOLE);
    if (end < 0)
        return -errno;
    *ret_start = (uint64_t)start;
    *ret_end = PLK_MIN((uint64_t)end, c->size);
    return 0;
}

static int copy_data(Copy *c)
{
    uint64_t at = 0, start, end;
    int r = ftruncate(c->out, (off_t)c->size) < 0 ? -errno : 0;

    while (r == 0 && at < c->size) {
        r = next_data(c, at, &start, &end);
        if (r == 0)
            r = plk_pace(&c->pace, start - at);
        if (r == 0 && start < c->size)
            r = copy_run(c, start, end);
        at = start < c->size ? end : c->size;
    }
    return r;
}

static int fail_copy(const PlkPlace *at, int error, PlkError *err)
{
    if (error == -ENODATA)
        return plk_fail(err, PLK_ERROR_READ, "the source of '%s/%s' became shorter while it was copied",
                        at->dir_path, at->name);
    return plk_fail_io(err, PLK_ERROR_WRITE, error, "cannot copy to '%s/%s'", at->dir_path, at->name);
}

int plk_plain_copy(const PlkPlace *at, int in, int out, uint64_t size, bool reflink,
                   const PlkProgress *progress, PlkError *err)
{
    Copy c = {.in = in, .out = out, .size = size, .pace = {progress, "copying", 0, size, {0}}};
    int r;

    if (ioctl(out, FICLONE, in) == 0) {
        r = ftruncate(out, (off_t)size) < 0 ? -errno : plk_pace(&c.pace, size);
        return r < 0 ? fail_copy(at, r, err) : 0;
    }
    if (reflink)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno == EXDEV ? EXDEV : EOPNOTSUPP,
                              "'%s/%s' cannot share blocks with its source on this filesystem", at->dir_path,
                              at->name);
    r = copy_data(&c);
    free(c.buffer);
    return r < 0 ? fail_copy(at, r, err) : 0;
}
