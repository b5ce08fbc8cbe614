/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The storage driver: all pools of one state directory, in libvirt's own layout.
 *
 *   config/NAME.xml               what is defined           autostart/NAME.xml -> ../NAME.xml (absolute)
 *   runtime/NAME.xml              what runs (<poolstate>)   runtime/driver.pid, runtime/autostarted
 *   runtime/ploopkit/jobs/ID      a running job of some process, flocked by it
 *
 * Ownership (docs/ARCHITECTURE.md, "Who owns the state"). A daemon holds runtime/driver.pid with the exclusive record
 * lock libvirt's daemons take. A command holds it shared from open to close, so that commands run beside each
 * other and no daemon starts in between; what changes state (define, start, ...) is done under an exclusive flock on
 * runtime/ploopkit/state.lock besides, and rereads what others may have changed. If a daemon owns the
 * directory, changes of pools are refused with READ_ONLY naming it; looking works, and so does work on volumes of
 * running pools if the daemon is one of ours, which knows what other processes do.
 *
 * Threads: everything here may be called from any thread. Pools are reference counted. Nothing waits for a
 * long operation of somebody else: not for a refresh, a clone, an upload or a wipe.
 * Every refusal has libvirt's error code through conf/libvirt-error.h.
 */
#pragma once

#include <ploopkit/progress.h>

#include "conf/pool-def.h"
#include "conf/volume-def.h"

typedef struct PlkStorage PlkStorage;
typedef struct PlkPool PlkPool;

typedef enum PlkStorageRole {
    PLK_STORAGE_LOOK,    /* read-only: takes no lock */
    PLK_STORAGE_COMMAND, /* one command of ploopctl or of a program that links us */
    PLK_STORAGE_DAEMON,  /* the owner; starts autostart pools once per boot, watches directories */
} PlkStorageRole;

typedef struct PlkStorageOptions {
    const char *config_dir;  /* NULL = /etc/libvirt/storage, or the session's when not root */
    const char *runtime_dir; /* NULL = /run/libvirt/storage, or the session's */
    PlkStorageRole role;
    const char *const *roots; /* pool targets must lie beneath one of these; NULL = anywhere but the system's own
                                 directories (backends/allowed.c) */
    bool qcow2_compat_0_10;   /* stand in for libvirt 9.0 */
} PlkStorageOptions;

/* READ_ONLY naming the pid when role needs what another process owns. One broken file never fails it: see doctor. */
int plk_storage_open(const PlkStorageOptions *options, PlkStorage **ret, PlkError *err);
void plk_storage_close(PlkStorage *storage); /* waits for running jobs, which it cancels */
static inline void plk_storage_closep(PlkStorage **storage)
{
    plk_storage_close(*storage);
}
/* For a daemon: commands find it on this unix socket until the storage is closed. */
int plk_storage_announce(PlkStorage *storage, const char *socket_path, PlkError *err);
/* For a command: where the daemon that owns the state is to be asked; g_free. NULL: none does, or it says nothing. */
char *plk_storage_daemon_socket(PlkStorage *storage);
/* Read config and runtime directories anew (SIGHUP; commands do it by themselves under the lock). */
int plk_storage_reload(PlkStorage *storage, PlkError *err);

/* ---- pools ---- */

PlkPool *plk_pool_ref(PlkPool *pool);
void plk_pool_unref(PlkPool *pool);
static inline void plk_pool_unrefp(PlkPool **pool)
{
    if (*pool)
        plk_pool_unref(*pool);
}

/* A reference, or NULL with NO_POOL. by path: active pools only, sanitised text is compared. */
PlkPool *plk_storage_pool_by_name(PlkStorage *storage, const char *name, PlkError *err);
PlkPool *plk_storage_pool_by_uuid(PlkStorage *storage, const unsigned char uuid[PLK_UUID_BYTES], PlkError *err);
PlkPool *plk_storage_pool_by_path(PlkStorage *storage, const char *path, PlkError *err);

/* libvirt's numbers (reference of virConnectListAllStoragePools); a group without bits is no filter. */
#define PLK_LIST_INACTIVE 1u
#define PLK_LIST_ACTIVE 2u
#define PLK_LIST_PERSISTENT 4u
#define PLK_LIST_TRANSIENT 8u
#define PLK_LIST_AUTOSTART 16u
#define PLK_LIST_NO_AUTOSTART 32u
#define PLK_LIST_TYPE(type) (64u << (type)) /* in libvirt's order of these flags, see pool-list.c */
/* Sorted by name. *ret: an array of references, to be freed with plk_pools_free(). */
int plk_storage_pools(PlkStorage *storage, unsigned flags, PlkPool ***ret, size_t *ret_n, PlkError *err);
void plk_pools_free(PlkPool **pools, size_t n);

/* def is taken over in any case. *ret (may be NULL) is a reference. */
int plk_storage_define(PlkStorage *storage, PlkPoolDef *def, PlkPool **ret, PlkError *err);
#define PLK_START_BUILD 1u /* libvirt's numbers */
#define PLK_START_BUILD_OVERWRITE 2u
#define PLK_START_BUILD_NO_OVERWRITE 4u
#define PLK_START_TAKE_OVER 256u /* ours: write although another host says it owns the pool */
int plk_storage_create(PlkStorage *storage, PlkPoolDef *def, unsigned flags, PlkPool **ret, PlkError *err);

#define PLK_BUILD_NO_OVERWRITE 4u /* libvirt's numbers */
#define PLK_BUILD_OVERWRITE 8u
int plk_pool_build(PlkPool *pool, unsigned flags, PlkError *err);
int plk_pool_start(PlkPool *pool, unsigned flags, PlkError *err);
int plk_pool_destroy(PlkPool *pool, PlkError *err);
int plk_pool_delete(PlkPool *pool, unsigned flags, PlkError *err);
int plk_pool_undefine(PlkPool *pool, PlkError *err);
int plk_pool_set_autostart(PlkPool *pool, bool on, PlkError *err);
/* Probes what changed, in parallel; keeps busy volumes as they are; swaps the index. One at a time a pool: a second caller
 * waits for, and shares, the next one. The old index answers meanwhile. */
int plk_pool_refresh(PlkPool *pool, const PlkProgress *progress, PlkError *err);

typedef struct PlkPoolInfo {
    char name[256]; /* cut; plk_pool_name() is whole */
    unsigned char uuid[PLK_UUID_BYTES];
    PlkPoolType type;
    bool active, persistent, autostart, writable;
    uint64_t capacity, allocation, available; /* bytes, statvfs asked now in a thread that may be given up on */
    size_t volumes, broken;                   /* in the index */
    char reason[256]; /* why it is not writable or what is odd; "" */
} PlkPoolInfo;
int plk_pool_info(PlkPool *pool, PlkPoolInfo *ret, PlkError *err);
const char *plk_pool_name(const PlkPool *pool); /* never changes */
const unsigned char *plk_pool_uuid(const PlkPool *pool); /* 16 bytes; never changes */
/* From memory, at once. */
typedef struct PlkPoolState {
    bool active, persistent, autostart;
} PlkPoolState;
PlkPoolState plk_pool_state(PlkPool *pool);
/* A copy of the definition: what runs, or (inactive) what the next start takes. */
PlkPoolDef *plk_pool_definition(PlkPool *pool, bool inactive);

/* ---- events ---- */

typedef enum PlkPoolEvent { /* libvirt's lifecycle numbers; REFRESHED is its other kind of event */
    PLK_EVENT_DEFINED, PLK_EVENT_UNDEFINED, PLK_EVENT_STARTED, PLK_EVENT_STOPPED, PLK_EVENT_CREATED,
    PLK_EVENT_DELETED, PLK_EVENT_REFRESHED
} PlkPoolEvent;
typedef void PlkPoolEventHook(void *arg, PlkPoolEvent event, const char *name,
                              const unsigned char uuid[PLK_UUID_BYTES]);
/* Called from any thread, no lock held, in order for each pool. One hook. */
void plk_storage_on_event(PlkStorage *storage, PlkPoolEventHook *hook, void *arg);

/* pool types whose tools are here */
void plk_storage_supported(bool ret[PLK_POOL_TYPES]);

/*
 * What pools of this type could stand on: the <sources> document, g_free. spec_xml: <source> that says where to look; NULL
 * where none is needed. netfs asks a host for its exports, for a minute at most. ARGUMENT without a spec, CONFIG unless it has
 * one host, UNSUPPORTED naming the package of a missing helper, REFUSED when the host does not tell, NO_SUPPORT for types
 * that cannot be searched, INTERNAL for unknown ones, CANCELLED. progress may be NULL.
 */
int plk_storage_find_sources(const char *type_name, const char *spec_xml, const PlkProgress *progress, char **ret_xml,
                             PlkError *err);
