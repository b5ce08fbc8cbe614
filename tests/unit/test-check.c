/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The check of one image: each damage is found where it is and given its rank; repairs do what they say, no
 * more; a repaired image is clean the next time; no failing call makes anything worse. The images made by
 * other programs are run through `ploop check` in tests/interop/samples.py.
 */
#include <errno.h>

#include "image/check.h"
#include "io/fault.h"
#include "image.h"

#define CLUSTER 32768u
#define SLOTS 256u
#define ALL (PLK_REPAIR_LOSSLESS | PLK_REPAIR_LOSSY | PLK_REPAIR_IN_USE)

static PlkError err;

typedef struct Seen {
    PlkFinding list[16];
    size_t n;
    bool says_rescue; /* the last one names the way out */
} Seen;

static int remember(void *arg, const PlkFinding *f)
{
    Seen *seen = arg;

    CHECK(f->meaning && *f->meaning && strcmp(f->image, "/d/x.hds") == 0);
    CHECK(seen->n < 16);
    CHECK(f->rank == PLK_FINDING_INFO || f->proposal);
    CHECK(f->rank != PLK_FINDING_LOSSY || f->loss);
    seen->says_rescue = f->proposal && strstr(f->proposal, "ploop rescue");
    seen->list[seen->n++] = *f;
    return 0;
}

/* Slots 0, 5 and 9 name clusters 1, 2 and 3, filled with the number of the slot plus one. */
static PlkDir *make(int version)
{
    static const uint32_t named[] = {0, 5, 9};
    PlkImageSpec spec = {.version = version, .size_sectors = SLOTS * 64, .cluster_sectors = 64};
    uint32_t slots[PLK_BAT_PAGE_SLOTS] = {0};
    uint8_t data[CLUSTER];
    PlkImage *img;
    PlkDir *dir;
    PlkIo *io;

    CHECK_INT(plk_dir_open_memory("/d", &dir), 0);
    CHECK_INT(plk_dir_open_file(dir, "x.hds", PLK_OPEN_CREATE, 0600, &io), 0);
    CHECK_OK(plk_image_create(io, &spec, NULL, &err), err);
    CHECK_OK(plk_image_open(io, PLK_IMAGE_WRITE, 0, &img, &err), err);
    CHECK_INT(plk_image_prepare_write(img), 0);
    for (uint32_t i = 0; i < 3; i++) {
        memset(data, (int)named[i] + 1, sizeof data);
        CHECK_INT(plk_io_write(io, data, sizeof data, plk_image_offset(img, i + 1), PLK_POINT_DATA_WRITE), 0);
        slots[plk_bat_index(named[i])] = i + 1;
    }
    CHECK_INT(plk_image_write_page(img, 0, slots), 0);
    CHECK_INT(plk_image_write_header(img, PLK_IN_USE_CLOSED, PLK_POINT_META_CLOSE), 0);
    plk_image_drop(img);
    return dir;
}

static PlkCheckResult run_check(PlkDir *dir, unsigned repair, Seen *seen)
{
    PlkCheckOptions options = {.struct_size = sizeof options, .repair = repair};
    PlkIo *io = open_io(dir, repair != 0);
    PlkCheckResult result = {0};

    if (seen)
        seen->n = 0;
    CHECK_OK(plk_image_check(io, 0, &options, seen ? remember : NULL, seen, NULL, &result, NULL, &err), err);
    plk_io_close(io);
    return result;
}

static void check_is_clean(PlkDir *dir)
{
    Seen seen;
    PlkCheckResult result = run_check(dir, 0, &seen);

    CHECK_INT(result.left, 0);
    CHECK_INT(result.found[PLK_FINDING_LOSSY] + result.found[PLK_FINDING_FATAL], 0);
}

/* One damage: seen alone, untouched by a look, mended by these repairs and gone afterwards. */
static void check_damage(PlkDir *dir, PlkFindingKind kind, PlkFindingRank rank, unsigned repair)
{
    Seen seen;
    PlkCheckResult result = run_check(dir, 0, &seen);

    CHECK_INT(seen.n, 1);
    CHECK_INT(seen.list[0].kind, kind);
    CHECK_INT(seen.list[0].rank, rank);
    CHECK(!seen.list[0].fixed);
    CHECK_INT(result.left, rank != PLK_FINDING_INFO);
    result = run_check(dir, repair, &seen);
    CHECK(seen.n >= 1);
    CHECK_INT(seen.list[0].kind, kind);
    CHECK(seen.list[0].fixed);
    CHECK_INT(result.left, 0);
    check_is_clean(dir);
    plk_dir_close(dir);
}

TEST(a_sound_image_has_no_findings)
{
    for (int version = 1; version <= 2; version++) {
        PlkDir *dir = make(version);
        Seen seen;

        run_check(dir, 0, &seen);
        CHECK_INT(seen.n, 0);
        run_check(dir, ALL, &seen);
        CHECK_INT(seen.n, 0);
        plk_dir_close(dir);
    }
}

TEST(header_lies_without_other_evidence_are_named_and_end_the_check)
{
    static const struct {
        uint64_t offset, second;
        uint32_t value, second_value;
        PlkFindingKind kind;
    } lies[] = {
        {0, 0, 1, 1, PLK_FOUND_SIGNATURE},
        {16, 16, 1, 1, PLK_FOUND_TYPE},
        {28, 28, 63, 63, PLK_FOUND_CLUSTER_SIZE},
        {48, 32, 0, 100, PLK_FOUND_FIRST_BLOCK},         /* two fields lie */
        {48, 36, 65, 64 * 1000, PLK_FOUND_FIRST_BLOCK},  /* ... */
        {36, 20, 300 * 64, 0, PLK_FOUND_DISK_SIZE},      /* as well as 300 entries could be true */
        {36, 32, 0, 0, PLK_FOUND_DISK_SIZE},             /* nothing says how big the disk was */
        {48, 84, 0, 99, PLK_FOUND_FIRST_BLOCK},          /* an entry that fits nowhere */
    };

    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        PlkDir *dir = make(2);
        Seen seen;

        poke(dir, lies[i].offset, lies[i].value);
        poke(dir, lies[i].second, lies[i].second_value);
        CHECK_INT(run_check(dir, ALL, &seen).left, 1);
        CHECK_INT(seen.n, 1);
        CHECK_INT(seen.list[0].kind, lies[i].kind);
        CHECK_INT(seen.list[0].rank, PLK_FINDING_FATAL);
        CHECK(seen.says_rescue);
        CHECK_INT(peek(dir, lies[i].offset), lies[i].value);
        plk_dir_close(dir);
    }
}

TEST(header_fields_that_the_others_tell_are_set_right_by_a_lossy_repair)
{
    static const struct {
        uint64_t offset;
        uint32_t value, right;
        PlkFindingKind kind;
    } lies[] = {
        {48, 0, 64, PLK_FOUND_FIRST_BLOCK},
        {48, 65, 64, PLK_FOUND_FIRST_BLOCK},
        {48, 0xffffffff, 64, PLK_FOUND_FIRST_BLOCK},
        {48, 0xffffffc0, 64, PLK_FOUND_FIRST_BLOCK_OUTSIDE},
        {32, 300000, SLOTS, PLK_FOUND_BAT_COUNT},
        {32, 0xffffffff, SLOTS, PLK_FOUND_BAT_COUNT},
        {32, 0, SLOTS, PLK_FOUND_BAT_COUNT},
        {32, 100, SLOTS, PLK_FOUND_BAT_COUNT}, /* heads and cylinders are those of 256 */
        {40, 2, 0, PLK_FOUND_DISK_SIZE},
        {36, 0, SLOTS * 64, PLK_FOUND_DISK_SIZE},
        {36, SLOTS * 64 + 64, SLOTS * 64, PLK_FOUND_DISK_SIZE},
    };

    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        PlkDir *dir = make(2);

        poke(dir, lies[i].offset, lies[i].value);
        CHECK_INT(run_check(dir, PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE, NULL).left, 1);
        CHECK_INT(peek(dir, lies[i].offset), lies[i].value);
        check_damage(dir, lies[i].kind, PLK_FINDING_LOSSY, ALL);
        dir = make(2);
        poke(dir, lies[i].offset, lies[i].value);
        run_check(dir, ALL, NULL);
        CHECK_INT(peek(dir, lies[i].offset), lies[i].right);
        CHECK_INT(peek(dir, 3 * CLUSTER), 0x0a0a0a0a);
        plk_dir_close(dir);
    }
}

TEST(a_bat_that_the_file_does_not_hold_is_refused_without_reading_it)
{
    PlkDir *dir = make(2);
    Seen seen;

    poke(dir, 32, 536870912 - 16); /* 2 GiB of entries in a file of 128 KiB */
    poke(dir, 36, 64);
    poke(dir, 48, 4194304);
    run_check(dir, 0, &seen);
    CHECK_INT(seen.n, 1);
    CHECK_INT(seen.list[0].kind, PLK_FOUND_BAT_SHORT);
    plk_dir_close(dir);
}

TEST(an_entry_beyond_the_device_is_cleared_without_loss)
{
    PlkDir *dir = make(1);

    poke(dir, plk_bat_offset(SLOTS), 64); /* the first one behind the last */
    check_damage(dir, PLK_FOUND_BEYOND_DEVICE, PLK_FINDING_LOSSLESS, PLK_REPAIR_LOSSLESS);
}

TEST(entries_that_name_nothing_are_cleared_only_by_a_lossy_repair)
{
    PlkDir *dir = make(1);
    Seen seen;

    poke(dir, plk_bat_offset(7), 65);
    CHECK_INT(run_check(dir, PLK_REPAIR_LOSSLESS, &seen).left, 1);
    CHECK_INT(peek(dir, plk_bat_offset(7)), 65);
    check_damage(dir, PLK_FOUND_MISALIGNED, PLK_FINDING_LOSSY, ALL);
    dir = make(2);
    poke(dir, plk_bat_offset(7), 9);
    CHECK_INT(run_check(dir, PLK_REPAIR_LOSSLESS, &seen).left, 1);
    CHECK_INT(seen.list[0].slot, 7);
    CHECK_INT(seen.list[0].value, 9);
    CHECK_INT(peek(dir, plk_bat_offset(7)), 9);
    check_damage(dir, PLK_FOUND_BEYOND_EOF, PLK_FINDING_LOSSY, ALL);
}

TEST(a_first_block_that_cuts_off_named_data_is_moved_back)
{
    PlkDir *dir = make(2);
    Seen seen;

    poke(dir, 48, 128); /* one cluster of BAT is enough: cluster 1 is data, and slot 0 names it */
    CHECK_INT(run_check(dir, ALL, &seen).left, 0);
    CHECK_INT(seen.list[0].kind, PLK_FOUND_FIRST_BLOCK_LATE);
    CHECK_INT(seen.list[0].rank, PLK_FINDING_LOSSY);
    CHECK_INT(peek(dir, 48), 64);
    CHECK_INT(peek(dir, plk_bat_offset(0)), 1);
    check_is_clean(dir);
    plk_dir_close(dir);
}

TEST(a_table_of_the_other_version_is_left_alone)
{
    PlkDir *dir = make(2);
    PlkIo *io = open_io(dir, true);
    Seen seen;

    CHECK_INT(plk_io_write(io, "WithoutFreeSpace", 16, 0, PLK_POINT_META_INIT), 0);
    plk_io_close(io);
    CHECK_INT(run_check(dir, ALL, &seen).left, 1);
    CHECK_INT(seen.list[0].kind, PLK_FOUND_VERSION);
    CHECK_INT(peek(dir, plk_bat_offset(0)), 1);
    plk_dir_close(dir);
}

TEST(a_fault_beyond_the_repair_asked_for_keeps_everything_else_as_it_is)
{
    PlkDir *dir = make(2);

    poke(dir, plk_bat_offset(32), 3);
    poke(dir, plk_bat_offset(SLOTS), 2);
    poke(dir, 44, PLK_IN_USE_OPEN);
    set_length(dir, 9 * CLUSTER);
    CHECK_INT(run_check(dir, PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE, NULL).fixed, 0);
    CHECK_INT(peek(dir, plk_bat_offset(SLOTS)), 2);
    CHECK_INT(peek(dir, 44), PLK_IN_USE_OPEN);
    CHECK_INT(get_length(dir), 9 * CLUSTER);
    plk_dir_close(dir);
}

TEST(the_in_use_mark_goes_only_when_asked)
{
    PlkDir *dir = make(2);
    Seen seen;

    poke(dir, 44, PLK_IN_USE_OPEN);
    CHECK_INT(run_check(dir, PLK_REPAIR_LOSSLESS | PLK_REPAIR_LOSSY, &seen).left, 1);
    CHECK_INT(peek(dir, 44), PLK_IN_USE_OPEN);
    check_damage(dir, PLK_FOUND_IN_USE, PLK_FINDING_LOSSLESS, PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE);
}

TEST(flags_are_set_right)
{
    PlkDir *dir = make(2);

    poke(dir, 52, PLK_FLAG_EMPTY);
    check_damage(dir, PLK_FOUND_EMPTY_FLAG, PLK_FINDING_LOSSLESS, PLK_REPAIR_LOSSLESS);
    dir = make(2);
    poke(dir, 52, PLK_FLAG_CONVERT);
    check_damage(dir, PLK_FOUND_CONVERT_FLAG, PLK_FINDING_LOSSLESS, PLK_REPAIR_LOSSLESS);
}

TEST(a_running_conversion_stops_the_check)
{
    PlkDir *dir = make(1);
    Seen seen;

    poke(dir, 52, PLK_FLAG_CONVERT);
    poke(dir, 44, PLK_IN_USE_OPEN);
    CHECK_INT(run_check(dir, ALL, &seen).fixed, 0);
    CHECK_INT(seen.n, 1);
    CHECK_INT(seen.list[0].kind, PLK_FOUND_CONVERTING);
    plk_dir_close(dir);
}

TEST(the_file_ends_where_its_last_cluster_does)
{
    PlkDir *dir = make(2);
    Seen seen;

    set_length(dir, 4 * CLUSTER + 1000);
    check_damage(dir, PLK_FOUND_TAIL, PLK_FINDING_LOSSLESS, PLK_REPAIR_LOSSLESS);
    dir = make(2);
    set_length(dir, 4 * CLUSTER - 1000);
    run_check(dir, PLK_REPAIR_LOSSLESS, &seen);
    CHECK_INT(seen.list[0].kind, PLK_FOUND_FILE_LENGTH);
    CHECK_INT(get_length(dir), 4 * CLUSTER);
    check_is_clean(dir);
    plk_dir_close(dir);
}

TEST(holes_are_told_as_runs)
{
    PlkDir *dir = make(2);
    Seen seen;

    poke(dir, plk_bat_offset(0), 0);
    poke(dir, plk_bat_offset(5), 0);
    CHECK_INT(run_check(dir, 0, &seen).left, 0);
    CHECK_INT(seen.n, 1);
    CHECK_INT(seen.list[0].kind, PLK_FOUND_HOLE);
    CHECK_INT(seen.list[0].value, 1);
    CHECK_INT(seen.list[0].count, 2);
    plk_dir_close(dir);
}

TEST(an_extension_that_does_not_count_is_forgotten)
{
    PlkDir *dir = make(2);

    poke(dir, 56, 128);
    check_damage(dir, PLK_FOUND_EXTENSION_STALE, PLK_FINDING_LOSSLESS, PLK_REPAIR_LOSSLESS);
    dir = make(2);
    poke(dir, 56, 128); /* a data cluster, not an extension */
    poke(dir, 44, PLK_IN_USE_CLOSED21);
    check_damage(dir, PLK_FOUND_EXTENSION, PLK_FINDING_LOSSLESS, PLK_REPAIR_LOSSLESS);
    dir = make(2);
    poke(dir, 56, 0xfffffff0);
    poke(dir, 60, 0xffffffff);
    poke(dir, 44, PLK_IN_USE_CLOSED21);
    check_damage(dir, PLK_FOUND_EXTENSION, PLK_FINDING_LOSSLESS, PLK_REPAIR_LOSSLESS);
}

TEST(a_clean_mark_is_believed_when_asked_to)
{
    PlkCheckOptions options = {.struct_size = sizeof options, .skip_clean = true};
    PlkDir *dir = make(2);
    PlkCheckResult result = {0};
    PlkIo *io;

    poke(dir, plk_bat_offset(32), 3);
    io = open_io(dir, false);
    CHECK_OK(plk_image_check(io, 0, &options, NULL, NULL, NULL, &result, NULL, &err), err);
    CHECK(result.skipped && result.left == 0);
    plk_io_close(io);
    plk_dir_close(dir);
}

static int stop(void *arg, const PlkFinding *f)
{
    return 1;
}

TEST(the_callback_can_stop_a_check)
{
    PlkCheckOptions options = {.struct_size = sizeof options};
    PlkDir *dir = make(2);
    PlkCheckResult result = {0};
    PlkIo *io;

    poke(dir, plk_bat_offset(32), 3);
    io = open_io(dir, false);
    CHECK_FAILS(plk_image_check(io, 0, &options, stop, NULL, NULL, &result, NULL, &err), err,
                PLK_ERROR_CANCELLED);
    plk_io_close(io);
    plk_dir_close(dir);
}

/* The first byte that a guest reads there. */
static uint32_t byte_of_slot(PlkDir *dir, uint32_t slot)
{
    return peek(dir, (uint64_t)peek(dir, plk_bat_offset(slot)) * CLUSTER) & 0xff;
}

/* Everything that can be mended at once. */
static PlkDir *make_ruin(void)
{
    PlkDir *dir = make(2);

    poke(dir, 44, PLK_IN_USE_OPEN);
    poke(dir, 52, PLK_FLAG_EMPTY);
    poke(dir, 56, 128);
    poke(dir, plk_bat_offset(7), 4); /* outside until the first copy goes there */
    poke(dir, plk_bat_offset(32), 3);
    poke(dir, plk_bat_offset(33), 3);
    poke(dir, plk_bat_offset(SLOTS + 7), 2);
    return dir;
}

TEST(a_repair_that_fails_at_any_call_is_done_by_the_next)
{
    bool failed = true;

    for (unsigned long nth = 1; failed; nth++) {
        CHECK(nth < 1000);
        PlkCheckOptions options = {.struct_size = sizeof options, .repair = ALL};
        PlkFault fault = {.errnum = EIO, .sticky = true};
        PlkCheckResult result = {0};
        PlkDir *dir;
        PlkIo *io;

        CHECK_INT(plk_dir_wrap_fault(make_ruin(), &fault, &dir), 0);
        io = open_io(dir, true);
        fault.seen = 0;
        fault.nth = nth;
        failed = plk_image_check(io, 0, &options, NULL, NULL, NULL, &result, NULL, NULL) != 0;
        plk_io_close(io);
        fault.nth = 0;
        CHECK_INT(run_check(dir, ALL, NULL).left, 0);
        check_is_clean(dir);
        CHECK_INT(get_length(dir), 6 * CLUSTER);
        CHECK_INT(peek(dir, plk_bat_offset(7)), 0);
        CHECK_INT(byte_of_slot(dir, 9), 10);
        CHECK_INT(byte_of_slot(dir, 32), 10);
        CHECK_INT(byte_of_slot(dir, 33), 10);
        CHECK_INT(peek(dir, plk_bat_offset(9)) + peek(dir, plk_bat_offset(32)) + peek(dir, plk_bat_offset(33)), 3 + 4 + 5);
        plk_dir_close(dir);
    }
}

TEST(a_repair_that_dies_among_the_entries_shows_afterwards)
{
    PlkCheckOptions options = {.struct_size = sizeof options, .repair = PLK_REPAIR_LOSSLESS};
    PlkFault fault = {.point = PLK_POINT_META_BAT, .nth = 1, .errnum = EIO, .sticky = true};
    PlkDir *memory = make(2), *dir;
    PlkCheckResult result = {0};
    PlkIo *io;

    poke(memory, plk_bat_offset(SLOTS + 7), 2);
    CHECK_INT(plk_dir_wrap_fault(memory, &fault, &dir), 0);
    io = open_io(dir, true);
    CHECK_FAILS(plk_image_check(io, 0, &options, NULL, NULL, NULL, &result, NULL, &err), err,
                PLK_ERROR_WRITE);
    plk_io_close(io);
    CHECK_INT(peek(dir, 44), PLK_IN_USE_OPEN);
    plk_dir_close(dir);
}

TEST_MAIN()
