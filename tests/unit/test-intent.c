/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an interrupted change leaves goes with the next one, and nothing else ever does. A process that dies is
 * one that forgets to clear its list.
 */
#include <errno.h>

#include "change/operation.h"
#include "disk/intent.h"
#include "io/fault.h"
#include "test.h"

#define NEWER "root.hds.{11111111-1111-1111-1111-111111111111}"
#define OLDER "root.hds.{22222222-2222-2222-2222-222222222222}"
#define SECTORS 512u
#define CLUSTER_SECTORS 64u

static PlkStore *store;

static void make_file(const char *name)
{
    PlkImageSpec spec = {.version = 2, .size_sectors = SECTORS, .cluster_sectors = CLUSTER_SECTORS};
    PlkError err;
    PlkIo *io;

    CHECK_INT(plk_dir_open_file(store->dir, name, PLK_OPEN_CREATE | PLK_OPEN_EXCLUSIVE, 0600, &io), 0);
    CHECK_OK(plk_image_create(io, &spec, NULL, &err), err);
    plk_io_close(io);
}

static void commit_new(uint64_t sectors)
{
    PlkDescriptor desc = {0};
    PlkError err;

    CHECK_OK(plk_store_lock_only(store, &err), err);
    CHECK_OK(plk_descriptor_new(sectors, CLUSTER_SECTORS, false, false, "root.hds", &desc, &err), err);
    CHECK_OK(plk_store_commit(store, &desc, &err), err);
    plk_store_unlock(store);
}

static void make_disk(void)
{
    PlkError err;
    PlkDir *dir;

    CHECK_INT(plk_dir_open_memory("/intent", &dir), 0);
    CHECK_OK(plk_store_open_dir(dir, "DiskDescriptor.xml", &store, &err), err);
    store->is_new = true;
    make_file("root.hds");
    commit_new(SECTORS);
}

/* Declares that NEWER is made and OLDER goes, with a descriptor of twice the size; dies before or after it. */
static void die_in_the_middle(bool committed)
{
    char *doomed[] = {(char *)OLDER, (char *)"root.hds", (char *)"precious"};
    PlkDescriptor future = {0};
    PlkError err;

    CHECK_OK(plk_store_lock(store, &err), err);
    CHECK_OK(plk_descriptor_copy(&store->desc, &future, &err), err);
    plk_descriptor_set_size(&future, 2 * SECTORS);
    CHECK_OK(plk_intent_declare(store, &future, NEWER, doomed, 3, &err), err);
    make_file(NEWER);
    make_file(OLDER);
    make_file("precious");
    if (committed)
        CHECK_OK(plk_store_commit(store, &future, &err), err);
    plk_descriptor_clear(&future);
    store->declared = false;
    plk_store_unlock(store);
}

static void lock_once(void)
{
    PlkError err;

    CHECK_OK(plk_store_lock(store, &err), err);
    plk_store_unlock(store);
}

static void expect(bool newer, bool older)
{
    CHECK_INT(plk_dir_exists(store->dir, NEWER), newer);
    CHECK_INT(plk_dir_exists(store->dir, OLDER), older);
    CHECK_INT(plk_dir_exists(store->dir, "precious"), 1);
    CHECK_INT(plk_dir_exists(store->dir, "root.hds"), 1);
}

TEST(what_was_made_for_a_change_that_did_not_come_goes)
{
    make_disk();
    die_in_the_middle(false);
    lock_once();
    expect(false, true);
    plk_store_close(store);
}

TEST(what_a_change_that_came_was_to_remove_goes)
{
    make_disk();
    die_in_the_middle(true);
    lock_once();
    expect(true, false);
    plk_store_close(store);
}

TEST(nothing_goes_under_a_descriptor_that_is_neither_the_old_nor_the_new)
{
    make_disk();
    die_in_the_middle(true);
    commit_new(3 * SECTORS);
    lock_once();
    expect(true, true);
    plk_store_close(store);
}

TEST(a_torn_list_counts_as_none)
{
    PlkIo *io;

    make_disk();
    die_in_the_middle(true);
    CHECK_INT(plk_dir_open_file(store->dir, "DiskDescriptor.xml.lck", PLK_OPEN_WRITE, 0, &io), 0);
    CHECK_INT(plk_io_write(io, "x", 1, 300, PLK_POINT_FILE_WRITE), 0);
    plk_io_close(io);
    lock_once();
    expect(true, true);
    plk_store_close(store);
}

TEST(a_list_is_read_once)
{
    make_disk();
    die_in_the_middle(false);
    lock_once();
    make_file(NEWER);
    lock_once();
    expect(true, true);
    plk_store_close(store);
}

TEST(a_restored_descriptor_voids_the_list_even_if_it_reads_like_the_old_one)
{
    char before[PLK_DIGEST_CHARS + 1];
    PlkError err;

    make_disk();
    CHECK_OK(plk_store_load(store, &err), err);
    memcpy(before, store->digest, sizeof before);
    die_in_the_middle(true);
    CHECK_INT(plk_dir_unlink(store->dir, "DiskDescriptor.xml"), 0);
    CHECK_OK(plk_store_restore(store, "/intent/root.hds", false, 0, NULL, &err), err);
    plk_store_unlock(store);
    lock_once();
    CHECK_STR(store->digest, before);
    expect(true, true);
    plk_store_close(store);
}

TEST(what_could_not_be_removed_is_tried_again)
{
    PlkFault fault = {.point = PLK_POINT_DIR_UNLINK, .nth = 1, .errnum = EPERM};
    PlkDir *shim;

    make_disk();
    die_in_the_middle(true);
    CHECK_INT(plk_dir_wrap_fault(store->dir, &fault, &shim), 0);
    store->dir = shim;
    lock_once();
    expect(true, true);
    lock_once();
    expect(true, false);
    plk_store_close(store);
}

TEST_MAIN()
