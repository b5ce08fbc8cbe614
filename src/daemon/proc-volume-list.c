/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of volumes and the ways to find one. Who may not see a volume does not find it in a list. */
#include <glib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "daemon/daemon.h"

#define POOL plk_cleanup(plk_pool_unrefp) PlkPool *pool

static bool may_see(PlkCall *call, PlkPool *pool, PlkVolumeList *list, size_t i)
{
    PlkTarget on = plk_on_volume(pool, plk_volume_list_at(list, i)->name);

    return plk_allow(call->peer, PLK_VOL_GETATTR, &on, NULL) == 0;
}

/* Of those a list would show. */
static size_t count(PlkCall *call, PlkPool *pool, PlkVolumeList *list)
{
    size_t n = plk_volume_list_count(list), seen = 0;

    if (!plk_daemon(call)->polkit_access)
        return n;
    for (size_t i = 0; i < n; i++)
        seen += may_see(call, pool, list, i);
    return seen;
}

/* Its path is the same text for all but the end. */
static void tell_all(PlkCall *call, PlkPool *pool, PlkVolumeList *list, rpc_vols *ret)
{
    size_t n = plk_volume_list_count(list), told = 0;

    ret->vols.vols_val = g_new0(rpc_vol, PLK_MIN(n, (size_t)RPC_LIST_MAX) + 1);
    for (size_t i = 0; i < n && told < RPC_LIST_MAX; i++)
        if (may_see(call, pool, list, i))
            plk_tell_volume(pool, plk_volume_list_at(list, i)->name, &ret->vols.vols_val[told++]);
    ret->vols.vols_len = ret->count = (u_int)told;
}

static PlkPool *find_list(PlkCall *call, const rpc_pool *which, PlkVolumeList **ret, PlkError *err)
{
    PlkPool *pool = plk_find_pool(call, which, PLK_POOL_SEARCH_STORAGE_VOLS, err);

    if (!pool || plk_pool_volumes(pool, ret, err) == 0)
        return pool;
    plk_pool_unref(pool);
    return NULL;
}

/* More than a list can hold: the first ones; all can still be found by name. */
PLK_PROCEDURE(vol_list_all)
{
    const rpc_pool_list *a = args;
    rpc_vols *vols = ret;
    PlkVolumeList *list;

    if (plk_check_flags(a->flags, 0, "virStoragePoolListAllVolumes", err) < 0)
        return -1;
    POOL = find_list(call, &a->pool, &list, err);
    if (!pool)
        return -1;
    if (a->need_results)
        tell_all(call, pool, list, vols);
    else
        vols->count = (u_int)count(call, pool, list);
    plk_volume_list_unref(list);
    return 0;
}

PLK_PROCEDURE(vol_num)
{
    PlkVolumeList *list;
    POOL = find_list(call, args, &list, err);

    if (!pool)
        return -1;
    ((rpc_int *)ret)->value = (int)count(call, pool, list);
    plk_volume_list_unref(list);
    return 0;
}

PLK_PROCEDURE(vol_names)
{
    const rpc_pool_int *a = args;
    rpc_names *names = ret;
    rpc_vols all = {0};
    PlkVolumeList *list;

    if (a->value < 0 || a->value > RPC_LIST_MAX)
        return plk_fail(err, PLK_ERROR_RPC, "a list of %d names; at most %d are possible", a->value, RPC_LIST_MAX);
    POOL = find_list(call, &a->pool, &list, err);
    if (!pool)
        return -1;
    tell_all(call, pool, list, &all);
    plk_volume_list_unref(list);
    names->names.names_len = PLK_MIN(all.count, (u_int)a->value);
    names->names.names_val = g_new0(rpc_text, names->names.names_len + 1);
    for (u_int i = 0; i < names->names.names_len; i++)
        names->names.names_val[i] = PLK_TAKE(all.vols.vols_val[i].name);
    xdr_free((xdrproc_t)xdr_rpc_vols, (char *)&all);
    return 0;
}

/* ---- one ---- */

PLK_PROCEDURE(vol_by_name)
{
    const rpc_pool_name *a = args;
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = NULL;
    POOL = plk_find_pool(call, &a->pool, PLK_POOL_GETATTR, err);
    PlkTarget on;

    if (!pool || plk_pool_volume(pool, a->name, &volume, err) < 0)
        return -1;
    on = plk_on_volume(pool, volume->name);
    if (plk_allow(call->peer, PLK_VOL_GETATTR, &on, err) < 0)
        return -1;
    plk_tell_volume(pool, volume->name, ret);
    return 0;
}

PLK_PROCEDURE(vol_by_path)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = NULL;
    POOL = NULL;
    PlkTarget on;

    if (plk_storage_volume_by_path(plk_daemon(call)->storage, ((const rpc_name *)args)->text, &pool, &volume, err) < 0)
        return -1;
    on = plk_on_volume(pool, volume->name);
    if (plk_allow(call->peer, PLK_VOL_GETATTR, &on, err) < 0)
        return -1;
    plk_tell_volume(pool, volume->name, ret);
    return 0;
}

/* A key is the path. */
PLK_PROCEDURE(vol_by_key)
{
    return plk_proc_vol_by_path(call, args, ret, err);
}
