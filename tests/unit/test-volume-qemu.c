/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcow2 and its kin, made and changed by qemu-img on a short leash. */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "pool-dir.h"
#include "volume/qemu.h"
#include "volume/stream.h"

static const PlkVolumeDriver *const qemu = &plk_driver_qemu;

static int create(const char *name, const PlkVolumeDef *def, unsigned flags, PlkError *err)
{
    PlkPlace at = pool_at(name);

    return qemu->create(&at, def, flags, NULL, err);
}

static int clone_to(const char *name, PlkFileFormat format, const char *from, uint64_t capacity,
                    unsigned flags, PlkError *err)
{
    PlkVolumeDef def = pool_def(name, format, capacity);
    PlkVolumeFacts f = pool_probe(from);
    PlkVolumeOrigin origin = {.place = pool_at(from), .facts = &f};
    PlkPlace at = pool_at(name);
    int r = plk_volume_driver(format)->clone(&at, &def, &origin, flags, NULL, err);

    plk_volume_facts_clear(&f);
    return r;
}

/* ---- create ---- */

TEST(every_format_that_can_be_made_is_what_it_says)
{
    static const PlkFileFormat formats[] = {PLK_FILE_QCOW2, PLK_FILE_QCOW, PLK_FILE_QED, PLK_FILE_VMDK,
                                            PLK_FILE_VDI};
    PlkError err;

    pool_make();
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        PlkVolumeDef def = pool_def("v", formats[i], 10 * MIB);
        struct stat st;
        PlkVolumeFacts f;

        def.target.permissions.mode = 0640;
        CHECK_OK(create("v", &def, 0, &err), err);
        f = pool_probe("v");
        CHECK_INT(f.format, formats[i]);
        CHECK_INT(f.capacity, 10 * MIB);
        CHECK(stat("v", &st) == 0 && (st.st_mode & 07777) == 0640);
        CHECK_FAILS(create("v", &def, 0, &err), err, PLK_ERROR_EXISTS);
        CHECK(unlink("v") == 0);
        plk_volume_facts_clear(&f);
    }
}

TEST(qcow2_has_the_features_asked_for)
{
    PlkVolumeDef def = pool_def("v", PLK_FILE_QCOW2, 10 * MIB);
    PlkVolumeFacts f;
    PlkError err;

    pool_make();
    CHECK_OK(create("new", &def, 0, &err), err);
    CHECK_OK(create("old", &def, PLK_CREATE_COMPAT_0_10, &err), err);
    def.target.compat = (char *)"1.1";
    def.target.lazy_refcounts = def.target.extended_l2 = true;
    def.target.cluster = 131072;
    CHECK_OK(create("all", &def, PLK_CREATE_COMPAT_0_10, &err), err);
    f = pool_probe("new");
    CHECK(f.compat_1_1 && !f.lazy_refcounts && f.cluster == 65536);
    plk_volume_facts_clear(&f);
    f = pool_probe("old");
    CHECK(!f.compat_1_1);
    plk_volume_facts_clear(&f);
    f = pool_probe("all");
    CHECK(f.compat_1_1 && f.lazy_refcounts && f.extended_l2 && f.cluster == 131072);
    plk_volume_facts_clear(&f);
}

TEST(metadata_or_all_of_it_is_preallocated_on_demand)
{
    PlkVolumeDef def = pool_def("v", PLK_FILE_QCOW2, 10 * MIB);
    PlkError err;

    pool_make();
    CHECK_OK(create("thin", &def, PLK_CREATE_PREALLOC_METADATA, &err), err);
    CHECK(pool_size("thin") > 10 * MIB && pool_blocks("thin") < MIB);
    def.allocation = def.capacity;
    CHECK_OK(create("full", &def, PLK_CREATE_PREALLOC_METADATA, &err), err);
    CHECK(pool_blocks("full") >= 10 * MIB);
}

TEST(impossible_wishes_are_refused_before_anything_is_made)
{
    PlkVolumeDef def = pool_def("v", PLK_FILE_BOCHS, MIB);
    PlkVolumeTarget backing = {.path = (char *)"base", .format = PLK_FILE_RAW};
    PlkEncryptionDef luks = {.format = PLK_ENCRYPTION_LUKS};
    PlkError err;

    pool_make();
    CHECK_FAILS(qemu->check(&def, 0, &err), err, PLK_ERROR_UNSUPPORTED);
    def.target.format = PLK_FILE_VMDK;
    CHECK_FAILS(qemu->check(&def, PLK_CREATE_PREALLOC_METADATA, &err), err, PLK_ERROR_CONFIG);
    def.target.compat = (char *)"1.1";
    CHECK_FAILS(qemu->check(&def, 0, &err), err, PLK_ERROR_CONFIG);
    def.target.format = PLK_FILE_QCOW2;
    CHECK_OK(qemu->check(&def, 0, &err), err);
    def.target.compat = (char *)"1.2,backing_file=/etc/shadow";
    CHECK_FAILS(qemu->check(&def, 0, &err), err, PLK_ERROR_CONFIG);
    def.target.compat = (char *)"0.10";
    def.target.lazy_refcounts = true;
    CHECK_FAILS(qemu->check(&def, 0, &err), err, PLK_ERROR_CONFIG);
    def.target.lazy_refcounts = false;
    def.target.cluster = 3000;
    CHECK_FAILS(qemu->check(&def, 0, &err), err, PLK_ERROR_CONFIG);
    def.target.cluster = 0;
    def.backing = &backing;
    CHECK_FAILS(qemu->check(&def, PLK_CREATE_PREALLOC_METADATA, &err), err, PLK_ERROR_CONFIG);
    def.backing = NULL;
    def.target.encryption = &luks;
    CHECK_FAILS(qemu->check(&def, 0, &err), err, PLK_ERROR_CONFIG);
    CHECK_INT(pool_count(), 0);
}

/* ---- backing stores ---- */

/* Made deeper down, as volumes are, and read where it is published. */
TEST(a_relative_backing_store_is_right_after_publication)
{
    PlkVolumeTarget backing = {.path = (char *)"base", .format = PLK_FILE_RAW};
    PlkVolumeDef def = pool_def("v", PLK_FILE_QCOW2, 0);
    PlkVolumeFacts f;
    PlkPlace stage;
    PlkError err;

    pool_make();
    pool_fill("base", 'b', MIB, 0);
    CHECK(mkdir(".ploopkit", 0700) == 0 && mkdir(".ploopkit/stage", 0700) == 0);
    stage = pool_at("v");
    stage.dir = open(".ploopkit/stage", O_RDONLY | O_DIRECTORY);
    def.backing = &backing;
    CHECK_OK(qemu->create(&stage, &def, 0, NULL, &err), err);
    CHECK(rename(".ploopkit/stage/v", "v") == 0);
    close(stage.dir);
    f = pool_probe("v");
    CHECK_INT(f.capacity, MIB);
    CHECK_INT(f.backing_format, PLK_FILE_RAW);
    CHECK_INT(QEMU_IMG("convert", "-f", "qcow2", "-O", "raw", "v", "out"), 0);
    CHECK(pool_same("base", "out"));
    plk_volume_facts_clear(&f);
}

TEST(a_backing_store_that_is_not_there_or_no_file_is_refused)
{
    static const char *const paths[] = {
        "none", "/nowhere/base", "nbd:localhost:1",    "json:{\"driver\":\"null-co\"}",
        "fifo", "/dev/null",     "http://localhost/x", "dir"};
    PlkError err;

    pool_make();
    CHECK(mkfifo("fifo", 0600) == 0 && mkdir("dir", 0700) == 0);
    alarm(20);
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        PlkVolumeTarget backing = {.path = (char *)paths[i], .format = PLK_FILE_RAW};
        PlkVolumeDef def = pool_def("v", PLK_FILE_QCOW2, MIB);

        def.backing = &backing;
        CHECK_INT(create("v", &def, 0, &err), -1);
        CHECK_INT(err.code, strchr(paths[i], ':') ? PLK_ERROR_REFUSED : PLK_ERROR_SYSTEM);
        CHECK_INT(pool_count(), 2);
    }
    alarm(0);
}

/* ---- clone ---- */

TEST(a_clone_of_an_overlay_rests_on_nothing)
{
    PlkVolumeFacts f;
    PlkError err;

    pool_make();
    pool_fill("bottom", 'b', MIB, 0);
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "-b", "bottom", "-F", "raw", "middle", "2M"), 0);
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "-b", "middle", "-F", "qcow2", "top", "4M"), 0);
    CHECK_OK(clone_to("copy", PLK_FILE_QCOW2, "top", 0, 0, &err), err);
    CHECK(unlink("bottom") == 0 && unlink("middle") == 0);
    f = pool_probe("copy");
    CHECK(!f.backing && f.capacity == 4 * MIB && f.format == PLK_FILE_QCOW2);
    CHECK_INT(QEMU_IMG("convert", "-f", "qcow2", "-O", "raw", "copy", "out"), 0);
    CHECK(pool_byte("out", MIB - 1) == 'b' && pool_byte("out", MIB) == 0 && pool_size("out") == 4 * MIB);
    plk_volume_facts_clear(&f);
}

TEST(a_clone_goes_from_any_format_to_any)
{
    static const PlkFileFormat formats[] = {PLK_FILE_RAW, PLK_FILE_QCOW2, PLK_FILE_QED, PLK_FILE_VMDK,
                                            PLK_FILE_VDI};
    PlkError err;

    pool_make();
    pool_fill("plain", 'p', MIB, 0);
    for (size_t a = 0; a < G_N_ELEMENTS(formats); a++) {
        CHECK_OK(clone_to("a", formats[a], "plain", 2 * MIB, 0, &err), err);
        for (size_t b = 0; b < G_N_ELEMENTS(formats); b++) {
            CHECK_OK(clone_to("b", formats[b], "a", 0, 0, &err), err);
            CHECK_OK(clone_to("out", PLK_FILE_RAW, "b", 0, 0, &err), err);
            CHECK_INT(pool_size("out"), 2 * MIB);
            CHECK(pool_byte("out", MIB - 1) == 'p' && pool_byte("out", MIB) == 0);
            CHECK(unlink("b") == 0 && unlink("out") == 0);
        }
        CHECK(unlink("a") == 0);
    }
}

/* What an image names is opened by us first; whatever is no file stops the clone and not the program. */
TEST(a_hostile_chain_stops_a_clone_and_nothing_else)
{
    static const char *const backings[] = {
        "fifo", "nbd:localhost:1", "json:{\"driver\":\"null-co\"}", "/dev/zero", "none", "v"};
    PlkError err;

    pool_make();
    CHECK(mkfifo("fifo", 0600) == 0);
    alarm(30);
    for (size_t i = 0; i < G_N_ELEMENTS(backings); i++) {
        CHECK_INT(QEMU_IMG("create", "-u", "-f", "qcow2", "-b", backings[i], "-F", i == 5 ? "qcow2" : "raw",
                           "w", "1M"),
                  0);
        CHECK(rename("w", "v") == 0);
        CHECK_INT(clone_to("copy", PLK_FILE_QCOW2, "v", 0, 0, &err), -1);
        CHECK_INT(clone_to("copy", PLK_FILE_RAW, "v", 0, 0, &err), -1);
        CHECK_INT(pool_count(), 2);
        CHECK(unlink("v") == 0);
    }
    alarm(0);
}

TEST(data_in_another_file_is_not_followed)
{
    PlkVolumeFacts f;
    PlkPlace at;
    PlkError err;

    pool_make();
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "-o", "data_file=other,data_file_raw=on", "v", "1M"), 0);
    pool_fill("other", 's', MIB, 0);
    CHECK_FAILS(clone_to("copy", PLK_FILE_RAW, "v", 0, 0, &err), err, PLK_ERROR_NO_SUPPORT);
    at = pool_at("v");
    f = pool_probe("v");
    CHECK_FAILS(qemu->resize(&at, &f, 2 * MIB, 0, NULL, &err), err, PLK_ERROR_NO_SUPPORT);
    plk_volume_facts_clear(&f);
    CHECK_INT(pool_count(), 2);
}

/* ---- resize ---- */

static int resize(const char *name, uint64_t capacity, unsigned flags, PlkError *err)
{
    PlkVolumeFacts f = pool_probe(name);
    PlkPlace at = pool_at(name);
    int r = qemu->resize(&at, &f, capacity, flags, NULL, err);

    plk_volume_facts_clear(&f);
    return r;
}

static uint64_t capacity_of(const char *name)
{
    PlkVolumeFacts f = pool_probe(name);
    uint64_t capacity = f.capacity;

    plk_volume_facts_clear(&f);
    return capacity;
}

TEST(a_resize_grows_and_shrinks_only_when_told)
{
    PlkError err;

    pool_make();
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "v", "4M"), 0);
    CHECK_OK(resize("v", 8 * MIB, 0, &err), err);
    CHECK_INT(capacity_of("v"), 8 * MIB);
    CHECK_OK(resize("v", 8 * MIB + 1, 0, &err), err);
    CHECK_INT(capacity_of("v"), 8 * MIB + 512);
    CHECK_FAILS(resize("v", MIB, 0, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_OK(resize("v", MIB, PLK_RESIZE_SHRINK, &err), err);
    CHECK_INT(capacity_of("v"), MIB);
    CHECK_FAILS(resize("v", 2 * MIB, PLK_RESIZE_ALLOCATE, &err), err, PLK_ERROR_NOT_THIS_FORMAT);
    CHECK_INT(QEMU_IMG("create", "-f", "vmdk", "fixed", "4M"), 0);
    CHECK_FAILS(resize("fixed", 8 * MIB, 0, &err), err, PLK_ERROR_NOT_THIS_FORMAT);
}

/* The new end of an overlay must not show what the larger base has there. */
TEST(a_grown_overlay_does_not_uncover_its_base)
{
    PlkError err;

    pool_make();
    pool_fill("base", 'b', 4 * MIB, 0);
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "-b", "base", "-F", "raw", "v", "1M"), 0);
    CHECK_OK(resize("v", 4 * MIB, 0, &err), err);
    CHECK_INT(QEMU_IMG("convert", "-f", "qcow2", "-O", "raw", "v", "out"), 0);
    CHECK(pool_byte("out", MIB - 1) == 'b' && pool_byte("out", MIB) == 0 &&
          pool_byte("out", 4 * MIB - 1) == 0);
}

/* ---- others ---- */

/* A real qemu-img that has the image open for writing until it is killed. */
static pid_t start_user(const char *name)
{
    char program[PLK_PROGRAM_PATH_MAX];
    pid_t pid;
    PlkError err;

    CHECK_OK(plk_find_program("qemu-img", program, &err), err);
    pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 1);
        execl(program, program, "bench", "-q", "-w", "-t", "writeback", "-f", "qcow2", "-c", "1000000000",
              name, NULL);
        _exit(127);
    }
    for (int i = 0; i < 200; i++) {
        PlkPlace at = pool_at(name);
        int fd = plk_place_open(&at, O_RDONLY);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};

        fcntl(fd, F_OFD_GETLK, &lock);
        close(fd);
        if (lock.l_type != F_UNLCK)
            return pid;
        usleep(20000);
    }
    CHECK(!"qemu-img opened the image");
    return pid;
}

TEST(an_image_that_qemu_has_open_is_left_alone)
{
    PlkVolumeFacts f;
    PlkPlace at;
    PlkStream *s;
    PlkError err;
    pid_t user;

    pool_make();
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "v", "64M"), 0);
    at = pool_at("v");
    f = pool_probe("v");
    user = start_user("v");
    CHECK_FAILS(qemu->resize(&at, &f, 128 * MIB, 0, NULL, &err), err, PLK_ERROR_STATE);
    CHECK(strstr(err.message, "in use by qemu-img (pid "));
    CHECK_FAILS(qemu->wipe(&at, &f, PLK_WIPE_ZERO, NULL, &err), err, PLK_ERROR_STATE);
    CHECK_FAILS(qemu->remove(&at, &f, &err), err, PLK_ERROR_STATE);
    CHECK_FAILS(qemu->open(&at, &f, PLK_STREAM_CONTAINER, true, 0, 0, &s, &err), err, PLK_ERROR_STATE);
    CHECK_FAILS(qemu->open(&at, &f, PLK_STREAM_CONTAINER, false, 0, 0, &s, &err), err, PLK_ERROR_STATE);
    CHECK_FAILS(clone_to("copy", PLK_FILE_QCOW2, "v", 0, 0, &err), err, PLK_ERROR_STATE);
    kill(user, SIGKILL);
    waitpid(user, NULL, 0);
    CHECK_INT(pool_count(), 1);
    CHECK_OK(qemu->resize(&at, &f, 128 * MIB, 0, NULL, &err), err);
    CHECK_OK(qemu->remove(&at, &f, &err), err);
    plk_volume_facts_clear(&f);
}

TEST(the_container_is_read_as_it_is)
{
    PlkVolumeFacts f;
    PlkPlace at;
    PlkStream *s;
    char magic[4];
    PlkError err;

    pool_make();
    CHECK_INT(QEMU_IMG("create", "-f", "qcow2", "v", "4M"), 0);
    at = pool_at("v");
    f = pool_probe("v");
    CHECK_OK(qemu->open(&at, &f, PLK_STREAM_CONTAINER, false, 0, 0, &s, &err), err);
    CHECK_INT(plk_stream_read(s, magic, 4), 4);
    CHECK(memcmp(magic, "QFI\xfb", 4) == 0);
    plk_stream_close(s);
    CHECK_FAILS(qemu->open(&at, &f, PLK_STREAM_DISK, false, 0, 0, &s, &err), err, PLK_ERROR_NO_SUPPORT);
    plk_volume_facts_clear(&f);
}

TEST_MAIN()
