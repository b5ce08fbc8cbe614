/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes pseudo-random bytes into a disk: BYTES from its start, or with "scatter" in whole clusters spread evenly over
 * the whole disk.
 *
 *   fill DiskDescriptor.xml BYTES [scatter]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ploopkit/disk.h>

#define PIECE (1u << 20)

int main(int argc, char **argv)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = true};
    static unsigned char buf[PIECE];
    uint64_t bytes, step = PIECE, s = 1;
    PlkDisk *disk;
    PlkError err;

    if (argc < 3 || plk_disk_open(argv[1], &o, &disk, &err) < 0) {
        fprintf(stderr, "fill: %s\n", argc < 3 ? "usage: fill XML BYTES [scatter]" : err.message);
        return 1;
    }
    bytes = strtoull(argv[2], NULL, 0);
    if (argc > 3)
        step = plk_disk_size(disk) / (bytes / PIECE) / PIECE * PIECE;
    for (size_t i = 0; i < PIECE; i++)
        buf[i] = (unsigned char)((s = s * 6364136223846793005ull + 1) >> 56);
    for (uint64_t n = 0; n < bytes / PIECE; n++) {
        memcpy(buf, &n, sizeof n);
        if (plk_disk_write(disk, buf, PIECE, n * step) != 0) {
            fprintf(stderr, "fill: write failed\n");
            return 1;
        }
    }
    if (plk_disk_close(disk, &err) < 0) {
        fprintf(stderr, "fill: %s\n", err.message);
        return 1;
    }
    return 0;
}
