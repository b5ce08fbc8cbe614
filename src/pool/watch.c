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

struct PlkWatch {
    int fd, stop;
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

static void refresh_one(gpointer wd, gpointer value, gpointer arg)
{
    plk_live_refresh(value, NULL, NULL);
}

/* The kernel dropped events. */
static void refresh_all(PlkWatch *watch)
{
    GHashTable *all = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)plk_live_release);
    GHashTableIter i;
    gpointer wd, live;

    pthread_mutex_lock(&watch->lock);
    g_hash_table_iter_init(&i, watch->live);
    while (g_hash_table_iter_next(&i, &wd, &live)) {
        g_atomic_int_inc(&((PlkPoolVolumes *)live)->refs);
        g_hash_table_insert(all, wd, live);
    }
    pthread_mutex_unlock(&watch->lock);
    g_hash_table_foreach(all, refresh_one, NULL);
    g_hash_table_unref(all);
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
    struct pollfd p[2] = {{.fd = watch->fd, .events = POLLIN}, {.fd = watch->stop, .events = POLLIN}};
    char *buffer = g_malloc(65536);

    while ((poll(p, 2, -1) >= 0 || errno == EINTR) && !p[1].revents) {
        ssize_t n;

        if (poll(&p[1], 1, SETTLE_MS) > 0)
            break;
        n = read(watch->fd, buffer, 65536);
        if (n > 0)
            take(watch, buffer, (size_t)n);
    }
    g_free(buffer);
    return NULL;
}

int plk_watch_start(PlkStorage *storage, PlkError *err)
{
    PlkWatch *watch = g_new0(PlkWatch, 1);
    int r;

    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    watch->stop = eventfd(0, EFD_CLOEXEC);
    watch->live = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)plk_live_release);
    pthread_mutex_init(&watch->lock, NULL);
    r = watch->fd < 0 || watch->stop < 0 ? errno : pthread_create(&watch->thread, NULL, run, watch);
    if (r == 0) {
        storage->watch = watch;
        return 0;
    }
    if (watch->fd >= 0)
        close(watch->fd);
    if (watch->stop >= 0)
        close(watch->stop);
    g_hash_table_unref(watch->live);
    g_free(watch);
    return plk_fail_errno(err, PLK_ERROR_SYSTEM, r, "cannot watch directories");
}

void plk_watch_stop(PlkStorage *storage)
{
    PlkWatch *watch = storage->watch;
    uint64_t one = 1;

    if (!watch)
        return;
    storage->watch = NULL;
    if (write(watch->stop, &one, sizeof one) == (ssize_t)sizeof one)
        pthread_join(watch->thread, NULL);
    close(watch->fd);
    close(watch->stop);
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
