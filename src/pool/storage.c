/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The storage: opened, read anew, closed; pools defined and created. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "pool/pool.h"

static void unref_pool(void *pool)
{
    plk_pool_unref(pool);
}

static void clear_broken(void *item)
{
    PlkBrokenState *broken = item;

    g_free(broken->path);
    g_free(broken->why);
}

static void set_dirs(PlkStorage *s, const PlkStorageOptions *options)
{
    bool root = geteuid() == 0;

    s->config_dir = options->config_dir ? g_strdup(options->config_dir)
                    : root              ? g_strdup("/etc/libvirt/storage")
                                        : g_build_filename(g_get_user_config_dir(), "libvirt/storage", NULL);
    s->runtime_dir = options->runtime_dir ? g_strdup(options->runtime_dir)
                     : root               ? g_strdup("/run/libvirt/storage")
                                          : g_build_filename(g_get_user_runtime_dir(), "libvirt/storage/run", NULL);
    s->autostart_dir = g_build_filename(s->config_dir, "autostart", NULL);
    s->private_dir = g_build_filename(s->runtime_dir, "ploopkit", NULL);
    s->jobs_dir = g_build_filename(s->private_dir, "jobs", NULL);
}

static void read_machine_id(PlkStorage *s)
{
    g_autofree char *text = NULL;

    if (g_file_get_contents("/etc/machine-id", &text, NULL, NULL))
        g_strlcpy(s->machine_id, g_strstrip(text), sizeof(s->machine_id));
    if (!s->machine_id[0])
        gethostname(s->machine_id, sizeof(s->machine_id) - 1);
}

static PlkStorage *new_storage(const PlkStorageOptions *options)
{
    PlkStorage *s = g_new0(PlkStorage, 1);

    s->role = options->role;
    s->owner_fd = -1;
    s->qcow2_compat_0_10 = options->qcow2_compat_0_10;
    s->roots = g_strdupv((char **)options->roots);
    set_dirs(s, options);
    read_machine_id(s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->event_lock, NULL);
    s->pools = g_ptr_array_new_with_free_func(unref_pool);
    s->broken = g_array_new(FALSE, FALSE, sizeof(PlkBrokenState));
    g_array_set_clear_func(s->broken, clear_broken);
    return s;
}

static void free_storage(PlkStorage *s)
{
    g_ptr_array_unref(s->pools);
    g_array_unref(s->broken);
    pthread_mutex_destroy(&s->event_lock);
    pthread_mutex_destroy(&s->lock);
    g_strfreev(s->roots);
    g_free(s->jobs_dir);
    g_free(s->private_dir);
    g_free(s->autostart_dir);
    g_free(s->runtime_dir);
    g_free(s->config_dir);
    g_free(s);
}

/* A reference to the pool of this definition, new or known; NULL: it collides, and the reason is noted. def is taken. */
static PlkPool *adopt(PlkStorage *s, PlkPoolDef *def, bool *ret_new)
{
    PlkPool *known = NULL, *pool;
    PlkError err;
    PLK_LOCKED(&s->lock);

    if (plk_pool_list_conflict(s, def, &known, &err) != 0) {
        PlkBrokenState broken = {g_strdup(def->name), g_strdup(err.message)};

        g_array_append_val(s->broken, broken);
        plk_pool_def_free(def);
        return NULL;
    }
    *ret_new = !known;
    if (!known) {
        pool = plk_pool_new(s, def);
        plk_pool_list_add(s, plk_pool_ref(pool));
        return pool;
    }
    PLK_LOCKED(&known->lock);
    PlkPoolDef **place = known->active ? &known->next : &known->def;
    plk_pool_def_free(*place);
    *place = def;
    return plk_pool_ref(known);
}

static void load_running(void *arg, PlkPoolDef *def)
{
    plk_cleanup(plk_pool_unrefp) PlkPool *pool = NULL;
    const PlkBackend *backend = plk_backend(def->type, NULL);
    PlkStorage *s = arg;
    bool added, up = false;

    pool = plk_storage_pool_by_name(s, def->name, NULL);
    if (pool && plk_pool_state(pool).active) {
        plk_pool_def_free(def);
        return;
    }
    plk_pool_unrefp(&pool);
    pool = adopt(s, def, &added);
    if (!pool)
        return;
    if (backend->check(pool->def, &up, NULL) == 0 && up && plk_pool_bring_up(pool, false, NULL) == 0)
        return;
    if (s->role == PLK_STORAGE_DAEMON)
        plk_state_remove_running(s, pool->name, NULL);
}

static void load_config(void *arg, PlkPoolDef *def)
{
    PlkStorage *s = arg;
    bool added;
    plk_cleanup(plk_pool_unrefp) PlkPool *pool = adopt(s, def, &added);

    if (!pool)
        return;
    PLK_LOCKED(&pool->lock);
    pool->persistent = true;
    pool->autostart = plk_autostart_get(s, pool->name);
}

/* A transient pool whose directory or mount is gone is gone itself. */
static void drop_dead(PlkStorage *s)
{
    PlkPool **pools;
    size_t n;

    plk_storage_pools(s, PLK_LIST_INACTIVE | PLK_LIST_TRANSIENT, &pools, &n, NULL);
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n; i++)
        plk_pool_list_remove(s, pools[i]);
    pthread_mutex_unlock(&s->lock);
    plk_pools_free(pools, n);
}

int plk_storage_reload(PlkStorage *s, PlkError *err)
{
    pthread_mutex_lock(&s->lock);
    g_array_set_size(s->broken, 0);
    pthread_mutex_unlock(&s->lock);
    if (plk_state_read(s, true, load_running, s, err) != 0 || plk_state_read(s, false, load_config, s, err) != 0)
        return -1;
    drop_dead(s);
    if (s->role == PLK_STORAGE_DAEMON)
        plk_autostart_run(s);
    return 0;
}

int plk_storage_open(const PlkStorageOptions *options, PlkStorage **ret, PlkError *err)
{
    PlkStorage *s = new_storage(options);
    bool writes = s->role != PLK_STORAGE_LOOK;

    if ((writes && plk_state_make_dirs(s, err) != 0) || plk_owner_take(s, err) != 0) {
        if (s->owner_fd >= 0)
            close(s->owner_fd);
        free_storage(s);
        return -1;
    }
    if (plk_storage_open_volumes(s, err) != 0 || plk_storage_reload(s, err) != 0) {
        plk_storage_close(s);
        return -1;
    }
    *ret = s;
    return 0;
}

void plk_storage_close(PlkStorage *s)
{
    PlkPool **pools;
    size_t n;

    if (!s)
        return;
    plk_storage_close_volumes(s);
    plk_storage_active_pools(s, &pools, &n);
    for (size_t i = 0; i < n; i++)
        plk_pool_bring_down(pools[i]);
    plk_pools_free(pools, n);
    plk_owner_release(s);
    free_storage(s);
}

/* With the list locked: the pool of def, redefined or new. active_too: for a pool that runs the next start takes it. */
static int enter(PlkStorage *s, PlkPoolDef *def, bool live, PlkPool **ret, PlkError *err)
{
    PlkPool *known;
    PLK_LOCKED(&s->lock);

    if (plk_pool_list_conflict(s, def, &known, err) != 0)
        return -1;
    if (!known) {
        *ret = plk_pool_new(s, def);
        plk_pool_list_add(s, plk_pool_ref(*ret));
        return 0;
    }
    PLK_LOCKED(&known->lock);
    if (known->working || (live && known->active))
        return plk_fail(err, PLK_ERROR_STATE, "pool '%s' is %s", known->name,
                        known->working ? "being changed" : "already active");
    if (live && !known->next)
        known->next = PLK_TAKE(known->def);
    PlkPoolDef **place = known->active ? &known->next : &known->def;
    plk_pool_def_free(*place);
    *place = def;
    *ret = plk_pool_ref(known);
    return 0;
}

static int check_def(PlkStorage *s, const PlkPoolDef *def, PlkError *err)
{
    if (plk_storage_need_write(s, err) != 0 || !plk_backend(def->type, err))
        return -1;
    return plk_target_allowed(def, (const char *const *)s->roots, err);
}

int plk_storage_define(PlkStorage *s, PlkPoolDef *def, PlkPool **ret, PlkError *err)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *owned = def;
    plk_cleanup(plk_pool_unrefp) PlkPool *pool = NULL;
    PLK_CLOSE int fd = -1;

    if (check_def(s, def, err) != 0 || plk_owner_lock_state(s, &fd, err) != 0)
        return -1;
    /* The file first: a pool that could not be written is as it was. The conflict is looked for before. */
    pthread_mutex_lock(&s->lock);
    PlkPool *known;
    int result = plk_pool_list_conflict(s, def, &known, err);
    pthread_mutex_unlock(&s->lock);
    if (result != 0 || plk_state_save_config(s, def, err) != 0 || enter(s, def, false, &pool, err) != 0)
        return -1;
    (void)PLK_TAKE(owned);
    pthread_mutex_lock(&pool->lock);
    pool->persistent = true;
    pthread_mutex_unlock(&pool->lock);
    plk_pool_emit(pool, PLK_EVENT_DEFINED);
    if (ret)
        *ret = PLK_TAKE(pool);
    return 0;
}

/* A start that failed: a transient pool goes, a persistent one has its own definition again. */
static void take_back(PlkPool *pool)
{
    PLK_LOCKED(&pool->storage->lock);

    if (!pool->persistent) {
        plk_pool_list_remove(pool->storage, pool);
        return;
    }
    PLK_LOCKED(&pool->lock);
    if (!pool->next)
        return;
    plk_pool_def_free(pool->def);
    pool->def = PLK_TAKE(pool->next);
}

int plk_storage_create(PlkStorage *s, PlkPoolDef *def, unsigned flags, PlkPool **ret, PlkError *err)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *owned = def;
    plk_cleanup(plk_pool_unrefp) PlkPool *pool = NULL;

    if (plk_pool_check_start_flags(flags, err) != 0 || check_def(s, def, err) != 0 ||
        enter(s, def, true, &pool, err) != 0)
        return -1;
    (void)PLK_TAKE(owned);
    if (plk_pool_start(pool, flags, err) != 0) {
        take_back(pool);
        return -1;
    }
    if (ret)
        *ret = PLK_TAKE(pool);
    return 0;
}
