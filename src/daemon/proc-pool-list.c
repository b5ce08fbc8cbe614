/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of pools and the ways to find one. Who may not see a pool does not find it in a list. */
#include <glib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "daemon/daemon.h"
#include "pool/storage.h"

#define LIST_FLAGS 0xfffffu /* four groups: state, persistence, autostart, fourteen types */

#define POOL plk_cleanup(plk_pool_unrefp) PlkPool *pool

/* ---- lists ---- */

typedef struct Pools {
    PlkPool **items;
    size_t n;
} Pools;

static void free_pools(Pools *pools)
{
    plk_pools_free(pools->items, pools->n);
}

/* Of this kind, without those this peer may not see. */
static int find_pools(PlkCall *call, unsigned flags, Pools *ret, PlkError *err)
{
    size_t kept = 0;

    if (plk_allow(call->peer, PLK_CONNECT_SEARCH_STORAGE_POOLS, NULL, err) < 0 ||
        plk_storage_pools(plk_daemon(call)->storage, flags, &ret->items, &ret->n, err) < 0)
        return -1;
    for (size_t i = 0; i < ret->n; i++) {
        PlkTarget on = plk_on_pool(ret->items[i]);

        if (plk_allow(call->peer, PLK_POOL_GETATTR, &on, NULL) == 0)
            ret->items[kept++] = ret->items[i];
        else
            plk_pool_unref(ret->items[i]);
    }
    ret->n = kept;
    return 0;
}

static int tell_count(PlkCall *call, unsigned flags, rpc_int *ret, PlkError *err)
{
    plk_cleanup(free_pools) Pools pools = {NULL, 0};

    if (find_pools(call, flags, &pools, err) < 0)
        return -1;
    ret->value = (int)pools.n;
    return 0;
}

static int tell_names(PlkCall *call, unsigned flags, int max, rpc_names *ret, PlkError *err)
{
    plk_cleanup(free_pools) Pools pools = {NULL, 0};

    if (max < 0 || max > RPC_LIST_MAX)
        return plk_fail(err, PLK_ERROR_RPC, "a list of %d names; at most %d are possible", max, RPC_LIST_MAX);
    if (find_pools(call, flags, &pools, err) < 0)
        return -1;
    ret->names.names_len = (u_int)PLK_MIN(pools.n, (size_t)max);
    ret->names.names_val = g_new0(rpc_text, ret->names.names_len + 1);
    for (u_int i = 0; i < ret->names.names_len; i++)
        ret->names.names_val[i] = g_strdup(plk_pool_name(pools.items[i]));
    return 0;
}

PLK_PROCEDURE(pool_num_active)
{
    return tell_count(call, PLK_LIST_ACTIVE, ret, err);
}

PLK_PROCEDURE(pool_num_defined)
{
    return tell_count(call, PLK_LIST_INACTIVE, ret, err);
}

PLK_PROCEDURE(pool_names_active)
{
    return tell_names(call, PLK_LIST_ACTIVE, ((const rpc_int *)args)->value, ret, err);
}

PLK_PROCEDURE(pool_names_defined)
{
    return tell_names(call, PLK_LIST_INACTIVE, ((const rpc_int *)args)->value, ret, err);
}

/* The first RPC_LIST_MAX of them fit; `count` is of all. */
PLK_PROCEDURE(pool_list_all)
{
    const rpc_list *a = args;
    rpc_pools *list = ret;
    plk_cleanup(free_pools) Pools pools = {NULL, 0};

    if (plk_check_flags(a->flags, LIST_FLAGS, "virConnectListAllStoragePools", err) < 0 ||
        find_pools(call, a->flags, &pools, err) < 0)
        return -1;
    list->count = (unsigned)PLK_MIN(pools.n, (size_t)RPC_LIST_MAX);
    if (!a->need_results)
        return 0;
    list->pools.pools_len = list->count;
    list->pools.pools_val = g_new0(rpc_pool, list->count + 1);
    for (u_int i = 0; i < list->count; i++)
        plk_tell_pool(pools.items[i], &list->pools.pools_val[i]);
    return 0;
}

/* ---- one ---- */

static int tell_allowed(PlkCall *call, PlkPool *pool, rpc_pool *ret, PlkError *err)
{
    PlkTarget on;

    if (!pool)
        return -1;
    on = plk_on_pool(pool);
    if (plk_allow(call->peer, PLK_POOL_GETATTR, &on, err) < 0)
        return -1;
    plk_tell_pool(pool, ret);
    return 0;
}

PLK_PROCEDURE(pool_by_name)
{
    POOL = plk_storage_pool_by_name(plk_daemon(call)->storage, ((const rpc_name *)args)->text, err);

    return tell_allowed(call, pool, ret, err);
}

PLK_PROCEDURE(pool_by_uuid)
{
    const rpc_uuid *a = args;
    POOL = plk_storage_pool_by_uuid(plk_daemon(call)->storage, (const unsigned char *)a->uuid, err);

    return tell_allowed(call, pool, ret, err);
}

/* Whether there is such a volume is not asked. */
PLK_PROCEDURE(pool_by_volume)
{
    POOL = plk_storage_pool_by_name(plk_daemon(call)->storage, ((const rpc_vol *)args)->pool, err);

    return tell_allowed(call, pool, ret, err);
}

PLK_PROCEDURE(pool_by_path)
{
    POOL = plk_storage_pool_by_path(plk_daemon(call)->storage, ((const rpc_name *)args)->text, err);

    return tell_allowed(call, pool, ret, err);
}

/* ---- what there could be ---- */

PLK_PROCEDURE(pool_capabilities)
{
    bool supported[PLK_POOL_TYPES];

    if (plk_check_flags(((const rpc_uint *)args)->value, 0, "virConnectGetStoragePoolCapabilities", err) < 0 ||
        plk_allow(call->peer, PLK_CONNECT_READ, NULL, err) < 0)
        return -1;
    plk_storage_supported(supported);
    ((rpc_name *)ret)->text = plk_pool_capabilities_format(supported);
    return 0;
}

PLK_PROCEDURE(find_sources)
{
    const rpc_find_sources *a = args;
    PlkProgress progress = plk_call_progress(call);

    if (plk_check_flags(a->flags, 0, "virConnectFindStoragePoolSources", err) < 0 ||
        plk_allow(call->peer, PLK_CONNECT_DETECT_STORAGE_POOLS, NULL, err) < 0)
        return -1;
    return plk_storage_find_sources(a->type, a->spec ? *a->spec : NULL, &progress, &((rpc_name *)ret)->text, err);
}
