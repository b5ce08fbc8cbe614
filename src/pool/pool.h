/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of pool/ share: the pool and the storage as they are inside.
 *
 * Locks. storage->lock guards the list of pools and the event hook's place; pool->lock guards what is marked so below.
 * Both are held for moments only, never over a system call that may block on a pool's directory or device, and never
 * over a call of a backend, of the volumes' half or of the event hook.
 *
 * The state lock (plk_state_lock()) makes one step of a look at the state's files or the list, what is decided on it, and the
 * change of both: two definitions that collide cannot both pass. It is held over writes of state files and
 * never over a mount or mkfs. Readers of the list do not take it.
 *
 * A change of a pool (define, create, start, stop, build, delete, undefine) is a *turn*: plk_pool_begin() raises
 * `working`, here, and among commands by a lock on a byte of runtime/ploopkit/turns that stands for the pool's name; a command
 * then reads anew what other commands made of the pool. plk_pool_end() lowers it. Nobody waits for a turn: who
 * comes second is refused. Whoever has it may read def and dir_fd without the lock, for nobody else replaces them
 * meanwhile; to replace them it takes the lock.
 *
 * Order: turn and state lock (either way round: a turn is never waited for), storage->lock, pool->lock.
 */
#pragma once

#include <glib.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "pool/backend.h"
#include "pool/storage.h"

typedef struct PlkPoolVolumes PlkPoolVolumes; /* volumes.c: index, refresh, what is under way */
typedef struct PlkWatch PlkWatch;             /* watch.c: the daemon's inotify thread */
typedef struct PlkJobTable PlkJobTable;       /* job.c: the jobs of this process */

/* A file of the state that could not be understood: kept as it is, told by doctor. */
typedef struct PlkBrokenState {
    char *path, *why;
} PlkBrokenState;

struct PlkStorage {
    /* fixed from open to close */
    PlkStorageRole role;
    char *config_dir, *autostart_dir, *runtime_dir;
    char *private_dir; /* runtime/ploopkit */
    char *jobs_dir;    /* runtime/ploopkit/jobs; may not exist for LOOK */
    char machine_id[33];
    char **roots; /* NULL = the rule of backends/allowed.c */
    bool qcow2_compat_0_10;
    int owner_fd; /* runtime/driver.pid, locked by us; -1 = LOOK, or another owns it */
    pid_t foreign_owner; /* who owns it when we do not; 0 = nobody, -1 = unknown */
    bool owner_is_libvirt;
    PlkWatch *watch;     /* NULL unless DAEMON */
    PlkJobTable *jobs;

    pthread_mutex_t change_lock; /* the state lock, recursive */
    unsigned change_depth;       /* guarded by it, as the next */
    int change_fd;               /* a command's: runtime/ploopkit/state.lock, flocked; -1 */

    pthread_mutex_t lock;
    GPtrArray *pools;   /* PlkPool, a reference each, sorted by name */
    GPtrArray *foreign; /* PlkPoolDef of kinds that only libvirt can run: not to be collided with */
    GArray *broken;     /* PlkBrokenState */

    pthread_mutex_t event_lock; /* guards hook and queue */
    PlkPoolEventHook *hook;
    void *hook_arg;
    GQueue events;     /* not delivered yet, in order */
    bool delivering;   /* some thread empties the queue */
};

struct PlkPool {
    /* fixed */
    PlkStorage *storage; /* not a reference: a storage outlives its pools' use */
    char *name;
    unsigned char uuid[PLK_UUID_BYTES];
    int refs; /* atomic */

    pthread_mutex_t lock;
    PlkPoolDef *def;  /* what runs, or would */
    PlkPoolDef *next; /* active only: what the next start takes; NULL = the same */
    bool active, persistent, autostart;
    bool working;  /* somebody has the turn */
    int turn_fd;   /* runtime/ploopkit/turns, locked at our name; -1 */
    bool gone;     /* undefined: no longer in the list */
    bool starting; /* its turn waits for plk_pool_measure() */
    bool writable; /* active only */
    char *reason;  /* why not; NULL */
    gint64 asked_at; /* g_get_monotonic_time() of a plk_pool_measure() that has no answer yet; 0 */
    int dir_fd;    /* active: the target directory, O_DIRECTORY (readable); else -1 */
    PlkPoolVolumes *volumes; /* active: from open_volumes to close_volumes */
};

/* ---- what the volumes' half implements ---- */

/* Start: def and dir_fd stand, active is not yet set. Makes pool->volumes and its first index; makes nothing in the
 * directory. take_over: write although .ploopkit/owner names another host. */
int plk_pool_open_volumes(PlkPool *pool, bool take_over, PlkError *err);
/* Stop: pool->volumes goes. Readers that hold the index keep it. Nothing runs any more (plk_pool_jobs_running() == 0). */
void plk_pool_close_volumes(PlkPool *pool);
/* Jobs of this process that change something in the pool; STATE on destroy, as libvirt. */
unsigned plk_pool_jobs_running(PlkPool *pool);
/* volumes in the index, and how many of them are broken or incomplete; 0 of an inactive pool */
void plk_pool_count_volumes(PlkPool *pool, size_t *ret_n, size_t *ret_broken);
/* From plk_storage_open() and plk_storage_close(). close cancels this process's jobs and waits for them. */
int plk_storage_open_volumes(PlkStorage *storage, PlkError *err);
void plk_storage_close_volumes(PlkStorage *storage);

/* ---- what the pools' half offers it ---- */

/* A reference to the volumes' owner: STATE "pool 'x' is not active". */
int plk_pool_need_active(PlkPool *pool, PlkError *err);
char *plk_pool_target(PlkPool *pool); /* of what runs; g_free */
/* Statvfs and the directory's permissions into def, in a thread that may be given up on; after a refresh. */
int plk_pool_measure(PlkPool *pool, PlkError *err);
/* events.c. In a turn only noted, so that events have the order of turns; told when no turn and no lock is held. */
void plk_pool_note(PlkPool *pool, PlkPoolEvent event);
void plk_storage_tell(PlkStorage *storage);
void plk_pool_emit(PlkPool *pool, PlkPoolEvent event); /* both; without a turn */
void plk_pool_end_with(PlkPool *pool, bool happened, PlkPoolEvent event); /* note if it happened, end the turn, tell */
/* READ_ONLY with the owner's pid unless this storage may change things. */
int plk_storage_need_write(PlkStorage *storage, PlkError *err);
/* The same for work on volumes, which is possible beside a daemon of ours. */
int plk_storage_need_volume_write(PlkStorage *storage, PlkError *err);
/* Every active pool, a reference each; plk_pools_free(). */
void plk_storage_active_pools(PlkStorage *storage, PlkPool ***ret, size_t *ret_n);

/* ---- between the files of the pools' half ---- */

/* boot.c: what the runtime directory says of an earlier boot goes. */
int plk_boot_begin(PlkStorage *storage, PlkError *err);

/* pool.c */
PlkPool *plk_pool_new(PlkStorage *storage, PlkPoolDef *def); /* def is taken over */
/* STATE naming `what` if somebody has the turn, NO_POOL if the pool is gone by now, READ_ONLY. */
int plk_pool_begin(PlkPool *pool, const char *what, PlkError *err);
int plk_pool_begin_unread(PlkPool *pool, const char *what, PlkError *err); /* without reading the files anew */
bool plk_pool_try_begin(PlkPool *pool); /* in this process only */
void plk_pool_end(PlkPool *pool);

/* lifecycle.c; in a turn */
int plk_pool_check_start_flags(unsigned flags, PlkError *err); /* ARGUMENT */
int plk_pool_start_in_turn(PlkPool *pool, unsigned flags, PlkError *err);
/* Backend up: open, measure, active. */
int plk_pool_bring_up(PlkPool *pool, bool take_over, PlkError *err);
void plk_pool_bring_down(PlkPool *pool);
void plk_pool_promote(PlkPool *pool); /* what was defined while it ran holds from now on */
void plk_pool_forget(PlkPool *pool);  /* out of the list */

/* It is down: its file goes, what the next start takes holds from now on, and a transient pool leaves the list. */
int plk_pool_note_stopped(PlkPool *pool, PlkError *err);

/* pool-list.c; storage->lock is held */
PlkPool *plk_pool_list_find(PlkStorage *storage, const char *name);
PlkPool *plk_pool_list_find_uuid(PlkStorage *storage, const unsigned char uuid[PLK_UUID_BYTES]);
void plk_pool_list_add(PlkStorage *storage, PlkPool *pool); /* takes the caller's reference */
void plk_pool_list_remove(PlkStorage *storage, PlkPool *pool);
/* REFUSED naming the other pool; *ret is the one that def redefines, or NULL. */
int plk_pool_list_conflict(PlkStorage *storage, const PlkPoolDef *def, PlkPool **ret, PlkError *err);

/* conflict.c: whether both would stand on the same storage. Pools of one name are not asked about. */
bool plk_pool_same_source(const PlkPoolDef *known, const PlkPoolDef *asked);

/* state.c: files. All writes are whole and durable. */
int plk_state_save_config(PlkStorage *storage, const PlkPoolDef *def, PlkError *err);
int plk_state_remove_config(PlkStorage *storage, const char *name, PlkError *err);
int plk_state_save_running(PlkStorage *storage, const PlkPoolDef *def, PlkError *err);
int plk_state_remove_running(PlkStorage *storage, const char *name, PlkError *err);
/* The names that have a file there, into a set of g_malloc'd strings. */
int plk_state_names(PlkStorage *storage, bool running, GHashTable *names, PlkError *err);
/* What the file of this name says; NULL: there is none, or none that is a pool of that name and of a kind we run: it goes to
 * storage->broken then, and to storage->foreign if it is of another kind. */
PlkPoolDef *plk_state_read(PlkStorage *storage, bool running, const char *name);
bool plk_state_has_config(PlkStorage *storage, const char *name); /* some file, whatever is in it */
/* The text of the files: without sizes. g_free */
char *plk_state_text(const PlkPoolDef *def);
int plk_state_sync_dir(const char *dir, PlkError *err);
int plk_state_make_dirs(PlkStorage *storage, PlkError *err);

/* autostart.c */
bool plk_autostart_get(PlkStorage *storage, const char *name);
int plk_autostart_set(PlkStorage *storage, const char *name, bool on, PlkError *err);
void plk_autostart_run(PlkStorage *storage); /* once per boot, for a daemon */

/* owner.c */
int plk_owner_take(PlkStorage *storage, PlkError *err);
void plk_owner_release(PlkStorage *storage);
/* The state lock, see above: among threads, and for commands among processes. Recursive. */
int plk_state_lock(PlkStorage *storage, PlkError *err);
void plk_state_unlock(PlkStorage *storage);
static inline void plk_state_unlockp(PlkStorage **storage)
{
    if (*storage)
        plk_state_unlock(*storage);
}
/* A turn among commands: STATE if another has it. A daemon has none beside it: success, *ret_fd is -1. Close *ret_fd. */
int plk_owner_lock_turn(PlkPool *pool, const char *what, int *ret_fd, PlkError *err);
bool plk_owner_turn_taken(PlkStorage *storage, const char *name); /* by another command */

/* load.c: the pools as the files have them. opening: the daemon has just begun. */
int plk_storage_load(PlkStorage *storage, bool opening, PlkError *err);
int plk_pool_reread(PlkPool *pool, PlkError *err); /* in a turn; NO_POOL */

/* patience.c: work that may hang (a dead file server) in a thread that can be left behind. `work` owns arg from then on, and frees
 * it with `destroy` when the last of the two is done with it. SYSTEM with ETIMEDOUT when the time is up. */
#define PLK_PATIENCE_MS 5000
typedef int PlkPatientWork(void *arg, PlkError *err);
int plk_with_patience(PlkPatientWork *work, void *arg, void (*destroy)(void *), int timeout_ms, const char *what,
                      PlkError *err);
