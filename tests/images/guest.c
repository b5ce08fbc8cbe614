/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest sees of a disk, cluster by cluster, damage included.
 *
 *     guest read DISK OUT      the readable clusters into the sparse file OUT; says "size BYTES", "cluster BYTES"
 *                              and "unreadable N" for each cluster that is an error
 *     guest mark DISK N...     one sector into each of these clusters: sector N of it (modulo its sectors) is
 *                              filled with the 8 bytes 'MARK' and N
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ploopkit/disk.h>

#define SECTOR 512u
#define MARK 0x4b52414du /* "MARK" */

static int copy_range(PlkDisk *disk, int out, uint64_t offset, uint64_t length)
{
    static char buf[1 << 20];

    while (length > 0) {
        size_t n = length < sizeof buf ? (size_t)length : sizeof buf;
        int r = plk_disk_read(disk, buf, n, offset);

        if (r < 0)
            return r;
        if (pwrite(out, buf, n, (off_t)offset) != (ssize_t)n)
            return -EIO;
        offset += n;
        length -= n;
    }
    return 0;
}

/* One extent or, if it is an error, the rest of its cluster. */
static uint64_t read_extent(PlkDisk *disk, int out, uint64_t offset)
{
    uint64_t left = plk_disk_size(disk) - offset, cluster = plk_disk_cluster(disk);
    uint64_t in_cluster = cluster - offset % cluster;
    PlkExtent extent;
    int r = plk_disk_status(disk, offset, left, &extent);

    if (r == 0 && extent.kind == PLK_EXTENT_DATA)
        r = copy_range(disk, out, offset, extent.length);
    if (r == 0)
        return extent.length;
    printf("unreadable %" PRIu64 "\n", offset / cluster);
    return in_cluster < left ? in_cluster : left;
}

static int read_all(PlkDisk *disk, const char *path)
{
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (out < 0)
        return perror(path), 1;
    printf("size %" PRIu64 "\ncluster %" PRIu32 "\n", plk_disk_size(disk), plk_disk_cluster(disk));
    for (uint64_t at = 0; at < plk_disk_size(disk);)
        at += read_extent(disk, out, at);
    return close(out) != 0;
}

static int mark(PlkDisk *disk, uint64_t n)
{
    uint64_t cluster = plk_disk_cluster(disk), sector[SECTOR / 8];

    for (size_t i = 0; i < SECTOR / 8; i++)
        sector[i] = MARK | n << 32;
    return plk_disk_write(disk, sector, sizeof sector, n * cluster + n % (cluster / SECTOR) * SECTOR);
}

static int mark_all(PlkDisk *disk, char **numbers, int n)
{
    int r = 0;

    for (int i = 0; r == 0 && i < n; i++) {
        r = mark(disk, strtoull(numbers[i], NULL, 10));
        if (r < 0)
            fprintf(stderr, "cluster %s: %s\n", numbers[i], strerror(-r));
    }
    return r < 0;
}

int main(int argc, char **argv)
{
    PlkDiskOptions options = {.struct_size = sizeof options};
    PlkDisk *disk = NULL;
    PlkError err = {0};
    bool writing = argc > 1 && !strcmp(argv[1], "mark");
    int rc;

    if (argc < 4 || (!writing && strcmp(argv[1], "read") != 0))
        return fprintf(stderr, "usage: guest read DISK OUT | guest mark DISK N...\n"), 2;
    options.writable = writing;
    if (plk_disk_open(argv[2], &options, &disk, &err) < 0)
        return fprintf(stderr, "%s\n", err.message), 3;
    rc = writing ? mark_all(disk, argv + 3, argc - 3) : read_all(disk, argv[3]);
    if (plk_disk_close(disk, &err) < 0)
        return fprintf(stderr, "%s\n", err.message), 1;
    return rc;
}
