/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The view without FUSE: an unnamed sparse file beside the image holds what the disk holds, and takes it
 * back.
 *
 * Only data is copied and compared: stretches that are holes on both sides are skipped by asking for the next
 * data, so the cost follows the contents, not the size.
 */
#include "view/kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "base/units.h"

#define CHUNK (1u << 20)
#define GRAIN 4096u /* what is compared and written back */

static int fail_disk(const PlkWindow *w, int rc, PlkError *err)
{
    plk_disk_explain(w->disk, rc, err);
    return -1;
}

/* ---- making ---- */

static int open_beside(const char *image, PlkError *err)
{
    PLK_FREE char *path = plk_printf("%s.view-XXXXXX", image), *dir = plk_strdup(image);
    char *slash;
    int fd;

    if (!path || !dir)
        return plk_fail_nomem(err);
    slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = '\0';
    fd = open(slash ? dir : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    /* No unnamed files on this filesystem: a name for an instant. */
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_CREATE, errno, "cannot create a temporary file beside '%s'",
                              image);
    unlink(path);
    return fd;
}

/* Calls each run of data in the window; offsets are the window's. */
typedef int DataFn(void *arg, uint64_t start, uint64_t length, PlkError *err);

static int each_data(const PlkWindow *w, DataFn *each, void *arg, PlkError *err)
{
    for (uint64_t at = 0; at < w->length;) {
        PlkExtent extent;
        int rc = plk_disk_status(w->disk, w->offset + at, w->length - at, &extent);

        if (rc)
            return fail_disk(w, rc, err);
        if (extent.kind == PLK_EXTENT_DATA && each(arg, at, extent.length, err))
            return -1;
        at += extent.length;
    }
    return 0;
}

static int add_length(void *arg, uint64_t start, uint64_t length, PlkError *err)
{
    *(uint64_t *)arg += length;
    return 0;
}

static int check_space(const PlkWindow *w, int fd, const char *image, PlkError *err)
{
    uint64_t need = 0, have;
    struct statvfs st;
    char a[32], b[32];

    if (each_data(w, add_length, &need, err))
        return -1;
    if (fstatvfs(fd, &st))
        return plk_fail_errno(err, PLK_ERROR_STAT, errno, "cannot ask for the free space beside '%s'", image);
    have = (uint64_t)st.f_bavail * st.f_frsize;
    /* The helper needs some room of its own to write in. */
    need += need / 16 + CHUNK;
    if (have >= need)
        return 0;
    return plk_fail(err, PLK_ERROR_NO_SPACE,
                    "without FUSE a copy of the disk is needed beside '%s': %s, and there are %s free", image,
                    plk_human_size(need, a, sizeof a), plk_human_size(have, b, sizeof b));
}

typedef struct Copy {
    const PlkWindow *window;
    int fd;
    uint8_t *buf; /* CHUNK */
} Copy;

static int copy_run(void *arg, uint64_t start, uint64_t length, PlkError *err)
{
    Copy *c = arg;

    for (uint64_t at = start, end = start + length; at < end;) {
        size_t len = (size_t)PLK_MIN(end - at, CHUNK);
        int rc = plk_disk_read(c->window->disk, c->buf, len, c->window->offset + at);

        if (rc)
            return fail_disk(c->window, rc, err);
        if (!plk_is_zero(c->buf, len) && pwrite(c->fd, c->buf, len, (off_t)at) != (ssize_t)len)
            return plk_fail_errno(err, PLK_ERROR_WRITE, errno ? errno : ENOSPC,
                                  "cannot copy the disk to a temporary file");
        at += len;
    }
    return 0;
}

int plk_copy_make(const PlkWindow *window, int *ret_fd, PlkError *err)
{
    PlkDiskInfo info;
    PLK_FREE uint8_t *buf = plk_malloc(CHUNK);
    PLK_CLOSE int fd = -1;
    const char *image;

    if (!buf)
        return plk_fail_nomem(err);
    if (plk_disk_info(window->disk, &info, err))
        return -1;
    image = plk_disk_image_path(window->disk, info.levels - 1);
    fd = open_beside(image, err);
    if (fd < 0 || check_space(window, fd, image, err))
        return -1;
    if (ftruncate(fd, (off_t)window->length))
        return plk_fail_errno(err, PLK_ERROR_TRUNCATE, errno,
                              "cannot make a temporary file of %" PRIu64 " bytes beside '%s'", window->length,
                              image);
    Copy copy = {.window = window, .fd = fd, .buf = buf};
    if (each_data(window, copy_run, &copy, err))
        return -1;
    *ret_fd = PLK_TAKE_FD(fd);
    return 0;
}

/* ---- writing back ---- */

/* Where data begins at or after `at`, in the file or in the disk; the window's end if nowhere. */
static int next_data(const PlkWindow *w, int fd, uint64_t at, uint64_t end, uint64_t *ret, PlkError *err)
{
    off_t in_file = lseek(fd, (off_t)at, SEEK_DATA);
    uint64_t limit = in_file < 0 ? end : PLK_MIN((uint64_t)in_file, end);

    while (at < limit) {
        PlkExtent extent;
        int rc = plk_disk_status(w->disk, w->offset + at, limit - at, &extent);
        if (rc)
            return fail_disk(w, rc, err);
        if (extent.kind == PLK_EXTENT_DATA)
            break;
        at += extent.length;
    }
    *ret = PLK_MIN(at, end);
    return 0;
}

/* The stretch of differing grains from `from` on; false if there is none. */
static bool next_difference(const uint8_t *a, const uint8_t *b, size_t len, size_t from, size_t *ret_start,
                            size_t *ret_end)
{
    size_t start = from, end;

    while (start < len && !memcmp(a + start, b + start, PLK_MIN(GRAIN, len - start)))
        start += PLK_MIN(GRAIN, len - start);
    if (start == len)
        return false;
    end = start;
    while (end < len && memcmp(a + end, b + end, PLK_MIN(GRAIN, len - end)))
        end += PLK_MIN(GRAIN, len - end);
    *ret_start = start;
    *ret_end = end;
    return true;
}

static int write_chunk(const PlkWindow *w, const uint8_t *wanted, const uint8_t *there, size_t len,
                       uint64_t at)
{
    size_t start, end = 0;
    int rc = 0;

    while (!rc && next_difference(wanted, there, len, end, &start, &end)) {
        uint64_t off = w->offset + at + start;
        rc = plk_is_zero(wanted + start, end - start)
                 ? plk_disk_zero(w->disk, off, end - start)
                 : plk_disk_write(w->disk, wanted + start, end - start, off);
    }
    return rc;
}

static int write_back(const PlkWindow *w, int fd, uint8_t *wanted, uint8_t *there, uint64_t end,
                      PlkError *err)
{
    for (uint64_t at = 0;;) {
        size_t len;
        ssize_t n;
        int rc;

        if (next_data(w, fd, at, end, &at, err))
            return -1;
        if (at == end)
            return 0;
        len = (size_t)PLK_MIN(end - at, CHUNK - at % CHUNK);
        n = pread(fd, wanted, len, (off_t)at);
        if (n != (ssize_t)len)
            return plk_fail_errno(err, PLK_ERROR_READ, n < 0 ? errno : EIO,
                                  "cannot read the temporary copy back");
        rc = plk_disk_read(w->disk, there, len, w->offset + at);
        if (!rc)
            rc = write_chunk(w, wanted, there, len, at);
        if (rc)
            return fail_disk(w, rc, err);
        at += len;
    }
}

int plk_copy_write_back(const PlkWindow *window, int fd, PlkError *err)
{
    PLK_FREE uint8_t *buf = plk_malloc(2 * CHUNK);
    off_t size = lseek(fd, 0, SEEK_END);

    if (!buf)
        return plk_fail_nomem(err);
    if (size < 0)
        return plk_fail_errno(err, PLK_ERROR_READ, errno, "cannot read the temporary copy back");
    return write_back(window, fd, buf, buf + CHUNK, PLK_MIN((uint64_t)size, window->length), err);
}
