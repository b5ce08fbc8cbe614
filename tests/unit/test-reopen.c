/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * After a failed sync the page cache may hold what the disk does not. A file is played here that has both: until its
 * cache is dropped reads give the cache, afterwards the disk. Whoever writes must have seen the disk.
 */
#include <errno.h>

#include <ploopkit/check.h>

#include "image/check.h"
#include "image/image.h"
#include "io/memory.h"
#include "test.h"

#define CLUSTER_SECTORS 64u
#define CLUSTER_BYTES (CLUSTER_SECTORS * 512u)

static const PlkIoOps *real;
static PlkIoOps played;
static uint8_t on_disk[4096]; /* the first page, as the disk has it */
static unsigned n_drops, n_syncs, n_writes, fail_sync;

static int play_drop(PlkIo *io)
{
    if (n_drops++ == 0)
        CHECK_INT(real->write(io, on_disk, sizeof on_disk, 0, PLK_POINT_NONE), (int)sizeof on_disk);
    return 0;
}

static int play_sync(PlkIo *io, PlkPoint point)
{
    n_syncs++;
    return n_syncs == fail_sync ? -EIO : real->sync(io, point);
}

static ssize_t play_write(PlkIo *io, const void *buf, size_t len, uint64_t off, PlkPoint point)
{
    n_writes++;
    if (n_drops == 0)
        test_fail(__FILE__, __LINE__, "%s written before the cache was dropped", plk_point_name(point));
    return real->write(io, buf, len, off, point);
}

/* An image in use with one cluster, whose name is in the cache only, or on the disk only. */
static PlkIo *make(bool in_cache)
{
    PlkImageSpec spec = {.version = 2, .size_sectors = 8 * CLUSTER_SECTORS, .cluster_sectors = CLUSTER_SECTORS};
    uint8_t page[4096];
    uint32_t one = 1;
    PlkError err;
    PlkDir *dir;
    PlkIo *io;

    CHECK_INT(plk_dir_open_memory("/m", &dir), 0);
    CHECK_INT(plk_dir_open_file(dir, "i", PLK_OPEN_CREATE, 0600, &io), 0);
    CHECK_OK(plk_image_create(io, &spec, NULL, &err), err);
    CHECK_INT(plk_io_truncate(io, 2 * CLUSTER_BYTES, PLK_POINT_DATA_EXTEND), 0);
    CHECK_INT(plk_io_read(io, page, sizeof page, 0, PLK_POINT_NONE), 0);
    memcpy(page + 44, &(uint32_t){PLK_IN_USE_OPEN}, 4);
    memset(page + 52, 0, 4);
    memcpy(on_disk, page, sizeof page);
    memcpy((in_cache ? page : on_disk) + 64, &one, 4);
    CHECK_INT(plk_io_write(io, page, sizeof page, 0, PLK_POINT_META_INIT), 0);
    real = io->ops;
    played = *real;
    played.drop_cache = play_drop;
    played.sync = play_sync;
    played.write = play_write;
    io->ops = &played;
    n_drops = n_syncs = n_writes = fail_sync = 0;
    plk_dir_close(dir);
    return io;
}

static void scan_sees_the_disk(bool in_cache)
{
    PlkImage *img;
    PlkError err;

    CHECK_OK(plk_image_open(make(in_cache), PLK_IMAGE_WRITE, 0, &img, &err), err);
    CHECK_INT(plk_image_prepare_write(img), 0);
    CHECK_INT(n_drops, 1);
    CHECK_INT(img->alloc.next, in_cache ? 1 : 2);
    CHECK_OK(plk_image_close(img, &err), err);
}

TEST(a_writer_goes_by_the_disk_after_a_failed_sync)
{
    scan_sees_the_disk(true);
    scan_sees_the_disk(false);
}

TEST(a_reader_leaves_the_cache_alone)
{
    PlkImage *img;
    PlkError err;

    CHECK_OK(plk_image_open(make(true), 0, 0, &img, &err), err);
    CHECK_INT(n_drops + n_syncs, 0);
    plk_image_drop(img);
}

TEST(what_does_not_reach_the_disk_stops_the_writer)
{
    PlkIo *io = make(true);
    PlkImage *img;
    PlkError err;

    fail_sync = 1;
    CHECK_FAILS(plk_image_open(io, PLK_IMAGE_WRITE, 0, &img, &err), err, PLK_ERROR_SYNC);
    CHECK_INT(n_writes, 0);
    plk_io_close(io);
    CHECK_INT(n_drops, 1); /* so that the next one reads the disk, whatever the mark in the cache says */
}

static int ignore(void *arg, const PlkFinding *f)
{
    return 0;
}

TEST(a_repair_goes_by_the_disk)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .repair = PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE};
    PlkCheckResult result = {0};
    PlkIo *io = make(true);
    PlkError err;
    uint64_t size;

    CHECK_OK(plk_image_check(io, 0, &o, ignore, NULL, NULL, &result, NULL, &err), err);
    CHECK_INT(n_drops, 1);
    CHECK_INT(plk_io_size(io, &size), 0);
    CHECK_INT(size, CLUSTER_BYTES); /* the cluster that only the cache named is cut off */
    CHECK_INT(result.left, 0);
    plk_io_close(io);
}

/* ---- and the last line of defence ---- */

TEST(nobody_but_the_metadata_writer_gets_below_the_first_cluster)
{
    PlkIo *io = make(false);
    uint8_t bytes[512] = {1}, bounce[4096];
    PlkImage *img;
    PlkError err;

    CHECK_OK(plk_image_open(io, PLK_IMAGE_WRITE, 0, &img, &err), err);
    CHECK_INT(plk_image_prepare_write(img), 0);
    for (uint64_t at = 0; at < CLUSTER_BYTES; at += CLUSTER_BYTES / 4) {
        CHECK_INT(plk_io_write(io, bytes, sizeof bytes, at, PLK_POINT_DATA_WRITE), -EPERM);
        CHECK_INT(plk_io_zero(io, at, 512, PLK_POINT_DATA_ZERO), -EPERM);
        CHECK_INT(plk_io_punch(io, at, 512, PLK_POINT_FREE_PUNCH), -EPERM);
        CHECK_INT(plk_io_truncate(io, at, PLK_POINT_TAIL_TRUNCATE), -EPERM);
        CHECK_INT(plk_io_copy(io, at, io, CLUSTER_BYTES, 512, NULL, bounce, sizeof bounce, PLK_POINT_DATA_COPY), -EPERM);
    }
    CHECK_OK(plk_image_close(img, &err), err);
}

TEST_MAIN()
