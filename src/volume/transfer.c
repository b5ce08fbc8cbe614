/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moving bytes between a disk and plain files; see the header.
 *
 * Reading a disk goes round plk_disk_read(): each run of data is copied from the image that owns it, file to
 * file, at the place plk_disk_status() names. The caller holds the disk open with its locks, so nobody moves
 * a cluster meanwhile.
 */
#include "volume/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "base/units.h"

#define STEP (8u << 20) /* bytes between two looks at the cancel flag */
#define BUFFER (1u << 20)
#define MAX_LEVELS 128

typedef struct Tally {
    const PlkProgress *progress;
    const char *what;
    uint64_t done, total;
} Tally;

static int tally(Tally *t, uint64_t bytes, PlkError *err)
{
    t->done += bytes;
    if (t->progress && t->progress->update(t->progress->arg, t->what, t->done, t->total))
        return plk_fail(err, PLK_ERROR_CANCELLED, "%s: cancelled", t->what);
    return 0;
}

/* ---- one run of bytes, file to file ---- */

typedef struct Ends {
    int in, out;
    const char *in_name, *out_name;
    char *buf;
} Ends;

static int copy_through(Ends *e, uint64_t from, uint64_t to, uint64_t len, PlkError *err)
{
    if (!e->buf)
        e->buf = plk_malloc(BUFFER);
    if (!e->buf)
        return plk_fail_nomem(err);
    while (len) {
        ssize_t got = pread(e->in, e->buf, PLK_MIN(len, (uint64_t)BUFFER), (off_t)from), put = 0;

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return plk_fail_errno(err, PLK_ERROR_READ, got ? errno : EIO, "cannot read '%s' at %llu",
                                  e->in_name, (unsigned long long)from);
        while (put < got) {
            ssize_t n = pwrite(e->out, e->buf + put, (size_t)(got - put), (off_t)to + put);

            if (n < 0 && errno != EINTR)
                return plk_fail_io(err, PLK_ERROR_WRITE, -errno, "cannot write '%s'", e->out_name);
            put += n > 0 ? n : 0;
        }
        from += (uint64_t)got;
        to += (uint64_t)got;
        len -= (uint64_t)got;
    }
    return 0;
}

/* At most STEP bytes. The kernel may refuse any pair of filesystems, or come up short; then we do the rest.
 */
static int copy_step(Ends *e, uint64_t from, uint64_t to, uint64_t len, PlkError *err)
{
    off_t in_at = (off_t)from, out_at = (off_t)to;

    while (len) {
        ssize_t n = copy_file_range(e->in, &in_at, e->out, &out_at, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT))
            return plk_fail_io(err, PLK_ERROR_WRITE, -errno, "cannot write '%s'", e->out_name);
        if (n <= 0)
            return copy_through(e, (uint64_t)in_at, (uint64_t)out_at, len, err);
        len -= (uint64_t)n;
    }
    return 0;
}

static int copy_run(Ends *e, uint64_t from, uint64_t to, uint64_t len, Tally *t, PlkError *err)
{
    while (len) {
        uint64_t step = PLK_MIN(len, (uint64_t)STEP);

        if (copy_step(e, from, to, step, err) < 0 || tally(t, step, err) < 0)
            return -1;
        /* The disk works while the next piece is copied; the sync at the end then finds little left to do. */
        (void)sync_file_range(e->out, (off_t)to, (off_t)step, SYNC_FILE_RANGE_WRITE);
        from += step;
        to += step;
        len -= step;
    }
    return 0;
}

static int set_length(int fd, const char *name, uint64_t length, PlkError *err)
{
    if (ftruncate(fd, (off_t)length) < 0)
        return plk_fail_io(err, PLK_ERROR_TRUNCATE, -errno, "cannot give '%s' its length", name);
    return 0;
}

/* ---- disk to file ---- */

/* The images' own files, opened when their first run comes up. */
typedef struct Sources {
    int fd[MAX_LEVELS];
} Sources;

static int source_open(Sources *s, PlkDisk *disk, int level, PlkError *err)
{
    const char *path = plk_disk_image_path(disk, (unsigned)level);

    if (s->fd[level] >= 0)
        return s->fd[level];
    s->fd[level] = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (s->fd[level] < 0)
        return plk_fail_errno(err, PLK_ERROR_OPEN, errno, "cannot open '%s'", path);
    return s->fd[level];
}

static void sources_close(Sources *s)
{
    for (size_t i = 0; i < MAX_LEVELS; i++)
        if (s->fd[i] >= 0)
            close(s->fd[i]);
}

static int copy_extent(Sources *s, PlkDisk *disk, Ends *e, uint64_t at, const PlkExtent *x, Tally *t,
                       PlkError *err)
{
    if (x->kind != PLK_EXTENT_DATA)
        return tally(t, x->length, err);
    e->in = source_open(s, disk, x->level, err);
    if (e->in < 0)
        return -1;
    e->in_name = plk_disk_image_path(disk, (unsigned)x->level);
    return copy_run(e, x->file_offset, at, x->length, t, err);
}

static int copy_extents(PlkDisk *disk, Sources *s, Ends *e, Tally *t, PlkError *err)
{
    for (uint64_t at = 0; at < t->total;) {
        PlkExtent x;
        int rc = plk_disk_status(disk, at, t->total - at, &x);

        if (rc < 0) {
            plk_disk_explain(disk, rc, err);
            return -1;
        }
        if (copy_extent(s, disk, e, at, &x, t, err) < 0)
            return -1;
        at += x.length;
    }
    return 0;
}

int plk_disk_to_file(PlkDisk *disk, int fd, const char *name, const PlkProgress *progress, PlkError *err)
{
    Tally t = {.progress = progress, .what = "export", .total = plk_disk_size(disk)};
    Ends e = {.out = fd, .out_name = name};
    Sources s;
    int rc;

    for (size_t i = 0; i < MAX_LEVELS; i++)
        s.fd[i] = -1;
    rc = set_length(fd, name, t.total, err);
    if (rc == 0)
        rc = copy_extents(disk, &s, &e, &t, err);
    sources_close(&s);
    free(e.buf);
    return rc;
}

/* ---- file to file, file to disk ---- */

static int file_length(int fd, const char *name, uint64_t *ret, PlkError *err)
{
    off_t end = lseek(fd, 0, SEEK_END); /* of a block device too */

    if (end < 0)
        return plk_fail_errno(err, PLK_ERROR_STAT, errno, "cannot tell the length of '%s'", name);
    *ret = (uint64_t)end;
    return 0;
}

/* The next run of data at or behind `at`: *ret_from == total when there is none. All is data where holes
 * cannot be seen. */
static void next_data(int fd, uint64_t at, uint64_t total, uint64_t *ret_from, uint64_t *ret_to)
{
    off_t from = lseek(fd, (off_t)at, SEEK_DATA), to;

    if (from < 0) {
        *ret_from = errno == ENXIO ? total : at;
        *ret_to = total;
        return;
    }
    to = lseek(fd, from, SEEK_HOLE);
    *ret_from = PLK_MIN((uint64_t)from, total);
    *ret_to = to < 0 ? total : PLK_MIN((uint64_t)to, total);
}

int plk_file_to_file(int in, const char *in_name, int out, const char *out_name, const PlkProgress *progress,
                     PlkError *err)
{
    Tally t = {.progress = progress, .what = "copy"};
    Ends e = {.in = in, .out = out, .in_name = in_name, .out_name = out_name};
    uint64_t from, to;
    int rc = 0;

    if (file_length(in, in_name, &t.total, err) < 0 || set_length(out, out_name, t.total, err) < 0)
        return -1;
    for (uint64_t at = 0; rc == 0 && at < t.total; at = to) {
        next_data(in, at, t.total, &from, &to);
        rc = tally(&t, from - at, err);
        if (rc == 0 && from < to)
            rc = copy_run(&e, from, from, to - from, &t, err);
    }
    free(e.buf);
    return rc;
}

/* One piece of at most BUFFER bytes at a multiple of BUFFER. */
static int import_piece(int fd, const char *name, PlkDisk *disk, char *buf, uint64_t at, size_t len,
                        PlkError *err)
{
    size_t have = 0;
    int rc;

    while (have < len) {
        ssize_t n = pread(fd, buf + have, len - have, (off_t)(at + have));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return plk_fail_errno(err, PLK_ERROR_READ, n ? errno : EIO, "cannot read '%s' at %llu", name,
                                  (unsigned long long)at);
        have += (size_t)n;
    }
    if (plk_is_zero(buf, len))
        return 0;
    rc = plk_disk_write(disk, buf, len, at);
    if (rc < 0)
        plk_disk_explain(disk, rc, err);
    return rc < 0 ? -1 : 0;
}

static int import_run(int fd, const char *name, PlkDisk *disk, uint64_t from, uint64_t to, Tally *t,
                      PlkError *err)
{
    PLK_FREE char *buf = plk_malloc(BUFFER);
    /* Whole clusters where possible: a piece of zeros must not be cut off from the data beside it. */
    uint64_t piece = PLK_MIN((uint64_t)plk_disk_cluster(disk), (uint64_t)BUFFER);

    if (!buf)
        return plk_fail_nomem(err);
    while (from < to) {
        uint64_t end = PLK_MIN(to, plk_round_down(from, piece) + piece);

        if (import_piece(fd, name, disk, buf, from, (size_t)(end - from), err) < 0 ||
            tally(t, end - from, err) < 0)
            return -1;
        from = end;
    }
    return 0;
}

int plk_file_to_disk(int fd, const char *name, PlkDisk *disk, const PlkProgress *progress, PlkError *err)
{
    Tally t = {.progress = progress, .what = "import"};
    uint64_t from, to;

    if (file_length(fd, name, &t.total, err) < 0)
        return -1;
    for (uint64_t at = 0; at < t.total; at = to) {
        next_data(fd, at, t.total, &from, &to);
        if (tally(&t, from - at, err) < 0)
            return -1;
        if (from < to && import_run(fd, name, disk, from, to, &t, err) < 0)
            return -1;
    }
    return 0;
}

int plk_need_space(int fd, const char *name, uint64_t bytes, PlkError *err)
{
    struct statvfs vfs;
    uint64_t have;
    char a[32], b[32];

    if (fstatvfs(fd, &vfs) < 0)
        return plk_fail_errno(err, PLK_ERROR_STAT, errno, "cannot tell the free space around '%s'", name);
    have = vfs.f_bavail * (uint64_t)vfs.f_frsize;
    if (have >= bytes)
        return 0;
    return plk_fail(err, PLK_ERROR_NO_SPACE, "'%s' needs %s of free space, there are %s", name,
                    plk_human_size(bytes, a, sizeof(a)), plk_human_size(have, b, sizeof(b)));
}
