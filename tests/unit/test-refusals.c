/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What makes no sense is refused with words that name it, and changes nothing. */
#include <fcntl.h>

#include <ploopkit/check.h>

#include "volume.h"

static void refused(int r, const PlkError *err, PlkErrorCode code, const char *words)
{
    CHECK_INT(r, -1);
    if (err->code != code || !strstr(err->message, words))
        test_fail(__FILE__, __LINE__, "error %d, '%s'; wanted %d, '%s'", err->code, err->message, code,
                  words);
}

static Volume chain(void)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = GUID_1};
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_EXPANDED, 2);
    volume_write(&v, "0a");
    CHECK_OK(plk_snapshot_create(v.xml, NULL, &spec, NULL, &err), err);
    volume_write(&v, "1b");
    return v;
}

static void file_of_bytes(Volume *v, const char *name, off_t bytes, char path[400])
{
    int fd;

    snprintf(path, 400, "%s/%s", v->dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, bytes) == 0 && close(fd) == 0);
}

static int find_nothing(void *arg, const PlkFinding *f)
{
    return 0;
}

/* ---- opening ---- */

TEST(a_disk_of_no_or_too_many_images)
{
    const char *paths[200];
    PlkDisk *disk;
    PlkError err;
    Volume v = chain();

    for (size_t i = 0; i < 200; i++)
        paths[i] = v.base;
    refused(plk_disk_open_images(paths, 0, false, 0, NULL, &disk, &err), &err, PLK_ERROR_ARGUMENT,
            "0 images");
    refused(plk_disk_open_images(paths, 200, false, 0, NULL, &disk, &err), &err, PLK_ERROR_ARGUMENT,
            "200 images");
    volume_remove(&v);
}

TEST(images_that_are_not_there)
{
    const char *paths[2] = {"/nonexistent/root.hds", "/proc/self/mem/x"};
    PlkDisk *disk;
    PlkError err;

    refused(plk_disk_open_images(paths, 1, false, 0, NULL, &disk, &err), &err, PLK_ERROR_NOT_FOUND, paths[0]);
    refused(plk_disk_open_images(paths + 1, 1, false, 0, NULL, &disk, &err), &err, PLK_ERROR_OPEN, paths[1]);
}

TEST(a_raw_base_without_its_cluster_size_has_the_usual_one)
{
    PlkDiskOptions o = {.struct_size = sizeof o};
    const char *paths[1];
    char path[400];
    PlkDisk *disk;
    PlkError err;
    Volume v = chain();

    file_of_bytes(&v, "raw", 4 << 20, path);
    paths[0] = path;
    CHECK_OK(plk_disk_open_images(paths, 1, true, 0, &o, &disk, &err), err);
    CHECK_INT(plk_disk_cluster(disk), 1 << 20);
    CHECK_OK(plk_disk_close(disk, &err), err);
    volume_remove(&v);
}

TEST(a_snapshot_is_opened_by_its_guid_and_to_be_read)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .snapshot = "yesterday"};
    PlkDisk *disk;
    PlkError err;
    Volume v = chain();

    refused(plk_disk_open(v.xml, &o, &disk, &err), &err, PLK_ERROR_ARGUMENT, "'yesterday'");
    o.snapshot = GUID_1;
    o.writable = true;
    refused(plk_disk_open(v.xml, &o, &disk, &err), &err, PLK_ERROR_ARGUMENT, "read-only");
    o.writable = false;
    o.snapshot = GUID_2;
    refused(plk_disk_open(v.xml, &o, &disk, &err), &err, PLK_ERROR_NO_SNAPSHOT, GUID_2);
    volume_remove(&v);
}

/* ---- checking ---- */

TEST(checks_of_states_that_are_not_there)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .snapshot = "yesterday"};
    PlkCheckResult result;
    PlkError err;
    Volume v = chain();

    refused(plk_check_disk(v.xml, &o, find_nothing, NULL, NULL, &result, &err), &err, PLK_ERROR_ARGUMENT,
            "'yesterday'");
    o.snapshot = GUID_2;
    refused(plk_check_disk(v.xml, &o, find_nothing, NULL, NULL, &result, &err), &err, PLK_ERROR_NO_SNAPSHOT,
            GUID_2);
    o.snapshot = GUID_1;
    CHECK_OK(plk_check_disk(v.xml, &o, find_nothing, NULL, NULL, &result, &err), err);
    CHECK_INT(result.left, 0);
    volume_remove(&v);
}

TEST(a_raw_image_is_checked_with_its_cluster_size)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .raw = true};
    PlkCheckResult result;
    char path[400];
    PlkError err;
    Volume v = chain();

    file_of_bytes(&v, "raw", (4 << 20) + 512, path);
    refused(plk_check_image(path, &o, find_nothing, NULL, NULL, &result, &err), &err, PLK_ERROR_ARGUMENT,
            "cluster size");
    o.cluster_sectors = 64;
    CHECK_OK(plk_check_image(path, &o, find_nothing, NULL, NULL, &result, &err), err);
    CHECK_INT(result.found[PLK_FINDING_INFO], 1); /* it ends within a cluster */
    volume_remove(&v);
}

TEST(a_clean_image_may_be_believed)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .skip_clean = true, .repair = PLK_REPAIR_LOSSLESS};
    PlkCheckResult result;
    PlkError err;
    Volume v = chain();

    CHECK_OK(plk_check_image(v.base, &o, find_nothing, NULL, NULL, &result, &err), err);
    CHECK(result.skipped);
    refused(plk_check_image("/nonexistent", &o, find_nothing, NULL, NULL, &result, &err), &err,
            PLK_ERROR_OPEN, "/nonexistent");
    volume_remove(&v);
}

/* A callback that says no ends the check there and then, wherever in the file it is. */
static int enough(void *arg, const PlkFinding *f)
{
    unsigned *left = arg;

    return --*left == 0 ? -1 : 0;
}

TEST(a_check_ends_when_its_listener_has_had_enough)
{
    static const uint8_t bad[] = {0xff, 0xff, 0, 0};
    PlkCheckOptions o = {.struct_size = sizeof o, .sparse = true};
    PlkCheckResult result;
    unsigned said, left = 1000;
    PlkError err;
    Volume v = chain();
    int fd = open(v.base, O_RDWR | O_CLOEXEC);

    CHECK(pwrite(fd, "Ynot", 4, 44) == 4 && pwrite(fd, bad, 4, 64 + 4 * 9) == 4);
    CHECK(pwrite(fd, "\x01\0\0\0\x01\0\0\0", 8, 64 + 4 * 11) == 8);
    CHECK(pwrite(fd, "tail", 4, 5 << 20) == 4 && close(fd) == 0);
    CHECK_OK(plk_check_image(v.base, &o, enough, &left, NULL, &result, &err), err);
    said = 1000 - left;
    CHECK(said > 3);
    for (unsigned n = 1; n <= said; n++) {
        left = n;
        CHECK_INT(plk_check_image(v.base, &o, enough, &left, NULL, &result, &err), -1);
        CHECK_INT(left, 0);
    }
    volume_remove(&v);
}

/* ---- replacing ---- */

static void replace_refused(Volume *v, PlkReplaceSpec spec, PlkErrorCode code, const char *words)
{
    PlkError err;

    spec.struct_size = sizeof spec;
    refused(plk_image_replace(v->xml, NULL, &spec, &err), &err, code, words);
    volume_expect(v, NULL, "ab");
}

static void copy_file(const char *from, const char *to)
{
    static char buf[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t n;

    CHECK(in >= 0 && out >= 0);
    while ((n = read(in, buf, sizeof buf)) > 0)
        CHECK_INT(write(out, buf, (size_t)n), n);
    close(in);
    close(out);
}

TEST(what_is_to_be_replaced_must_be_there)
{
    char copy[400], other[400];
    Volume v = chain();

    file_of_bytes(&v, "copy.hds", 0, copy);
    copy_file(v.base, copy);
    snprintf(other, sizeof other, "%s/other.hds", v.dir);
    replace_refused(&v, (PlkReplaceSpec){.new_file = copy, .level = 2}, PLK_ERROR_ARGUMENT, "level 2");
    replace_refused(&v, (PlkReplaceSpec){.new_file = copy, .level = -1}, PLK_ERROR_ARGUMENT, "level -1");
    replace_refused(&v, (PlkReplaceSpec){.new_file = copy, .guid = GUID_2}, PLK_ERROR_NO_SNAPSHOT, GUID_2);
    replace_refused(&v, (PlkReplaceSpec){.new_file = copy, .guid = "x"}, PLK_ERROR_ARGUMENT, "x");
    replace_refused(&v, (PlkReplaceSpec){.new_file = copy, .current_file = other}, PLK_ERROR_ARGUMENT,
                    "other.hds");
    volume_remove(&v);
}

TEST(an_image_is_replaced_by_whichever_name_it_has)
{
    const char *names[] = {"root.hds", "../../../../../../../../dev/shm/x", NULL};
    char copy[400];
    Volume v = chain();
    PlkError err;

    file_of_bytes(&v, "copy.hds", 0, copy);
    copy_file(v.base, copy);
    replace_refused(&v, (PlkReplaceSpec){.new_file = copy, .current_file = names[1]}, PLK_ERROR_ARGUMENT,
                    "x");
    CHECK_OK(plk_image_replace(v.xml, NULL,
                               &(PlkReplaceSpec){.struct_size = sizeof(PlkReplaceSpec),
                                                 .new_file = copy,
                                                 .current_file = names[0]},
                               &err),
             err);
    volume_expect(&v, NULL, "ab");
    CHECK_INT(unlink(v.base), 0);
    volume_expect(&v, NULL, "ab");
    volume_remove(&v);
}

TEST(only_a_sound_copy_takes_the_place_of_an_image)
{
    static const uint8_t bad[] = {0xff, 0xff, 0, 0};
    char copy[400];
    Volume v = chain();
    int fd;

    file_of_bytes(&v, "copy.hds", 0, copy);
    copy_file(v.base, copy);
    fd = open(copy, O_RDWR | O_CLOEXEC);
    CHECK(pwrite(fd, bad, 4, 64 + 4 * 9) == 4);
    replace_refused(&v, (PlkReplaceSpec){.new_file = copy, .guid = GUID_1}, PLK_ERROR_FORMAT, "copy.hds");
    CHECK_INT(ftruncate(fd, 1 << 15), 0);
    replace_refused(&v, (PlkReplaceSpec){.new_file = copy, .guid = GUID_1}, PLK_ERROR_ARGUMENT,
                    "is not a copy");
    close(fd);
    volume_remove(&v);
}

/* ---- a descriptor for an image ---- */

TEST(raw_images_that_no_cluster_size_divides)
{
    static const struct {
        off_t bytes;
        uint32_t cluster;
        const char *words;
    } cases[] = {
        {0, 0, "blocksize"},
        {0, 64, "0 bytes"},
        {(1 << 20) + 512, 0, "blocksize"},
        {(1 << 20) + 512, 64, "whole clusters"},
        {1 << 20, 63, "blocksize"},
    };
    char path[400];
    unsigned orphans;
    PlkError err;
    Volume v;

    volume_place(&v);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        file_of_bytes(&v, "raw", cases[i].bytes, path);
        refused(plk_descriptor_restore(v.dir, path, true, cases[i].cluster, &orphans, &err), &err,
                PLK_ERROR_ARGUMENT, cases[i].words);
        CHECK(access(v.xml, F_OK) < 0);
    }
    refused(plk_descriptor_restore("/nonexistent", path, true, 0, &orphans, &err), &err, PLK_ERROR_NOT_FOUND,
            "/nonexistent");
    refused(plk_descriptor_restore(v.dir, "/nonexistent/x", true, 0, &orphans, &err), &err,
            PLK_ERROR_NOT_FOUND, "x");
    volume_remove(&v);
}

TEST_MAIN()
