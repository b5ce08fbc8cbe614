/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sending a file as the stream of `ploop copy`, and looking at what a disk has kept; see the header. */
#include "copy-stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/crc64.h"
#include "base/error.h"
#include "base/math.h"

#define PIECE (1u << 20)

typedef struct Sender {
    int in, out;
    const char *name;
    uint64_t crc;
    char *buf;
} Sender;

int plk_copy_read(int fd, void *buf, size_t len, PlkError *err)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t have = 0;

    while (have < len) {
        ssize_t n;

        if (plk_cancelled())
            return plk_fail(err, PLK_ERROR_CANCELLED, "copy: cancelled");
        if (poll(&p, 1, 1000) <= 0)
            continue;
        n = read(fd, (char *)buf + have, len - have);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return plk_fail_errno(err, PLK_ERROR_READ, n ? errno : 0,
                                  "the other side is gone before the end of the copy");
        have += (size_t)n;
    }
    return 0;
}

static int send_all(Sender *s, const void *buf, size_t len, PlkError *err)
{
    struct pollfd p = {.fd = s->out, .events = POLLOUT};

    for (size_t done = 0; done < len;) {
        ssize_t n;

        if (plk_cancelled())
            return plk_fail(err, PLK_ERROR_CANCELLED, "copy: cancelled");
        if (poll(&p, 1, 1000) <= 0)
            continue;
        n = write(s->out, (const char *)buf + done, len - done);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return plk_fail_errno(err, PLK_ERROR_WRITE, n ? errno : EIO, "cannot send '%s'", s->name);
        done += (size_t)n;
    }
    return 0;
}

static int send_record(Sender *s, const void *data, size_t len, uint64_t at, PlkError *err)
{
    PlkStreamRecord head;

    head.mark = plk_to_le32(PLK_STREAM_MARK);
    head.size = plk_to_le32((uint32_t)len);
    head.position = plk_to_le64(at);
    s->crc = plk_crc64(plk_crc64(s->crc, &head, sizeof head), data, len);
    return send_all(s, &head, sizeof head, err) < 0 || send_all(s, data, len, err) < 0 ? -1 : 0;
}

static int read_piece(int fd, const char *name, void *buf, size_t len, uint64_t at, PlkError *err)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = pread(fd, (char *)buf + have, len - have, (off_t)(at + have));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return plk_fail_errno(err, PLK_ERROR_READ, n ? errno : EIO, "cannot read '%s' at %llu", name,
                                  (unsigned long long)(at + have));
        have += (size_t)n;
    }
    return 0;
}

static int send_run(Sender *s, uint64_t from, uint64_t to, PlkError *err)
{
    while (from < to) {
        size_t n = (size_t)PLK_MIN(to - from, (uint64_t)PIECE);

        if (n == PLK_STREAM_SYNC) /* would not pass for data */
            n /= 2;
        if (read_piece(s->in, s->name, s->buf, n, from, err) < 0 || send_record(s, s->buf, n, from, err) < 0)
            return -1;
        from += n;
    }
    return 0;
}

/* The last bytes always go: they give the copy its length. */
static int send_data(Sender *s, uint64_t length, PlkError *err)
{
    uint64_t tail = length - PLK_MIN(length, (uint64_t)512), at = 0;

    while (at < tail) {
        off_t from = lseek(s->in, (off_t)at, SEEK_DATA), to = from < 0 ? -1 : lseek(s->in, from, SEEK_HOLE);

        if (from < 0 && errno == ENXIO)
            break;
        at = from < 0 ? at : PLK_MIN((uint64_t)from, tail);
        if (send_run(s, at, to < 0 ? tail : PLK_MIN((uint64_t)to, tail), err) < 0)
            return -1;
        at = to < 0 ? tail : (uint64_t)to;
    }
    return send_run(s, tail, length, err);
}

static int send_check(Sender *s, int feedback, PlkError *err)
{
    char answer[sizeof PLK_STREAM_ANSWER - 1];
    PlkLe32 mark = plk_to_le32(PLK_STREAM_CHECK);

    if (send_record(s, &mark, sizeof mark, s->crc, err) < 0)
        return -1;
    if (feedback < 0)
        return 0;
    if (plk_copy_read(feedback, answer, sizeof answer, err) < 0)
        return -1;
    if (memcmp(answer, PLK_STREAM_ANSWER, sizeof answer))
        return plk_fail(err, PLK_ERROR_WRITE, "the receiver has not kept '%s'", s->name);
    return 0;
}

int plk_copy_send(int in, const char *name, int out, int feedback, PlkError *err)
{
    PLK_FREE char *buf = plk_malloc(PIECE);
    Sender s = {.in = in, .out = out, .name = name, .buf = buf};
    off_t length = lseek(in, 0, SEEK_END);

    if (!buf)
        return plk_fail_nomem(err);
    if (length < 0)
        return plk_fail_errno(err, PLK_ERROR_STAT, errno, "cannot tell the length of '%s'", name);
    if (send_data(&s, (uint64_t)length, err) < 0 || send_check(&s, feedback, err) < 0)
        return -1;
    return send_record(&s, "", 0, 0, err);
}

/* ---- what the disk has kept ---- */

static int drop_cache(int fd, const char *name, PlkError *err)
{
    if (fdatasync(fd) < 0)
        return plk_fail_errno(err, PLK_ERROR_SYNC, errno, "cannot sync '%s'", name);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return 0;
}

int plk_verify_piece(int fd, const char *name, const void *buf, size_t len, uint64_t at, PlkError *err)
{
    PLK_FREE char *kept = plk_malloc(PLK_MAX(len, 1));

    if (!kept)
        return plk_fail_nomem(err);
    if (drop_cache(fd, name, err) < 0 || read_piece(fd, name, kept, len, at, err) < 0)
        return -1;
    if (memcmp(kept, buf, len))
        return plk_fail(err, PLK_ERROR_WRITE, "'%s' at %llu: the disk gives back other bytes than were written", name,
                        (unsigned long long)at);
    return 0;
}

int plk_verify_files(int a, const char *a_name, int b, const char *b_name, PlkError *err)
{
    PLK_FREE char *buf = plk_malloc(PIECE);
    off_t length = lseek(a, 0, SEEK_END);

    if (!buf)
        return plk_fail_nomem(err);
    if (length < 0 || lseek(b, 0, SEEK_END) != length)
        return plk_fail(err, PLK_ERROR_WRITE, "'%s' and '%s' differ in length", a_name, b_name);
    if (drop_cache(b, b_name, err) < 0)
        return -1;
    (void)posix_fadvise(a, 0, 0, POSIX_FADV_DONTNEED);
    for (uint64_t at = 0; at < (uint64_t)length; at += PIECE) {
        size_t n = (size_t)PLK_MIN((uint64_t)length - at, (uint64_t)PIECE);

        if (plk_cancelled())
            return plk_fail(err, PLK_ERROR_CANCELLED, "copy: cancelled");
        if (read_piece(a, a_name, buf, n, at, err) < 0 || plk_verify_piece(b, b_name, buf, n, at, err) < 0)
            return -1;
    }
    return 0;
}
