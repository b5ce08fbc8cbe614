/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The gate over memory and real files: what it promises whatever the backend does. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/math.h"
#include "io/fault.h"
#include "test.h"

#define KIB 1024ul

static char place[] = "/tmp/plk-test-XXXXXX";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_place(void)
{
    nftw(place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A fresh name in one of the two backends. */
static PlkDir *open_dir(bool real)
{
    static bool made;
    PlkDir *dir;

    if (!made) {
        CHECK(mkdtemp(place));
        atexit(remove_place);
        made = true;
    }
    CHECK_INT(real ? plk_dir_open_fs(place, NULL, &dir) : plk_dir_open_memory("/m", &dir), 0);
    return dir;
}

static PlkIo *open_new(PlkDir *dir)
{
    PlkIo *io;

    CHECK_INT(plk_dir_create_unnamed(dir, 0600, &io), 0);
    return io;
}

static void fill(PlkIo *io, uint64_t off, size_t len, int byte)
{
    char *buf = malloc(len);
    int r;

    memset(buf, byte, len);
    r = plk_io_write(io, buf, len, off, PLK_POINT_DATA_WRITE);
    free(buf);
    CHECK_INT(r, 0);
}

/* Does [off, off+len) hold nothing but `byte`? */
static bool holds(PlkIo *io, uint64_t off, size_t len, int byte)
{
    unsigned char *buf = malloc(len);
    bool same = plk_io_read(io, buf, len, off, PLK_POINT_DATA_READ) == 0;

    for (size_t i = 0; i < len && same; i++)
        same = buf[i] == byte;
    free(buf);
    return same;
}

static uint64_t size_of(PlkIo *io)
{
    uint64_t size = 0;

    CHECK_INT(plk_io_size(io, &size), 0);
    return size;
}

#define BOTH_BACKENDS(name)                                                                                  \
    static void name(PlkDir *dir);                                                                           \
    TEST(name##_in_memory)                                                                                   \
    {                                                                                                        \
        PlkDir *dir = open_dir(false);                                                                       \
        name(dir);                                                                                           \
        plk_dir_close(dir);                                                                                  \
    }                                                                                                        \
    TEST(name##_on_disk)                                                                                     \
    {                                                                                                        \
        PlkDir *dir = open_dir(true);                                                                        \
        name(dir);                                                                                           \
        plk_dir_close(dir);                                                                                  \
    }                                                                                                        \
    static void name(PlkDir *dir)

BOTH_BACKENDS(reads_beyond_the_end_are_zeros)
{
    PlkIo *io = open_new(dir);
    char buf[100];
    size_t len;

    fill(io, 0, 60, 'a');
    memset(buf, 'x', sizeof buf);
    CHECK_INT(plk_io_read(io, buf, 100, 0, PLK_POINT_DATA_READ), 0);
    CHECK(buf[59] == 'a' && buf[60] == 0 && buf[99] == 0);
    CHECK_INT(plk_io_read_upto(io, buf, 100, 50, &len, PLK_POINT_DATA_READ), 0);
    CHECK_INT(len, 10);
    CHECK_INT(plk_io_read_upto(io, buf, 100, 1000, &len, PLK_POINT_DATA_READ), 0);
    CHECK_INT(len, 0);
    plk_io_close(io);
}

BOTH_BACKENDS(shrinking_and_growing_reads_zeros_not_old_bytes)
{
    PlkIo *io = open_new(dir);

    fill(io, 0, 200 * KIB, 'a');
    CHECK_INT(plk_io_truncate(io, 1000, PLK_POINT_TAIL_TRUNCATE), 0);
    CHECK_INT(plk_io_truncate(io, 200 * KIB, PLK_POINT_DATA_EXTEND), 0);
    CHECK(holds(io, 0, 1000, 'a') && holds(io, 1000, 199 * KIB, 0));
    CHECK_INT(size_of(io), 200 * KIB);
    plk_io_close(io);
}

BOTH_BACKENDS(metadata_is_refused_to_all_but_its_writer)
{
    PlkIo *io = open_new(dir), *other = open_new(dir);
    static char bounce[4096];

    fill(io, 0, 256 * KIB, 'a');
    fill(other, 0, 64 * KIB, 'b');
    plk_io_set_meta_end(io, 64 * KIB);
    CHECK_INT(plk_io_write(io, "x", 1, 64 * KIB - 1, PLK_POINT_DATA_WRITE), -EPERM);
    CHECK_INT(plk_io_punch(io, 0, 128 * KIB, PLK_POINT_FREE_PUNCH), -EPERM);
    CHECK_INT(plk_io_zero(io, 4096, 4096, PLK_POINT_DATA_ZERO), -EPERM);
    CHECK_INT(plk_io_truncate(io, 64 * KIB - 1, PLK_POINT_TAIL_TRUNCATE), -EPERM);
    CHECK_INT(plk_io_copy(io, 0, other, 0, 4096, NULL, bounce, sizeof bounce, PLK_POINT_DATA_COPY), -EPERM);
    CHECK(holds(io, 0, 256 * KIB, 'a'));
    CHECK_INT(plk_io_write(io, "x", 1, 0, PLK_POINT_META_HEADER), 0);
    CHECK_INT(plk_io_write(io, "x", 1, 64 * KIB, PLK_POINT_DATA_WRITE), 0);
    CHECK_INT(plk_io_truncate(io, 64 * KIB, PLK_POINT_TAIL_TRUNCATE), 0);
    plk_io_close(io);
    plk_io_close(other);
}

BOTH_BACKENDS(zeroing_keeps_the_neighbours_and_the_size)
{
    PlkIo *io = open_new(dir);

    fill(io, 0, 300 * KIB, 'a');
    CHECK_INT(plk_io_zero(io, 1000, 200 * KIB, PLK_POINT_DATA_ZERO), 0);
    CHECK(holds(io, 0, 1000, 'a') && holds(io, 1000, 200 * KIB, 0));
    CHECK(holds(io, 1000 + 200 * KIB, 1000, 'a'));
    CHECK_INT(plk_io_zero(io, 299 * KIB, 100 * KIB, PLK_POINT_DATA_ZERO), 0);
    CHECK_INT(size_of(io), 300 * KIB);
    plk_io_close(io);
}

BOTH_BACKENDS(next_data_skips_holes)
{
    PlkIo *io = open_new(dir);
    uint64_t start, end;

    CHECK_INT(plk_io_truncate(io, 1024 * KIB, PLK_POINT_DATA_EXTEND), 0);
    fill(io, 512 * KIB, 64 * KIB, 'a');
    CHECK_INT(plk_io_next_data(io, 0, &start, &end), 0);
    CHECK(start == 512 * KIB && end == 576 * KIB);
    CHECK_INT(plk_io_next_data(io, 520 * KIB, &start, &end), 0);
    CHECK(start == 520 * KIB && end == 576 * KIB);
    CHECK_INT(plk_io_next_data(io, 576 * KIB, &start, &end), 0);
    CHECK(start == 1024 * KIB && end == 1024 * KIB);
    plk_io_close(io);
}

BOTH_BACKENDS(allocating_keeps_contents_and_extends)
{
    PlkIo *io = open_new(dir);
    int r;

    fill(io, 0, 1000, 'a');
    r = plk_io_allocate(io, 0, 128 * KIB, PLK_POINT_DATA_EXTEND);
    CHECK(r == 0 || r == -EOPNOTSUPP);
    CHECK(r || size_of(io) == 128 * KIB);
    CHECK(holds(io, 0, 1000, 'a') && holds(io, 1000, 100 * KIB, 0));
    plk_io_close(io);
}

BOTH_BACKENDS(copying_is_exact_by_every_method)
{
    static char bounce[8192];

    for (int m = PLK_COPY_CLONE; m <= PLK_COPY_BOUNCE; m++)
        for (int odd = 0; odd < 2; odd++) {
            PlkIo *src = open_new(dir), *dst = open_new(dir);
            _Atomic int method = m;
            uint64_t at = odd ? 333 : 4096;

            fill(src, 0, 100 * KIB, 'a');
            fill(dst, 0, 64 * KIB, 'd');
            CHECK_INT(plk_io_copy(dst, 8192, src, at, 64 * KIB, &method, bounce, sizeof bounce,
                                  PLK_POINT_DATA_COPY),
                      0);
            CHECK(method >= m);
            CHECK(holds(dst, 0, 8192, 'd') && holds(dst, 8192, 64 * KIB, 'a'));
            CHECK_INT(size_of(dst), 72 * KIB);
            plk_io_close(src);
            plk_io_close(dst);
        }
}

BOTH_BACKENDS(copying_past_the_source_s_end_gives_zeros)
{
    static char bounce[8192];
    PlkIo *src = open_new(dir), *dst = open_new(dir);

    fill(src, 0, 5000, 'a');
    fill(dst, 0, 64 * KIB, 'd');
    CHECK_INT(plk_io_copy(dst, 32 * KIB, src, 0, 64 * KIB, NULL, bounce, sizeof bounce, PLK_POINT_DATA_COPY),
              0);
    CHECK(holds(dst, 0, 32 * KIB, 'd') && holds(dst, 32 * KIB, 5000, 'a'));
    CHECK(holds(dst, 32 * KIB + 5000, 59 * KIB, 0));
    CHECK_INT(size_of(dst), 96 * KIB);
    CHECK_INT(plk_io_copy(dst, 0, src, 4096 * KIB, 4096, NULL, bounce, sizeof bounce, PLK_POINT_DATA_COPY),
              0);
    CHECK(holds(dst, 0, 4096, 0) && holds(dst, 4096, 4096, 'd'));
    plk_io_close(src);
    plk_io_close(dst);
}

/* Reading alone cannot tell: ask where data is. */
TEST(copying_keeps_holes_and_a_full_file_full)
{
    for (int full = 0; full < 2; full++) {
        PlkDir *dir = open_dir(true);
        PlkIo *src = open_new(dir), *dst = open_new(dir);
        _Atomic int method = PLK_COPY_RANGE;
        char bounce[8192];
        uint64_t start, end;

        fill(src, 0, 64 * KIB, 'a');
        fill(src, 256 * KIB, 64 * KIB, 'b');
        fill(dst, 0, 320 * KIB, 'x');
        dst->no_holes = full;
        CHECK_INT(plk_io_copy(dst, 0, src, 0, 320 * KIB, &method, bounce, sizeof bounce, PLK_POINT_DATA_COPY), 0);
        CHECK_INT(plk_io_read(dst, bounce, 4096, 128 * KIB, PLK_POINT_DATA_READ), 0);
        CHECK(plk_is_zero(bounce, 4096));
        CHECK_INT(plk_io_read(dst, bounce, 4096, 316 * KIB, PLK_POINT_DATA_READ), 0);
        CHECK(bounce[0] == 'b' && bounce[4095] == 'b');
        CHECK_INT(plk_io_next_data(dst, 64 * KIB, &start, &end), 0);
        CHECK_INT(start, full ? 64 * KIB : 256 * KIB);
        plk_io_close(src);
        plk_io_close(dst);
        plk_dir_close(dir);
    }
}

BOTH_BACKENDS(copying_within_a_file)
{
    static char bounce[8192];
    PlkIo *io = open_new(dir);

    fill(io, 0, 64 * KIB, 'a');
    CHECK_INT(plk_io_copy(io, 64 * KIB, io, 0, 64 * KIB, NULL, bounce, sizeof bounce, PLK_POINT_DATA_COPY),
              0);
    CHECK(holds(io, 0, 128 * KIB, 'a'));
    plk_io_close(io);
}

BOTH_BACKENDS(read_only_files_refuse_changes)
{
    PlkIo *io;

    CHECK_INT(plk_dir_publish_file(dir, "ro", "text", 4, 0600), 0);
    CHECK_INT(plk_dir_open_file(dir, "ro", 0, 0, &io), 0);
    CHECK_INT(plk_io_write(io, "x", 1, 0, PLK_POINT_DATA_WRITE), -EBADF);
    CHECK_INT(plk_io_truncate(io, 0, PLK_POINT_TAIL_TRUNCATE), -EBADF);
    plk_io_close(io);
}

/* ---- with faults ---- */

typedef struct Faulty {
    PlkFault fault;
    PlkDir *dir;
    PlkIo *io;
} Faulty;

static void open_faulty(Faulty *f, bool real)
{
    CHECK_INT(plk_dir_wrap_fault(open_dir(real), &f->fault, &f->dir), 0);
    f->io = open_new(f->dir);
}

static void close_faulty(Faulty *f)
{
    plk_io_close(f->io);
    plk_dir_close(f->dir);
}

TEST(short_transfers_are_finished)
{
    Faulty f = {.fault = {.nth = 1, .sticky = true, .max_transfer = 7}};

    open_faulty(&f, true);
    fill(f.io, 3, 1000, 'a');
    CHECK(holds(f.io, 3, 1000, 'a'));
    CHECK(f.fault.seen > 280);
    close_faulty(&f);
}

TEST(interrupted_calls_are_repeated)
{
    for (unsigned long n = 2; n < 7; n++) { /* 1 is the making of the file */
        Faulty f = {.fault = {.nth = n, .errnum = EINTR}};
        static char bounce[4096];

        open_faulty(&f, true);
        fill(f.io, 0, 64 * KIB, 'a');
        CHECK_INT(plk_io_punch(f.io, 4096, 4096, PLK_POINT_FREE_PUNCH), 0);
        CHECK_INT(plk_io_sync(f.io, PLK_POINT_DATA_SYNC), 0);
        CHECK_INT(plk_io_truncate(f.io, 16 * KIB, PLK_POINT_TAIL_TRUNCATE), 0);
        CHECK_INT(plk_io_copy(f.io, 64 * KIB, f.io, 0, 4096, NULL, bounce, 4096, PLK_POINT_DATA_COPY), 0);
        CHECK(holds(f.io, 64 * KIB, 4096, 'a'));
        close_faulty(&f);
    }
}

TEST(a_failed_sync_poisons_the_file)
{
    Faulty f = {.fault = {.point = PLK_POINT_META_SYNC, .nth = 1, .errnum = EIO}};

    open_faulty(&f, true);
    fill(f.io, 0, 1000, 'a');
    CHECK_INT(plk_io_sync(f.io, PLK_POINT_DATA_SYNC), 0);
    CHECK_INT(plk_io_sync(f.io, PLK_POINT_META_SYNC), -EIO);
    CHECK_INT(plk_io_sync(f.io, PLK_POINT_META_SYNC), -EIO);
    CHECK_INT(f.fault.seen, 1); /* the second one never got as far as the file */
    CHECK_INT(plk_io_write(f.io, "x", 1, 0, PLK_POINT_META_BAT), -EIO);
    CHECK_INT(plk_io_punch(f.io, 0, 100, PLK_POINT_FREE_PUNCH), -EIO);
    CHECK_INT(plk_io_truncate(f.io, 0, PLK_POINT_META_INIT), -EIO);
    CHECK(holds(f.io, 0, 1000, 'a'));
    close_faulty(&f);
}

TEST(zeroing_without_holes_writes_zeros)
{
    Faulty f = {.fault = {.point = PLK_POINT_DATA_ZERO, .nth = 1, .errnum = EOPNOTSUPP}};

    open_faulty(&f, true);
    fill(f.io, 0, 300 * KIB, 'a');
    CHECK_INT(plk_io_zero(f.io, 1000, 200 * KIB, PLK_POINT_DATA_ZERO), 0);
    CHECK(f.fault.seen > 1);
    CHECK(holds(f.io, 0, 1000, 'a') && holds(f.io, 1000, 200 * KIB, 0));
    CHECK(holds(f.io, 1000 + 200 * KIB, 90 * KIB, 'a'));
    close_faulty(&f);
}

TEST(only_a_refusal_is_remembered_by_copying)
{
    const int errors[] = {EOPNOTSUPP, EIO};
    static char bounce[64 * KIB];

    for (int i = 0; i < 2; i++) {
        Faulty f = {.fault = {.point = PLK_POINT_DATA_COPY, .nth = 1, .errnum = errors[i]}};
        _Atomic int method = PLK_COPY_RANGE;

        open_faulty(&f, true);
        fill(f.io, 0, 64 * KIB, 'a');
        CHECK_INT(plk_io_copy(f.io, 64 * KIB, f.io, 0, 64 * KIB, &method, bounce, sizeof bounce,
                              PLK_POINT_DATA_COPY),
                  0);
        CHECK(holds(f.io, 64 * KIB, 64 * KIB, 'a'));
        CHECK_INT(method, errors[i] == EIO ? PLK_COPY_RANGE : PLK_COPY_BOUNCE);
        close_faulty(&f);
    }
}

TEST(a_write_error_reaches_the_caller)
{
    Faulty f = {.fault = {.point = PLK_POINT_DATA_WRITE, .nth = 2, .errnum = ENOSPC}};

    open_faulty(&f, false);
    CHECK_INT(plk_io_write(f.io, "a", 1, 0, PLK_POINT_DATA_WRITE), 0);
    CHECK_INT(plk_io_write(f.io, "b", 1, 0, PLK_POINT_DATA_WRITE), -ENOSPC);
    CHECK_INT(plk_io_write(f.io, "c", 1, 0, PLK_POINT_DATA_WRITE), 0);
    close_faulty(&f);
}

TEST(points_have_names)
{
    for (int p = 0; p < PLK_POINT_COUNT; p++)
        CHECK(plk_point_name((PlkPoint)p) && *plk_point_name((PlkPoint)p) != '?');
}

TEST(running_out_of_memory_leaves_memory_files_whole)
{
    PlkDir *dir = open_dir(false);
    PlkIo *io = open_new(dir);
    char buf[100] = {1};
    int r, n = 0;

    do {
        plk_alloc_fail_at(++n, 0);
        r = plk_io_write(io, buf, sizeof buf, 100 * KIB, PLK_POINT_DATA_WRITE);
        plk_alloc_fail_at(0, 0);
        CHECK(r == 0 || r == -ENOMEM);
        CHECK(r == 0 || size_of(io) == 0);
    } while (r);
    CHECK(n > 1);
    plk_io_close(io);
    plk_dir_close(dir);
}

TEST_MAIN()
