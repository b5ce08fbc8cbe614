/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rescue on directories in memory: what a survey says, that it writes nothing, that what apply leaves
 * needs no second one, and that neither fails badly when memory runs out.
 */
#include "rescue/rescue.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "change/operation.h"
#include "io/crash-walk.h"
#include "test.h"

#define CLUSTER 64u /* sectors */
#define CLUSTERS 16u

/* ---- disks ---- */

static PlkStore *make_disk(void)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec,
                          .size_sectors = CLUSTER * CLUSTERS,
                          .cluster_sectors = CLUSTER,
                          .version = 2};
    PlkStore *store;
    PlkDir *dir;
    PlkError err;

    CHECK_INT(plk_dir_open_memory("/disk", &dir), 0);
    CHECK_OK(plk_store_open_dir(dir, "DiskDescriptor.xml", &store, &err), err);
    CHECK_OK(plk_store_create(store, "root.hds", &spec, NULL, NULL, NULL, &err), err);
    return store;
}

/* Closes the store, but not its directory. */
static PlkDir *leave(PlkStore *store)
{
    PlkDir *dir;

    plk_store_unlock(store);
    dir = PLK_TAKE(store->dir);
    plk_descriptor_clear(&store->desc);
    free(store->name);
    free(store->path);
    free(store->fs_word);
    free(store);
    return dir;
}

static PlkStore *enter(PlkDir *dir)
{
    PlkStore *store;
    PlkError err;

    CHECK_OK(plk_store_open_dir(dir, "DiskDescriptor.xml", &store, &err), err);
    return store;
}

/* The same directory as a program finds it that comes later. */
static PlkStore *store_again(PlkStore *store)
{
    return enter(leave(store));
}

static void fill(PlkStore *store, unsigned cluster, char byte)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .writable = true};
    static char buf[CLUSTER * 512];
    PlkDisk *disk;
    PlkError err;

    memset(buf, byte, sizeof buf);
    CHECK_OK(plk_store_open_state(store, NULL, &options, &disk, &err), err);
    CHECK_INT(plk_disk_write(disk, buf, sizeof buf, (uint64_t)cluster * sizeof buf), 0);
    CHECK_OK(plk_disk_close(disk, &err), err);
}

/* One character a cluster. */
static void read_all(PlkStore *store, char ret[CLUSTERS + 1])
{
    PlkDiskOptions options = {.struct_size = sizeof options};
    PlkDisk *disk;
    PlkError err;

    CHECK_OK(plk_store_load(store, &err), err);
    CHECK_OK(plk_store_open_state(store, NULL, &options, &disk, &err), err);
    for (unsigned i = 0; i < CLUSTERS; i++) {
        char byte;

        CHECK_INT(plk_disk_read(disk, &byte, 1, (uint64_t)i * CLUSTER * 512), 0);
        ret[i] = byte ? byte : '.';
    }
    ret[CLUSTERS] = '\0';
    CHECK_OK(plk_disk_close(disk, &err), err);
}

/* Two snapshots; each state writes over a part of the one below. */
static PlkStore *make_chain(void)
{
    static const char *const guids[] = {"{11111111-1111-4111-8111-111111111111}",
                                        "{22222222-2222-4222-8222-222222222222}"};
    PlkStore *store = make_disk();
    PlkError err;

    store = store_again(store);
    CHECK_OK(plk_store_lock(store, &err), err);
    fill(store, 0, 'a');
    fill(store, 1, 'a');
    for (unsigned i = 0; i < 2; i++) {
        PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = guids[i]};
        PlkGuid guid;

        CHECK_OK(plk_store_snapshot(store, &spec, &guid, &err), err);
        fill(store, i + 1, (char)('b' + i));
    }
    return store_again(store);
}

/* ---- what lies in a directory, as one number ---- */

typedef struct Print {
    PlkDir *dir;
    uint64_t sum;
    unsigned n;
} Print;

static int add_file(void *arg, const char *name)
{
    Print *p = arg;
    PLK_FREE char *text = NULL;
    size_t len = 0;

    if (strstr(name, ".lck"))
        return 0;
    CHECK_INT(plk_dir_read_file(p->dir, name, 1u << 24, &text, &len), 0);
    for (const char *c = name; *c; c++)
        p->sum = p->sum * 31 + (unsigned char)*c;
    for (size_t i = 0; i < len; i++)
        p->sum = p->sum * 31 + (unsigned char)text[i];
    p->n++;
    return 0;
}

static Print print_of(PlkStore *store)
{
    Print p = {.dir = store->dir};

    CHECK_INT(plk_dir_list(store->dir, add_file, &p), 0);
    return p;
}

/* ---- asking ---- */

static PlkRescue *survey(PlkStore *store)
{
    Print before = print_of(store), after;
    PlkRescue *rescue;
    PlkError err;

    CHECK_OK(plk_store_rescue_survey(store, NULL, NULL, &rescue, &err), err);
    after = print_of(store);
    CHECK(before.sum == after.sum && before.n == after.n);
    return rescue;
}

static void check_sound(PlkStore *store, const char *wanted)
{
    PlkRescue *rescue = survey(store);
    char now[CLUSTERS + 1];

    CHECK_STR(plk_rescue_is_sound(rescue) ? "sound" : plk_rescue_verdict(rescue), "sound");
    plk_rescue_free(rescue);
    read_all(store, now);
    CHECK_STR(now, wanted);
}

static PlkStore *apply(PlkStore *store, unsigned proposal)
{
    PlkRescueOptions options = {.struct_size = sizeof options, .proposal = proposal};
    PlkError err;

    CHECK_OK(plk_store_rescue_apply(store, NULL, &options, NULL, &err), err);
    return store_again(store);
}

static void remove_descriptor(PlkStore *store)
{
    CHECK_INT(plk_dir_unlink(store->dir, "DiskDescriptor.xml"), 0);
}

static const PlkRescueProposal *first_of(const PlkRescue *rescue)
{
    size_t n;
    const PlkRescueProposal *p = plk_rescue_proposals(rescue, &n);

    CHECK(n > 0);
    return p;
}

/* ---- behaviours ---- */

TEST(a_sound_disk_has_no_proposals)
{
    PlkStore *store = make_chain();

    check_sound(store, "abc.............");
    store = apply(store, 0);
    check_sound(store, "abc.............");
    plk_store_close(store);
}

TEST(the_image_left_in_use_is_the_uppermost)
{
    PlkStore *store = make_chain();
    PlkRescue *rescue;
    PLK_FREE char *top = NULL;
    PlkError err;
    PlkIo *io;

    CHECK_OK(plk_store_load(store, &err), err);
    top = plk_strdup(store->desc.images[plk_descriptor_find_image(&store->desc, &PLK_GUID_TOP)].file);
    CHECK(top);
    CHECK_INT(plk_dir_open_file(store->dir, top, PLK_OPEN_WRITE, 0, &io), 0);
    CHECK_INT(plk_io_write(io, "Ynot", 4, 44, PLK_POINT_META_IN_USE), 0);
    plk_io_close(io);
    remove_descriptor(store);
    rescue = survey(store);
    CHECK_STR(plk_rescue_confidence_name(first_of(rescue)->confidence), "likely");
    CHECK_INT(first_of(rescue)->n_chain, 3);
    CHECK_STR(first_of(rescue)->chain[2], top);
    plk_rescue_free(rescue);
    store = apply(store, 0);
    check_sound(store, "abc.............");
    plk_store_close(store);
}

TEST(a_guess_is_applied_only_by_its_number)
{
    PlkRescueOptions options = {.struct_size = sizeof options};
    PlkStore *store = make_chain();
    Print before, after;
    PlkError err;

    remove_descriptor(store);
    before = print_of(store);
    CHECK_INT(plk_store_rescue_apply(store, NULL, &options, NULL, &err), -1);
    CHECK_INT(err.code, PLK_ERROR_ARGUMENT);
    after = print_of(store);
    CHECK(before.sum == after.sum && before.n == after.n);
    plk_store_close(store);
}

/* Says of a chain what its second cluster holds: the test's idea of a filesystem. */
static void look(void *arg, PlkDisk *disk, PlkRescueContent *ret)
{
    char byte;

    *(unsigned *)arg += 1;
    CHECK_INT(plk_disk_read(disk, &byte, 1, CLUSTER * 512), 0);
    strcpy(ret->type, "test");
    ret->written = (unsigned char)byte;
    CHECK_INT(plk_disk_read(disk, &byte, 1, 2 * CLUSTER * 512), 0);
    ret->written += (unsigned char)byte;
}

TEST(what_is_inside_tells_a_stale_descriptor)
{
    unsigned looks = 0;
    PlkRescueEvidence evidence = {.look = look, .arg = &looks};
    PlkRescueOptions options = {.struct_size = sizeof options};
    PlkStore *store = make_chain();
    PLK_FREE char *old = NULL, *found = NULL;
    PlkRescue *rescue;
    char now[CLUSTERS + 1];
    size_t len;
    PlkError err;

    /* The descriptor from before the last snapshot. */
    CHECK_INT(plk_dir_read_file(store->dir, "DiskDescriptor.xml", 1 << 20, &old, &len), 0);
    CHECK_OK(plk_store_lock(store, &err), err);
    CHECK_OK(plk_store_snapshot(store, &(PlkSnapshotSpec){.struct_size = sizeof(PlkSnapshotSpec)},
                                &(PlkGuid){""}, &err),
             err);
    fill(store, 1, 'z');
    read_all(store, now);
    store = store_again(store);
    CHECK_INT(plk_dir_publish_file(store->dir, "DiskDescriptor.xml", old, len, 0644), 0);
    CHECK_OK(plk_store_rescue_survey(store, &evidence, NULL, &rescue, &err), err);
    CHECK(looks > 1);
    CHECK_STR(plk_rescue_confidence_name(first_of(rescue)->confidence), "likely");
    CHECK_INT(first_of(rescue)->n_chain, 4);
    plk_rescue_free(rescue);
    CHECK_OK(plk_store_rescue_apply(store, &evidence, &options, NULL, &err), err);
    store = store_again(store);
    check_sound(store, now);
    CHECK_INT(plk_dir_read_file(store->dir, "DiskDescriptor.xml.rescued-1", 1 << 20, &found, NULL), 0);
    CHECK_STR(found, old);
    plk_store_close(store);
}

TEST(a_try_is_dropped_without_a_trace_and_kept_with_all_bytes)
{
    PlkRescueOptions options = {.struct_size = sizeof options, .proposal = 1};
    PlkStore *store = make_chain();
    Print before, after;
    PlkError err;

    remove_descriptor(store);
    before = print_of(store);
    CHECK_OK(plk_store_rescue_try(store, NULL, &options, NULL, &err), err);
    store = store_again(store);
    CHECK_OK(plk_store_rescue_drop(store, &err), err);
    after = print_of(store);
    CHECK(before.sum == after.sum && before.n == after.n);
    store = store_again(store);
    CHECK_OK(plk_store_rescue_try(store, NULL, &options, NULL, &err), err);
    store = store_again(store);
    CHECK_OK(plk_store_rescue_keep(store, &options, NULL, &err), err);
    store = store_again(store);
    check_sound(store, "abc.............");
    plk_store_close(store);
}

/* Every allocation of a survey and of an apply fails in turn: NO_MEMORY, and the next one succeeds. */
TEST(running_out_of_memory_is_told_and_does_no_harm)
{
    PlkRescueOptions options = {.struct_size = sizeof options, .proposal = 1};
    bool done = false;

    for (unsigned long n = 1; !done && n < 20000; n += 1 + n / 64) {
        PlkStore *store = make_chain();
        PlkError err = {0};
        int r;

        remove_descriptor(store);
        plk_alloc_fail_at(n, 0);
        r = plk_store_rescue_apply(store, NULL, &options, NULL, &err);
        done = plk_alloc_fail_at(0, 0) > 0; /* it was not needed */
        if (r < 0)
            CHECK_STR(err.code == PLK_ERROR_NO_MEMORY ? "no memory" : err.message, "no memory");
        store = store_again(store);
        if (r < 0)
            store = apply(store, plk_dir_exists(store->dir, "DiskDescriptor.xml") > 0 ? 0 : 1);
        check_sound(store, "abc.............");
        plk_store_close(store);
    }
    CHECK(done);
}

/* ---- crashes ---- */

typedef PlkStore *Operation(PlkStore *store);

typedef struct Replay {
    Operation *again;
    const char *wanted;
    unsigned n;
} Replay;

static PlkStore *apply_first(PlkStore *store)
{
    PlkRescueOptions options = {.struct_size = sizeof options, .proposal = 1, .lossy = true};
    PlkRescue *rescue = survey(store);
    PlkError err;

    if (!plk_rescue_is_sound(rescue))
        CHECK_OK(plk_store_rescue_apply(store, NULL, &options, NULL, &err), err);
    plk_rescue_free(rescue);
    return store_again(store);
}

static PlkStore *keep_try(PlkStore *store)
{
    PlkRescueOptions options = {.struct_size = sizeof options};
    PlkError err;

    if (plk_dir_exists(store->dir, PLK_RESCUE_TRY_NAME) > 0)
        CHECK_OK(plk_store_rescue_keep(store, &options, NULL, &err), err);
    return apply_first(store_again(store));
}

static PlkStore *try_and_drop(PlkStore *store)
{
    PlkRescueOptions options = {.struct_size = sizeof options, .proposal = 1};
    PlkError err;

    CHECK_OK(plk_store_rescue_try(store, NULL, &options, NULL, &err), err);
    store = store_again(store);
    CHECK_OK(plk_store_rescue_drop(store, &err), err);
    return apply_first(store_again(store));
}

static PlkStore *drop_what_is_left(PlkStore *store)
{
    PlkError err = {0};

    if (plk_store_rescue_drop(store, &err) < 0)
        CHECK_INT(err.code, PLK_ERROR_NOT_FOUND);
    return apply_first(store_again(store));
}

static int examine(void *arg, PlkDir *dir, size_t position)
{
    Replay *replay = arg;
    PlkStore *store = replay->again(enter(dir));

    check_sound(store, replay->wanted);
    replay->n++;
    leave(store);
    return 0;
}

/* Crashes anywhere in the operation: it is done again, and all is well. */
static void replay(PlkStore *store, Operation *operation, Operation *again, const char *wanted)
{
    plk_cleanup(plk_record_freep) PlkRecord *record = NULL;
    Replay r = {.again = again, .wanted = wanted};
    PlkCrashWalk walk = {.sector = 512, .budget = 40, .seed = 1, .examine = examine, .arg = &r};
    PlkCrashTally tally = {0};
    PlkDir *dir;

    CHECK_INT(plk_record_new_over(leave(store), &record), 0);
    CHECK_INT(plk_record_open(record, &dir), 0);
    store = operation(enter(dir));
    check_sound(store, wanted);
    plk_store_close(store);
    CHECK_INT(plk_crash_walk(record, &walk, &tally), 0);
    CHECK(r.n > 10);
}

TEST(a_crash_of_a_rescue_without_a_descriptor)
{
    PlkStore *store = make_chain();

    remove_descriptor(store);
    replay(store, apply_first, apply_first, "abc.............");
}

TEST(a_crash_of_a_rescue_from_a_damaged_descriptor)
{
    PlkStore *store = make_chain();

    CHECK_INT(plk_dir_publish_file(store->dir, "DiskDescriptor.xml", "<?xml", 5, 0644), 0);
    replay(store, apply_first, apply_first, "abc.............");
}

/* The top in use and known to the unfinished descriptor alone. */
TEST(a_crash_of_a_rescue_that_promotes_the_unfinished_descriptor)
{
    PlkStore *store = make_chain();
    PLK_FREE char *old = NULL, *new = NULL, *top = NULL;
    size_t old_len, new_len;
    PlkError err;
    PlkIo *io;

    CHECK_INT(plk_dir_read_file(store->dir, "DiskDescriptor.xml", 1 << 20, &old, &old_len), 0);
    CHECK_OK(plk_store_lock(store, &err), err);
    CHECK_OK(plk_store_snapshot(store, &(PlkSnapshotSpec){.struct_size = sizeof(PlkSnapshotSpec)},
                                &(PlkGuid){""}, &err),
             err);
    fill(store, 3, 'd');
    top = plk_strdup(store->desc.images[plk_descriptor_find_image(&store->desc, &PLK_GUID_TOP)].file);
    store = store_again(store);
    CHECK_INT(plk_dir_read_file(store->dir, "DiskDescriptor.xml", 1 << 20, &new, &new_len), 0);
    CHECK_INT(plk_dir_publish_file(store->dir, "DiskDescriptor.xml", old, old_len, 0644), 0);
    CHECK_INT(plk_dir_publish_file(store->dir, "DiskDescriptor.xml.tmp", new, new_len, 0644), 0);
    CHECK_INT(plk_dir_open_file(store->dir, top, PLK_OPEN_WRITE, 0, &io), 0);
    CHECK_INT(plk_io_write(io, "Ynot", 4, 44, PLK_POINT_META_IN_USE), 0);
    plk_io_close(io);
    replay(store, apply_first, apply_first, "abcd............");
}

/* An entry outside of the file, which reads as zeros, in the base. */
static PlkStore *make_damaged_chain(void)
{
    PlkStore *store = make_chain();
    PlkIo *io;

    CHECK_INT(plk_dir_open_file(store->dir, "root.hds", PLK_OPEN_WRITE, 0, &io), 0);
    CHECK_INT(plk_io_write(io, "\x99\x09\0\0", 4, 64 + 4 * 9, PLK_POINT_META_BAT), 0);
    plk_io_close(io);
    return store;
}

TEST(a_crash_of_a_rescue_that_repairs)
{
    PlkStore *store = make_damaged_chain();

    remove_descriptor(store);
    replay(store, apply_first, apply_first, "abc.............");
}

TEST(a_crash_of_a_try_or_of_dropping_it)
{
    PlkStore *store = make_damaged_chain();

    remove_descriptor(store);
    replay(store, try_and_drop, drop_what_is_left, "abc.............");
}

TEST(a_crash_of_keeping_a_try)
{
    PlkRescueOptions options = {.struct_size = sizeof options, .proposal = 1};
    PlkStore *store = make_damaged_chain();
    PlkError err;

    remove_descriptor(store);
    CHECK_OK(plk_store_rescue_try(store, NULL, &options, NULL, &err), err);
    replay(store_again(store), keep_try, keep_try, "abc.............");
}

TEST_MAIN()
