/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The recorder: which states a crash may leave of a small file, and which it may not. */
#include <errno.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "io/crash-walk.h"
#include "io/memory.h"
#include "test.h"

/* ---- the states of a small file, as text ---- */

#define STATES_MAX 1024

typedef struct States {
    char list[STATES_MAX][48];
    size_t n;
} States;

static PlkRecord *record;
static PlkDir *dir;
static States states;
static uint64_t covered;

static void begin(void)
{
    CHECK_INT(plk_record_new("/d", &record), 0);
    CHECK_INT(plk_record_open(record, &dir), 0);
}

static void end(void)
{
    plk_dir_close(PLK_TAKE(dir));
    plk_record_free(PLK_TAKE(record));
}

/* "f:ab.": two sectors that begin with these letters, one of zeros; "f:ab+100": 100 bytes more. */
static int render(void *arg, const char *name)
{
    PlkDir *state = arg;
    char *text = states.list[states.n];
    unsigned char bytes[512];
    uint64_t size;
    PlkIo *io;

    if (plk_dir_open_file(state, name, 0, 0, &io) < 0 || plk_io_size(io, &size) < 0)
        return -EIO;
    sprintf(text + strlen(text), "%s%s:", *text ? " " : "", name);
    for (uint64_t at = 0; at + 512 <= size; at += 512) {
        plk_io_read(io, bytes, sizeof bytes, at, PLK_POINT_NONE);
        sprintf(text + strlen(text), "%c", bytes[0] ? bytes[0] : '.');
        if (bytes[511] != bytes[0])
            sprintf(text + strlen(text), "%c", bytes[511] ? bytes[511] : '.');
    }
    if (size % 512)
        sprintf(text + strlen(text), "+%u", (unsigned)(size % 512));
    plk_io_close(io);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int note_state(void *arg, PlkDir *state, size_t position)
{
    int r;

    if (states.n == STATES_MAX)
        return -E2BIG;
    states.list[states.n][0] = '\0';
    r = plk_dir_list(state, render, state);
    states.n++;
    return r;
}

/* All states of a crash now. */
static size_t collect(unsigned sector)
{
    PlkCrashWalk walk = {.sector = sector, .budget = 1 << 16, .from = plk_record_length(record),
                         .examine = note_state};
    PlkCrashTally tally = {0};

    states = (States){.n = 0};
    CHECK_INT(plk_crash_walk(record, &walk, &tally), 0);
    CHECK_INT(tally.exhausted, 1);
    CHECK_INT(tally.examined, states.n);
    covered = tally.covered;
    qsort(states.list, states.n, sizeof states.list[0], by_text);
    for (size_t i = 1; i < states.n; i++)
        CHECK(strcmp(states.list[i - 1], states.list[i]) != 0);
    return states.n;
}

static bool may_leave(const char *text)
{
    return bsearch(text, states.list, states.n, sizeof states.list[0], by_text) != NULL;
}

static PlkIo *make(const char *name, const char *letters)
{
    PlkIo *io;

    CHECK_INT(plk_dir_open_file(dir, name, PLK_OPEN_CREATE, 0600, &io), 0);
    for (size_t i = 0; letters[i]; i++) {
        char bytes[512];

        memset(bytes, letters[i], sizeof bytes);
        CHECK_INT(plk_io_write(io, bytes, sizeof bytes, 512 * i, PLK_POINT_NONE), 0);
    }
    return io;
}

/* Durable, with its name. */
static PlkIo *make_durable(const char *name, const char *letters)
{
    PlkIo *io = make(name, letters);

    CHECK_INT(plk_io_sync(io, PLK_POINT_NONE), 0);
    CHECK_INT(plk_dir_sync(dir), 0);
    return io;
}

/* One call. */
static void put(PlkIo *io, unsigned sector, const char *letters)
{
    char bytes[4096];
    size_t n = strlen(letters);

    for (size_t i = 0; i < n; i++)
        memset(bytes + 512 * i, letters[i], 512);
    CHECK_INT(plk_io_write(io, bytes, 512 * n, 512 * sector, PLK_POINT_DATA_WRITE), 0);
}

/* ---- what may survive ---- */

TEST(any_subset_of_sectors_is_kept)
{
    PlkIo *io;

    begin();
    io = make_durable("f", "aaaa");
    CHECK_INT(collect(512), 1);
    put(io, 0, "bbbb");
    CHECK_INT(collect(512), 16);
    CHECK(may_leave("f:aaaa") && may_leave("f:abab") && may_leave("f:bbbb"));
    CHECK_INT(collect(4096), 2);
    plk_io_sync(io, PLK_POINT_DATA_SYNC);
    CHECK_INT(collect(512), 1);
    CHECK(may_leave("f:bbbb"));
    plk_io_close(io);
    end();
}

TEST(blocks_hold_no_more_than_was_written)
{
    PlkIo *io;

    begin();
    io = make_durable("f", "aaaa");
    put(io, 1, "b");
    put(io, 2, "c");
    CHECK_INT(collect(4096), 4);
    CHECK(may_leave("f:aaca") && may_leave("f:abaa") && may_leave("f:abca"));
    plk_io_close(io);
    end();
}

TEST(a_sector_is_as_one_of_the_writes_left_it)
{
    PlkIo *io;

    begin();
    io = make_durable("f", "aa");
    put(io, 0, "b");
    CHECK_INT(plk_io_write(io, "c", 1, 511, PLK_POINT_DATA_WRITE), 0);
    CHECK_INT(collect(512), 3);
    CHECK(may_leave("f:aa") && may_leave("f:ba") && may_leave("f:bca"));
    plk_io_close(io);
    end();
}

TEST(what_changes_nothing_is_not_counted)
{
    PlkIo *io;

    begin();
    io = make_durable("f", "aaaa");
    put(io, 0, "aaba");
    CHECK_INT(collect(512), 2);
    CHECK_INT(covered, 2);
    plk_io_close(io);
    end();
}

TEST(punches_tear_and_are_reordered_like_writes)
{
    PlkIo *io;

    begin();
    io = make_durable("f", "aaaa");
    CHECK_INT(plk_io_punch(io, 512, 1024, PLK_POINT_FREE_PUNCH), 0);
    CHECK_INT(collect(512), 4);
    CHECK(may_leave("f:a.aa") && may_leave("f:aa.a"));
    put(io, 1, "b");
    CHECK_INT(collect(512), 6);
    CHECK(may_leave("f:aaaa") && may_leave("f:aa.a") && may_leave("f:abaa"));
    plk_io_close(io);
    end();
}

TEST(clones_hold_what_their_source_held_and_tear)
{
    char bounce[4096];
    PlkIo *from, *to;
    size_t length;

    begin();
    from = make_durable("f", "xxxxxxxx");
    to = make_durable("g", "aaaaaaaa");
    length = plk_record_length(record);
    CHECK_INT(plk_io_copy(to, 0, from, 0, 4096, NULL, bounce, sizeof bounce, PLK_POINT_DATA_COPY), 0);
    CHECK_INT(plk_record_length(record), length + 1);
    CHECK_INT(collect(512), 256);
    CHECK(may_leave("f:xxxxxxxx g:axaxaxax"));
    put(from, 0, "y");
    CHECK_INT(collect(512), 512);
    CHECK(may_leave("f:yxxxxxxx g:axxxxxxx") && may_leave("f:yxxxxxxx g:xaaaaaaa"));
    CHECK(!may_leave("f:yxxxxxxx g:yxxxxxxx"));
    CHECK_INT(collect(4096), 4);
    plk_io_close(from);
    plk_io_close(to);
    end();
}

TEST(clones_can_be_refused)
{
    char bounce[4096];
    PlkIo *from, *to;

    begin();
    plk_record_refuse_clones(record);
    from = make_durable("f", "xxxxxxxx");
    to = make_durable("g", "");
    CHECK_INT(plk_io_copy(to, 0, from, 0, 4096, NULL, bounce, sizeof bounce, PLK_POINT_DATA_COPY), 0);
    CHECK_INT(collect(4096), 3); /* nothing, a length, all */
    CHECK(may_leave("f:xxxxxxxx g:") && may_leave("f:xxxxxxxx g:........"));
    CHECK(may_leave("f:xxxxxxxx g:xxxxxxxx"));
    plk_io_close(from);
    plk_io_close(to);
    end();
}

TEST(lengths_are_kept_apart_from_bytes)
{
    PlkIo *io;

    begin();
    io = make_durable("f", "aa");
    put(io, 2, "bb");
    CHECK_INT(collect(512), 5);
    CHECK(may_leave("f:aa") && may_leave("f:aa..") && may_leave("f:aa.b") && may_leave("f:aabb"));
    CHECK_INT(plk_io_allocate(io, 0, 3072, PLK_POINT_DATA_EXTEND), 0);
    CHECK_INT(collect(512), 9);
    CHECK(may_leave("f:aab...") && !may_leave("f:aa....."));
    plk_io_close(io);
    end();
}

TEST(bytes_that_were_cut_off_stay_away)
{
    PlkIo *io;

    begin();
    io = make_durable("f", "aaaa");
    CHECK_INT(plk_io_truncate(io, 1024, PLK_POINT_TAIL_TRUNCATE), 0);
    CHECK_INT(plk_io_truncate(io, 2048, PLK_POINT_DATA_EXTEND), 0);
    CHECK_INT(collect(512), 3);
    CHECK(may_leave("f:aaaa") && may_leave("f:aa") && may_leave("f:aa.."));
    put(io, 3, "b");
    CHECK_INT(collect(512), 5);
    CHECK(may_leave("f:aaab") && may_leave("f:aa.b"));
    plk_io_close(io);
    end();
}

TEST(writes_before_a_cut_go_with_it)
{
    PlkIo *io;

    begin();
    io = make_durable("f", "aaa");
    put(io, 2, "b");
    CHECK_INT(plk_io_truncate(io, 612, PLK_POINT_TAIL_TRUNCATE), 0);
    CHECK_INT(plk_io_truncate(io, 1536, PLK_POINT_DATA_EXTEND), 0);
    CHECK_INT(collect(512), 4);
    CHECK(may_leave("f:aaa") && may_leave("f:aab") && may_leave("f:a+100") && may_leave("f:aa.."));
    plk_io_close(io);
    end();
}

/* It holds what was there before the cut, but not what is there after it. */
TEST(a_write_of_the_same_bytes_counts_behind_a_cut)
{
    PlkIo *io;

    begin();
    io = make_durable("f", "aa");
    CHECK_INT(plk_io_truncate(io, 512, PLK_POINT_TAIL_TRUNCATE), 0);
    put(io, 1, "a");
    CHECK_INT(collect(512), 3);
    CHECK(may_leave("f:aa") && may_leave("f:a") && may_leave("f:a."));
    plk_io_close(io);
    end();
}

TEST(names_come_in_order_and_only_a_sync_of_the_directory_keeps_them)
{
    PlkIo *io;

    begin();
    io = make("f", "a");
    plk_io_sync(io, PLK_POINT_FILE_SYNC);
    CHECK_INT(collect(512), 2);
    CHECK(may_leave("") && may_leave("f:a"));
    CHECK_INT(plk_dir_rename(dir, "f", "g", true), 0);
    CHECK_INT(collect(512), 3);
    CHECK(may_leave("g:a"));
    CHECK_INT(plk_dir_sync(dir), 0);
    CHECK_INT(collect(512), 1);
    CHECK_INT(plk_dir_unlink(dir, "g"), 0);
    CHECK_INT(collect(512), 2);
    CHECK(may_leave("") && may_leave("g:a"));
    plk_io_close(io);
    end();
}

TEST(files_without_a_name_do_not_count)
{
    PlkIo *io;

    begin();
    CHECK_INT(plk_dir_create_unnamed(dir, 0600, &io), 0);
    put(io, 0, "aaaaaaaa");
    CHECK_INT(collect(512), 1);
    CHECK_INT(covered, 1);
    CHECK_INT(plk_dir_link(dir, io, "f"), 0);
    CHECK_INT(collect(512), 258); /* no name; a name, no length; a length and any sectors */
    plk_io_close(io);
    end();
}

TEST(a_record_over_a_state_begins_where_that_ended)
{
    PlkCrash *crash;
    PlkDir *state;
    PlkIo *io;

    begin();
    io = make_durable("f", "aaaa");
    put(io, 0, "bbbb");
    CHECK_INT(plk_crash_new(record, &crash), 0);
    CHECK_INT(plk_crash_advance(crash, plk_record_length(record)), 0);
    CHECK_INT(plk_crash_plan(crash, 512), 0);
    CHECK_INT(plk_crash_pieces(crash), 4);
    CHECK_INT(plk_crash_keep(crash, 2, true), 0);
    CHECK_INT(plk_crash_state(crash, &state), 0);
    plk_crash_free(crash);
    plk_io_close(io);
    end();

    CHECK_INT(plk_record_new_over(state, &record), 0);
    CHECK_INT(plk_record_open(record, &dir), 0);
    CHECK_INT(collect(512), 1);
    CHECK(may_leave("f:aaba"));
    CHECK_INT(plk_dir_open_file(dir, "f", PLK_OPEN_WRITE, 0, &io), 0);
    put(io, 1, "c");
    CHECK_INT(plk_io_truncate(io, 1024, PLK_POINT_TAIL_TRUNCATE), 0);
    CHECK_INT(collect(512), 4);
    CHECK(may_leave("f:aaba") && may_leave("f:ac") && may_leave("f:aa") && may_leave("f:acba"));
    plk_io_close(io);
    end();
}

TEST(prints_tell_directories_apart_by_what_they_hold)
{
    uint64_t print;
    PlkDir *memory;
    PlkIo *io;

    CHECK_INT(plk_dir_open_memory("/d", &memory), 0);
    CHECK_INT(plk_dir_open_file(memory, "f", PLK_OPEN_CREATE, 0600, &io), 0);
    put(io, 0, "aab");
    print = plk_memdir_print(memory);
    put(io, 1, "c");
    CHECK(plk_memdir_print(memory) != print);
    put(io, 1, "a");
    CHECK(plk_memdir_print(memory) == print);
    CHECK_INT(plk_io_truncate(io, 1537, PLK_POINT_DATA_EXTEND), 0);
    CHECK(plk_memdir_print(memory) != print);
    CHECK_INT(plk_io_truncate(io, 1536, PLK_POINT_TAIL_TRUNCATE), 0);
    CHECK(plk_memdir_print(memory) == print);
    CHECK_INT(plk_dir_rename(memory, "f", "g", false), 0);
    CHECK(plk_memdir_print(memory) != print);
    plk_io_close(io);
    plk_dir_close(memory);
}

static int look_away(void *arg, PlkDir *state, size_t position)
{
    return 0;
}

static int write_something(void *arg, PlkDir *state, size_t position)
{
    PlkIo *io;
    int r = plk_dir_open_file(state, "f", PLK_OPEN_WRITE | PLK_OPEN_CREATE, 0600, &io);

    if (r < 0)
        return r;
    r = plk_io_write(io, "xyz", 3, 1500, PLK_POINT_DATA_WRITE);
    plk_io_close(io);
    return r;
}

TEST(running_out_of_memory_ends_the_walk)
{
    PlkCrashWalk walk = {.budget = 10, .examine = look_away, .recover = write_something, .nest_every = 5,
                         .nest_budget = 4};
    PlkCrashTally tally;
    int r, n = 0;
    PlkIo *io;

    begin();
    io = make_durable("f", "aaaa");
    put(io, 0, "bbbb");
    CHECK_INT(plk_io_truncate(io, 600, PLK_POINT_TAIL_TRUNCATE), 0);
    CHECK_INT(plk_dir_rename(dir, "f", "g", true), 0);
    do {
        tally = (PlkCrashTally){0};
        plk_alloc_fail_at(++n, 0);
        r = plk_crash_walk(record, &walk, &tally);
        plk_alloc_fail_at(0, 0);
        CHECK(r == 0 || r == -ENOMEM);
    } while (r);
    CHECK(tally.nested > 0 && (uint64_t)n > tally.examined);
    plk_io_close(io);
    end();
}

TEST(examining_a_state_does_not_change_the_next)
{
    PlkCrash *crash;
    PlkDir *state[2];
    PlkIo *io, *io2;
    char byte;

    begin();
    io = make_durable("f", "aaaa");
    put(io, 0, "b");
    CHECK_INT(plk_crash_new(record, &crash), 0);
    CHECK_INT(plk_crash_advance(crash, plk_record_length(record)), 0);
    CHECK_INT(plk_crash_plan(crash, 512), 0);
    for (unsigned i = 0; i < 2; i++)
        CHECK_INT(plk_crash_state(crash, &state[i]), 0);
    CHECK_INT(plk_dir_open_file(state[0], "f", PLK_OPEN_WRITE, 0, &io2), 0);
    put(io2, 0, "xxxx");
    plk_io_close(io2);
    CHECK_INT(plk_dir_open_file(state[1], "f", 0, 0, &io2), 0);
    CHECK_INT(plk_io_read(io2, &byte, 1, 600, PLK_POINT_NONE), 0);
    CHECK_INT(byte, 'a');
    plk_io_close(io2);
    plk_dir_close(state[0]);
    plk_dir_close(state[1]);
    plk_crash_free(crash);
    plk_io_close(io);
    end();
}

TEST_MAIN()
