/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The directory a pool stands on: made, removed, opened, resolved. Each in a thread that can be left behind: a path that
 * leads to a dead file server answers never.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "base/error.h"
#include "host/mount.h"
#include "pool/pool.h"

#define DEFAULT_MODE 0711

/* What the thread has and finds; the caller holds it too, and looks only if the thread has ended in time. */
typedef struct Target Target;
struct Target {
    int (*work)(Target *target, PlkError *err);
    PlkPoolDef *def; /* a copy */
    int fd;
    char *real;
};

static void clear_target(void *arg)
{
    Target *target = arg;

    plk_pool_def_free(target->def);
    if (target->fd >= 0)
        close(target->fd);
    free(target->real);
}

static void drop_target(void *target)
{
    g_atomic_rc_box_release_full(target, clear_target);
}

static void drop_targetp(Target **target)
{
    drop_target(*target);
}
#define TARGET plk_cleanup(drop_targetp) Target *

static Target *new_target(const PlkPoolDef *def, int (*work)(Target *, PlkError *))
{
    Target *target = g_atomic_rc_box_new0(Target);

    target->work = work;
    target->def = plk_pool_def_copy(def);
    target->fd = -1;
    return target;
}

static int run(void *arg, PlkError *err)
{
    Target *target = arg;

    return target->work(target, err);
}

static int work_on(Target *target, PlkError *err)
{
    g_autofree char *what = g_strdup_printf("the directory '%s' of pool '%s'", target->def->target, target->def->name);

    return plk_with_patience(run, g_atomic_rc_box_acquire(target), drop_target, PLK_PATIENCE_MS, what, err);
}

/* ---- found ---- */

static int open_it(Target *target, PlkError *err)
{
    target->fd = open(target->def->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (target->fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot open directory '%s' of pool '%s'",
                              target->def->target, target->def->name);
    return 0;
}

int plk_target_open(const PlkPoolDef *def, int *ret_fd, PlkError *err)
{
    TARGET target = new_target(def, open_it);

    if (work_on(target, err) != 0)
        return -1;
    *ret_fd = PLK_TAKE_FD(target->fd);
    return 0;
}

static int resolve_it(Target *target, PlkError *err)
{
    target->real = realpath(target->def->target, NULL);
    return 0;
}

int plk_target_resolve(const PlkPoolDef *def, char **ret, PlkError *err)
{
    TARGET target = new_target(def, resolve_it);

    if (work_on(target, err) != 0)
        return -1;
    *ret = PLK_TAKE(target->real);
    return 0;
}

/* ---- made and removed ---- */

static int set_label(int fd, const PlkPoolDef *def, PlkError *err)
{
    const char *label = def->permissions.label;

    /* Where a filesystem has no labels, the one of its mount counts. */
    if (label && fsetxattr(fd, "security.selinux", label, strlen(label) + 1, 0) != 0 && errno != EOPNOTSUPP)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot label '%s'", def->target);
    return 0;
}

/* Files of a pool without copy-on-write are made so by their directory. btrfs only; elsewhere who asked for it is told. */
static int set_cow(int fd, const PlkPoolDef *def, PlkError *err)
{
    struct statfs fs;
    int flags;

    if (fstatfs(fd, &fs) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot look at '%s'", def->target);
    if (fs.f_type != BTRFS_SUPER_MAGIC)
        return def->cow < 0 ? 0
                            : plk_fail_errno(err, PLK_ERROR_SYSTEM, ENOSYS,
                                             "copy-on-write cannot be switched in '%s', which is not on btrfs",
                                             def->target);
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags = def->cow == 1 ? flags & ~FS_NOCOW_FL : flags | FS_NOCOW_FL;
        if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0)
            return 0;
    }
    return def->cow < 0 ? 0
                        : plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot switch copy-on-write in '%s'",
                                         def->target);
}

static int apply_permissions(int fd, const PlkPoolDef *def, int mode, PlkError *err)
{
    const PlkPermissions *p = &def->permissions;

    if ((p->uid >= 0 || p->gid >= 0) && fchown(fd, (uid_t)p->uid, (gid_t)p->gid) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot change the owner of '%s'", def->target);
    if (mode >= 0 && fchmod(fd, mode) != 0) /* after the owner: that takes bits away */
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot change the mode of '%s'", def->target);
    return set_label(fd, def, err) == 0 ? set_cow(fd, def, err) : -1;
}

static int build_it(Target *target, PlkError *err)
{
    const PlkPoolDef *def = target->def;
    g_autofree char *parent = g_path_get_dirname(def->target);
    int mode = def->permissions.mode;
    bool made;

    if (g_mkdir_with_parents(parent, 0777) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot create directory '%s'", parent);
    made = mkdir(def->target, 0700) == 0;
    if (!made && errno != EEXIST)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot create directory '%s'", def->target);
    if (mode < 0 && (made || def->type == PLK_POOL_NETFS))
        mode = DEFAULT_MODE;
    return open_it(target, err) == 0 ? apply_permissions(target->fd, def, mode, err) : -1;
}

int plk_target_build(const PlkPoolDef *def, PlkError *err)
{
    TARGET target = new_target(def, build_it);

    return work_on(target, err);
}

int plk_target_check_flags(const PlkPoolDef *def, unsigned flags, PlkError *err)
{
    if (flags & (PLK_BUILD_NO_OVERWRITE | PLK_BUILD_OVERWRITE))
        return plk_fail(err, PLK_ERROR_STATE, "pool '%s' has no source device that could be overwritten", def->name);
    return 0;
}

static int remove_it(Target *target, PlkError *err)
{
    if (rmdir(target->def->target) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot remove the directory '%s' of pool '%s'",
                              target->def->target, target->def->name);
    return 0;
}

int plk_target_remove(const PlkPoolDef *def, unsigned flags, PlkError *err)
{
    if (flags != 0)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "unsupported flags (0x%x) to delete a pool", flags);
    TARGET target = new_target(def, remove_it);

    return work_on(target, err);
}

int plk_target_unmount(const PlkPoolDef *def, PlkError *err)
{
    PlkError why;
    char name[64];
    pid_t pid;

    if (plk_umount(def->target, &why) == 0)
        return 0;
    pid = why.errnum == EBUSY ? plk_mount_user(def->target, name, sizeof(name)) : 0;
    if (pid > 0)
        return plk_fail(err, PLK_ERROR_STATE, "cannot unmount '%s' of pool '%s': process %d (%s) uses it", def->target,
                        def->name, (int)pid, name);
    if (err)
        *err = why;
    return -1;
}
