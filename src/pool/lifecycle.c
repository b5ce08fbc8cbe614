/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pool is started, stopped, built, deleted, undefined; each in a turn (pool.h). */

#include "base/error.h"
#include "pool/pool.h"

static int begin_inactive(PlkPool *pool, const char *what, PlkError *err)
{
    if (plk_pool_begin(pool, what, err) != 0)
        return -1;
    if (!plk_pool_state(pool).active)
        return 0;
    plk_pool_end(pool);
    return plk_fail(err, PLK_ERROR_STATE, "cannot %s pool '%s': it is active", what, pool->name);
}

/* ---- up and down ---- */

static void set_dir(PlkPool *pool, int fd)
{
    PLK_LOCKED(&pool->lock);

    if (pool->dir_fd >= 0)
        close(pool->dir_fd);
    pool->dir_fd = fd;
}

static void set_starting(PlkPool *pool, bool starting)
{
    PLK_LOCKED(&pool->lock);
    pool->starting = starting;
}

int plk_pool_bring_up(PlkPool *pool, bool take_over, PlkError *err)
{
    int fd, r;

    if (plk_target_open(pool->def, &fd, err) != 0)
        return -1;
    set_dir(pool, fd);
    set_starting(pool, true);
    r = plk_pool_measure(pool, err);
    set_starting(pool, false);
    if (r != 0 || plk_pool_open_volumes(pool, take_over, err) != 0) {
        set_dir(pool, -1);
        return -1;
    }
    PLK_LOCKED(&pool->lock);
    pool->active = true;
    return 0;
}

void plk_pool_bring_down(PlkPool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->active = false;
    pthread_mutex_unlock(&pool->lock);
    plk_pool_close_volumes(pool);
    set_dir(pool, -1);
}

void plk_pool_promote(PlkPool *pool)
{
    PLK_LOCKED(&pool->lock);

    if (!pool->next)
        return;
    plk_pool_def_free(pool->def);
    pool->def = PLK_TAKE(pool->next);
}

static int raise_it(PlkPool *pool, const PlkBackend *backend, bool take_over, PlkError *err)
{
    bool up = false;

    if (backend->check(pool->def, &up, err) != 0 || (!up && backend->start(pool->def, err) != 0))
        return -1;
    if (plk_state_save_running(pool->storage, pool->def, err) == 0 && plk_pool_bring_up(pool, take_over, err) == 0)
        return 0;
    plk_state_remove_running(pool->storage, pool->name, NULL);
    if (!up)
        backend->stop(pool->def, NULL);
    return -1;
}

#define START_BUILDS (PLK_START_BUILD | PLK_START_BUILD_OVERWRITE | PLK_START_BUILD_NO_OVERWRITE)

static int check_flags(unsigned flags, unsigned known, unsigned one, unsigned other, PlkError *err)
{
    if (flags & ~known)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "unsupported flags (0x%x)", flags & ~known);
    if (flags & one && flags & other)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "to overwrite and not to overwrite exclude each other");
    return 0;
}

int plk_pool_check_start_flags(unsigned flags, PlkError *err)
{
    return check_flags(flags, START_BUILDS | PLK_START_TAKE_OVER, PLK_START_BUILD_OVERWRITE,
                       PLK_START_BUILD_NO_OVERWRITE, err);
}

static int build_in_turn(PlkPool *pool, unsigned flags, PlkError *err)
{
    const PlkBackend *backend = plk_backend(pool->def->type, err);

    if (!backend || plk_target_allowed(pool->def, (const char *const *)pool->storage->roots, err) != 0)
        return -1;
    return backend->build(pool->def, flags, err);
}

int plk_pool_start_in_turn(PlkPool *pool, unsigned flags, PlkError *err)
{
    const PlkBackend *backend = plk_backend(pool->def->type, err);
    unsigned how = flags & PLK_START_BUILD_OVERWRITE      ? PLK_BUILD_OVERWRITE
                   : flags & PLK_START_BUILD_NO_OVERWRITE ? PLK_BUILD_NO_OVERWRITE
                                                          : 0;

    if (!backend || plk_target_allowed(pool->def, (const char *const *)pool->storage->roots, err) != 0)
        return -1;
    if (flags & START_BUILDS && build_in_turn(pool, how, err) != 0)
        return -1;
    return raise_it(pool, backend, flags & PLK_START_TAKE_OVER, err);
}

int plk_pool_start(PlkPool *pool, unsigned flags, PlkError *err)
{
    int result;

    if (plk_pool_check_start_flags(flags, err) != 0 || begin_inactive(pool, "start", err) != 0)
        return -1;
    result = plk_pool_start_in_turn(pool, flags, err);
    plk_pool_end_with(pool, result == 0, PLK_EVENT_STARTED);
    return result;
}

void plk_pool_forget(PlkPool *pool)
{
    PLK_LOCKED(&pool->storage->lock);

    plk_pool_list_remove(pool->storage, pool);
}

int plk_pool_note_stopped(PlkPool *pool, PlkError *err)
{
    plk_cleanup(plk_state_unlockp) PlkStorage *locked = NULL;
    int result;

    if (plk_state_lock(pool->storage, err) != 0)
        return -1;
    locked = pool->storage;
    result = plk_state_remove_running(pool->storage, pool->name, err);
    plk_pool_promote(pool);
    if (!plk_pool_state(pool).persistent)
        plk_pool_forget(pool);
    return result;
}

/* What could not be stopped runs on; if even that cannot be (its server is dead), it is said. */
static int fail_stop(PlkPool *pool, PlkError *err)
{
    g_autofree char *target = plk_pool_target(pool);

    if (plk_pool_bring_up(pool, false, NULL) == 0)
        return -1;
    plk_pool_note_stopped(pool, NULL);
    plk_error_prefix(err, "pool '%s' is inactive now, but '%s' is still mounted", pool->name, target);
    return -1;
}

static int stop_in_turn(PlkPool *pool, PlkError *err)
{
    const PlkBackend *backend = plk_backend(pool->def->type, err);

    if (!backend || plk_pool_need_active(pool, err) != 0)
        return -1;
    if (plk_pool_jobs_running(pool) > 0)
        return plk_fail(err, PLK_ERROR_INTERNAL, "pool '%s' has asynchronous jobs running", pool->name);
    /* Down first: our own open directory would keep a mount busy. */
    plk_pool_bring_down(pool);
    return backend->stop(pool->def, err) == 0 ? plk_pool_note_stopped(pool, err) : fail_stop(pool, err);
}

int plk_pool_destroy(PlkPool *pool, PlkError *err)
{
    bool stopped;
    int result;

    if (plk_pool_begin(pool, "stop", err) != 0)
        return -1;
    stopped = plk_pool_state(pool).active;
    result = stop_in_turn(pool, err);
    stopped = stopped && !plk_pool_state(pool).active;
    plk_pool_end_with(pool, stopped, PLK_EVENT_STOPPED);
    return result;
}

int plk_pool_build(PlkPool *pool, unsigned flags, PlkError *err)
{
    int result;

    if (check_flags(flags, PLK_BUILD_NO_OVERWRITE | PLK_BUILD_OVERWRITE, PLK_BUILD_OVERWRITE, PLK_BUILD_NO_OVERWRITE,
                    err) != 0 ||
        begin_inactive(pool, "build", err) != 0)
        return -1;
    result = build_in_turn(pool, flags, err);
    plk_pool_end_with(pool, result == 0, PLK_EVENT_CREATED);
    return result;
}

int plk_pool_delete(PlkPool *pool, unsigned flags, PlkError *err)
{
    const PlkBackend *backend;
    int result = -1;

    if (begin_inactive(pool, "delete", err) != 0)
        return -1;
    backend = plk_backend(pool->def->type, err);
    if (backend && plk_target_allowed(pool->def, (const char *const *)pool->storage->roots, err) == 0)
        result = backend->remove(pool->def, flags, err);
    plk_pool_end_with(pool, result == 0, PLK_EVENT_DELETED);
    return result;
}

/* The link first: one that leads nowhere is worse than a definition without. */
static int undefine_in_turn(PlkPool *pool, PlkError *err)
{
    plk_cleanup(plk_state_unlockp) PlkStorage *locked = NULL;

    if (plk_state_lock(pool->storage, err) != 0)
        return -1;
    locked = pool->storage;
    if (plk_autostart_set(pool->storage, pool->name, false, err) != 0 ||
        plk_state_remove_config(pool->storage, pool->name, err) != 0)
        return -1;
    plk_pool_forget(pool);
    return 0;
}

int plk_pool_undefine(PlkPool *pool, PlkError *err)
{
    int result;

    if (begin_inactive(pool, "undefine", err) != 0)
        return -1;
    result = undefine_in_turn(pool, err);
    plk_pool_end_with(pool, result == 0, PLK_EVENT_UNDEFINED);
    return result;
}

static bool has_config(PlkPool *pool)
{
    /* Any other command may have undefined it since. */
    if (pool->storage->role == PLK_STORAGE_COMMAND && !plk_state_has_config(pool->storage, pool->name))
        return false;
    PLK_LOCKED(&pool->lock);
    return pool->persistent && !pool->gone;
}

int plk_pool_set_autostart(PlkPool *pool, bool on, PlkError *err)
{
    plk_cleanup(plk_state_unlockp) PlkStorage *locked = NULL;

    if (plk_storage_need_write(pool->storage, err) != 0 || plk_state_lock(pool->storage, err) != 0)
        return -1;
    locked = pool->storage;
    if (!has_config(pool))
        return plk_fail(err, PLK_ERROR_INTERNAL, "pool '%s' has no config file", pool->name);
    if (plk_autostart_set(pool->storage, pool->name, on, err) != 0)
        return -1;
    PLK_LOCKED(&pool->lock);
    pool->autostart = on;
    return 0;
}
