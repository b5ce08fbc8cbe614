/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command's voice. Log lines go to stdout because the original's do and scripts skip them there;
 * stdout is flushed before anything goes to stderr, so that the two read in order in one log.
 */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

/* Room for two paths and a sentence; names that grow by escapes are cut. */
#define LINE_MAX_BYTES (2 * PATH_MAX + 1024)

int plk_verbosity = 3;

/* From verbosity 4 on each line says when, in seconds since the command began. */
static void print_stamp(FILE *out)
{
    static struct timespec begin;
    struct timespec now;

    if (plk_verbosity < 4)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!begin.tv_sec)
        begin = now;
    fprintf(out, "[ %f] ", (double)(now.tv_sec - begin.tv_sec) + (double)(now.tv_nsec - begin.tv_nsec) / 1e9);
}

/* Names may hold newlines and what moves a cursor: a message stays one line and says no more than it is. */
static void print_line(FILE *out, const char *tag, const char *fmt, va_list ap)
{
    char raw[LINE_MAX_BYTES], line[LINE_MAX_BYTES];

    plk_progress_clear();
    if (out != stdout)
        fflush(stdout);
    print_stamp(out);
    vsnprintf(raw, sizeof(raw), fmt, ap);
    plk_escape(line, sizeof(line), raw);
    fprintf(out, "%s%s\n", tag, line);
}

void plk_say(int level, const char *fmt, ...)
{
    va_list ap;

    if (level > plk_verbosity)
        return;
    va_start(ap, fmt);
    print_line(stdout, "", fmt, ap);
    va_end(ap);
}

void plk_warn(const char *fmt, ...)
{
    va_list ap;

    if (plk_verbosity < 0)
        return;
    va_start(ap, fmt);
    print_line(stderr, "Warning: ", fmt, ap);
    va_end(ap);
}

void plk_complain(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    print_line(stderr, "Error: ", fmt, ap);
    va_end(ap);
}

int plk_cli_fail(const PlkError *err)
{
    plk_complain("%s", err->message);
    return plk_program.exit_code(err->code);
}

int plk_cli_param(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    print_line(stderr, "Error: ", fmt, ap);
    va_end(ap);
    return plk_program.usage_exit;
}

void plk_put_name(const char *before, const char *name, const char *after)
{
    char shown[PLK_NAME_ROOM];

    plk_escape(shown, sizeof(shown), name);
    printf("%s%s%s", before, shown, after);
}

int plk_occupy_standard_streams(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR | O_NOCTTY);
        if (fd < 0)
            return -1;
    } while (fd <= STDERR_FILENO);
    close(fd);
    return 0;
}

int plk_finish_output(int rc, int write_exit)
{
    bool flushed;

    plk_progress_clear();
    flushed = fflush(stdout) == 0;
    if (flushed && !ferror(stdout))
        return rc;
    /* What an earlier write failed with is not kept. */
    plk_complain("standard output: %s", flushed ? "not all of it could be written" : strerror(errno));
    return rc ? rc : write_exit;
}
