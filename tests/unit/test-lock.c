/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Image locks: among ourselves, in memory and on disk, and against QEMU's own programs where they are. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/run.h"
#include "io/dir.h"
#include "io/lock.h"
#include "test.h"

#define NONE PLK_IO_LOCK_NONE
#define SHARED PLK_IO_LOCK_SHARED
#define EXCLUSIVE PLK_IO_LOCK_EXCLUSIVE

static char image[] = "/tmp/plk-lock-XXXXXX";

static void remove_image(void)
{
    unlink(image);
}

/* A 1 MiB file; one and the same in all tests. */
static int open_image(int flags)
{
    static bool made;
    int fd;

    if (!made) {
        fd = mkstemp(image);
        CHECK(fd >= 0 && ftruncate(fd, 1 << 20) == 0 && close(fd) == 0);
        atexit(remove_image);
        made = true;
    }
    fd = open(image, flags | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

/* Two opens of one file. */
static void check_rules(PlkIo *a, PlkIo *b)
{
    CHECK_INT(plk_io_lock(a, SHARED), 0);
    CHECK_INT(plk_io_lock(b, SHARED), 0);
    CHECK_INT(plk_io_lock_test(b, EXCLUSIVE), -EAGAIN);
    CHECK_INT(plk_io_lock(b, EXCLUSIVE), -EAGAIN);
    CHECK_INT(plk_io_lock_test(a, EXCLUSIVE), -EAGAIN); /* b still holds what it held */
    CHECK_INT(plk_io_lock(a, NONE), 0);
    CHECK_INT(plk_io_lock(b, EXCLUSIVE), 0);
    CHECK_INT(plk_io_lock_test(a, SHARED), -EAGAIN);
    CHECK_INT(plk_io_lock(a, SHARED), -EAGAIN);
    CHECK_INT(plk_io_lock(b, SHARED), 0);
    CHECK_INT(plk_io_lock(a, SHARED), 0);
    CHECK_INT(plk_io_lock(a, NONE), 0);
    CHECK_INT(plk_io_lock(b, EXCLUSIVE), 0);
    CHECK_INT(plk_io_lock_test(b, EXCLUSIVE), 0); /* one's own lock is never in the way */
    plk_io_close(b);
    CHECK_INT(plk_io_lock_test(a, EXCLUSIVE), 0); /* closing gave it back */
    plk_io_close(a);
}

static void check_rules_in(PlkDir *dir, const char *name)
{
    PlkIo *a, *b;

    CHECK_INT(plk_dir_open_file(dir, name, PLK_OPEN_CREATE, 0600, &a), 0);
    CHECK_INT(plk_dir_open_file(dir, name, PLK_OPEN_WRITE, 0600, &b), 0);
    check_rules(a, b);
    plk_dir_close(dir);
}

TEST(one_writer_or_many_readers_on_disk)
{
    PlkDir *dir;

    close(open_image(O_RDWR));
    CHECK_INT(plk_dir_open_fs("/tmp", NULL, &dir), 0);
    check_rules_in(dir, image);
}

TEST(one_writer_or_many_readers_in_memory)
{
    PlkDir *dir;

    CHECK_INT(plk_dir_open_memory("/m", &dir), 0);
    check_rules_in(dir, "image");
}

TEST(readers_lock_through_read_only_descriptors)
{
    int reader = open_image(O_RDONLY), writer = open_image(O_RDWR);

    CHECK_INT(plk_lock_fd(reader, SHARED), 0);
    CHECK_INT(plk_lock_fd(writer, EXCLUSIVE), -EAGAIN);
    CHECK_INT(plk_lock_fd(reader, NONE), 0);
    CHECK_INT(plk_lock_fd(writer, EXCLUSIVE), 0);
    close(reader); /* a POSIX lock of this process would be gone now */
    reader = open_image(O_RDONLY);
    CHECK_INT(plk_lock_fd(reader, SHARED), -EAGAIN);
    close(reader);
    close(writer);
}

TEST(a_holder_in_this_process_is_named_so)
{
    int holder = open_image(O_RDWR), asker = open_image(O_RDWR);
    char owner[64];

    CHECK_INT(plk_lock_fd(holder, EXCLUSIVE), 0);
    CHECK_STR(plk_lock_owner(asker, owner, sizeof owner), "this process");
    CHECK_STR(plk_lock_owner(holder, owner, sizeof owner), "another process"); /* nobody else */
    close(holder);
    close(asker);
}

/* ---- with QEMU ---- */

static bool have(const char *program)
{
    char path[PLK_PROGRAM_PATH_MAX];
    bool found = plk_find_program(program, path, NULL) == 0;

    if (!found)
        printf("skipped: no %s\n", program);
    return found;
}

/* qemu-img on the image: its exit status; output in *ret. */
static int run_qemu_img(const char *const *args, char ret[4096])
{
    PlkRun run = {.program = "qemu-img", .args = args};
    PlkRunResult result;
    PlkError err;
    int status;

    CHECK_OK(plk_run(&run, &result, &err), err);
    snprintf(ret, 4096, "%s", result.output);
    status = result.status;
    plk_run_result_clear(&result);
    return status;
}

/* QEMU shares raw files with everybody; only a driver that owns metadata forbids writers. */
static int open_parallels_image(int flags)
{
    const char *const args[] = {"create", "-q", "-f", "parallels", image, "8M", NULL};
    char output[4096];

    close(open_image(O_RDWR));
    CHECK_INT(run_qemu_img(args, output), 0);
    return open_image(flags);
}

static int image_info(const char *extra, char output[4096])
{
    const char *const args[] = {"info", "-f", "parallels", image, extra, NULL};

    return run_qemu_img(args, output);
}

TEST(qemu_respects_our_locks)
{
    int fd;
    char output[4096];

    if (!have("qemu-img"))
        return;
    fd = open_parallels_image(O_RDWR);
    CHECK_INT(image_info(NULL, output), 0);
    CHECK_INT(plk_lock_fd(fd, EXCLUSIVE), 0);
    CHECK(image_info(NULL, output) != 0);
    CHECK(strstr(output, "lock"));
    CHECK_INT(image_info("-U", output), 0);
    CHECK_INT(plk_lock_fd_change(fd, EXCLUSIVE, SHARED), 0);
    CHECK_INT(image_info(NULL, output), 0);
    close(fd);
}

/* A QEMU program that has the image open until it is told to end. */
typedef struct Guest {
    pid_t pid;
    int input;
} Guest;

/* Reads and writes, or only reads with "-r". */
static Guest start_qemu_io(const char *mode)
{
    char path[PLK_PROGRAM_PATH_MAX];
    int in[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    Guest g;

    CHECK(plk_find_program("qemu-io", path, NULL) == 0 && pipe2(in, O_CLOEXEC) == 0);
    g.pid = fork();
    if (g.pid == 0) {
        dup2(in[0], 0);
        dup2(null, 1);
        execl(path, "qemu-io", "-f", "parallels", image, mode, NULL);
        _exit(127);
    }
    close(in[0]);
    close(null);
    g.input = in[1];
    return g;
}

static void end_qemu_io(Guest g)
{
    close(g.input);
    kill(g.pid, SIGTERM);
    waitpid(g.pid, NULL, 0);
}

/* Its start takes a moment: what does the test say once it has settled? */
static int settled_test(int fd, PlkIoLock mode, int wanted)
{
    int r = 0;

    for (int i = 0; i < 100; i++) {
        r = plk_lock_fd_test(fd, mode);
        if (r == wanted)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return r;
}

TEST(we_respect_a_writing_qemu_and_name_it)
{
    int fd;
    char owner[64], wanted[64];
    Guest g;
    int r;

    if (!have("qemu-img") || !have("qemu-io"))
        return;
    fd = open_parallels_image(O_RDWR);
    g = start_qemu_io(NULL);
    r = settled_test(fd, EXCLUSIVE, -EAGAIN);
    snprintf(wanted, sizeof wanted, "qemu-io (pid %d)", (int)g.pid);
    plk_lock_owner(fd, owner, sizeof owner);
    end_qemu_io(g);
    CHECK_INT(r, -EAGAIN);
    CHECK_STR(owner, wanted);
    CHECK_INT(settled_test(fd, EXCLUSIVE, 0), 0);
    close(fd);
}

TEST(readers_of_both_kinds_go_together)
{
    int fd, shared, exclusive;
    Guest g;

    if (!have("qemu-img") || !have("qemu-io"))
        return;
    fd = open_parallels_image(O_RDONLY);
    g = start_qemu_io("-r");
    exclusive = settled_test(fd, EXCLUSIVE, -EAGAIN);
    shared = plk_lock_fd(fd, SHARED);
    end_qemu_io(g);
    CHECK_INT(exclusive, -EAGAIN);
    CHECK_INT(shared, 0);
    close(fd);
}

TEST_MAIN()
