/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packing one image: the file gets as short as its data allows, every byte stays, no failure loses any. */
#include <errno.h>

#include "image/image.h"
#include "io/fault.h"
#include "test.h"

#define CLUSTER 32768u
#define SLOTS 3000u /* three BAT pages */

static PlkError err;

static PlkImage *open_image(PlkDir *dir)
{
    PlkImage *img;
    PlkIo *io;

    CHECK_INT(plk_dir_open_file(dir, "x.hds", PLK_OPEN_WRITE, 0, &io), 0);
    CHECK_OK(plk_image_open(io, PLK_IMAGE_WRITE, 0, &img, &err), err);
    return img;
}

/* Slot 7*i names cluster 1 + stride*(n-1-i), filled with i + 1. */
static PlkDir *make_holey(unsigned n, unsigned stride)
{
    PlkImageSpec spec = {.version = 2, .size_sectors = SLOTS * 64, .cluster_sectors = 64};
    uint32_t slots[3][PLK_BAT_PAGE_SLOTS] = {0};
    uint8_t data[CLUSTER];
    PlkImage *img;
    PlkDir *dir;
    PlkIo *io;

    CHECK_INT(plk_dir_open_memory("/d", &dir), 0);
    CHECK_INT(plk_dir_open_file(dir, "x.hds", PLK_OPEN_CREATE, 0600, &io), 0);
    CHECK_OK(plk_image_create(io, &spec, NULL, &err), err);
    plk_io_close(io);
    img = open_image(dir);
    CHECK_INT(plk_image_prepare_write(img), 0);
    for (unsigned i = 0; i < n; i++) {
        uint32_t slot = 7 * i, cluster = 1 + stride * (n - 1 - i);

        memset(data, (int)i + 1, sizeof data);
        CHECK_INT(
            plk_io_write(img->io, data, sizeof data, plk_image_offset(img, cluster), PLK_POINT_DATA_WRITE),
            0);
        slots[plk_bat_page(slot)][plk_bat_index(slot)] = cluster;
    }
    for (uint32_t page = 0; page < 3; page++)
        CHECK_INT(plk_image_write_page(img, page, slots[page]), 0);
    CHECK_INT(plk_image_write_header(img, PLK_IN_USE_CLOSED, PLK_POINT_META_CLOSE), 0);
    plk_image_drop(img);
    return dir;
}

static void check_holey(PlkImage *img, unsigned n)
{
    uint32_t slots[PLK_BAT_PAGE_SLOTS];
    uint8_t want[CLUSTER], got[CLUSTER];

    for (unsigned i = 0; i < n; i++) {
        uint32_t c;

        CHECK_INT(plk_image_read_page(img, plk_bat_page(7 * i), slots), 0);
        c = slots[plk_bat_index(7 * i)];
        CHECK(c != PLK_SLOT_NONE && c < PLK_SLOT_BEYOND);
        memset(want, (int)i + 1, sizeof want);
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

TEST(a_holey_file_shrinks_to_its_data)
{
    PlkDir *dir = make_holey(200, 3);
    PlkImage *img = open_image(dir);
    uint64_t before = length(img), freed;

    CHECK_OK(plk_image_compact(img, &freed, NULL, &err), err);
    CHECK_INT(length(img), 201 * CLUSTER);
    CHECK_INT(freed, before - 201 * CLUSTER);
    check_holey(img, 200);
    CHECK_OK(plk_image_close(img, &err), err);
    img = open_image(dir);
    CHECK_INT(length(img), 201 * CLUSTER);
    check_holey(img, 200);
    plk_image_drop(img);
    plk_dir_close(dir);
}

TEST(a_packed_file_and_an_empty_one_stay_as_they_are)
{
    static const unsigned counts[] = {40, 0};

    for (int k = 0; k < 2; k++) {
        PlkDir *dir = make_holey(counts[k], 1);
        PlkImage *img = open_image(dir);
        uint64_t freed = 1;

        CHECK_OK(plk_image_compact(img, &freed, NULL, &err), err);
        CHECK_INT(freed, 0);
        CHECK_INT(length(img), (counts[k] + 1) * CLUSTER);
        check_holey(img, counts[k]);
        plk_image_drop(img);
        plk_dir_close(dir);
    }
}

TEST(a_packed_image_goes_on_taking_writes)
{
    PlkDir *dir = make_holey(10, 2);
    PlkImage *img = open_image(dir);
    uint64_t freed;
    uint32_t c;

    CHECK_OK(plk_image_compact(img, &freed, NULL, &err), err);
    CHECK_INT(plk_image_alloc_cluster(img, &c), 0);
    CHECK_INT(c, 11);
    plk_image_drop(img);
    plk_dir_close(dir);
}

static int cancel(void *arg, const char *what, uint64_t done, uint64_t total)
{
    uint64_t *seen = arg;

    CHECK(done <= total && done >= *seen);
    *seen = done;
    return 1;
}

TEST(a_cancelled_packing_loses_nothing)
{
    PlkDir *dir = make_holey(200, 3);
    PlkImage *img = open_image(dir);
    uint64_t freed = 77, seen = 0;
    PlkProgress progress = {cancel, &seen};

    CHECK_FAILS(plk_image_compact(img, &freed, &progress, &err), err, PLK_ERROR_CANCELLED);
    CHECK_INT(freed, 77);
    CHECK(seen > 0);
    CHECK_OK(plk_image_close(img, &err), err);
    img = open_image(dir);
    check_holey(img, 200);
    plk_image_drop(img);
    plk_dir_close(dir);
}

TEST(a_packing_that_fails_at_any_call_loses_nothing)
{
    bool failed = true;

    for (unsigned long nth = 1; failed; nth++) {
        CHECK(nth < 1000);
        PlkFault fault = {.errnum = EIO, .sticky = true};
        PlkDir *dir;
        PlkImage *img;
        uint64_t freed;

        CHECK_INT(plk_dir_wrap_fault(make_holey(20, 3), &fault, &dir), 0);
        img = open_image(dir);
        fault.seen = 0;
        fault.nth = nth;
        failed = plk_image_compact(img, &freed, NULL, NULL) != 0;
        plk_image_drop(img);
        fault.nth = 0;
        img = open_image(dir);
        CHECK_INT(plk_image_prepare_write(img), 0);
        check_holey(img, 20);
        CHECK_OK(plk_image_close(img, &err), err);
        plk_dir_close(dir);
    }
}

TEST_MAIN()
