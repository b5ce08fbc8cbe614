/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gate in front of every backend; io.h says what it promises. Reads and writes that the backend
 * finishes in one go cost a handful of instructions here: loops and checks for the rest are out of line.
 */
#include "io/io.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/debug.h"
#include "base/math.h"
#include "io/retry.h"

#define COPY_ALIGN 4096 /* what reflinking filesystems want at least */

static const unsigned char zeros[64 * 1024];

static const char *const point_names[PLK_POINT_COUNT] = {
    [PLK_POINT_NONE] = "none",
    [PLK_POINT_OPEN_READ] = "open-read",
    [PLK_POINT_BAT_READ] = "bat-read",
    [PLK_POINT_DATA_READ] = "data-read",
    [PLK_POINT_DATA_WRITE] = "data-write",
    [PLK_POINT_DATA_ZERO] = "data-zero",
    [PLK_POINT_DATA_COPY] = "data-copy",
    [PLK_POINT_DATA_EXTEND] = "data-extend",
    [PLK_POINT_DATA_SYNC] = "data-sync",
    [PLK_POINT_FREE_PUNCH] = "free-punch",
    [PLK_POINT_TAIL_TRUNCATE] = "tail-truncate",
    [PLK_POINT_META_BAT] = "meta-bat",
    [PLK_POINT_META_HEADER] = "meta-header",
    [PLK_POINT_META_IN_USE] = "meta-in-use",
    [PLK_POINT_META_CLOSE] = "meta-close",
    [PLK_POINT_META_INIT] = "meta-init",
    [PLK_POINT_META_SYNC] = "meta-sync",
    [PLK_POINT_FILE_WRITE] = "file-write",
    [PLK_POINT_FILE_SYNC] = "file-sync",
    [PLK_POINT_DIR_CREATE] = "dir-create",
    [PLK_POINT_DIR_RENAME] = "dir-rename",
    [PLK_POINT_DIR_UNLINK] = "dir-unlink",
    [PLK_POINT_DIR_SYNC] = "dir-sync",
};

const char *plk_point_name(PlkPoint point)
{
    return (unsigned)point < PLK_POINT_COUNT ? point_names[point] : "?";
}

bool plk_io_init(PlkIo *io, const PlkIoOps *ops, const char *name, bool writable)
{
    assert(ops->struct_size >= sizeof(PlkIoOps));
    assert(ops->read && ops->write && ops->sync && ops->size && ops->truncate && ops->lock &&
           ops->lock_test && ops->close);
    io->ops = ops;
    io->name = plk_strdup(name);
    io->writable = writable;
    atomic_init(&io->meta_end, 0);
    atomic_init(&io->poisoned, false);
    return io->name != NULL;
}

void plk_io_close(PlkIo *io)
{
    char *name;

    if (!io)
        return;
    name = io->name;
    if (atomic_load(&io->poisoned)) /* pages that never reached the disk may pass for written */
        (void)plk_io_drop_cache(io);
    io->ops->close(io);
    free(name);
}

void plk_io_set_meta_end(PlkIo *io, uint64_t end)
{
    atomic_store(&io->meta_end, end);
}

/* ---- what every call passes ---- */

static inline void assert_range(uint64_t off, uint64_t len)
{
    assert(off <= INT64_MAX && len <= INT64_MAX - off);
}

static inline bool is_meta(PlkPoint point)
{
    return point >= PLK_POINT_META_BAT && point <= PLK_POINT_META_SYNC;
}

/* May `point` change bytes from `off` on? */
static inline int check_change(PlkIo *io, uint64_t off, PlkPoint point)
{
    if (!io->writable)
        return -EBADF;
    if (atomic_load_explicit(&io->poisoned, memory_order_relaxed))
        return -EIO;
    if (off < atomic_load_explicit(&io->meta_end, memory_order_relaxed) && !is_meta(point))
        return -EPERM;
    return 0;
}

static __attribute__((noinline, cold)) void trace(PlkIo *io, const char *what, uint64_t off, uint64_t len,
                                                  PlkPoint point, long long result)
{
    plk_debug_print(PLK_DEBUG_IO, "%s: %s %s %llu+%llu: %lld", io->name, what, plk_point_name(point),
                    (unsigned long long)off, (unsigned long long)len, result);
}

static inline int traced(PlkIo *io, const char *what, uint64_t off, uint64_t len, PlkPoint point, int result)
{
    if (__builtin_expect(plk_debug_on(PLK_DEBUG_IO), 0))
        trace(io, what, off, len, point, result);
    return result;
}

/* ---- reading and writing ---- */

/* Go on after a first call that returned n. */
static __attribute__((noinline)) int finish_read(PlkIo *io, char *buf, size_t len, uint64_t off,
                                                 size_t *ret_len, PlkPoint point, ssize_t n)
{
    size_t done = 0;

    for (;;) {
        if (n < 0 && n != -EINTR)
            return (int)n;
        if (n == 0)
            break;
        if (n > 0)
            done += (size_t)n;
        assert(done <= len);
        if (done == len)
            break;
        n = io->ops->read(io, buf + done, len - done, off + done, point);
    }
    *ret_len = done;
    return 0;
}

int plk_io_read_upto(PlkIo *io, void *buf, size_t len, uint64_t off, size_t *ret_len, PlkPoint point)
{
    ssize_t n;

    assert(buf || len == 0);
    assert_range(off, len);
    n = len ? io->ops->read(io, buf, len, off, point) : 0;
    if (__builtin_expect(n == (ssize_t)len, 1)) {
        *ret_len = len;
        return traced(io, "read", off, len, point, 0);
    }
    return traced(io, "read", off, len, point, finish_read(io, buf, len, off, ret_len, point, n));
}

int plk_io_read(PlkIo *io, void *buf, size_t len, uint64_t off, PlkPoint point)
{
    size_t got;
    int r = plk_io_read_upto(io, buf, len, off, &got, point);

    if (r == 0 && got < len)
        memset((char *)buf + got, 0, len - got);
    return r;
}

static __attribute__((noinline)) int finish_write(PlkIo *io, const char *buf, size_t len, uint64_t off,
                                                  PlkPoint point, ssize_t n)
{
    size_t done = 0;

    for (;;) {
        if (n < 0 && n != -EINTR)
            return (int)n;
        if (n == 0) /* no error, no progress: nothing a caller could wait for */
            return -EIO;
        if (n > 0)
            done += (size_t)n;
        assert(done <= len);
        if (done == len)
            return 0;
        n = io->ops->write(io, buf + done, len - done, off + done, point);
    }
}

int plk_io_write(PlkIo *io, const void *buf, size_t len, uint64_t off, PlkPoint point)
{
    ssize_t n;
    int r;

    assert(buf || len == 0);
    assert_range(off, len);
    if (len == 0)
        return 0;
    r = check_change(io, off, point);
    if (__builtin_expect(r < 0, 0))
        return traced(io, "write", off, len, point, r);
    n = io->ops->write(io, buf, len, off, point);
    if (__builtin_expect(n == (ssize_t)len, 1))
        return traced(io, "write", off, len, point, 0);
    return traced(io, "write", off, len, point, finish_write(io, buf, len, off, point, n));
}

int plk_io_sync(PlkIo *io, PlkPoint point)
{
    int r;

    if (atomic_load(&io->poisoned))
        return -EIO;
    r = PLK_UNINTERRUPTED(io->ops->sync(io, point));
    if (r < 0)
        atomic_store(&io->poisoned, true);
    return traced(io, "sync", 0, 0, point, r);
}

/* ---- size and space ---- */

int plk_io_size(PlkIo *io, uint64_t *ret)
{
    return PLK_UNINTERRUPTED(io->ops->size(io, ret));
}

int plk_io_truncate(PlkIo *io, uint64_t size, PlkPoint point)
{
    int r;

    assert_range(size, 0);
    r = check_change(io, size, point);
    if (r == 0)
        r = PLK_UNINTERRUPTED(io->ops->truncate(io, size, point));
    return traced(io, "truncate", size, 0, point, r);
}

int plk_io_punch(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    int r;

    assert_range(off, len);
    if (len == 0)
        return 0;
    r = check_change(io, off, point);
    if (r == 0 && !io->ops->punch)
        r = -EOPNOTSUPP;
    if (r == 0)
        r = PLK_UNINTERRUPTED(io->ops->punch(io, off, len, point));
    return traced(io, "punch", off, len, point, r);
}

int plk_io_allocate(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    int r;

    assert_range(off, len);
    if (len == 0)
        return 0;
    r = check_change(io, UINT64_MAX, point); /* contents stay, so metadata may lie in the range */
    if (r == 0 && !io->ops->allocate)
        r = -EOPNOTSUPP;
    if (r == 0)
        r = PLK_UNINTERRUPTED(io->ops->allocate(io, off, len, point));
    return traced(io, "allocate", off, len, point, r);
}

static int write_zeros(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    int r = 0;

    while (len > 0 && r == 0) {
        size_t n = (size_t)PLK_MIN(len, sizeof zeros);

        r = plk_io_write(io, zeros, n, off, point);
        off += n;
        len -= n;
    }
    return r;
}

int plk_io_zero(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    uint64_t size;
    int r = io->no_holes ? -EOPNOTSUPP : plk_io_punch(io, off, len, point);

    /* A full filesystem may have no room for the bookkeeping of one more hole. */
    if (r != -EOPNOTSUPP && r != -ENOSPC)
        return r;
    r = plk_io_size(io, &size);
    if (r < 0 || off >= size)
        return r;
    return write_zeros(io, off, PLK_MIN(len, size - off), point);
}

/* ---- copying ---- */

/* Errors that will come back for every range of this pair of files. */
static bool is_refusal(int r)
{
    return r == -EOPNOTSUPP || r == -EXDEV || r == -EINVAL || r == -ENOSYS || r == -ETXTBSY;
}

/* Never raises the method: another thread may have gone further down meanwhile. */
static void give_up_method(_Atomic int *method, int refused)
{
    atomic_compare_exchange_strong(method, &refused, refused + 1);
}

static bool try_clone(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, uint64_t len,
                      _Atomic int *method, PlkPoint point)
{
    int r;

    if (atomic_load(method) != PLK_COPY_CLONE || (dst_off | src_off | len) % COPY_ALIGN)
        return false;
    r = dst->ops->clone_range
            ? PLK_UNINTERRUPTED(dst->ops->clone_range(dst, dst_off, src, src_off, len, point))
            : -EOPNOTSUPP;
    if (is_refusal(r))
        give_up_method(method, PLK_COPY_CLONE);
    return r == 0;
}

/* Copies what the kernel is willing to; returns how much that was. */
static uint64_t try_copy_range(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, uint64_t len,
                               _Atomic int *method, PlkPoint point)
{
    uint64_t done = 0;

    if (atomic_load(method) > PLK_COPY_RANGE)
        return 0;
    while (done < len) {
        size_t want = (size_t)PLK_MIN(len - done, (uint64_t)1 << 30);
        ssize_t n = !dst->ops->copy_range
                        ? -EOPNOTSUPP
                        : dst->ops->copy_range(dst, dst_off + done, src, src_off + done, want, point);
        if (n == -EINTR)
            continue;
        if (n <= 0) {
            if (is_refusal((int)n)) {
                give_up_method(method, PLK_COPY_CLONE);
                give_up_method(method, PLK_COPY_RANGE);
            }
            break;
        }
        done += (uint64_t)n;
    }
    return done;
}

static int copy_bounce(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, uint64_t len, void *bounce,
                       size_t bounce_len, PlkPoint point)
{
    int r = 0;

    for (uint64_t done = 0; done < len && r == 0;) {
        size_t n = (size_t)PLK_MIN(len - done, bounce_len);

        r = plk_io_read(src, bounce, n, src_off + done, point);
        if (r == 0)
            r = plk_io_write(dst, bounce, n, dst_off + done, point);
        done += n;
    }
    return r;
}

/*
 * dst is to read as zeros there and to reach at least to the end. It is extended by writing its last
 * byte: truncate() would cut off what another thread may just have appended behind.
 */
static int fill_zeros(PlkIo *dst, uint64_t off, uint64_t len, PlkPoint point)
{
    uint64_t size;
    int r;

    if (len == 0)
        return 0;
    r = plk_io_zero(dst, off, len, point);
    if (r == 0)
        r = plk_io_size(dst, &size);
    if (r == 0 && size < off + len)
        r = plk_io_write(dst, zeros, 1, off + len - 1, point);
    return r;
}

/* What a clone would have done, by hand: runs of data are copied, holes between them stay holes. */
static int copy_runs(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, uint64_t len,
                     _Atomic int *method, void *bounce, size_t bounce_len, PlkPoint point)
{
    uint64_t at = 0, start, stop, done;
    int r = 0;

    while (r == 0 && at < len) {
        r = plk_io_next_data(src, src_off + at, &start, &stop);
        if (r < 0)
            break;
        start = start < stop ? PLK_MIN(PLK_MAX(start, src_off + at) - src_off, len) : len;
        stop = start < len ? PLK_MIN(stop - src_off, len) : len;
        r = fill_zeros(dst, dst_off + at, start - at, point);
        if (r == 0 && start < stop) {
            done = try_copy_range(dst, dst_off + start, src, src_off + start, stop - start, method, point);
            start += done;
            r = copy_bounce(dst, dst_off + start, src, src_off + start, stop - start, bounce, bounce_len, point);
        }
        at = stop;
    }
    return r;
}

int plk_io_copy(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, uint64_t len, _Atomic int *method,
                void *bounce, size_t bounce_len, PlkPoint point)
{
    _Atomic int own_method = PLK_COPY_CLONE;
    uint64_t size, held;
    int r;

    assert_range(dst_off, len);
    assert_range(src_off, len);
    assert(bounce && bounce_len >= 4096);
    assert(dst != src || dst_off + len <= src_off || src_off + len <= dst_off);
    if (len == 0)
        return 0;
    if (!method)
        method = &own_method;
    r = check_change(dst, dst_off, point);
    if (r == 0)
        r = plk_io_size(src, &size);
    if (r < 0)
        return traced(dst, "copy", dst_off, len, point, r);
    held = src_off < size ? PLK_MIN(len, size - src_off) : 0;
    if (held > 0 && !try_clone(dst, dst_off, src, src_off, held, method, point))
        r = copy_runs(dst, dst_off, src, src_off, held, method, bounce, bounce_len, point);
    if (r == 0)
        r = fill_zeros(dst, dst_off + held, len - held, point);
    return traced(dst, "copy", dst_off, len, point, r);
}

int plk_io_next_data(PlkIo *io, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
    uint64_t size;
    int r = -EOPNOTSUPP;

    assert_range(off, 0);
    if (io->ops->next_data)
        r = PLK_UNINTERRUPTED(io->ops->next_data(io, off, ret_start, ret_end));
    if (r != -EOPNOTSUPP)
        return r;
    r = plk_io_size(io, &size);
    if (r < 0)
        return r;
    *ret_start = PLK_MIN(off, size);
    *ret_end = size;
    return 0;
}

/* ---- the rest ---- */

int plk_io_lock(PlkIo *io, PlkIoLock mode)
{
    return traced(io, "lock", (uint64_t)mode, 0, PLK_POINT_NONE, PLK_UNINTERRUPTED(io->ops->lock(io, mode)));
}

int plk_io_lock_test(PlkIo *io, PlkIoLock mode)
{
    return traced(io, "lock-test", (uint64_t)mode, 0, PLK_POINT_NONE,
                  PLK_UNINTERRUPTED(io->ops->lock_test(io, mode)));
}

int plk_io_drop_cache(PlkIo *io)
{
    return io->ops->drop_cache ? io->ops->drop_cache(io) : -EOPNOTSUPP;
}

int plk_io_reload(PlkIo *io)
{
    int r = plk_io_sync(io, PLK_POINT_META_SYNC);

    if (r < 0)
        return r;
    r = plk_io_drop_cache(io);
    return traced(io, "reload", 0, 0, PLK_POINT_NONE, r == -EOPNOTSUPP ? 0 : r);
}

int plk_io_fd(PlkIo *io)
{
    return io->ops->fd ? io->ops->fd(io) : -EOPNOTSUPP;
}
