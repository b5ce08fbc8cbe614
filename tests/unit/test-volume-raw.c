/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raw images: made, cloned to the byte, resized, guarded against their other users. */
#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "io/lock.h"
#include "pool-dir.h"
#include "volume/stream.h"

static const PlkVolumeDriver *const raw = &plk_driver_raw;

static void create(const char *name, uint64_t capacity, uint64_t allocation)
{
    PlkVolumeDef def = pool_def(name, PLK_FILE_RAW, capacity);
    PlkPlace at = pool_at(name);
    PlkError err;

    def.allocation = allocation;
    CHECK_OK(raw->create(&at, &def, 0, NULL, &err), err);
}

static int clone_to(const char *name, const char *from, uint64_t capacity, unsigned flags, PlkError *err)
{
    PlkVolumeDef def = pool_def(name, PLK_FILE_RAW, capacity);
    PlkVolumeFacts f = pool_probe(from);
    PlkVolumeOrigin origin = {.place = pool_at(from), .facts = &f};
    PlkPlace at = pool_at(name);
    int r = raw->clone(&at, &def, &origin, flags, NULL, err);

    plk_volume_facts_clear(&f);
    return r;
}

/* ---- create ---- */

TEST(a_new_one_is_as_large_and_as_full_as_asked)
{
    PlkPlace at;
    PlkVolumeDef def = pool_def("sparse", PLK_FILE_RAW, MIB);
    PlkError err;

    pool_make();
    at = pool_at("sparse");
    create("sparse", 10 * MIB, 0);
    CHECK_INT(pool_size("sparse"), 10 * MIB);
    CHECK_INT(pool_blocks("sparse"), 0);
    create("full", 10 * MIB, 10 * MIB);
    CHECK(pool_blocks("full") >= 10 * MIB);
    create("half", 10 * MIB, 5 * MIB);
    CHECK(pool_blocks("half") >= 5 * MIB && pool_blocks("half") < 6 * MIB);
    create("more", 10 * MIB, 20 * MIB);
    CHECK_INT(pool_size("more"), 10 * MIB);
    create("odd", 1000001, 0);
    CHECK_INT(pool_size("odd"), 1000001);
    CHECK_FAILS(raw->create(&at, &def, 0, NULL, &err), err, PLK_ERROR_EXISTS);
    CHECK_INT(pool_size("sparse"), 10 * MIB);
}

TEST(a_new_one_belongs_to_whom_it_says)
{
    PlkVolumeDef def = pool_def("v", PLK_FILE_RAW, MIB);
    PlkPlace at;
    struct stat st;
    PlkError err;
    mode_t before = umask(0);

    pool_make();
    at = pool_at("v");
    CHECK_OK(raw->create(&at, &def, 0, NULL, &err), err);
    CHECK(stat("v", &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_uid == geteuid());
    CHECK(unlink("v") == 0);
    umask(077);
    def.target.permissions.mode = 0644;
    if (geteuid() == 0)
        def.target.permissions.uid = def.target.permissions.gid = 4711;
    CHECK_OK(raw->create(&at, &def, 0, NULL, &err), err);
    CHECK(stat("v", &st) == 0 && (st.st_mode & 07777) == 0644);
    CHECK(geteuid() || (st.st_uid == 4711 && st.st_gid == 4711));
    umask(before);
}

TEST(what_raw_cannot_be_is_refused_before_anything_is_made)
{
    PlkVolumeDef def = pool_def("v", PLK_FILE_RAW, MIB);
    PlkVolumeTarget backing = {.path = (char *)"x"};
    PlkEncryptionDef luks = {.format = PLK_ENCRYPTION_LUKS};
    PlkError err;

    CHECK_FAILS(raw->check(&def, PLK_CREATE_PREALLOC_METADATA, &err), err, PLK_ERROR_CONFIG);
    def.backing = &backing;
    CHECK_FAILS(raw->check(&def, 0, &err), err, PLK_ERROR_NO_SUPPORT);
    def.backing = NULL;
    def.target.encryption = &luks;
    CHECK_FAILS(raw->check(&def, 0, &err), err, PLK_ERROR_CONFIG);
}

TEST(a_failed_create_leaves_nothing)
{
    struct rlimit limit = {MIB, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
    PlkVolumeDef def = pool_def("v", PLK_FILE_RAW, 2 * MIB);
    PlkPlace at;
    PlkError err;
    int r;

    pool_make();
    at = pool_at("v");
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    r = raw->create(&at, &def, 0, NULL, &err);
    setrlimit(RLIMIT_FSIZE, &none);
    CHECK_INT(r, -1);
    CHECK_INT(pool_count(), 0);
}

/* ---- clone ---- */

TEST(a_clone_is_the_same_to_the_byte_and_as_sparse)
{
    PlkError err;

    pool_make();
    CHECK(truncate("src", 0) < 0 && close(creat("src", 0600)) == 0 && truncate("src", 64 * MIB + 7) == 0);
    pool_fill("src", 'a', 100000, 5 * MIB);
    pool_fill("src", 'b', 7, 64 * MIB);
    CHECK_OK(clone_to("dst", "src", 0, 0, &err), err);
    CHECK(pool_same("src", "dst"));
    CHECK(pool_blocks("dst") <= pool_blocks("src") + 65536);
    CHECK_INT(pool_size("dst"), 64 * MIB + 7);
    CHECK(truncate("src", 70 * MIB + 1) == 0 && unlink("dst") == 0); /* and one that ends in a hole */
    CHECK_OK(clone_to("dst", "src", 0, 0, &err), err);
    CHECK(pool_same("src", "dst"));
}

TEST(a_clone_may_be_larger_and_is_never_smaller)
{
    PlkError err;

    pool_make();
    pool_fill("src", 'a', 100000, 0);
    CHECK_OK(clone_to("large", "src", MIB, 0, &err), err);
    CHECK_INT(pool_size("large"), MIB);
    CHECK_INT(pool_byte("large", 99999), 'a');
    CHECK_INT(pool_byte("large", 100000), 0);
    CHECK_OK(clone_to("small", "src", 10, 0, &err), err);
    CHECK(pool_same("src", "small"));
}

TEST(an_empty_source_makes_an_empty_clone)
{
    PlkError err;

    pool_make();
    CHECK(close(creat("src", 0600)) == 0);
    CHECK_OK(clone_to("dst", "src", 0, 0, &err), err);
    CHECK_INT(pool_size("dst"), 0);
}

TEST(a_reflink_shares_or_fails)
{
    PlkError err;
    int r;

    pool_make();
    pool_fill("src", 'a', MIB, 0);
    r = clone_to("dst", "src", 0, PLK_CREATE_REFLINK, &err);
    if (r == 0) {
        CHECK(pool_same("src", "dst"));
    } else {
        CHECK_INT(err.code, PLK_ERROR_SYSTEM);
        CHECK_INT(err.errnum, EOPNOTSUPP);
        CHECK_INT(pool_count(), 1);
    }
}

typedef struct Told {
    uint64_t done, total;
    unsigned calls, stop_after;
} Told;

static int tell(void *arg, const char *what, uint64_t done, uint64_t total)
{
    Told *told = arg;

    told->done = done;
    told->total = total;
    return ++told->calls == told->stop_after;
}

TEST(a_clone_tells_how_far_it_is_and_stops_on_demand)
{
    Told told = {0};
    const PlkProgress progress = {tell, &told};
    PlkVolumeDef def = pool_def("dst", PLK_FILE_RAW, 0);
    PlkVolumeFacts f;
    PlkVolumeOrigin origin;
    PlkPlace at;
    PlkError err;

    pool_make();
    pool_fill("src", 'a', 40 * MIB, 0);
    at = pool_at("dst");
    f = pool_probe("src");
    origin = (PlkVolumeOrigin){.place = pool_at("src"), .facts = &f};
    CHECK_OK(raw->clone(&at, &def, &origin, 0, &progress, &err), err);
    CHECK(told.calls && told.done == 40 * MIB && told.total == 40 * MIB);
    CHECK(unlink("dst") == 0);
    told = (Told){.stop_after = 1};
    CHECK_FAILS(raw->clone(&at, &def, &origin, 0, &progress, &err), err, PLK_ERROR_CANCELLED);
    CHECK_INT(pool_count(), 1);
    plk_volume_facts_clear(&f);
}

TEST(other_formats_become_their_disk)
{
    PlkError err;

    pool_make();
    pool_fill("plain", 'a', MIB, 0);
    CHECK(truncate("plain", 5 * MIB) == 0);
    CHECK_INT(QEMU_IMG("convert", "-f", "raw", "-O", "qcow2", "plain", "src"), 0);
    CHECK_OK(clone_to("dst", "src", 0, 0, &err), err);
    CHECK(pool_same("plain", "dst"));
    CHECK(pool_blocks("dst") < 3 * MIB);
    CHECK_OK(clone_to("large", "src", 8 * MIB, 0, &err), err);
    CHECK_INT(pool_size("large"), 8 * MIB);
}

/* The source is a raw volume whose guest wrote an image header into it. */
TEST(a_raw_source_is_never_taken_for_something_else)
{
    PlkVolumeDef def = pool_def("dst", PLK_FILE_QCOW2, 0);
    PlkVolumeFacts f;
    PlkVolumeOrigin origin;
    PlkPlace at;
    PlkError err;

    pool_make();
    at = pool_at("dst");
    pool_fill("secret", 's', 65536, 0);
    CHECK_INT(QEMU_IMG("create", "-u", "-f", "qcow2", "-b", "secret", "-F", "raw", "src", "64k"), 0);
    f = pool_probe("src");
    f.format = PLK_FILE_RAW; /* as a caller that knows better says */
    origin = (PlkVolumeOrigin){.place = pool_at("src"), .facts = &f};
    CHECK_OK(plk_driver_qemu.clone(&at, &def, &origin, 0, NULL, &err), err);
    CHECK_INT(QEMU_IMG("convert", "-f", "qcow2", "-O", "raw", "dst", "out"), 0);
    CHECK_INT(pool_byte("out", 0), 'Q');
    plk_volume_facts_clear(&f);
}

/* ---- a full disk ---- */

/* A filesystem of 1 MiB in the pool's directory "small"; its descriptor, or -1 where that is not allowed. */
static int mount_small(void)
{
    CHECK(mkdir("small", 0700) == 0);
    if (mount("none", "small", "tmpfs", 0, "size=1m") < 0)
        return -1;
    return open("small", O_RDONLY | O_DIRECTORY);
}

static void umount_small(int small)
{
    close(small);
    umount2("small", MNT_DETACH);
}

TEST(a_copy_onto_a_full_disk_fails_and_leaves_nothing)
{
    PlkVolumeDef def = pool_def("dst", PLK_FILE_RAW, 0);
    PlkVolumeFacts f;
    PlkVolumeOrigin origin;
    PlkPlace at;
    PlkError err;
    int small, r;
    bool left;

    pool_make();
    small = mount_small();
    if (small < 0)
        return;
    pool_fill("src", 'a', 2 * MIB, 0);
    f = pool_probe("src");
    origin = (PlkVolumeOrigin){.place = pool_at("src"), .facts = &f};
    at = (PlkPlace){.dir = small, .dir_path = "small", .name = "dst"};
    r = raw->clone(&at, &def, &origin, 0, NULL, &err);
    left = access("small/dst", F_OK) == 0;
    umount_small(small);
    plk_volume_facts_clear(&f);
    CHECK_INT(r, -1);
    CHECK_INT(err.code, PLK_ERROR_NO_SPACE);
    CHECK(!left);
}

TEST(a_resize_onto_a_full_disk_keeps_the_old_size)
{
    PlkVolumeFacts f = {.format = PLK_FILE_RAW, .encryption = PLK_ENCRYPTION_NONE};
    uint64_t size;
    PlkPlace at;
    PlkError err;
    int small, r;

    pool_make();
    small = mount_small();
    if (small < 0)
        return;
    pool_fill("small/v", 'a', 65536, 0);
    at = (PlkPlace){.dir = small, .dir_path = "small", .name = "v"};
    r = raw->resize(&at, &f, 8 * MIB, PLK_RESIZE_ALLOCATE, NULL, &err);
    size = pool_size("small/v");
    umount_small(small);
    CHECK_INT(r, -1);
    CHECK_INT(err.code, PLK_ERROR_NO_SPACE);
    CHECK_INT(size, 65536);
}

/* ---- resize ---- */

static int resize(const char *name, uint64_t capacity, unsigned flags, PlkError *err)
{
    PlkVolumeFacts f = pool_probe(name);
    PlkPlace at = pool_at(name);
    int r = raw->resize(&at, &f, capacity, flags, NULL, err);

    plk_volume_facts_clear(&f);
    return r;
}

TEST(a_resize_grows_keeps_and_shrinks_only_when_told)
{
    PlkError err;

    pool_make();
    pool_fill("v", 'a', MIB, 0);
    CHECK_OK(resize("v", 4 * MIB, 0, &err), err);
    CHECK_INT(pool_size("v"), 4 * MIB);
    CHECK_INT(pool_byte("v", MIB - 1), 'a');
    CHECK_INT(pool_byte("v", MIB), 0);
    CHECK_FAILS(resize("v", MIB / 2, 0, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_INT(pool_size("v"), 4 * MIB);
    CHECK_OK(resize("v", MIB / 2, PLK_RESIZE_SHRINK, &err), err);
    CHECK_INT(pool_size("v"), MIB / 2);
    CHECK_OK(resize("v", 3 * MIB, PLK_RESIZE_ALLOCATE, &err), err);
    CHECK(pool_blocks("v") >= 3 * MIB);
}

TEST(a_resize_that_fails_changes_nothing)
{
    struct rlimit limit = {2 * MIB, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
    PlkError err;
    int r;

    pool_make();
    pool_fill("v", 'a', MIB, 0);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    r = resize("v", 3 * MIB, PLK_RESIZE_ALLOCATE, &err);
    setrlimit(RLIMIT_FSIZE, &none);
    CHECK_INT(r, -1);
    CHECK_INT(pool_size("v"), MIB);
    CHECK_FAILS(resize("v", UINT64_MAX, 0, &err), err, PLK_ERROR_TRUNCATE);
}

TEST(a_stray_ploop_image_is_not_resized_as_if_it_were_raw)
{
    PlkVolumeFacts f = {.format = PLK_FILE_PLOOP, .encryption = PLK_ENCRYPTION_NONE};
    PlkPlace at;
    PlkError err;

    pool_make();
    at = pool_at("root.hds");
    pool_fill("root.hds", 'a', 4096, 0);
    CHECK_FAILS(raw->resize(&at, &f, MIB, 0, NULL, &err), err, PLK_ERROR_NOT_THIS_FORMAT);
    CHECK_INT(pool_size("root.hds"), 4096);
}

/* ---- others ---- */

TEST(an_image_in_use_is_left_alone_and_the_user_named)
{
    PlkVolumeFacts f;
    PlkPlace at;
    PlkStream *s;
    PlkError err;
    int fd;

    pool_make();
    at = pool_at("v");
    pool_fill("v", 'a', MIB, 0);
    f = pool_probe("v");
    fd = open("v", O_RDWR);
    CHECK_INT(plk_lock_fd(fd, PLK_IO_LOCK_EXCLUSIVE), 0);
    CHECK_FAILS(resize("v", 2 * MIB, 0, &err), err, PLK_ERROR_STATE);
    CHECK(strstr(err.message, "in use by this process"));
    CHECK_FAILS(raw->wipe(&at, &f, PLK_WIPE_ZERO, NULL, &err), err, PLK_ERROR_STATE);
    CHECK_FAILS(raw->remove(&at, &f, &err), err, PLK_ERROR_STATE);
    CHECK_FAILS(raw->open(&at, &f, PLK_STREAM_CONTAINER, true, 0, 0, &s, &err), err, PLK_ERROR_STATE);
    CHECK_FAILS(raw->open(&at, &f, PLK_STREAM_CONTAINER, false, 0, 0, &s, &err), err, PLK_ERROR_STATE);
    CHECK_FAILS(clone_to("w", "v", 0, 0, &err), err, PLK_ERROR_STATE);
    CHECK_INT(pool_count(), 1);
    CHECK_INT(pool_byte("v", 0), 'a');
    close(fd);
    CHECK_OK(raw->open(&at, &f, PLK_STREAM_CONTAINER, false, 0, 0, &s, &err), err);
    CHECK_FAILS(resize("v", 2 * MIB, 0, &err), err, PLK_ERROR_STATE);
    CHECK_OK(clone_to("w", "v", 0, 0, &err), err); /* readers do not disturb one another */
    plk_stream_close(s);
    plk_volume_facts_clear(&f);
}

TEST(a_removed_one_is_gone_and_a_link_goes_alone)
{
    PlkVolumeFacts f;
    PlkPlace at;
    PlkError err;

    pool_make();
    pool_fill("v", 'a', 10, 0);
    f = pool_probe("v");
    CHECK(symlink("v", "link") == 0 && link("v", "second") == 0);
    at = pool_at("link");
    CHECK_OK(raw->remove(&at, &f, &err), err);
    CHECK_INT(pool_count(), 2);
    at = pool_at("v");
    CHECK_OK(raw->remove(&at, &f, &err), err);
    CHECK_OK(raw->remove(&at, &f, &err), err);
    CHECK_INT(pool_count(), 1);
    plk_volume_facts_clear(&f);
}

TEST(a_link_is_not_resized_wiped_cloned_or_streamed)
{
    PlkVolumeFacts f;
    PlkPlace at;
    PlkStream *s;
    PlkError err;

    pool_make();
    pool_fill("outside", 'a', 4096, 0);
    CHECK(symlink("outside", "v") == 0);
    at = pool_at("v");
    f = pool_probe("v");
    CHECK_FAILS(raw->resize(&at, &f, 1, PLK_RESIZE_SHRINK, NULL, &err), err, PLK_ERROR_REFUSED);
    CHECK_FAILS(raw->wipe(&at, &f, PLK_WIPE_ZERO, NULL, &err), err, PLK_ERROR_REFUSED);
    CHECK_FAILS(raw->open(&at, &f, PLK_STREAM_CONTAINER, true, 0, 0, &s, &err), err, PLK_ERROR_REFUSED);
    CHECK_FAILS(clone_to("w", "v", 0, 0, &err), err, PLK_ERROR_REFUSED);
    CHECK_INT(pool_size("outside"), 4096);
    CHECK_INT(pool_byte("outside", 0), 'a');
    plk_volume_facts_clear(&f);
}

TEST(names_that_look_like_options_or_protocols_are_names)
{
    static const char *const names[] = {"-rf",  "--help", "nbd:localhost:1", "json:{}", "a,b=c",
                                        "%s%n", "fat:x"};
    PlkError err;

    pool_make();
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        PlkVolumeDef def = pool_def(names[i], PLK_FILE_QCOW2, MIB);
        PlkPlace at = pool_at(names[i]);
        PlkVolumeFacts f;

        CHECK_OK(plk_driver_qemu.create(&at, &def, 0, NULL, &err), err);
        f = pool_probe(names[i]);
        CHECK_INT(f.format, PLK_FILE_QCOW2);
        CHECK_OK(plk_driver_qemu.resize(&at, &f, 2 * MIB, 0, NULL, &err), err);
        CHECK_OK(clone_to("copy", names[i], 0, 0, &err), err);
        CHECK_INT(pool_size("copy"), 2 * MIB);
        CHECK_OK(plk_driver_qemu.remove(&at, &f, &err), err);
        CHECK(unlink("copy") == 0);
        CHECK_INT(pool_count(), 0);
        plk_volume_facts_clear(&f);
    }
}

TEST_MAIN()
