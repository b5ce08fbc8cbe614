/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command's voice. Log lines go to stdout because the original's do and scripts skip them there;
 * stdout is flushed before anything goes to stderr, so that the two read in order in one log.
 */
#include "cli.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

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
    return plk_exit_code(err->code);
}

int plk_cli_param(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    print_line(stderr, "Error: ", fmt, ap);
    va_end(ap);
    return PLK_EXIT_PARAM;
}

void plk_put_name(const char *before, const char *name, const char *after)
{
    char shown[PLK_NAME_ROOM];

    plk_escape(shown, sizeof(shown), name);
    printf("%s%s%s", before, shown, after);
}
