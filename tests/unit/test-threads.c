/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Everything that may go on at once on one open disk: writers, readers, discards, flushes, questions and
 * snapshots, with a map cache of a few pages, so that pages come and go under them. Meant for TSan and
 * ASan as much as for what it checks.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "change/operation.h"
#include "volume.h"

#define SLOT_PAGES 12u
#define CLUSTERS (SLOT_PAGES * PLK_BAT_PAGE_SLOTS - PLK_BAT_FIRST_SLOT)
#define WRITERS 3u
#define SNAPSHOTS 4
#define BLOCK 4096u
#define USED 48u /* clusters, spread over all pages */

typedef struct Busy {
    PlkDisk *disk;
    uint8_t model[USED][8]; /* a byte a block; each block has one writer */
    _Atomic bool stop;
    _Atomic int failed;
} Busy;

typedef struct Hand {
    Busy *busy;
    unsigned id;
} Hand;

static uint64_t place(unsigned cluster, unsigned block)
{
    return (uint64_t)cluster * (CLUSTERS / USED) * VOLUME_CLUSTER_BYTES + block * BLOCK;
}

static void note(Busy *b, int r)
{
    int none = 0;

    if (r != 0)
        atomic_compare_exchange_strong(&b->failed, &none, r);
}

static uint32_t next(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

static void expect(Busy *b, unsigned cluster, unsigned block)
{
    uint8_t got[BLOCK], wanted[BLOCK];

    memset(wanted, b->model[cluster][block], sizeof wanted);
    note(b, plk_disk_read(b->disk, got, sizeof got, place(cluster, block)));
    note(b, memcmp(got, wanted, sizeof got) ? 1 : 0);
}

/* Blocks of clusters that all writers share, and whole clusters that are its own. */
static void *write_on(void *arg)
{
    Hand *me = arg;
    Busy *b = me->busy;
    uint32_t s = me->id * 7919 + 1;
    uint8_t buf[BLOCK];

    for (int i = 0; i < 3000; i++) {
        unsigned cluster = next(&s) % USED, block = me->id + (next(&s) & 1) * 4;

        if (cluster % 8 == me->id && i % 3 == 0) {
            note(b, plk_disk_discard(b->disk, place(cluster, 0), VOLUME_CLUSTER_BYTES));
            memset(b->model[cluster], 0, 8);
        } else if (cluster % 8 >= WRITERS || cluster % 8 == me->id) {
            memset(buf, (int)next(&s), sizeof buf);
            note(b, plk_disk_write(b->disk, buf, sizeof buf, place(cluster, block)));
            b->model[cluster][block] = buf[0];
        } else {
            continue;
        }
        expect(b, cluster, block);
        if (i % 64 == 0)
            note(b, plk_disk_flush(b->disk));
    }
    return NULL;
}

/* Looks at what changes under it: only that it neither fails nor tears a block of one byte. */
static void *look_on(void *arg)
{
    Busy *b = ((Hand *)arg)->busy;
    uint32_t s = 77;
    uint8_t buf[512];
    PlkExtent e;

    while (!atomic_load(&b->stop)) {
        uint64_t at = place(next(&s) % USED, next(&s) % 8);

        note(b, plk_disk_read(b->disk, buf, sizeof buf, at));
        note(b, plk_disk_status(b->disk, at, 64u << 20, &e));
        note(b, plk_disk_read(b->disk, buf, sizeof buf, (uint64_t)next(&s) % CLUSTERS * VOLUME_CLUSTER_BYTES));
    }
    return NULL;
}

static void *snapshot_on(void *arg)
{
    Busy *b = ((Hand *)arg)->busy;
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    PlkError err;

    for (int i = 0; i < SNAPSHOTS; i++) {
        note(b, plk_disk_snapshot(b->disk, &spec, NULL, &err));
        note(b, plk_disk_flush(b->disk));
    }
    return NULL;
}

static void make_disk(Volume *v)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec,
                          .size_sectors = (uint64_t)CLUSTERS * VOLUME_CLUSTER_SECTORS,
                          .cluster_sectors = VOLUME_CLUSTER_SECTORS};
    PlkError err;

    volume_place(v);
    CHECK_OK(plk_disk_create(v->base, &spec, NULL, NULL, "none", NULL, &err), err);
}

static void expect_all(Busy *b)
{
    for (unsigned cluster = 0; cluster < USED; cluster++)
        for (unsigned block = 0; block < 8; block++)
            expect(b, cluster, block);
    CHECK_INT(atomic_load(&b->failed), 0);
}

TEST(everything_at_once_loses_nothing)
{
    enum { LOOKER = WRITERS, SNAPPER, SNAPPER_TOO, HANDS };
    static Busy b;
    pthread_t threads[HANDS];
    Hand hands[HANDS];
    PlkError err;
    Volume v;

    make_disk(&v);
    b = (Busy){.disk = volume_open(&v, true, NULL)};
    b.disk->map.max_pages = 4;
    b.disk->map.max_dirty = 2;
    for (unsigned i = 0; i < HANDS; i++) {
        void *(*run)(void *) = i < WRITERS ? write_on : i == LOOKER ? look_on : snapshot_on;

        hands[i] = (Hand){&b, i};
        CHECK_INT(pthread_create(&threads[i], NULL, run, &hands[i]), 0);
    }
    for (unsigned i = 0; i < HANDS; i++)
        if (i != LOOKER)
            pthread_join(threads[i], NULL);
    atomic_store(&b.stop, true);
    pthread_join(threads[LOOKER], NULL);
    CHECK_INT(atomic_load(&b.failed), 0);
    CHECK_INT(b.disk->n_images, 1 + 2 * SNAPSHOTS);
    expect_all(&b);
    CHECK_OK(plk_disk_close(b.disk, &err), err);
    b.disk = volume_open(&v, false, NULL);
    expect_all(&b);
    CHECK_OK(plk_disk_close(b.disk, &err), err);
    volume_remove(&v);
}

TEST_MAIN()
