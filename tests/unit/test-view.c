/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The view, both ways: what a helper sees and changes, and that nothing else is touched or left behind. */
#include "disk.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "host/run.h"
#include "view/view.h"

#define MIB (1024ull * 1024)

static const char *const kinds[] = {"fuse", "copy"};

static PlkView *open_view(TestDisk *t, const char *kind, bool writable)
{
    PlkView *view;
    PlkError err;

    CHECK_INT(setenv("PLK_VIEW", kind, 1), 0);
    CHECK_OK(plk_view_open(t->disk, 4 * MIB, 8 * MIB, writable, &view, &err), err);
    return view;
}

static int run(PlkView *view, const char *const *args)
{
    PlkRun helper = {.program = "dd", .args = args, .fds = plk_view_fd(view), .fd_count = 1};
    PlkRunResult result;
    PlkError err;
    int status;

    CHECK_OK(plk_run(&helper, &result, &err), err);
    status = result.status;
    plk_run_result_clear(&result);
    return status;
}

/* dd's output into the view, at a MiB. */
static int write_ones(PlkView *view, const char *seek, const char *count)
{
    char of[64];
    const char *args[] = {"if=/proc/self/exe", of, "bs=64K", seek, count, "conv=notrunc", NULL};

    snprintf(of, sizeof of, "of=%s", plk_view_path(view));
    return run(view, args);
}

static void fill(TestDisk *t, uint8_t value, uint64_t offset, size_t len)
{
    uint8_t *buf = malloc(len);

    memset(buf, value, len);
    CHECK_INT(plk_disk_write(t->disk, buf, len, offset), 0);
    free(buf);
}

static void check_byte(TestDisk *t, uint64_t offset, uint8_t want)
{
    uint8_t byte;

    CHECK_INT(plk_disk_read(t->disk, &byte, 1, offset), 0);
    CHECK_INT(byte, want);
}

TEST(helper_reads_the_part_of_the_disk)
{
    for (int k = 0; k < 2; k++) {
        TestDisk t;
        char in[64], out[128], byte;
        PlkView *view;
        PlkError err;

        test_disk_make(&t, 16 * MIB, 64);
        fill(&t, 'x', 5 * MIB, 1000);
        view = open_view(&t, kinds[k], false);
        snprintf(in, sizeof in, "if=%s", plk_view_path(view));
        snprintf(out, sizeof out, "of=%s/seen", t.dir);
        const char *args[] = {in, out, "bs=64K", NULL};
        CHECK_INT(run(view, args), 0);
        CHECK_OK(plk_view_close(view, &err), err);
        int fd = open(out + 3, O_RDONLY);
        struct stat st;
        CHECK_INT(fstat(fd, &st), 0);
        CHECK_INT(st.st_size, 8 * MIB);
        CHECK_INT(pread(fd, &byte, 1, MIB + 999), 1);
        CHECK_INT(byte, 'x');
        CHECK_INT(pread(fd, &byte, 1, MIB + 1000), 1);
        CHECK_INT(byte, 0);
        close(fd);
        unlink(out + 3);
        test_disk_end(&t);
    }
}

TEST(what_the_helper_writes_is_in_the_disk_after_close)
{
    for (int k = 0; k < 2; k++) {
        TestDisk t;
        PlkView *view;
        PlkError err;

        test_disk_make(&t, 16 * MIB, 64);
        fill(&t, 'a', 0, 4 * MIB);
        fill(&t, 'b', 12 * MIB, 4 * MIB);
        view = open_view(&t, kinds[k], true);
        CHECK_INT(plk_view_is_copy(view), k);
        CHECK_INT(write_ones(view, "seek=16", "count=1"), 0);
        CHECK_OK(plk_view_close(view, &err), err);
        check_byte(&t, 5 * MIB + 1, 'E'); /* of "\177ELF" */
        check_byte(&t, 4 * MIB - 1, 'a');
        check_byte(&t, 4 * MIB, 0);
        check_byte(&t, 12 * MIB, 'b');
        CHECK_INT(test_disk_files(&t), 1);
        test_disk_end(&t);
    }
}

TEST(writing_beyond_the_part_changes_nothing_there)
{
    for (int k = 0; k < 2; k++) {
        TestDisk t;
        PlkView *view;
        PlkError err;

        test_disk_make(&t, 16 * MIB, 64);
        fill(&t, 'b', 12 * MIB, 4 * MIB);
        view = open_view(&t, kinds[k], true);
        write_ones(view, "seek=128", "count=1");
        CHECK_OK(plk_view_close(view, &err), err);
        check_byte(&t, 12 * MIB + 1, 'b');
        test_disk_end(&t);
    }
}

TEST(looking_takes_no_space_in_the_disk)
{
    for (int k = 0; k < 2; k++) {
        TestDisk t;
        PlkDiskInfo before, after;
        PlkView *view;
        PlkError err;

        test_disk_make(&t, 16 * MIB, 64);
        fill(&t, 'x', 5 * MIB, 100000);
        CHECK_INT(plk_disk_flush(t.disk), 0);
        CHECK_OK(plk_disk_info(t.disk, &before, &err), err);
        view = open_view(&t, kinds[k], true);
        const char *args[] = {"if=/dev/null", "of=/dev/null", NULL};
        CHECK_INT(run(view, args), 0);
        CHECK_OK(plk_view_close(view, &err), err);
        CHECK_OK(plk_disk_info(t.disk, &after, &err), err);
        CHECK_INT(before.allocated, after.allocated);
        test_disk_end(&t);
    }
}

TEST(truncated_part_reads_as_zeros_when_it_grows_again)
{
    for (int k = 0; k < 2; k++) {
        TestDisk t;
        PlkView *view;
        PlkError err;
        int fd;

        test_disk_make(&t, 16 * MIB, 64);
        fill(&t, 'x', 4 * MIB, 8 * MIB);
        view = open_view(&t, kinds[k], true);
        fd = open(plk_view_path(view), O_WRONLY);
        CHECK(fd >= 0);
        CHECK_INT(ftruncate(fd, 2 * MIB), 0);
        CHECK_INT(pwrite(fd, "y", 1, 6 * MIB), 1);
        CHECK_INT(close(fd), 0);
        CHECK_OK(plk_view_close(view, &err), err);
        check_byte(&t, 6 * MIB - 1, 'x');
        check_byte(&t, 6 * MIB, 0);
        check_byte(&t, 10 * MIB - 1, 0);
        check_byte(&t, 10 * MIB, 'y');
        test_disk_end(&t);
    }
}

/* Whoever serves a file to himself and dies with it open waits for himself, and not even SIGKILL ends that. */
TEST(killed_with_a_view_open_a_process_is_gone)
{
    for (int k = 0; k < 2; k++) {
        TestDisk t;
        int ready[2], tries = 0;
        char byte;
        pid_t pid;

        test_disk_make(&t, 16 * MIB, 64);
        CHECK_INT(pipe(ready), 0);
        pid = fork();
        if (pid == 0) {
            open_view(&t, kinds[k], true);
            for (ssize_t n = write(ready[1], "r", 1); n >= 0;)
                pause();
        }
        CHECK_INT(read(ready[0], &byte, 1), 1);
        CHECK_INT(kill(pid, SIGKILL), 0);
        while (waitpid(pid, NULL, WNOHANG) == 0 && tries++ < 5000)
            usleep(1000);
        CHECK(tries < 5000);
        close(ready[0]);
        close(ready[1]);
        test_disk_end(&t);
    }
}

TEST(no_mount_is_left_behind)
{
    char *line = NULL;
    size_t cap = 0;
    TestDisk t;
    PlkView *view;
    FILE *mounts;
    bool seen = false;

    test_disk_make(&t, 16 * MIB, 64);
    view = open_view(&t, "fuse", true);
    mounts = fopen("/proc/self/mounts", "r");
    while (getline(&line, &cap, mounts) > 0)
        seen |= strncmp(line, "ploopkit ", 9) == 0;
    fclose(mounts);
    free(line);
    plk_view_drop(view);
    CHECK(!seen);
    test_disk_end(&t);
}

TEST_MAIN()
