/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The power goes at any moment of any operation. Each scenario runs once on a recorded directory; then,
 * for every position of its log, some of the states a crash could have left are made and examined:
 *
 *  - the disk opens, reads, can be written to again, and all its images are sound after that;
 *  - every sector holds what it held at the last acknowledged flush, or something written to it since
 *    then;
 *  - every snapshot that is still listed, and was not to go, reads as it was taken.
 *
 * At the end the engine's syncs are taken away or its order is changed, one point at a time: each must be
 * noticed.
 */
#include <ploopkit/check.h>

#include "disk/operation.h"
#include "image/check.h"
#include "io/record.h"
#include "test.h"

#define CLUSTERS 8u
#define CLUSTER_SECTORS 64u
#define SECTORS (CLUSTERS * CLUSTER_SECTORS)
#define HISTORY_MAX 64u
#define ACKS_MAX 64u
#define SHOTS_MAX 4u
#define PROBE 0xffffu

/* Content of a sector: 0 is zeros, else each word is the sector's number and this. */
typedef uint16_t Stamp;

typedef struct Write {
    Stamp stamp;
    size_t from; /* log position at which it began */
} Write;

typedef struct Ack {
    size_t position; /* of the log, when the flush returned */
    uint8_t newest[SECTORS];
} Ack;

typedef struct Shot {
    char guid[40];
    Stamp stamps[SECTORS];
    size_t doomed; /* from this position on nobody counts on it */
} Shot;

typedef struct World {
    PlkRecord *record;
    PlkStore *store;
    PlkDisk *disk;
    Write history[SECTORS][HISTORY_MAX];
    uint8_t newest[SECTORS]; /* index of the last entry */
    Ack acks[ACKS_MAX];
    size_t n_acks, n_shots, start;
    Shot shots[SHOTS_MAX];
    Stamp stamp;
} World;

static World world;
static uint32_t seed;

static uint32_t rnd(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(seed >> 4) * n >> 28);
}

/* ---- running a scenario ---- */

static size_t now(World *w)
{
    return plk_record_length(w->record);
}

static void remember(World *w, unsigned sector, Stamp stamp)
{
    CHECK(w->newest[sector] + 1u < HISTORY_MAX);
    w->history[sector][++w->newest[sector]] = (Write){stamp, now(w)};
}

static void acknowledge(World *w)
{
    Ack *a = &w->acks[w->n_acks++];

    CHECK(w->n_acks <= ACKS_MAX);
    a->position = now(w);
    memcpy(a->newest, w->newest, sizeof a->newest);
}

static Shot *remember_shot(World *w, const char *guid)
{
    Shot *s = &w->shots[w->n_shots++];

    CHECK(w->n_shots <= SHOTS_MAX);
    snprintf(s->guid, sizeof s->guid, "%s", guid);
    for (unsigned i = 0; i < SECTORS; i++)
        s->stamps[i] = w->history[i][w->newest[i]].stamp;
    s->doomed = SIZE_MAX;
    return s;
}

static void render(uint32_t *out, unsigned sector, Stamp stamp)
{
    for (unsigned i = 0; i < 128; i++)
        out[i] = stamp ? sector << 16 | stamp : 0;
}

static void put(World *w, unsigned sector, unsigned n)
{
    static uint32_t buf[SECTORS * 128];

    w->stamp++;
    for (unsigned i = 0; i < n; i++) {
        remember(w, sector + i, w->stamp);
        render(buf + i * 128, sector + i, w->stamp);
    }
    CHECK_INT(plk_disk_write(w->disk, buf, n * 512, sector * 512ull), 0);
}

static void discard(World *w, unsigned cluster, unsigned n)
{
    for (unsigned i = 0; i < n * CLUSTER_SECTORS; i++)
        remember(w, cluster * CLUSTER_SECTORS + i, 0);
    CHECK_INT(plk_disk_discard(w->disk, cluster * CLUSTER_SECTORS * 512ull, n * CLUSTER_SECTORS * 512ull), 0);
}

static void flush(World *w)
{
    CHECK_INT(plk_disk_flush(w->disk), 0);
    acknowledge(w);
}

static void open_store(World *w)
{
    PlkError err;
    PlkDir *dir;

    CHECK_INT(plk_record_open(w->record, &dir), 0);
    CHECK_OK(plk_store_open_dir(dir, "DiskDescriptor.xml", &w->store, &err), err);
    CHECK_OK(plk_store_lock(w->store, &err), err);
}

static void close_store(World *w)
{
    plk_store_close(w->store);
    w->store = NULL;
}

static void open_disk(World *w)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = true};
    PlkError err;

    open_store(w);
    CHECK_OK(plk_store_open_state(w->store, NULL, &o, &w->disk, &err), err);
}

static void close_disk(World *w)
{
    PlkError err;

    CHECK_OK(plk_disk_close(w->disk, &err), err);
    acknowledge(w);
    close_store(w);
}

static void make_image(PlkDir *dir, PlkFormat format)
{
    PlkImageSpec spec = {.version = 2, .size_sectors = SECTORS, .cluster_sectors = CLUSTER_SECTORS,
                         .preallocated = format == PLK_FORMAT_PREALLOCATED};
    PlkError err;
    PlkIo *io;

    CHECK_INT(plk_dir_open_file(dir, "root.hds", PLK_OPEN_CREATE | PLK_OPEN_EXCLUSIVE, 0600, &io), 0);
    if (format == PLK_FORMAT_RAW)
        CHECK_OK(plk_image_create_raw(io, SECTORS * 512, false, NULL, &err), err);
    else
        CHECK_OK(plk_image_create(io, &spec, NULL, &err), err);
    plk_io_close(io);
}

static PlkRecordBug bug; /* of the engine, in what follows */

static void make_world(World *w, PlkFormat format)
{
    PlkDescriptor desc;
    PlkStore *store;
    PlkError err;
    PlkDir *dir;

    memset(w, 0, sizeof *w);
    CHECK_INT(plk_record_new("/disk", &w->record), 0);
    CHECK_INT(plk_record_open(w->record, &dir), 0);
    make_image(dir, format);
    CHECK_OK(plk_descriptor_new(SECTORS, CLUSTER_SECTORS, format == PLK_FORMAT_PREALLOCATED,
                                format == PLK_FORMAT_RAW, "root.hds", &desc, &err), err);
    CHECK_OK(plk_store_open_dir(dir, "DiskDescriptor.xml", &store, &err), err);
    store->is_new = true;
    CHECK_OK(plk_store_lock_only(store, &err), err);
    CHECK_OK(plk_store_commit(store, &desc, &err), err);
    plk_store_close(store);
    acknowledge(w);
    w->start = now(w);
    plk_record_set_bug(w->record, bug);
}

/* ---- the scenarios ---- */

typedef void Scenario(World *w);

static void write_about(World *w, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        unsigned cluster = rnd(CLUSTERS);

        switch (rnd(6)) {
        case 0:
            put(w, cluster * CLUSTER_SECTORS, CLUSTER_SECTORS);
            break;
        case 1:
            put(w, cluster * CLUSTER_SECTORS + rnd(32), 1 + rnd(32));
            break;
        case 2:
            put(w, cluster * CLUSTER_SECTORS + 8 * rnd(8), 8);
            break;
        case 3:
            discard(w, cluster, 1);
            break;
        default:
            flush(w);
        }
    }
}

static void session(World *w, unsigned steps)
{
    open_disk(w);
    write_about(w, steps);
    close_disk(w);
}

static void write_sessions(World *w)
{
    make_world(w, PLK_FORMAT_EXPANDED);
    session(w, 16);
    session(w, 12);
    session(w, 8);
}

static void write_raw(World *w)
{
    make_world(w, PLK_FORMAT_RAW);
    session(w, 12);
}

static Shot *take(World *w)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    Shot *s = remember_shot(w, "");
    PlkGuid guid;
    PlkError err;

    open_store(w);
    CHECK_OK(plk_store_snapshot(w->store, &spec, &guid, &err), err);
    close_store(w);
    memcpy(s->guid, guid.text, sizeof guid.text);
    return s;
}

static void snapshot_and_delete(World *w)
{
    Shot *first, *second;
    PlkGuid guid;
    PlkError err;

    make_world(w, PLK_FORMAT_EXPANDED);
    session(w, 6);
    first = take(w);
    session(w, 6);
    second = take(w);
    session(w, 6);
    open_store(w);
    first->doomed = now(w);
    CHECK(plk_guid_parse(first->guid, &guid));
    CHECK_OK(plk_store_delete(w->store, &guid, NULL, NULL, &err), err);
    close_store(w);
    session(w, 4);
    open_store(w);
    second->doomed = now(w);
    CHECK(plk_guid_parse(second->guid, &guid));
    CHECK_OK(plk_store_delete(w->store, &guid, NULL, NULL, &err), err);
    close_store(w);
}

static void snapshot_while_open(World *w)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    PlkError err;
    Shot *s;

    make_world(w, PLK_FORMAT_EXPANDED);
    open_disk(w);
    write_about(w, 8);
    s = remember_shot(w, "");
    CHECK_OK(plk_disk_snapshot(w->disk, &spec, s->guid, &err), err);
    acknowledge(w);
    write_about(w, 8);
    flush(w);
    close_disk(w);
    session(w, 4);
}

static void merge_into(World *w, PlkFormat format)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .all = true};
    PlkError err;

    make_world(w, format);
    session(w, 6);
    take(w);
    session(w, 6);
    take(w);
    session(w, 6);
    open_store(w);
    w->shots[0].doomed = w->shots[1].doomed = now(w);
    CHECK_OK(plk_store_merge(w->store, &spec, NULL, &err), err);
    close_store(w);
    session(w, 4);
}

static void merge_all(World *w)
{
    merge_into(w, PLK_FORMAT_EXPANDED);
}

static void merge_into_raw(World *w)
{
    merge_into(w, PLK_FORMAT_RAW);
}

static void merge_into_new_file(World *w)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .new_file = "/disk/merged"};
    PlkError err;

    make_world(w, PLK_FORMAT_EXPANDED);
    session(w, 6);
    take(w)->doomed = 0;
    session(w, 6);
    open_store(w);
    CHECK_OK(plk_store_merge(w->store, &spec, NULL, &err), err);
    close_store(w);
    session(w, 4);
}

static void go_back(World *w)
{
    PlkGuid guid;
    PlkError err;
    Shot *s;

    make_world(w, PLK_FORMAT_EXPANDED);
    session(w, 6);
    s = take(w);
    session(w, 6);
    open_store(w);
    for (unsigned i = 0; i < SECTORS; i++)
        remember(w, i, s->stamps[i]);
    CHECK(plk_guid_parse(s->guid, &guid));
    CHECK_OK(plk_store_switch(w->store, &guid, false, &err), err);
    acknowledge(w);
    close_store(w);
    session(w, 6);
}

typedef int Change(PlkImage *img, uint64_t size_sectors, PlkError *err);

static int pack_image(PlkImage *img, uint64_t size_sectors, PlkError *err)
{
    uint64_t freed;

    return plk_image_compact(img, &freed, NULL, err);
}

static int grow_image(PlkImage *img, uint64_t size_sectors, PlkError *err)
{
    return plk_image_grow(img, size_sectors, NULL, err);
}

static int shrink_image(PlkImage *img, uint64_t size_sectors, PlkError *err)
{
    return plk_image_shrink(img, size_sectors, NULL, err);
}

static void change_image(World *w, Change *change, uint64_t size_sectors)
{
    PlkDescriptor future = {0};
    PlkImage *img;
    PlkError err;

    open_store(w);
    CHECK_OK(plk_descriptor_copy(&w->store->desc, &future, &err), err);
    plk_descriptor_set_size(&future, size_sectors);
    CHECK_OK(plk_store_begin(w->store, &future, &err), err);
    CHECK_OK(plk_store_open_image(w->store, 0, PLK_IMAGE_WRITE, &img, &err), err);
    CHECK_OK(change(img, size_sectors, &err), err);
    CHECK_OK(plk_image_close(img, &err), err);
    CHECK_OK(plk_store_commit(w->store, &future, &err), err);
    close_store(w);
}

static void pack(World *w)
{
    make_world(w, PLK_FORMAT_EXPANDED);
    open_disk(w);
    for (unsigned i = 0; i < CLUSTERS; i++)
        put(w, i * CLUSTER_SECTORS, CLUSTER_SECTORS);
    discard(w, 1, 3);
    close_disk(w);
    change_image(w, pack_image, SECTORS);
    session(w, 4);
}

/* So big that the table needs the first data clusters' place; and back. */
static void grow_and_shrink(World *w)
{
    make_world(w, PLK_FORMAT_EXPANDED);
    session(w, 12);
    change_image(w, grow_image, 20000ull * CLUSTER_SECTORS);
    session(w, 4);
    change_image(w, shrink_image, SECTORS);
    session(w, 4);
}

static void change_version(World *w)
{
    PlkError err;

    make_world(w, PLK_FORMAT_EXPANDED);
    session(w, 6);
    take(w);
    session(w, 6);
    for (int version = 1; version <= 2; version++) {
        open_store(w);
        CHECK_OK(plk_store_convert_version(w->store, version, NULL, &err), err);
        close_store(w);
    }
    session(w, 4);
}

static void change_format(World *w)
{
    static const PlkFormat formats[] = {PLK_FORMAT_RAW, PLK_FORMAT_EXPANDED, PLK_FORMAT_PREALLOCATED};
    PlkError err;

    make_world(w, PLK_FORMAT_EXPANDED);
    session(w, 8);
    for (unsigned i = 0; i < 3; i++) {
        open_store(w);
        CHECK_OK(plk_store_convert_format(w->store, formats[i], false, NULL, &err), err);
        close_store(w);
        session(w, 3);
    }
}

/* ---- examining a state ---- */

typedef struct Crash {
    World *w;
    size_t position;
    PlkStore *store;
    bool probed;
    char what[300]; /* is wrong */
} Crash;

__attribute__((format(printf, 2, 3))) static bool wrong(Crash *c, const char *fmt, ...)
{
    __builtin_va_list ap;

    __builtin_va_start(ap, fmt);
    vsnprintf(c->what, sizeof c->what, fmt, ap);
    __builtin_va_end(ap);
    return false;
}

static bool holds(const uint32_t *words, unsigned sector, Stamp stamp)
{
    uint32_t expected[128];

    render(expected, sector, stamp);
    return memcmp(words, expected, sizeof expected) == 0;
}

/* What the last flush promised, or anything newer. */
static bool active_holds(const Crash *c, const uint32_t *words, unsigned sector)
{
    const World *w = c->w;
    unsigned i = 0;

    if (c->probed && sector % CLUSTER_SECTORS == 3)
        return holds(words, sector, PROBE);
    for (size_t a = 0; a < w->n_acks && w->acks[a].position <= c->position; a++)
        i = w->acks[a].newest[sector];
    for (; i <= w->newest[sector]; i++)
        if (w->history[sector][i].from <= c->position && holds(words, sector, w->history[sector][i].stamp))
            return true;
    return false;
}

static bool compare(Crash *c, const uint32_t *words, const Shot *shot)
{
    for (unsigned i = 0; i < SECTORS; i++, words += 128)
        if (shot ? !holds(words, i, shot->stamps[i]) : !active_holds(c, words, i))
            return wrong(c, "%s: sector %u reads %08x %08x", shot ? shot->guid : "active state", i, words[0],
                         words[127]);
    return true;
}

static bool read_state(Crash *c, const char *guid_text, const Shot *shot)
{
    static uint32_t buf[SECTORS * 128];
    PlkDiskOptions o = {.struct_size = sizeof o};
    PlkDisk *disk;
    PlkGuid guid;
    PlkError err;
    int r;

    if (guid_text && !plk_guid_parse(guid_text, &guid))
        return wrong(c, "bad guid");
    if (plk_store_open_state(c->store, guid_text ? &guid : NULL, &o, &disk, &err) < 0)
        return wrong(c, "does not open: %s", err.message);
    r = plk_disk_read(disk, buf, sizeof buf, 0);
    plk_disk_drop(disk);
    return r < 0 ? wrong(c, "does not read: %d", r) : compare(c, buf, shot);
}

static bool read_shots(Crash *c)
{
    for (size_t i = 0; i < c->w->n_shots; i++) {
        const Shot *s = &c->w->shots[i];
        PlkGuid guid;

        if (c->position >= s->doomed || !plk_guid_parse(s->guid, &guid) ||
            plk_descriptor_find_shot(&c->store->desc, &guid) < 0)
            continue;
        if (!read_state(c, s->guid, s))
            return false;
    }
    return true;
}

/* One sector of each cluster is written anew, which copies up and allocates wherever it can. */
static bool write_again(Crash *c)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = true};
    uint32_t words[128];
    PlkDisk *disk;
    PlkError err;
    int r = 0;

    if (plk_store_open_state(c->store, NULL, &o, &disk, &err) < 0)
        return wrong(c, "does not open for writing: %s", err.message);
    for (unsigned i = 3; r == 0 && i < SECTORS; i += CLUSTER_SECTORS) {
        render(words, i, PROBE);
        r = plk_disk_write(disk, words, sizeof words, i * 512ull);
    }
    if (r < 0) {
        plk_disk_explain(disk, r, &err);
        plk_disk_drop(disk);
        return wrong(c, "can not be written to: %s", err.message);
    }
    if (plk_disk_close(disk, &err) < 0)
        return wrong(c, "does not close: %s", err.message);
    c->probed = true;
    return true;
}

static int note_finding(void *arg, const PlkFinding *f)
{
    Crash *c = arg;

    if (f->rank != PLK_FINDING_INFO)
        wrong(c, "check finds %s in %s (slot %llu, value %llu)", plk_finding_name(f->kind), f->image,
              (unsigned long long)f->slot, (unsigned long long)f->value);
    return 0;
}

static bool check_images(Crash *c)
{
    for (size_t i = 0; i < c->store->desc.n_images; i++) {
        PlkCheckOptions o = {.struct_size = sizeof o, .cluster_sectors = CLUSTER_SECTORS};
        PlkCheckResult result = {0};
        PlkError err;
        PlkIo *io;
        int r;

        o.raw = plk_store_is_raw(&c->store->desc, (int)i);
        if (plk_store_settle(c->store, (int)i, &err) < 0)
            return wrong(c, "does not settle: %s", err.message);
        if (plk_dir_open_file(c->store->dir, c->store->desc.images[i].file, 0, 0, &io) < 0)
            return wrong(c, "image %zu is gone", i);
        r = plk_image_check(io, 0, &o, note_finding, c, NULL, &result, NULL, &err);
        plk_io_close(io);
        if (r < 0)
            return wrong(c, "check: %s", err.message);
        if (result.left)
            return false;
    }
    return true;
}

/* Takes dir over. */
static bool examine(Crash *c, PlkDir *dir)
{
    PlkError err;
    bool good;

    c->probed = false;
    if (plk_store_open_dir(dir, "DiskDescriptor.xml", &c->store, &err) < 0)
        return wrong(c, "%s", err.message);
    if (plk_store_lock(c->store, &err) < 0)
        good = wrong(c, "descriptor: %s", err.message);
    else
        good = read_state(c, NULL, NULL) && read_shots(c) && write_again(c) && read_state(c, NULL, NULL) &&
               check_images(c) && read_shots(c);
    plk_store_close(c->store);
    return good;
}

/* ---- choosing states ---- */

#define ALL_OF 24u  /* so many states of one position are all examined, */
#define SOME_OF 14u /* else so many */

typedef struct Chooser {
    unsigned state;      /* which one */
    uint64_t n_states;   /* counted as long as it is small */
    uint64_t rest;       /* of the state's number, while counting through */
    bool all;
    unsigned bias;
} Chooser;

static unsigned choose(void *arg, unsigned n)
{
    Chooser *h = arg;
    unsigned answer;

    if (h->n_states <= ALL_OF)
        h->n_states *= n == 3 ? ALL_OF + 1 : n; /* of "some sectors" there are too many to count */
    if (h->all) {
        answer = (unsigned)(h->rest % n);
        h->rest /= n;
        return answer;
    }
    if (rnd(8) < h->bias)
        return n == 3 ? 1 : n - 1;
    return rnd(2) ? 0 : rnd(n);
}

static unsigned long n_examined;

static bool examine_one(Crash *c, PlkCrash *crash, Chooser *h)
{
    PlkDir *dir;

    n_examined++;
    h->rest = h->state;
    h->bias = h->state == 1 ? 8 : rnd(8); /* 8: everything is kept */
    CHECK_INT(plk_crash_materialise(crash, rnd(2) ? 512 : 4096, choose, h, &dir), 0);
    return examine(c, dir);
}

static bool examine_position(Crash *c, PlkCrash *crash)
{
    Chooser h = {.n_states = 1, .all = true};
    uint64_t n;

    if (!examine_one(c, crash, &h)) /* the least that may be left; counts the states */
        return false;
    n = h.n_states;
    h.all = n <= ALL_OF;
    for (h.state = 1; h.state < (h.all ? n : SOME_OF); h.state++)
        if (!examine_one(c, crash, &h))
            return false;
    return true;
}

static bool examine_all(World *w, Crash *c)
{
    PlkCrash *crash;
    bool good = true;

    CHECK_INT(plk_crash_new(w->record, &crash), 0);
    *c = (Crash){.w = w, .position = w->start};
    for (; good && c->position <= plk_record_length(w->record); c->position++) {
        CHECK_INT(plk_crash_advance(crash, c->position), 0);
        good = examine_position(c, crash);
    }
    plk_crash_free(crash);
    return good;
}

static bool survives(Scenario *scenario, uint32_t with, Crash *c)
{
    bool good;

    seed = with;
    scenario(&world);
    good = examine_all(&world, c);
    plk_record_free(world.record);
    return good;
}

static void survive(Scenario *scenario, unsigned times)
{
    Crash c;

    for (uint32_t with = 1; with <= times; with++)
        if (!survives(scenario, with, &c))
            test_fail(__FILE__, __LINE__, "seed %u, crash after %zu changes: %s", with, c.position - 1,
                      c.what);
}

TEST(writes_survive)
{
    survive(write_sessions, 4);
    survive(write_raw, 2);
}

TEST(snapshots_survive)
{
    survive(snapshot_and_delete, 2);
    survive(snapshot_while_open, 4);
    survive(go_back, 2);
}

TEST(merging_survives)
{
    survive(merge_all, 2);
    survive(merge_into_raw, 2);
    survive(merge_into_new_file, 2);
}

TEST(changes_of_size_survive)
{
    survive(pack, 2);
    survive(grow_and_shrink, 2);
}

TEST(conversions_survive)
{
    survive(change_version, 2);
    survive(change_format, 2);
}

/* ---- does the test itself notice? ---- */

static void notice(Scenario *scenario, PlkPoint swallow, PlkPoint hasten)
{
    bool noticed = false;
    Crash c;

    bug = (PlkRecordBug){swallow, hasten};
    for (uint32_t with = 1; !noticed && with <= 60; with++)
        noticed = !survives(scenario, with, &c);
    bug = (PlkRecordBug){PLK_POINT_NONE, PLK_POINT_NONE};
    if (!noticed)
        test_fail(__FILE__, __LINE__, "without %s, or with an early %s, nothing goes wrong",
                  plk_point_name(swallow), plk_point_name(hasten));
}

TEST(enough_states_were_examined)
{
    CHECK(n_examined > 10000);
    printf("%lu states of crashes\n", n_examined);
}

TEST(a_lost_sync_is_noticed)
{
    notice(write_sessions, PLK_POINT_DATA_SYNC, PLK_POINT_NONE);
    notice(write_sessions, PLK_POINT_META_SYNC, PLK_POINT_NONE);
    notice(pack, PLK_POINT_META_SYNC, PLK_POINT_NONE);
    notice(merge_all, PLK_POINT_DATA_SYNC, PLK_POINT_NONE);
    notice(snapshot_and_delete, PLK_POINT_DIR_SYNC, PLK_POINT_NONE);
    notice(snapshot_and_delete, PLK_POINT_FILE_SYNC, PLK_POINT_NONE);
    notice(change_version, PLK_POINT_FILE_SYNC, PLK_POINT_NONE);
}

TEST(a_wrong_order_is_noticed)
{
    notice(write_sessions, PLK_POINT_NONE, PLK_POINT_META_BAT);
    notice(pack, PLK_POINT_NONE, PLK_POINT_TAIL_TRUNCATE);
    notice(grow_and_shrink, PLK_POINT_NONE, PLK_POINT_META_INIT);
    notice(change_version, PLK_POINT_NONE, PLK_POINT_META_HEADER);
}

TEST_MAIN()
