/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks made, described anew, and turned into other formats and versions. */
#include <errno.h>
#include <fcntl.h>

#include "change/operation.h"
#include "io/fault.h"
#include "volume.h"

#define CONTENT "ab...c"

static void write_content(Volume *v)
{
    volume_write(v, "0a 1b 5c");
}

static void describe_files(Volume *v, char out[512])
{
    DIR *d = opendir(v->dir);
    size_t n = 0;

    out[0] = '\0';
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            n += (size_t)snprintf(out + n, 512 - n, "%s ", e->d_name);
    closedir(d);
}

static void expect_no_files(Volume *v)
{
    char files[512];

    describe_files(v, files);
    CHECK_STR(files, "");
}

/* ---- create ---- */

static int fill_a(PlkDisk *disk, void *arg, const PlkProgress *progress, PlkError *err)
{
    disk_tag(disk, 3, 'f');
    return 0;
}

static int fill_fails(PlkDisk *disk, void *arg, const PlkProgress *progress, PlkError *err)
{
    char files[512];

    disk_tag(disk, 3, 'f');
    describe_files(arg, files);
    if (*files) /* nobody may see the disk yet */
        return -1;
    err->code = PLK_ERROR_MKFS;
    return -1;
}

static PlkCreateSpec spec_of(PlkFormat format, int version)
{
    return (PlkCreateSpec){.struct_size = sizeof(PlkCreateSpec),
                           .size_sectors = VOLUME_SECTORS,
                           .cluster_sectors = VOLUME_CLUSTER_SECTORS,
                           .version = version,
                           .format = format};
}

TEST(a_new_disk_is_born_with_what_fill_put_into_it)
{
    for (int format = PLK_FORMAT_EXPANDED; format <= PLK_FORMAT_RAW; format++) {
        PlkCreateSpec spec = spec_of((PlkFormat)format, 2);
        PlkError err;
        Volume v;

        volume_place(&v);
        CHECK_OK(plk_disk_create(v.base, &spec, fill_a, NULL, "ext4", NULL, &err), err);
        volume_expect(&v, NULL, "...f");
        CHECK_INT(volume_files(&v), 2);
        volume_remove(&v);
    }
}

TEST(a_creation_that_fails_leaves_nothing)
{
    PlkCreateSpec spec = spec_of(PLK_FORMAT_EXPANDED, 2);
    PlkError err;
    Volume v;

    volume_place(&v);
    CHECK_FAILS(plk_disk_create(v.base, &spec, fill_fails, &v, "ext4", NULL, &err), err, PLK_ERROR_MKFS);
    expect_no_files(&v);
    spec.size_sectors = 10737418240ull; /* 5 TiB do not fit into version 1 */
    spec.version = 1;
    CHECK_FAILS(plk_disk_create(v.base, &spec, NULL, NULL, "none", NULL, &err), err, PLK_ERROR_ARGUMENT);
    spec = spec_of(PLK_FORMAT_EXPANDED, 2);
    spec.cluster_sectors = 100;
    CHECK_FAILS(plk_disk_create(v.base, &spec, NULL, NULL, "none", NULL, &err), err, PLK_ERROR_ARGUMENT);
    spec.size_sectors = 0;
    CHECK_FAILS(plk_disk_create(v.base, &spec, NULL, NULL, "none", NULL, &err), err, PLK_ERROR_ARGUMENT);
    expect_no_files(&v);
    volume_remove(&v);
}

TEST(what_exists_is_neither_overwritten_nor_removed)
{
    PlkCreateSpec spec = spec_of(PLK_FORMAT_EXPANDED, 2);
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_EXPANDED, 2);
    write_content(&v);
    CHECK_FAILS(plk_disk_create(v.base, &spec, NULL, NULL, "none", NULL, &err), err, PLK_ERROR_EXISTS);
    volume_expect(&v, NULL, CONTENT);
    CHECK_INT(unlink(v.xml), 0);
    CHECK_FAILS(plk_disk_create(v.base, &spec, NULL, NULL, "none", NULL, &err), err, PLK_ERROR_EXISTS);
    CHECK_OK(plk_descriptor_restore(v.dir, v.base, false, 0, NULL, &err), err);
    volume_expect(&v, NULL, CONTENT);
    volume_remove(&v);
}

TEST(small_disks_get_small_clusters)
{
    CHECK_INT(plk_default_cluster_sectors(16384), 64);
    CHECK_INT(plk_default_cluster_sectors(32768), 2048);
}

/* ---- the geometry note ---- */

TEST(a_wiped_volume_remembers_its_geometry)
{
    PlkCreateSpec spec = spec_of(PLK_FORMAT_PREALLOCATED, 1);
    PlkGeometryNote note;
    char lck[320];
    PlkError err;
    FILE *f;
    Volume v;

    volume_place(&v);
    CHECK_FAILS(plk_geometry_note_read(v.dir, "root.hds", &note, &err), err, PLK_ERROR_NOT_FOUND);
    CHECK_OK(plk_disk_create(v.base, &spec, NULL, NULL, "ext4", NULL, &err), err);
    CHECK_FAILS(plk_geometry_note_read(v.dir, "root.hds", &note, &err), err, PLK_ERROR_NOT_FOUND);
    CHECK_OK(plk_convert_version(v.xml, NULL, 2, NULL, &err), err);
    CHECK_INT(unlink(v.xml), 0);
    CHECK_FAILS(plk_geometry_note_read(v.dir, "root.hds", &note, &err), err, PLK_ERROR_NOT_FOUND);
    CHECK_INT(unlink(v.base), 0);
    CHECK_OK(plk_geometry_note_read(v.dir, "root.hds", &note, &err), err);
    CHECK_INT(note.size_sectors, VOLUME_SECTORS);
    CHECK_INT(note.cluster_sectors, VOLUME_CLUSTER_SECTORS);
    CHECK_INT(note.version, 2);
    CHECK_INT(note.format, PLK_FORMAT_PREALLOCATED);
    CHECK_STR(note.filesystem, "ext4");

    snprintf(lck, sizeof lck, "%s.lck", v.xml);
    f = fopen(lck, "r+"); /* a torn note is none */
    CHECK(f && ftruncate(fileno(f), 70) == 0);
    fclose(f);
    CHECK_FAILS(plk_geometry_note_read(v.dir, "root.hds", &note, &err), err, PLK_ERROR_NOT_FOUND);
    volume_remove(&v);
}

/* ---- restore ---- */

TEST(a_lost_descriptor_is_made_anew_for_the_base_alone)
{
    unsigned orphans;
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_EXPANDED, 1);
    write_content(&v);
    volume_snapshot(&v, GUID_1);
    volume_write(&v, "0z");
    CHECK_FAILS(plk_descriptor_restore(v.dir, v.base, false, 0, &orphans, &err), err, PLK_ERROR_EXISTS);
    CHECK_INT(unlink(v.xml), 0);
    CHECK_OK(plk_descriptor_restore(v.dir, v.base, false, 0, &orphans, &err), err);
    CHECK_INT(orphans, 1);
    volume_expect(&v, NULL, CONTENT);
    CHECK_INT(volume_files(&v), 3);
    volume_remove(&v);
}

TEST(a_raw_image_is_described_by_its_length)
{
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_RAW, 0);
    write_content(&v);
    CHECK_INT(unlink(v.xml), 0);
    CHECK_FAILS(plk_descriptor_restore(v.dir, v.base, true, 96, NULL, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_descriptor_restore(v.dir, v.base, false, 0, NULL, &err), err, PLK_ERROR_FORMAT);
    CHECK_OK(plk_descriptor_restore(v.dir, v.base, true, VOLUME_CLUSTER_SECTORS, NULL, &err), err);
    volume_expect(&v, NULL, CONTENT);
    CHECK_INT(unlink(v.xml), 0);
    CHECK_INT(truncate(v.base, 1000), 0);
    CHECK_FAILS(plk_descriptor_restore(v.dir, v.base, true, 0, NULL, &err), err, PLK_ERROR_ARGUMENT);
    volume_remove(&v);
}

/* ---- formats ---- */

static bool is_raw_file(Volume *v)
{
    return volume_header(v, "root.hds", 0) != 0x68746957; /* "With" */
}

TEST(every_format_becomes_every_other_under_the_same_name)
{
    for (int from = PLK_FORMAT_EXPANDED; from <= PLK_FORMAT_RAW; from++)
        for (int to = PLK_FORMAT_EXPANDED; to <= PLK_FORMAT_RAW; to++) {
            PlkError err;
            Volume v;

            volume_new(&v, (PlkFormat)from, 2);
            write_content(&v);
            CHECK_OK(plk_convert_format(v.xml, NULL, (PlkFormat)to, false, NULL, &err), err);
            volume_expect(&v, NULL, CONTENT);
            CHECK_INT(volume_files(&v), 2);
            CHECK_INT(is_raw_file(&v), to == PLK_FORMAT_RAW);
            volume_write(&v, "1z");
            volume_expect(&v, NULL, "az...c");
            if (to == PLK_FORMAT_PREALLOCATED)
                for (unsigned i = 0; i < VOLUME_CLUSTERS; i++)
                    CHECK(volume_header(&v, "root.hds", 64 + 4 * i) != 0);
            volume_remove(&v);
        }
}

TEST(a_disk_with_snapshots_keeps_its_format)
{
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_EXPANDED, 2);
    volume_snapshot(&v, GUID_1);
    CHECK_FAILS(plk_convert_format(v.xml, NULL, PLK_FORMAT_RAW, false, NULL, &err), err, PLK_ERROR_BUSY);
    volume_remove(&v);
}

/* ---- versions ---- */

static void chain_of_two(Volume *v, int version)
{
    volume_new(v, PLK_FORMAT_EXPANDED, version);
    write_content(v);
    volume_snapshot(v, GUID_1);
    volume_write(v, "1z 7z");
}

TEST(all_images_change_their_version_and_keep_their_data)
{
    for (int from = 1; from <= 2; from++) {
        PlkError err;
        Volume v;

        chain_of_two(&v, from);
        CHECK_OK(plk_convert_version(v.xml, NULL, from, NULL, &err), err);
        CHECK_OK(plk_convert_version(v.xml, NULL, 3 - from, NULL, &err), err);
        CHECK_INT(volume_header(&v, "root.hds", 64), from == 1 ? 1 : VOLUME_CLUSTER_SECTORS);
        CHECK_INT(volume_header(&v, "root.hds", 44), 0);
        CHECK_INT(volume_header(&v, "root.hds", 52) & PLK_FLAG_CONVERT, 0);
        CHECK_INT(volume_files(&v), 3);
        volume_expect(&v, NULL, "az...c.z");
        volume_expect(&v, GUID_1, CONTENT);
        volume_write(&v, "2y");
        volume_expect(&v, NULL, "azy..c.z");
        volume_remove(&v);
    }
}

/* ploop's flag for an image without a cluster of its own. */
TEST(a_new_version_says_empty_of_what_is)
{
    for (int from = 1; from <= 2; from++) {
        PlkError err;
        Volume v;

        volume_new(&v, PLK_FORMAT_EXPANDED, from);
        CHECK_INT(volume_header(&v, "root.hds", 52), PLK_FLAG_EMPTY);
        CHECK_OK(plk_convert_version(v.xml, NULL, 3 - from, NULL, &err), err);
        CHECK_INT(volume_header(&v, "root.hds", 52), PLK_FLAG_EMPTY);
        write_content(&v);
        CHECK_OK(plk_convert_version(v.xml, NULL, from, NULL, &err), err);
        CHECK_INT(volume_header(&v, "root.hds", 52), 0);
        volume_expect(&v, NULL, CONTENT);
        volume_remove(&v);
    }
}

TEST(raw_disks_have_no_version)
{
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_RAW, 0);
    CHECK_FAILS(plk_convert_version(v.xml, NULL, 2, NULL, &err), err, PLK_ERROR_UNSUPPORTED);
    CHECK_FAILS(plk_convert_version(v.xml, NULL, 3, NULL, &err), err, PLK_ERROR_ARGUMENT);
    volume_remove(&v);
}

/* ---- being interrupted: from call `nth` on everything fails, as if the machine had stopped ---- */

typedef int Operation(PlkStore *store, PlkError *err);

static int to_version_1(PlkStore *store, PlkError *err)
{
    return plk_store_convert_version(store, 1, NULL, err);
}

static int to_raw(PlkStore *store, PlkError *err)
{
    return plk_store_convert_format(store, PLK_FORMAT_RAW, false, NULL, err);
}

static int to_preallocated(PlkStore *store, PlkError *err)
{
    return plk_store_convert_format(store, PLK_FORMAT_PREALLOCATED, false, NULL, err);
}

static int to_expanded(PlkStore *store, PlkError *err)
{
    return plk_store_convert_format(store, PLK_FORMAT_EXPANDED, false, NULL, err);
}

static int run_operation(Volume *v, PlkFault *fault, Operation *op, PlkError *err)
{
    PlkDir *real, *dir;
    PlkStore *store;
    int r;

    CHECK_INT(plk_dir_open_fs(v->dir, NULL, &real), 0);
    CHECK_INT(plk_dir_wrap_fault(real, fault, &dir), 0);
    CHECK_OK(plk_store_open_dir(dir, "DiskDescriptor.xml", &store, err), *err);
    r = plk_store_lock(store, err);
    if (r == 0)
        r = op(store, err);
    plk_store_close(store);
    return r;
}

/* A reader recovers nothing: he gets the right bytes or is told to wait for a writer. */
static void read_before_recovery(Volume *v, const char *before, unsigned long nth)
{
    PlkDiskOptions o = {.struct_size = sizeof o};
    PlkDisk *disk;
    Content content;
    PlkError err;

    if (plk_disk_open(v->xml, &o, &disk, &err) < 0) {
        if (err.code != PLK_ERROR_DIRTY && err.code != PLK_ERROR_FORMAT)
            test_fail(__FILE__, __LINE__, "call %lu: a reader is told '%s'", nth, err.message);
        return;
    }
    disk_content(disk, content);
    CHECK_OK(plk_disk_close(disk, &err), err);
    if (strcmp(before, content) != 0)
        test_fail(__FILE__, __LINE__, "call %lu: a reader gets '%s', expected '%s'", nth, content, before);
}

static void survive(void (*make)(Volume *), Operation *op, bool sticky)
{
    PlkFault fault = {0};
    unsigned long calls;
    Content before, after;
    PlkError err;
    Volume v;

    make(&v);
    volume_content(&v, NULL, before);
    CHECK_OK(run_operation(&v, &fault, op, &err), err);
    volume_remove(&v);
    calls = fault.seen;
    for (unsigned long nth = 1; nth <= calls; nth++) {
        make(&v);
        fault = (PlkFault){.nth = nth, .errnum = EIO, .sticky = sticky};
        (void)run_operation(&v, &fault, op, &err);
        read_before_recovery(&v, before, nth);
        volume_write(&v, "9q"); /* the next user, whatever state the disk is in */
        volume_content(&v, NULL, after);
        if (after[9] != 'q' || (after[9] = before[9], strcmp(before, after) != 0))
            test_fail(__FILE__, __LINE__, "call %lu of %lu: reads '%s', expected '%s'", nth, calls, after,
                      before);
        fault = (PlkFault){0};
        CHECK_OK(run_operation(&v, &fault, op, &err), err);
        volume_content(&v, NULL, after);
        CHECK(after[9] == 'q');
        volume_remove(&v);
    }
}

static void make_chain(Volume *v)
{
    chain_of_two(v, 2);
}

static void make_expanded(Volume *v)
{
    volume_new(v, PLK_FORMAT_EXPANDED, 2);
    write_content(v);
}

static void make_raw(Volume *v)
{
    volume_new(v, PLK_FORMAT_RAW, 2);
    write_content(v);
}

TEST(an_interrupted_version_conversion_loses_nothing)
{
    survive(make_chain, to_version_1, false);
    survive(make_chain, to_version_1, true);
}

TEST(an_interrupted_format_conversion_loses_nothing)
{
    survive(make_expanded, to_raw, false);
    survive(make_expanded, to_raw, true);
    survive(make_raw, to_expanded, true);
    survive(make_raw, to_preallocated, true);
    survive(make_expanded, to_preallocated, true);
}

TEST_MAIN()
