/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Autostart: a link autostart/NAME.xml to the definition, and a marker in the runtime directory that tells that this boot
 * had its turn. The marker is volatile as the boot is.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/error.h"
#include "pool/pool.h"

static char *link_path(PlkStorage *storage, const char *name)
{
    return g_strdup_printf("%s/%s.xml", storage->autostart_dir, name);
}

bool plk_autostart_get(PlkStorage *storage, const char *name)
{
    g_autofree char *link = link_path(storage, name);
    g_autofree char *config = g_strdup_printf("%s/%s.xml", storage->config_dir, name);
    struct stat a, b;

    return stat(link, &a) == 0 && stat(config, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int plk_autostart_set(PlkStorage *storage, const char *name, bool on, PlkError *err)
{
    g_autofree char *link = link_path(storage, name);
    g_autofree char *config = g_strdup_printf("%s/%s.xml", storage->config_dir, name);

    if (on && g_mkdir_with_parents(storage->autostart_dir, 0777) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot create directory '%s'", storage->autostart_dir);
    if (unlink(link) != 0 && errno != ENOENT)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot remove '%s'", link);
    if (on && symlink(config, link) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot create link '%s'", link);
    return 0;
}

static void start_one(PlkPool *pool)
{
    PlkPoolState state = plk_pool_state(pool);
    PlkError err;

    if (state.active || !state.autostart || plk_pool_begin(pool, "autostart", &err) != 0)
        return;
    /* What does not start stays inactive and says so when it is started by hand; the others go on. */
    if (plk_pool_start_in_turn(pool, 0, &err) != 0)
        g_printerr("pool '%s' was not started: %s\n", pool->name, err.message);
    plk_pool_end(pool);
}

void plk_autostart_run(PlkStorage *storage)
{
    g_autofree char *marker = g_build_filename(storage->runtime_dir, "autostarted", NULL);
    PLK_CLOSE int fd = open(marker, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    PlkPool **pools;
    size_t n;

    if (fd < 0 || plk_storage_pools(storage, PLK_LIST_INACTIVE, &pools, &n, NULL) != 0)
        return;
    for (size_t i = 0; i < n; i++)
        start_one(pools[i]);
    plk_pools_free(pools, n);
}
