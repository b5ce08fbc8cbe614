/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Histories: an input is a sequence of operations on a small disk in memory, followed by a model.
 *
 * The model is what each state reads: an array of clusters, shared between states until one is written to; NULL is a
 * cluster of zeros. An operation may be refused, since the choice is blind; then nothing may have changed. After
 * each, but for runs of writes, the active state is compared byte for byte, where a block is said to be there, and
 * every state in the end; the images then check clean, and nothing lies in the directory that no descriptor names.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/math.h"
#include "change/operation.h"
#include "disk/store.h"
#include "fuzz.h"
#include "image/check.h"

#define CLUSTER 32768u
#define CLUSTERS_MAX 8400u /* one more cluster of BAT begins at 8176 */
#define STATES_MAX 12
#define STEPS_MAX 16
#define XML "DiskDescriptor.xml"
#define BASE "root.hds"
#define DIRECTORY "/tmp" /* its name alone: one operation asks the system whether a directory is a link */

/* ---- the model ---- */

typedef struct Block {
    unsigned refs;
    uint8_t bytes[CLUSTER];
} Block;

typedef struct State {
    char guid[40];
    bool temporary; /* may go by itself */
    uint32_t n;     /* clusters */
    Block **blocks;
} State;

typedef struct World {
    PlkDir *dir;
    PlkDisk *disk; /* open for writing, or NULL */
    State active, states[STATES_MAX];
    unsigned n_states;
    bool raw; /* the base is */
    unsigned n_merged;
    bool may_lose; /* states that are not temporary, by the last step */
    bool moved; /* the last step was data alone: it is compared with the next one that is more */
    const char *doing;
} World;

static void state_clear(State *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->blocks[i] && --s->blocks[i]->refs == 0)
            free(s->blocks[i]);
    free(s->blocks);
    *s = (State){0};
}

static void state_resize(State *s, uint32_t n)
{
    for (uint32_t i = n; i < s->n; i++)
        if (s->blocks[i] && --s->blocks[i]->refs == 0)
            free(s->blocks[i]);
    s->blocks = realloc(s->blocks, n * sizeof *s->blocks);
    FUZZ_CHECK(s->blocks, "out of memory");
    for (uint32_t i = s->n; i < n; i++)
        s->blocks[i] = NULL;
    s->n = n;
}

static void state_copy(State *to, const State *from)
{
    state_clear(to);
    state_resize(to, from->n);
    for (uint32_t i = 0; i < from->n; i++) {
        to->blocks[i] = from->blocks[i];
        if (to->blocks[i])
            to->blocks[i]->refs++;
    }
}

static void block_drop(State *s, uint32_t i)
{
    if (s->blocks[i] && --s->blocks[i]->refs == 0)
        free(s->blocks[i]);
    s->blocks[i] = NULL;
}

/* The state's own, to be changed. */
static Block *block_own(State *s, uint32_t i)
{
    Block *old = s->blocks[i], *own;

    if (old && old->refs == 1)
        return old;
    own = old ? malloc(sizeof *own) : calloc(1, sizeof *own);
    FUZZ_CHECK(own, "out of memory");
    if (old)
        memcpy(own, old, sizeof *own);
    block_drop(s, i);
    own->refs = 1;
    return s->blocks[i] = own;
}

static void state_fill(State *s, uint64_t off, uint64_t len, int byte)
{
    for (uint64_t at = off, next; at < off + len; at = next) {
        uint32_t i = (uint32_t)(at / CLUSTER);

        next = PLK_MIN((at / CLUSTER + 1) * CLUSTER, off + len);
        if (byte == 0 && (!s->blocks[i] || next - at == CLUSTER))
            block_drop(s, i);
        else
            memset(block_own(s, i)->bytes + at % CLUSTER, byte, next - at);
    }
}

/* ---- stores ---- */

static PlkStore *store_open(World *w, bool lock)
{
    PlkStore *store;
    PlkError err;

    FUZZ_CHECK(plk_store_open_dir(w->dir, XML, &store, &err) == 0, "%s: %s", w->doing, err.message);
    if ((lock ? plk_store_lock(store, &err) : plk_store_load(store, &err)) < 0)
        fuzz_fail(__FILE__, __LINE__, "%s: the descriptor cannot be read: %s", w->doing, err.message);
    return store;
}

/* The directory stays. */
static void store_close(PlkStore *store)
{
    plk_store_abort(store);
    plk_store_unlock(store);
    store->dir = NULL;
    plk_store_close(store);
}

static PlkDisk *open_state(PlkStore *store, World *w, const char *guid, bool writable)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .writable = writable};
    PlkGuid id;
    PlkDisk *disk;
    PlkError err;

    FUZZ_CHECK(!guid || plk_guid_parse(guid, &id), "bad GUID %s", guid);
    if (plk_store_open_state(store, guid ? &id : NULL, &options, &disk, &err) < 0)
        fuzz_fail(__FILE__, __LINE__, "after %s: %s cannot be opened: %s", w->doing, guid ? guid : "the disk",
                  err.message);
    return disk;
}

static void close_disk(World *w)
{
    PlkStore *store;
    PlkError err;

    if (!w->disk)
        return;
    store = w->disk->store;
    FUZZ_CHECK(plk_disk_close(w->disk, &err) == 0, "cannot close: %s", err.message);
    store_close(store);
    w->disk = NULL;
}

static PlkDisk *need_disk(World *w)
{
    if (!w->disk)
        w->disk = open_state(store_open(w, false), w, NULL, true);
    return w->disk;
}

/* ---- comparing ---- */

static void compare_cluster(PlkDisk *disk, const State *s, uint32_t i, const World *w)
{
    static uint8_t got[CLUSTER], zeros[CLUSTER];
    const uint8_t *want = s->blocks[i] ? s->blocks[i]->bytes : zeros;
    int r = plk_disk_read(disk, got, sizeof got, (uint64_t)i * CLUSTER);

    FUZZ_CHECK(r == 0, "after %s: cluster %u of %s cannot be read: %s", w->doing, i, s->guid, strerror(-r));
    for (uint32_t at = 0; memcmp(got, want, sizeof got) != 0; at++)
        FUZZ_CHECK(got[at] == want[at], "after %s: %s cluster %u byte %u is %02x, not %02x", w->doing,
                   s->guid[0] ? s->guid : "active", i, at, got[at], want[at]);
}

static void compare_range(PlkDisk *disk, const State *s, uint32_t from, uint32_t to, bool data, const World *w)
{
    for (uint32_t i = from; i < to; i++)
        if (data || s->blocks[i])
            compare_cluster(disk, s, i, w);
}

/* Where nothing is said to be, only what the model has is read. */
static void compare_disk(PlkDisk *disk, const State *s, const World *w)
{
    uint64_t size = (uint64_t)s->n * CLUSTER;

    FUZZ_CHECK(plk_disk_size(disk) == size, "after %s: %llu bytes, not %llu", w->doing,
               (unsigned long long)plk_disk_size(disk), (unsigned long long)size);
    for (uint64_t at = 0; at < size;) {
        PlkExtent extent;
        uint64_t end;

        FUZZ_CHECK(plk_disk_status(disk, at, size - at, &extent) == 0 && extent.length > 0, "no status at %llu",
                   (unsigned long long)at);
        end = PLK_MIN(size, at + extent.length);
        compare_range(disk, s, (uint32_t)(at / CLUSTER), (uint32_t)plk_div_up(end, CLUSTER),
                      extent.kind == PLK_EXTENT_DATA && s->n < 64, w);
        at = end;
    }
}

static void compare_state(World *w, PlkStore *store, const State *s, const char *guid)
{
    PlkDisk *disk = open_state(store, w, guid, false);
    PlkError err;

    compare_disk(disk, s, w);
    FUZZ_CHECK(plk_disk_close(disk, &err) == 0, "cannot close: %s", err.message);
}

/* ---- states ---- */

static void forget_state(World *w, State *s)
{
    state_clear(s);
    *s = w->states[--w->n_states];
    w->states[w->n_states] = (State){0};
}

/* Those the descriptor does not have any more: temporary ones, or, where an operation deletes them, any. */
static void forget_gone(World *w, const PlkStore *store, bool any)
{
    for (unsigned i = w->n_states; i-- > 0;) {
        PlkGuid guid;

        FUZZ_CHECK(plk_guid_parse(w->states[i].guid, &guid), "bad GUID");
        if (plk_descriptor_find_shot(&store->desc, &guid) >= 0)
            continue;
        FUZZ_CHECK(any || w->states[i].temporary, "%s loses %s", w->doing, guid.text);
        forget_state(w, &w->states[i]);
    }
}

/* After a step: the descriptor as it stands, and what it says is there. */
static void look(World *w)
{
    PlkStore *store = store_open(w, false);

    forget_gone(w, store, w->may_lose);
    if (w->disk)
        compare_disk(w->disk, &w->active, w);
    else
        compare_state(w, store, &w->active, NULL);
    store_close(store);
}

static void add_state(World *w, const PlkGuid *guid, bool temporary)
{
    State *s = &w->states[w->n_states++];

    state_copy(s, &w->active);
    memcpy(s->guid, guid->text, sizeof guid->text);
    s->temporary = temporary;
}

static State *pick(World *w, FuzzInput *in)
{
    uint32_t choice = fuzz_byte(in);

    return w->n_states ? &w->states[choice % w->n_states] : NULL;
}

/* ---- operations; each returns what the engine does, or 0 for one that cannot be asked for ---- */

static void move_data(World *w, FuzzInput *in, uint32_t what)
{
    static uint8_t bytes[2 * CLUSTER];
    PlkDisk *disk = need_disk(w);
    uint64_t size = (uint64_t)w->active.n * CLUSTER, off = fuzz_number(in, 3) % size, from, to;
    uint64_t len = 1 + fuzz_number(in, 2) % sizeof bytes;

    if (what & 8) /* whole clusters */
        off = plk_round_down(off, CLUSTER);
    len = PLK_MIN(what & 8 ? plk_round_up(len, CLUSTER) : len, size - off);
    if (what % 4 == 2) {
        w->doing = "zero";
        FUZZ_CHECK(plk_disk_zero(disk, off, len) == 0, "cannot zero");
        state_fill(&w->active, off, len, 0);
    } else if (what % 4 == 3) {
        w->doing = "discard";
        from = plk_round_up(off, CLUSTER);
        to = plk_round_down(off + len, CLUSTER);
        FUZZ_CHECK(plk_disk_discard(disk, off, len) == 0, "cannot discard");
        if (from < to)
            state_fill(&w->active, from, to - from, 0);
    } else {
        int byte = (int)fuzz_byte(in);

        w->doing = "write";
        memset(bytes, byte, len);
        FUZZ_CHECK(plk_disk_write(disk, bytes, len, off) == 0, "cannot write");
        state_fill(&w->active, off, len, byte);
    }
}

static int snapshot(World *w, bool online, bool temporary, PlkError *err)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .temporary = temporary};
    PlkGuid guid;
    char text[40];
    int r;

    if (w->n_states == STATES_MAX)
        return 0;
    w->doing = online ? "snapshot of the open disk" : "snapshot";
    if (online) {
        r = plk_disk_snapshot(need_disk(w), &spec, text, err);
        FUZZ_CHECK(r < 0 || plk_guid_parse(text, &guid), "bad GUID");
    } else {
        PlkStore *store;

        close_disk(w);
        store = store_open(w, true);
        r = plk_store_snapshot(store, &spec, &guid, err);
        store_close(store);
    }
    if (r == 0)
        add_state(w, &guid, temporary);
    return r;
}

static int merge(World *w, FuzzInput *in, PlkStore *store, PlkError *err)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec};
    uint32_t how = fuzz_byte(in);
    State *s = pick(w, in);
    char fresh[40];

    w->doing = "merge";
    snprintf(fresh, sizeof fresh, "merged-%u", w->n_merged++);
    spec.all = how % 4 == 0;
    spec.guid = how % 4 == 1 && s ? s->guid : NULL;
    spec.new_file = how & 16 ? fresh : NULL;
    return plk_store_merge(store, &spec, NULL, err);
}

static int switch_to(World *w, FuzzInput *in, PlkStore *store, PlkError *err)
{
    State *s = pick(w, in);
    PlkGuid guid;
    int r;

    if (!s)
        return 0;
    w->doing = "switch";
    FUZZ_CHECK(plk_guid_parse(s->guid, &guid), "bad GUID");
    r = plk_store_switch(store, &guid, false, err);
    if (r == 0)
        state_copy(&w->active, s);
    return r;
}

static int delete_one(World *w, FuzzInput *in, PlkStore *store, PlkError *err)
{
    State *s = pick(w, in);
    PlkDeleteResult how;
    PlkGuid guid;
    int r;

    if (!s)
        return 0;
    w->doing = "delete";
    FUZZ_CHECK(plk_guid_parse(s->guid, &guid), "bad GUID");
    r = plk_store_delete(store, &guid, &how, NULL, err);
    if (r == 0 && how.how == PLK_DELETED_MARKED)
        s->temporary = true;
    return r;
}

static int grow(World *w, FuzzInput *in, PlkStore *store, PlkError *err)
{
    uint32_t by = fuzz_byte(in), n = by == 255 ? CLUSTERS_MAX - 200 : w->active.n + by % 8;
    int r;

    if (n < w->active.n || n > CLUSTERS_MAX)
        return 0;
    w->doing = "grow";
    r = plk_store_grow(store, (uint64_t)n * CLUSTER / PLK_SECTOR, NULL, err);
    if (r == 0)
        state_resize(&w->active, n);
    return r;
}

static int shrink(World *w, FuzzInput *in, PlkStore *store, PlkError *err)
{
    uint32_t n = w->active.n - fuzz_byte(in) % w->active.n;
    int r;

    w->doing = "shrink";
    r = plk_store_shrink(store, (uint64_t)n * CLUSTER / PLK_SECTOR, NULL, err);
    if (r == 0)
        state_resize(&w->active, n);
    return r;
}

static int convert(World *w, FuzzInput *in, PlkStore *store, PlkError *err)
{
    static const PlkFormat formats[] = {PLK_FORMAT_EXPANDED, PLK_FORMAT_PREALLOCATED, PLK_FORMAT_RAW};
    uint32_t how = fuzz_byte(in);
    int r;

    if (how & 4) {
        w->doing = "convert of the version";
        return plk_store_convert_version(store, how % 2 + 1, NULL, err);
    }
    if (w->active.n > 64)
        return 0;
    w->doing = "convert of the format";
    r = plk_store_convert_format(store, formats[how % 3], false, NULL, err);
    if (r == 0)
        w->raw = how % 3 == 2;
    return r;
}

/* The base image alone, its descriptor lost. */
static int restore(World *w, PlkError *err)
{
    PlkStore *store;
    int r;

    if (w->n_states > 0)
        return 0;
    w->doing = "restore-descriptor";
    store = store_open(w, false);
    r = strcmp(store->desc.images[0].file, BASE);
    store_close(store);
    if (r != 0) /* it has come into another file */
        return 0;
    FUZZ_CHECK(plk_dir_unlink(w->dir, XML) == 0, "cannot remove the descriptor");
    FUZZ_CHECK(plk_store_open_dir(w->dir, XML, &store, err) == 0, "%s", err->message);
    r = plk_store_restore(store, DIRECTORY "/" BASE, w->raw, CLUSTER / PLK_SECTOR, NULL, err);
    FUZZ_CHECK(r == 0, "cannot restore the descriptor: %s", err->message);
    store_close(store);
    return 0;
}

static int reopened(World *w, FuzzInput *in, uint32_t what, PlkError *err)
{
    PlkStore *store;
    size_t n;
    int r;

    close_disk(w);
    if (what == 10)
        return restore(w, err);
    store = store_open(w, true);
    switch (what) {
    case 0:
        r = delete_one(w, in, store, err);
        break;
    case 1:
    case 2:
        r = merge(w, in, store, err);
        break;
    case 3:
        r = switch_to(w, in, store, err);
        break;
    case 4:
        r = grow(w, in, store, err);
        break;
    case 5:
        r = shrink(w, in, store, err);
        break;
    case 6:
        w->doing = "compact";
        r = plk_store_compact(store, NULL, NULL, err);
        break;
    case 7:
        w->doing = "merge of temporary ones";
        r = plk_store_merge_temporary(store, &n, NULL, err);
        break;
    case 8:
    case 9:
        r = convert(w, in, store, err);
        break;
    default:
        w->doing = "reopen";
        r = 0;
    }
    store_close(store);
    w->may_lose = what < 3;
    return r;
}

static int step(World *w, FuzzInput *in, PlkError *err)
{
    uint32_t what = fuzz_byte(in);

    w->moved = what >> 4 < 5;
    w->may_lose = false;
    switch (what >> 4) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        move_data(w, in, what);
        return 0;
    case 5:
        w->doing = "flush";
        FUZZ_CHECK(plk_disk_flush(need_disk(w)) == 0, "cannot flush");
        return 0;
    case 6:
        return snapshot(w, true, what & 1, err);
    case 7:
        return snapshot(w, false, (what & 3) == 3, err);
    default:
        return reopened(w, in, (what & 127) % 12, err);
    }
}

static void expect_refusal(const World *w, const PlkError *err)
{
    FUZZ_CHECK(err->code == PLK_ERROR_ARGUMENT || err->code == PLK_ERROR_BUSY || err->code == PLK_ERROR_UNSUPPORTED ||
                   err->code == PLK_ERROR_NO_SNAPSHOT,
               "%s fails: %s", w->doing, err->message);
}

/* ---- in the end ---- */

static int no_fault(void *arg, const PlkFinding *f)
{
    FUZZ_CHECK(f->rank == PLK_FINDING_INFO, "%s: %s, %s", f->image, plk_finding_name(f->kind), f->meaning);
    return 0;
}

static void check_images(World *w, PlkStore *store)
{
    for (size_t i = 0; i < store->desc.n_images; i++) {
        PlkCheckOptions options = {.struct_size = sizeof options,
                                   .raw = plk_store_is_raw(&store->desc, (int)i),
                                   .cluster_sectors = CLUSTER / PLK_SECTOR};
        PlkCheckResult result = {0};
        PlkError err;
        PlkIo *io;

        FUZZ_CHECK(plk_dir_open_file(w->dir, store->desc.images[i].file, 0, 0, &io) == 0, "image %s is missing",
                   store->desc.images[i].file);
        FUZZ_CHECK(plk_image_check(io, 0, &options, no_fault, NULL, NULL, &result, NULL, &err) == 0, "%s",
                   err.message);
        plk_io_close(io);
    }
}

static int no_stray(void *arg, const char *name)
{
    const PlkStore *store = arg;

    for (size_t i = 0; i < store->desc.n_images; i++)
        if (strcmp(store->desc.images[i].file, name) == 0)
            return 0;
    FUZZ_CHECK(strncmp(name, XML, strlen(XML)) == 0 && (!name[strlen(XML)] || strcmp(name + strlen(XML), ".lck") == 0),
               "'%s' is left behind", name);
    return 0;
}

static void end(World *w)
{
    PlkStore *store;

    close_disk(w);
    w->doing = "all";
    store = store_open(w, false);
    check_images(w, store);
    plk_dir_list(w->dir, no_stray, store);
    compare_state(w, store, &w->active, NULL);
    for (unsigned i = 0; i < w->n_states; i++)
        compare_state(w, store, &w->states[i], w->states[i].guid);
    store_close(store);
    for (unsigned i = w->n_states; i-- > 0;)
        state_clear(&w->states[i]);
    state_clear(&w->active);
    plk_dir_close(w->dir);
}

static void begin(World *w, uint32_t choice)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec,
                          .cluster_sectors = CLUSTER / PLK_SECTOR,
                          .version = choice % 2 + 1,
                          .format = choice & 8 ? PLK_FORMAT_RAW : PLK_FORMAT_EXPANDED};
    PlkStore *store;
    PlkError err;

    w->doing = "create";
    w->raw = choice & 8;
    state_resize(&w->active, 3 + (choice >> 4));
    spec.size_sectors = (uint64_t)w->active.n * CLUSTER / PLK_SECTOR;
    FUZZ_CHECK(plk_dir_open_memory(DIRECTORY, &w->dir) == 0 && plk_store_open_dir(w->dir, XML, &store, &err) == 0,
               "out of memory");
    FUZZ_CHECK(plk_store_create(store, BASE, &spec, NULL, NULL, NULL, &err) == 0, "cannot create: %s", err.message);
    store_close(store);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = {data, data + size};
    World w = {0};

    begin(&w, fuzz_byte(&in));
    for (int i = 0; i < STEPS_MAX && fuzz_left(&in) > 0; i++) {
        PlkError err = {0};

        if (step(&w, &in, &err) < 0)
            expect_refusal(&w, &err);
        if (w.moved)
            continue;
        look(&w);
    }
    end(&w);
    return 0;
}
