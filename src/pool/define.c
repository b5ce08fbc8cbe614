/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pools that are to be: defined, or created to run at once. Under the state lock it is found that nothing stands
 * against the definition, it is written down, and it enters the list; so of two that collide the second sees the first,
 * in this process or another. The start itself comes after, in the pool's turn.
 */
#include "base/error.h"
#include "pool/pool.h"

static int check_def(PlkStorage *s, const PlkPoolDef *def, PlkError *err)
{
    if (plk_storage_need_write(s, err) != 0 || !plk_backend(def->type, err))
        return -1;
    return plk_target_allowed(def, (const char *const *)s->roots, err);
}

/* *ret: a reference to the pool that def redefines, or NULL. */
static int find_known(PlkStorage *s, const PlkPoolDef *def, PlkPool **ret, PlkError *err)
{
    PlkPool *known;
    int result;

    if (s->role == PLK_STORAGE_COMMAND && plk_storage_load(s, false, err) != 0)
        return -1;
    PLK_LOCKED(&s->lock);
    result = plk_pool_list_conflict(s, def, &known, err);
    *ret = result == 0 && known ? plk_pool_ref(known) : NULL;
    return result;
}

/* In a turn: *ret is the pool that def redefines, or one that is in no list yet. The state lock is held. */
static int claim(PlkStorage *s, const PlkPoolDef *def, const char *what, PlkPool **ret, bool *ret_new, PlkError *err)
{
    plk_cleanup(plk_pool_unrefp) PlkPool *pool = NULL;

    if (find_known(s, def, &pool, err) != 0)
        return -1;
    *ret_new = !pool;
    if (!pool)
        pool = plk_pool_new(s, plk_pool_def_copy(def));
    if (*ret_new ? plk_pool_begin_unread(pool, what, err) != 0 : plk_pool_begin(pool, what, err) != 0)
        return -1;
    *ret = PLK_TAKE(pool);
    return 0;
}

static void enter(PlkPool *pool)
{
    PLK_LOCKED(&pool->storage->lock);

    plk_pool_list_add(pool->storage, plk_pool_ref(pool));
}

/* ---- define ---- */

static void redefine(PlkPool *pool, const PlkPoolDef *def)
{
    PlkPoolDef **place = pool->active ? &pool->next : &pool->def;

    plk_pool_def_free(*place);
    *place = plk_pool_def_copy(def);
}

/* The file first: a pool that could not be written is as it was. */
static int define_in_turn(PlkPool *pool, const PlkPoolDef *def, bool new, PlkError *err)
{
    if (new && plk_state_has_config(pool->storage, pool->name))
        return plk_fail(err, PLK_ERROR_REFUSED, "'%s/%s.xml' is there and is no definition that is understood; mend it "
                        "or move it away", pool->storage->config_dir, pool->name);
    if (plk_state_save_config(pool->storage, def, err) != 0)
        return -1;
    pthread_mutex_lock(&pool->lock);
    if (!new)
        redefine(pool, def);
    pool->persistent = true;
    pthread_mutex_unlock(&pool->lock);
    if (new)
        enter(pool);
    return 0;
}

static int define_locked(PlkStorage *s, const PlkPoolDef *def, PlkPool **ret, PlkError *err)
{
    plk_cleanup(plk_pool_unrefp) PlkPool *pool = NULL;
    bool new;
    int result;

    if (claim(s, def, "define", &pool, &new, err) != 0)
        return -1;
    result = define_in_turn(pool, def, new, err);
    if (result == 0)
        plk_pool_note(pool, PLK_EVENT_DEFINED);
    plk_pool_end(pool);
    if (result == 0)
        *ret = PLK_TAKE(pool);
    return result;
}

int plk_storage_define(PlkStorage *s, PlkPoolDef *def, PlkPool **ret, PlkError *err)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *owned = def;
    plk_cleanup(plk_pool_unrefp) PlkPool *pool = NULL;
    int result;

    if (check_def(s, def, err) != 0 || plk_state_lock(s, err) != 0)
        return -1;
    result = define_locked(s, def, &pool, err);
    plk_state_unlock(s);
    if (result != 0)
        return -1;
    plk_storage_tell(s);
    if (ret)
        *ret = PLK_TAKE(pool);
    return 0;
}

/* ---- create ---- */

/* What it was defined as comes back when it stops. */
static void set_live(PlkPool *pool, const PlkPoolDef *def)
{
    PLK_LOCKED(&pool->lock);

    if (pool->next)
        plk_pool_def_free(pool->def);
    else
        pool->next = pool->def;
    pool->def = plk_pool_def_copy(def);
}

/* Written down before it is mounted or built: until then nothing else would tell other commands of a new pool. */
static int enter_live(PlkPool *pool, const PlkPoolDef *def, bool new, PlkError *err)
{
    if (plk_pool_state(pool).active)
        return plk_fail(err, PLK_ERROR_STATE, "pool '%s' is already active", pool->name);
    if (plk_state_save_running(pool->storage, def, err) != 0)
        return -1;
    if (new)
        enter(pool);
    else
        set_live(pool, def);
    return 0;
}

/* In a turn then. */
static int claim_live(PlkStorage *s, const PlkPoolDef *def, PlkPool **ret, PlkError *err)
{
    plk_cleanup(plk_state_unlockp) PlkStorage *locked = NULL;
    plk_cleanup(plk_pool_unrefp) PlkPool *pool = NULL;
    bool new;

    if (plk_state_lock(s, err) != 0)
        return -1;
    locked = s;
    if (claim(s, def, "create", &pool, &new, err) != 0)
        return -1;
    if (enter_live(pool, def, new, err) != 0) {
        plk_pool_end(pool);
        return -1;
    }
    *ret = PLK_TAKE(pool);
    return 0;
}

int plk_storage_create(PlkStorage *s, PlkPoolDef *def, unsigned flags, PlkPool **ret, PlkError *err)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *owned = def;
    plk_cleanup(plk_pool_unrefp) PlkPool *pool = NULL;
    int result;

    if (plk_pool_check_start_flags(flags, err) != 0 || check_def(s, def, err) != 0 ||
        claim_live(s, def, &pool, err) != 0)
        return -1;
    result = plk_pool_start_in_turn(pool, flags, err);
    if (result != 0)
        plk_pool_note_stopped(pool, NULL);
    plk_pool_end_with(pool, result == 0, PLK_EVENT_STARTED);
    if (result != 0)
        return -1;
    if (ret)
        *ret = PLK_TAKE(pool);
    return 0;
}
