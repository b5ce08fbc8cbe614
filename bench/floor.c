/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The system calls of volume/ploop-probe.c and pool/refresh.c, one for one; who changes those changes these
 * (strace -c of bench-pools tells). No record is made, no text is understood.
 */
#include "floor.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define THREADS_MAX 64
#define PIECE 64
#define TEXT_MAX 65536
#define HEADER_BYTES 64
#define MASK (STATX_BASIC_STATS | STATX_BTIME)

typedef struct Floor {
    int dir;
    FloorKind kind;
    char **names;
    size_t n;
    atomic_size_t next, seen;
} Floor;

/* -1 or a descriptor; its length in *size. */
static int open_file(int dir, const char *name, size_t *size)
{
    struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    struct statx stx;
    int fd;

    if (statx(dir, name, AT_SYMLINK_NOFOLLOW, MASK, &stx) < 0)
        return -1;
    fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof how);
    if (fd >= 0 && statx(fd, "", AT_EMPTY_PATH, MASK, &stx) == 0)
        *size = stx.stx_size;
    return fd;
}

static bool read_file(int dir, const char *name, size_t most)
{
    char text[TEXT_MAX];
    size_t size = 0;
    int fd = open_file(dir, name, &size);
    bool ok = fd >= 0 && pread(fd, text, size < most ? size : most, 0) >= 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

static bool probe(int pool, const char *name)
{
    char label[4096];
    size_t size;
    int dir = open_file(pool, name, &size);
    bool ok = dir >= 0 && read_file(dir, "DiskDescriptor.xml", TEXT_MAX) && read_file(dir, "root.hds", HEADER_BYTES);

    if (dir < 0)
        return false;
    (void)fgetxattr(dir, "security.selinux", label, sizeof label);
    close(dir);
    return ok;
}

static bool look(int pool, const char *name)
{
    char descriptor[512], base[512];
    struct statx stx;

    snprintf(descriptor, sizeof descriptor, "%s/DiskDescriptor.xml", name);
    snprintf(base, sizeof base, "%s/root.hds", name);
    return statx(pool, name, AT_SYMLINK_NOFOLLOW, MASK, &stx) == 0 &&
           statx(pool, descriptor, AT_SYMLINK_NOFOLLOW, MASK, &stx) == 0 &&
           statx(pool, base, AT_SYMLINK_NOFOLLOW, MASK, &stx) == 0;
}

static void *work(void *arg)
{
    Floor *floor = arg;
    size_t from, seen = 0;

    while ((from = atomic_fetch_add(&floor->next, PIECE)) < floor->n)
        for (size_t i = from; i < from + PIECE && i < floor->n; i++)
            seen += floor->kind == FLOOR_PROBE ? probe(floor->dir, floor->names[i]) : look(floor->dir, floor->names[i]);
    atomic_fetch_add(&floor->seen, seen);
    return NULL;
}

static void read_names(Floor *floor, DIR *d)
{
    struct dirent *e;
    size_t room = 0;

    while ((e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        if (floor->n == room)
            floor->names = realloc(floor->names, (room = room ? room * 2 : 1024) * sizeof floor->names[0]);
        floor->names[floor->n++] = strdup(e->d_name);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

size_t floor_run(const char *path, FloorKind kind, unsigned threads, bool sorted)
{
    DIR *d = opendir(path);
    Floor floor = {.kind = kind};
    pthread_t others[THREADS_MAX];
    unsigned n = 0;

    if (!d)
        return 0;
    floor.dir = dirfd(d);
    read_names(&floor, d);
    if (sorted && floor.n)
        qsort(floor.names, floor.n, sizeof floor.names[0], by_name);
    while (n + 1 < threads && n < THREADS_MAX && pthread_create(&others[n], NULL, work, &floor) == 0)
        n++;
    work(&floor);
    while (n > 0)
        pthread_join(others[--n], NULL);
    closedir(d);
    for (size_t i = 0; i < floor.n; i++)
        free(floor.names[i]);
    free(floor.names);
    return floor.seen;
}
