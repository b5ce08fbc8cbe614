/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Merging: what is read afterwards, which clusters were reused, which files are left, and that it can be
 * stopped. */
#include <errno.h>

#include <ploopkit/resize.h>

#include "change/fold.h"
#include "change/operation.h"
#include "io/fault.h"
#include "volume.h"

/* The entry of a virtual cluster, as it stands in a version 2 file. */
static unsigned entry(Volume *v, const char *file, unsigned cluster)
{
    return (unsigned)volume_header(v, file, 64 + 4 * cluster);
}

/* base a, middle b, top c: each overlaps the one below */
static void three_levels(Volume *v, PlkFormat format, int version)
{
    volume_new(v, format, version);
    volume_write(v, "0a 5a 9a");
    volume_snapshot(v, GUID_1);
    volume_write(v, "5b 6b");
    volume_snapshot(v, GUID_2);
    volume_write(v, "6c 7c 0c");
}

#define MERGED "c....bcc.a"

static size_t count_states(Volume *v)
{
    PlkSnapshotList list;
    PlkError err;
    size_t n;

    CHECK_OK(plk_snapshot_list(v->xml, NULL, &list, &err), err);
    n = list.n;
    plk_snapshot_list_clear(&list);
    return n;
}

TEST(merging_everything_reuses_slots_and_appends_in_order)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .all = true};
    PlkError err;
    Volume v;

    three_levels(&v, PLK_FORMAT_EXPANDED, 2);
    CHECK_OK(plk_snapshot_merge(v.xml, NULL, &spec, NULL, &err), err);
    volume_expect(&v, NULL, MERGED);
    CHECK_INT(volume_files(&v), 2);
    CHECK_INT(count_states(&v), 1);
    CHECK_INT(entry(&v, "root.hds", 0), 1);
    CHECK_INT(entry(&v, "root.hds", 5), 2);
    CHECK_INT(entry(&v, "root.hds", 9), 3);
    CHECK_INT(entry(&v, "root.hds", 6), 4);
    CHECK_INT(entry(&v, "root.hds", 7), 5);
    CHECK_INT(volume_header(&v, "root.hds", 44), 0);
    volume_remove(&v);
}

TEST(the_default_is_the_active_state_into_its_parent)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec};
    PlkError err;
    Volume v;

    three_levels(&v, PLK_FORMAT_EXPANDED, 1);
    CHECK_OK(plk_snapshot_merge(v.xml, NULL, &spec, NULL, &err), err);
    CHECK_INT(count_states(&v), 2);
    volume_expect(&v, GUID_1, "a....a...a");
    volume_expect(&v, NULL, MERGED);
    volume_write(&v, "0z");
    volume_expect(&v, GUID_1, "a....a...a");
    volume_remove(&v);
}

TEST(a_range_keeps_the_lowest_file_and_the_uppermost_guid)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .guid = GUID_2, .down_to = GUID_1};
    PlkError err;
    Volume v;

    three_levels(&v, PLK_FORMAT_EXPANDED, 2);
    CHECK_OK(plk_snapshot_merge(v.xml, NULL, &spec, NULL, &err), err);
    CHECK_INT(count_states(&v), 2);
    volume_expect(&v, GUID_2, "a....bb..a");
    volume_expect(&v, NULL, MERGED);
    spec.guid = GUID_1;
    CHECK_FAILS(plk_snapshot_merge(v.xml, NULL, &spec, NULL, &err), err, PLK_ERROR_NO_SNAPSHOT);
    spec = (PlkMergeSpec){.struct_size = sizeof spec, .guid = GUID_2};
    CHECK_FAILS(plk_snapshot_merge(v.xml, NULL, &spec, NULL, &err), err, PLK_ERROR_ARGUMENT);
    volume_remove(&v);
}

TEST(a_new_file_takes_everything_and_names_later_deltas)
{
    char path[400];
    PlkMergeSpec spec = {.struct_size = sizeof spec, .all = true, .new_file = path};
    PlkError err;
    Volume v;

    three_levels(&v, PLK_FORMAT_RAW, 0);
    CHECK_OK(plk_snapshot_merge(v.xml, NULL, &(PlkMergeSpec){.struct_size = sizeof spec}, NULL, &err), err);
    snprintf(path, sizeof path, "%s", v.base);
    CHECK_FAILS(plk_snapshot_merge(v.xml, NULL, &spec, NULL, &err), err, PLK_ERROR_EXISTS);
    snprintf(path, sizeof path, "%s/new.hds", v.dir);
    CHECK_OK(plk_snapshot_merge(v.xml, NULL, &spec, NULL, &err), err);
    volume_expect(&v, NULL, MERGED);
    CHECK_INT(volume_files(&v), 2);
    CHECK(access(v.base, F_OK) < 0);
    CHECK_INT(entry(&v, "new.hds", 1), 0);
    volume_write(&v, "8d");
    volume_snapshot(&v, GUID_3);
    volume_expect(&v, GUID_3, "c....bccda");
    volume_remove(&v);
}

TEST(a_state_that_others_depend_on_is_not_merged_into)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .guid = GUID_2};
    PlkError err;
    Volume v;

    three_levels(&v, PLK_FORMAT_EXPANDED, 2);
    CHECK_OK(plk_snapshot_switch(v.xml, NULL, GUID_1, false, &err), err);
    CHECK_FAILS(plk_snapshot_merge(v.xml, NULL, &spec, NULL, &err), err, PLK_ERROR_ARGUMENT);
    CHECK(strstr(err.message, GUID_1));
    volume_expect(&v, GUID_2, "a....bb..a");
    volume_remove(&v);
}

TEST(zeros_in_the_child_hide_what_the_parent_has)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec};
    PlkDisk *disk;
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_EXPANDED, 2);
    volume_write(&v, "0a 1a 2a");
    volume_snapshot(&v, GUID_1);
    volume_snapshot(&v, GUID_2);
    disk = volume_open(&v, true, NULL);
    CHECK_INT(plk_disk_zero(disk, 0, 2 * VOLUME_CLUSTER_BYTES), 0);
    CHECK_OK(plk_disk_close(disk, &err), err);
    volume_expect(&v, NULL, "..a");
    CHECK_OK(plk_snapshot_merge(v.xml, NULL, &spec, NULL, &err), err);
    volume_expect(&v, NULL, "..a");
    volume_expect(&v, GUID_1, "aaa");
    CHECK_OK(plk_snapshot_merge(v.xml, NULL, &spec, NULL, &err), err);
    volume_expect(&v, NULL, "..a");
    volume_remove(&v);
}

/* ---- being stopped ---- */

static int stop_at_once(void *arg, const char *what, uint64_t done, uint64_t total)
{
    CHECK(done <= total);
    ++*(int *)arg;
    return 1;
}

static int count_calls(void *arg, const char *what, uint64_t done, uint64_t total)
{
    int *calls = arg;

    CHECK(done <= total);
    if (done == total)
        *calls = -1;
    return 0;
}

TEST(a_cancelled_merge_leaves_every_state_to_be_read_and_can_be_repeated)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .all = true};
    int calls = 0;
    PlkProgress stop = {stop_at_once, &calls}, count = {count_calls, &calls};
    PlkError err;
    Volume v;

    three_levels(&v, PLK_FORMAT_EXPANDED, 2);
    CHECK_FAILS(plk_snapshot_merge(v.xml, NULL, &spec, &stop, &err), err, PLK_ERROR_CANCELLED);
    CHECK(calls > 0);
    CHECK_INT(count_states(&v), 3);
    CHECK_INT(volume_files(&v), 4);
    CHECK_INT(volume_header(&v, "root.hds", 44), 0);
    volume_expect(&v, NULL, MERGED);
    CHECK_OK(plk_snapshot_merge(v.xml, NULL, &spec, &count, &err), err);
    CHECK_INT(calls, -1);
    volume_expect(&v, NULL, MERGED);
    volume_remove(&v);
}

/* ---- bare files ---- */

static void paths_of(Volume *v, char paths[3][400])
{
    PlkSnapshotList list;
    PlkError err;

    CHECK_OK(plk_snapshot_list(v->xml, NULL, &list, &err), err);
    for (size_t i = 0; i < 3; i++) /* descriptor order is base to top here */
        snprintf(paths[2 - i], 400, "%s", list.items[i].path);
    plk_snapshot_list_clear(&list);
}

static void expect_file(const char *path, bool raw, const char *head)
{
    PlkDiskOptions o = {.struct_size = sizeof o};
    Content content;
    PlkDisk *disk;
    PlkError err;

    CHECK_OK(plk_disk_open_images(&path, 1, raw, VOLUME_CLUSTER_SECTORS, &o, &disk, &err), err);
    disk_content(disk, content);
    CHECK_OK(plk_disk_close(disk, &err), err);
    CHECK(strncmp(content, head, strlen(head)) == 0);
}

static void merge_bare(PlkFormat format)
{
    char paths[3][400], new_path[400];
    const char *list[] = {paths[0], paths[1], paths[2]};
    bool raw = format == PLK_FORMAT_RAW;
    PlkError err;
    Volume v;

    three_levels(&v, format, 2);
    paths_of(&v, paths);
    snprintf(new_path, sizeof new_path, "%s/new", v.dir);
    CHECK_OK(plk_merge_files(list, 3, raw, new_path, NULL, &err), err);
    expect_file(new_path, false, MERGED);
    expect_file(paths[2], raw, "a....a...a");
    CHECK_FAILS(plk_merge_files(list, 3, raw, new_path, NULL, &err), err, PLK_ERROR_EXISTS);
    CHECK_OK(plk_merge_files(list, 3, raw, NULL, NULL, &err), err);
    expect_file(paths[2], raw, MERGED);
    CHECK_INT(volume_files(&v), 5);
    volume_remove(&v);
}

TEST(bare_files_merge_into_the_last_or_a_new_one)
{
    merge_bare(PLK_FORMAT_EXPANDED);
    merge_bare(PLK_FORMAT_RAW);
    merge_bare(PLK_FORMAT_PREALLOCATED);
}

/* ---- images that widen towards the top, cut short: from call `nth` on everything fails ---- */

#define WIDE_CLUSTERS (2 * VOLUME_CLUSTERS)

/* 64, 96 and 128 clusters */
static void three_sizes(Volume *v)
{
    PlkError err;

    volume_new(v, PLK_FORMAT_EXPANDED, 2);
    volume_write(v, "0a 5a 63a");
    volume_snapshot(v, GUID_1);
    CHECK_OK(plk_disk_grow(v->xml, NULL, VOLUME_SECTORS * 3 / 2, NULL, &err), err);
    volume_write(v, "5b 70b");
    volume_snapshot(v, GUID_2);
    CHECK_OK(plk_disk_grow(v->xml, NULL, WIDE_CLUSTERS * VOLUME_CLUSTER_SECTORS, NULL, &err), err);
    volume_write(v, "6c 100c");
}

static const struct {
    unsigned cluster;
    char tag;
} wide_tags[] = {{0, 'a'}, {5, 'b'}, {6, 'c'}, {63, 'a'}, {70, 'b'}, {100, 'c'}};

static void expect_wide(PlkDisk *disk, unsigned long nth)
{
    Content content, expected;
    PlkError err;

    memset(expected, '.', WIDE_CLUSTERS);
    expected[WIDE_CLUSTERS] = '\0';
    for (size_t i = 0; i < sizeof wide_tags / sizeof wide_tags[0]; i++)
        expected[wide_tags[i].cluster] = wide_tags[i].tag;
    disk_content(disk, content);
    CHECK_OK(plk_disk_close(disk, &err), err);
    if (strcmp(content, expected) != 0)
        test_fail(__FILE__, __LINE__, "call %lu: reads '%s'", nth, content);
}

static PlkDir *open_faulty(Volume *v, PlkFault *fault)
{
    PlkDir *real, *dir;

    CHECK_INT(plk_dir_open_fs(v->dir, NULL, &real), 0);
    CHECK_INT(plk_dir_wrap_fault(real, fault, &dir), 0);
    return dir;
}

static int merge_disk(Volume *v, PlkFault *fault, PlkError *err)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .all = true};
    PlkStore *store;
    int r;

    CHECK_OK(plk_store_open_dir(open_faulty(v, fault), "DiskDescriptor.xml", &store, err), *err);
    r = plk_store_lock(store, err);
    if (r == 0)
        r = plk_store_merge(store, &spec, NULL, err);
    plk_store_close(store);
    return r;
}

TEST(a_merge_of_three_sizes_cut_short_leaves_a_disk)
{
    PlkFault fault = {0};
    PlkError err;
    Volume v;
    unsigned long calls;

    three_sizes(&v);
    CHECK_OK(merge_disk(&v, &fault, &err), err);
    expect_wide(volume_open(&v, false, NULL), 0);
    CHECK_INT(volume_files(&v), 2);
    volume_remove(&v);
    calls = fault.seen;
    for (unsigned long nth = 1; nth <= calls; nth++) {
        three_sizes(&v);
        fault = (PlkFault){.nth = nth, .errnum = EIO, .sticky = true};
        (void)merge_disk(&v, &fault, &err);
        expect_wide(volume_open(&v, false, NULL), nth);
        fault = (PlkFault){0};
        if (count_states(&v) > 1)
            CHECK_OK(merge_disk(&v, &fault, &err), err);
        expect_wide(volume_open(&v, true, NULL), nth);
        volume_remove(&v);
    }
}

static int merge_into_base(Volume *v, char paths[3][400], PlkFault *fault, PlkError *err)
{
    char *names[3];
    PlkDir *dir = open_faulty(v, fault);
    int r;

    for (int i = 0; i < 3; i++)
        names[i] = strrchr(paths[i], '/') + 1;
    r = plk_dir_merge_files(dir, names, 3, false, NULL, NULL, NULL, err);
    plk_dir_close(dir);
    return r;
}

static PlkDisk *open_bare(char paths[3][400])
{
    const char *base_to_top[] = {paths[2], paths[1], paths[0]};
    PlkDiskOptions o = {.struct_size = sizeof o};
    PlkDisk *disk;
    PlkError err;

    CHECK_OK(plk_disk_open_images(base_to_top, 3, false, 0, &o, &disk, &err), err);
    return disk;
}

TEST(bare_files_of_three_sizes_cut_short_stay_a_disk)
{
    unsigned long nth = 0, calls = 0;
    char paths[3][400];
    PlkError err;
    Volume v;

    do {
        PlkFault fault = {.nth = nth, .errnum = EIO, .sticky = true}; /* nth 0: none, to count */

        three_sizes(&v);
        paths_of(&v, paths);
        if (merge_into_base(&v, paths, &fault, &err) < 0 && nth == 0)
            test_fail(__FILE__, __LINE__, "%s", err.message);
        calls = nth == 0 ? fault.seen : calls;
        expect_wide(open_bare(paths), nth);
        volume_remove(&v);
    } while (nth++ < calls);
}

TEST(bare_files_that_do_not_fit_stay_as_they_are)
{
    char paths[3][400];
    const char *wrong[] = {paths[1], paths[0], paths[2]};
    PlkError err;
    Volume v;

    three_sizes(&v);
    paths_of(&v, paths);
    CHECK_FAILS(plk_merge_files(wrong, 3, false, NULL, NULL, &err), err, PLK_ERROR_FORMAT);
    CHECK_INT(volume_header(&v, strrchr(paths[1], '/') + 1, 36), VOLUME_SECTORS * 3 / 2);
    CHECK_INT(volume_header(&v, strrchr(paths[2], '/') + 1, 36), VOLUME_SECTORS);
    expect_wide(open_bare(paths), 0);
    volume_remove(&v);
}

/* ---- swapping an image for its copy ---- */

static void copy_file(const char *from, const char *to)
{
    static char buf[1 << 20];
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    size_t n;

    CHECK(in && out);
    while ((n = fread(buf, 1, sizeof buf, in)) > 0)
        CHECK_INT(fwrite(buf, 1, n, out), n);
    fclose(in);
    CHECK_INT(fclose(out), 0);
}

TEST(a_copy_replaces_an_image_under_its_own_name_or_the_old)
{
    char copy[400];
    PlkReplaceSpec spec = {.struct_size = sizeof spec, .guid = GUID_1, .new_file = copy};
    PlkSnapshotList list;
    PlkError err;
    Volume v;

    three_levels(&v, PLK_FORMAT_EXPANDED, 2);
    snprintf(copy, sizeof copy, "%s/copy", v.dir);
    copy_file(v.base, copy);
    CHECK_OK(plk_image_replace(v.xml, NULL, &spec, &err), err);
    CHECK_OK(plk_snapshot_list(v.xml, NULL, &list, &err), err);
    CHECK_STR(list.items[0].path, copy);
    plk_snapshot_list_clear(&list);
    volume_expect(&v, NULL, MERGED);
    CHECK_FAILS(plk_image_replace(v.xml, NULL, &spec, &err), err, PLK_ERROR_ARGUMENT);

    spec = (PlkReplaceSpec){.struct_size = sizeof spec, .level = 0, .new_file = v.base, .keep_name = true};
    CHECK_OK(plk_image_replace(v.xml, NULL, &spec, &err), err);
    CHECK(access(v.base, F_OK) < 0);
    volume_expect(&v, NULL, MERGED);
    volume_remove(&v);
}

TEST(a_copy_that_can_not_be_made_durable_replaces_nothing)
{
    char copy[400];
    PlkReplaceSpec spec = {.struct_size = sizeof spec, .new_file = copy, .keep_name = true};
    PlkFault fault = {.point = PLK_POINT_DATA_SYNC, .nth = 1, .errnum = EIO};
    PlkDir *real, *dir;
    PlkStore *store;
    PlkError err;
    Volume v;

    three_levels(&v, PLK_FORMAT_EXPANDED, 2);
    snprintf(copy, sizeof copy, "%s/copy", v.dir);
    copy_file(v.base, copy);
    CHECK_INT(plk_dir_open_fs(v.dir, NULL, &real), 0);
    CHECK_INT(plk_dir_wrap_fault(real, &fault, &dir), 0);
    CHECK_OK(plk_store_open_dir(dir, "DiskDescriptor.xml", &store, &err), err);
    CHECK_OK(plk_store_lock(store, &err), err);
    CHECK_FAILS(plk_store_replace(store, &spec, &err), err, PLK_ERROR_SYNC);
    plk_store_close(store);
    CHECK_INT(access(copy, F_OK), 0);
    volume_expect(&v, NULL, MERGED);
    volume_remove(&v);
}

TEST(what_is_no_copy_replaces_nothing)
{
    char copy[400];
    PlkReplaceSpec spec = {.struct_size = sizeof spec, .new_file = copy};
    PlkError err;
    Volume v;

    three_levels(&v, PLK_FORMAT_EXPANDED, 2);
    spec.current_file = v.base;
    snprintf(copy, sizeof copy, "%s/copy", v.dir);
    copy_file(v.base, copy);
    CHECK_INT(truncate(copy, 65536), 0);
    CHECK_FAILS(plk_image_replace(v.xml, NULL, &spec, &err), err, PLK_ERROR_ARGUMENT);
    copy_file("/proc/self/exe", copy);
    CHECK_FAILS(plk_image_replace(v.xml, NULL, &spec, &err), err, PLK_ERROR_FORMAT);
    spec.level = 7;
    spec.current_file = NULL;
    CHECK_FAILS(plk_image_replace(v.xml, NULL, &spec, &err), err, PLK_ERROR_ARGUMENT);
    volume_expect(&v, NULL, MERGED);
    volume_remove(&v);
}

TEST_MAIN()
