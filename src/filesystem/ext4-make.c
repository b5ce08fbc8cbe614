/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The filesystem of a new disk: GPT, mke2fs, the settings ploop gives it, its hidden balloon file, contents.
 *
 * mke2fs works on an empty sparse staging file, whose data is then written into the disk: a filesystem of 1
 * TiB has some 16 MiB of it. The staging file is memory unless the disk is huge, and never has a name.
 *
 * A fresh disk reads as zeros, and so does the staging file. Hence it is safe, and no guest ever has to write
 * zeros that would fill the image, to leave inode tables and journal as they are: mke2fs discards the file
 * first, finds that it reads as zeros and marks the tables initialised; lazy_journal_init leaves the journal
 * alone.
 */
#include <ploopkit/filesystem.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "filesystem/ext4-io.h"
#include "filesystem/ext4-node.h"
#include "filesystem/partition.h"
#include "filesystem/populate.h"
#include "filesystem/step.h"
#include "host/run.h"

#define MIB (1024u * 1024)
#define PARTITION_MIN (512u * 1024)     /* mke2fs accepts less, but leaves it no inodes to speak of */
#define JOURNAL_FROM (16u * MIB)        /* of partition: the smallest journal, 4 MiB, fits */
#define JOURNAL_FULL_FROM (272u * MIB)  /* ploop's 128 MiB fit: at most half of the free blocks */
#define MEMORY_STAGING_MAX (4ull << 40) /* of disk: 64 MiB of tables */
#define RESIZE_LIMIT UINT32_MAX         /* blocks; ploop's value for the room reserved to grow into */
#define STEP "creating filesystem"
#define COPY_BYTES (1u * MIB)

static uint64_t min_bytes(uint32_t cluster, uint64_t partition)
{
    PlkPartition layout;
    uint64_t size = plk_round_up(partition, cluster) + 2ull * cluster;

    while (!plk_partition_layout(size, cluster, &layout) || layout.length < partition)
        size += cluster;
    return size;
}

uint64_t plk_mkfs_min_sectors(uint32_t cluster_sectors)
{
    return min_bytes(cluster_sectors * PLK_SECTOR, PARTITION_MIN) / PLK_SECTOR;
}

static bool is_ext3(const PlkMkfsSpec *spec)
{
    return spec->type && strcmp(spec->type, "ext3") == 0;
}

static int check_spec(PlkDisk *disk, const PlkMkfsSpec *spec, PlkPartition *ret, PlkError *err)
{
    uint32_t block = spec->block_bytes, cluster = plk_disk_cluster(disk);
    uint64_t need = min_bytes(cluster, is_ext3(spec) ? JOURNAL_FROM : PARTITION_MIN);

    if (spec->type && strcmp(spec->type, "ext4") != 0 && !is_ext3(spec))
        return plk_fail(err, PLK_ERROR_UNSUPPORTED, "filesystem type '%s' is neither ext4 nor ext3",
                        spec->type);
    if (block && block != 1024 && block != 2048 && block != 4096)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "filesystem block size %" PRIu32 " is not 1024, 2048 or 4096", block);
    if (plk_disk_size(disk) < need)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "a disk of %" PRIu64 " sectors is too small for %s: the minimum is %" PRIu64
                        " sectors",
                        plk_disk_size(disk) / PLK_SECTOR, is_ext3(spec) ? "ext3" : "ext4", need / PLK_SECTOR);
    if (!plk_partition_layout(plk_disk_size(disk), cluster, ret))
        return plk_fail(err, PLK_ERROR_INTERNAL, "no partition fits a disk that is big enough");
    return 0;
}

/* ---- staging ---- */

/* Beside the image: the one place that is expected to have room. */
static int open_unnamed(PlkDisk *disk, PlkError *err)
{
    PlkDiskInfo info;
    PLK_FREE char *dir = NULL;
    const char *path;
    char *slash;
    int fd;

    if (plk_disk_info(disk, &info, err))
        return -1;
    path = plk_disk_image_path(disk, info.levels - 1);
    dir = plk_strdup(path);
    if (!dir)
        return plk_fail_nomem(err);
    slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    fd = open(slash ? dir : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_CREATE, errno, "cannot create a temporary file beside '%s'",
                              path);
    return fd;
}

static int staging_open(PlkDisk *disk, uint64_t length, int *ret, PlkError *err)
{
    PLK_CLOSE int fd = -1;

    if (length > MEMORY_STAGING_MAX)
        fd = open_unnamed(disk, NULL);
    /* Many filesystems end at 16 TiB a file; memory does not. */
    if (fd < 0 || ftruncate(fd, (off_t)length)) {
        plk_closep(&fd);
        fd = memfd_create("ploopkit-mkfs", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, (off_t)length))
            return plk_fail_errno(err, PLK_ERROR_CREATE, errno,
                                  "cannot make room to prepare a filesystem of %" PRIu64 " bytes", length);
    }
    *ret = PLK_TAKE_FD(fd);
    return 0;
}

/* Into the disk at `to`; runs of zeros inside the data are left out. */
static int import_range(PlkDisk *disk, int fd, uint8_t *buf, uint64_t from, uint64_t end, uint64_t to,
                        PlkError *err)
{
    while (from < end) {
        /* Chunks end where clusters do, so that zeros are judged cluster by cluster. */
        size_t len = (size_t)PLK_MIN(end - from, COPY_BYTES - from % COPY_BYTES);
        ssize_t n = pread(fd, buf, len, (off_t)from);
        int rc;

        if (n <= 0)
            return plk_fail_errno(err, PLK_ERROR_READ, n ? errno : EIO,
                                  "cannot read back the new filesystem");
        rc = plk_is_zero(buf, (size_t)n) ? 0 : plk_disk_write(disk, buf, (size_t)n, to + from);
        if (rc) {
            plk_disk_explain(disk, rc, err);
            return -1;
        }
        from += (uint64_t)n;
    }
    return 0;
}

static int staging_import(PlkDisk *disk, int fd, const PlkPartition *part, const PlkProgress *progress,
                          PlkError *err)
{
    PLK_FREE uint8_t *buf = plk_malloc(COPY_BYTES);
    off_t start, end = 0;

    if (!buf)
        return plk_fail_nomem(err);
    while ((start = lseek(fd, end, SEEK_DATA)) >= 0) {
        end = lseek(fd, start, SEEK_HOLE);
        if (end < 0)
            break;
        if (plk_step(progress, STEP, (uint64_t)start, part->length, err) ||
            import_range(disk, fd, buf, (uint64_t)start, (uint64_t)end, part->offset, err))
            return -1;
    }
    if (errno != ENXIO)
        return plk_fail_errno(err, PLK_ERROR_READ, errno, "cannot read back the new filesystem");
    return plk_step(progress, STEP, part->length, part->length, err);
}

/* ---- mke2fs ---- */

static uint32_t journal_mib(uint64_t partition)
{
    if (partition < JOURNAL_FROM)
        return 0;
    if (partition >= JOURNAL_FULL_FROM)
        return 128;
    return PLK_MAX((uint32_t)(partition / MIB / 8), 4);
}

static int run_mke2fs(const PlkMkfsSpec *spec, uint64_t length, int fd, const PlkProgress *progress,
                      PlkError *err)
{
    uint32_t block = spec->block_bytes ? spec->block_bytes : 4096, journal = journal_mib(length);
    char path[32], block_text[16], journal_text[32], extended[96];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    snprintf(block_text, sizeof block_text, "%" PRIu32, block);
    snprintf(journal_text, sizeof journal_text, "size=%" PRIu32, journal);
    snprintf(extended, sizeof extended, "lazy_itable_init=%d,lazy_journal_init=1", !spec->no_lazy);
    /* Reserving that much would take a fair part of a small disk, and a bigger one than the limit is not
     * accepted. */
    if (length >= JOURNAL_FULL_FROM && length / block < RESIZE_LIMIT)
        snprintf(extended + strlen(extended), sizeof extended - strlen(extended), ",resize=%" PRIu32,
                 RESIZE_LIMIT);
    const char *args[] = {
        "-q",
        "-F",
        "-t",
        is_ext3(spec) ? "ext3" : "ext4",
        "-b",
        block_text,
        "-i",
        "16384",
        "-e",
        "remount-ro",
        "-E",
        extended,
        journal ? "-J" : "-O",
        journal ? journal_text : "^has_journal",
        "--",
        path,
        NULL,
    };
    PlkRun run = {
        .program = "mke2fs",
        .args = args,
        .fds = &fd,
        .fd_count = 1,
        .progress = progress,
        .what = STEP,
    };
    return plk_run_checked(&run, PLK_ERROR_MKFS, err);
}

/* ---- what ploop adds ---- */

static int add_balloon(ext2_filsys fs, PlkError *err)
{
    struct timespec now;
    ext2_ino_t ino;
    errcode_t rc;

    clock_gettime(CLOCK_REALTIME, &now);
    PlkNodeMeta meta = {
        .mode = S_IFREG | 0600,
        .atime = now.tv_sec,
        .mtime = now.tv_sec,
        .ctime = now.tv_sec,
    };
    rc = plk_node_create(fs, EXT2_ROOT_INO, PLK_BALLOON_NAME, &meta, NULL, &ino);
    return rc ? plk_fail_ext4(err, PLK_ERROR_MKFS, rc, "cannot create the balloon file") : 0;
}

static int finish(PlkDisk *disk, const PlkPartition *part, const PlkMkfsSpec *spec,
                  const PlkProgress *progress, PlkError *err)
{
    PLK_EXT4_AUTO ext2_filsys fs = NULL;

    if (plk_ext4_open(disk, part, true, &fs, err) || plk_ext4_read_bitmaps(fs, spec->populate != NULL, err))
        return -1;
    fs->super->s_default_mount_opts |= EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
    fs->super->s_max_mnt_count = -1;
    fs->super->s_checkinterval = 0;
    fs->super->s_errors = EXT2_ERRORS_RO;
    ext2fs_mark_super_dirty(fs);
    if (add_balloon(fs, err))
        return -1;
    if (spec->populate && plk_populate(fs, spec->populate, progress, err))
        return -1;
    return plk_ext4_close(PLK_TAKE(fs), err);
}

/* The program is looked for first: nothing of the disk has changed when it is missing. */
int plk_mkfs_fill(PlkDisk *disk, void *arg, const PlkProgress *progress, PlkError *err)
{
    const PlkMkfsSpec *spec = arg;
    char program[PLK_PROGRAM_PATH_MAX];
    PLK_CLOSE int fd = -1;
    PlkPartition part;

    assert(spec->struct_size == sizeof *spec);
    if (check_spec(disk, spec, &part, err))
        return -1;
    if (plk_find_program("mke2fs", program, err) || staging_open(disk, part.length, &fd, err) ||
        run_mke2fs(spec, part.length, fd, progress, err))
        return -1;
    if (plk_partition_create(disk, &part, err) || staging_import(disk, fd, &part, progress, err))
        return -1;
    return finish(disk, &part, spec, progress, err);
}
