/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The directory a pool stands on: made, removed, and refused where a pool would do harm. */
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
#include "pool/pool.h"

#define DEFAULT_MODE 0711

/* The system's own: nothing here or beneath it may be a pool. */
static const char *const closed[] = {
    "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/proc", "/sys", "/dev", "/run/libvirt",
};
/* These themselves; beneath them there is room. */
static const char *const exact[] = {"/", "/var", "/var/lib", "/home", "/root", "/tmp", "/run", "/srv", "/mnt", "/opt"};

static bool is_beneath(const char *path, const char *dir)
{
    size_t length = strlen(dir);

    if (strcmp(dir, "/") == 0)
        return true;
    return strncmp(path, dir, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static bool has_dots(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    return g_strv_contains((const char *const *)parts, "..") || g_strv_contains((const char *const *)parts, ".");
}

static bool is_system(const char *path)
{
    for (size_t i = 0; i < G_N_ELEMENTS(exact); i++)
        if (strcmp(path, exact[i]) == 0)
            return true;
    for (size_t i = 0; i < G_N_ELEMENTS(closed); i++)
        if (is_beneath(path, closed[i]))
            return true;
    return false;
}

static bool is_under_roots(const char *path, const char *const *roots)
{
    for (; *roots; roots++)
        if (is_beneath(path, *roots))
            return true;
    return false;
}

static int check_path(const char *path, const char *const *roots, PlkError *err)
{
    if (roots && !is_under_roots(path, roots))
        return plk_fail(err, PLK_ERROR_CONFIG, "a pool may not stand on '%s': it is not beneath an allowed root", path);
    if (!roots && is_system(path))
        return plk_fail(err, PLK_ERROR_CONFIG, "a pool may not stand on '%s': it belongs to the system", path);
    return 0;
}

int plk_target_allowed(const PlkPoolDef *def, const char *const *roots, PlkError *err)
{
    g_autofree char *clean = NULL;
    char *real;
    int result;

    if (!def->target || def->target[0] != '/')
        return plk_fail(err, PLK_ERROR_CONFIG, "the target path of pool '%s' is not absolute", def->name);
    if (has_dots(def->target) && roots)
        return plk_fail(err, PLK_ERROR_CONFIG, "the target path '%s' has '.' or '..' in it", def->target);
    clean = plk_path_sanitise(def->target);
    if (check_path(clean[0] == '/' && clean[1] == '/' ? clean + 1 : clean, roots, err) != 0)
        return -1;
    /* A link leads where its text does not say. */
    real = realpath(def->target, NULL);
    result = real ? check_path(real, roots, err) : 0;
    free(real);
    return result;
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

int plk_target_check_flags(const PlkPoolDef *def, unsigned flags, PlkError *err)
{
    if (flags & (PLK_BUILD_NO_OVERWRITE | PLK_BUILD_OVERWRITE))
        return plk_fail(err, PLK_ERROR_STATE, "pool '%s' has no source device that could be overwritten", def->name);
    return 0;
}

int plk_target_build(const PlkPoolDef *def, PlkError *err)
{
    g_autofree char *parent = g_path_get_dirname(def->target);
    int mode = def->permissions.mode;
    PLK_CLOSE int fd = -1;
    bool made;

    if (g_mkdir_with_parents(parent, 0777) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot create directory '%s'", parent);
    made = mkdir(def->target, 0700) == 0;
    if (!made && errno != EEXIST)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot create directory '%s'", def->target);
    fd = open(def->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot open directory '%s'", def->target);
    if (mode < 0 && (made || def->type == PLK_POOL_NETFS))
        mode = DEFAULT_MODE;
    return apply_permissions(fd, def, mode, err);
}

int plk_target_remove(const PlkPoolDef *def, unsigned flags, PlkError *err)
{
    if (flags != 0)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "unsupported flags (0x%x) to delete a pool", flags);
    if (rmdir(def->target) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot remove the directory '%s' of pool '%s'",
                              def->target, def->name);
    return 0;
}
