/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inotify: a name that something happened to is looked at again; if the kernel lost count, all are.
 *
 * Changes of a ploop volume happen inside its directory, which is not watched: who changes one touches the directory,
 * and that shows.
 */
#include "pool/watch.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/error.h"
#include "pool/private.h"

#define EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ATTRIB | IN_ONLYDIR | IN_EXCL_UNLINK)
#define SETTLE_MS 50 /* events that come together are taken together */
#define TIDY_MS 500

struct PlkWatch {
    int fd, wake;
    int stopping; /* atomic */
    pthread_t thread;
    pthread_mutex_t lock;
    GHashTable *live; /* by watch descriptor; a reference each */
};

static PlkPoolVolumes *find(PlkWatch *watch, int wd)
{
    PlkPoolVolumes *live;

    PLK_LOCKED(&watch->lock);
    live = g_hash_table_lookup(watch->live, GINT_TO_POINTER(wd));
    if (live)
        g_atomic_int_inc(&live->refs);
    return live;
}

/* Of each pool a reference, to go on without the lock; plk_live_release()d with the array. */
static GPtrArray *all(PlkWatch *watch)
{
    GPtrArray *ret = g_ptr_array_new_with_free_func((GDestroyNotify)plk_live_release);
    GHashTableIter i;
    gpointer live;

    PLK_LOCKED(&watch->lock);
    g_hash_table_iter_init(&i, watch->live);
    while (g_hash_table_iter_next(&i, NULL, &live)) {
        g_atomic_int_inc(&((PlkPoolVolumes *)live)->refs);
        g_ptr_array_add(ret, live);
    }
    return ret;
}

/* The kernel dropped events. */
static void refresh_all(PlkWatch *watch)
{
    g_autoptr(GPtrArray) live = all(watch);

    for (guint i = 0; i < live->len; i++)
        plk_live_refresh(live->pdata[i], NULL, NULL);
}

/* True: there are stages yet, to be looked at again soon. */
static bool tidy(PlkWatch *watch)
{
    g_autoptr(GPtrArray) live = all(watch);
    bool more = false;

    for (guint i = 0; i < live->len; i++)
        more |= plk_stage_tidy(&((PlkPoolVolumes *)live->pdata[i])->stage);
    return more;
}

static void look_again(PlkPoolVolumes *live, const char *name)
{
    PlkVolumeList *list = plk_live_list(live);
    PlkVolume *old = plk_index_find(list, name), *now = NULL;

    /* What a job of ours is making or has just put there it reports itself. */
    if (!(old && old->state == PLK_STATE_BUILDING) && plk_live_look(live, name, old, &now, NULL) >= 0) {
        if (now != old)
            plk_live_put(live, name, now);
        else if (now)
            plk_volume_unref(now);
    }
    plk_volume_list_unref(list);
}

/* Each name once, however often it comes. */
static void take(PlkWatch *watch, const char *buffer, size_t len)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    bool overflow = false;

    for (size_t at = 0; at < len;) {
        const struct inotify_event *e = (const void *)(buffer + at);
        PlkPoolVolumes *live = e->len && strcmp(e->name, PLK_PRIVATE_DIR) ? find(watch, e->wd) : NULL;
        char *key = live ? g_strdup_printf("%d/%s", e->wd, e->name) : NULL;

        overflow |= (e->mask & IN_Q_OVERFLOW) != 0;
        if (live && g_hash_table_add(seen, key))
            look_again(live, e->name);
        if (live)
            plk_live_release(live);
        at += sizeof *e + e->len;
    }
    if (overflow)
        refresh_all(watch);
}

static void *run(void *arg)
{
    PlkWatch *watch = arg;
    struct pollfd p[2] = {{.fd = watch->fd, .events = POLLIN}, {.fd = watch->wake, .events = POLLIN}};
    char *buffer = g_malloc(65536);
    uint64_t woken;

    while (poll(p, 2, tidy(watch) ? TIDY_MS : -1) >= 0 || errno == EINTR) {
        ssize_t n;

        if (p[0].revents && !p[1].revents)
            poll(&p[1], 1, SETTLE_MS);
        if (read(watch->wake, &woken, sizeof woken) > 0 && g_atomic_int_get(&watch->stopping))
            break;
        n = read(watch->fd, buffer, 65536);
        if (n > 0)
            take(watch, buffer, (size_t)n);
    }
    g_free(buffer);
    return NULL;
}

static void wake(PlkWatch *watch)
{
    uint64_t one = 1;

    if (write(watch->wake, &one, sizeof one) < 0)
        return; /* it is awake */
}

int plk_watch_start(PlkStorage *storage, PlkError *err)
{
    PlkWatch *watch = g_new0(PlkWatch, 1);
    int r;

    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    watch->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch->live = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)plk_live_release);
    pthread_mutex_init(&watch->lock, NULL);
    r = watch->fd < 0 || watch->wake < 0 ? errno : pthread_create(&watch->thread, NULL, run, watch);
    if (r == 0) {
        storage->watch = watch;
        return 0;
    }
    if (watch->fd >= 0)
        close(watch->fd);
    if (watch->wake >= 0)
        close(watch->wake);
    g_hash_table_unref(watch->live);
    g_free(watch);
    return plk_fail_errno(err, PLK_ERROR_SYSTEM, r, "cannot watch directories");
}

void plk_watch_stop(PlkStorage *storage)
{
    PlkWatch *watch = storage->watch;

    if (!watch)
        return;
    storage->watch = NULL;
    g_atomic_int_set(&watch->stopping, 1);
    wake(watch);
    pthread_join(watch->thread, NULL);
    close(watch->fd);
    close(watch->wake);
    g_hash_table_unref(watch->live);
    pthread_mutex_destroy(&watch->lock);
    g_free(watch);
}

/* By the descriptor we have: the path may lead elsewhere by now. */
void plk_watch_add(PlkPoolVolumes *live)
{
    PlkWatch *watch = live->storage->watch;
    char path[48];
    int wd;

    if (!watch)
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", live->dir);
    PLK_LOCKED(&watch->lock);
    wd = inotify_add_watch(watch->fd, path, EVENTS);
    if (wd < 0)
        return; /* what others do is seen at the next refresh then */
    g_atomic_int_inc(&live->refs);
    g_hash_table_insert(watch->live, GINT_TO_POINTER(wd), live);
}

static gboolean is_it(gpointer wd, gpointer live, gpointer which)
{
    return live == which;
}

void plk_watch_remove(PlkPoolVolumes *live)
{
    PlkWatch *watch = live->storage->watch;
    GHashTableIter i;
    gpointer wd, value;

    if (!watch)
        return;
    PLK_LOCKED(&watch->lock);
    g_hash_table_iter_init(&i, watch->live);
    while (g_hash_table_iter_next(&i, &wd, &value))
        if (value == live)
            inotify_rm_watch(watch->fd, GPOINTER_TO_INT(wd));
    g_hash_table_foreach_remove(watch->live, is_it, live);
}

void plk_watch_tidy(PlkStorage *storage)
{
    if (storage->watch)
        wake(storage->watch);
}
