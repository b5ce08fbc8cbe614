/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log: journal or standard error. */
#include "daemon/log.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

static atomic_int highest = LOG_INFO;
static bool journal;
static _Thread_local char about_pool[NAME_MAX + 1], about_volume[NAME_MAX + 1];

/* systemd tells in JOURNAL_STREAM which file its journal is; our standard error may be another by now. */
static bool is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;

    return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(fd, &st) == 0 && st.st_dev == dev &&
           st.st_ino == ino;
}

void plk_log_setup(int highest_level)
{
    highest = highest_level;
    journal = is_journal(STDERR_FILENO);
}

void plk_log_about(const char *pool, const char *volume)
{
    snprintf(about_pool, sizeof about_pool, "%s", pool ? pool : "");
    snprintf(about_volume, sizeof about_volume, "%s", volume ? volume : "");
}

typedef struct Entry {
    struct iovec field[8];
    int n;
    char text[8][1200];
} Entry;

/* Nothing is added for what is not known. */
static void add(Entry *e, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    snprintf(e->text[e->n], sizeof e->text[e->n], "%s=%s", name, value);
    e->field[e->n] = (struct iovec){.iov_base = e->text[e->n], .iov_len = strlen(e->text[e->n])};
    e->n++;
}

static void tell_journal(int level, const PlkLogFields *f, const char *client, const char *message)
{
    char priority[2] = {(char)('0' + level), '\0'};
    Entry e = {.n = 0};

    add(&e, "MESSAGE", message);
    add(&e, "PRIORITY", priority);
    add(&e, "SYSLOG_IDENTIFIER", "ploopd");
    add(&e, "PLOOPKIT_POOL", f->pool ? f->pool : about_pool);
    add(&e, "PLOOPKIT_VOLUME", f->pool ? f->volume : about_volume);
    add(&e, "PLOOPKIT_JOB", f->job);
    add(&e, "PLOOPKIT_CLIENT", client);
    sd_journal_sendv(e.field, e.n);
}

static void tell_stderr(const PlkLogFields *f, const char *client, const char *message)
{
    fprintf(stderr, "ploopd: %s%s%s%s%s%s%s\n", client ? "client " : "", client ? client : "", client ? ": " : "",
            f->job ? "job " : "", f->job ? f->job : "", f->job ? ": " : "", message);
}

void plk_log(int level, const PlkLogFields *fields, const char *fmt, ...)
{
    static const PlkLogFields none;
    const PlkLogFields *f = fields ? fields : &none;
    char message[1100], number[24];
    const char *client = f->client ? number : NULL;
    va_list ap;

    if (level > atomic_load_explicit(&highest, memory_order_relaxed))
        return;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    snprintf(number, sizeof number, "%lu", f->client);
    if (journal)
        tell_journal(level, f, client, message);
    else
        tell_stderr(f, client, message);
}
