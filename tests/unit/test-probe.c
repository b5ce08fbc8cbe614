/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a look at a file finds: images as qemu-img makes them, and headers that nobody should make. */
#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "pool-dir.h"
#include "volume/probe.h"

static void put32(unsigned char *at, uint32_t v)
{
    v = htobe32(v);
    memcpy(at, &v, 4);
}

static void put64(unsigned char *at, uint64_t v)
{
    v = htobe64(v);
    memcpy(at, &v, 8);
}

/* A qcow2 header that is right; tests spoil it. */
static unsigned char *qcow2(uint32_t version)
{
    static unsigned char h[1024];

    memset(h, 0, sizeof h);
    memcpy(h, "QFI\xfb", 4);
    put32(h + 4, version);
    put32(h + 20, 16);
    put64(h + 24, 10 * MIB);
    if (version == 3)
        put32(h + 100, 104);
    return h;
}

static PlkProbe probe(const unsigned char *h, size_t len)
{
    /* Exactly as large as it says, so that a step behind the end is seen. */
    unsigned char *exact = malloc(len ? len : 1);
    PlkProbe p;

    memcpy(exact, h, len);
    plk_probe_header(exact, len, len, &p);
    free(exact);
    return p;
}

/* ---- images of qemu-img ---- */

TEST(images_of_qemu_are_recognised)
{
    static const struct {
        const char *name;
        PlkFileFormat format;
    } all[] = {{"qcow", PLK_FILE_QCOW}, {"qcow2", PLK_FILE_QCOW2}, {"qed", PLK_FILE_QED},
               {"vdi", PLK_FILE_VDI},   {"vmdk", PLK_FILE_VMDK},   {"raw", PLK_FILE_RAW}};

    pool_make();
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        CHECK_INT(QEMU_IMG("create", "-f", all[i].name, all[i].name, "10M"), 0);
        PlkVolumeFacts f = pool_probe(all[i].name);
        CHECK_INT(f.format, all[i].format);
        CHECK_INT(f.capacity, 10 * MIB);
        CHECK_INT(f.physical, pool_size(all[i].name));
        CHECK_INT(f.allocation, pool_blocks(all[i].name));
        CHECK(!f.reason && !f.backing && f.type == PLK_VOLUME_FILE);
        CHECK_INT(f.mode, 0644);
        plk_volume_facts_clear(&f);
    }
    CHECK_INT(QEMU_IMG("create", "-f", "vpc", "vpc", "10M"), 0);
    PlkVolumeFacts f = pool_probe("vpc");
    CHECK(f.format == PLK_FILE_VPC && f.capacity >= 10 * MIB && f.capacity < 11 * MIB);
    plk_volume_facts_clear(&f);
}

TEST(features_of_qcow2_are_told)
{
    PlkVolumeFacts f;

    pool_make();
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "-o",
                       "compat=1.1,lazy_refcounts=on,extended_l2=on,cluster_size=128k", "new", "10M"),
              0);
    f = pool_probe("new");
    CHECK(f.compat_1_1 && f.lazy_refcounts && f.extended_l2);
    CHECK_INT(f.cluster, 128 * 1024);
    plk_volume_facts_clear(&f);
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "-o", "compat=0.10", "old", "10M"), 0);
    f = pool_probe("old");
    CHECK(!f.compat_1_1 && !f.lazy_refcounts && !f.extended_l2);
    CHECK_INT(f.cluster, 65536);
    plk_volume_facts_clear(&f);
}

/* told: "./..." is in the pool. */
static void check_backing(const char *given, const char *told, PlkFileFormat format)
{
    g_autofree char *path = *told == '.' ? g_strconcat(pool_dir, told + 1, NULL) : g_strdup(told);
    PlkVolumeFacts f;

    CHECK_INT(QEMU_IMG("create", "-u", "-f", "qcow2", "-b", given, "-F", "raw", "top", "10M"), 0);
    f = pool_probe("top");
    CHECK_STR(f.backing, path);
    CHECK_INT(f.backing_format, format);
    CHECK(!f.reason);
    plk_volume_facts_clear(&f);
    unlink("top");
}

TEST(backing_files_are_told_and_not_looked_for)
{
    pool_make();
    check_backing("/nowhere/base", "/nowhere/base", PLK_FILE_RAW);
    check_backing("base", "./base", PLK_FILE_RAW);
    check_backing("../base", "./../base", PLK_FILE_RAW);
    check_backing("./a:b", "././a:b", PLK_FILE_RAW);
    check_backing("nbd:127.0.0.1:1", "nbd:127.0.0.1:1", PLK_FILE_RAW);
    check_backing("json:{\"driver\":\"null-co\"}", "json:{\"driver\":\"null-co\"}", PLK_FILE_RAW);
}

TEST(a_backing_format_that_nobody_wrote_is_auto)
{
    unsigned char *h = qcow2(2);
    PlkProbe p;

    put64(h + 8, 100);
    put32(h + 16, 4);
    memcpy(h + 100, "base", 4);
    p = probe(h, 512);
    CHECK_INT(p.backing_len, 4);
    CHECK_INT(p.backing_format, PLK_FILE_AUTO);
    CHECK(!p.fault);
}

TEST(encryption_is_told)
{
    unsigned char *h = qcow2(3);
    unsigned char luks[600] = "LUKS\xba\xbe";

    put32(h + 32, 2);
    CHECK_INT(probe(h, 512).encryption, PLK_ENCRYPTION_LUKS);
    put32(h + 32, 1);
    CHECK_INT(probe(h, 512).encryption, PLK_ENCRYPTION_QCOW);
    luks[7] = 1;
    luks[107] = 1; /* payload from sector 1 on */
    CHECK_INT(probe(luks, sizeof luks).encryption, PLK_ENCRYPTION_LUKS);
    CHECK_INT(probe(luks, sizeof luks).format, PLK_FILE_RAW);
    CHECK_INT(probe(luks, sizeof luks).capacity, sizeof luks - 512);
    luks[105] = 0xff;
    CHECK(probe(luks, sizeof luks).fault);
}

TEST(an_iso_is_known_by_its_mark_far_inside)
{
    PlkVolumeFacts f;

    pool_make();
    pool_write("cd", "CD001", 5, 32769);
    f = pool_probe("cd");
    CHECK_INT(f.format, PLK_FILE_ISO);
    CHECK_INT(f.capacity, 32774);
    plk_volume_facts_clear(&f);
    pool_write("near", "CD001", 4, 32769);
    f = pool_probe("near");
    CHECK_INT(f.format, PLK_FILE_RAW);
    plk_volume_facts_clear(&f);
}

/* ---- lies ---- */

TEST(a_size_nobody_can_have_is_a_fault_and_not_a_size)
{
    unsigned char *h = qcow2(3), vmdk[512] = "KDMV\1";

    put64(h + 24, UINT64_MAX);
    CHECK(probe(h, 512).fault);
    CHECK_INT(probe(h, 512).capacity, 0);
    CHECK_INT(probe(h, 512).format, PLK_FILE_QCOW2);
    memset(vmdk + 12, 0xff, 8); /* times 512 is beyond 64 bits */
    CHECK(probe(vmdk, sizeof vmdk).fault);
    CHECK_INT(probe(vmdk, sizeof vmdk).capacity, 0);
}

TEST(an_impossible_cluster_is_a_fault)
{
    unsigned char *h = qcow2(2);

    for (uint32_t bits = 0; bits < 200; bits++) {
        put32(h + 20, bits);
        CHECK_INT(probe(h, 512).fault == NULL, bits >= 9 && bits <= 21);
    }
}

TEST(a_backing_name_outside_of_the_header_is_a_fault)
{
    static const uint64_t at[] = {509, 512, 600, UINT32_MAX, UINT64_MAX, UINT64_MAX - 3};
    unsigned char *h = qcow2(2);

    put32(h + 16, 4);
    for (size_t i = 0; i < G_N_ELEMENTS(at); i++) {
        put64(h + 8, at[i]);
        CHECK(probe(h, 512).fault);
        CHECK(!probe(h, 512).backing);
    }
    put64(h + 8, 508);
    CHECK(!probe(h, 512).fault);
    put32(h + 16, UINT32_MAX);
    CHECK(probe(h, 512).fault);
}

TEST(a_corrupt_or_short_qcow2_has_a_reason)
{
    unsigned char *h = qcow2(3);
    PlkVolumeFacts f;

    pool_make();
    pool_write("short", h, 68, 0);
    f = pool_probe("short");
    CHECK(f.reason && f.format == PLK_FILE_QCOW2);
    plk_volume_facts_clear(&f);
    put64(h + 72, 2);
    pool_write("corrupt", h, 512, 0);
    f = pool_probe("corrupt");
    CHECK(f.reason && strstr(f.reason, "corrupt"));
    CHECK_INT(f.capacity, 10 * MIB);
    plk_volume_facts_clear(&f);
}

TEST(no_header_of_any_length_leads_outside)
{
    static const char *const marks[] = {"QFI\xfb\0\0\0\1", "QFI\xfb\0\0\0\2",  "QFI\xfb\0\0\0\3",
                                        "QED\0",           "KDMV\1\0\0\0",     "OOOM\0\0\0\2",
                                        "conectix",        "WithouFreSpacExt", "LUKS\xba\xbe\0\1"};
    static const size_t lens[] = {8, 8, 8, 4, 8, 8, 8, 16, 8};
    unsigned char h[2000];
    uint64_t x = 88172645463325252u;

    for (int round = 0; round < 20000; round++) {
        size_t i = round % G_N_ELEMENTS(marks);

        for (size_t n = 0; n < sizeof h; n++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            h[n] = x >> 32 & 3 ? 0 : x & 0xff;
        }
        memcpy(h, marks[i], lens[i]);
        PlkProbe p = probe(h, x % sizeof h);
        CHECK(p.capacity <= INT64_MAX && p.format > PLK_FILE_NONE && p.format < PLK_FILE_FORMATS);
    }
}

TEST(an_image_of_ploop_without_its_directory_is_told_so)
{
    PlkVolumeFacts f;

    pool_make();
    pool_fill("root.hds", 0, 4096, 0);
    pool_write("root.hds", "WithouFreSpacExt", 16, 0);
    f = pool_probe("root.hds");
    CHECK(f.format == PLK_FILE_PLOOP && f.type == PLK_VOLUME_FILE && f.reason);
    CHECK(plk_volume_driver_of(&f) == &plk_driver_raw);
    plk_volume_facts_clear(&f);
}

/* ---- what is a volume ---- */

static bool is_volume(const char *name)
{
    PlkVolumeFacts f;
    PlkPlace at = pool_at(name);
    PlkError err;
    int r = plk_volume_probe(&at, &f, &err);

    CHECK(r >= 0);
    if (r == 0)
        plk_volume_facts_clear(&f);
    return r == 0;
}

TEST(what_is_no_volume_is_not_listed)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);

    pool_make();
    alarm(10);
    CHECK(mkfifo("fifo", 0600) == 0 && bind(s, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(symlink("nowhere", "lost") == 0 && symlink("loop", "loop") == 0 && mkdir(".ploopkit", 0700) == 0);
    pool_fill("a\nb", 'x', 1, 0);
    pool_fill("a\x7f", 'x', 1, 0);
    pool_fill("\xff", 'x', 1, 0);
    CHECK(!is_volume("fifo") && !is_volume("socket") && !is_volume("lost") && !is_volume("loop"));
    CHECK(!is_volume(".ploopkit") && !is_volume("a\nb") && !is_volume("a\x7f") && !is_volume("\xff"));
    CHECK(!is_volume("..") && !is_volume("vanished"));
    pool_fill("-rf", 'x', 1, 0);
    pool_fill("nbd:x", 'x', 1, 0);
    pool_fill("json:{}", 'x', 1, 0);
    pool_fill("ü", 'x', 1, 0);
    CHECK(is_volume("-rf") && is_volume("nbd:x") && is_volume("json:{}") && is_volume("ü"));
    alarm(0);
    close(s);
}

TEST(a_link_is_a_volume_that_cannot_be_used)
{
    PlkVolumeFacts f;

    pool_make();
    CHECK(symlink("/etc/passwd", "far") == 0);
    f = pool_probe("far");
    CHECK(f.reason && strstr(f.reason, "link"));
    CHECK_INT(f.capacity, 0);
    plk_volume_facts_clear(&f);
}

TEST(directories_have_no_size)
{
    PlkVolumeFacts f;

    pool_make();
    CHECK(mkdir("d", 0711) == 0);
    f = pool_probe("d");
    CHECK(f.type == PLK_VOLUME_DIR && f.format == PLK_FILE_DIR && !f.reason);
    CHECK(f.capacity == 0 && f.allocation == 0 && f.physical == 0);
    CHECK_INT(f.mode, 0711);
    plk_volume_facts_clear(&f);
}

/* A probe that opened what the header names would wait for the fifo's writer. */
TEST(a_backing_fifo_stops_nobody)
{
    PlkVolumeFacts f;

    pool_make();
    CHECK(mkfifo("fifo", 0600) == 0);
    CHECK_INT(QEMU_IMG("create", "-u", "-f", "qcow2", "-b", "fifo", "-F", "raw", "top", "10M"), 0);
    alarm(5);
    f = pool_probe("top");
    alarm(0);
    CHECK(!f.reason && f.backing);
    plk_volume_facts_clear(&f);
}

/* ---- fingerprints ---- */

TEST(a_fingerprint_stays_until_something_changes)
{
    PlkVolumeFacts a, b;
    PlkPlace at;
    PlkError err;
    struct timespec age = {.tv_nsec = 30 * 1000000};

    pool_make();
    pool_fill("v", 'x', 4096, 0);
    at = pool_at("v");
    a = pool_probe("v");
    CHECK(!a.fingerprint.trusted);
    nanosleep(&age, NULL);
    plk_volume_facts_clear(&a);
    a = pool_probe("v");
    b = a;
    CHECK(a.fingerprint.trusted);
    CHECK_OK(plk_volume_stat(&at, &b, &err), err);
    CHECK(memcmp(a.fingerprint.digest, b.fingerprint.digest, sizeof a.fingerprint.digest) == 0);
    pool_fill("v", 'y', 4096, 4096);
    CHECK_OK(plk_volume_stat(&at, &b, &err), err);
    CHECK(memcmp(a.fingerprint.digest, b.fingerprint.digest, sizeof a.fingerprint.digest) != 0);
    CHECK_INT(b.capacity, 8192);
    CHECK(unlink("v") == 0);
    CHECK_INT(plk_volume_stat(&at, &b, &err), 1);
    plk_volume_facts_clear(&a);
}

/* The time of a change can be set back by its owner, but not the time of that. */
TEST(a_change_that_hides_is_seen)
{
    PlkVolumeFacts a, b;
    PlkPlace at;
    PlkError err;
    struct timespec age = {.tv_nsec = 30 * 1000000}, times[2];

    pool_make();
    pool_fill("v", 'x', 4096, 0);
    nanosleep(&age, NULL);
    at = pool_at("v");
    a = pool_probe("v");
    b = a;
    times[0] = a.atime;
    times[1] = a.mtime;
    pool_fill("v", 'y', 4096, 0);
    CHECK(utimensat(AT_FDCWD, "v", times, 0) == 0);
    CHECK_OK(plk_volume_stat(&at, &b, &err), err);
    CHECK(memcmp(a.fingerprint.digest, b.fingerprint.digest, sizeof a.fingerprint.digest) != 0);
    plk_volume_facts_clear(&a);
}

TEST(a_description_says_what_was_found)
{
    g_autofree char *base = NULL;
    PlkVolumeFacts f;
    PlkVolumeDef *def;
    PlkPlace at;

    pool_make();
    at = pool_at("top");
    base = g_strdup_printf("%s/base", pool_dir);
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "base", "10M"), 0);
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top", "20M"), 0);
    f = pool_probe("top");
    def = plk_volume_describe(&at, &f);
    CHECK_INT(def->capacity, 20 * MIB);
    CHECK_STR(def->target.compat, "1.1");
    CHECK(def->target.has_features && def->target.has_times && def->target.permissions.mode == 0644);
    CHECK(g_str_has_suffix(def->key, "/top") && strcmp(def->key, def->target.path) == 0);
    CHECK_STR(def->backing->path, base);
    CHECK_INT(def->backing->format, PLK_FILE_QCOW2);
    CHECK_INT(def->backing->permissions.mode, 0644);
    plk_volume_def_free(def);
    plk_volume_facts_clear(&f);
}

TEST_MAIN()
