/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pools as the state's files have them: at the start, on SIGHUP, and for a command whenever another may have changed
 * something.
 *
 *   runs: a daemon knows it best itself. For a command runtime/NAME.xml says it, if the backend finds the pool up.
 *   just begun: a daemon takes every pool for running whose backend finds it up, as libvirt's daemons do; so does a
 *         reader beside one of those, whose files do not tell of such pools.
 *   defined: config/NAME.xml says it. A pool without it is transient while it runs, and gone when it does not.
 *
 * One pool at a time, each in a turn of this process: who has a turn decides for itself, and is passed over.
 */
#include <string.h>

#include "base/error.h"
#include "pool/pool.h"

/* What the files say of one name. */
typedef struct Facts {
    PlkPoolDef *running, *config; /* NULL: no file that is understood */
    bool autostart;
} Facts;

static void clear_facts(Facts *facts)
{
    plk_pool_def_free(facts->running);
    plk_pool_def_free(facts->config);
}

static Facts read_facts(PlkStorage *storage, const char *name)
{
    return (Facts){
        .running = plk_state_read(storage, true, name),
        .config = plk_state_read(storage, false, name),
        .autostart = plk_autostart_get(storage, name),
    };
}

static bool differ(const PlkPoolDef *a, const PlkPoolDef *b)
{
    g_autofree char *one = plk_state_text(a), *other = plk_state_text(b);

    return strcmp(one, other) != 0;
}

/* ---- what is to be ---- */

/* A pool that was stopped by another command, or stopped and started elsewhere, does not run for us any more. */
static bool still_runs(PlkPool *pool, const Facts *facts)
{
    if (!plk_pool_state(pool).active)
        return false;
    if (pool->storage->role == PLK_STORAGE_DAEMON)
        return true;
    return facts->running && g_strcmp0(facts->running->target, pool->def->target) == 0;
}

static bool takes_what_is_up(PlkStorage *storage, bool opening)
{
    return storage->role == PLK_STORAGE_DAEMON ? opening : storage->owner_is_libvirt;
}

/* It runs on: only what the next start takes may be new. */
static void keep_running(PlkPool *pool, Facts *facts)
{
    PLK_LOCKED(&pool->lock);

    plk_pool_def_free(PLK_TAKE(pool->next));
    if (facts->config && differ(facts->running ? facts->running : pool->def, facts->config))
        pool->next = PLK_TAKE(facts->config);
}

static void take_definitions(PlkPool *pool, Facts *facts)
{
    bool two = facts->running && facts->config && differ(facts->running, facts->config);
    PLK_LOCKED(&pool->lock);

    plk_pool_def_free(PLK_TAKE(pool->next));
    if (!facts->running && !facts->config)
        return; /* it keeps the last it had, for those who still hold it */
    plk_pool_def_free(pool->def);
    pool->def = facts->running ? PLK_TAKE(facts->running) : PLK_TAKE(facts->config);
    if (two)
        pool->next = PLK_TAKE(facts->config);
}

static bool try_up(PlkPool *pool)
{
    const PlkBackend *backend = plk_backend(pool->def->type, NULL);
    bool up = false;

    return backend && backend->check(pool->def, &up, NULL) == 0 && up && plk_pool_bring_up(pool, false, NULL) == 0;
}

/* What is written there holds for commands that come after this daemon. */
static void correct_running(PlkPool *pool, bool was_written, bool runs)
{
    if (runs && !was_written)
        plk_state_save_running(pool->storage, pool->def, NULL);
    if (!runs && was_written)
        plk_state_remove_running(pool->storage, pool->name, NULL);
}

static void find_out(PlkPool *pool, Facts *facts, bool opening)
{
    bool was_written = facts->running, runs = false;

    take_definitions(pool, facts);
    if (was_written || takes_what_is_up(pool->storage, opening))
        runs = try_up(pool);
    if (!runs)
        plk_pool_promote(pool);
    if (opening && pool->storage->role == PLK_STORAGE_DAEMON)
        correct_running(pool, was_written, runs);
}

static bool is_of(const PlkPoolDef *def, const PlkPool *pool)
{
    return !def || memcmp(def->uuid, pool->uuid, PLK_UUID_BYTES) == 0;
}

/* Files that somebody wrote by hand do not stop what a daemon runs. */
static bool still_runs_here(PlkPool *pool)
{
    return pool->storage->role == PLK_STORAGE_DAEMON && plk_pool_state(pool).active;
}

/* In a turn. Undefined and defined anew by others under another uuid, it is another pool. */
static void apply(PlkPool *pool, Facts *facts, bool opening)
{
    bool mine = is_of(facts->config, pool) && is_of(facts->running, pool), keep = mine && still_runs(pool, facts);
    bool defined = facts->config;
    /* Another command has written down what it is about to mount. */
    bool being_made = facts->running && pool->turn_fd < 0 && plk_owner_turn_taken(pool->storage, pool->name);

    if (!mine && still_runs_here(pool))
        return;
    if (!keep && plk_pool_state(pool).active)
        plk_pool_bring_down(pool);
    if (keep)
        keep_running(pool, facts);
    else if (mine)
        find_out(pool, facts, opening);
    if (!mine || (!defined && !plk_pool_state(pool).active && !being_made)) {
        plk_pool_forget(pool);
        return;
    }
    PLK_LOCKED(&pool->lock);
    pool->persistent = defined;
    pool->autostart = defined && facts->autostart;
}

/* ---- one, all ---- */

static PlkPool *add(PlkStorage *storage, PlkPoolDef **def, PlkError *err)
{
    PlkPool *known, *pool;

    if (plk_pool_list_conflict(storage, *def, &known, err) != 0)
        return NULL;
    pool = plk_pool_new(storage, plk_pool_def_copy(*def));
    pool->working = true;
    plk_pool_list_add(storage, plk_pool_ref(pool));
    return pool;
}

static void note_collision(PlkStorage *storage, const char *name, const char *why)
{
    PlkBrokenState broken = {g_strdup(name), g_strdup(why)};
    PLK_LOCKED(&storage->lock);

    g_array_append_val(storage->broken, broken);
}

/* The pool, known or new, in a turn of ours; NULL: somebody is at it, there is none, or it collides. */
static PlkPool *claim(PlkStorage *storage, const char *name, Facts *facts)
{
    PlkPoolDef **def = facts->running ? &facts->running : &facts->config;
    PlkError err = {0};
    PlkPool *pool;

    pthread_mutex_lock(&storage->lock);
    pool = plk_pool_list_find(storage, name);
    if (pool)
        pool = plk_pool_try_begin(pool) ? plk_pool_ref(pool) : NULL;
    else if (*def)
        pool = add(storage, def, &err);
    pthread_mutex_unlock(&storage->lock);
    if (err.code != PLK_OK)
        note_collision(storage, name, err.message);
    return pool;
}

/* A daemon's definitions come and go in its own threads; commands that go by what they read hold the lock already. */
static int load_one(PlkStorage *storage, const char *name, bool opening, PlkError *err)
{
    plk_cleanup(plk_pool_unrefp) PlkPool *pool = NULL;
    plk_cleanup(plk_state_unlockp) PlkStorage *locked = NULL;
    plk_cleanup(clear_facts) Facts facts = {0};

    if (storage->role == PLK_STORAGE_DAEMON) {
        if (plk_state_lock(storage, err) != 0)
            return -1;
        locked = storage;
    }
    facts = read_facts(storage, name);
    pool = claim(storage, name, &facts);
    if (!pool)
        return 0;
    apply(pool, &facts, opening);
    plk_pool_end(pool);
    return 0;
}

static void add_known(PlkStorage *storage, GHashTable *names)
{
    PLK_LOCKED(&storage->lock);

    for (guint i = 0; i < storage->pools->len; i++)
        g_hash_table_add(names, g_strdup(((PlkPool *)storage->pools->pdata[i])->name));
    g_array_set_size(storage->broken, 0);
    g_ptr_array_set_size(storage->foreign, 0);
}

int plk_storage_load(PlkStorage *storage, bool opening, PlkError *err)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GList) sorted = NULL;

    if (plk_state_names(storage, true, names, err) != 0 || plk_state_names(storage, false, names, err) != 0)
        return -1;
    add_known(storage, names);
    sorted = g_list_sort(g_hash_table_get_keys(names), (GCompareFunc)strcmp);
    for (GList *i = sorted; i; i = i->next)
        if (load_one(storage, i->data, opening, err) != 0)
            return -1;
    return 0;
}

int plk_pool_reread(PlkPool *pool, PlkError *err)
{
    plk_cleanup(plk_state_unlockp) PlkStorage *locked = NULL;
    plk_cleanup(clear_facts) Facts facts = {0};

    if (plk_state_lock(pool->storage, err) != 0)
        return -1;
    locked = pool->storage;
    facts = read_facts(pool->storage, pool->name);
    apply(pool, &facts, false);
    PLK_LOCKED(&pool->lock);
    return pool->gone ? plk_fail(err, PLK_ERROR_NO_POOL, "pool '%s' is no longer defined", pool->name) : 0;
}
