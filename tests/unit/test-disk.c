/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The data path against a flat array: random writes, zeroes, discards, flushes and reopens on chains of every
 * depth, byte-exact after each; then the same from several threads (the binary TSan runs too).
 */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/math.h"
#include "disk/disk.h"
#include "test.h"

#define CLUSTER 32768u
#define CLUSTER_SECTORS 64u

typedef struct World {
    char path[64];
    PlkDir *dir;
    PlkDisk *disk;
    int version;
    bool raw_base, alloc_full;
    unsigned levels;
    size_t size;
    uint8_t *model;
} World;

static uint32_t seed;

static uint32_t rnd(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(seed >> 4) * n >> 28);
}

static void add_level(World *w)
{
    PlkImageSpec spec = {.version = w->version, .size_sectors = w->size / 512, .cluster_sectors = CLUSTER_SECTORS};
    PlkError err;
    PlkIo *io;
    char name[16];

    snprintf(name, sizeof name, "%u", w->levels);
    CHECK_INT(plk_dir_open_file(w->dir, name, PLK_OPEN_CREATE | PLK_OPEN_EXCLUSIVE, 0600, &io), 0);
    if (w->levels == 0 && w->raw_base)
        CHECK_OK(plk_image_create_raw(io, w->size, false, NULL, &err), err);
    else
        CHECK_OK(plk_image_create(io, &spec, NULL, &err), err);
    plk_io_close(io);
    w->levels++;
}

static void open_world(World *w, bool writable)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = writable, .alloc_full = w->alloc_full};
    PlkChainFile files[128];
    char names[128][16];
    PlkError err;

    for (unsigned i = 0; i < w->levels; i++) {
        snprintf(names[i], sizeof names[i], "%u", i);
        files[i] = (PlkChainFile){names[i], i == 0 && w->raw_base};
    }
    CHECK_OK(plk_disk_open_chain(w->dir, files, w->levels, CLUSTER_SECTORS, &o, &w->disk, &err), err);
    CHECK_INT(plk_disk_size(w->disk), w->size);
}

static void close_world(World *w)
{
    PlkError err;

    CHECK_OK(plk_disk_close(w->disk, &err), err);
    w->disk = NULL;
}

static void make_world(World *w, size_t size)
{
    strcpy(w->path, "/tmp/plk-test-XXXXXX");
    CHECK(mkdtemp(w->path));
    CHECK_INT(plk_dir_open_fs(w->path, NULL, &w->dir), 0);
    w->size = size;
    w->model = calloc(1, size);
    w->levels = 0;
    if (!w->version)
        w->version = 2;
    add_level(w);
    open_world(w, true);
}

static int unlink_each(void *arg, const char *name)
{
    return plk_dir_unlink(arg, name);
}

static void end_world(World *w)
{
    if (w->disk)
        close_world(w);
    plk_dir_list(w->dir, unlink_each, w->dir);
    plk_dir_close(w->dir);
    rmdir(w->path);
    free(w->model);
}

static void compare(World *w)
{
    uint8_t *got = malloc(w->size);

    CHECK_INT(plk_disk_read(w->disk, got, w->size, 0), 0);
    for (size_t i = 0; i < w->size; i++)
        if (got[i] != w->model[i])
            test_fail(__FILE__, __LINE__, "byte %zu (cluster %zu) is %02x, expected %02x", i, i / CLUSTER, got[i],
                      w->model[i]);
    free(got);
}

static void random_op(World *w)
{
    uint32_t len = rnd(4) ? rnd(5000) + 1 : rnd(4 * CLUSTER) + 1, off;
    static uint8_t buf[4 * CLUSTER];

    len = PLK_MIN(len, w->size);
    off = rnd((uint32_t)(w->size - len + 1));
    if (rnd(3) == 0) {
        off = off / 512 * 512;
        len = PLK_MAX(len / CLUSTER * CLUSTER, 512);
    }
    switch (rnd(6)) {
    case 0:
        CHECK_INT(plk_disk_zero(w->disk, off, len), 0);
        memset(w->model + off, 0, len);
        break;
    case 1: {
        uint64_t a = plk_round_up(off, CLUSTER), b = plk_round_down(off + len, CLUSTER);
        CHECK_INT(plk_disk_discard(w->disk, off, len), 0);
        if (a < b)
            memset(w->model + a, 0, b - a);
        break;
    }
    case 2:
        CHECK_INT(plk_disk_flush(w->disk), 0);
        break;
    default:
        memset(buf, (int)rnd(255) + 1, len);
        CHECK_INT(plk_disk_write(w->disk, buf, len, off), 0);
        memcpy(w->model + off, buf, len);
    }
}

static void storm(World *w, int ops)
{
    for (int i = 0; i < ops; i++) {
        random_op(w);
        if (i % 37 == 0)
            compare(w);
        if (i % 101 == 100) {
            close_world(w);
            if (w->levels < 6)
                add_level(w);
            open_world(w, false);
            compare(w);
            close_world(w);
            open_world(w, true);
        }
    }
    compare(w);
}

TEST(every_byte_is_the_last_one_written)
{
    for (uint32_t s = 1; s <= 6; s++) {
        World w = {.version = s % 2 ? 2 : 1, .raw_base = s % 3 == 0, .alloc_full = s == 5};
        seed = s;
        make_world(&w, (20 + s) * CLUSTER);
        storm(&w, 1500);
        end_world(&w);
    }
}

TEST(a_tiny_cache_changes_nothing)
{
    World w = {0};
    uint8_t buf[512];

    seed = 77;
    make_world(&w, 3200 * CLUSTER); /* four BAT pages */
    for (int i = 0; i < 300; i++) {
        uint64_t off = (uint64_t)rnd((uint32_t)(w.size / 512)) * 512;
        memset(buf, i + 1, sizeof buf);
        CHECK_INT(plk_disk_write(w.disk, buf, sizeof buf, off), 0);
        memcpy(w.model + off, buf, sizeof buf);
        if (i % 10 == 0) {
            CHECK_INT(plk_disk_flush(w.disk), 0);
            w.disk->map.max_pages = 0;
            plk_map_shrink(w.disk);
            CHECK_INT(atomic_load(&w.disk->map.n_loaded), 0);
            w.disk->map.max_pages = 1;
        }
    }
    compare(&w);
    end_world(&w);
}

TEST(requests_outside_the_disk_are_refused)
{
    World w = {0};
    uint8_t b[16];

    make_world(&w, 4 * CLUSTER);
    CHECK_INT(plk_disk_read(w.disk, b, 16, w.size - 8), -EINVAL);
    CHECK_INT(plk_disk_write(w.disk, b, 16, UINT64_MAX - 4), -EINVAL);
    CHECK_INT(plk_disk_zero(w.disk, 8, UINT64_MAX), -EINVAL);
    CHECK_INT(plk_disk_read(w.disk, b, 0, w.size), 0);
    close_world(&w);
    open_world(&w, false);
    CHECK_INT(plk_disk_write(w.disk, b, 16, 0), -EROFS);
    end_world(&w);
}

TEST(discarded_clusters_are_reused_after_a_flush_and_not_before)
{
    World w = {0};
    uint8_t buf[CLUSTER];
    PlkExtent before, after;

    make_world(&w, 8 * CLUSTER);
    memset(buf, 1, sizeof buf);
    CHECK_INT(plk_disk_write(w.disk, buf, CLUSTER, 0), 0);
    CHECK_INT(plk_disk_flush(w.disk), 0);
    CHECK_INT(plk_disk_status(w.disk, 0, CLUSTER, &before), 0);
    CHECK_INT(plk_disk_discard(w.disk, 0, CLUSTER), 0);
    CHECK_INT(plk_disk_write(w.disk, buf, CLUSTER, CLUSTER), 0);
    CHECK_INT(plk_disk_status(w.disk, CLUSTER, CLUSTER, &after), 0);
    CHECK(after.file_offset != before.file_offset);
    CHECK_INT(plk_disk_flush(w.disk), 0);
    CHECK_INT(plk_disk_write(w.disk, buf, 10, 5 * CLUSTER), 0);
    CHECK_INT(plk_disk_status(w.disk, 5 * CLUSTER, CLUSTER, &after), 0);
    CHECK_INT(after.file_offset, before.file_offset);
    memset(w.model + CLUSTER, 1, CLUSTER);
    memset(w.model + 5 * CLUSTER, 1, 10); /* and zeros behind: no old bytes */
    compare(&w);
    end_world(&w);
}

TEST(status_tells_data_from_holes_from_nothing)
{
    World w = {0};
    uint8_t buf[2 * CLUSTER];
    PlkExtent e;

    make_world(&w, 16 * CLUSTER);
    memset(buf, 7, sizeof buf);
    CHECK_INT(plk_disk_write(w.disk, buf, 2 * CLUSTER, 4 * CLUSTER), 0);
    CHECK_INT(plk_disk_status(w.disk, 100, w.size, &e), 0);
    CHECK_INT(e.kind, PLK_EXTENT_UNALLOCATED);
    CHECK_INT(e.length, 4 * CLUSTER - 100);
    CHECK_INT(plk_disk_status(w.disk, 4 * CLUSTER + 5, w.size, &e), 0);
    CHECK_INT(e.kind, PLK_EXTENT_DATA);
    CHECK_INT(e.length, 2 * CLUSTER - 5);
    CHECK_INT(plk_disk_status(w.disk, 6 * CLUSTER, w.size, &e), 0);
    CHECK_INT(e.length, 10 * CLUSTER);
    end_world(&w);
}

TEST(a_dirty_image_is_recovered_at_the_next_writable_open)
{
    World w = {0};
    uint8_t buf[CLUSTER];

    make_world(&w, 8 * CLUSTER);
    memset(buf, 3, sizeof buf);
    CHECK_INT(plk_disk_write(w.disk, buf, CLUSTER, 0), 0);
    CHECK_INT(plk_disk_flush(w.disk), 0);
    memset(w.model, 3, CLUSTER);
    CHECK_INT(plk_disk_write(w.disk, buf, CLUSTER, 3 * CLUSTER), 0); /* never flushed */
    plk_disk_drop(w.disk);
    open_world(&w, true);
    CHECK(plk_disk_top(w.disk)->was_dirty);
    CHECK_INT(plk_disk_write(w.disk, buf, 1, 6 * CLUSTER), 0);
    w.model[6 * CLUSTER] = 3;
    compare(&w); /* nothing of the leaked tail shows through */
    close_world(&w);
    open_world(&w, false);
    CHECK(!plk_disk_top(w.disk)->was_dirty);
    end_world(&w);
}

TEST(two_entries_for_one_cluster_stop_writing)
{
    World w = {0};
    uint8_t buf[CLUSTER], entry[4];
    PlkError err;
    PlkIo *io;

    make_world(&w, 8 * CLUSTER);
    memset(buf, 3, sizeof buf);
    CHECK_INT(plk_disk_write(w.disk, buf, CLUSTER, 0), 0);
    close_world(&w);
    CHECK_INT(plk_dir_open_file(w.dir, "0", PLK_OPEN_WRITE, 0, &io), 0);
    CHECK_INT(plk_io_read(io, entry, 4, 64, PLK_POINT_NONE), 0);
    CHECK_INT(plk_io_write(io, entry, 4, 64 + 4 * 5, PLK_POINT_NONE), 0);
    plk_io_close(io);
    open_world(&w, true);
    CHECK_INT(plk_disk_write(w.disk, buf, 1, 0), -EUCLEAN);
    plk_disk_explain(w.disk, -EUCLEAN, &err);
    CHECK_INT(err.code, PLK_ERROR_FORMAT);
    CHECK(strstr(err.message, "offset 84") && strstr(err.message, "ploop check"));
    end_world(&w);
}

/* ---- threads ---- */

#define THREADS 4

typedef struct Worker {
    World *w;
    unsigned id;
    int failed; /* -errno, or 1: other bytes than were written */
} Worker;

/* Each thread owns every fourth 4 KiB block, so clusters are shared and bytes are not. */
static void *work(void *arg)
{
    Worker *me = arg;
    uint32_t s = me->id * 7919 + 1, blocks = (uint32_t)(me->w->size / 4096);
    uint8_t buf[4096], got[4096];

    for (int i = 0; i < 1200 && !me->failed; i++) {
        uint64_t off;
        s = s * 1664525u + 1013904223u;
        off = ((uint64_t)(s >> 8) % (blocks / THREADS) * THREADS + me->id) * 4096;
        memset(buf, (int)(s >> 24), sizeof buf);
        if (i % 50 == 49)
            me->failed |= plk_disk_flush(me->w->disk);
        else if (i % 7 == 3) {
            me->failed |= plk_disk_zero(me->w->disk, off, 4096);
            memset(buf, 0, sizeof buf);
        } else
            me->failed |= plk_disk_write(me->w->disk, buf, 4096, off);
        if (i % 50 != 49) {
            me->failed |= plk_disk_read(me->w->disk, got, 4096, off);
            me->failed |= memcmp(got, buf, 4096) != 0;
            memcpy(me->w->model + off, buf, 4096);
        }
    }
    return NULL;
}

TEST(threads_share_clusters_without_losing_bytes)
{
    for (int round = 0; round < 3; round++) {
        World w = {.raw_base = round == 2};
        pthread_t t[THREADS];
        Worker workers[THREADS];

        make_world(&w, 64 * CLUSTER);
        if (round > 0) {
            close_world(&w);
            add_level(&w);
            open_world(&w, true);
        }
        for (unsigned i = 0; i < THREADS; i++) {
            workers[i] = (Worker){&w, i, 0};
            CHECK_INT(pthread_create(&t[i], NULL, work, &workers[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(t[i], NULL);
        for (unsigned i = 0; i < THREADS; i++)
            CHECK_INT(workers[i].failed, 0);
        compare(&w);
        close_world(&w);
        open_world(&w, false);
        compare(&w);
        end_world(&w);
    }
}

TEST_MAIN()
