/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Real files under a kernel that fails: every system call of a course through a directory, once each, on a
 * good kernel and on some that lack what old kernels and poor filesystems do not have. Either the course is
 * done and the files are as they should be, or it says the errno; no descriptor and no half-made file is
 * left.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "io/dir.h"
#include "io/lock.h"
#include "kernel.h"
#include "test.h"

#define BLOCK 16384u

static char place[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_place(void)
{
    if (*place)
        nftw(place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    *place = '\0';
}

static void make_place(void)
{
    static bool promised;

    if (!promised)
        promised = atexit(remove_place) == 0;
    remove_place();
    strcpy(place, "/tmp/plk-kernel-XXXXXX");
    CHECK(mkdtemp(place) && chdir(place) == 0);
    CHECK(mkdir("volume", 0755) == 0 && mkdir("other", 0755) == 0);
}

/* The lowest number that is free: no less than all that are open, if none was open above. */
static int free_descriptor(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    close(fd);
    return fd;
}

/* ---- the course ---- */

static int count_name(void *arg, const char *name)
{
    ++*(unsigned *)arg;
    return 0;
}

/* Two blocks, one of them a hole. */
static int make_image(PlkDir *dir, PlkIo **ret)
{
    static const char block[BLOCK] = "image";
    uint64_t start, end;
    PlkIo *io = NULL;
    int r = plk_dir_create_unnamed(dir, 0644, ret);

    if (r < 0)
        return r;
    io = *ret;
    r = plk_io_allocate(io, 0, BLOCK, PLK_POINT_NONE);
    if (r == 0 || r == -EOPNOTSUPP)
        r = plk_io_write(io, block, BLOCK, 0, PLK_POINT_NONE);
    if (r == 0)
        r = plk_io_write(io, block, BLOCK, BLOCK, PLK_POINT_NONE);
    if (r == 0)
        r = plk_io_zero(io, BLOCK, BLOCK, PLK_POINT_NONE);
    if (r == 0)
        r = plk_io_truncate(io, 3 * BLOCK, PLK_POINT_NONE);
    if (r == 0)
        r = plk_io_next_data(io, 0, &start, &end);
    if (r == 0)
        r = plk_io_next_data(io, 2 * BLOCK, &start, &end);
    if (r == 0)
        r = plk_io_sync(io, PLK_POINT_NONE);
    return r == 0 ? plk_dir_link(dir, io, "image") : r;
}

static int copy_image(PlkDir *dir, PlkIo *from)
{
    plk_cleanup(plk_io_closep) PlkIo *to = NULL;
    _Atomic int method = PLK_COPY_CLONE;
    static char bounce[4096];
    int r = plk_dir_open_file(dir, "copy", PLK_OPEN_WRITE | PLK_OPEN_CREATE, 0644, &to);

    if (r == 0)
        r = plk_io_lock(to, PLK_IO_LOCK_EXCLUSIVE);
    if (r == 0)
        r = plk_io_lock_test(to, PLK_IO_LOCK_EXCLUSIVE);
    if (r == 0)
        r = plk_io_lock(to, PLK_IO_LOCK_SHARED);
    if (r == 0)
        r = plk_io_copy(to, 0, from, 0, 3 * BLOCK, &method, bounce, sizeof bounce, PLK_POINT_NONE);
    return r == 0 ? plk_io_reload(to) : r;
}

static int images(PlkDir *dir)
{
    plk_cleanup(plk_io_closep) PlkIo *image = NULL;
    int r = make_image(dir, &image);

    return r == 0 ? copy_image(dir, image) : r;
}

static int names(PlkDir *dir)
{
    plk_cleanup(plk_io_closep) PlkIo *held = NULL;
    unsigned n = 0;
    uint64_t space;
    int r = plk_dir_flock(dir, "lock", 0, &held);

    if (r == 0)
        r = plk_dir_publish_file(dir, "text", "old", 3, 0644);
    if (r == 0)
        r = plk_dir_publish_file(dir, "../other/text", "new", 3, 0644);
    if (r == 0)
        r = plk_dir_rename(dir, "../other/text", "text", true);
    if (r == 0)
        r = plk_dir_rename(dir, "image", "../other/moved", false);
    if (r == 0)
        r = plk_dir_include(dir, "../other/moved");
    if (r == 0)
        r = plk_dir_sync(dir);
    if (r == 0)
        r = plk_dir_list(dir, count_name, &n);
    if (r == 0 && n != 3)
        test_fail(__FILE__, __LINE__, "%u names are listed", n);
    if (r == 0)
        r = plk_dir_free_space(dir, &space);
    if (r == 0)
        r = plk_dir_exists(dir, "../other/moved");
    if (r == 0)
        test_fail(__FILE__, __LINE__, "a file is taken not to exist");
    return r < 0 ? r : plk_dir_unlink(dir, "lock");
}

static int course(void)
{
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    PLK_FREE char *text = NULL;
    int r = plk_dir_open_fs("volume", ".", &dir);

    if (r == 0)
        r = images(dir);
    if (r == 0)
        r = names(dir);
    return r == 0 ? plk_dir_read_file(dir, "text", 100, &text, NULL) : r;
}

/* ---- what it leaves ---- */

static void check_bytes(const char *path)
{
    static char bytes[3 * BLOCK + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    CHECK(fd >= 0);
    CHECK_INT(read(fd, bytes, sizeof bytes), 3 * BLOCK);
    close(fd);
    CHECK_STR(bytes, "image");
    for (unsigned i = BLOCK; i < 3 * BLOCK; i++)
        CHECK_INT(bytes[i], 0);
}

static void check_done(void)
{
    char text[8] = "";
    int fd = open("volume/text", O_RDONLY | O_CLOEXEC);

    CHECK_INT(read(fd, text, sizeof text), 3);
    close(fd);
    CHECK_STR(text, "new");
    check_bytes("other/moved");
    check_bytes("volume/copy");
    CHECK(access("volume/lock", F_OK) < 0 && access("volume/image", F_OK) < 0);
}

static int note_half_made(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return type == FTW_F && strstr(path, ".ploopkit-") != NULL;
}

/* False when there was no such call any more. */
static bool run_course(unsigned long nth, int errnum)
{
    int before = free_descriptor(), r;

    make_place();
    kernel.fails = nth;
    kernel.fails_errno = errnum;
    kernel.seen = 0;
    kernel.struck = NULL;
    kernel.armed = true;
    r = course();
    kernel.armed = false;
    if (free_descriptor() != before)
        test_fail(__FILE__, __LINE__, "a file stays open after a failure of %s", kernel.struck);
    if (r == 0)
        check_done();
    else if (r != -errnum)
        test_fail(__FILE__, __LINE__, "%s failed with %d at %lu, the course with %d", kernel.struck, errnum,
                  nth, r);
    if ((!kernel.struck || strcmp(kernel.struck, "unlinkat") != 0) &&
        nftw(place, note_half_made, 8, FTW_PHYS) != 0)
        test_fail(__FILE__, __LINE__, "a half-made file stays after a failure of %s", kernel.struck);
    return kernel.struck != NULL;
}

/* Calls that a signal may interrupt before they did anything. */
#define SLOW "openat openat2 pread64 pwrite64 ftruncate64 fallocate64 copy_file_range fsync flock fcntl"

static void walk(int errnum, const char *only)
{
    unsigned long nth = 1;

    for (kernel.only = only; run_course(nth, errnum); nth++)
        ;
    kernel.only = NULL;
    kernel.fails = 0;
    CHECK(nth > 10);
}

static void walk_without(const char *lacks, int lacks_errno)
{
    kernel.lacks = lacks;
    kernel.lacks_errno = lacks_errno;
    walk(EIO, NULL);
    kernel.lacks = NULL;
}

TEST(any_call_may_fail)
{
    walk(EIO, NULL);
    walk(EAGAIN, NULL);
    walk(EINTR, SLOW);
}

/* Every way of saying that a call is not there, or not for this filesystem. */
TEST(any_call_may_fail_without_openat2)
{
    walk_without("openat2", ENOSYS);
    walk_without("openat2", EPERM);
}

TEST(any_call_may_fail_without_unnamed_files)
{
    walk_without("O_TMPFILE", EOPNOTSUPP);
    walk_without("O_TMPFILE", EISDIR);
    walk_without("O_TMPFILE renameat2", EINVAL);
    walk_without("AT_EMPTY_PATH", ENOENT);
    walk_without("AT_EMPTY_PATH", EPERM);
}

TEST(any_call_may_fail_without_copies_in_the_kernel)
{
    walk_without("FICLONERANGE", ENOTTY);
    walk_without("FICLONERANGE copy_file_range", EXDEV);
}

TEST(any_call_may_fail_where_holes_are_unknown)
{
    walk_without("fallocate64", ENOSYS);
    walk_without("fallocate64", ENODEV);
    walk_without("fallocate64", EOPNOTSUPP);
    walk_without("SEEK_DATA", EINVAL);
}

TEST(any_call_may_fail_where_directories_need_no_sync)
{
    walk_without("fsync", EINVAL);
}

/* ---- memory ---- */

TEST(memory_may_run_out)
{
    bool needed = true;
    int before = free_descriptor(), r;

    for (unsigned long n = 1; needed; n++) {
        make_place();
        kernel.lacks = n % 2 ? NULL : "O_TMPFILE";
        kernel.lacks_errno = EOPNOTSUPP;
        kernel.armed = true;
        plk_alloc_fail_at(n / 2 + 1, 0);
        r = course();
        needed = plk_alloc_fail_at(0, 0) == 0;
        kernel.armed = false;
        CHECK_INT(free_descriptor(), before);
        CHECK_INT(r, needed ? -ENOMEM : 0);
        if (nftw(place, note_half_made, 8, FTW_PHYS) != 0)
            test_fail(__FILE__, __LINE__, "a half-made file stays after want of memory at %lu", n);
        if (r == 0)
            check_done();
    }
    kernel.lacks = NULL;
}

/* ---- who holds a lock ---- */

static pid_t hold_in_child(const char *path)
{
    int ready[2], fd;
    pid_t child;
    char byte;

    CHECK_INT(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (plk_lock_fd(fd, PLK_IO_LOCK_EXCLUSIVE) == 0 && write(ready[1], "r", 1) == 1)
            pause();
        _exit(1);
    }
    CHECK(child > 0 && read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

/* The name is a courtesy: whatever /proc refuses, there is one, and it is not a wrong one. */
TEST(the_holder_of_a_lock_is_named_as_well_as_proc_allows)
{
    static const struct {
        const char *lacks, *named;
    } cases[] = {
        {NULL, "test-kernel"},         {"opendir", "another process"},   {"fdopendir", "another process"},
        {"openat", "another process"}, {"readdir64", "another process"}, {"statx", "another process"},
        {"open", "process (pid"},      {"kcmp", "test-kernel"},          {"fstatat64 stat64", "test-kernel"},
    };
    static pid_t child;
    char owner[64];
    int fd;

    make_place();
    fd = open("image", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    child = hold_in_child("image");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kernel.lacks = cases[i].lacks;
        kernel.lacks_errno = EACCES;
        kernel.armed = true;
        plk_lock_owner(fd, owner, sizeof owner);
        kernel.armed = false;
        if (!strstr(owner, cases[i].named))
            test_fail(__FILE__, __LINE__, "without %s the owner is '%s'", cases[i].lacks, owner);
    }
    kernel.lacks = NULL;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(fd);
}

TEST_MAIN()
