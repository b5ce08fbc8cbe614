/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Wiping: what each method leaves behind, how often it writes, and that nothing of the volume's nature changes. */
#include <errno.h>

#include "pool-dir.h"
#include "volume/plain.h"

#define SIZE (4 * MIB + 12345) /* more than one buffer, and no round number */

static unsigned count_told;
static uint64_t total_told, done_told;
static int stop_at;

static int tell(void *arg, const char *what, uint64_t done, uint64_t total)
{
    count_told++;
    done_told = done;
    total_told = total;
    return stop_at && (int)count_told >= stop_at;
}

static int wipe(const char *name, PlkWipe how, PlkError *err)
{
    static const PlkProgress progress = {tell, NULL};
    PlkVolumeFacts f = pool_probe(name);
    PlkPlace at = pool_at(name);
    int r;

    count_told = 0;
    r = plk_volume_driver(f.format)->wipe(&at, &f, how, &progress, err);
    plk_volume_facts_clear(&f);
    return r;
}

static unsigned char *contents(const char *name, gsize *ret_len)
{
    gchar *bytes;

    CHECK(g_file_get_contents(name, &bytes, ret_len, NULL));
    return (unsigned char *)bytes;
}

/* All bytes are `byte`; -1: they look random, and nothing of the old is left. */
static void check_left(const char *name, int byte)
{
    gsize len, histogram[256] = {0};
    unsigned char *bytes = contents(name, &len);

    CHECK_INT(len, SIZE);
    for (gsize i = 0; i < len; i++)
        histogram[bytes[i]]++;
    for (int b = 0; b < 256; b++) {
        if (byte >= 0)
            CHECK_INT(histogram[b], b == byte ? SIZE : 0);
        else
            CHECK(histogram[b] > len / 256 * 9 / 10 && histogram[b] < len / 256 * 11 / 10);
    }
    g_free(bytes);
}

TEST(each_method_passes_as_often_as_it_says_and_leaves_what_it_says)
{
    static const struct {
        PlkWipe how;
        unsigned passes;
        int left;
    } all[] = {
        {PLK_WIPE_ZERO, 1, 0},          {PLK_WIPE_NNSA, 4, 0},        {PLK_WIPE_DOD, 4, 0xff},
        {PLK_WIPE_BSI, 9, 0x7f},        {PLK_WIPE_GUTMANN, 35, -1},   {PLK_WIPE_SCHNEIER, 7, -1},
        {PLK_WIPE_PFITZNER7, 7, -1},    {PLK_WIPE_PFITZNER33, 33, -1}, {PLK_WIPE_RANDOM, 1, -1},
    };
    PlkError err;

    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        struct stat before, after;

        pool_make();
        pool_fill("v", 'a', SIZE, 0);
        CHECK(stat("v", &before) == 0);
        CHECK_OK(wipe("v", all[i].how, &err), err);
        check_left("v", all[i].left);
        CHECK(stat("v", &after) == 0 && before.st_ino == after.st_ino && before.st_mode == after.st_mode);
        CHECK_INT(done_told, total_told);
        CHECK_INT(total_told % all[i].passes, 0);
        CHECK(total_told / all[i].passes >= SIZE && total_told / all[i].passes < SIZE + 4096);
    }
}

TEST(patterns_go_on_over_the_edges_of_writes)
{
    PlkVolumeFacts f;
    gsize len;
    unsigned char *bytes;
    PlkError err;

    pool_make();
    CHECK(close(creat("v", 0600)) == 0 && truncate("v", SIZE) == 0);
    pool_fill("v", 'a', 3 * MIB + 4096, MIB); /* data that begins and ends anywhere */
    f = pool_probe("v");
    CHECK_OK(wipe("v", PLK_WIPE_BSI, &err), err);
    bytes = contents("v", &len);
    CHECK(bytes[MIB] == 0x7f && bytes[4 * MIB + 4095] == 0x7f && !memchr(bytes, 'a', len));
    g_free(bytes);
    plk_volume_facts_clear(&f);
}

TEST(a_sparse_one_stays_sparse)
{
    uint64_t blocks;
    PlkError err;

    pool_make();
    CHECK(close(creat("v", 0600)) == 0 && truncate("v", 1024 * MIB) == 0);
    pool_fill("v", 'a', 65536, 512 * MIB);
    blocks = pool_blocks("v");
    CHECK_OK(wipe("v", PLK_WIPE_DOD, &err), err);
    CHECK_INT(pool_size("v"), 1024 * MIB);
    CHECK_INT(pool_blocks("v"), blocks);
    CHECK_INT(pool_byte("v", 512 * MIB), 0xff);
    CHECK_INT(pool_byte("v", 0), 0);
}

/* Room that was never written is no data until somebody reads it: reading ahead for a verification must not. */
TEST(one_with_room_that_was_never_written_is_verified)
{
    PlkError err;
    int fd;

    pool_make();
    fd = creat("v", 0600);
    CHECK(fd >= 0 && fallocate(fd, 0, 0, 16 * MIB) == 0 && close(fd) == 0);
    for (unsigned mib = 0; mib < 16; mib += 4)
        pool_fill("v", 'a', MIB + 4096, mib * MIB);
    CHECK_OK(wipe("v", PLK_WIPE_DOD, &err), err);
    CHECK_INT(pool_byte("v", 12 * MIB), 0xff);
    CHECK_INT(pool_byte("v", 14 * MIB), 0);
}

TEST(a_trimmed_one_takes_no_room)
{
    PlkError err;

    pool_make();
    pool_fill("v", 'a', SIZE, 0);
    CHECK_OK(wipe("v", PLK_WIPE_TRIM, &err), err);
    check_left("v", 0);
    CHECK_INT(pool_blocks("v"), 0);
}

TEST(an_empty_one_is_wiped_at_once)
{
    PlkError err;

    pool_make();
    CHECK(close(creat("v", 0600)) == 0);
    for (int how = 0; how < PLK_WIPE_ALGORITHMS; how++)
        CHECK_OK(wipe("v", how, &err), err);
    CHECK_INT(pool_size("v"), 0);
}

TEST(an_unknown_method_is_refused)
{
    PlkError err;

    pool_make();
    pool_fill("v", 'a', 10, 0);
    CHECK_FAILS(wipe("v", PLK_WIPE_ALGORITHMS, &err), err, PLK_ERROR_NO_ALGORITHM);
    CHECK_FAILS(wipe("v", (PlkWipe)-1, &err), err, PLK_ERROR_NO_ALGORITHM);
    CHECK_INT(pool_byte("v", 9), 'a');
}

TEST(a_wipe_stops_on_demand)
{
    PlkError err;

    pool_make();
    pool_fill("v", 'a', 10 * MIB, 0);
    stop_at = 1;
    CHECK_FAILS(wipe("v", PLK_WIPE_GUTMANN, &err), err, PLK_ERROR_CANCELLED);
    stop_at = 0;
    CHECK_INT(pool_size("v"), 10 * MIB);
}

TEST(two_random_wipes_differ)
{
    PlkError err;

    pool_make();
    pool_fill("v", 'a', SIZE, 0);
    pool_fill("w", 'a', SIZE, 0);
    CHECK_OK(wipe("v", PLK_WIPE_RANDOM, &err), err);
    CHECK_OK(wipe("w", PLK_WIPE_RANDOM, &err), err);
    CHECK(!pool_same("v", "w"));
}

/* ---- formats ---- */

static void check_wiped_image(const char *format, const char *options)
{
    g_autofree char *text = NULL;
    struct stat before, after;
    PlkVolumeFacts old, new;
    gsize len;
    PlkError err;

    pool_make();
    pool_fill("data", 'S', MIB, 0);
    CHECK_INT(QEMU_IMG("convert", "-f", "raw", "-O", format, "-o", options, "data", "v"), 0);
    CHECK(chmod("v", 0640) == 0 && stat("v", &before) == 0);
    old = pool_probe("v");
    CHECK_OK(wipe("v", PLK_WIPE_DOD, &err), err);
    new = pool_probe("v");
    CHECK(stat("v", &after) == 0 && before.st_ino == after.st_ino && before.st_mode == after.st_mode);
    CHECK_INT(new.format, old.format);
    CHECK_INT(new.capacity, old.capacity);
    CHECK_INT(new.cluster, old.cluster);
    CHECK(new.compat_1_1 == old.compat_1_1 && new.lazy_refcounts == old.lazy_refcounts &&
          new.extended_l2 == old.extended_l2);
    text = (char *)contents("v", &len);
    CHECK(!memmem(text, len, "SSSSSSSS", 8));
    CHECK_INT(QEMU_IMG("convert", "-f", format, "-O", "raw", "v", "out"), 0);
    CHECK(pool_blocks("out") <= 4096); /* qemu-img always writes the first block */
    CHECK_INT(pool_byte("out", 0), 0);
    plk_volume_facts_clear(&old);
    plk_volume_facts_clear(&new);
}

TEST(a_wiped_qcow2_is_an_empty_one_of_its_kind)
{
    check_wiped_image("qcow2", "compat=0.10");
    check_wiped_image("qcow2", "compat=1.1,lazy_refcounts=on,cluster_size=128k,extended_l2=on");
}

TEST(wiped_images_of_other_formats_keep_them)
{
    check_wiped_image("qed", "cluster_size=65536");
    check_wiped_image("vdi", "static=off");
    check_wiped_image("vmdk", "compat6=off");
}

TEST(a_wiped_overlay_rests_on_nothing)
{
    PlkVolumeFacts f;
    PlkError err;

    pool_make();
    pool_fill("base", 'S', MIB, 0);
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "-b", "base", "-F", "raw", "v"), 0);
    CHECK_OK(wipe("v", PLK_WIPE_ZERO, &err), err);
    f = pool_probe("v");
    CHECK(!f.backing && f.capacity == MIB);
    CHECK_INT(pool_byte("base", 0), 'S');
    CHECK_INT(QEMU_IMG("convert", "-f", "qcow2", "-O", "raw", "v", "out"), 0);
    CHECK_INT(pool_byte("out", 0), 0);
    plk_volume_facts_clear(&f);
}

TEST_MAIN()
