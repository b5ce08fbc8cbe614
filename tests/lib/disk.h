/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk of one image in a directory of its own, for tests above disk/. */
#pragma once

#include <dirent.h>
#include <unistd.h>

#include "disk/disk.h"
#include "test.h"

typedef struct TestDisk {
    char dir[64], image[80];
    PlkDisk *disk;
} TestDisk;

static void __attribute__((unused)) test_disk_open(TestDisk *t)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .writable = true};
    const char *path = t->image;
    PlkError err;

    CHECK_OK(plk_disk_open_images(&path, 1, false, 0, &options, &t->disk, &err), err);
}

static void __attribute__((unused)) test_disk_make(TestDisk *t, uint64_t bytes, uint32_t cluster_sectors)
{
    PlkImageSpec spec = {.version = 2, .size_sectors = bytes / 512, .cluster_sectors = cluster_sectors};
    PlkError err;
    PlkDir *dir;
    PlkIo *io;

    snprintf(t->dir, sizeof t->dir, "%s/plk-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    CHECK(mkdtemp(t->dir));
    snprintf(t->image, sizeof t->image, "%s/root.hds", t->dir);
    CHECK_INT(plk_dir_open_fs(t->dir, NULL, &dir), 0);
    CHECK_INT(plk_dir_open_file(dir, "root.hds", PLK_OPEN_CREATE | PLK_OPEN_EXCLUSIVE, 0600, &io), 0);
    CHECK_OK(plk_image_create(io, &spec, NULL, &err), err);
    plk_io_close(io);
    plk_dir_close(dir);
    test_disk_open(t);
}

/* Names in the directory, so that a test can say that nothing was left behind. */
static int __attribute__((unused)) test_disk_files(const TestDisk *t)
{
    DIR *d = opendir(t->dir);
    int n = 0;

    CHECK(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void __attribute__((unused)) test_disk_end(TestDisk *t)
{
    PlkError err;

    CHECK_OK(plk_disk_close(t->disk, &err), err);
    CHECK_INT(unlink(t->image), 0);
    CHECK_INT(rmdir(t->dir), 0);
}
