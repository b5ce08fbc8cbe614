/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One pool: its life, and its changes one at a time (turns, see pool.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/error.h"
#include "pool/pool.h"

#define PATIENCE_MS 5000

PlkPool *plk_pool_new(PlkStorage *storage, PlkPoolDef *def)
{
    PlkPool *pool = g_new0(PlkPool, 1);

    pool->storage = storage;
    pool->name = g_strdup(def->name);
    memcpy(pool->uuid, def->uuid, PLK_UUID_BYTES);
    pool->refs = 1;
    pthread_mutex_init(&pool->lock, NULL);
    pool->def = def;
    pool->turn_fd = pool->dir_fd = -1;
    return pool;
}

PlkPool *plk_pool_ref(PlkPool *pool)
{
    g_atomic_int_inc(&pool->refs);
    return pool;
}

void plk_pool_unref(PlkPool *pool)
{
    if (!g_atomic_int_dec_and_test(&pool->refs))
        return;
    plk_pool_def_free(pool->def);
    plk_pool_def_free(pool->next);
    if (pool->dir_fd >= 0)
        close(pool->dir_fd);
    pthread_mutex_destroy(&pool->lock);
    g_free(pool->reason);
    g_free(pool->name);
    g_free(pool);
}

const char *plk_pool_name(const PlkPool *pool)
{
    return pool->name;
}

const unsigned char *plk_pool_uuid(const PlkPool *pool)
{
    return pool->uuid;
}

PlkPoolState plk_pool_state(PlkPool *pool)
{
    PLK_LOCKED(&pool->lock);

    return (PlkPoolState){pool->active, pool->persistent, pool->autostart};
}

PlkPoolDef *plk_pool_definition(PlkPool *pool, bool inactive)
{
    PLK_LOCKED(&pool->lock);

    return plk_pool_def_copy(inactive && pool->next ? pool->next : pool->def);
}

char *plk_pool_target(PlkPool *pool)
{
    PLK_LOCKED(&pool->lock);

    return g_strdup(pool->def->target);
}

int plk_pool_need_active(PlkPool *pool, PlkError *err)
{
    PLK_LOCKED(&pool->lock);

    return pool->active ? 0 : plk_fail(err, PLK_ERROR_STATE, "pool '%s' is not active", pool->name);
}

/* ---- turns ---- */

static int take_turn(PlkPool *pool, const char *what, PlkError *err)
{
    PLK_LOCKED(&pool->lock);

    if (pool->gone)
        return plk_fail(err, PLK_ERROR_NO_POOL, "pool '%s' is no longer defined", pool->name);
    if (pool->working)
        return plk_fail(err, PLK_ERROR_STATE, "cannot %s pool '%s': it is being changed", what, pool->name);
    pool->working = true;
    return 0;
}

int plk_pool_begin(PlkPool *pool, const char *what, PlkError *err)
{
    int fd;

    if (plk_storage_need_write(pool->storage, err) != 0 || take_turn(pool, what, err) != 0)
        return -1;
    if (plk_owner_lock_turn(pool, what, &fd, err) != 0) {
        plk_pool_end(pool);
        return -1;
    }
    pool->turn_fd = fd;
    return 0;
}

void plk_pool_end(PlkPool *pool)
{
    PLK_LOCKED(&pool->lock);

    if (pool->turn_fd >= 0)
        close(PLK_TAKE_FD(pool->turn_fd));
    pool->working = false;
}

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

typedef struct Measure {
    char *path;
    struct statvfs vfs;
    struct stat st;
} Measure;

static int measure_work(void *arg, PlkError *err)
{
    Measure *m = arg;

    if (statvfs(m->path, &m->vfs) != 0 || stat(m->path, &m->st) != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot look at '%s'", m->path);
    return 0;
}

typedef struct Asked {
    Measure measure;
    PlkPool *pool; /* a reference */
} Asked;

static int measure_pool(void *arg, PlkError *err)
{
    Asked *asked = arg;
    const Measure *m = &asked->measure;
    PlkPool *pool = asked->pool;

    if (measure_work(arg, err) != 0)
        return -1;
    PLK_LOCKED(&pool->lock);
    pool->def->capacity = (uint64_t)m->vfs.f_frsize * m->vfs.f_blocks;
    pool->def->available = (uint64_t)m->vfs.f_frsize * m->vfs.f_bfree;
    pool->def->allocation = pool->def->capacity - pool->def->available;
    pool->def->permissions.mode = m->st.st_mode & 07777;
    pool->def->permissions.uid = m->st.st_uid;
    pool->def->permissions.gid = m->st.st_gid;
    pool->writable = !(m->vfs.f_flag & ST_RDONLY);
    g_free(pool->reason);
    pool->reason = pool->writable ? NULL : g_strdup("its filesystem is mounted read-only");
    return 0;
}

static void free_asked(void *arg)
{
    Asked *asked = arg;

    plk_pool_unref(asked->pool);
    g_free(asked->measure.path);
    g_free(asked);
}

int plk_pool_measure(PlkPool *pool, PlkError *err)
{
    Asked *asked = g_new0(Asked, 1);
    g_autofree char *what = g_strdup_printf("the directory of pool '%s'", pool->name);

    asked->measure.path = plk_pool_target(pool);
    asked->pool = plk_pool_ref(pool);
    return plk_with_patience(measure_pool, asked, free_asked, PATIENCE_MS, what, err);
}

int plk_pool_bring_up(PlkPool *pool, bool take_over, PlkError *err)
{
    int fd = open(pool->def->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot open directory '%s' of pool '%s'",
                              pool->def->target, pool->name);
    pool->dir_fd = fd;
    if (plk_pool_measure(pool, err) != 0 || plk_pool_open_volumes(pool, take_over, err) != 0) {
        close(PLK_TAKE_FD(pool->dir_fd));
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
    PLK_LOCKED(&pool->lock);
    close(PLK_TAKE_FD(pool->dir_fd));
}

/* What was defined while it ran holds from now on. */
static void promote(PlkPool *pool)
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
    plk_pool_end(pool);
    if (result == 0)
        plk_pool_emit(pool, PLK_EVENT_STARTED);
    return result;
}

static void forget(PlkPool *pool)
{
    PLK_LOCKED(&pool->storage->lock);

    plk_pool_list_remove(pool->storage, pool);
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
    if (backend->stop(pool->def, err) != 0) {
        plk_pool_bring_up(pool, false, NULL);
        return -1;
    }
    promote(pool);
    return plk_state_remove_running(pool->storage, pool->name, err);
}

int plk_pool_destroy(PlkPool *pool, PlkError *err)
{
    int result;

    if (plk_pool_begin(pool, "stop", err) != 0)
        return -1;
    plk_pool_ref(pool);
    result = stop_in_turn(pool, err);
    if (result == 0 && !plk_pool_state(pool).persistent)
        forget(pool);
    plk_pool_end(pool);
    if (result == 0)
        plk_pool_emit(pool, PLK_EVENT_STOPPED);
    plk_pool_unref(pool);
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
    plk_pool_end(pool);
    if (result == 0)
        plk_pool_emit(pool, PLK_EVENT_CREATED);
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
    plk_pool_end(pool);
    if (result == 0)
        plk_pool_emit(pool, PLK_EVENT_DELETED);
    return result;
}

int plk_pool_undefine(PlkPool *pool, PlkError *err)
{
    int result;

    if (begin_inactive(pool, "undefine", err) != 0)
        return -1;
    plk_pool_ref(pool);
    result = plk_autostart_set(pool->storage, pool->name, false, err);
    if (result == 0)
        result = plk_state_remove_config(pool->storage, pool->name, err);
    if (result == 0)
        forget(pool);
    plk_pool_end(pool);
    if (result == 0)
        plk_pool_emit(pool, PLK_EVENT_UNDEFINED);
    plk_pool_unref(pool);
    return result;
}

int plk_pool_set_autostart(PlkPool *pool, bool on, PlkError *err)
{
    PLK_CLOSE int fd = -1;

    if (plk_storage_need_write(pool->storage, err) != 0)
        return -1;
    if (!plk_pool_state(pool).persistent)
        return plk_fail(err, PLK_ERROR_INTERNAL, "pool '%s' has no config file", pool->name);
    if (plk_owner_lock_state(pool->storage, &fd, err) != 0 ||
        plk_autostart_set(pool->storage, pool->name, on, err) != 0)
        return -1;
    PLK_LOCKED(&pool->lock);
    pool->autostart = on;
    return 0;
}

int plk_pool_info(PlkPool *pool, PlkPoolInfo *ret, PlkError *err)
{
    PlkPoolInfo info = {0};
    PlkError why = {0};

    /* A server that is silent costs the numbers, not the answer. */
    if (plk_pool_state(pool).active && plk_pool_measure(pool, &why) != 0)
        snprintf(info.reason, sizeof(info.reason), "%.*s", (int)sizeof(info.reason) - 1, why.message);
    plk_pool_count_volumes(pool, &info.volumes, &info.broken);
    PLK_LOCKED(&pool->lock);
    g_strlcpy(info.name, pool->name, sizeof(info.name));
    memcpy(info.uuid, pool->uuid, PLK_UUID_BYTES);
    info.type = pool->def->type;
    info.active = pool->active;
    info.persistent = pool->persistent;
    info.autostart = pool->autostart;
    info.writable = pool->active && pool->writable && !info.reason[0];
    info.capacity = pool->def->capacity;
    info.allocation = pool->def->allocation;
    info.available = pool->def->available;
    if (pool->reason && !info.reason[0])
        g_strlcpy(info.reason, pool->reason, sizeof(info.reason));
    *ret = info;
    return 0;
}
