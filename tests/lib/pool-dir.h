/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory of volumes for tests of single drivers: the process works in it, and it goes when the process
 * ends. */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "host/run.h"
#include "test.h"
#include "volume/volume.h"

#define MIB (1024ull * 1024)

static char pool_dir[64];
static int pool_fd = -1;

static inline int pool_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static inline void pool_remove(void)
{
    if (*pool_dir)
        nftw(pool_dir, pool_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A fresh and empty one. */
static inline void pool_make(void)
{
    static bool registered;

    if (!registered)
        registered = atexit(pool_remove) == 0;
    if (pool_fd >= 0)
        close(pool_fd);
    pool_remove();
    strcpy(pool_dir, "/tmp/plk-pool-XXXXXX");
    CHECK(mkdtemp(pool_dir) && chdir(pool_dir) == 0);
    pool_fd = open(pool_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(pool_fd > 2);
}

static inline PlkPlace pool_at(const char *name)
{
    return (PlkPlace){.dir = pool_fd, .dir_path = pool_dir, .name = name};
}

static inline void pool_write(const char *name, const void *bytes, size_t len, off_t at)
{
    int fd = open(name, O_WRONLY | O_CREAT, 0600);

    CHECK(fd >= 0 && pwrite(fd, bytes, len, at) == (ssize_t)len && close(fd) == 0);
}

static inline void pool_fill(const char *name, char byte, size_t len, off_t at)
{
    char *bytes = malloc(len);

    memset(bytes, byte, len);
    pool_write(name, bytes, len, at);
    free(bytes);
}

/* The byte at `at`, or -1 behind the end. */
static inline int pool_byte(const char *name, off_t at)
{
    int fd = open(name, O_RDONLY);
    unsigned char byte;
    ssize_t n = pread(fd, &byte, 1, at);

    close(fd);
    return n == 1 ? byte : -1;
}

static inline uint64_t pool_size(const char *name)
{
    struct stat st;

    CHECK(lstat(name, &st) == 0);
    return (uint64_t)st.st_size;
}

static inline uint64_t pool_blocks(const char *name)
{
    struct stat st;

    CHECK(lstat(name, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

static inline bool pool_same(const char *a, const char *b)
{
    gchar *left, *right;
    gsize n, m;
    bool same;

    CHECK(g_file_get_contents(a, &left, &n, NULL) && g_file_get_contents(b, &right, &m, NULL));
    same = n == m && memcmp(left, right, n) == 0;
    g_free(left);
    g_free(right);
    return same;
}

/* qemu-img with these arguments, in the pool directory; its exit status. */
#define QEMU_IMG(...) pool_qemu_img((const char *const[]){__VA_ARGS__, NULL})
static inline int pool_qemu_img(const char *const *args)
{
    PlkRun run = {.program = "qemu-img", .args = args};
    PlkRunResult result;
    PlkError err;
    int status;

    CHECK_OK(plk_run(&run, &result, &err), err);
    status = result.status;
    plk_run_result_clear(&result);
    return status;
}

static inline PlkVolumeFacts pool_probe(const char *name)
{
    PlkPlace at = pool_at(name);
    PlkVolumeFacts facts;
    PlkError err;

    CHECK_OK(plk_volume_probe(&at, &facts, &err), err);
    return facts;
}

/* A definition without permissions; allocation 0. */
static inline PlkVolumeDef pool_def(const char *name, PlkFileFormat format, uint64_t capacity)
{
    PlkVolumeDef def = {
        .name = (char *)name, .has_capacity = true, .capacity = capacity, .has_allocation = true};

    def.target.format = format;
    def.target.permissions = (PlkPermissions){.mode = -1, .uid = -1, .gid = -1};
    return def;
}

/* What is left of anything but these names would be a leftover. */
static inline unsigned pool_count(void)
{
    GDir *dir = g_dir_open(".", 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir))
        n++;
    g_dir_close(dir);
    return n;
}
