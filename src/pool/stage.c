/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stages: made, published from, swept. */
#include "pool/stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "pool/private.h"

#define STAGES "stage"
#define MACHINE_CHARS 16
#define DEPTH_MAX 64
#define TRIES 100
#define KEEP_US (500 * G_TIME_SPAN_MILLISECOND)

/* ---- removing what is left ---- */

/* Beneath `dir`, following nothing. What cannot be removed stays, for the doctor to see. */
static void remove_tree(int dir, const char *name, int depth)
{
    struct dirent *e;
    DIR *d;
    int fd;

    if (unlinkat(dir, name, 0) == 0 || (errno != EISDIR && errno != EPERM) || depth == DEPTH_MAX)
        return;
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((e = readdir(d)))
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            remove_tree(dirfd(d), e->d_name, depth + 1);
    closedir(d);
    unlinkat(dir, name, AT_REMOVEDIR);
}

/* ---- making one ---- */

static void make_name(const char *machine, char ret[64])
{
    uint64_t number = 0;

    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        number = (uint64_t)g_get_real_time() ^ (uint64_t)getpid() << 48;
    snprintf(ret, 64, "%.*s-%016" G_GINT64_MODIFIER "x", MACHINE_CHARS, machine, number);
}

/* A sweep that comes between mkdir and flock takes the new directory for a dead one's. */
static int make_locked(int stages, const char *name)
{
    PLK_CLOSE int fd = -1;
    struct stat st;

    if (mkdirat(stages, name, 0700) < 0)
        return -errno;
    fd = openat(stages, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESTALE : -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || st.st_nlink == 0)
        return -ESTALE;
    return PLK_TAKE_FD(fd);
}

/* Locked. A stage that somebody removed is none. 1: made, 0: there was one. */
static int make_stage(PlkStage *stage)
{
    char name[64];
    struct stat st;
    int fd = -ESTALE;

    if (stage->dir >= 0 && fstat(stage->dir, &st) == 0 && st.st_nlink > 0)
        return 0;
    for (int i = 0; i < TRIES && (fd == -ESTALE || fd == -ENOENT || fd == -EEXIST); i++) {
        PLK_CLOSE int stages = plk_private_open(stage->pool_dir, STAGES, true);

        make_name(stage->machine, name);
        fd = stages < 0 ? stages : make_locked(stages, name);
    }
    if (fd < 0)
        return fd;
    if (stage->dir >= 0)
        close(stage->dir);
    g_free(stage->name);
    stage->dir = fd;
    stage->name = g_strdup(name);
    return 1;
}

/* Locked. */
static void remove_stage(PlkStage *stage)
{
    PLK_CLOSE int stages = stage->dir < 0 ? -1 : plk_private_open(stage->pool_dir, STAGES, false);

    if (stage->dir < 0)
        return;
    if (stages >= 0)
        remove_tree(stages, stage->name, 0);
    close(stage->dir);
    g_free(stage->name);
    stage->dir = -1;
    stage->name = NULL;
    plk_private_tidy(stage->pool_dir, PLK_PRIVATE_NAMES);
    plk_private_tidy(stage->pool_dir, STAGES);
}

void plk_stage_init(PlkStage *stage, int pool_dir, const char *pool_path, const char *machine)
{
    *stage = (PlkStage){.pool_dir = pool_dir, .pool_path = pool_path, .machine = machine, .dir = -1};
    pthread_mutex_init(&stage->lock, NULL);
}

void plk_stage_clear(PlkStage *stage)
{
    remove_stage(stage);
    pthread_mutex_destroy(&stage->lock);
}

int plk_stage_enter(PlkStage *stage, const char *name, PlkPlace *ret, PlkError *err)
{
    int r, fd;

    PLK_LOCKED(&stage->lock);
    r = make_stage(stage);
    fd = r < 0 ? r : fcntl(stage->dir, F_DUPFD_CLOEXEC, 3); /* stays when the stage is taken away and replaced */
    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, r < 0 ? -r : errno, "cannot make a place to build volume '%s' in '%s'",
                              name, stage->pool_path);
    stage->users++;
    *ret = (PlkPlace){.dir = fd, .dir_path = stage->pool_path, .name = name};
    return r;
}

void plk_stage_leave(PlkStage *stage, const PlkPlace *built, bool keep)
{
    remove_tree(built->dir, built->name, 0);
    close(built->dir);
    PLK_LOCKED(&stage->lock);
    if (--stage->users)
        return;
    stage->left_at = g_get_monotonic_time();
    if (!keep)
        remove_stage(stage);
}

bool plk_stage_is_kept(PlkStage *stage)
{
    PLK_LOCKED(&stage->lock);
    return stage->dir >= 0;
}

bool plk_stage_tidy(PlkStage *stage)
{
    PLK_LOCKED(&stage->lock);
    if (stage->users == 0 && g_get_monotonic_time() - stage->left_at >= KEEP_US)
        remove_stage(stage);
    return stage->dir >= 0;
}

/* ---- publishing ---- */

/* Where the file system cannot refuse to replace in the same step, the reservation keeps our own kind out, and only a
 * stranger could come between the two steps. */
static int rename_to_new(int from, int to, const char *name)
{
    struct stat st;

    if (renameat2(from, name, to, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    if (fstatat(to, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    return renameat(from, name, to, name) < 0 ? -errno : 0;
}

/* A directory that a crash left under both names would be swept empty; a file that loses one of two names is still there. */
static int sync_names(const PlkStage *stage, const PlkPlace *built)
{
    struct stat st;
    bool file = fstatat(stage->pool_dir, built->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);

    return fsync(stage->pool_dir) == 0 && (file || fsync(built->dir) == 0) ? 0 : -errno;
}

int plk_stage_publish(const PlkStage *stage, const PlkPlace *built, PlkError *err)
{
    const char *name = built->name, *path = built->dir_path;
    int r = rename_to_new(built->dir, stage->pool_dir, name);

    if (r == -EEXIST)
        return plk_fail(err, PLK_ERROR_VOLUME_EXISTS, "'%s/%s' has come into being meanwhile; it is left as it is", path, name);
    if (r < 0)
        return plk_fail_errno(err, PLK_ERROR_RENAME, -r, "cannot give volume '%s/%s' its name", path, name);
    r = sync_names(stage, built);
    if (r == 0)
        return 0;
    /* Nobody has been told of it yet: better none than one that a crash may take away. */
    renameat(stage->pool_dir, name, built->dir, name);
    return plk_fail_errno(err, PLK_ERROR_SYNC, -r, "cannot make the name of volume '%s/%s' durable", path, name);
}

/* ---- sweeping ---- */

static bool is_dead(int stages, const char *name)
{
    PLK_CLOSE int fd = openat(stages, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return false;
    remove_tree(stages, name, 0); /* under its lock */
    return true;
}

void plk_stages_sweep(int pool_dir, const char *machine, unsigned *ret, void (*foreign)(void *arg, const char *stage),
                      void *arg)
{
    int fd = plk_private_open(pool_dir, STAGES, false);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (strncmp(e->d_name, machine, MACHINE_CHARS) == 0 && e->d_name[MACHINE_CHARS] == '-')
            *ret += is_dead(dirfd(d), e->d_name);
        else if (foreign)
            foreign(arg, e->d_name);
    }
    closedir(d);
    plk_private_tidy(pool_dir, STAGES);
}
