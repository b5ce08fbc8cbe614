/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Autostart: a link autostart/NAME.xml to the definition, and a marker in the runtime directory that tells that this boot
 * had its turn. The marker goes with the boot: boot.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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

static int remove_link(PlkStorage *storage, const char *name, PlkError *err)
{
    g_autofree char *link = link_path(storage, name);

    if (unlink(link) != 0)
        return errno == ENOENT ? 0 : plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot remove '%s'", link);
    return plk_state_sync_dir(storage->autostart_dir, err);
}

/* Beside its name and renamed, as the definitions are: whatever was there is replaced at one stroke. */
static int make_link(PlkStorage *storage, const char *name, PlkError *err)
{
    g_autofree char *link = link_path(storage, name);
    g_autofree char *temporary = g_strdup_printf("%s/.ploopkit.%d", storage->autostart_dir, (int)getpid());
    g_autofree char *config = g_strdup_printf("%s/%s.xml", storage->config_dir, name);

    if (g_mkdir_with_parents(storage->autostart_dir, 0777) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot create directory '%s'", storage->autostart_dir);
    unlink(temporary);
    if (symlink(config, temporary) != 0 || rename(temporary, link) != 0) {
        plk_error_set_errno(err, PLK_ERROR_SYSTEM, errno, "cannot create link '%s'", link);
        unlink(temporary);
        return -1;
    }
    return plk_state_sync_dir(storage->autostart_dir, err) == 0 ? plk_state_sync_dir(storage->config_dir, err) : -1;
}

int plk_autostart_set(PlkStorage *storage, const char *name, bool on, PlkError *err)
{
    if (!on)
        return remove_link(storage, name, err);
    return plk_autostart_get(storage, name) ? 0 : make_link(storage, name, err);
}

static bool wants_start(PlkPool *pool)
{
    PlkPoolState state = plk_pool_state(pool);

    return !state.active && state.autostart;
}

static void start_one(PlkPool *pool)
{
    PlkError err;

    if (!wants_start(pool) || plk_pool_begin(pool, "autostart", &err) != 0)
        return;
    /* What does not start stays inactive and says so when it is started by hand; the others go on. */
    if (wants_start(pool) && plk_pool_start_in_turn(pool, 0, &err) != 0)
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
