/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The directory a volume lives in, as a vtable beside PlkIo: names come and go through it and nowhere
 * else, so that the fault and recording shims see them in order with the writes.
 *
 * Every name is resolved beneath a root: by default the volume directory itself, or a wider directory
 * given at open (a pool). A name is a path relative to the volume directory, "sub/x" and "../x"
 * included, or an absolute one; it is made canonical as text, must stay beneath the root, and is then
 * opened without following any link. What is opened must be a regular file. -EXDEV: the name leaves
 * the root. -ELOOP: a link is on the way. -EINVAL: not a regular file, or an empty name.
 *
 * All functions return 0 or -errno. Threads: as PlkIo.
 */
#pragma once

#include "io/io.h"

typedef struct PlkDir PlkDir;

typedef enum PlkOpenFlags {
    PLK_OPEN_WRITE = 1 << 0,     /* read-write, else read-only; -EMLINK: a hard link to somebody else's file */
    PLK_OPEN_CREATE = 1 << 1,    /* create if absent; implies WRITE */
    PLK_OPEN_EXCLUSIVE = 1 << 2, /* with CREATE: -EEXIST if there */
} PlkOpenFlags;

typedef struct PlkDirOps {
    size_t struct_size;
    const char *name;
    int (*open)(PlkDir *dir, const char *path, unsigned flags, mode_t mode, PlkIo **ret);
    /* A file without a name yet; link() gives it one. Gone at close otherwise. */
    int (*create_unnamed)(PlkDir *dir, mode_t mode, PlkIo **ret);
    int (*link)(PlkDir *dir, PlkIo *unnamed, const char *path); /* -EEXIST, never replaces */
    int (*rename)(PlkDir *dir, const char *from, const char *to, bool replace);
    int (*unlink)(PlkDir *dir, const char *path);
    int (*exists)(PlkDir *dir, const char *path); /* 1, 0 or -errno; any kind of file counts */
    /* NULL: there is one directory. */
    int (*include)(PlkDir *dir, const char *path);
    int (*sync)(PlkDir *dir);
    /* Calls each name in the volume directory itself, "." and ".." left out; stops when it returns
     * non-zero and returns that. */
    int (*list)(PlkDir *dir, int (*each)(void *arg, const char *name), void *arg);
    /* Bytes an unprivileged writer could still add to this filesystem. */
    int (*free_space)(PlkDir *dir, uint64_t *ret);
    /* flock on a lock file, created on demand and never removed; waits up to timeout_ms (-EAGAIN). */
    int (*flock)(PlkDir *dir, const char *path, int timeout_ms, PlkIo **ret_held);
    void (*close)(PlkDir *dir);
} PlkDirOps;

struct PlkDir {
    const PlkDirOps *ops;
    char *path; /* absolute path of the volume directory; for messages and snapshot-list */
    char *root; /* absolute path nothing may leave; equal to path by default */
};

/* The real filesystem. root may be NULL (= the directory itself). Follows links in `path` itself once. */
int plk_dir_open_fs(const char *path, const char *root, PlkDir **ret);
/* A directory in memory, for tests and fuzzing: empty, private to this object. */
int plk_dir_open_memory(const char *path, PlkDir **ret);

void plk_dir_close(PlkDir *dir); /* NULL is fine */
static inline void plk_dir_closep(PlkDir **dir)
{
    plk_dir_close(*dir);
}

int plk_dir_open_file(PlkDir *dir, const char *path, unsigned flags, mode_t mode, PlkIo **ret);
int plk_dir_create_unnamed(PlkDir *dir, mode_t mode, PlkIo **ret);
/* The file's name for messages changes too: nobody else may be using it yet. */
int plk_dir_link(PlkDir *dir, PlkIo *unnamed, const char *path);
int plk_dir_rename(PlkDir *dir, const char *from, const char *to, bool replace);
int plk_dir_unlink(PlkDir *dir, const char *path);
int plk_dir_exists(PlkDir *dir, const char *path);
/* The next sync makes this name durable too, which somebody else has made, in whatever directory. */
int plk_dir_include(PlkDir *dir, const char *path);
int plk_dir_sync(PlkDir *dir);
int plk_dir_list(PlkDir *dir, int (*each)(void *arg, const char *name), void *arg);
int plk_dir_free_space(PlkDir *dir, uint64_t *ret);
int plk_dir_flock(PlkDir *dir, const char *path, int timeout_ms, PlkIo **ret_held);

/* Whole small files: descriptor and lock text. *ret is malloc'd, NUL-terminated; -EFBIG over `max`. */
int plk_dir_read_file(PlkDir *dir, const char *path, size_t max, char **ret, size_t *ret_len);

/*
 * The one publishing function: text under a temporary name, fsync, rename over `path`, fsync of the
 * directory. After 0 the new content is there for good; after an error the old content still is, except when
 * that last fsync failed: the new content is in place then, but may not survive a crash.
 */
int plk_dir_publish_file(PlkDir *dir, const char *path, const char *text, size_t len, mode_t mode);

/*
 * As text: base "/a/b", path "../c/./d" -> "/a/c/d". Absolute `path` replaces base. NULL when out of
 * memory (errno ENOMEM), or when the result would climb above "/" (EXDEV).
 */
char *plk_path_canonical(const char *base, const char *path);
/* Is canonical `path` beneath canonical `root`? Then the rest without leading '/', else NULL. */
const char *plk_path_beneath(const char *root, const char *path);
