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

bool plk_pool_try_begin(PlkPool *pool)
{
    return take_turn(pool, "", NULL) == 0;
}

int plk_pool_begin_unread(PlkPool *pool, const char *what, PlkError *err)
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

int plk_pool_begin(PlkPool *pool, const char *what, PlkError *err)
{
    if (plk_pool_begin_unread(pool, what, err) != 0)
        return -1;
    /* A daemon knows; a command may have been overtaken by another one. */
    if (pool->storage->role == PLK_STORAGE_DAEMON || plk_pool_reread(pool, err) == 0)
        return 0;
    plk_pool_end(pool);
    return -1;
}

void plk_pool_end(PlkPool *pool)
{
    PLK_LOCKED(&pool->lock);

    if (pool->turn_fd >= 0)
        close(PLK_TAKE_FD(pool->turn_fd));
    pool->working = false;
}

/* ---- sizes ---- */

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

/* Lock held. An answer may come when the pool has been stopped and is changed by whoever has the turn, or is another by now. */
static bool is_still_asked(const Asked *asked)
{
    const PlkPool *pool = asked->pool;

    return (pool->active || pool->starting) && g_strcmp0(pool->def->target, asked->measure.path) == 0;
}

static int measure_pool(void *arg, PlkError *err)
{
    Asked *asked = arg;
    const Measure *m = &asked->measure;
    PlkPool *pool = asked->pool;

    if (measure_work(arg, err) != 0)
        return -1;
    PLK_LOCKED(&pool->lock);
    if (!is_still_asked(asked))
        return 0;
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

    pthread_mutex_lock(&asked->pool->lock);
    asked->pool->asked_at = 0;
    pthread_mutex_unlock(&asked->pool->lock);
    plk_pool_unref(asked->pool);
    g_free(asked->measure.path);
    g_free(asked);
}

/* Whether this is the only asking: who asks a dead server every second is not to leave a thread there each time. 0 with *ret_first
 * false: somebody is just asking, and what is known will do. */
static int note_asking(PlkPool *pool, bool *ret_first, PlkError *err)
{
    gint64 now = g_get_monotonic_time();
    PLK_LOCKED(&pool->lock);

    *ret_first = pool->asked_at == 0;
    if (*ret_first)
        pool->asked_at = now;
    else if (now - pool->asked_at > PLK_PATIENCE_MS * 1000)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, ETIMEDOUT, "the directory of pool '%s' still does not answer",
                              pool->name);
    return 0;
}

int plk_pool_measure(PlkPool *pool, PlkError *err)
{
    g_autofree char *what = g_strdup_printf("the directory of pool '%s'", pool->name);
    Asked *asked;
    bool first;

    if (note_asking(pool, &first, err) != 0)
        return -1;
    if (!first)
        return 0;
    asked = g_new0(Asked, 1);
    asked->measure.path = plk_pool_target(pool);
    asked->pool = plk_pool_ref(pool);
    return plk_with_patience(measure_pool, asked, free_asked, PLK_PATIENCE_MS, what, err);
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
