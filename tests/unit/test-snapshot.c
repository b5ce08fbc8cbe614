/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots as a user meets them: what each state reads as, what the descriptor says, which files are there.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "change/operation.h"
#include "change/scratch.h"
#include "io/fault.h"
#include "volume.h"

static void list_of(Volume *v, PlkSnapshotList *list)
{
    PlkError err;

    CHECK_OK(plk_snapshot_list(v->xml, NULL, list, &err), err);
}

static const char *file_of(const PlkSnapshotList *list, const char *guid)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i].guid, guid) == 0)
            return strrchr(list->items[i].path, '/') + 1;
    return "(no such snapshot)";
}

/* base a, snapshot 1, b above it, snapshot 2, c above that */
static void three_states(Volume *v)
{
    volume_new(v, PLK_FORMAT_EXPANDED, 2);
    volume_write(v, "0a 1a 2a");
    volume_snapshot(v, GUID_1);
    volume_write(v, "1b 3b");
    volume_snapshot(v, GUID_2);
    volume_write(v, "2c 3c 5c");
}

TEST(every_state_reads_as_it_was_left)
{
    Volume v;

    three_states(&v);
    volume_expect(&v, GUID_1, "aaa");
    volume_expect(&v, GUID_2, "abab");
    volume_expect(&v, NULL, "abcc.c");
    volume_remove(&v);
}

TEST(a_snapshot_keeps_the_file_and_takes_the_guid)
{
    PlkSnapshotList list;
    Volume v;

    three_states(&v);
    list_of(&v, &list);
    CHECK_INT(list.n, 3);
    CHECK_STR(file_of(&list, GUID_1), "root.hds");
    CHECK(strncmp(file_of(&list, GUID_2), "root.hds.{", 10) == 0);
    CHECK(strncmp(file_of(&list, GUID_TOP), "root.hds.{", 10) == 0);
    CHECK(list.items[2].active && !list.items[0].active && !list.old_format);
    CHECK_STR(list.items[2].parent, GUID_2);
    plk_snapshot_list_clear(&list);
    CHECK_INT(volume_files(&v), 4);
    volume_remove(&v);
}

TEST(a_guid_is_taken_once)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = GUID_1};
    PlkError err;
    Volume v;

    three_states(&v);
    CHECK_FAILS(plk_snapshot_create(v.xml, NULL, &spec, NULL, &err), err, PLK_ERROR_ARGUMENT);
    spec.guid = "nonsense";
    CHECK_FAILS(plk_snapshot_create(v.xml, NULL, &spec, NULL, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_INT(volume_files(&v), 4);
    volume_remove(&v);
}

TEST(deleting_in_the_middle_keeps_the_older_file_and_the_younger_guid)
{
    PlkDeleteResult result;
    PlkSnapshotList list;
    PlkError err;
    Volume v;

    three_states(&v);
    CHECK_OK(plk_snapshot_delete(v.xml, NULL, GUID_1, &result, NULL, &err), err);
    CHECK_INT(result.how, PLK_DELETED_MERGED);
    CHECK_STR(result.child_guid, GUID_2);
    list_of(&v, &list);
    CHECK_INT(list.n, 2);
    CHECK_STR(file_of(&list, GUID_2), "root.hds");
    plk_snapshot_list_clear(&list);
    volume_expect(&v, GUID_2, "abab");
    volume_expect(&v, NULL, "abcc.c");
    CHECK_INT(volume_files(&v), 3);
    CHECK_FAILS(plk_snapshot_delete(v.xml, NULL, GUID_1, NULL, NULL, &err), err, PLK_ERROR_NO_SNAPSHOT);
    volume_remove(&v);
}

TEST(deleting_the_active_state_goes_back_to_its_parent)
{
    PlkDeleteResult result;
    PlkError err;
    Volume v;

    three_states(&v);
    CHECK_OK(plk_snapshot_delete(v.xml, NULL, GUID_TOP, &result, NULL, &err), err);
    CHECK_INT(result.how, PLK_DELETED_LEAF);
    volume_expect(&v, NULL, "abab");
    volume_write(&v, "7x");
    volume_expect(&v, GUID_1, "aaa");
    CHECK_INT(volume_files(&v), 3);
    volume_remove(&v);
}

TEST(the_base_alone_can_not_be_deleted)
{
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_EXPANDED, 1);
    CHECK_FAILS(plk_snapshot_delete(v.xml, NULL, GUID_TOP, NULL, NULL, &err), err, PLK_ERROR_ARGUMENT);
    volume_remove(&v);
}

TEST(switching_goes_on_from_a_snapshot_and_drops_what_was_active)
{
    PlkError err;
    Volume v;

    three_states(&v);
    CHECK_OK(plk_snapshot_switch(v.xml, NULL, GUID_1, false, &err), err);
    volume_expect(&v, NULL, "aaa");
    volume_write(&v, "0d 4d");
    volume_expect(&v, NULL, "daa.d");
    volume_expect(&v, GUID_1, "aaa");
    volume_expect(&v, GUID_2, "abab");
    CHECK_INT(volume_files(&v), 4);
    CHECK_FAILS(plk_snapshot_switch(v.xml, NULL, GUID_TOP, false, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_snapshot_switch(v.xml, NULL, GUID_3, false, &err), err, PLK_ERROR_NO_SNAPSHOT);
    /* Without the active state, {1111...} would be written to beneath {2222...}. */
    CHECK_FAILS(plk_snapshot_delete(v.xml, NULL, GUID_TOP, NULL, NULL, &err), err, PLK_ERROR_ARGUMENT);
    volume_remove(&v);
}

TEST(switching_can_keep_what_was_active)
{
    PlkSnapshotList list;
    char kept[40] = "";
    PlkError err;
    Volume v;

    three_states(&v);
    CHECK_OK(plk_snapshot_switch(v.xml, NULL, GUID_1, true, &err), err);
    list_of(&v, &list);
    CHECK_INT(list.n, 4);
    for (size_t i = 0; i < list.n; i++)
        if (strcmp(list.items[i].parent, GUID_2) == 0)
            snprintf(kept, sizeof kept, "%s", list.items[i].guid);
    plk_snapshot_list_clear(&list);
    volume_expect(&v, kept, "abcc.c");
    volume_expect(&v, NULL, "aaa");
    volume_remove(&v);
}

TEST(a_snapshot_with_two_children_is_marked_and_goes_when_one_child_is_left)
{
    PlkDeleteResult result;
    PlkSnapshotList list;
    PlkError err;
    Volume v;

    three_states(&v);
    CHECK_OK(plk_snapshot_switch(v.xml, NULL, GUID_1, false, &err), err);
    volume_write(&v, "0d");
    CHECK_OK(plk_snapshot_delete(v.xml, NULL, GUID_1, &result, NULL, &err), err);
    CHECK_INT(result.how, PLK_DELETED_MARKED);
    CHECK_INT(result.children, 2);
    list_of(&v, &list);
    CHECK(list.items[0].temporary);
    plk_snapshot_list_clear(&list);
    CHECK_FAILS(plk_snapshot_switch(v.xml, NULL, GUID_1, false, &err), err, PLK_ERROR_ARGUMENT);

    CHECK_OK(plk_snapshot_delete(v.xml, NULL, GUID_2, &result, NULL, &err), err);
    CHECK_INT(result.how, PLK_DELETED_LEAF);
    list_of(&v, &list);
    CHECK_INT(list.n, 1);
    plk_snapshot_list_clear(&list);
    volume_expect(&v, NULL, "daa");
    CHECK_INT(volume_files(&v), 2);
    volume_remove(&v);
}

TEST(an_unused_temporary_snapshot_is_merged_by_the_next_operation)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = GUID_3, .temporary = true};
    PlkSnapshotList list;
    PlkDisk *reader;
    PlkError err;
    Volume v;
    size_t n;

    volume_new(&v, PLK_FORMAT_EXPANDED, 2);
    volume_write(&v, "0a");
    CHECK_OK(plk_snapshot_create(v.xml, NULL, &spec, NULL, &err), err);
    volume_write(&v, "1b");
    reader = volume_open(&v, false, GUID_3);
    CHECK_OK(plk_snapshot_merge_temporary(v.xml, NULL, &n, NULL, &err), err);
    CHECK_INT(n, 0);
    CHECK_OK(plk_disk_close(reader, &err), err);
    volume_snapshot(&v, GUID_1);
    list_of(&v, &list);
    CHECK_INT(list.n, 2);
    CHECK_STR(file_of(&list, GUID_1), "root.hds");
    plk_snapshot_list_clear(&list);
    volume_expect(&v, GUID_1, "ab");
    volume_remove(&v);
}

TEST(a_disk_in_use_is_left_alone_and_its_user_is_named)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = GUID_3};
    PlkDisk *writer, *reader;
    PlkError err;
    Volume v;

    three_states(&v);
    CHECK_OK(plk_snapshot_writer(v.xml, NULL, &err), err);
    writer = volume_open(&v, true, NULL);
    CHECK_FAILS(plk_snapshot_writer(v.xml, NULL, &err), err, PLK_ERROR_LOCKED);
    CHECK(strstr(err.message, "in use by this process"));
    CHECK_FAILS(plk_snapshot_create(v.xml, NULL, &spec, NULL, &err), err, PLK_ERROR_LOCKED);
    CHECK_FAILS(plk_snapshot_delete(v.xml, NULL, GUID_2, NULL, NULL, &err), err, PLK_ERROR_LOCKED);
    CHECK_FAILS(plk_snapshot_switch(v.xml, NULL, GUID_1, false, &err), err, PLK_ERROR_LOCKED);
    CHECK_OK(plk_disk_close(writer, &err), err);
    reader = volume_open(&v, false, GUID_1);
    CHECK_OK(plk_snapshot_writer(v.xml, NULL, &err), err);
    CHECK_FAILS(plk_snapshot_delete(v.xml, NULL, GUID_1, NULL, NULL, &err), err, PLK_ERROR_LOCKED);
    CHECK_OK(plk_disk_close(reader, &err), err);
    CHECK_INT(volume_files(&v), 4);
    volume_remove(&v);
}

TEST(an_open_disk_can_be_snapshot_while_it_is_written)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = GUID_1};
    char guid[40];
    PlkDisk *disk;
    Content content;
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_EXPANDED, 2);
    disk = volume_open(&v, true, NULL);
    disk_tag(disk, 0, 'a');
    disk_tag(disk, 1, 'a');
    CHECK_OK(plk_disk_snapshot(disk, &spec, guid, &err), err);
    CHECK_STR(guid, GUID_1);
    CHECK_INT(volume_header(&v, "root.hds", 44), 0);
    disk_tag(disk, 1, 'b');
    disk_tag(disk, 2, 'b');
    spec.guid = GUID_2;
    CHECK_OK(plk_disk_snapshot(disk, &spec, guid, &err), err);
    disk_tag(disk, 2, 'c');
    spec.guid = GUID_1;
    CHECK_FAILS(plk_disk_snapshot(disk, &spec, guid, &err), err, PLK_ERROR_ARGUMENT);
    disk_content(disk, content);
    CHECK(strncmp(content, "abc..", 5) == 0);
    CHECK_OK(plk_disk_close(disk, &err), err);
    volume_expect(&v, GUID_1, "aa");
    volume_expect(&v, GUID_2, "abb");
    volume_expect(&v, NULL, "abc");
    CHECK_INT(volume_files(&v), 4);
    volume_remove(&v);
}

typedef struct Writer {
    PlkDisk *disk;
    _Atomic bool stop;
    char expected[VOLUME_CLUSTERS];
    int result;
} Writer;

static void *keep_writing(void *arg)
{
    static char buf[VOLUME_CLUSTER_BYTES];
    Writer *w = arg;

    for (unsigned i = 0; w->result == 0 && !atomic_load(&w->stop); i++) {
        unsigned cluster = i * 7 % VOLUME_CLUSTERS;

        w->expected[cluster] = (char)('a' + i % 26);
        memset(buf, w->expected[cluster], sizeof buf);
        w->result = plk_disk_write(w->disk, buf, sizeof buf, (uint64_t)cluster * sizeof buf);
        if (w->result == 0 && i % 16 == 0)
            w->result = plk_disk_flush(w->disk);
    }
    return NULL;
}

TEST(no_write_fails_or_is_lost_while_snapshots_are_taken)
{
    Writer w = {0};
    Content content;
    pthread_t thread;
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_EXPANDED, 2);
    w.disk = volume_open(&v, true, NULL);
    CHECK_INT(pthread_create(&thread, NULL, keep_writing, &w), 0);
    for (int i = 0; i < 20; i++)
        CHECK_OK(plk_disk_snapshot(w.disk, NULL, NULL, &err), err);
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    CHECK_INT(w.result, 0);
    CHECK_OK(plk_disk_close(w.disk, &err), err);
    volume_content(&v, NULL, content);
    for (unsigned i = 0; i < VOLUME_CLUSTERS; i++)
        CHECK_INT(content[i], w.expected[i] ? w.expected[i] : '.');
    CHECK_OK(plk_snapshot_merge(
                 v.xml, NULL, &(PlkMergeSpec){.struct_size = sizeof(PlkMergeSpec), .all = true}, NULL, &err),
             err);
    volume_content(&v, NULL, content);
    for (unsigned i = 0; i < VOLUME_CLUSTERS; i++)
        CHECK_INT(content[i], w.expected[i] ? w.expected[i] : '.');
    volume_remove(&v);
}

TEST(a_snapshot_of_a_crashed_disk_leaves_a_clean_image_below)
{
    PlkDisk *disk;
    Volume v;

    volume_new(&v, PLK_FORMAT_EXPANDED, 2);
    disk = volume_open(&v, true, NULL);
    disk_tag(disk, 0, 'a');
    CHECK_INT(plk_disk_flush(disk), 0);
    plk_disk_drop(disk);
    CHECK_INT(volume_header(&v, "root.hds", 44), PLK_IN_USE_OPEN);
    volume_snapshot(&v, GUID_1);
    CHECK_INT(volume_header(&v, "root.hds", 44), 0);
    volume_expect(&v, NULL, "a");
    volume_remove(&v);
}

TEST(a_raw_base_gets_ploop_deltas)
{
    PlkDeleteResult result;
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_RAW, 0);
    volume_write(&v, "0a 9a");
    volume_snapshot(&v, GUID_1);
    volume_write(&v, "0b 5b");
    volume_expect(&v, NULL, "b....b...a");
    CHECK_OK(plk_snapshot_delete(v.xml, NULL, GUID_1, &result, NULL, &err), err);
    volume_expect(&v, NULL, "b....b...a");
    CHECK_INT(volume_files(&v), 2);
    volume_remove(&v);
}

/* The active state has some GUID of its own, as very old ploop wrote it. */
static void make_old(Volume *v)
{
    char text[8192];
    FILE *f = fopen(v->xml, "r+");
    size_t n = fread(text, 1, sizeof text - 1, f);

    text[n] = '\0';
    for (char *at = text; (at = strstr(at, GUID_TOP));)
        memcpy(at, GUID_3, strlen(GUID_3));
    rewind(f);
    CHECK_INT(fwrite(text, 1, n, f), n);
    fclose(f);
}

TEST(an_old_format_disk_is_refused_until_something_else_rewrites_it)
{
    PlkMergeSpec merge = {.struct_size = sizeof merge, .guid = GUID_2};
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    PlkSnapshotList list;
    PlkError err;
    Volume v;

    three_states(&v);
    make_old(&v);
    list_of(&v, &list);
    CHECK(list.old_format);
    plk_snapshot_list_clear(&list);
    CHECK_FAILS(plk_snapshot_create(v.xml, NULL, &spec, NULL, &err), err, PLK_ERROR_UNSUPPORTED);
    CHECK(strstr(err.message, "old format"));
    CHECK_FAILS(plk_snapshot_delete(v.xml, NULL, GUID_1, NULL, NULL, &err), err, PLK_ERROR_UNSUPPORTED);
    CHECK_FAILS(plk_snapshot_switch(v.xml, NULL, GUID_1, false, &err), err, PLK_ERROR_UNSUPPORTED);
    CHECK_OK(plk_snapshot_merge(v.xml, NULL, &merge, NULL, &err), err);
    volume_snapshot(&v, GUID_1);
    volume_expect(&v, GUID_1, "abcc.c");
    volume_expect(&v, GUID_2, "abab");
    volume_remove(&v);
}

/* ---- scratch ---- */

TEST(a_scratch_that_is_dropped_never_was)
{
    PlkScratch *scratch;
    PlkError err;
    Volume v;

    three_states(&v);
    CHECK_OK(plk_scratch_begin(v.xml, NULL, 0, &scratch, &err), err);
    disk_tag(plk_scratch_disk(scratch), 0, 'z');
    CHECK_INT(volume_files(&v), 4);
    plk_scratch_drop(scratch);
    volume_expect(&v, NULL, "abcc.c");
    volume_write(&v, "0x");
    volume_remove(&v);
}

TEST(a_scratch_that_is_committed_is_the_disk)
{
    PlkSnapshotList list;
    PlkScratch *scratch;
    PlkDisk *disk;
    PlkError err;
    Volume v;

    three_states(&v);
    CHECK_OK(plk_scratch_begin(v.xml, NULL, VOLUME_SECTORS * 2, &scratch, &err), err);
    disk_tag(plk_scratch_disk(scratch), 0, 'z');
    disk_tag(plk_scratch_disk(scratch), VOLUME_CLUSTERS + 1, 'z');
    CHECK_OK(plk_scratch_commit(scratch, NULL, &err), err);
    volume_expect(&v, NULL, "zbcc.c...........................................................z");
    disk = volume_open(&v, false, NULL);
    CHECK_INT(plk_disk_size(disk), 2ull * VOLUME_SECTORS * 512);
    CHECK_OK(plk_disk_close(disk, &err), err);
    volume_expect(&v, GUID_2, "abab");
    list_of(&v, &list);
    CHECK_INT(list.n, 3);
    plk_snapshot_list_clear(&list);
    CHECK_INT(volume_files(&v), 4);
    volume_remove(&v);
}

TEST_MAIN()
