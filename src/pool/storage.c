/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The storage: opened, read anew, closed. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "pool/pool.h"

static void unref_pool(void *pool)
{
    plk_pool_unref(pool);
}

static void free_def(void *def)
{
    plk_pool_def_free(def);
}

static void clear_broken(void *item)
{
    PlkBrokenState *broken = item;

    g_free(broken->path);
    g_free(broken->why);
}

/* Absolute, since links lead there. */
static char *choose_dir(const char *given, const char *system, const char *user, const char *below)
{
    if (given)
        return g_canonicalize_filename(given, NULL);
    return geteuid() == 0 ? g_strdup(system) : g_build_filename(user, below, NULL);
}

static void set_dirs(PlkStorage *s, const PlkStorageOptions *options)
{
    s->config_dir = choose_dir(options->config_dir, "/etc/libvirt/storage", g_get_user_config_dir(), "libvirt/storage");
    s->runtime_dir = choose_dir(options->runtime_dir, "/run/libvirt/storage", g_get_user_runtime_dir(),
                                "libvirt/storage/run");
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

static void init_recursive(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

static PlkStorage *new_storage(const PlkStorageOptions *options)
{
    PlkStorage *s = g_new0(PlkStorage, 1);

    s->role = options->role;
    s->owner_fd = s->change_fd = -1;
    s->qcow2_compat_0_10 = options->qcow2_compat_0_10;
    s->roots = g_strdupv((char **)options->roots);
    set_dirs(s, options);
    read_machine_id(s);
    init_recursive(&s->change_lock);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->event_lock, NULL);
    s->pools = g_ptr_array_new_with_free_func(unref_pool);
    s->foreign = g_ptr_array_new_with_free_func(free_def);
    s->broken = g_array_new(FALSE, FALSE, sizeof(PlkBrokenState));
    g_array_set_clear_func(s->broken, clear_broken);
    return s;
}

static void free_storage(PlkStorage *s)
{
    g_ptr_array_unref(s->pools);
    g_ptr_array_unref(s->foreign);
    g_array_unref(s->broken);
    pthread_mutex_destroy(&s->event_lock);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->change_lock);
    g_strfreev(s->roots);
    g_free(s->jobs_dir);
    g_free(s->private_dir);
    g_free(s->autostart_dir);
    g_free(s->runtime_dir);
    g_free(s->config_dir);
    g_free(s);
}

int plk_storage_reload(PlkStorage *s, PlkError *err)
{
    if (plk_storage_load(s, false, err) != 0)
        return -1;
    if (s->role == PLK_STORAGE_DAEMON)
        plk_autostart_run(s);
    return 0;
}

static int first_load(PlkStorage *s, PlkError *err)
{
    if (plk_boot_begin(s, err) != 0 || plk_storage_open_volumes(s, err) != 0 || plk_storage_load(s, true, err) != 0)
        return -1;
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
    if (first_load(s, err) != 0) {
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
