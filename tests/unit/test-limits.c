/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The edges of the format, on real sparse files: every cluster size, the largest disks, the deepest chain. */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <ploopkit/create.h>
#include <ploopkit/resize.h>
#include <ploopkit/snapshot.h>

#include "disk/disk.h"
#include "format/header.h"
#include "test.h"

#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define TIB (1ull << 40)

typedef struct Place {
    char dir[64], image[80], xml[96];
    PlkDisk *disk;
    PlkError err;
} Place;

static void make_place(Place *p)
{
    *p = (Place){0};
    snprintf(p->dir, sizeof p->dir, "%s/plk-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    CHECK(mkdtemp(p->dir));
    snprintf(p->image, sizeof p->image, "%s/root.hds", p->dir);
    snprintf(p->xml, sizeof p->xml, "%s/DiskDescriptor.xml", p->dir);
}

static int unlink_each(void *arg, const char *name)
{
    return plk_dir_unlink(arg, name);
}

static void end_place(Place *p)
{
    PlkDir *dir;

    CHECK_OK(plk_disk_close(p->disk, &p->err), p->err);
    CHECK_INT(plk_dir_open_fs(p->dir, NULL, &dir), 0);
    plk_dir_list(dir, unlink_each, dir);
    plk_dir_close(dir);
    CHECK_INT(rmdir(p->dir), 0);
}

static void create(Place *p, uint64_t bytes, uint32_t cluster_bytes, int version, PlkFormat format)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec,
                          .size_sectors = bytes / 512,
                          .cluster_sectors = cluster_bytes / 512,
                          .version = version,
                          .format = format};

    make_place(p);
    CHECK_OK(plk_disk_create(p->image, &spec, NULL, NULL, "none", NULL, &p->err), p->err);
}

/* Closes it first if it is open. */
static void open_again(Place *p, size_t cache_bytes)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = true, .cache_bytes = cache_bytes};

    CHECK_OK(plk_disk_close(p->disk, &p->err), p->err);
    p->disk = NULL;
    CHECK_OK(plk_disk_open(p->xml, &o, &p->disk, &p->err), p->err);
}

static void close_it(Place *p)
{
    CHECK_OK(plk_disk_close(p->disk, &p->err), p->err);
    p->disk = NULL;
}

static void write_at(Place *p, uint64_t offset, uint64_t value)
{
    CHECK_INT(plk_disk_write(p->disk, &value, sizeof value, offset), 0);
}

static uint64_t read_at(Place *p, uint64_t offset)
{
    uint64_t value;

    CHECK_INT(plk_disk_read(p->disk, &value, sizeof value, offset), 0);
    return value;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

TEST(each_cluster_size_is_created_written_at_both_ends_and_grown)
{
    for (uint32_t cluster = 32 * KIB; cluster <= 64 * MIB; cluster *= 2) {
        uint64_t size = 4ull * cluster, grown = 8ull * cluster;
        Place p;

        create(&p, size, cluster, 2, PLK_FORMAT_EXPANDED);
        open_again(&p, 0);
        CHECK_INT(plk_disk_cluster(p.disk), cluster);
        write_at(&p, 0, 1);
        write_at(&p, size - 8, 2);
        close_it(&p);
        CHECK_OK(plk_disk_grow(p.xml, NULL, grown / 512, NULL, &p.err), p.err);
        open_again(&p, 0);
        CHECK_INT(plk_disk_size(p.disk), grown);
        CHECK_INT(read_at(&p, 0), 1);
        CHECK_INT(read_at(&p, size - 8), 2);
        CHECK_INT(read_at(&p, grown - 8), 0);
        write_at(&p, grown - 8, 3);
        open_again(&p, 0);
        CHECK_INT(read_at(&p, grown - 8), 3);
        end_place(&p);
    }
}

static void write_and_reopen(uint64_t size, uint32_t cluster)
{
    uint64_t places[] = {0, 2 * TIB - 8, 2 * TIB, size / 2, size - 8};
    double begin;
    struct stat st;
    Place p;

    create(&p, size, cluster, 2, PLK_FORMAT_EXPANDED);
    open_again(&p, 0);
    for (unsigned i = 0; i < 5; i++)
        write_at(&p, places[i], i + 1);
    CHECK_INT(plk_disk_flush(p.disk), 0);
    close_it(&p);
    begin = now();
    open_again(&p, 0);
    CHECK(now() - begin < 0.5);
    CHECK_INT(plk_disk_size(p.disk), size);
    for (unsigned i = 0; i < 5; i++)
        CHECK_INT(read_at(&p, places[i]), i + 1);
    CHECK_INT(stat(p.image, &st), 0);
    CHECK((uint64_t)st.st_blocks * 512 < 16 * MIB);
    end_place(&p);
}

TEST(a_disk_of_16_tib_works_with_clusters_of_1_mib)
{
    write_and_reopen(16 * TIB, 1 * MIB);
}

TEST(a_disk_of_16_tib_works_with_clusters_of_32_kib)
{
    write_and_reopen(16 * TIB, 32 * KIB);
}

TEST(random_touches_of_a_huge_disk_keep_the_map_within_its_bound)
{
    size_t bound = 2 * MIB, most = 0;
    uint64_t seed = 1;
    Place p;

    create(&p, 16 * TIB, 32 * KIB, 2, PLK_FORMAT_EXPANDED);
    open_again(&p, bound);
    for (int i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        if (i % 200 == 0)
            write_at(&p, (seed >> 20) % (16 * TIB) & ~7ull, seed);
        else
            CHECK_INT(read_at(&p, (seed >> 20) % (16 * TIB) & ~7ull), 0);
        if (atomic_load(&p.disk->map.n_loaded) > most)
            most = atomic_load(&p.disk->map.n_loaded);
    }
    CHECK(most > 64);
    CHECK((most - 1) * sizeof(PlkMapPage) <= bound);
    end_place(&p);
}

TEST(asking_what_an_empty_huge_disk_holds_loads_no_map)
{
    PlkExtent x;
    Place p;

    create(&p, 16 * TIB, 32 * KIB, 2, PLK_FORMAT_EXPANDED);
    open_again(&p, 0);
    write_at(&p, 8 * TIB, 1);
    CHECK_INT(plk_disk_status(p.disk, 0, 16 * TIB, &x), 0);
    CHECK_INT(x.kind, PLK_EXTENT_UNALLOCATED);
    CHECK_INT(x.length, 8 * TIB);
    CHECK_INT(plk_disk_status(p.disk, 8 * TIB, 8 * TIB, &x), 0);
    CHECK_INT(x.kind, PLK_EXTENT_DATA);
    CHECK_INT(plk_disk_status(p.disk, 8 * TIB + 32 * KIB, 16 * TIB, &x), 0);
    CHECK_INT(x.length, 8 * TIB - 32 * KIB);
    CHECK(atomic_load(&p.disk->map.n_loaded) < 8);
    end_place(&p);
}

TEST(a_chain_of_126_images_reads_right_and_takes_no_more)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    char guid[39];
    Place p;

    create(&p, 8 * MIB, 32 * KIB, 2, PLK_FORMAT_EXPANDED);
    for (unsigned level = 1; level <= 126; level++) {
        open_again(&p, 0);
        write_at(&p, level * 32 * KIB, level);
        write_at(&p, 0, level);
        close_it(&p);
        if (level < 126)
            CHECK_OK(plk_snapshot_create(p.xml, NULL, &spec, guid, &p.err), p.err);
    }
    CHECK_FAILS(plk_snapshot_create(p.xml, NULL, &spec, guid, &p.err), p.err, PLK_ERROR_UNSUPPORTED);
    open_again(&p, 0);
    CHECK(plk_disk_image_path(p.disk, 125) && !plk_disk_image_path(p.disk, 126));
    CHECK_INT(read_at(&p, 0), 126);
    for (unsigned level = 1; level <= 126; level++)
        CHECK_INT(read_at(&p, level * 32 * KIB), level);
    end_place(&p);
}

TEST(version_1_goes_to_just_under_2_tib_and_no_further)
{
    uint64_t size = 2 * TIB - 1 * MIB;
    Place p;

    create(&p, size, 1 * MIB, 1, PLK_FORMAT_EXPANDED);
    open_again(&p, 0);
    CHECK_INT(plk_disk_size(p.disk), size);
    write_at(&p, size - 8, 1);
    write_at(&p, 0, 2);
    close_it(&p);
    CHECK_FAILS(plk_disk_grow(p.xml, NULL, 2 * TIB / 512, NULL, &p.err), p.err, PLK_ERROR_ARGUMENT);
    open_again(&p, 0);
    CHECK_INT(read_at(&p, size - 8), 1);
    CHECK_INT(read_at(&p, 0), 2);
    end_place(&p);
}

/* As `init -f preallocated` lays it out, but sparse: no test machine has the space. */
static void preallocate(const Place *p, uint32_t cluster, uint32_t n)
{
    uint32_t *slots = calloc(n, sizeof *slots);
    uint8_t *bytes = malloc(4ull * n);
    int fd = open(p->image, O_RDWR);

    CHECK(slots && bytes && fd >= 0);
    for (uint32_t i = 0; i < n; i++)
        slots[i] = i + 1;
    CHECK(plk_bat_encode(2, cluster / 512, slots, bytes, n));
    CHECK_INT(pwrite(fd, bytes, 4ull * n, PLK_HEADER_BYTES), 4ull * n);
    CHECK_INT(ftruncate(fd, (off_t)((n + 1ull) * cluster)), 0);
    CHECK(!plk_bat_encode(1, cluster / 512, slots, bytes, n));
    close(fd);
    free(bytes);
    free(slots);
}

TEST(preallocated_slots_above_2_tib_do_not_wrap)
{
    uint32_t cluster = 64 * MIB, n = 3 * TIB / cluster;
    PlkExtent x;
    Place p;

    create(&p, 3 * TIB, cluster, 2, PLK_FORMAT_EXPANDED);
    preallocate(&p, cluster, n);
    open_again(&p, 0);
    write_at(&p, 0, 1);
    write_at(&p, 3 * TIB - 8, 2);
    open_again(&p, 0);
    CHECK_INT(read_at(&p, 0), 1);
    CHECK_INT(read_at(&p, 3 * TIB - 8), 2);
    CHECK_INT(plk_disk_status(p.disk, 3 * TIB - 8, 8, &x), 0);
    CHECK_INT(x.file_offset, 3 * TIB + cluster - 8);
    end_place(&p);
}

TEST(preallocation_that_does_not_fit_is_no_space_and_leaves_nothing)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec,
                          .size_sectors = 1000 * TIB / 512,
                          .cluster_sectors = 131072,
                          .format = PLK_FORMAT_PREALLOCATED};
    Place p;

    make_place(&p);
    CHECK(plk_disk_create(p.image, &spec, NULL, NULL, "none", NULL, &p.err) < 0);
    CHECK(access(p.image, F_OK) < 0 && access(p.xml, F_OK) < 0);
    end_place(&p);
}

TEST(a_raw_base_under_deltas_keeps_its_bytes)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    uint64_t value;
    char guid[39];
    Place p;
    int fd;

    create(&p, 64 * MIB, 1 * MIB, 2, PLK_FORMAT_RAW);
    open_again(&p, 0);
    write_at(&p, 64 * MIB - 8, 1);
    write_at(&p, 0, 1);
    close_it(&p);
    CHECK_OK(plk_snapshot_create(p.xml, NULL, &spec, guid, &p.err), p.err);
    open_again(&p, 0);
    write_at(&p, 0, 2);
    open_again(&p, 0);
    CHECK_INT(read_at(&p, 0), 2);
    CHECK_INT(read_at(&p, 64 * MIB - 8), 1);
    fd = open(p.image, O_RDONLY);
    CHECK_INT(pread(fd, &value, 8, 0), 8);
    CHECK_INT(value, 1);
    close(fd);
    end_place(&p);
}

TEST_MAIN()
