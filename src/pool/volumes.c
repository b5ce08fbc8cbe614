/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading: lists and single volumes, paths and definitions. */
#include "pool/volumes.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "pool/job-table.h"
#include "pool/live.h"
#include "pool/names.h"
#include "pool/stage.h"
#include "pool/watch.h"
#include "pool/work.h"

#define HOLDER_BYTES 128

/* ---- lists ---- */

/* A daemon is told of changes; others compare the directory's times. */
static int bring_up_to_date(PlkPoolVolumes *live, PlkError *err)
{
    bool never;

    pthread_mutex_lock(&live->lock);
    never = live->done == 0;
    pthread_mutex_unlock(&live->lock);
    if (!never && (live->storage->watch || !plk_live_is_stale(live)))
        return 0;
    return plk_live_refresh(live, NULL, err);
}

/* Good, or in the middle of an upload; what is broken or being made has more to say than who works on it. */
static bool can_be_busy(const PlkVolume *volume)
{
    return volume->state == PLK_STATE_GOOD || volume->state == PLK_STATE_INCOMPLETE;
}

static void mark_busy(void *arg, const char *name, const char *holder)
{
    PlkVolumeList **list = arg, *marked;
    PlkVolume *volume = plk_index_find(*list, name);

    if (!volume || !can_be_busy(volume))
        return;
    marked = plk_index_with(*list, plk_volume_in_state(volume, PLK_STATE_BUSY, g_strdup(holder)));
    plk_volume_list_unref(*list);
    *list = marked;
}

int plk_pool_volumes(PlkPool *pool, PlkVolumeList **ret, PlkError *err)
{
    PLK_LIVE *live = NULL;
    PlkVolumeList *list;

    if (plk_live_hold(pool, &live, err) < 0 || bring_up_to_date(live, err) < 0)
        return -1;
    list = plk_live_list(live);
    plk_names_each(live->dir, mark_busy, &list);
    *ret = list;
    return 0;
}

/* ---- one ---- */

static int fail_no_volume(const char *pool, const char *name, PlkError *err)
{
    return plk_fail(err, PLK_ERROR_NO_VOLUME, "no storage volume '%s' in pool '%s'", name, pool);
}

/* A reference to what is there now; NULL: nothing. The index learns of it. */
static int look_fresh(PlkPoolVolumes *live, const char *name, PlkVolume **ret, PlkError *err)
{
    PlkVolumeList *list = plk_live_list(live);
    PlkVolume *old = plk_index_find(list, name), *now = NULL;
    int r = 0;

    if (old && old->state == PLK_STATE_BUILDING)
        now = plk_volume_ref(old);
    else
        r = plk_live_look(live, name, old, &now, err);
    if (r >= 0 && now != old)
        plk_live_put(live, name, now ? plk_volume_ref(now) : NULL);
    plk_volume_list_unref(list);
    *ret = now;
    return r < 0 ? -1 : 0;
}

int plk_pool_volume(PlkPool *pool, const char *name, PlkVolume **ret, PlkError *err)
{
    PLK_LIVE *live = NULL;
    char holder[HOLDER_BYTES];
    PlkVolume *volume, *busy;

    if (plk_live_hold(pool, &live, err) < 0)
        return -1;
    if (!*name || strlen(name) > NAME_MAX || strchr(name, '/'))
        return fail_no_volume(pool->name, name, err);
    if (look_fresh(live, name, &volume, err) < 0)
        return -1;
    if (!volume)
        return fail_no_volume(pool->name, name, err);
    if (can_be_busy(volume) && plk_name_holder(live->dir, name, holder, sizeof holder)) {
        busy = plk_volume_in_state(volume, PLK_STATE_BUSY, g_strdup(holder));
        plk_volume_unref(volume);
        volume = busy;
    }
    *ret = volume;
    return 0;
}

char *plk_pool_volume_path(PlkPool *pool, const char *name)
{
    g_autofree char *target = plk_pool_target(pool);

    return g_strconcat(target, strcmp(target, "/") ? "/" : "", name, NULL);
}

/* What of path lies in this pool; NULL: it does not. */
static const char *name_in_pool(PlkPool *pool, const char *path)
{
    g_autofree char *target = plk_pool_target(pool);
    size_t len = strlen(target);

    if (strncmp(path, target, len) || path[len] != '/' || !path[len + 1] || strchr(path + len + 1, '/'))
        return NULL;
    return path + len + 1;
}

int plk_storage_volume_by_path(PlkStorage *storage, const char *path, PlkPool **ret_pool, PlkVolume **ret, PlkError *err)
{
    g_autofree char *clean = plk_path_sanitise(path);
    PlkPool **pools = NULL;
    const char *name;
    bool found = false;
    size_t n = 0;

    plk_storage_active_pools(storage, &pools, &n);
    for (size_t i = 0; i < n && !found; i++) {
        name = name_in_pool(pools[i], clean);
        found = name && plk_pool_volume(pools[i], name, ret, NULL) == 0;
        if (found)
            *ret_pool = plk_pool_ref(pools[i]);
    }
    plk_pools_free(pools, n);
    return found ? 0 : plk_fail(err, PLK_ERROR_NO_VOLUME, "no storage volume with the path '%s'", path);
}

PlkVolumeDef *plk_pool_volume_definition(PlkPool *pool, const PlkVolume *volume)
{
    g_autofree char *target = plk_pool_target(pool);
    PLK_LIVE *live = NULL;
    PlkPlace place = {.dir = -1, .dir_path = target, .name = volume->name};

    if (plk_live_hold(pool, &live, NULL) == 0)
        place.dir = live->dir;
    return plk_volume_describe(&place, &volume->facts);
}

/* ---- what begins and ends with the storage ---- */

int plk_storage_open_volumes(PlkStorage *storage, PlkError *err)
{
    storage->jobs = plk_job_table_new();
    if (storage->role != PLK_STORAGE_DAEMON || plk_watch_start(storage, err) == 0)
        return 0;
    plk_job_table_free(PLK_TAKE(storage->jobs));
    return -1;
}

void plk_storage_close_volumes(PlkStorage *storage)
{
    if (storage->jobs)
        plk_job_table_free(PLK_TAKE(storage->jobs));
    plk_watch_stop(storage);
}
