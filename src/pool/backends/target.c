/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The directory a pool stands on: made, removed, and refused where a pool would do harm. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "pool/pool.h"

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

static int apply_permissions(int fd, const PlkPoolDef *def, int mode, PlkError *err)
{
    const PlkPermissions *p = &def->permissions;

    if ((p->uid >= 0 || p->gid >= 0) && fchown(fd, (uid_t)p->uid, (gid_t)p->gid) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot change the owner of '%s'", def->target);
    if (mode >= 0 && fchmod(fd, mode) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot change the mode of '%s'", def->target);
    return 0;
}

int plk_target_build(const PlkPoolDef *def, int default_mode, PlkError *err)
{
    g_autofree char *parent = g_path_get_dirname(def->target);
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
    return apply_permissions(fd, def, def->permissions.mode >= 0 ? def->permissions.mode : made ? default_mode : -1,
                             err);
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
