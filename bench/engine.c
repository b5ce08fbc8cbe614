/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Figures taken inside one process: the engine beside the bare system call on the same bytes, in turns, so that
 * a change of the machine's speed hits both. Prints one line a figure: name, ours, theirs, unit, ratio theirs/ours
 * (how fast we are: 1.0 = as fast).
 *
 *   engine DIR       needs about 5 GiB in DIR
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ploopkit/create.h>
#include <ploopkit/disk.h>
#include <ploopkit/snapshot.h>

#include "clock.h"

#define DATA_BYTES (1ull << 30)
#define BLOCK 4096
#define READS 40000
#define ROUNDS 15

static PlkError err;

static void die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, err.message);
    exit(1);
}

/* One timed side of a comparison. */
typedef double Timed(void *arg, uint64_t seed);

static void compare(const char *name, const char *unit, double scale, Timed *ours, void *our_arg, Timed *theirs,
                    void *their_arg)
{
    double a[ROUNDS], b[ROUNDS], ratio[ROUNDS];

    ours(our_arg, 0);
    theirs(their_arg, 0);
    for (int i = 0; i < ROUNDS; i++) {
        /* Whoever goes second finds the block's lines cached: take turns, and use the round's own seed. */
        if (i % 2) {
            a[i] = ours(our_arg, (uint64_t)i);
            b[i] = theirs(their_arg, (uint64_t)i);
        } else {
            b[i] = theirs(their_arg, (uint64_t)i);
            a[i] = ours(our_arg, (uint64_t)i);
        }
        ratio[i] = b[i] / a[i];
    }
    printf("%s\t%.3f\t%.3f\t%s\t%.3f\n", name, median(a, ROUNDS) * scale, median(b, ROUNDS) * scale, unit,
           median(ratio, ROUNDS));
    fflush(stdout);
}

static uint64_t next_offset(uint64_t *s)
{
    *s = *s * 6364136223846793005ull + 1442695040888963407ull;
    return (*s >> 33) % (DATA_BYTES / BLOCK) * BLOCK;
}

static double read_raw(void *arg, uint64_t seed)
{
    int fd = *(int *)arg;
    char buf[BLOCK];
    double t = now();

    for (int i = 0; i < READS; i++)
        if (pread(fd, buf, BLOCK, (off_t)next_offset(&seed)) != BLOCK)
            die("pread");
    return now() - t;
}

static double read_disk(void *arg, uint64_t seed)
{
    PlkDisk *disk = arg;
    char buf[BLOCK];
    double t = now();

    for (int i = 0; i < READS; i++)
        if (plk_disk_read(disk, buf, BLOCK, next_offset(&seed)) != 0)
            die("plk_disk_read");
    return now() - t;
}

static const char *make(const char *dir, const char *name, uint64_t size_sectors, uint32_t cluster)
{
    static char base[4096];
    PlkCreateSpec spec = {.struct_size = sizeof spec, .size_sectors = size_sectors, .cluster_sectors = cluster};

    snprintf(base, sizeof base, "%s/%s", dir, name);
    if (mkdir(base, 0700) < 0)
        die("mkdir");
    strcat(base, "/root.hds");
    if (plk_disk_create(base, &spec, NULL, NULL, "none", NULL, &err) < 0)
        die(base);
    snprintf(base, sizeof base, "%s/%s", dir, name);
    return base;
}

static PlkDisk *open_disk(const char *path, bool writable)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = writable};
    PlkDisk *disk;

    if (plk_disk_open(path, &o, &disk, &err) < 0)
        die(path);
    return disk;
}

static void fill(PlkDisk *disk)
{
    static char buf[1 << 20];

    memset(buf, 0x5a, sizeof buf);
    for (uint64_t off = 0; off < DATA_BYTES; off += sizeof buf)
        if (plk_disk_write(disk, buf, sizeof buf, off) != 0)
            die("fill");
}

static int make_raw(const char *dir)
{
    static char buf[1 << 20], path[4096];
    int fd;

    snprintf(path, sizeof path, "%s/raw", dir);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    memset(buf, 0x5a, sizeof buf);
    for (uint64_t off = 0; off < DATA_BYTES; off += sizeof buf)
        if (pwrite(fd, buf, sizeof buf, (off_t)off) != sizeof buf)
            die("write raw");
    fsync(fd);
    return fd;
}

/*
 * Page cache as a running system has it: read in by readahead. Without this the cache keeps the shape of the
 * writes that filled it, and a file written in 32 KiB pieces is slower to read than one written in 1 MiB pieces.
 */
static void warm(const char *path)
{
    static char buf[1 << 20];
    int fd = open(path, O_RDONLY);

    if (fd < 0 || fdatasync(fd) < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        die(path);
    while (read(fd, buf, sizeof buf) > 0)
        ;
    close(fd);
}

static void warm_disk(PlkDisk *disk)
{
    const char *path;

    for (unsigned i = 0; (path = plk_disk_image_path(disk, i)); i++)
        warm(path);
}

static void reads(const char *dir, int raw, uint32_t cluster, const char *what)
{
    char path[4096];
    PlkDisk *disk;

    snprintf(path, sizeof path, "%s", make(dir, what, DATA_BYTES / 512, cluster));
    disk = open_disk(path, true);
    fill(disk);
    plk_disk_close(disk, &err);
    disk = open_disk(path, false);
    warm_disk(disk);
    compare(what, "us", 1e6 / READS, read_disk, disk, read_raw, &raw);
    plk_disk_close(disk, &err);
}

/* Some blocks rewritten between snapshots, so that every level owns something. */
static void deepen(const char *path, int levels, int blocks)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    static char buf[BLOCK];
    uint64_t seed = 42;

    for (int i = 0; i < levels; i++) {
        PlkDisk *disk;

        if (plk_snapshot_create(path, NULL, &spec, NULL, &err) < 0)
            die("snapshot");
        disk = open_disk(path, true);
        for (int k = 0; k < blocks; k++)
            if (plk_disk_write(disk, buf, BLOCK, next_offset(&seed)) != 0)
                die("write");
        plk_disk_close(disk, &err);
    }
}

static double cold_read(const char *path)
{
    double t = now();
    PlkDisk *disk = open_disk(path, false);
    char buf[BLOCK];

    if (plk_disk_read(disk, buf, BLOCK, 0) != 0)
        die("cold read");
    t = now() - t;
    plk_disk_close(disk, &err);
    return t;
}

/* The same reads with all of the engine taken away: descriptor and offset are known before the clock starts. */
typedef struct Bare {
    PlkDisk *disk;
    int fds[128];
    struct {
        int fd;
        off_t offset;
    } at[READS];
} Bare;

static void bare_open(Bare *b, PlkDisk *disk)
{
    const char *path;

    b->disk = disk;
    for (unsigned i = 0; (path = plk_disk_image_path(disk, i)); i++)
        b->fds[i] = open(path, O_RDONLY);
}

static double read_bare(void *arg, uint64_t seed)
{
    Bare *b = arg;
    char buf[BLOCK];
    double t;

    for (int i = 0; i < READS; i++) {
        PlkExtent e;
        if (plk_disk_status(b->disk, next_offset(&seed), BLOCK, &e) != 0 || e.level < 0)
            die("status");
        b->at[i].fd = b->fds[e.level];
        b->at[i].offset = (off_t)e.file_offset;
    }
    t = now();
    for (int i = 0; i < READS; i++)
        if (pread(b->at[i].fd, buf, BLOCK, b->at[i].offset) != BLOCK)
            die("pread");
    return now() - t;
}

/*
 * Two comparisons, for two questions. Beside one delta: what a reader of a deep disk notices; part of it is that the kernel
 * reads from a hundred files, each with its own page cache, whose share grows with what the deltas hold.
 * Beside bare pread of the same places: what the engine adds.
 */
static void depth(const char *dir)
{
    char one[4096], deep[4096];
    PlkDisk *d1, *d100;
    static Bare bare;

    snprintf(one, sizeof one, "%s", make(dir, "flat", DATA_BYTES / 512, 2048));
    snprintf(deep, sizeof deep, "%s", make(dir, "deep", DATA_BYTES / 512, 2048));
    for (int i = 0; i < 2; i++) {
        PlkDisk *d = open_disk(i ? deep : one, true);
        fill(d);
        plk_disk_close(d, &err);
    }
    deepen(deep, 99, 1);
    d1 = open_disk(one, false);
    d100 = open_disk(deep, false);
    warm_disk(d1);
    warm_disk(d100);
    compare("warm reads, 100 deltas beside 1", "us", 1e6 / READS, read_disk, d100, read_disk, d1);
    bare_open(&bare, d100);
    compare("warm reads, 100 deltas beside bare pread of the same places", "us", 1e6 / READS, read_disk, d100, read_bare,
            &bare);
    plk_disk_close(d1, &err);
    plk_disk_close(d100, &err);
    printf("cold open and first read, 100 deltas beside 1\t%.3f\t%.3f\tms\t-\n", cold_read(deep) * 1e3,
           cold_read(one) * 1e3);
}

static double open_close(void *arg, uint64_t seed)
{
    double t = now();

    for (int i = 0; i < 50; i++)
        plk_disk_close(open_disk(arg, false), &err);
    return now() - t;
}

static void opening(const char *dir)
{
    char small[4096], big[4096];

    snprintf(small, sizeof small, "%s", make(dir, "1g", 1ull << 21, 2048));
    snprintf(big, sizeof big, "%s", make(dir, "16t", 1ull << 35, 2048));
    compare("opening 16 TiB beside 1 GiB", "us", 1e6 / 50, open_close, big, open_close, small);
}

static void snapshots(const char *dir)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    const uint64_t sizes[] = {1ull << 21, 1ull << 31, 1ull << 35};
    const char *names[] = {"snapshot of 1 GiB", "snapshot of 1 TiB", "snapshot of 16 TiB"};

    for (int i = 0; i < 3; i++) {
        double t[9];
        char path[4096];

        snprintf(path, sizeof path, "%s", make(dir, names[i], sizes[i], 2048));
        for (int k = 0; k < 9; k++) {
            t[k] = now();
            if (plk_snapshot_create(path, NULL, &spec, NULL, &err) < 0)
                die("snapshot");
            t[k] = now() - t[k];
        }
        printf("%s\t%.3f\t50\tms\t-\n", names[i], median(t, 9) * 1e3);
    }
}

int main(int argc, char **argv)
{
    char path[4096];
    int raw;

    if (argc != 2) {
        fprintf(stderr, "usage: engine DIR\n");
        return 2;
    }
    raw = make_raw(argv[1]);
    snprintf(path, sizeof path, "%s/raw", argv[1]);
    warm(path);
    reads(argv[1], raw, 2048, "random 4 KiB reads, 1 MiB clusters");
    reads(argv[1], raw, 64, "random 4 KiB reads, 32 KiB clusters");
    depth(argv[1]);
    opening(argv[1]);
    snapshots(argv[1]);
    close(raw);
    return 0;
}
