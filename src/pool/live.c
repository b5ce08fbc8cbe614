/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A running pool's volumes: life, and the swap of the index. */
#include "pool/live.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include "base/error.h"
#include "pool/watch.h"

#define TRIM_FROM 10000 /* volumes, some MiB */

int plk_live_hold(PlkPool *pool, PlkPoolVolumes **ret, PlkError *err)
{
    PLK_LOCKED(&pool->lock);
    if (!pool->active || !pool->volumes)
        return plk_fail(err, PLK_ERROR_STATE, "storage pool '%s' is not active", pool->name);
    g_atomic_int_inc(&pool->volumes->refs);
    *ret = pool->volumes;
    return 0;
}

/* What a hundred thousand volumes took is not kept for a next time that may never come. */
static void give_memory_back(size_t volumes)
{
    if (volumes > TRIM_FROM)
        malloc_trim(0);
}

void plk_live_release(PlkPoolVolumes *live)
{
    size_t volumes;

    if (!g_atomic_int_dec_and_test(&live->refs))
        return;
    volumes = plk_volume_list_count(live->list);
    plk_volume_list_unref(live->list);
    give_memory_back(volumes);
    plk_stage_clear(&live->stage);
    close(live->dir);
    pthread_cond_destroy(&live->refreshed);
    pthread_mutex_destroy(&live->lock);
    g_free(live->path);
    g_free(live);
}

PlkVolumeList *plk_live_list(PlkPoolVolumes *live)
{
    PLK_LOCKED(&live->lock);
    return plk_volume_list_ref(live->list);
}

void plk_live_put(PlkPoolVolumes *live, const char *name, PlkVolume *volume)
{
    PlkVolumeList *old;

    pthread_mutex_lock(&live->lock);
    old = live->list;
    live->list = volume ? plk_index_with(old, volume) : plk_index_without(old, name);
    if (live->touched)
        g_hash_table_add(live->touched, g_strdup(name));
    pthread_mutex_unlock(&live->lock);
    plk_volume_list_unref(old);
}

/* ---- what the pools' half calls ---- */

int plk_pool_open_volumes(PlkPool *pool, bool take_over, PlkError *err)
{
    PlkPoolVolumes *live = g_new0(PlkPoolVolumes, 1);
    unsigned swept = 0;

    live->refs = 1;
    live->storage = pool->storage;
    live->pool = pool;
    live->dir = fcntl(pool->dir_fd, F_DUPFD_CLOEXEC, 3);
    live->path = g_strdup(pool->def->target);
    live->list = plk_index_build(NULL, 0);
    plk_stage_init(&live->stage, live->dir, live->path, live->storage->machine_id);
    pthread_mutex_init(&live->lock, NULL);
    pthread_cond_init(&live->refreshed, NULL);
    if (live->dir >= 0 && pool->storage->role != PLK_STORAGE_LOOK)
        plk_stages_sweep(live->dir, live->storage->machine_id, &swept, NULL, NULL);
    /* A command looks when it is asked; a daemon is to know before it says that the pool runs. */
    if (live->dir < 0 || (pool->storage->role == PLK_STORAGE_DAEMON && plk_live_refresh(live, NULL, err) < 0)) {
        if (live->dir < 0)
            plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "pool '%s': cannot keep '%s' open", pool->name, live->path);
        plk_live_release(live);
        return -1;
    }
    pthread_mutex_lock(&pool->lock);
    pool->volumes = live;
    pthread_mutex_unlock(&pool->lock);
    plk_watch_add(live);
    return 0;
}

void plk_pool_close_volumes(PlkPool *pool)
{
    PlkPoolVolumes *live;

    pthread_mutex_lock(&pool->lock);
    live = pool->volumes;
    pool->volumes = NULL;
    pthread_mutex_unlock(&pool->lock);
    if (!live)
        return;
    plk_watch_remove(live);
    plk_live_release(live);
}

unsigned plk_pool_jobs_running(PlkPool *pool)
{
    PLK_LOCKED(&pool->lock);
    return pool->volumes ? (unsigned)g_atomic_int_get(&pool->volumes->jobs) : 0;
}

void plk_pool_count_volumes(PlkPool *pool, size_t *ret_n, size_t *ret_broken)
{
    plk_cleanup(plk_live_releasep) PlkPoolVolumes *live = NULL;
    PlkVolumeList *list;

    *ret_n = *ret_broken = 0;
    if (plk_live_hold(pool, &live, NULL) < 0)
        return;
    list = plk_live_list(live);
    *ret_n = plk_volume_list_count(list);
    *ret_broken = plk_index_count_bad(list);
    plk_volume_list_unref(list);
}
