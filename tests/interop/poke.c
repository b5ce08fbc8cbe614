/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * poke DISK: change a disk through the public API, as a guest would. Commands come on stdin, one a line:
 *
 *     write OFFSET LENGTH BYTE    zero OFFSET LENGTH    discard OFFSET LENGTH    flush    hold    become FILE
 *
 * `become` writes what differs from the bytes of FILE, which is as long as the disk.
 * `hold` says "held" on stdout and keeps the disk open until stdin ends. With POKE_ALLOC_FULL set, new
 * clusters get real blocks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ploopkit/disk.h>

static int write_bytes(PlkDisk *disk, uint64_t offset, uint64_t length, int byte)
{
    void *buf = malloc(length ? length : 1);
    int r;

    if (!buf)
        return -ENOMEM;
    memset(buf, byte, length);
    r = plk_disk_write(disk, buf, length, offset);
    free(buf);
    return r;
}

/* Write those 64 KiB pieces of an open file that the disk does not hold yet. */
static int write_differences(PlkDisk *disk, FILE *file)
{
    static char wanted[65536], held[sizeof(wanted)];
    uint64_t offset = 0;
    size_t n;
    int r = 0;

    while (r == 0 && (n = fread(wanted, 1, sizeof(wanted), file)) > 0) {
        r = plk_disk_read(disk, held, n, offset);
        if (r == 0 && memcmp(wanted, held, n) != 0)
            r = plk_disk_write(disk, wanted, n, offset);
        offset += n;
    }
    return ferror(file) ? -EIO : r;
}

static int become(PlkDisk *disk, const char *path)
{
    FILE *file = fopen(path, "rbe");
    int r;

    if (!file)
        return -errno;
    r = write_differences(disk, file);
    fclose(file);
    return r;
}

/* 0 or -errno; -EBADMSG for a line that is no command. */
static int obey(PlkDisk *disk, const char *line)
{
    char path[4096];
    uint64_t offset, length;
    int byte;

    if (sscanf(line, "write %" SCNu64 " %" SCNu64 " %d", &offset, &length, &byte) == 3)
        return write_bytes(disk, offset, length, byte);
    if (sscanf(line, "zero %" SCNu64 " %" SCNu64, &offset, &length) == 2)
        return plk_disk_zero(disk, offset, length);
    if (sscanf(line, "discard %" SCNu64 " %" SCNu64, &offset, &length) == 2)
        return plk_disk_discard(disk, offset, length);
    if (sscanf(line, "become %4095[^\n]", path) == 1)
        return become(disk, path);
    if (!strcmp(line, "flush\n"))
        return plk_disk_flush(disk);
    if (!strcmp(line, "hold\n"))
        return puts("held") < 0 || fflush(stdout) ? -EIO : 0;
    return -EBADMSG;
}

int main(int argc, char **argv)
{
    PlkDiskOptions options = {.struct_size = sizeof(options), .writable = true};
    PlkError err = {0};
    PlkDisk *disk = NULL;
    char line[4200];
    int r = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: poke DISK <COMMANDS\n");
        return 2;
    }
    options.alloc_full = getenv("POKE_ALLOC_FULL") != NULL;
    if (plk_disk_open(argv[1], &options, &disk, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    while (r == 0 && fgets(line, sizeof(line), stdin)) {
        r = obey(disk, line);
        if (r < 0)
            fprintf(stderr, "%s: %s", strerror(-r), line);
    }
    if (plk_disk_close(disk, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        r = -1;
    }
    return r < 0;
}
