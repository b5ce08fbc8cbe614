/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Marks of what broke off. One line: dev ino from to since what who. */
#include "pool/incomplete.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "pool/private.h"

#define MARKS "incomplete"
#define MARK_BYTES 256
#define TRIES 100

/* ---- one mark ---- */

static bool read_mark(int dir, const char *name, PlkIncomplete *ret)
{
    PLK_CLOSE int fd = plk_private_open_file(dir, name, O_RDONLY);
    char text[MARK_BYTES + 1];
    ssize_t n = fd < 0 ? -1 : read(fd, text, MARK_BYTES);

    if (n < 0)
        return false;
    text[n] = '\0';
    *ret = (PlkIncomplete){.to = UINT64_MAX};
    if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNd64 " %15s %63[ -~]", &ret->dev, &ret->ino,
               &ret->from, &ret->to, &ret->since, ret->what, ret->who) < 6)
        /* Cut short by a crash before it was durable: nothing was written to the volume then. */
        return false;
    return true;
}

PlkIncomplete plk_incomplete_now(const char *what, uint64_t dev, uint64_t ino)
{
    PlkIncomplete mark = {.dev = dev, .ino = ino, .to = UINT64_MAX, .since = time(NULL)};

    g_strlcpy(mark.what, what, sizeof mark.what);
    g_snprintf(mark.who, sizeof mark.who, "%s, pid %d", program_invocation_short_name, (int)getpid());
    return mark;
}

bool plk_incomplete_get(int pool_dir, const char *name, uint64_t dev, uint64_t ino, PlkIncomplete *ret)
{
    PLK_CLOSE int dir = plk_private_open(pool_dir, MARKS, false);
    PlkIncomplete mark;

    if (dir < 0 || !read_mark(dir, name, &mark) || mark.dev != dev || mark.ino != ino)
        return false;
    *ret = mark;
    return true;
}

char *plk_incomplete_reason(const PlkIncomplete *mark)
{
    g_autoptr(GDateTime) when = g_date_time_new_from_unix_local(mark->since);
    g_autofree char *time = when ? g_date_time_format(when, "%F %T") : g_strdup("some time ago");
    g_autofree char *to = mark->to == UINT64_MAX ? g_strdup("its end") : g_strdup_printf("byte %" PRIu64, mark->to);

    if (strcmp(mark->what, "upload"))
        return g_strdup_printf("its %s began %s (%s) and did not end", mark->what, time, mark->who);
    return g_strdup_printf("an upload of byte %" PRIu64 " to %s began %s (%s) and did not end", mark->from, to, time,
                           mark->who);
}

/* ---- changing ---- */

/* File, its name, and the directories that lead there. */
static int write_mark(int pool_dir, int dir, const char *name, const PlkIncomplete *mark)
{
    PLK_CLOSE int fd = plk_private_open_file(dir, name, O_WRONLY | O_CREAT);
    PLK_CLOSE int private = openat(pool_dir, PLK_PRIVATE_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char text[MARK_BYTES];
    int n = snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %s %s\n",
                     mark->dev, mark->ino, mark->from, mark->to, mark->since, mark->what, mark->who);

    if (fd < 0 || private < 0)
        return fd < 0 ? fd : -errno;
    /* An older mark is longer or the same but for its range: what is read meanwhile or after a crash is one of the two. */
    if (pwrite(fd, text, (size_t)n, 0) != n || ftruncate(fd, n) < 0 || fsync(fd) < 0 || fsync(dir) < 0 ||
        fsync(private) < 0 || fsync(pool_dir) < 0)
        return errno ? -errno : -EIO;
    return 0;
}

static PlkIncomplete unite(const PlkIncomplete *a, const PlkIncomplete *b)
{
    PlkIncomplete both = *a;

    both.from = MIN(a->from, b->from);
    both.to = MAX(a->to, b->to);
    return both;
}

static int try_set(int pool_dir, const char *name, const PlkIncomplete *mark, PlkIncomplete *ret)
{
    PLK_CLOSE int dir = plk_private_open(pool_dir, MARKS, true);
    PlkIncomplete old;
    bool is_first;
    int r;

    if (dir < 0)
        return dir;
    *ret = *mark;
    is_first = !read_mark(dir, name, &old);
    if (!is_first && old.dev == mark->dev && old.ino == mark->ino)
        *ret = unite(mark, &old);
    r = write_mark(pool_dir, dir, name, ret);
    if (r < 0 && is_first) { /* on a full disk, say: an empty file would say nothing, and take a name */
        unlinkat(dir, name, 0);
        plk_private_tidy(pool_dir, MARKS);
    }
    return r;
}

/* Somebody who took the last mark off may remove the directory just before ours is in it. */
int plk_incomplete_set(int pool_dir, const char *name, const PlkIncomplete *mark, PlkIncomplete *ret, PlkError *err)
{
    PlkIncomplete now;
    int r = -ENOENT;

    for (int i = 0; i < TRIES && r == -ENOENT; i++)
        r = try_set(pool_dir, name, mark, &now);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_SYSTEM, r, "cannot mark volume '%s' as incomplete", name);
    if (ret)
        *ret = now;
    return 0;
}

int plk_incomplete_clear(int pool_dir, const char *name, PlkError *err)
{
    PLK_CLOSE int dir = plk_private_open(pool_dir, MARKS, false);

    if (dir == -ENOENT)
        return 0;
    if (dir < 0 || (unlinkat(dir, name, 0) < 0 && errno != ENOENT) || fsync(dir) < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, dir < 0 ? -dir : errno, "cannot take the mark of volume '%s' off",
                              name);
    plk_private_tidy(pool_dir, MARKS);
    return 0;
}

GHashTable *plk_incomplete_names(int pool_dir)
{
    int dir = plk_private_open(pool_dir, MARKS, false);
    GHashTable *names;
    struct dirent *e;
    DIR *d;

    if (dir < 0)
        return NULL;
    d = fdopendir(dir);
    if (!d) {
        close(dir);
        return NULL;
    }
    names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    while ((e = readdir(d)))
        g_hash_table_add(names, g_strdup(e->d_name));
    closedir(d);
    return names;
}
