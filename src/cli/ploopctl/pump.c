/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moving bytes; see the header. */
#include "pump.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "cli/common/command.h"

#define PIECE ((size_t)1 << 20)
#define PATIENCE_MS 200

typedef struct Pump {
    PlkStream *stream;
    int fd;
    const char *name, *what;
    char *buf;
    uint64_t done, total;
    bool holes; /* fd has a place: it can be asked for holes, and skipped in */
} Pump;

static int begin(PlkStream *stream, int fd, const char *name, const char *what, Pump *ret, PlkError *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return plk_fail_errno(err, PLK_ERROR_STAT, errno, "cannot look at '%s'", name);
    *ret = (Pump){.stream = stream, .fd = fd, .name = name, .what = what, .holes = S_ISREG(st.st_mode)};
    ret->buf = plk_malloc(PIECE);
    return ret->buf ? 0 : plk_fail_nomem(err);
}

static void end(Pump *p)
{
    free(p->buf);
}
#define PUMP plk_cleanup(end) Pump

static int cancelled(const Pump *p, PlkError *err)
{
    return plk_fail(err, PLK_ERROR_CANCELLED, "%s of '%s': cancelled", p->what, p->name);
}

static int progress(Pump *p, uint64_t more, PlkError *err)
{
    const PlkProgress *bar = plk_cli_progress();

    p->done += more;
    if (bar->update(bar->arg, p->what, p->done, PLK_MAX(p->total, p->done)))
        return cancelled(p, err);
    return 0;
}

/* ---- in ---- */

/*
 * Until there is something to read. Between two looks the stream is asked, by writing nothing, whether
 * somebody cancelled the job; a signal of our own ends the wait as well.
 */
static int wait_for_input(const Pump *p)
{
    struct pollfd wait = {.fd = p->fd, .events = POLLIN};

    for (;;) {
        int n = poll(&wait, 1, PATIENCE_MS), rc;

        if (plk_cancelled())
            return -ECANCELED;
        if (n > 0 || (n < 0 && errno != EINTR))
            return n > 0 ? 0 : -errno;
        rc = plk_stream_write(p->stream, p->buf, 0);
        if (rc < 0)
            return rc;
    }
}

static ssize_t read_some(const Pump *p, size_t len)
{
    ssize_t n;
    int rc = p->holes ? 0 : wait_for_input(p);

    if (rc < 0)
        return rc;
    do
        n = read(p->fd, p->buf, len);
    while (n < 0 && errno == EINTR && !plk_cancelled());
    return n < 0 ? -errno : n;
}

/* A regular file from its present place on: that much of hole, then that much of data. The place stays. */
static void next_run(const Pump *p, uint64_t *ret_hole, uint64_t *ret_data)
{
    off_t at = lseek(p->fd, 0, SEEK_CUR), size = lseek(p->fd, 0, SEEK_END), data, end;

    data = lseek(p->fd, at, SEEK_DATA);
    if (data < 0)
        data = errno == ENXIO ? PLK_MAX(size, at) : at;
    end = lseek(p->fd, data, SEEK_HOLE);
    *ret_hole = (uint64_t)(data - at);
    *ret_data = end > data ? (uint64_t)(end - data) : UINT64_MAX;
    (void)lseek(p->fd, at, SEEK_SET);
}

static int feed(Pump *p, ssize_t n, PlkError *err)
{
    int rc;

    if (n == -ECANCELED)
        return cancelled(p, err);
    if (n < 0)
        return plk_fail_io(err, PLK_ERROR_READ, (int)n, "cannot read '%s'", p->name);
    rc = plk_stream_write(p->stream, p->buf, (size_t)n);
    if (rc < 0)
        return plk_fail_io(err, PLK_ERROR_WRITE, rc, "the volume takes no more of '%s' at %llu", p->name,
                           (unsigned long long)p->stream->position);
    return progress(p, (uint64_t)n, err);
}

static int feed_hole(Pump *p, uint64_t len, PlkError *err)
{
    int rc = plk_stream_hole(p->stream, len);

    if (rc < 0)
        return plk_fail_io(err, PLK_ERROR_WRITE, rc, "the volume takes no more of '%s' at %llu", p->name,
                           (unsigned long long)p->stream->position);
    if (lseek(p->fd, (off_t)len, SEEK_CUR) < 0)
        return plk_fail_errno(err, PLK_ERROR_READ, errno, "cannot read '%s'", p->name);
    return progress(p, len, err);
}

/* What a regular file holds from here on. */
static uint64_t expected(const Pump *p, uint64_t length)
{
    off_t at = p->holes ? lseek(p->fd, 0, SEEK_CUR) : -1;
    struct stat st;

    if (at < 0 || fstat(p->fd, &st) < 0 || st.st_size < at)
        return 0;
    return PLK_MIN((uint64_t)(st.st_size - at), length);
}

int plk_pump_in(int fd, const char *name, PlkStream *to, uint64_t length, bool sparse, PlkError *err)
{
    PUMP p = {0};

    if (begin(to, fd, name, "upload", &p, err) < 0)
        return -1;
    p.total = expected(&p, length);
    while (p.done < length) {
        uint64_t left = length - p.done, hole = 0, data = UINT64_MAX;
        ssize_t n;

        if (sparse && p.holes)
            next_run(&p, &hole, &data);
        if (hole) {
            if (feed_hole(&p, PLK_MIN(hole, left), err) < 0)
                return -1;
            continue;
        }
        n = read_some(&p, (size_t)PLK_MIN(PLK_MIN(left, data), (uint64_t)PIECE));
        if (n == 0)
            return 0;
        if (feed(&p, n, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- out ---- */

static int write_all(const Pump *p, const char *buf, size_t len, PlkError *err)
{
    while (len) {
        ssize_t n = write(p->fd, buf, len);

        if (n < 0 && errno == EINTR && !plk_cancelled())
            continue;
        if (n < 0)
            return plk_fail_io(err, PLK_ERROR_WRITE, errno == EINTR ? -ECANCELED : -errno,
                               "cannot write '%s'", p->name);
        buf += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_zeros(Pump *p, uint64_t len, PlkError *err)
{
    memset(p->buf, 0, PIECE);
    while (len) {
        size_t n = (size_t)PLK_MIN(len, (uint64_t)PIECE);

        if (write_all(p, p->buf, n, err) < 0 || progress(p, n, err) < 0)
            return -1;
        len -= n;
    }
    return 0;
}

static int leave_hole(Pump *p, uint64_t len, PlkError *err)
{
    if (lseek(p->fd, (off_t)len, SEEK_CUR) < 0)
        return plk_fail_errno(err, PLK_ERROR_WRITE, errno, "cannot write '%s'", p->name);
    return progress(p, len, err);
}

static int take_hole(Pump *p, uint64_t len, bool sparse, PlkError *err)
{
    int rc = plk_stream_skip(p->stream, len);

    if (rc < 0)
        return plk_fail_io(err, PLK_ERROR_READ, rc, "cannot read the volume on");
    return sparse && p->holes ? leave_hole(p, len, err) : write_zeros(p, len, err);
}

static int take_data(Pump *p, uint64_t len, PlkError *err)
{
    while (len) {
        ssize_t n = plk_stream_read(p->stream, p->buf, (size_t)PLK_MIN(len, (uint64_t)PIECE));

        if (n < 0)
            return plk_fail_io(err, PLK_ERROR_READ, (int)n, "cannot read the volume on");
        if (n == 0)
            return 0;
        if (write_all(p, p->buf, (size_t)n, err) < 0 || progress(p, (uint64_t)n, err) < 0)
            return -1;
        len -= (uint64_t)n;
    }
    return 0;
}

/* A hole at the end has length only when the file is told so. */
static int set_length(const Pump *p, PlkError *err)
{
    off_t at = p->holes ? lseek(p->fd, 0, SEEK_CUR) : -1;
    struct stat st;

    if (at < 0 || fstat(p->fd, &st) < 0 || st.st_size >= at)
        return 0;
    if (ftruncate(p->fd, at) < 0)
        return plk_fail_errno(err, PLK_ERROR_TRUNCATE, errno, "cannot write '%s'", p->name);
    return 0;
}

int plk_pump_out(PlkStream *from, int fd, const char *name, uint64_t total, bool sparse, PlkError *err)
{
    PUMP p = {0};
    uint64_t len;
    bool data;
    int rc;

    if (begin(from, fd, name, "download", &p, err) < 0)
        return -1;
    p.total = total;
    for (;;) {
        rc = plk_stream_next(from, &data, &len);
        if (rc < 0)
            return plk_fail_io(err, PLK_ERROR_READ, rc, "cannot read the volume on");
        if (len == 0)
            return set_length(&p, err);
        if ((data ? take_data(&p, len, err) : take_hole(&p, len, sparse, err)) < 0)
            return -1;
    }
}
