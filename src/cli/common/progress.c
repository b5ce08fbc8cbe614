/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How far a long operation is, and stopping it.
 *
 * The bar lives on one line of stderr and only on a terminal: what is piped or logged stays clean. It appears
 * after a second, so that short commands never flicker. --progress-fd gives programs "DONE/TOTAL" lines in
 * bytes instead.
 *
 * A signal only sets a flag: the operation sees it at its next step where nothing is half-made. The handler
 * resets itself, so a second signal ends the process at once, which every operation survives like a crash.
 */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"

#define BAR_WIDTH 30

static volatile sig_atomic_t cancelled;
static double begin_time;
static bool bar_shown, bar_off;
static int report_fd = -1;

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void on_signal(int sig)
{
    cancelled = 1;
}

void plk_progress_setup(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_RESTART}, old;

    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) /* nohup stays nohup */
            sigaction(signals[i], &action, NULL);
    /* A reader that goes away (`ploop ... | head`) must not kill an operation half-way; main() reports the
     * failed write. */
    signal(SIGPIPE, SIG_IGN);
    begin_time = now();
}

bool plk_cancelled(void)
{
    return cancelled;
}

int plk_progress_to_fd(const char *text)
{
    char *end;
    long fd;

    errno = 0;
    fd = strtol(text, &end, 10);
    if (errno || end == text || *end || fd < 0 || fd > 1 << 20 || fcntl((int)fd, F_GETFD) < 0)
        return plk_cli_param("--progress-fd %s: not an open file descriptor", text);
    report_fd = (int)fd;
    return 0;
}

void plk_progress_off(void)
{
    bar_off = true;
}

void plk_progress_clear(void)
{
    if (bar_shown)
        fputs("\r\033[K", stderr);
    bar_shown = false;
}

static void draw_bar(const char *what, uint64_t done, uint64_t total)
{
    double part = total ? (double)done / (double)total : 0;
    double elapsed = now() - begin_time;
    int filled = (int)(part * BAR_WIDTH);
    char size[32];

    fprintf(stderr, "\r\033[K%-16.16s [", what);
    for (int i = 0; i < BAR_WIDTH; i++)
        fputc(i < filled ? '#' : '.', stderr);
    fprintf(stderr, "] %3d %%  %s", (int)(part * 100), plk_human_size(done, size, sizeof(size)));
    if (part > 0.01 && part < 1)
        fprintf(stderr, "  %.0f s left", elapsed / part - elapsed);
    bar_shown = true;
    if (done >= total)
        plk_progress_clear();
    fflush(stderr);
}

static int update(void *arg, const char *what, uint64_t done, uint64_t total)
{
    if (report_fd >= 0)
        dprintf(report_fd, "%llu/%llu\n", (unsigned long long)done, (unsigned long long)total);
    else if (!bar_off && plk_verbosity >= 0 && now() - begin_time > 1 && isatty(STDERR_FILENO))
        draw_bar(what ? what : "", done, total);
    return cancelled;
}

const PlkProgress *plk_cli_progress(void)
{
    static const PlkProgress progress = {.update = update};

    return &progress;
}
