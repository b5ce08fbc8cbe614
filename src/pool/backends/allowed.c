/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a pool may stand: not where it would do harm. */
#include <string.h>

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
    PLK_FREE char *real = NULL;

    if (!def->target || def->target[0] != '/')
        return plk_fail(err, PLK_ERROR_CONFIG, "the target path of pool '%s' is not absolute", def->name);
    if (has_dots(def->target) && roots)
        return plk_fail(err, PLK_ERROR_CONFIG, "the target path '%s' has '.' or '..' in it", def->target);
    clean = plk_path_sanitise(def->target);
    if (check_path(clean[0] == '/' && clean[1] == '/' ? clean + 1 : clean, roots, err) != 0)
        return -1;
    /* A link leads where its text does not say. */
    if (plk_target_resolve(def, &real, err) != 0)
        return -1;
    return real ? check_path(real, roots, err) : 0;
}
