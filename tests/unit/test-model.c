/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random sequences of every operation on a real volume against flat arrays, one a state: after each step the
 * active state is compared byte for byte, and every so often all snapshots are. An operation may be refused (the
 * choice is blind); then nothing may have changed.
 *
 *   test-model [STEPS [SEED]]
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ploopkit/check.h>
#include <ploopkit/create.h>
#include <ploopkit/resize.h>
#include <ploopkit/snapshot.h>

#include "base/guid.h"
#include "base/math.h"
#include "test.h"

#define CLUSTER 32768u
#define MAX_STATES 400
#define LIVE_MAX 12

typedef struct State {
    char guid[40];
    uint8_t *data;
    size_t size;
} State;

static char dir[64], xml[128], base[128];
static State states[MAX_STATES];
static int n_states;
static State active;
static uint32_t seed;
static char trace[160];

static uint32_t rnd(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(seed >> 4) * n >> 28);
}

static State *find(const char *guid)
{
    for (int i = 0; i < n_states; i++)
        if (strcasecmp(states[i].guid, guid) == 0)
            return &states[i];
    return NULL;
}

static void set_active(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size);

    memcpy(copy, data, size);
    free(active.data);
    active.data = copy;
    active.size = size;
}

static void compare_state(const char *guid, const State *s)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .snapshot = guid};
    uint8_t *got = malloc(s->size);
    PlkDisk *disk;
    PlkError err;

    if (plk_disk_open(xml, &o, &disk, &err) < 0)
        test_fail(__FILE__, __LINE__, "after %s: cannot open %s: %s", trace, guid ? guid : "top", err.message);
    if (plk_disk_size(disk) != s->size)
        test_fail(__FILE__, __LINE__, "after %s: %s has %llu bytes, expected %zu", trace, guid ? guid : "top",
                  (unsigned long long)plk_disk_size(disk), s->size);
    CHECK_INT(plk_disk_read(disk, got, s->size, 0), 0);
    for (size_t i = 0; i < s->size; i++)
        if (got[i] != s->data[i])
            test_fail(__FILE__, __LINE__, "after %s: %s byte %zu (cluster %zu) is %02x, expected %02x", trace,
                      guid ? guid : "top", i, i / CLUSTER, got[i], s->data[i]);
    free(got);
    CHECK_OK(plk_disk_close(disk, &err), err);
}

static void compare_all(void)
{
    PlkSnapshotList list;
    PlkError err;

    CHECK_OK(plk_snapshot_list(xml, NULL, &list, &err), err);
    for (size_t i = 0; i < list.n; i++) {
        State *s = list.items[i].active ? &active : find(list.items[i].guid);
        if (!s)
            test_fail(__FILE__, __LINE__, "after %s: unknown state %s", trace, list.items[i].guid);
        compare_state(list.items[i].active ? NULL : list.items[i].guid, s);
    }
    plk_snapshot_list_clear(&list);
}

/* Nothing in the directory that no descriptor names, but for the lock file. */
static void no_strays(void)
{
    PlkSnapshotList list;
    PlkError err;
    struct dirent *e;
    DIR *d = opendir(dir);

    CHECK_OK(plk_snapshot_list(xml, NULL, &list, &err), err);
    while ((e = readdir(d))) {
        bool known = e->d_name[0] == '.' || strcmp(e->d_name, "DiskDescriptor.xml") == 0 ||
                     strcmp(e->d_name, "DiskDescriptor.xml.lck") == 0;
        for (size_t i = 0; i < list.n; i++)
            known |= strcmp(strrchr(list.items[i].path, '/') + 1, e->d_name) == 0;
        if (!known)
            test_fail(__FILE__, __LINE__, "after %s: stray file %s", trace, e->d_name);
    }
    closedir(d);
    plk_snapshot_list_clear(&list);
}

/* A random snapshot that is not the active state; false when there is none. */
static bool pick(char guid[40], size_t *ret_live)
{
    PlkSnapshotList list;
    PlkError err;
    bool found = false;

    CHECK_OK(plk_snapshot_list(xml, NULL, &list, &err), err);
    *ret_live = list.n;
    for (int tries = 0; list.n > 1 && tries < 20 && !found; tries++) {
        PlkSnapshot *s = &list.items[rnd((uint32_t)list.n)];
        if (s->active || s->temporary)
            continue;
        strcpy(guid, s->guid);
        found = true;
    }
    plk_snapshot_list_clear(&list);
    return found;
}

/* ---- the operations ---- */

static void one_write(PlkDisk *disk)
{
    static uint8_t buf[3 * CLUSTER];
    uint32_t len = rnd(2) ? rnd(6000) + 1 : rnd(3 * CLUSTER) + 1, off;
    uint64_t a, b;

    len = PLK_MIN(len, active.size);
    off = rnd((uint32_t)(active.size - len + 1));
    switch (rnd(5)) {
    case 0:
        CHECK_INT(plk_disk_zero(disk, off, len), 0);
        memset(active.data + off, 0, len);
        break;
    case 1:
        CHECK_INT(plk_disk_discard(disk, off, len), 0);
        a = plk_round_up(off, CLUSTER);
        b = plk_round_down(off + len, CLUSTER);
        if (a < b)
            memset(active.data + a, 0, b - a);
        break;
    default:
        memset(buf, (int)rnd(255) + 1, len);
        CHECK_INT(plk_disk_write(disk, buf, len, off), 0);
        memcpy(active.data + off, buf, len);
    }
}

static void add_state(const char *guid)
{
    State *s = &states[n_states++];

    CHECK(n_states < MAX_STATES);
    strcpy(s->guid, guid);
    s->size = active.size;
    s->data = malloc(s->size);
    memcpy(s->data, active.data, s->size);
}

static void do_writes(void)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = true};
    PlkDisk *disk;
    PlkError err;
    uint32_t n = rnd(20) + 1;

    CHECK_OK(plk_disk_open(xml, &o, &disk, &err), err);
    for (uint32_t i = 0; i < n; i++) {
        one_write(disk);
        if (rnd(12) == 0 && n_states < MAX_STATES - 2) { /* under the open disk */
            PlkSnapshotSpec spec = {.struct_size = sizeof spec};
            char guid[40];
            CHECK_OK(plk_disk_snapshot(disk, &spec, guid, &err), err);
            add_state(guid);
        }
    }
    CHECK_OK(plk_disk_close(disk, &err), err);
}

static void do_snapshot(void)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    char guid[40];
    PlkError err;

    CHECK_OK(plk_snapshot_create(xml, NULL, &spec, guid, &err), err);
    add_state(guid);
}

static int do_delete(const char *guid, PlkError *err)
{
    PlkDeleteResult how;

    return plk_snapshot_delete(xml, NULL, guid, &how, NULL, err);
}

static int do_merge(const char *guid, PlkError *err)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec};
    char fresh[160];

    snprintf(fresh, sizeof fresh, "%s/merged-%d", dir, n_states * 1000 + (int)rnd(1000));
    if (rnd(3) == 0)
        spec.all = true;
    else if (rnd(2))
        spec.guid = guid;
    if (rnd(4) == 0)
        spec.new_file = fresh;
    return plk_snapshot_merge(xml, NULL, &spec, NULL, err);
}

static int do_switch(const char *guid, PlkError *err)
{
    State *s = find(guid);
    int r = plk_snapshot_switch(xml, NULL, guid, false, err);

    if (r == 0)
        set_active(s->data, s->size);
    return r;
}

static int do_grow(PlkError *err)
{
    size_t more = (rnd(30) + 1) * CLUSTER, size = active.size + more;
    int r;

    if (rnd(4) == 0 && size < 12u << 20) /* beyond what the first header cluster covers is too big for a model */
        size += 8 * CLUSTER;
    if (size > 8u << 20)
        return 0;
    r = plk_disk_grow(xml, NULL, size / 512, NULL, err);
    if (r == 0) {
        active.data = realloc(active.data, size);
        memset(active.data + active.size, 0, size - active.size);
        active.size = size;
    }
    return r;
}

static int do_shrink(PlkError *err)
{
    size_t size = active.size / 2 / CLUSTER * CLUSTER;
    int r;

    if (size < 8 * CLUSTER)
        return 0;
    r = plk_disk_shrink(xml, NULL, size / 512, NULL, err);
    if (r == 0)
        active.size = size;
    return r;
}

/* Every operation but writes can be refused for a good reason; `done` is 0 or -1 then. */
static int blind_op(uint32_t which, PlkError *err)
{
    char guid[40];
    size_t live;
    bool some = pick(guid, &live);

    if (live > LIVE_MAX && which < 6)
        which = 6 + which % 3;
    if (!some && which >= 6 && which <= 9)
        which = 5;
    snprintf(trace, sizeof trace, "operation %u on %s", which, some ? guid : "-");
    switch (which) {
    case 4:
    case 5:
        do_snapshot();
        return 0;
    case 6:
        return do_delete(guid, err);
    case 7:
    case 8:
        return do_merge(guid, err);
    case 9:
        return do_switch(guid, err);
    case 10:
        return do_grow(err);
    case 11:
        return plk_disk_compact(xml, NULL, NULL, NULL, err);
    case 12:
        return plk_convert_version(xml, NULL, rnd(2) + 1, NULL, err);
    case 13:
        return do_shrink(err);
    case 14:
        return rnd(4) ? 0 : plk_convert_format(xml, NULL, rnd(2) ? PLK_FORMAT_PREALLOCATED : PLK_FORMAT_EXPANDED,
                                               false, NULL, err);
    default:
        do_writes();
        return 0;
    }
}

static void expected_refusal(const PlkError *err)
{
    if (err->code != PLK_ERROR_ARGUMENT && err->code != PLK_ERROR_BUSY && err->code != PLK_ERROR_UNSUPPORTED &&
        err->code != PLK_ERROR_NO_SNAPSHOT)
        test_fail(__FILE__, __LINE__, "%s failed: %s", trace, err->message);
}

static void begin(uint32_t s)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec, .size_sectors = 40 * 64, .cluster_sectors = 64};
    PlkError err;

    seed = s;
    strcpy(dir, "/tmp/plk-model-XXXXXX");
    CHECK(mkdtemp(dir));
    snprintf(xml, sizeof xml, "%s/DiskDescriptor.xml", dir);
    snprintf(base, sizeof base, "%s/root.hds", dir);
    spec.version = s % 2 ? 2 : 1;
    CHECK_OK(plk_disk_create(base, &spec, NULL, NULL, "none", NULL, &err), err);
    active.size = 40 * CLUSTER;
    active.data = calloc(1, active.size);
}

static void end(void)
{
    struct dirent *e;
    DIR *d = opendir(dir);

    while ((e = readdir(d)))
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(dir);
    for (int i = 0; i < n_states; i++)
        free(states[i].data);
    n_states = 0;
    free(active.data);
    active.data = NULL;
}

static int steps = 250;
static uint32_t first_seed = 1, last_seed = 6;

TEST(random_histories_of_all_operations)
{
    for (uint32_t s = first_seed; s <= last_seed; s++) {
        begin(s);
        for (int i = 0; i < steps && n_states < MAX_STATES - 30; i++) {
            PlkError err = {0};

            if (blind_op(rnd(16), &err) < 0)
                expected_refusal(&err);
            compare_state(NULL, &active);
            if (i % 16 == 15) {
                compare_all();
                no_strays();
            }
        }
        end();
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        steps = atoi(argv[1]);
    if (argc > 2)
        first_seed = last_seed = (uint32_t)atoi(argv[2]);
    if (setjmp(test_escape)) {
        printf("FAILED seed %u in %s\n", last_seed, dir);
        return 1;
    }
    test_random_histories_of_all_operations();
    printf("ok random_histories_of_all_operations\n1 passed, 0 failed\n");
    return 0;
}
