/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploopd: pools and volumes behind libvirt's protocol. What a procedure does stands in proc-*.c, a function each, in the
 * same order: who may (access), which object, what pool/ says to it. procedures.c is the table of them.
 */
#pragma once

#include "pool/volumes.h"
#include "rpc/call.h"
#include "rpc/protocol.h"
#include "rpc/sasl.h"

/* The rights of access control: libvirt's names. */
typedef enum PlkRight {
    PLK_CONNECT_GETATTR,
    PLK_CONNECT_READ,
    PLK_CONNECT_WRITE,
    PLK_CONNECT_SEARCH_STORAGE_POOLS,
    PLK_CONNECT_DETECT_STORAGE_POOLS,
    PLK_POOL_GETATTR,
    PLK_POOL_READ,
    PLK_POOL_WRITE,
    PLK_POOL_SAVE,
    PLK_POOL_DELETE,
    PLK_POOL_START,
    PLK_POOL_STOP,
    PLK_POOL_REFRESH,
    PLK_POOL_SEARCH_STORAGE_VOLS,
    PLK_POOL_FORMAT,
    PLK_VOL_GETATTR,
    PLK_VOL_READ,
    PLK_VOL_CREATE,
    PLK_VOL_DELETE,
    PLK_VOL_FORMAT,
    PLK_VOL_RESIZE,
    PLK_VOL_DATA_READ,
    PLK_VOL_DATA_WRITE,
    PLK_RIGHTS
} PlkRight;

typedef struct PlkEvents PlkEvents;

typedef struct PlkDaemon {
    PlkStorage *storage;
    PlkServer *server;
    PlkEvents *events;
    const struct PlkConfig *config;
    struct PlkTls *tls; /* NULL: no TLS */
    const char *uri;    /* "storage:///system" */
    char *socket;       /* whose files we made: the read-write one; NULL */
    bool polkit_access; /* each right is asked of polkit, as org.libvirt.api.OBJECT.RIGHT */
} PlkDaemon;

/* peer->session of every peer */
typedef struct PlkSession {
    PlkDaemon *daemon;
    char *from;  /* who connected, for the log */
    bool secure; /* nobody on the way can read what is said */
    PlkSasl *sasl; /* while it is being found out who speaks, and longer if there is a layer */
} PlkSession;

static inline PlkSession *plk_session(const PlkCall *call)
{
    return call->peer->session;
}
static inline PlkDaemon *plk_daemon(const PlkCall *call)
{
    return plk_session(call)->daemon;
}

extern const PlkProgram plk_program_remote;

/* ---- what procedures share (object.c) ---- */

/* ARGUMENT naming the bits that are none of `known`. */
int plk_check_flags(unsigned flags, unsigned known, const char *procedure, PlkError *err);

/* References, or NULL: NO_POOL, DENIED. A volume's pool goes by its name; right may be one of the volume's then. */
PlkPool *plk_find_pool(PlkCall *call, const rpc_pool *which, PlkRight right, PlkError *err);
PlkPool *plk_find_pool_named(PlkCall *call, const char *name, PlkRight right, const char *volume, PlkError *err);

/* For a reply: memory that xdr_free() frees. */
void plk_tell_pool(PlkPool *pool, rpc_pool *ret);
void plk_tell_volume(PlkPool *pool, const char *name, rpc_vol *ret);

/* A progress that stops when the client has gone: for what leaves nothing behind. */
PlkProgress plk_call_progress(PlkCall *call);

/* ---- access.c ---- */

/* What a right is about. Borrowed. */
typedef struct PlkTarget {
    const char *pool;
    const unsigned char *uuid;
    const char *volume; /* NULL: the pool */
} PlkTarget;
PlkTarget plk_on_pool(PlkPool *pool);
PlkTarget plk_on_volume(PlkPool *pool, const char *volume);

/* DENIED unless this peer has that right; on NULL: the connection. Lists leave out what one may not see: err NULL. */
int plk_allow(PlkPeer *peer, PlkRight right, const PlkTarget *on, PlkError *err);

/* ---- event.c ---- */

void plk_events_new(PlkDaemon *daemon); /* daemon->events */
void plk_events_free(PlkEvents *events);
void plk_events_forget(PlkEvents *events, PlkPeer *peer);

/* ---- procedures: proc-*.c ---- */

#define PLK_PROCEDURE(name) int plk_proc_##name(PlkCall *call, const void *args, void *ret, PlkError *err)

PLK_PROCEDURE(open);
PLK_PROCEDURE(close);
PLK_PROCEDURE(type);
PLK_PROCEDURE(version);
PLK_PROCEDURE(lib_version);
PLK_PROCEDURE(capabilities);
PLK_PROCEDURE(hostname);
PLK_PROCEDURE(uri);
PLK_PROCEDURE(is_secure);
PLK_PROCEDURE(feature);
PLK_PROCEDURE(close_callback);
PLK_PROCEDURE(set_identity);
PLK_PROCEDURE(auth_list);
PLK_PROCEDURE(auth_polkit);
PLK_PROCEDURE(auth_sasl_init);
PLK_PROCEDURE(auth_sasl_start);
PLK_PROCEDURE(auth_sasl_step);

PLK_PROCEDURE(event_register);
PLK_PROCEDURE(event_deregister);

PLK_PROCEDURE(pool_num_active);
PLK_PROCEDURE(pool_names_active);
PLK_PROCEDURE(pool_num_defined);
PLK_PROCEDURE(pool_names_defined);
PLK_PROCEDURE(pool_list_all);
PLK_PROCEDURE(pool_by_name);
PLK_PROCEDURE(pool_by_uuid);
PLK_PROCEDURE(pool_by_volume);
PLK_PROCEDURE(pool_by_path);
PLK_PROCEDURE(pool_capabilities);
PLK_PROCEDURE(find_sources);
PLK_PROCEDURE(pool_create_xml);
PLK_PROCEDURE(pool_define_xml);
PLK_PROCEDURE(pool_create);
PLK_PROCEDURE(pool_build);
PLK_PROCEDURE(pool_destroy);
PLK_PROCEDURE(pool_delete);
PLK_PROCEDURE(pool_undefine);
PLK_PROCEDURE(pool_refresh);
PLK_PROCEDURE(pool_info);
PLK_PROCEDURE(pool_xml);
PLK_PROCEDURE(pool_get_autostart);
PLK_PROCEDURE(pool_set_autostart);
PLK_PROCEDURE(pool_is_active);
PLK_PROCEDURE(pool_is_persistent);

PLK_PROCEDURE(vol_num);
PLK_PROCEDURE(vol_names);
PLK_PROCEDURE(vol_list_all);
PLK_PROCEDURE(vol_by_name);
PLK_PROCEDURE(vol_by_key);
PLK_PROCEDURE(vol_by_path);
PLK_PROCEDURE(vol_create);
PLK_PROCEDURE(vol_create_from);
PLK_PROCEDURE(vol_delete);
PLK_PROCEDURE(vol_wipe);
PLK_PROCEDURE(vol_wipe_pattern);
PLK_PROCEDURE(vol_resize);
PLK_PROCEDURE(vol_info);
PLK_PROCEDURE(vol_info_flags);
PLK_PROCEDURE(vol_xml);
PLK_PROCEDURE(vol_path);
PLK_PROCEDURE(vol_upload);
PLK_PROCEDURE(vol_download);
