/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What procedures share: the objects calls name, and how replies name them. */
#include <glib.h>
#include <string.h>

#include "base/error.h"
#include "daemon/daemon.h"
#include "daemon/log.h"

int plk_check_flags(unsigned flags, unsigned known, const char *procedure, PlkError *err)
{
    if ((flags & ~known) == 0)
        return 0;
    return plk_fail(err, PLK_ERROR_ARGUMENT, "unsupported flags (0x%x) in function %s", flags & ~known, procedure);
}

PlkTarget plk_on_pool(PlkPool *pool)
{
    return (PlkTarget){.pool = plk_pool_name(pool), .uuid = plk_pool_uuid(pool)};
}

PlkTarget plk_on_volume(PlkPool *pool, const char *volume)
{
    return (PlkTarget){.pool = plk_pool_name(pool), .uuid = plk_pool_uuid(pool), .volume = volume};
}

static PlkPool *if_allowed(PlkCall *call, PlkPool *pool, PlkRight right, const char *volume, PlkError *err)
{
    PlkTarget on;

    if (!pool)
        return NULL;
    on = plk_on_volume(pool, volume);
    if (plk_allow(call->peer, right, &on, err) == 0)
        return pool;
    plk_pool_unref(pool);
    return NULL;
}

PlkPool *plk_find_pool(PlkCall *call, const rpc_pool *which, PlkRight right, PlkError *err)
{
    PlkPool *pool = plk_storage_pool_by_uuid(plk_daemon(call)->storage, (const unsigned char *)which->uuid, err);

    plk_log_about(which->name, NULL);
    return if_allowed(call, pool, right, NULL, err);
}

PlkPool *plk_find_pool_named(PlkCall *call, const char *name, PlkRight right, const char *volume, PlkError *err)
{
    plk_log_about(name, volume);
    return if_allowed(call, plk_storage_pool_by_name(plk_daemon(call)->storage, name, err), right, volume, err);
}

void plk_tell_pool(PlkPool *pool, rpc_pool *ret)
{
    ret->name = g_strdup(plk_pool_name(pool));
    memcpy(ret->uuid, plk_pool_uuid(pool), PLK_UUID_BYTES);
}

void plk_tell_volume(PlkPool *pool, const char *name, rpc_vol *ret)
{
    ret->pool = g_strdup(plk_pool_name(pool));
    ret->name = g_strdup(name);
    ret->key = plk_pool_volume_path(pool, name);
}

static int update(void *arg, const char *what, uint64_t done, uint64_t total)
{
    return plk_call_abandoned(arg);
}

PlkProgress plk_call_progress(PlkCall *call)
{
    return (PlkProgress){.update = update, .arg = call};
}
