/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done to pools and asked of one. Lists and searches: proc-pool-list.c */
#include <glib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "daemon/daemon.h"

#define XML_INACTIVE 1u
#define DEFINE_VALIDATE 1u
#define START_FLAGS (PLK_START_BUILD | PLK_START_BUILD_OVERWRITE | PLK_START_BUILD_NO_OVERWRITE)

enum { STATE_INACTIVE = 0, STATE_RUNNING = 2 }; /* libvirt's numbers */

#define POOL plk_cleanup(plk_pool_unrefp) PlkPool *pool

/* Most calls are one act on one pool. */
#define FIND(which, right) \
    POOL = plk_find_pool(call, (which), (right), err); \
    if (!pool) \
        return -1

/* ---- new ones ---- */

/* The rights are those of a pool that is not there yet, so the definition tells their object. */
static int allow_new(PlkCall *call, const PlkPoolDef *def, PlkRight one, PlkRight other, PlkError *err)
{
    PlkTarget on = {.pool = def->name, .uuid = def->uuid};

    return plk_allow(call->peer, one, &on, err) < 0 || plk_allow(call->peer, other, &on, err) < 0 ? -1 : 0;
}

PLK_PROCEDURE(pool_create_xml)
{
    const rpc_xml_flags *a = args;
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = NULL;
    POOL = NULL;

    if (plk_check_flags(a->flags, START_FLAGS, "virStoragePoolCreateXML", err) < 0 ||
        plk_pool_def_parse(a->xml, 0, &def, err) < 0 ||
        allow_new(call, def, PLK_POOL_START, PLK_POOL_WRITE, err) < 0 ||
        plk_storage_create(plk_daemon(call)->storage, PLK_TAKE(def), a->flags, &pool, err) < 0)
        return -1;
    plk_tell_pool(pool, ret);
    return 0;
}

PLK_PROCEDURE(pool_define_xml)
{
    const rpc_xml_flags *a = args;
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = NULL;
    unsigned how = PLK_PARSE_DEFINE | (a->flags & DEFINE_VALIDATE ? PLK_PARSE_VALIDATE : 0);
    POOL = NULL;

    if (plk_check_flags(a->flags, DEFINE_VALIDATE, "virStoragePoolDefineXML", err) < 0 ||
        plk_pool_def_parse(a->xml, how, &def, err) < 0 ||
        allow_new(call, def, PLK_POOL_WRITE, PLK_POOL_SAVE, err) < 0 ||
        plk_storage_define(plk_daemon(call)->storage, PLK_TAKE(def), &pool, err) < 0)
        return -1;
    plk_tell_pool(pool, ret);
    return 0;
}

/* ---- acts ---- */

PLK_PROCEDURE(pool_create)
{
    const rpc_pool_flags *a = args;

    if (plk_check_flags(a->flags, START_FLAGS, "virStoragePoolCreate", err) < 0)
        return -1;
    FIND(&a->pool, PLK_POOL_START);
    return plk_pool_start(pool, a->flags, err);
}

PLK_PROCEDURE(pool_build)
{
    const rpc_pool_flags *a = args;

    FIND(&a->pool, PLK_POOL_FORMAT);
    return plk_pool_build(pool, a->flags, err);
}

PLK_PROCEDURE(pool_destroy)
{
    FIND(args, PLK_POOL_STOP);
    return plk_pool_destroy(pool, err);
}

PLK_PROCEDURE(pool_delete)
{
    const rpc_pool_flags *a = args;

    FIND(&a->pool, PLK_POOL_FORMAT);
    return plk_pool_delete(pool, a->flags, err);
}

PLK_PROCEDURE(pool_undefine)
{
    FIND(args, PLK_POOL_DELETE);
    return plk_pool_undefine(pool, err);
}

PLK_PROCEDURE(pool_refresh)
{
    const rpc_pool_flags *a = args;
    PlkProgress progress = plk_call_progress(call);

    if (plk_check_flags(a->flags, 0, "virStoragePoolRefresh", err) < 0)
        return -1;
    FIND(&a->pool, PLK_POOL_REFRESH);
    return plk_pool_refresh(pool, &progress, err);
}

PLK_PROCEDURE(pool_set_autostart)
{
    const rpc_pool_int *a = args;

    FIND(&a->pool, PLK_POOL_WRITE);
    return plk_pool_set_autostart(pool, a->value != 0, err);
}

/* ---- questions ---- */

PLK_PROCEDURE(pool_info)
{
    rpc_pool_info *info = ret;
    PlkPoolInfo now;

    FIND(args, PLK_POOL_READ);
    if (plk_pool_info(pool, &now, err) < 0)
        return -1;
    *info = (rpc_pool_info){.state = now.active ? STATE_RUNNING : STATE_INACTIVE, .capacity = now.capacity,
                            .allocation = now.allocation, .available = now.available};
    return 0;
}

PLK_PROCEDURE(pool_xml)
{
    const rpc_pool_flags *a = args;
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = NULL;

    if (plk_check_flags(a->flags, XML_INACTIVE, "virStoragePoolGetXMLDesc", err) < 0)
        return -1;
    FIND(&a->pool, PLK_POOL_READ);
    def = plk_pool_definition(pool, a->flags & XML_INACTIVE);
    ((rpc_name *)ret)->text = plk_pool_def_format(def);
    return 0;
}

PLK_PROCEDURE(pool_get_autostart)
{
    FIND(args, PLK_POOL_READ);
    ((rpc_int *)ret)->value = plk_pool_state(pool).autostart;
    return 0;
}

PLK_PROCEDURE(pool_is_active)
{
    FIND(args, PLK_POOL_READ);
    ((rpc_int *)ret)->value = plk_pool_state(pool).active;
    return 0;
}

PLK_PROCEDURE(pool_is_persistent)
{
    FIND(args, PLK_POOL_READ);
    ((rpc_int *)ret)->value = plk_pool_state(pool).persistent;
    return 0;
}
