/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done to volumes and asked of one. Lists and searches: proc-volume-list.c */
#include <glib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "daemon/daemon.h"
#include "daemon/log.h"

#define INFO_PHYSICAL 1u
#define DELETE_ZEROED 1u
#define DELETE_WITH_SNAPSHOTS 2u
#define STREAM_SPARSE 1u
#define RESIZE_FLAGS (PLK_RESIZE_ALLOCATE | PLK_RESIZE_DELTA | PLK_RESIZE_SHRINK)

#define POOL plk_cleanup(plk_pool_unrefp) PlkPool *pool
#define VOLUME plk_cleanup(plk_volume_unrefp) PlkVolume *volume

/* Most calls are one act on one volume, which goes by the names of its pool and its own. */
#define FIND_POOL(which, right) \
    POOL = plk_find_pool_named(call, (which)->pool, (right), (which)->name, err); \
    if (!pool) \
        return -1

/* ---- new ones ---- */

static int parse(const char *xml, PlkPool *pool, unsigned flags, unsigned how, PlkVolumeDef **ret, PlkError *err)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = plk_pool_definition(pool, false);

    return plk_volume_def_parse(xml, def->type, how | (flags & PLK_CREATE_VALIDATE ? PLK_PARSE_VALIDATE : 0), ret, err);
}

PLK_PROCEDURE(vol_create)
{
    const rpc_pool_xml *a = args;
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = NULL;
    PlkProgress progress = plk_call_progress(call);
    VOLUME = NULL;

    if (plk_check_flags(a->flags, PLK_CREATE_PREALLOC_METADATA | PLK_CREATE_VALIDATE, "virStorageVolCreateXML", err) < 0)
        return -1;
    POOL = plk_find_pool(call, &a->pool, PLK_POOL_GETATTR, err);
    if (!pool || parse(a->xml, pool, a->flags, 0, &def, err) < 0)
        return -1;
    PlkTarget on = plk_on_volume(pool, def->name);
    plk_log_about(on.pool, on.volume);
    if (plk_allow(call->peer, PLK_VOL_CREATE, &on, err) < 0 ||
        plk_pool_create_volume(pool, def, a->flags, &progress, &volume, err) < 0)
        return -1;
    plk_tell_volume(pool, volume->name, ret);
    return 0;
}

PLK_PROCEDURE(vol_create_from)
{
    const rpc_pool_xml_from *a = args;
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = NULL;
    plk_cleanup(plk_pool_unrefp) PlkPool *from = NULL;
    PlkProgress progress = plk_call_progress(call);
    VOLUME = NULL;

    if (plk_check_flags(a->flags, PLK_CREATE_PREALLOC_METADATA | PLK_CREATE_REFLINK | PLK_CREATE_VALIDATE,
                        "virStorageVolCreateXMLFrom", err) < 0)
        return -1;
    POOL = plk_find_pool(call, &a->pool, PLK_POOL_GETATTR, err);
    from = pool ? plk_storage_pool_by_name(plk_daemon(call)->storage, a->from.pool, err) : NULL;
    if (!from || parse(a->xml, pool, a->flags, PLK_PARSE_OPT_CAPACITY, &def, err) < 0)
        return -1;
    PlkTarget on = plk_on_volume(pool, def->name);
    plk_log_about(on.pool, on.volume);
    if (plk_allow(call->peer, PLK_VOL_CREATE, &on, err) < 0 ||
        plk_pool_clone_volume(pool, def, from, a->from.name, NULL, a->flags, &progress, &volume, err) < 0)
        return -1;
    plk_tell_volume(pool, volume->name, ret);
    return 0;
}

/* ---- acts; a wipe and a resize run to their end, whoever has gone ---- */

PLK_PROCEDURE(vol_delete)
{
    const rpc_vol_flags *a = args;

    if (plk_check_flags(a->flags, DELETE_ZEROED | DELETE_WITH_SNAPSHOTS, "virStorageVolDelete", err) < 0)
        return -1;
    FIND_POOL(&a->vol, PLK_VOL_DELETE);
    return plk_pool_delete_volume(pool, a->vol.name, a->flags, err);
}

static int wipe(PlkCall *call, const rpc_vol *vol, unsigned algorithm, unsigned flags, PlkError *err)
{
    if (plk_check_flags(flags, 0, "virStorageVolWipe", err) < 0)
        return -1;
    if (algorithm >= PLK_WIPE_ALGORITHMS)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "wiping algorithm %u not supported", algorithm);
    FIND_POOL(vol, PLK_VOL_FORMAT);
    return plk_pool_wipe_volume(pool, vol->name, (PlkWipe)algorithm, NULL, err);
}

PLK_PROCEDURE(vol_wipe)
{
    const rpc_vol_flags *a = args;

    return wipe(call, &a->vol, PLK_WIPE_ZERO, a->flags, err);
}

PLK_PROCEDURE(vol_wipe_pattern)
{
    const rpc_vol_wipe *a = args;

    return wipe(call, &a->vol, a->algorithm, a->flags, err);
}

PLK_PROCEDURE(vol_resize)
{
    const rpc_vol_resize *a = args;

    if (plk_check_flags(a->flags, RESIZE_FLAGS, "virStorageVolResize", err) < 0)
        return -1;
    FIND_POOL(&a->vol, PLK_VOL_RESIZE);
    return plk_pool_resize_volume(pool, a->vol.name, a->capacity, a->flags, NULL, err);
}

/* ---- questions ---- */

static int tell_info(PlkCall *call, const rpc_vol *vol, bool physical, rpc_vol_info *ret, PlkError *err)
{
    VOLUME = NULL;

    FIND_POOL(vol, PLK_VOL_READ);
    if (plk_pool_volume(pool, vol->name, &volume, err) < 0)
        return -1;
    *ret = (rpc_vol_info){.type = volume->facts.type, .capacity = volume->facts.capacity,
                          .allocation = physical ? volume->facts.physical : volume->facts.allocation};
    return 0;
}

PLK_PROCEDURE(vol_info)
{
    return tell_info(call, args, false, ret, err);
}

PLK_PROCEDURE(vol_info_flags)
{
    const rpc_vol_flags *a = args;

    if (plk_check_flags(a->flags, INFO_PHYSICAL, "virStorageVolGetInfoFlags", err) < 0)
        return -1;
    return tell_info(call, &a->vol, a->flags & INFO_PHYSICAL, ret, err);
}

PLK_PROCEDURE(vol_xml)
{
    const rpc_vol_flags *a = args;
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = NULL;
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *pool_def = NULL;
    VOLUME = NULL;

    if (plk_check_flags(a->flags, 0, "virStorageVolGetXMLDesc", err) < 0)
        return -1;
    FIND_POOL(&a->vol, PLK_VOL_READ);
    if (plk_pool_volume(pool, a->vol.name, &volume, err) < 0)
        return -1;
    def = plk_pool_volume_definition(pool, volume);
    pool_def = plk_pool_definition(pool, false);
    ((rpc_name *)ret)->text = plk_volume_def_format(def, pool_def->type);
    return 0;
}

/* From memory: a volume whose file has vanished still has a path. */
PLK_PROCEDURE(vol_path)
{
    const rpc_vol *a = args;

    FIND_POOL(a, PLK_VOL_READ);
    if (!plk_pool_state(pool).active)
        return plk_fail(err, PLK_ERROR_STATE, "storage pool '%s' is not active", a->pool);
    ((rpc_name *)ret)->text = plk_pool_volume_path(pool, a->name);
    return 0;
}

/* ---- streams ---- */

PLK_PROCEDURE(vol_upload)
{
    const rpc_vol_range *a = args;

    if (plk_check_flags(a->flags, STREAM_SPARSE, "virStorageVolUpload", err) < 0)
        return -1;
    FIND_POOL(&a->vol, PLK_VOL_DATA_WRITE);
    call->sparse = a->flags & STREAM_SPARSE;
    return plk_pool_upload(pool, a->vol.name, PLK_STREAM_CONTAINER, a->offset, a->length, &call->upload, err);
}

PLK_PROCEDURE(vol_download)
{
    const rpc_vol_range *a = args;

    if (plk_check_flags(a->flags, STREAM_SPARSE, "virStorageVolDownload", err) < 0)
        return -1;
    FIND_POOL(&a->vol, PLK_VOL_DATA_READ);
    call->sparse = a->flags & STREAM_SPARSE;
    return plk_pool_download(pool, a->vol.name, PLK_STREAM_CONTAINER, a->offset, a->length, &call->download, err);
}
