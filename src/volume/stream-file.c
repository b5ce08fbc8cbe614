/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stream over a plain file. Reading: runs of data and holes as the filesystem tells them, to the end the
 * file had when it was opened. Writing: in place, growing the file where it must; a hole frees blocks inside
 * the file and lengthens it behind its end, so that old data never shows through and nothing behind it is cut
 * off.
 */
#include "volume/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"

#define ZEROS (64u << 10)
#define FLUSH_STEP (8u << 20) /* written back while more comes in: little is left for the end */

typedef struct FileStream {
    PlkStream stream;
    uint64_t run_end; /* reading: of the run `position` is in; at most position = not known */
    bool run_is_data;
} FileStream;

static FileStream *file_of(PlkStream *s)
{
    return (FileStream *)s;
}

/* The first failure is kept. */
static int fail(PlkStream *s, int error)
{
    if (s->failed == 0)
        s->failed = error;
    return s->failed;
}

/* ---- reading ---- */

/* A filesystem without holes says EINVAL: all is data. */
static void find_run(FileStream *f)
{
    PlkStream *s = &f->stream;
    off_t data = lseek(s->fd, (off_t)s->position, SEEK_DATA), hole;

    f->run_is_data = data < 0 ? errno != ENXIO : (uint64_t)data <= s->position;
    f->run_end = s->end;
    if (data >= 0 && !f->run_is_data) {
        f->run_end = PLK_MIN((uint64_t)data, s->end);
    } else if (data >= 0) {
        hole = lseek(s->fd, data, SEEK_HOLE);
        if (hole > data)
            f->run_end = PLK_MIN((uint64_t)hole, s->end);
    }
}

static int file_next(PlkStream *s, bool *ret_data, uint64_t *ret_len)
{
    FileStream *f = file_of(s);

    if (s->failed)
        return s->failed;
    if (s->position >= s->end) {
        *ret_data = false;
        *ret_len = 0;
        return 0;
    }
    if (f->run_end <= s->position)
        find_run(f);
    *ret_data = f->run_is_data;
    *ret_len = f->run_end - s->position;
    return 0;
}

static ssize_t file_read(PlkStream *s, void *buf, size_t len)
{
    bool data;
    uint64_t run = 0;
    ssize_t n;
    int r = file_next(s, &data, &run);

    if (r < 0)
        return r;
    if (run == 0 || len == 0)
        return 0;
    do
        n = pread(s->fd, buf, PLK_MIN(len, run), (off_t)s->position);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return fail(s, -errno);
    if (n == 0)
        return fail(s, -EIO); /* it became shorter under our hands: an early end would look like success */
    s->position += (uint64_t)n;
    return n;
}

static int file_skip(PlkStream *s, uint64_t len)
{
    if (s->failed)
        return s->failed;
    s->position += PLK_MIN(len, s->end - PLK_MIN(s->position, s->end));
    return 0;
}

/* ---- writing ---- */

static int check_room(PlkStream *s, uint64_t len)
{
    uint64_t end;

    if (s->failed)
        return s->failed;
    if (PLK_ADD_OVERFLOW(s->position, len, &end) || end > s->end || end > INT64_MAX)
        return fail(s, -EFBIG);
    return 0;
}

static void flush_behind(PlkStream *s, uint64_t from)
{
    uint64_t begin = plk_round_down(from, FLUSH_STEP), end = plk_round_down(s->position, FLUSH_STEP);

    if (begin < end)
        (void)sync_file_range(s->fd, (off_t)begin, (off_t)(end - begin), SYNC_FILE_RANGE_WRITE);
}

static int write_here(PlkStream *s, const unsigned char *buf, size_t len)
{
    uint64_t from = s->position;

    while (len) {
        ssize_t n = pwrite(s->fd, buf, len, (off_t)s->position);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(s, -errno);
        buf += n;
        len -= (size_t)n;
        s->position += (uint64_t)n;
    }
    flush_behind(s, from);
    return 0;
}

static int file_write(PlkStream *s, const void *buf, size_t len)
{
    int r = check_room(s, len);

    return r < 0 ? r : write_here(s, buf, len);
}

static int write_zeros(PlkStream *s, uint64_t len)
{
    static const unsigned char zeros[ZEROS];
    int r = 0;

    while (r == 0 && len) {
        size_t step = PLK_MIN(len, ZEROS);

        r = write_here(s, zeros, step);
        len -= step;
    }
    return r;
}

/* Zeros up to `end`, inside the file. */
static int punch(PlkStream *s, uint64_t end)
{
    uint64_t len = end - s->position;

    while (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->position, (off_t)len) < 0) {
        if (errno == EINTR)
            continue;
        return errno == EOPNOTSUPP || errno == ENOSYS ? write_zeros(s, len) : fail(s, -errno);
    }
    s->position = end;
    return 0;
}

static int file_hole(PlkStream *s, uint64_t len)
{
    uint64_t end = s->position + len;
    struct stat st;
    int r = check_room(s, len);

    if (r < 0 || len == 0)
        return r;
    if (fstat(s->fd, &st) < 0)
        return fail(s, -errno);
    if ((uint64_t)st.st_size > s->position)
        r = punch(s, PLK_MIN(end, (uint64_t)st.st_size));
    if (r == 0 && end > (uint64_t)st.st_size) {
        if (ftruncate(s->fd, (off_t)end) < 0)
            return fail(s, -errno);
        s->position = end;
    }
    return r;
}

/* ---- the end ---- */

static int reader_finish(PlkStream *s, PlkError *err)
{
    return s->failed ? plk_fail_io(err, PLK_ERROR_READ, s->failed, "the file could not be read") : 0;
}

static int writer_finish(PlkStream *s, PlkError *err)
{
    if (s->failed)
        return plk_fail_io(err, PLK_ERROR_WRITE, s->failed, "the file could not be written");
    if (fsync(s->fd) < 0)
        return plk_fail_io(err, PLK_ERROR_SYNC, fail(s, -errno), "the file could not be written completely");
    return 0;
}

static void file_close(PlkStream *s)
{
    close(s->fd);
    free(s);
}

static const PlkStreamOps reader_ops = {
    .read = file_read,
    .next = file_next,
    .skip = file_skip,
    .finish = reader_finish,
    .close = file_close,
};

static const PlkStreamOps writer_ops = {
    .write = file_write,
    .hole = file_hole,
    .finish = writer_finish,
    .close = file_close,
};

/* Where the stream ends: a reader at the end of the file, a writer without a length nowhere. */
static int find_end(uint64_t size, bool writing, uint64_t offset, uint64_t length, uint64_t *ret,
                    PlkError *err)
{
    uint64_t end;

    if (PLK_ADD_OVERFLOW(offset, length, &end) || end > INT64_MAX)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "%llu bytes from %llu on are more than a file can have",
                        (unsigned long long)length, (unsigned long long)offset);
    if (length == 0)
        end = writing ? UINT64_MAX : size;
    *ret = writing ? end : PLK_MAX(PLK_MIN(end, size), offset); /* behind the end there is nothing, as in libvirt */
    return 0;
}

int plk_stream_file(int fd, bool writing, uint64_t offset, uint64_t length, PlkStream **ret, PlkError *err)
{
    FileStream *f;
    struct stat st;
    uint64_t end;

    if (fstat(fd, &st) < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, -errno, "cannot find out its size");
    if (find_end((uint64_t)st.st_size, writing, offset, length, &end, err) < 0)
        return -1;
    f = plk_calloc(1, sizeof *f);
    if (!f)
        return plk_fail_nomem(err);
    f->stream = (PlkStream){.ops = writing ? &writer_ops : &reader_ops,
                            .fd = fd,
                            .position = offset,
                            .end = end,
                            .size = (uint64_t)st.st_size};
    *ret = &f->stream;
    return 0;
}
