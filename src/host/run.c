/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The child is made with vfork(): a process that serves a disk may have locked all its memory, and fork()
 * would copy the page tables of it. Until exec the child shares our memory while this thread stands
 * still, so everything is prepared beforehand and the child makes system calls only. That also lets it say
 * why exec failed, by writing to a variable.
 *
 * The parent-death signal is tied to the thread that made the child; this thread waits for the child, so it
 * cannot end first.
 */
#include "host/run.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/math.h"

#define POLL_MS 100           /* how often progress is asked */
#define POLL_WITHOUT_PIDFD 10 /* how often a child that closed its output is looked at */

static const char *const directories[] = {
    "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin",
};

static const struct {
    const char *program, *package;
} packages[] = {
    {"mke2fs", "e2fsprogs"},    {"resize2fs", "e2fsprogs"}, {"e2fsck", "e2fsprogs"},
    {"tune2fs", "e2fsprogs"},   {"debugfs", "e2fsprogs"},   {"dumpe2fs", "e2fsprogs"},
    {"qemu-img", "qemu-utils"}, {"fusermount3", "fuse3"},   {"mkfs.ext2", "e2fsprogs"},
    {"mkfs.ext3", "e2fsprogs"}, {"mkfs.ext4", "e2fsprogs"}, {"mkfs.xfs", "xfsprogs"},
    {"mkfs.btrfs", "btrfs-progs"}, {"mkfs.vfat", "dosfstools"}, {"mount.nfs", "nfs-common"},
    {"showmount", "nfs-common"}, {"mount.glusterfs", "glusterfs-client"}, {"mount.cifs", "cifs-utils"},
};

/* ---- finding ---- */

static int fail_missing(const char *name, PlkError *err)
{
    for (size_t i = 0; i < sizeof packages / sizeof packages[0]; i++)
        if (strcmp(packages[i].program, name) == 0)
            return plk_fail(err, PLK_ERROR_HELPER,
                            "program '%s' is needed but not installed; it is in the Debian package %s", name,
                            packages[i].package);
    return plk_fail(err, PLK_ERROR_HELPER, "program '%s' is needed but not installed", name);
}

int plk_find_program(const char *name, char buf[PLK_PROGRAM_PATH_MAX], PlkError *err)
{
    char path[PLK_PROGRAM_PATH_MAX];
    struct stat st;

    assert(!strchr(name, '/'));
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        int n = snprintf(path, sizeof path, "%s/%s", directories[i], name);

        if (n >= (int)sizeof path || stat(path, &st) < 0 || !S_ISREG(st.st_mode) || access(path, X_OK) < 0)
            continue;
        memcpy(buf, path, (size_t)n + 1);
        return 0;
    }
    return fail_missing(name, err);
}

/* ---- starting ---- */

/* All the child needs; it may allocate nothing and take no lock. */
typedef struct Plan {
    const PlkRun *run;
    char path[PLK_PROGRAM_PATH_MAX];
    char **argv, **envp;
    int devnull, output; /* both 3 or above */
    pid_t parent;
    volatile int failed_errno; /* written by the child, in our memory */
} Plan;

static size_t count_strings(const char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

/* `fixed` and then `more`, in a new NULL-terminated array; the strings are not copied. */
static char **join(const char *const *fixed, const char *const *more)
{
    size_t a = count_strings(fixed), b = count_strings(more);
    char **all = plk_calloc(a + b + 1, sizeof *all);

    if (!all)
        return NULL;
    memcpy(all, fixed, a * sizeof *all);
    if (b)
        memcpy(all + a, more, b * sizeof *all);
    return all;
}

/* 0 = as it is. */
static void set_limit(__rlimit_resource_t resource, rlim_t value)
{
    struct rlimit limit = {value, value};

    if (value)
        setrlimit(resource, &limit);
}

/* Our handlers must not run in the child, and what we ignore or block would stay so across exec. */
static void reset_signals(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int n = 1; n < NSIG; n++)
        sigaction(n, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child, after vfork. Own process group: a cancel reaches the helper's children too. */
static __attribute__((noreturn, noinline)) void exec_child(Plan *plan)
{
    const PlkRun *run = plan->run;

    reset_signals();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != plan->parent || setpgid(0, 0) < 0)
        goto failed;
    if (dup2(plan->devnull, 0) < 0 || dup2(plan->output, 1) < 0 || dup2(plan->output, 2) < 0)
        goto failed;
    /* Whatever the program around us forgot to mark; old kernels rely on the marks alone. */
    syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    for (size_t i = 0; i < run->fd_count; i++)
        if (fcntl(run->fds[i], F_SETFD, 0) < 0)
            goto failed;
    set_limit(RLIMIT_CPU, run->cpu_seconds);
    set_limit(RLIMIT_AS, run->address_space);
    execve(plan->path, plan->argv, plan->envp);
failed:
    plan->failed_errno = errno ? errno : ESRCH;
    _exit(127);
}

/* The pid, or -errno. */
static pid_t start_child(Plan *plan)
{
    sigset_t all, before;
    pid_t pid;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = vfork();
    if (pid == 0)
        exec_child(plan);
    if (pid < 0)
        pid = -errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

/* ---- watching ---- */

typedef struct Watch {
    const PlkRun *run;
    pid_t pid;
    int pidfd;  /* -1 on old kernels */
    int output; /* non-blocking; -1 after its end */
    char *tail; /* room for twice PLK_RUN_OUTPUT_MAX */
    size_t len;
    struct timespec asked; /* when progress was asked last */
} Watch;

static void keep_tail(Watch *w, size_t max)
{
    if (w->len <= max)
        return;
    memmove(w->tail, w->tail + (w->len - max), max);
    w->len = max;
}

static void drain_output(Watch *w)
{
    while (w->output >= 0) {
        ssize_t n = read(w->output, w->tail + w->len, PLK_RUN_OUTPUT_MAX * 2 - w->len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close(w->output);
            w->output = -1;
            return;
        }
        w->len += (size_t)n;
        if (w->len == PLK_RUN_OUTPUT_MAX * 2)
            keep_tail(w, PLK_RUN_OUTPUT_MAX);
    }
}

/* Output may wake us often; the callback is promised about ten calls a second. */
static bool is_cancelled(Watch *w)
{
    const PlkProgress *p = w->run->progress;
    struct timespec now;

    if (!p)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if ((now.tv_sec - w->asked.tv_sec) * 1000 + (now.tv_nsec - w->asked.tv_nsec) / 1000000 < POLL_MS)
        return false;
    w->asked = now;
    return p->update(p->arg, w->run->what ? w->run->what : w->run->program, 0, 0) != 0;
}

/* Until the child has ended or is to be killed; its wait status in *ret. 0, -ECANCELED or -errno. */
static int watch_child(Watch *w, int *ret)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = w->output, .events = POLLIN}, {.fd = w->pidfd, .events = POLLIN}};
        pid_t pid;

        poll(fds, 2, w->pidfd >= 0 ? POLL_MS : POLL_WITHOUT_PIDFD);
        drain_output(w);
        pid = waitpid(w->pid, ret, WNOHANG);
        if (pid == w->pid)
            break;
        if (pid < 0 && errno != EINTR)
            return -errno; /* somebody else in this process took the status */
        if (is_cancelled(w)) {
            kill(-w->pid, SIGKILL);
            kill(w->pid, SIGKILL);
            waitpid(w->pid, ret, 0);
            return -ECANCELED;
        }
    }
    drain_output(w);
    return 0;
}

static int judge(const Watch *w, const Plan *plan, int watched, int status, PlkError *err)
{
    const char *name = w->run->program;

    if (watched == -ECANCELED)
        return plk_fail(err, PLK_ERROR_CANCELLED, "%s was stopped on request", name);
    if (plan->failed_errno)
        return plk_fail_errno(err, PLK_ERROR_HELPER, plan->failed_errno, "cannot start '%s'", plan->path);
    if (watched < 0)
        return plk_fail_errno(err, PLK_ERROR_HELPER, -watched, "the exit status of '%s' was lost",
                              plan->path);
    if (WIFSIGNALED(status))
        return plk_fail(err, PLK_ERROR_HELPER, "'%s' was killed by signal %d (%s)", plan->path,
                        WTERMSIG(status), strsignal(WTERMSIG(status)));
    return 0;
}

/* ---- all together ---- */

/* A descriptor above the standard three, whatever the process has closed. */
static int lift(int fd)
{
    int high;

    if (fd < 0 || fd > 2)
        return fd;
    high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return high;
}

static int open_output(int *ret_read, int *ret_write)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *ret_read = lift(ends[0]);
    *ret_write = lift(ends[1]);
    if (*ret_read < 0 || *ret_write < 0 || fcntl(*ret_read, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

/* From a prepared plan to a finished child. */
static int run_plan(Plan *plan, Watch *w, PlkRunResult *ret, PlkError *err)
{
    PLK_CLOSE int pidfd = -1;
    int status = 0, r;

    w->pid = start_child(plan);
    plk_closep(&plan->output); /* or its end would never be seen */
    plan->output = -1;
    if (w->pid < 0)
        return plk_fail_errno(err, PLK_ERROR_HELPER, -w->pid, "cannot start '%s'", plan->path);
    w->pidfd = pidfd = pidfd_open(w->pid, 0);
    r = watch_child(w, &status);
    r = judge(w, plan, r, status, err);
    if (r < 0)
        return r;
    keep_tail(w, PLK_RUN_OUTPUT_MAX);
    w->tail[w->len] = '\0';
    plk_debug(PLK_DEBUG_HELPER, "%s: status %d, %zu bytes of output", plan->path, WEXITSTATUS(status),
              w->len);
    ret->status = WEXITSTATUS(status);
    ret->output = PLK_TAKE(w->tail);
    ret->output_len = w->len;
    return 0;
}

int plk_run(const PlkRun *run, PlkRunResult *ret, PlkError *err)
{
    static const char *const base_env[] = {
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin", "LC_ALL=C", NULL};
    const char *const name[] = {run->program, NULL};
    Plan plan = {.run = run, .devnull = -1, .output = -1, .parent = getpid()};
    Watch watch = {.run = run, .pidfd = -1, .output = -1};
    int r = plk_find_program(run->program, plan.path, err), e;

    for (size_t i = 0; i < run->fd_count; i++)
        assert(run->fds[i] > 2);
    if (r < 0)
        return r;
    plan.argv = join(name, run->args);
    plan.envp = join(base_env, run->env);
    watch.tail = plk_malloc(PLK_RUN_OUTPUT_MAX * 2 + 1);
    plan.devnull = lift(open("/dev/null", O_RDONLY | O_CLOEXEC));
    e = open_output(&watch.output, &plan.output);
    if (!plan.argv || !plan.envp || !watch.tail)
        r = plk_fail_nomem(err);
    else if (plan.devnull < 0 || e < 0)
        r = plk_fail_errno(err, PLK_ERROR_HELPER, e < 0 ? -e : errno, "cannot prepare to run '%s'",
                           plan.path);
    else
        r = run_plan(&plan, &watch, ret, err);
    plk_closep(&plan.devnull);
    plk_closep(&plan.output);
    plk_closep(&watch.output);
    free(plan.argv);
    free(plan.envp);
    free(watch.tail);
    return r;
}

void plk_run_result_clear(PlkRunResult *result)
{
    free(result->output);
    *result = (PlkRunResult){0};
}

/* The last line that is not blank; *ret_len is 0 when there is none. */
static const char *last_line(const PlkRunResult *result, int *ret_len)
{
    const char *end = result->output + result->output_len, *start;

    while (end > result->output && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' '))
        end--;
    start = end;
    while (start > result->output && start[-1] != '\n')
        start--;
    *ret_len = (int)PLK_MIN(end - start, 500);
    return start;
}

int plk_run_fail(const PlkRun *run, const PlkRunResult *result, PlkErrorCode code, PlkError *err)
{
    int len;
    const char *line = last_line(result, &len);

    return plk_fail(err, code, "%s failed with status %d%s%.*s", run->program, result->status,
                    len ? ": " : " and said nothing", len, line);
}

int plk_run_checked(const PlkRun *run, PlkErrorCode code, PlkError *err)
{
    plk_cleanup(plk_run_result_clear) PlkRunResult result = {0};
    int r = plk_run(run, &result, err);

    return r == 0 && result.status != 0 ? plk_run_fail(run, &result, code, err) : r;
}
