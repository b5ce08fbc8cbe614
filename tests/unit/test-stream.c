/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes of a plain file in motion: data, holes, ends, and the failures that come late. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "pool-dir.h"
#include "volume/stream.h"

static PlkStream *open_stream(const char *name, bool writing, uint64_t offset, uint64_t length)
{
    int fd = open(name, (writing ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    PlkStream *s;
    PlkError err;

    CHECK(fd >= 0);
    CHECK_OK(plk_stream_file(fd, writing, offset, length, &s, &err), err);
    return s;
}

static void finish(PlkStream *s)
{
    PlkError err;

    CHECK_OK(plk_stream_finish(s, &err), err);
    plk_stream_close(s);
}

/* "d65536 h131072": the runs, as the stream tells them. */
static char *runs_of(PlkStream *s)
{
    static char text[256];
    bool data;
    uint64_t len;

    *text = '\0';
    while (plk_stream_next(s, &data, &len) == 0 && len) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%c%llu", *text ? " " : "",
                 data ? 'd' : 'h', (unsigned long long)len);
        if (!data)
            CHECK_INT(plk_stream_skip(s, len), 0);
        for (char buf[4096]; data && len;) {
            ssize_t n = plk_stream_read(s, buf, sizeof buf);
            CHECK(n > 0);
            len -= (uint64_t)n;
        }
    }
    return text;
}

TEST(a_reader_tells_data_from_holes)
{
    PlkStream *s;

    pool_make();
    pool_fill("v", 'a', 65536, 65536);
    CHECK(truncate("v", 262144) == 0);
    s = open_stream("v", false, 0, 0);
    CHECK_STR(runs_of(s), "h65536 d65536 h131072");
    finish(s);
}

TEST(a_reader_keeps_to_offset_and_length)
{
    PlkStream *s;
    char buf[16];

    pool_make();
    pool_write("v", "0123456789", 10, 0);
    s = open_stream("v", false, 3, 4);
    CHECK_INT(s->position, 3);
    CHECK_INT(s->end, 7);
    CHECK_INT(s->size, 10);
    CHECK_INT(plk_stream_read(s, buf, sizeof buf), 4);
    CHECK(memcmp(buf, "3456", 4) == 0);
    CHECK_INT(plk_stream_read(s, buf, sizeof buf), 0);
    finish(s);
    s = open_stream("v", false, 8, 100); /* there is no more */
    CHECK_INT(plk_stream_read(s, buf, sizeof buf), 2);
    finish(s);
    s = open_stream("v", false, 10, 0);
    CHECK_INT(plk_stream_read(s, buf, sizeof buf), 0);
    finish(s);
}

TEST(an_offset_beyond_all_files_is_refused)
{
    int fd;
    PlkStream *s;
    PlkError err;

    pool_make();
    pool_write("v", "0123456789", 10, 0);
    fd = open("v", O_RDWR);
    CHECK_FAILS(plk_stream_file(fd, false, UINT64_MAX, 0, &s, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_stream_file(fd, true, UINT64_MAX, 1, &s, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_stream_file(fd, true, 1, UINT64_MAX, &s, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_stream_file(fd, false, 1, INT64_MAX, &s, &err), err, PLK_ERROR_ARGUMENT);
    close(fd);
}

TEST(a_hole_over_old_data_reads_as_zeros_and_cuts_nothing)
{
    PlkStream *s;

    pool_make();
    pool_fill("v", 'a', 262144, 0);
    s = open_stream("v", true, 0, 0);
    CHECK_INT(plk_stream_write(s, "xyz", 3), 0);
    CHECK_INT(plk_stream_hole(s, 131072), 0);
    CHECK_INT(plk_stream_write(s, "b", 1), 0);
    finish(s);
    CHECK_INT(pool_size("v"), 262144);
    CHECK_INT(pool_byte("v", 0), 'x');
    CHECK_INT(pool_byte("v", 3), 0);
    CHECK_INT(pool_byte("v", 3 + 131071), 0);
    CHECK_INT(pool_byte("v", 3 + 131072), 'b');
    CHECK_INT(pool_byte("v", 3 + 131073), 'a');
    CHECK(pool_blocks("v") <= 262144 - 126976);
}

TEST(a_hole_at_the_end_makes_the_file_as_long_as_it_says)
{
    PlkStream *s;

    pool_make();
    pool_fill("v", 'a', 4096, 0);
    s = open_stream("v", true, 0, 0);
    CHECK_INT(plk_stream_hole(s, MIB), 0);
    finish(s);
    CHECK_INT(pool_size("v"), MIB);
    CHECK_INT(pool_byte("v", 0), 0);
    s = open_stream("v", true, 2 * MIB, 0); /* behind the end, as libvirt lets one start */
    CHECK_INT(plk_stream_write(s, "b", 1), 0);
    finish(s);
    CHECK_INT(pool_size("v"), 2 * MIB + 1);
}

TEST(nothing_is_written_past_the_length)
{
    PlkStream *s;
    PlkError err;

    pool_make();
    pool_fill("v", 'a', 100, 0);
    s = open_stream("v", true, 10, 20);
    CHECK_INT(plk_stream_write(s, "0123456789", 10), 0);
    CHECK_INT(plk_stream_write(s, "0123456789x", 11), -EFBIG);
    CHECK_INT(plk_stream_write(s, "0", 1), -EFBIG); /* the first failure stays */
    CHECK_INT(plk_stream_hole(s, 1), -EFBIG);
    CHECK_FAILS(plk_stream_finish(s, &err), err, PLK_ERROR_WRITE);
    plk_stream_close(s);
    CHECK_INT(pool_byte("v", 20), 'a');
    s = open_stream("v", true, 10, 20);
    CHECK_INT(plk_stream_hole(s, 21), -EFBIG);
    plk_stream_close(s);
    CHECK_INT(pool_byte("v", 10), '0');
}

TEST(a_full_disk_is_an_error_that_finish_repeats)
{
    struct rlimit limit = {65536, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
    static char block[4096];
    PlkStream *s;
    PlkError err;
    int r = 0;

    pool_make();
    pool_fill("v", 'a', 10, 0);
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    s = open_stream("v", true, 0, 0);
    for (int i = 0; i < 32 && r == 0; i++)
        r = plk_stream_write(s, block, sizeof block);
    setrlimit(RLIMIT_FSIZE, &none);
    CHECK_INT(r, -EFBIG);
    CHECK_FAILS(plk_stream_finish(s, &err), err, PLK_ERROR_WRITE);
    plk_stream_close(s);
}

TEST(a_source_that_is_cut_off_under_the_reader_is_an_error)
{
    PlkStream *s;
    char buf[4096];
    PlkError err;

    pool_make();
    pool_fill("v", 'a', 8192, 0);
    s = open_stream("v", false, 0, 0);
    CHECK_INT(plk_stream_read(s, buf, 4096), 4096);
    CHECK(truncate("v", 4096) == 0);
    CHECK_INT(plk_stream_read(s, buf, 4096), -EIO);
    CHECK_FAILS(plk_stream_finish(s, &err), err, PLK_ERROR_READ);
    plk_stream_close(s);
}

TEST_MAIN()
