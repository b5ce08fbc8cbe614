/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes and checks of whole disks with their descriptor, on the real file system. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ploopkit/check.h>
#include <ploopkit/create.h>
#include <ploopkit/resize.h>
#include <ploopkit/snapshot.h>

#include "test.h"

#define MIB 2048u /* sectors */
#define BYTES (1u << 20)

static PlkError err;
static char dir[128], base[160];

static PlkDisk *open_disk(void)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .writable = true};
    PlkDisk *disk;

    CHECK_OK(plk_disk_open(dir, &options, &disk, &err), err);
    return disk;
}

static void put(uint64_t offset, int byte)
{
    static uint8_t buf[65536];
    PlkDisk *disk = open_disk();

    memset(buf, byte, sizeof buf);
    CHECK_INT(plk_disk_write(disk, buf, sizeof buf, offset), 0);
    CHECK_OK(plk_disk_close(disk, &err), err);
}

static void check_byte(uint64_t offset, int byte)
{
    PlkDisk *disk = open_disk();
    uint8_t b;

    CHECK_INT(plk_disk_read(disk, &b, 1, offset), 0);
    CHECK_INT(b, byte);
    CHECK_OK(plk_disk_close(disk, &err), err);
}

static uint64_t disk_size(void)
{
    PlkDisk *disk = open_disk();
    uint64_t size = plk_disk_size(disk);

    CHECK_OK(plk_disk_close(disk, &err), err);
    return size;
}

/* 8 MiB in clusters of 64 KiB; the first and the last 64 KiB hold data. */
static void make_disk(PlkFormat format)
{
    PlkCreateSpec spec = {
        .struct_size = sizeof spec, .size_sectors = 8 * MIB, .cluster_sectors = 128, .format = format};

    snprintf(dir, sizeof dir, "%s/plk-resize-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    CHECK(mkdtemp(dir));
    snprintf(base, sizeof base, "%s/root.hds", dir);
    CHECK_OK(plk_disk_create(base, &spec, NULL, NULL, "none", NULL, &err), err);
    put(0, 1);
    put(8 * BYTES - 65536, 2);
}

static void remove_disk(void)
{
    DIR *d = opendir(dir);
    struct dirent *entry;

    CHECK(d);
    while ((entry = readdir(d)))
        unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    CHECK_INT(rmdir(dir), 0);
}

static int note_kind(void *arg, const PlkFinding *f)
{
    uint64_t *kinds = arg;

    *kinds |= 1ull << f->kind;
    return 0;
}

static PlkCheckResult check_disk(unsigned repair, uint64_t *kinds)
{
    PlkCheckOptions options = {.struct_size = sizeof options, .repair = repair};
    PlkCheckResult result;

    *kinds = 0;
    CHECK_OK(plk_check_disk(dir, &options, note_kind, kinds, NULL, &result, &err), err);
    return result;
}

static void poke(const char *file, off_t offset, const void *bytes, size_t len)
{
    int fd = open(file, O_WRONLY);

    CHECK(fd >= 0);
    CHECK_INT(pwrite(fd, bytes, len, offset), len);
    close(fd);
}

TEST(a_grown_disk_is_bigger_everywhere)
{
    static const PlkFormat formats[] = {PLK_FORMAT_EXPANDED, PLK_FORMAT_PREALLOCATED, PLK_FORMAT_RAW};
    uint64_t kinds;

    for (int i = 0; i < 3; i++) {
        make_disk(formats[i]);
        CHECK_OK(plk_disk_grow(dir, NULL, 4096 * MIB, NULL, &err), err);
        CHECK_INT(disk_size(), 4096ll * BYTES);
        check_byte(0, 1);
        check_byte(8 * BYTES - 1, 2);
        check_byte(8 * BYTES, 0);
        put(4095ull * BYTES, 3);
        check_byte(4095ull * BYTES, 3);
        CHECK_INT(check_disk(0, &kinds).left, 0);
        CHECK_INT(kinds, 0); /* also: the descriptor says the same size */
        CHECK_FAILS(plk_disk_grow(dir, NULL, 8 * MIB, NULL, &err), err, PLK_ERROR_ARGUMENT);
        CHECK_OK(plk_disk_grow(dir, NULL, 4096 * MIB, NULL, &err), err);
        remove_disk();
    }
}

TEST(only_the_active_image_grows_above_a_snapshot)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    uint64_t kinds;

    make_disk(PLK_FORMAT_EXPANDED);
    CHECK_OK(plk_snapshot_create(dir, NULL, &spec, NULL, &err), err);
    CHECK_OK(plk_disk_grow(dir, NULL, 16 * MIB, NULL, &err), err);
    CHECK_INT(disk_size(), 16 * BYTES);
    check_byte(8 * BYTES - 1, 2);
    CHECK_INT(check_disk(0, &kinds).left, 0);
    CHECK_FAILS(plk_disk_shrink(dir, NULL, 8 * MIB, NULL, &err), err, PLK_ERROR_BUSY);
    remove_disk();
}

TEST(a_shrunk_disk_has_lost_its_end_and_nothing_else)
{
    uint64_t kinds;

    make_disk(PLK_FORMAT_EXPANDED);
    CHECK_OK(plk_disk_shrink(dir, NULL, 4 * MIB, NULL, &err), err);
    CHECK_INT(disk_size(), 4 * BYTES);
    check_byte(0, 1);
    CHECK_OK(plk_disk_grow(dir, NULL, 8 * MIB, NULL, &err), err);
    check_byte(8 * BYTES - 1, 0);
    check_disk(0, &kinds);
    CHECK_INT(kinds, 0);
    remove_disk();
}

TEST(a_packed_disk_takes_the_room_its_data_needs)
{
    struct stat st;
    PlkDisk *disk;
    uint64_t freed;

    make_disk(PLK_FORMAT_EXPANDED);
    disk = open_disk();
    CHECK_INT(plk_disk_discard(disk, 0, 65536), 0);
    CHECK_OK(plk_disk_close(disk, &err), err);
    CHECK_OK(plk_disk_compact(dir, NULL, &freed, NULL, &err), err);
    CHECK_INT(freed, 65536);
    CHECK_INT(stat(base, &st), 0);
    CHECK_INT(st.st_size, 2 * 65536);
    check_byte(8 * BYTES - 1, 2);
    remove_disk();
}

TEST(a_dirty_active_image_is_repaired_and_a_dirty_lower_one_only_named)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    uint64_t kinds;

    make_disk(PLK_FORMAT_EXPANDED);
    poke(base, 44, "Ynot", 4);
    CHECK_INT(check_disk(PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE, &kinds).fixed, 1);
    CHECK_INT(kinds, 1ull << PLK_FOUND_IN_USE);
    CHECK_INT(check_disk(0, &kinds).left, 0);
    CHECK_OK(plk_snapshot_create(dir, NULL, &spec, NULL, &err), err);
    poke(base, 44, "Ynot", 4);
    CHECK_INT(check_disk(PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE, &kinds).left, 1);
    CHECK_INT(kinds, 1ull << PLK_FOUND_IN_USE);
    remove_disk();
}

TEST(images_that_do_not_fit_each_other_are_named)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    uint64_t kinds;

    make_disk(PLK_FORMAT_EXPANDED);
    CHECK_OK(plk_snapshot_create(dir, NULL, &spec, NULL, &err), err);
    poke(base, 0, "WithoutFreeSpace", 16); /* version 1 below version 2 */
    CHECK(check_disk(0, &kinds).found[PLK_FINDING_FATAL] > 0);
    CHECK(kinds & 1ull << PLK_FOUND_CHAIN_VERSION);
    poke(base, 0, "WithouFreSpacExt", 16);
    CHECK_OK(plk_image_file_grow(base, false, 16 * MIB, NULL, &err), err); /* bigger than the one above */
    CHECK_INT(check_disk(0, &kinds).found[PLK_FINDING_FATAL], 1);
    CHECK_INT(kinds, 1ull << PLK_FOUND_CHAIN_SIZE);
    remove_disk();
}

TEST(holes_are_a_finding_only_when_asked_for_and_can_be_filled)
{
    PlkCheckOptions options = {.struct_size = sizeof options, .sparse = true};
    PlkCheckResult result;
    uint64_t kinds = 0;

    make_disk(PLK_FORMAT_EXPANDED);
    CHECK_OK(plk_disk_grow(dir, NULL, 100 * 1024 * MIB, NULL, &err), err); /* BAT room without blocks */
    CHECK_INT(check_disk(0, &kinds).left, 0);
    CHECK_OK(plk_check_image(base, &options, NULL, NULL, NULL, &result, &err), err);
    if (result.left > 0) { /* else the file system has no holes */
        options.repair = PLK_REPAIR_SPARSE;
        CHECK_OK(plk_check_image(base, &options, NULL, NULL, NULL, &result, &err), err);
        CHECK_INT(result.left, 0);
        CHECK(result.fixed > 0);
        options.repair = 0;
        CHECK_OK(plk_check_image(base, &options, NULL, NULL, NULL, &result, &err), err);
        CHECK_INT(result.found[PLK_FINDING_LOSSLESS], 0);
    }
    remove_disk();
}

TEST(an_image_that_is_written_to_is_not_checked)
{
    PlkCheckOptions options = {.struct_size = sizeof options};
    PlkCheckResult result;
    PlkDisk *disk;

    make_disk(PLK_FORMAT_EXPANDED);
    disk = open_disk();
    CHECK_FAILS(plk_check_image(base, &options, NULL, NULL, NULL, &result, &err), err, PLK_ERROR_LOCKED);
    CHECK_FAILS(plk_image_file_grow(base, false, 16 * MIB, NULL, &err), err, PLK_ERROR_LOCKED);
    CHECK_OK(plk_disk_close(disk, &err), err);
    poke(base, 44, "Ynot", 4);
    CHECK_FAILS(plk_image_file_grow(base, false, 16 * MIB, NULL, &err), err, PLK_ERROR_DIRTY);
    remove_disk();
}

TEST_MAIN()
