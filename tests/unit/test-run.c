/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running helpers: what they get, what comes back, and that they end when they should. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "host/run.h"
#include "test.h"

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A shell is just a program that tests can make do many things. */
static PlkRun shell(const char *const *args)
{
    return (PlkRun){.program = "sh", .args = args};
}

TEST(status_and_output_come_back)
{
    const char *const args[] = {"-c", "echo out; echo err >&2; exit 3", NULL};
    PlkRun run = shell(args);
    PlkRunResult result;
    PlkError err;

    CHECK_OK(plk_run(&run, &result, &err), err);
    CHECK_INT(result.status, 3);
    CHECK_STR(result.output, "out\nerr\n");
    CHECK_INT(plk_run_fail(&run, &result, PLK_ERROR_MKFS, &err), -1);
    CHECK_STR(err.message, "sh failed with status 3: err");
    plk_run_result_clear(&result);
}

TEST(environment_is_fixed)
{
    const char *const env[] = {"EXTRA=yes", NULL};
    PlkRun run = {.program = "env", .env = env};
    PlkRunResult result;
    PlkError err;

    setenv("LEAK", "1", 1);
    CHECK_OK(plk_run(&run, &result, &err), err);
    CHECK(strstr(result.output, "LC_ALL=C\n") && strstr(result.output, "EXTRA=yes\n"));
    CHECK(!strstr(result.output, "LEAK"));
    plk_run_result_clear(&result);
}

TEST(missing_program_names_itself_and_nothing_from_path_is_run)
{
    PlkRun run = {.program = "no-such-program-here"};
    PlkRunResult result;
    PlkError err;

    CHECK_FAILS(plk_run(&run, &result, &err), err, PLK_ERROR_HELPER);
    CHECK(strstr(err.message, "no-such-program-here"));
}

TEST(only_named_descriptors_are_inherited)
{
    int leaked = open("/dev/null", O_RDONLY), passed = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char script[120];
    const char *const args[] = {"-c", script, NULL};
    PlkRun run = shell(args);
    PlkRunResult result;
    PlkError err;

    snprintf(script, sizeof script,
             "test -e /proc/self/fd/%d && echo leaked; test -e /proc/self/fd/%d && echo passed", leaked,
             passed);
    run.fds = &passed;
    run.fd_count = 1;
    CHECK_OK(plk_run(&run, &result, &err), err);
    CHECK_STR(result.output, "passed\n");
    plk_run_result_clear(&result);
    CHECK(fcntl(passed, F_GETFD) & FD_CLOEXEC);
    close(leaked);
    close(passed);
}

TEST(only_the_tail_of_much_output_is_kept)
{
    const char *const args[] = {"-c", "i=0; while test $i -lt 40000; do echo $i; i=$((i+1)); done", NULL};
    PlkRun run = shell(args);
    PlkRunResult result;
    PlkError err;

    CHECK_OK(plk_run(&run, &result, &err), err);
    CHECK_INT(result.output_len, PLK_RUN_OUTPUT_MAX);
    CHECK_STR(result.output + result.output_len - 6, "39999\n");
    plk_run_result_clear(&result);
}

static int stop_third_time(void *arg, const char *what, uint64_t done, uint64_t total)
{
    return ++*(int *)arg == 3;
}

TEST(cancel_kills_the_helper_and_its_children)
{
    const char *const args[] = {"-c", "sleep 60 & sleep 60", NULL};
    int calls = 0;
    PlkProgress progress = {stop_third_time, &calls};
    PlkRun run = shell(args);
    PlkRunResult result;
    PlkError err;
    double start = seconds();

    run.progress = &progress;
    CHECK_FAILS(plk_run(&run, &result, &err), err, PLK_ERROR_CANCELLED);
    CHECK(seconds() - start < 10);
}

TEST(a_daemon_holding_the_output_does_not_keep_us_waiting)
{
    const char *const args[] = {"-c", "sleep 3 & echo done", NULL};
    PlkRun run = shell(args);
    PlkRunResult result;
    PlkError err;
    double start = seconds();

    CHECK_OK(plk_run(&run, &result, &err), err);
    CHECK(seconds() - start < 2);
    CHECK_STR(result.output, "done\n");
    plk_run_result_clear(&result);
}

TEST(death_by_signal_is_a_failure)
{
    const char *const args[] = {"-c", "kill -9 $$", NULL};
    PlkRun run = shell(args);
    PlkRunResult result;
    PlkError err;

    CHECK_FAILS(plk_run(&run, &result, &err), err, PLK_ERROR_HELPER);
    CHECK(strstr(err.message, "signal 9"));
}

TEST(cpu_limit_ends_a_runaway)
{
    const char *const args[] = {"-c", "while :; do :; done", NULL};
    PlkRun run = shell(args);
    PlkRunResult result;
    PlkError err;

    run.cpu_seconds = 1;
    CHECK_FAILS(plk_run(&run, &result, &err), err, PLK_ERROR_HELPER);
}

TEST(helper_dies_with_us)
{
    int ends[2];
    char c;
    pid_t child;

    CHECK(pipe(ends) == 0);
    child = fork();
    if (child == 0) {
        const char *const args[] = {"-c", "echo > $READY; exec sleep 60", NULL};
        char ready[40];
        const char *const env[] = {ready, NULL};
        PlkRun run = shell(args);
        PlkRunResult result;

        snprintf(ready, sizeof ready, "READY=/proc/self/fd/%d", ends[1]);
        run.env = env;
        run.fds = &ends[1];
        run.fd_count = 1;
        plk_run(&run, &result, NULL);
        _exit(0);
    }
    close(ends[1]);
    CHECK_INT(read(ends[0], &c, 1), 1);
    kill(child, SIGKILL);
    CHECK_INT(read(ends[0], &c, 1), 0); /* the helper holds the last writing end: end of file = it is gone */
    close(ends[0]);
}

TEST_MAIN()
