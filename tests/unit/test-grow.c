/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Growing, shrinking and packing one image: every byte stays where the guest put it, the file gets as long
 * or short as it must, and a failure at any call leaves an image that opens with the old or the new size.
 */
#include <errno.h>

#include "base/alloc.h"
#include "image/image.h"
#include "io/fault.h"
#include "test.h"

#define CLUSTER 32768u
#define SLOTS 256u

static PlkError err;

/* A small image in memory whose slots `where[i].slot` name `where[i].cluster`, tagged with the slot's number.
 */
typedef struct Place {
    uint32_t slot, cluster;
} Place;

static PlkImage *open_image(PlkDir *dir, unsigned flags)
{
    PlkImage *img;
    PlkIo *io;

    CHECK_INT(plk_dir_open_file(dir, "x.hds", PLK_OPEN_WRITE, 0, &io), 0);
    CHECK_OK(plk_image_open(io, PLK_IMAGE_WRITE | flags, 0, &img, &err), err);
    return img;
}

static void put_slot(PlkImage *img, uint32_t slot, uint32_t cluster)
{
    uint32_t slots[PLK_BAT_PAGE_SLOTS];

    CHECK_INT(plk_image_read_page(img, plk_bat_page(slot), slots), 0);
    slots[plk_bat_index(slot)] = cluster;
    CHECK_INT(plk_image_write_page(img, plk_bat_page(slot), slots), 0);
}

static uint32_t get_slot(PlkImage *img, uint32_t slot)
{
    uint32_t slots[PLK_BAT_PAGE_SLOTS];

    CHECK_INT(plk_image_read_page(img, plk_bat_page(slot), slots), 0);
    return slots[plk_bat_index(slot)];
}

static PlkDir *make(int version, uint32_t n_slots, const Place *places, size_t n)
{
    PlkImageSpec spec = {.version = version, .size_sectors = n_slots * 64ull, .cluster_sectors = 64};
    uint8_t data[CLUSTER];
    PlkImage *img;
    PlkDir *dir;
    PlkIo *io;

    CHECK_INT(plk_dir_open_memory("/d", &dir), 0);
    CHECK_INT(plk_dir_open_file(dir, "x.hds", PLK_OPEN_CREATE, 0600, &io), 0);
    CHECK_OK(plk_image_create(io, &spec, NULL, &err), err);
    plk_io_close(io);
    img = open_image(dir, 0);
    CHECK_INT(plk_image_prepare_write(img), 0);
    for (size_t i = 0; i < n; i++) {
        memset(data, (int)places[i].slot + 1, sizeof data);
        CHECK_INT(plk_io_write(img->io, data, sizeof data, plk_image_offset(img, places[i].cluster),
                               PLK_POINT_DATA_WRITE),
                  0);
        atomic_store(&img->file_clusters, 1u << 20);
        put_slot(img, places[i].slot, places[i].cluster);
    }
    CHECK_INT(plk_image_write_header(img, PLK_IN_USE_CLOSED, PLK_POINT_META_CLOSE), 0);
    plk_image_drop(img);
    return dir;
}

/* What a guest sees of each place. */
static void check_data(PlkImage *img, const Place *places, size_t n)
{
    uint8_t want[CLUSTER], got[CLUSTER];

    for (size_t i = 0; i < n; i++) {
        uint32_t c = get_slot(img, places[i].slot);

        if (c == PLK_SLOT_NONE || c >= PLK_SLOT_BEYOND)
            test_fail(__FILE__, __LINE__, "slot %u holds %#x", places[i].slot, c);
        memset(want, (int)places[i].slot + 1, sizeof want);
        CHECK_INT(plk_io_read(img->io, got, sizeof got, plk_image_offset(img, c), PLK_POINT_DATA_READ), 0);
        CHECK(memcmp(want, got, sizeof got) == 0);
    }
}

static uint64_t length(PlkImage *img)
{
    uint64_t size;

    CHECK_INT(plk_io_size(img->io, &size), 0);
    return size;
}

static const Place six[] = {{0, 1}, {5, 2}, {6, 3}, {7, 4}, {200, 5}, {255, 6}};

TEST(growing_moves_the_clusters_in_the_way_to_the_end)
{
    for (int version = 1; version <= 2; version++) {
        PlkDir *dir = make(version, SLOTS, six, 6);
        PlkImage *img = open_image(dir, 0);

        CHECK_OK(plk_image_grow(img, 32768 * 64, NULL, &err), err);
        CHECK_INT(img->header.first_block_sectors, 320);
        CHECK_INT(img->first_cluster, 5);
        CHECK_INT(get_slot(img, 0), 7);
        CHECK_INT(get_slot(img, 7), 10);
        CHECK_INT(get_slot(img, 200), 5); /* was not in the way */
        CHECK_INT(get_slot(img, 32767), 0);
        check_data(img, six, 6);
        CHECK_OK(plk_image_close(img, &err), err);
        img = open_image(dir, 0);
        CHECK_INT(img->header.size_sectors, 32768 * 64);
        CHECK_INT(img->header.bat_entries, 32768);
        CHECK_INT(img->header.in_use, 0);
        CHECK_INT(length(img), 11 * CLUSTER);
        check_data(img, six, 6);
        plk_image_drop(img);
        plk_dir_close(dir);
    }
}

TEST(growing_inside_the_bat_room_moves_nothing)
{
    PlkDir *dir = make(2, SLOTS, six, 6);
    PlkImage *img = open_image(dir, 0);

    CHECK_OK(plk_image_grow(img, 8176 * 64, NULL, &err), err);
    CHECK_INT(img->first_cluster, 1);
    CHECK_INT(length(img), 7 * CLUSTER);
    check_data(img, six, 6);
    plk_image_drop(img);
    plk_dir_close(dir);
}

TEST(bytes_behind_the_old_bat_never_become_names)
{
    PlkDir *dir = make(2, SLOTS, six, 6);
    PlkImage *img = open_image(dir, 0);
    uint32_t stale = 3;

    CHECK_INT(plk_io_write(img->io, &stale, 4, plk_bat_offset(300), PLK_POINT_META_BAT), 0);
    CHECK_OK(plk_image_grow(img, 1000 * 64, NULL, &err), err);
    CHECK_INT(get_slot(img, 300), 0);
    plk_image_drop(img);
    plk_dir_close(dir);
}

TEST(an_empty_image_grows_to_whole_bat_clusters)
{
    PlkDir *dir = make(2, SLOTS, NULL, 0);
    PlkImage *img = open_image(dir, 0);
    uint32_t c;

    CHECK_OK(plk_image_grow(img, 32768 * 64, NULL, &err), err);
    CHECK_INT(length(img), 5 * CLUSTER);
    CHECK_INT(plk_image_alloc_cluster(img, &c), 0);
    CHECK_INT(c, 5);
    plk_image_drop(img);
    plk_dir_close(dir);
}

TEST(a_grown_image_goes_on_taking_writes)
{
    PlkDir *dir = make(2, SLOTS, six, 6);
    PlkImage *img = open_image(dir, 0);
    uint8_t buf[CLUSTER];
    uint32_t c;

    CHECK_OK(plk_image_grow(img, 32768 * 64, NULL, &err), err);
    for (int i = 0; i < 3; i++) { /* cluster 6 is the only named one below 7 */
        CHECK_INT(plk_image_alloc_cluster(img, &c), 0);
        for (int k = 0; k < 6; k++)
            CHECK(get_slot(img, six[k].slot) != c);
        CHECK(c >= img->first_cluster);
        CHECK_INT(plk_io_read(img->io, buf, sizeof buf, plk_image_offset(img, c), PLK_POINT_DATA_READ), 0);
        for (unsigned k = 0; k < sizeof buf; k++)
            CHECK(buf[k] == 0);
    }
    plk_image_drop(img);
    plk_dir_close(dir);
}

TEST(sizes_that_make_no_sense_are_refused_and_nothing_changes)
{
    PlkDir *dir = make(1, SLOTS, six, 6);
    PlkImage *img = open_image(dir, 0);

    CHECK_FAILS(plk_image_grow(img, 255 * 64, NULL, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_image_grow(img, 257 * 64 + 1, NULL, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_image_grow(img, 1ull << 32, NULL, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_image_shrink(img, 257 * 64, NULL, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_image_shrink(img, 0, NULL, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_image_shrink(img, 100, NULL, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_OK(plk_image_grow(img, SLOTS * 64, NULL, &err), err); /* equal: nothing */
    CHECK(!img->prepared);
    plk_image_drop(img);
    plk_dir_close(dir);
}

TEST(shrinking_drops_what_lies_beyond_and_keeps_the_rest)
{
    PlkDir *dir = make(2, SLOTS, six, 6);
    PlkImage *img = open_image(dir, 0);

    CHECK_OK(plk_image_shrink(img, 100 * 64, NULL, &err), err);
    CHECK_INT(img->header.bat_entries, 100);
    check_data(img, six, 4);
    CHECK_OK(plk_image_close(img, &err), err);
    img = open_image(dir, 0);
    CHECK_INT(img->header.size_sectors, 100 * 64);
    CHECK_INT(length(img), 5 * CLUSTER);
    check_data(img, six, 4);
    CHECK_OK(plk_image_grow(img, SLOTS * 64, NULL, &err), err);
    CHECK_INT(get_slot(img, 200), 0); /* gone for good */
    plk_image_drop(img);
    plk_dir_close(dir);
}

TEST(a_raw_image_grows_and_shrinks_by_its_length)
{
    PlkImage *img;
    PlkDir *dir;
    PlkIo *io;

    CHECK_INT(plk_dir_open_memory("/d", &dir), 0);
    CHECK_INT(plk_dir_open_file(dir, "x.hds", PLK_OPEN_CREATE, 0600, &io), 0);
    CHECK_INT(plk_io_write(io, "abc", 3, 0, PLK_POINT_DATA_WRITE), 0);
    CHECK_INT(plk_io_truncate(io, CLUSTER, PLK_POINT_DATA_EXTEND), 0);
    CHECK_OK(plk_image_open(io, PLK_IMAGE_WRITE | PLK_IMAGE_IS_RAW, 64, &img, &err), err);
    CHECK_OK(plk_image_grow(img, 200, NULL, &err), err);
    CHECK_INT(length(img), 200 * 512);
    CHECK_INT(plk_image_slots(img), 4);
    CHECK_OK(plk_image_shrink(img, 64, NULL, &err), err);
    CHECK_INT(length(img), CLUSTER);
    plk_image_drop(img);
    plk_dir_close(dir);
}

/* Fails the nth call (all points), then opens what is left: old or new size, all bytes. */
static bool survives_failure(unsigned long nth, int change(PlkImage *img), uint64_t old_size,
                             uint64_t new_size, size_t n_kept)
{
    PlkDir *memory = make(2, SLOTS, six, 6), *dir;
    PlkFault fault = {.nth = nth, .sticky = true, .errnum = EIO};
    PlkImage *img;
    PlkIo *io;
    int r;

    CHECK_INT(plk_dir_wrap_fault(memory, &fault, &dir), 0);
    fault.nth = 0;
    img = open_image(dir, 0);
    fault.seen = 0;
    fault.nth = nth;
    r = change(img);
    plk_image_drop(img);
    fault.nth = 0;
    CHECK_INT(plk_dir_open_file(dir, "x.hds", PLK_OPEN_WRITE, 0, &io), 0);
    CHECK_OK(plk_image_open(io, PLK_IMAGE_WRITE, 0, &img, &err), err);
    CHECK(img->header.size_sectors == old_size || img->header.size_sectors == new_size);
    CHECK_INT(plk_image_prepare_write(img), 0);
    check_data(img, six, n_kept);
    CHECK_OK(plk_image_close(img, &err), err);
    plk_dir_close(dir);
    return r != 0;
}

static int grow_much(PlkImage *img)
{
    return plk_image_grow(img, 32768 * 64, NULL, NULL);
}

static int shrink_to_100(PlkImage *img)
{
    return plk_image_shrink(img, 100 * 64, NULL, NULL);
}

TEST(a_growth_that_fails_at_any_call_loses_nothing)
{
    unsigned long nth = 1;

    while (survives_failure(nth, grow_much, SLOTS * 64, 32768 * 64, 6))
        CHECK(++nth < 1000);
    CHECK(nth > 10);
}

TEST(a_growth_short_of_memory_loses_nothing_even_when_the_image_is_closed_well)
{
    int r = -1;

    for (unsigned long nth = 1; r != 0; nth++) {
        PlkDir *dir = make(2, SLOTS, six, 6);
        PlkImage *img = open_image(dir, 0);

        CHECK(nth < 1000);
        plk_alloc_fail_at(nth, false);
        r = grow_much(img);
        plk_alloc_fail_at(0, false);
        CHECK_OK(plk_image_close(img, &err), err);
        img = open_image(dir, 0);
        check_data(img, six, 6);
        plk_image_drop(img);
        plk_dir_close(dir);
    }
}

TEST(a_shrink_that_fails_at_any_call_keeps_what_it_was_to_keep)
{
    unsigned long nth = 1;

    while (survives_failure(nth, shrink_to_100, SLOTS * 64, 100 * 64, 4))
        CHECK(++nth < 1000);
    CHECK(nth > 5);
}

TEST_MAIN()
