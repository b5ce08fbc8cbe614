/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole volumes: resize, reclaim and check as their users call them, with and without snapshots. */
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ploopkit/filesystem.h>
#include <ploopkit/resize.h>
#include <ploopkit/snapshot.h>

#include "filesystem/ext4-io.h"
#include "filesystem/partition.h"
#include "test.h"

#define MIB (1024ull * 1024)

typedef struct Volume {
    char dir[64], base[80];
} Volume;

static void make(Volume *v, uint64_t mib, bool formatted)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec, .size_sectors = mib * 2048, .cluster_sectors = 256};
    PlkMkfsSpec mkfs = {.struct_size = sizeof mkfs};
    PlkError err;

    snprintf(v->dir, sizeof v->dir, "%s/plk-vol-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    CHECK(mkdtemp(v->dir));
    snprintf(v->base, sizeof v->base, "%s/root.hds", v->dir);
    CHECK_OK(plk_disk_create(v->base, &spec, formatted ? plk_mkfs_fill : NULL, &mkfs, "ext4", NULL, &err),
             err);
}

static int count_images(const Volume *v)
{
    DIR *d = opendir(v->dir);
    struct dirent *e;
    int n = 0;

    while ((e = readdir(d)))
        n += strncmp(e->d_name, "root.hds", 8) == 0;
    closedir(d);
    return n;
}

static void end(Volume *v)
{
    DIR *d = opendir(v->dir);
    struct dirent *e;

    while ((e = readdir(d)))
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    CHECK_INT(rmdir(v->dir), 0);
}

static PlkDisk *open_disk(const Volume *v, bool writable)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .writable = writable};
    PlkDisk *disk;
    PlkError err;

    CHECK_OK(plk_disk_open(v->dir, &options, &disk, &err), err);
    return disk;
}

static void close_disk(PlkDisk *disk)
{
    PlkError err;

    CHECK_OK(plk_disk_close(disk, &err), err);
}

/* Device and filesystem have these sizes, and e2fsck agrees. */
static void check_sizes(const Volume *v, uint64_t device, uint64_t filesystem)
{
    PlkDisk *disk = open_disk(v, false);
    PlkFsUsage usage;
    PlkError err;

    CHECK_INT(plk_disk_size(disk), device);
    CHECK_OK(plk_filesystem_usage(disk, &usage, &err), err);
    CHECK_INT(usage.blocks * usage.block_bytes, filesystem);
    close_disk(disk);
    CHECK_OK(plk_filesystem_check(v->dir, NULL, false, NULL, &err), err);
}

static int resize(const Volume *v, uint64_t bytes, bool device, PlkError *err)
{
    PlkResizeSpec spec = {.struct_size = sizeof spec, .size_sectors = bytes / 512, .shrink_device = device};

    return plk_filesystem_resize(v->dir, NULL, &spec, NULL, err);
}

#define CLUSTER (128 * 1024ull)
#define PARTITION(device) ((device)-2 * CLUSTER)

TEST(grow_takes_partition_and_filesystem_along)
{
    Volume v;
    PlkError err;

    make(&v, 64, true);
    check_sizes(&v, 64 * MIB, PARTITION(64 * MIB));
    CHECK_OK(resize(&v, 200 * MIB, false, &err), err);
    check_sizes(&v, 200 * MIB, PARTITION(200 * MIB));
    CHECK_INT(count_images(&v), 1);
    end(&v);
}

TEST(smaller_size_shrinks_the_filesystem_and_keeps_the_device)
{
    Volume v;
    PlkError err;

    make(&v, 200, true);
    CHECK_OK(resize(&v, 100 * MIB, false, &err), err);
    check_sizes(&v, 200 * MIB, 100 * MIB - 4 * CLUSTER);
    CHECK_OK(resize(&v, 150 * MIB, false, &err), err);
    check_sizes(&v, 200 * MIB, 150 * MIB - 4 * CLUSTER);
    end(&v);
}

TEST(device_shrinks_on_demand)
{
    Volume v;
    PlkError err;

    make(&v, 200, true);
    CHECK_OK(resize(&v, 100 * MIB, true, &err), err);
    check_sizes(&v, 100 * MIB, 100 * MIB - 4 * CLUSTER);
    CHECK_OK(resize(&v, 120 * MIB, false, &err), err);
    check_sizes(&v, 120 * MIB, PARTITION(120 * MIB));
    end(&v);
}

TEST(shrinking_gives_the_tail_back)
{
    Volume v;
    PlkError err;
    PlkDisk *disk;
    PlkExtent extent;
    char junk[4096] = "junk";

    make(&v, 200, true);
    disk = open_disk(&v, true);
    CHECK_INT(plk_disk_write(disk, junk, sizeof junk, 150 * MIB), 0);
    close_disk(disk);
    CHECK_OK(resize(&v, 100 * MIB, false, &err), err);
    disk = open_disk(&v, false);
    CHECK_INT(plk_disk_status(disk, 150 * MIB, 4096, &extent), 0);
    CHECK_INT(extent.kind, PLK_EXTENT_UNALLOCATED);
    close_disk(disk);
    end(&v);
}

TEST(snapshots_allow_growing_and_forbid_cutting)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    Volume v;
    PlkError err;

    make(&v, 64, true);
    CHECK_OK(plk_snapshot_create(v.dir, NULL, &spec, NULL, &err), err);
    CHECK_FAILS(resize(&v, 32 * MIB, true, &err), err, PLK_ERROR_BUSY);
    check_sizes(&v, 64 * MIB, PARTITION(64 * MIB));
    CHECK_OK(resize(&v, 100 * MIB, false, &err), err);
    check_sizes(&v, 100 * MIB, PARTITION(100 * MIB));
    CHECK_OK(resize(&v, 60 * MIB, false, &err), err);
    check_sizes(&v, 100 * MIB, 60 * MIB - 4 * CLUSTER);
    CHECK_INT(count_images(&v), 2);
    end(&v);
}

TEST(impossible_sizes_change_nothing)
{
    Volume v;
    PlkError err;

    make(&v, 64, true);
    CHECK_FAILS(resize(&v, 4 * CLUSTER, false, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(resize(&v, 5 * CLUSTER, false, &err), err, PLK_ERROR_RESIZE_FS);
    check_sizes(&v, 64 * MIB, PARTITION(64 * MIB));
    CHECK_INT(count_images(&v), 1);
    end(&v);
}

TEST(unformatted_disk_points_to_grow)
{
    Volume v;
    PlkError err;

    make(&v, 64, false);
    CHECK_FAILS(resize(&v, 128 * MIB, false, &err), err, PLK_ERROR_UNSUPPORTED);
    CHECK(strstr(err.message, "ploop grow"));
    end(&v);
}

static uint64_t image_bytes(const Volume *v)
{
    struct stat st;

    CHECK_INT(stat(v->base, &st), 0);
    return (uint64_t)st.st_size;
}

/* Junk where the filesystem has nothing, as deleted files leave it. */
static void litter(const Volume *v)
{
    PlkDisk *disk = open_disk(v, true);
    static char junk[MIB];

    memset(junk, 'j', sizeof junk);
    for (int i = 0; i < 20; i++)
        CHECK_INT(plk_disk_write(disk, junk, sizeof junk, (40 + (uint64_t)i) * MIB), 0);
    close_disk(disk);
}

TEST(reclaim_gives_back_what_the_filesystem_does_not_use)
{
    PlkReclaim got;
    Volume v;
    PlkError err;
    uint64_t before;

    make(&v, 64, true);
    before = image_bytes(&v);
    litter(&v);
    CHECK(image_bytes(&v) >= before + 20 * MIB);
    CHECK_OK(plk_filesystem_reclaim(v.dir, NULL, &got, NULL, &err), err);
    CHECK(got.discarded >= 20 * MIB);
    CHECK(image_bytes(&v) <= before);
    check_sizes(&v, 64 * MIB, PARTITION(64 * MIB));
    end(&v);
}

TEST(reclaim_leaves_what_only_a_snapshot_holds)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    PlkReclaim got;
    Volume v;
    PlkError err;
    PlkDisk *disk;
    char byte;

    make(&v, 64, true);
    litter(&v);
    CHECK_OK(plk_snapshot_create(v.dir, NULL, &spec, NULL, &err), err);
    CHECK_OK(plk_filesystem_reclaim(v.dir, NULL, &got, NULL, &err), err);
    CHECK_INT(got.discarded, 0);
    disk = open_disk(&v, false);
    CHECK_INT(plk_disk_read(disk, &byte, 1, 45 * MIB), 0);
    CHECK_INT(byte, 'j');
    close_disk(disk);
    end(&v);
}

/* Changes the filesystem as a kernel would, checksums and all. */
static void spoil(const Volume *v, void (*change)(ext2_filsys fs))
{
    PlkDisk *disk = open_disk(v, true);
    PlkPartition part;
    PlkError err;
    ext2_filsys fs;

    CHECK_OK(plk_partition_find(disk, &part, &err), err);
    CHECK_OK(plk_ext4_open(disk, &part, true, &fs, &err), err);
    CHECK_OK(plk_ext4_read_bitmaps(fs, true, &err), err);
    change(fs);
    ext2fs_mark_super_dirty(fs);
    CHECK_OK(plk_ext4_close(fs, &err), err);
    close_disk(disk);
}

static void not_unmounted(ext2_filsys fs)
{
    fs->super->s_state &= (uint16_t)~EXT2_VALID_FS;
}

static void wrong_count(ext2_filsys fs)
{
    struct ext2_inode inode;

    CHECK_INT(ext2fs_read_inode(fs, EXT2_ROOT_INO, &inode), 0);
    inode.i_links_count += 5;
    CHECK_INT(ext2fs_write_inode(fs, EXT2_ROOT_INO, &inode), 0);
}

TEST(reclaim_of_a_filesystem_not_unmounted_is_refused_until_repaired)
{
    PlkReclaim got;
    Volume v;
    PlkError err;

    make(&v, 64, true);
    spoil(&v, not_unmounted);
    CHECK_FAILS(plk_filesystem_reclaim(v.dir, NULL, &got, NULL, &err), err, PLK_ERROR_DIRTY);
    CHECK_OK(plk_filesystem_check(v.dir, NULL, true, NULL, &err), err);
    CHECK_OK(plk_filesystem_reclaim(v.dir, NULL, &got, NULL, &err), err);
    end(&v);
}

TEST(check_finds_and_repairs)
{
    Volume v;
    PlkError err;

    make(&v, 64, true);
    spoil(&v, wrong_count);
    CHECK_FAILS(plk_filesystem_check(v.dir, NULL, false, NULL, &err), err, PLK_ERROR_FSCK);
    CHECK(strstr(err.message, "Inode 2 ref count"));
    CHECK_OK(plk_filesystem_check(v.dir, NULL, true, NULL, &err), err);
    CHECK_OK(plk_filesystem_check(v.dir, NULL, false, NULL, &err), err);
    CHECK_INT(count_images(&v), 1);
    end(&v);
}

TEST(check_of_no_filesystem_is_not_found)
{
    Volume v;
    PlkError err;

    make(&v, 64, false);
    CHECK_FAILS(plk_filesystem_check(v.dir, NULL, false, NULL, &err), err, PLK_ERROR_NOT_FOUND);
    CHECK_FAILS(plk_filesystem_check(v.dir, NULL, true, NULL, &err), err, PLK_ERROR_NOT_FOUND);
    CHECK_INT(count_images(&v), 1);
    end(&v);
}

static int stop(void *arg, const char *what, uint64_t done, uint64_t total)
{
    return 1;
}

TEST(cancelled_resize_leaves_the_disk_as_it_was)
{
    PlkResizeSpec spec = {.struct_size = sizeof spec, .size_sectors = 200 * 2048};
    PlkProgress progress = {.update = stop};
    Volume v;
    PlkError err;

    make(&v, 64, true);
    if (plk_filesystem_resize(v.dir, NULL, &spec, &progress, &err) < 0) {
        CHECK_INT(err.code, PLK_ERROR_CANCELLED);
        check_sizes(&v, 64 * MIB, PARTITION(64 * MIB));
    }
    CHECK_INT(count_images(&v), 1);
    end(&v);
}

TEST_MAIN()
