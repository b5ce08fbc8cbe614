/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploop volumes: what counts as one, and what is done to them by their driver. */
#include <errno.h>

#include <ploopkit/filesystem.h>
#include <ploopkit/snapshot.h>

#include "io/lock.h"
#include "pool-dir.h"
#include "volume/descriptor-cache.h"
#include "volume/stream.h"

#define SIZE (8 * MIB)
#define GUID_1 "{11111111-1111-4111-8111-111111111111}"
#define GUID_2 "{22222222-2222-4222-8222-222222222222}"

static const PlkVolumeDriver *const ploop = &plk_driver_ploop;

static int try_create(const char *name, uint64_t capacity, unsigned flags, PlkError *err)
{
    PlkVolumeDef def = pool_def(name, PLK_FILE_PLOOP, capacity);
    PlkPlace at = pool_at(name);

    return ploop->create(&at, &def, flags, NULL, err);
}

static void create(const char *name)
{
    PlkError err;

    CHECK_OK(try_create(name, SIZE, PLK_CREATE_EMPTY, &err), err);
}

/* The disk reads `byte` from `at` on, for `len` bytes. */
static void put(const char *name, char byte, uint64_t at, size_t len)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .writable = true};
    char *bytes = malloc(len);
    PlkDisk *disk;
    PlkError err;

    memset(bytes, byte, len);
    CHECK_OK(plk_disk_open(name, &options, &disk, &err), err);
    CHECK_INT(plk_disk_write(disk, bytes, len, at), 0);
    CHECK_OK(plk_disk_close(disk, &err), err);
    free(bytes);
}

static int get(const char *name, uint64_t at)
{
    PlkDiskOptions options = {.struct_size = sizeof options};
    unsigned char byte;
    PlkDisk *disk;
    PlkError err;

    CHECK_OK(plk_disk_open(name, &options, &disk, &err), err);
    CHECK_INT(plk_disk_read(disk, &byte, 1, at), 0);
    plk_disk_close(disk, NULL);
    return byte;
}

static void snapshot(const char *name, const char *guid)
{
    PlkVolumeFacts f = pool_probe(name);
    PlkPlace at = pool_at(name);
    PlkError err;

    CHECK_OK(plk_volume_snapshot_create(&at, &f, guid, NULL, &err), err);
    plk_volume_facts_clear(&f);
}

static int clone_as(PlkFileFormat format, const char *name, const char *from, const char *guid, uint64_t capacity,
                    unsigned flags, PlkError *err)
{
    PlkVolumeDef def = pool_def(name, format, capacity);
    PlkVolumeFacts f = pool_probe(from);
    PlkVolumeOrigin origin = {.place = pool_at(from), .facts = &f, .snapshot = guid};
    PlkPlace at = pool_at(name);
    int r = plk_volume_driver(format)->clone(&at, &def, &origin, flags, NULL, err);

    plk_volume_facts_clear(&f);
    return r;
}

static int remove_it(const char *name, PlkError *err)
{
    PlkVolumeFacts f = pool_probe(name);
    PlkPlace at = pool_at(name);
    int r = plk_volume_driver_of(&f)->remove(&at, &f, err);

    plk_volume_facts_clear(&f);
    return r;
}

static void expect_reason(const char *name, const char *words)
{
    PlkVolumeFacts f = pool_probe(name);

    CHECK_INT(f.type, PLK_VOLUME_PLOOP);
    if (!f.reason || !strstr(f.reason, words))
        test_fail(__FILE__, __LINE__, "'%s' is not in the reason: %s", words, f.reason);
    plk_volume_facts_clear(&f);
}

static bool is_good(const char *name)
{
    PlkVolumeFacts f = pool_probe(name);
    bool good = !f.reason;

    plk_volume_facts_clear(&f);
    return good;
}

static uint64_t capacity(const char *name)
{
    PlkVolumeFacts f = pool_probe(name);
    uint64_t bytes = f.capacity;

    plk_volume_facts_clear(&f);
    return bytes;
}

static void expect_kind(const char *name, PlkVolumeType type)
{
    PlkVolumeFacts f = pool_probe(name);

    CHECK_INT(f.type, type);
    plk_volume_facts_clear(&f);
}

static void replace_in(const char *file, const char *old, const char *new)
{
    gchar *text, **parts, *joined;

    CHECK(g_file_get_contents(file, &text, NULL, NULL));
    CHECK(strstr(text, old));
    parts = g_strsplit(text, old, -1);
    joined = g_strjoinv(new, parts);
    CHECK(g_file_set_contents(file, joined, -1, NULL));
    g_free(joined);
    g_strfreev(parts);
    g_free(text);
}

/* ---- what counts as one ---- */

TEST(a_new_one_is_what_was_asked_for)
{
    PlkVolumeFacts f;
    PlkFsUsage usage;
    PlkDiskOptions options = {.struct_size = sizeof options};
    PlkDisk *disk;
    PlkError err;

    pool_make();
    create("a");
    f = pool_probe("a");
    CHECK(f.type == PLK_VOLUME_PLOOP && f.format == PLK_FILE_PLOOP && !f.reason && !f.snapshots && !f.base);
    CHECK_INT(f.capacity, SIZE);
    CHECK_INT(f.physical, pool_size("a/root.hds"));
    CHECK_INT(f.allocation, pool_blocks("a/root.hds") + pool_blocks("a/DiskDescriptor.xml"));
    CHECK_INT(f.mode, 0711);
    plk_volume_facts_clear(&f);
    CHECK_OK(try_create("b", 64 * MIB, 0, &err), err);
    CHECK_OK(plk_disk_open("b", &options, &disk, &err), err);
    CHECK_OK(plk_filesystem_usage(disk, &usage, &err), err);
    CHECK_STR(usage.type, "ext4");
    plk_disk_close(disk, NULL);
}

TEST(a_full_one_has_all_its_blocks)
{
    PlkVolumeDef def = pool_def("a", PLK_FILE_PLOOP, SIZE);
    PlkPlace at;
    PlkError err;

    pool_make();
    at = pool_at("a");
    def.allocation = SIZE;
    CHECK_OK(ploop->create(&at, &def, PLK_CREATE_EMPTY, NULL, &err), err);
    CHECK(pool_blocks("a/root.hds") >= SIZE);
}

TEST(owner_and_mode_are_those_of_the_definition)
{
    PlkVolumeDef def = pool_def("a", PLK_FILE_PLOOP, SIZE);
    struct stat st;
    PlkPlace at;
    PlkError err;

    pool_make();
    at = pool_at("a");
    def.target.permissions.mode = 0750;
    if (geteuid() == 0)
        def.target.permissions.uid = def.target.permissions.gid = 65534;
    CHECK_OK(ploop->create(&at, &def, PLK_CREATE_EMPTY, NULL, &err), err);
    CHECK(stat("a", &st) == 0 && (st.st_mode & 0777) == 0750);
    CHECK(stat("a/root.hds", &st) == 0 && (st.st_mode & 0777) == 0640);
    CHECK(geteuid() != 0 || st.st_uid == 65534);
}

TEST(a_failed_one_leaves_nothing)
{
    PlkVolumeDef def = pool_def("a", PLK_FILE_PLOOP, SIZE);
    PlkError err;

    pool_make();
    CHECK_FAILS(try_create("a", 1, 0, &err), err, PLK_ERROR_ARGUMENT);
    CHECK(try_create("a", 1ull << 62, PLK_CREATE_EMPTY, &err) < 0);
    CHECK_INT(pool_count(), 0);
    create("a");
    CHECK_FAILS(try_create("a", SIZE, PLK_CREATE_EMPTY, &err), err, PLK_ERROR_EXISTS);
    expect_kind("a", PLK_VOLUME_PLOOP);
    CHECK_FAILS(ploop->check(&def, PLK_CREATE_PREALLOC_METADATA, &err), err, PLK_ERROR_CONFIG);
}

TEST(it_takes_descriptor_and_base_image)
{
    PlkVolumeFacts f;

    pool_make();
    create("a");
    CHECK_INT(rename("a/DiskDescriptor.xml", "kept"), 0);
    expect_kind("a", PLK_VOLUME_DIR);
    CHECK_INT(rename("kept", "a/DiskDescriptor.xml"), 0);
    CHECK_INT(rename("a/root.hds", "a/root.hdd"), 0);
    expect_kind("a", PLK_VOLUME_DIR);
    replace_in("a/DiskDescriptor.xml", "root.hds", "root.hdd"); /* as in OpenVZ's directories */
    f = pool_probe("a");
    CHECK(f.type == PLK_VOLUME_PLOOP && !f.reason);
    CHECK_STR(f.base, "root.hdd");
    CHECK_INT(f.capacity, SIZE);
    plk_volume_facts_clear(&f);
}

TEST(what_is_wrong_with_one_is_its_reason)
{
    pool_make();
    create("garbage");
    pool_write("garbage/DiskDescriptor.xml", "<<<<<<<<<<", 10, 0);
    expect_reason("garbage", "DiskDescriptor.xml");
    create("header");
    pool_fill("header/root.hds", 'x', 64, 0);
    expect_reason("header", "root.hds");
    create("short");
    CHECK_INT(truncate("short/root.hds", 100), 0);
    expect_reason("short", "root.hds");
    create("link");
    CHECK(rename("link/root.hds", "elsewhere") == 0 && symlink("../elsewhere", "link/root.hds") == 0);
    expect_reason("link", "root.hds");
    create("delta");
    snapshot("delta", GUID_1);
    CHECK_INT(rename("delta/root.hds", "delta/base"), 0);
    replace_in("delta/DiskDescriptor.xml", "<File>root.hds</File>", "<File>base</File>");
    CHECK(is_good("delta"));
}

TEST(a_descriptor_leads_nowhere_else)
{
    static const char *const names[] = {"../other/root.hds", "/etc/shadow", "a/../../other/root.hds", "."};

    pool_make();
    create("other");
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        PlkError err;
        char top[128];

        create("a");
        g_snprintf(top, sizeof top, "<File>%s</File>", names[i]);
        replace_in("a/DiskDescriptor.xml", "<File>root.hds</File>", top);
        CHECK(!is_good("a"));
        CHECK_OK(remove_it("a", &err), err);
        create("a");
        snapshot("a", GUID_1);
        replace_in("a/DiskDescriptor.xml", "<File>root.hds.{", "<File>../other/root.hds.{"); /* of a delta */
        pool_fill("other/root.hds." GUID_2, 'o', 4, 0);
        CHECK_OK(remove_it("a", &err), err);
    }
    expect_kind("other", PLK_VOLUME_PLOOP);
    CHECK(pool_size("other/root.hds." GUID_2) == 4 && pool_count() == 1);
}

TEST(a_change_of_any_file_shows)
{
    PlkVolumeFacts before, after;
    PlkPlace at;
    PlkError err;

    pool_make();
    create("a");
    snapshot("a", GUID_1);
    at = pool_at("a");
    before = pool_probe("a");
    after = before;
    CHECK_INT(plk_volume_stat(&at, &after, &err), 0);
    CHECK(memcmp(before.fingerprint.digest, after.fingerprint.digest, sizeof after.fingerprint.digest) == 0);
    CHECK_INT(after.allocation, before.allocation);
    put("a", 'x', 0, MIB);
    CHECK_INT(plk_volume_stat(&at, &after, &err), 0);
    CHECK(memcmp(before.fingerprint.digest, after.fingerprint.digest, sizeof after.fingerprint.digest) != 0);
    CHECK(after.allocation >= before.allocation + MIB);
    CHECK_INT(rename("a", "b"), 0);
    CHECK_INT(plk_volume_stat(&at, &after, &err), 1);
    plk_volume_facts_clear(&before);
}

static PlkKnownDescriptor *know(uint64_t size_sectors)
{
    PlkDescriptor desc;
    PlkKnownDescriptor *known;
    char *text;
    size_t len;
    PlkError err;

    CHECK_OK(plk_descriptor_new(size_sectors, 2048, false, false, "root.hds", &desc, &err), err);
    CHECK_OK(plk_descriptor_print(&desc, &text, &len, &err), err);
    plk_descriptor_clear(&desc);
    known = plk_known_descriptor(text, len, "x", &err);
    if (!known)
        test_fail(__FILE__, __LINE__, "%s", err.message);
    free(text);
    CHECK_INT(known->desc.size_sectors, size_sectors);
    return known;
}

TEST(descriptors_alike_are_understood_once_and_others_are_their_own)
{
    PlkKnownDescriptor *first = know(2048), *again = know(2048), *other;
    PlkError err;

    CHECK(first == again);
    for (unsigned i = 2; i < 100; i++)
        plk_known_descriptor_unref(know(i * 2048));
    other = know(2048); /* pushed out meanwhile; who holds the first one keeps it */
    CHECK(other != first && first->desc.n_images == 1 && strcmp(first->desc.images[0].file, "root.hds") == 0);
    plk_known_descriptor_unref(first);
    plk_known_descriptor_unref(again);
    plk_known_descriptor_unref(other);
    for (int i = 0; i < 2; i++)
        CHECK(!plk_known_descriptor("<a/>", 4, "x", &err) && err.code == PLK_ERROR_DESCRIPTOR);
}

/* ---- clones ---- */

TEST(a_clone_is_the_same_to_the_byte)
{
    PlkError err;

    pool_make();
    create("a");
    put("a", 'a', 3 * MIB, 5);
    CHECK_OK(clone_as(PLK_FILE_PLOOP, "b", "a", NULL, 0, 0, &err), err);
    CHECK(pool_same("a/root.hds", "b/root.hds") && pool_same("a/DiskDescriptor.xml", "b/DiskDescriptor.xml"));
    put("b", 'b', 3 * MIB, 5);
    CHECK(get("a", 3 * MIB) == 'a' && get("b", 3 * MIB) == 'b');
    CHECK_OK(clone_as(PLK_FILE_PLOOP, "c", "a", NULL, 2 * SIZE, 0, &err), err);
    CHECK(get("c", 3 * MIB) == 'a' && get("c", 2 * SIZE - 1) == 0);
}

TEST(a_clone_has_the_snapshots_or_is_flat_or_is_of_one_of_them)
{
    PlkVolumeFacts f;
    PlkError err;

    pool_make();
    create("a");
    put("a", '1', 0, MIB);
    snapshot("a", GUID_1);
    put("a", '2', 0, MIB);
    put("a", '2', 5 * MIB, 10);
    snapshot("a", GUID_2);
    put("a", '3', MIB, 10);
    CHECK_OK(clone_as(PLK_FILE_PLOOP, "whole", "a", NULL, 0, PLK_CREATE_KEEP_SNAPSHOTS, &err), err);
    f = pool_probe("whole");
    CHECK(f.snapshots == 2 && !f.reason);
    plk_volume_facts_clear(&f);
    CHECK(get("whole", 0) == '2' && get("whole", MIB) == '3' && get("whole", 5 * MIB) == '2');
    CHECK_OK(clone_as(PLK_FILE_PLOOP, "flat", "a", NULL, 0, 0, &err), err);
    f = pool_probe("flat");
    CHECK(f.snapshots == 0 && !f.reason && f.capacity == SIZE);
    plk_volume_facts_clear(&f);
    CHECK(get("flat", 0) == '2' && get("flat", MIB) == '3' && get("flat", 2 * MIB) == 0);
    CHECK_OK(clone_as(PLK_FILE_PLOOP, "then", "a", GUID_1, 0, 0, &err), err);
    CHECK(get("then", 0) == '1' && get("then", MIB) == 0 && get("then", 5 * MIB) == 0);
    CHECK_FAILS(clone_as(PLK_FILE_PLOOP, "never", "a", "{33333333-3333-4333-8333-333333333333}", 0, 0, &err), err,
                PLK_ERROR_NO_SNAPSHOT);
    CHECK_FAILS(clone_as(PLK_FILE_PLOOP, "never", "a", NULL, 0, PLK_CREATE_REFLINK, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_INT(pool_count(), 4);
}

TEST(clones_come_from_and_go_to_other_formats)
{
    static const PlkFileFormat formats[] = {PLK_FILE_RAW, PLK_FILE_QCOW2};
    PlkError err;

    pool_make();
    create("a");
    put("a", 'a', 3 * MIB, MIB);
    snapshot("a", GUID_1);
    put("a", 'b', 4 * MIB, MIB);
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        CHECK_OK(clone_as(formats[i], "out", "a", NULL, 0, 0, &err), err);
        CHECK_OK(clone_as(PLK_FILE_PLOOP, "back", "out", NULL, 0, 0, &err), err);
        CHECK(get("back", 0) == 0 && get("back", 3 * MIB) == 'a' && get("back", 5 * MIB - 1) == 'b');
        CHECK(get("back", 5 * MIB) == 0 && capacity("back") == SIZE);
        CHECK_OK(remove_it("back", &err), err);
        CHECK_INT(unlink("out"), 0);
    }
    CHECK_OK(clone_as(PLK_FILE_RAW, "then", "a", GUID_1, 0, 0, &err), err);
    CHECK(pool_size("then") == SIZE && pool_byte("then", 3 * MIB) == 'a' && pool_byte("then", 4 * MIB) == 0);
    CHECK_INT(pool_count(), 2);
}

TEST(one_that_is_written_to_is_not_cloned)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .writable = true};
    PlkDisk *disk;
    PlkError err;

    pool_make();
    create("a");
    CHECK_OK(plk_disk_open("a", &options, &disk, &err), err);
    CHECK_FAILS(clone_as(PLK_FILE_PLOOP, "b", "a", NULL, 0, 0, &err), err, PLK_ERROR_STATE);
    CHECK_FAILS(clone_as(PLK_FILE_RAW, "b", "a", NULL, 0, 0, &err), err, PLK_ERROR_LOCKED);
    CHECK_FAILS(remove_it("a", &err), err, PLK_ERROR_STATE);
    plk_disk_close(disk, NULL);
    CHECK_INT(pool_count(), 1);
    CHECK(pool_size("a/root.hds") && pool_size("a/DiskDescriptor.xml"));
}

/* ---- removal ---- */

TEST(only_what_belongs_to_it_is_deleted)
{
    PlkError err;

    pool_make();
    pool_fill("precious", 'p', 4, 0);
    create("a");
    snapshot("a", GUID_1);
    pool_fill("a/mine", 'm', 4, 0);
    CHECK_FAILS(remove_it("a", &err), err, PLK_ERROR_SYSTEM);
    CHECK(strstr(err.message, "mine") && err.errnum == ENOTEMPTY);
    expect_kind("a", PLK_VOLUME_PLOOP);
    CHECK(is_good("a"));
    CHECK_INT(unlink("a/mine"), 0);
    CHECK_INT(symlink("../precious", "a/root.hds.lnk"), 0); /* goes itself */
    CHECK_OK(remove_it("a", &err), err);
    CHECK_INT(pool_count(), 1);
    CHECK_INT(pool_size("precious"), 4);
}

/* ---- resize and wipe ---- */

static int resize(const char *name, uint64_t capacity, unsigned flags, PlkError *err)
{
    PlkVolumeFacts f = pool_probe(name);
    PlkPlace at = pool_at(name);
    int r = ploop->resize(&at, &f, capacity, flags, NULL, err);

    plk_volume_facts_clear(&f);
    return r;
}

TEST(its_size_changes_with_and_without_a_filesystem)
{
    PlkError err;

    pool_make();
    create("a");
    put("a", 'a', 0, MIB);
    CHECK_OK(resize("a", 2 * SIZE, 0, &err), err);
    CHECK(capacity("a") == 2 * SIZE && get("a", 0) == 'a');
    CHECK_FAILS(resize("a", SIZE, 0, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(resize("a", 4 * SIZE, PLK_RESIZE_ALLOCATE, &err), err, PLK_ERROR_NOT_THIS_FORMAT);
    CHECK_OK(resize("a", SIZE, PLK_RESIZE_SHRINK, &err), err);
    CHECK_INT(capacity("a"), SIZE);
    snapshot("a", GUID_1);
    CHECK_FAILS(resize("a", SIZE / 2, PLK_RESIZE_SHRINK, &err), err, PLK_ERROR_STATE);
    CHECK_OK(try_create("b", 64 * MIB, 0, &err), err);
    CHECK_OK(resize("b", 128 * MIB, 0, &err), err);
    CHECK_INT(capacity("b"), 128 * MIB);
    CHECK(is_good("b"));
}

TEST(a_wiped_one_is_empty_and_the_same_volume)
{
    PlkVolumeFacts before, after;
    PlkPlace at;
    PlkError err;

    pool_make();
    create("a");
    put("a", 's', 0, MIB);
    snapshot("a", GUID_1);
    put("a", 't', MIB, MIB);
    CHECK_INT(chmod("a", 0750), 0);
    CHECK_INT(link("a/root.hds", "seen"), 0);
    before = pool_probe("a");
    at = pool_at("a");
    CHECK_OK(ploop->wipe(&at, &before, PLK_WIPE_ZERO, NULL, &err), err);
    after = pool_probe("a");
    CHECK(after.ino == before.ino && after.capacity == before.capacity && after.mode == 0750);
    CHECK(after.snapshots == 0 && !after.reason && get("a", 0) == 0 && get("a", MIB) == 0);
    for (uint64_t i = 0; i < pool_size("seen"); i += 512) /* what was overwritten, not just unlinked */
        CHECK_INT(pool_byte("seen", (off_t)i), 0);
    CHECK_FAILS(ploop->wipe(&at, &after, PLK_WIPE_ALGORITHMS, NULL, &err), err, PLK_ERROR_NO_ALGORITHM);
    plk_volume_facts_clear(&before);
    plk_volume_facts_clear(&after);
}

/* ---- streams ---- */

static int try_open(const char *name, PlkStreamWhat what, bool writing, uint64_t offset, PlkStream **ret, PlkError *err)
{
    PlkVolumeFacts f = pool_probe(name);
    PlkPlace at = pool_at(name);
    int r = ploop->open(&at, &f, what, writing, offset, 0, ret, err);

    plk_volume_facts_clear(&f);
    return r;
}

/* All of it into a file, holes left out. */
static void download(const char *name, PlkStreamWhat what, const char *file)
{
    static char buf[64 * 1024];
    PlkStream *s;
    PlkError err;
    uint64_t len;
    bool data;

    CHECK_OK(try_open(name, what, false, 0, &s, &err), err);
    pool_write(file, "", 0, 0);
    while (plk_stream_next(s, &data, &len) == 0 && len) {
        ssize_t n;

        if (!data) {
            CHECK_INT(plk_stream_skip(s, len), 0);
            continue;
        }
        n = plk_stream_read(s, buf, MIN(len, sizeof buf));
        CHECK(n > 0);
        pool_write(file, buf, (size_t)n, (off_t)s->position - n);
    }
    CHECK_INT(truncate(file, (off_t)s->position), 0);
    CHECK_OK(plk_stream_finish(s, &err), err);
    plk_stream_close(s);
}

/* Returns what finish() said. */
static int upload(const char *name, PlkStreamWhat what, const char *file, PlkError *err)
{
    gchar *bytes;
    PlkStream *s;
    gsize len;
    int r;

    CHECK(g_file_get_contents(file, &bytes, &len, NULL));
    CHECK_OK(try_open(name, what, true, 0, &s, err), (*err));
    CHECK_INT(plk_stream_write(s, bytes, len), 0);
    r = plk_stream_finish(s, err);
    plk_stream_close(s);
    g_free(bytes);
    return r;
}

TEST(its_image_goes_out_and_comes_in_and_the_descriptor_follows)
{
    PlkVolumeFacts f;
    PlkError err;

    pool_make();
    create("a");
    put("a", 'a', 3 * MIB, MIB);
    download("a", PLK_STREAM_CONTAINER, "image");
    CHECK(pool_same("image", "a/root.hds"));
    CHECK_OK(try_create("b", 2 * SIZE, PLK_CREATE_EMPTY, &err), err);
    CHECK_INT(truncate("b/root.hds", 0), 0);
    CHECK_OK(upload("b", PLK_STREAM_CONTAINER, "image", &err), err);
    f = pool_probe("b");
    CHECK(f.capacity == SIZE && !f.reason);
    CHECK(get("b", 3 * MIB) == 'a');
    plk_volume_facts_clear(&f);
}

TEST(content_that_is_no_image_is_told_and_the_old_descriptor_stays)
{
    PlkError err;

    pool_make();
    create("a");
    pool_fill("noise", 'n', 3 * MIB, 0);
    CHECK_FAILS(upload("a", PLK_STREAM_CONTAINER, "noise", &err), err, PLK_ERROR_FORMAT);
    CHECK(pool_size("a/DiskDescriptor.xml") > 0);
    expect_reason("a", "root.hds");
}

TEST(with_snapshots_only_the_disk_goes_out_and_comes_in)
{
    PlkStream *s;
    PlkError err;

    pool_make();
    create("a");
    put("a", 'a', 0, MIB);
    snapshot("a", GUID_1);
    put("a", 'b', 2 * MIB, MIB);
    CHECK_FAILS(try_open("a", PLK_STREAM_CONTAINER, false, 0, &s, &err), err, PLK_ERROR_STATE);
    CHECK_FAILS(try_open("a", PLK_STREAM_CONTAINER, true, 0, &s, &err), err, PLK_ERROR_STATE);
    download("a", PLK_STREAM_DISK, "disk");
    CHECK(pool_size("disk") == SIZE && pool_blocks("disk") <= 3 * MIB);
    CHECK(pool_byte("disk", 0) == 'a' && pool_byte("disk", MIB) == 0 && pool_byte("disk", 2 * MIB) == 'b');
    pool_fill("new", 'n', MIB, 0);
    CHECK_OK(upload("a", PLK_STREAM_DISK, "new", &err), err);
    CHECK(get("a", 0) == 'n' && get("a", 2 * MIB) == 'b');
    CHECK_OK(try_open("a", PLK_STREAM_DISK, true, 2 * MIB, &s, &err), err);
    CHECK_INT(plk_stream_hole(s, MIB), 0);
    CHECK_INT(plk_stream_hole(s, SIZE), -EFBIG);
    CHECK(plk_stream_finish(s, &err) < 0 && strstr(err.message, "resize"));
    plk_stream_close(s);
    CHECK_INT(get("a", 2 * MIB), 0);
}

/* ---- the map ---- */

static int add_run(void *arg, uint64_t offset, uint64_t length, bool data, const char *file, uint64_t file_offset)
{
    uint64_t *total = arg;

    CHECK_INT(offset, total[0] + total[1]);
    CHECK(!data || file);
    total[data] += length;
    return 0;
}

TEST(a_map_covers_the_disk)
{
    uint64_t total[2] = {0};
    PlkVolumeFacts f;
    PlkPlace at;
    PlkError err;

    pool_make();
    create("a");
    put("a", 'a', 2 * MIB, MIB);
    f = pool_probe("a");
    at = pool_at("a");
    CHECK_OK(plk_volume_map(&at, &f, add_run, total, &err), err);
    CHECK(total[0] + total[1] == SIZE && total[1] >= MIB && total[1] < 2 * MIB);
    plk_volume_facts_clear(&f);
}

TEST_MAIN()
