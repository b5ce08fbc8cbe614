/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events of pools, on their way from pool/ to the clients that asked for them.
 *
 * A registration is one (event, pool or all pools) of one client, known to it by a number of its own.
 */
#include <glib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "daemon/daemon.h"
#include "daemon/log.h"

enum { EVENT_LIFECYCLE, EVENT_REFRESH, EVENTS }; /* libvirt's numbers */
enum { PROC_LIFECYCLE = 370, PROC_REFRESH = 373 };
enum { REGISTRATIONS_MAX = 10000 }; /* of a client */

typedef struct Registration {
    PlkPeer *peer; /* a reference */
    int number;    /* the callback, as this client knows it */
    int event;
    bool all;
    unsigned char uuid[PLK_UUID_BYTES];
} Registration;

struct PlkEvents {
    PlkDaemon *daemon;
    pthread_mutex_t lock;
    GPtrArray *registrations;
};

static void free_registration(gpointer data)
{
    Registration *r = data;

    plk_peer_unref(r->peer);
    g_free(r);
}

static void send_event(const Registration *r, PlkPoolEvent event, const char *name, const unsigned char *uuid)
{
    PlkFrame frame = {.program = PLK_PROGRAM_REMOTE, .version = 1, .type = PLK_FRAME_EVENT, .serial = 1};
    rpc_lifecycle_event e = {.callback = r->number, .event = event};
    rpc_refresh_event refresh = {.callback = r->number};

    e.pool.name = refresh.pool.name = (char *)name;
    memcpy(e.pool.uuid, uuid, PLK_UUID_BYTES);
    memcpy(refresh.pool.uuid, uuid, PLK_UUID_BYTES);
    frame.procedure = r->event == EVENT_REFRESH ? PROC_REFRESH : PROC_LIFECYCLE;
    if (r->event == EVENT_REFRESH)
        plk_peer_send(r->peer, plk_message_encode(frame, (xdrproc_t)xdr_rpc_refresh_event, &refresh));
    else
        plk_peer_send(r->peer, plk_message_encode(frame, (xdrproc_t)xdr_rpc_lifecycle_event, &e));
}

static bool wants(const Registration *r, PlkPoolEvent event, const unsigned char *uuid)
{
    return (r->event == EVENT_REFRESH) == (event == PLK_EVENT_REFRESHED) &&
           (r->all || memcmp(r->uuid, uuid, PLK_UUID_BYTES) == 0);
}

/* Copies, each with a reference to its client, which may be gone when its turn comes. */
static GPtrArray *find_those_who_want(PlkEvents *events, PlkPoolEvent event, const unsigned char *uuid)
{
    GPtrArray *those = g_ptr_array_new_with_free_func(free_registration);

    PLK_LOCKED(&events->lock);
    for (guint i = 0; i < events->registrations->len; i++) {
        const Registration *r = g_ptr_array_index(events->registrations, i);

        if (wants(r, event, uuid)) {
            plk_peer_ref(r->peer);
            g_ptr_array_add(those, g_memdup2(r, sizeof *r));
        }
    }
    return those;
}

/* pool/ calls in the order of each pool's events, and sending only queues. */
static void on_event(void *arg, PlkPoolEvent event, const char *name, const unsigned char uuid[PLK_UUID_BYTES])
{
    static const char *const words[] = {"defined", "undefined", "started", "stopped", "built", "deleted", "refreshed"};
    PlkTarget on = {.pool = name, .uuid = uuid};
    GPtrArray *those = find_those_who_want(arg, event, uuid);

    plk_log(event == PLK_EVENT_REFRESHED ? LOG_DEBUG : LOG_NOTICE, &(PlkLogFields){.pool = name}, "pool '%s' is %s", name, words[event]);
    for (guint i = 0; i < those->len; i++) {
        const Registration *r = g_ptr_array_index(those, i);

        if (plk_allow(r->peer, PLK_POOL_GETATTR, &on, NULL) == 0)
            send_event(r, event, name, uuid);
    }
    g_ptr_array_free(those, true);
}

void plk_events_new(PlkDaemon *daemon)
{
    PlkEvents *events = g_new0(PlkEvents, 1);

    events->daemon = daemon;
    events->registrations = g_ptr_array_new_with_free_func(free_registration);
    pthread_mutex_init(&events->lock, NULL);
    daemon->events = events;
    plk_storage_on_event(daemon->storage, on_event, events);
}

void plk_events_free(PlkEvents *events)
{
    plk_storage_on_event(events->daemon->storage, NULL, NULL);
    g_ptr_array_free(events->registrations, true);
    pthread_mutex_destroy(&events->lock);
    g_free(events);
}

void plk_events_forget(PlkEvents *events, PlkPeer *peer)
{
    GPtrArray *gone = g_ptr_array_new_with_free_func(free_registration);

    pthread_mutex_lock(&events->lock);
    for (guint i = events->registrations->len; i-- > 0;)
        if (((Registration *)g_ptr_array_index(events->registrations, i))->peer == peer)
            g_ptr_array_add(gone, g_ptr_array_steal_index(events->registrations, i));
    pthread_mutex_unlock(&events->lock);
    g_ptr_array_free(gone, true);
}

/* Lock held. */
static bool is_twin(const PlkEvents *events, const Registration *r)
{
    for (guint i = 0; i < events->registrations->len; i++) {
        const Registration *o = g_ptr_array_index(events->registrations, i);

        if (o->peer == r->peer && o->event == r->event && o->all == r->all && memcmp(o->uuid, r->uuid, PLK_UUID_BYTES) == 0)
            return true;
    }
    return false;
}

/* Lock held. One more than the highest of this client. */
static int next_number(const PlkEvents *events, const PlkPeer *peer)
{
    int next = 0;

    for (guint i = 0; i < events->registrations->len; i++) {
        const Registration *o = g_ptr_array_index(events->registrations, i);

        if (o->peer == peer && o->number >= next)
            next = o->number + 1;
    }
    return next;
}

/* Lock held. */
static int count(const PlkEvents *events, const PlkPeer *peer)
{
    int n = 0;

    for (guint i = 0; i < events->registrations->len; i++)
        n += ((const Registration *)g_ptr_array_index(events->registrations, i))->peer == peer;
    return n;
}

PLK_PROCEDURE(event_register)
{
    const rpc_event_filter *a = args;
    PlkEvents *events = plk_daemon(call)->events;
    Registration *r;

    if (a->event < 0 || a->event >= EVENTS)
        return plk_fail(err, PLK_ERROR_RPC, "unsupported storage pool event %d", a->event);
    if (plk_allow(call->peer, PLK_CONNECT_SEARCH_STORAGE_POOLS, NULL, err) < 0)
        return -1;
    /* The pool need not be there, now or ever; the right to know of it is asked for with each event. */
    r = g_new0(Registration, 1);
    r->peer = plk_peer_ref(call->peer);
    r->event = a->event;
    r->all = !a->pool;
    if (a->pool)
        memcpy(r->uuid, a->pool->uuid, PLK_UUID_BYTES);
    pthread_mutex_lock(&events->lock);
    if (is_twin(events, r)) {
        pthread_mutex_unlock(&events->lock);
        free_registration(r);
        return plk_fail(err, PLK_ERROR_ARGUMENT, "this event of this pool is registered already");
    }
    if (count(events, r->peer) >= REGISTRATIONS_MAX) {
        pthread_mutex_unlock(&events->lock);
        free_registration(r);
        return plk_fail(err, PLK_ERROR_REFUSED, "a client may register for %d events", REGISTRATIONS_MAX);
    }
    ((rpc_int *)ret)->value = r->number = next_number(events, r->peer);
    g_ptr_array_add(events->registrations, r);
    pthread_mutex_unlock(&events->lock);
    if (plk_call_abandoned(call)) /* it went before it was registered, and nobody will forget it */
        plk_events_forget(events, call->peer);
    return 0;
}

PLK_PROCEDURE(event_deregister)
{
    int number = ((const rpc_int *)args)->value;
    PlkEvents *events = plk_daemon(call)->events;
    Registration *found = NULL;

    pthread_mutex_lock(&events->lock);
    for (guint i = 0; i < events->registrations->len && !found; i++) {
        Registration *r = g_ptr_array_index(events->registrations, i);

        if (r->peer == call->peer && r->number == number)
            found = g_ptr_array_steal_index(events->registrations, i);
    }
    pthread_mutex_unlock(&events->lock);
    if (!found)
        return plk_fail(err, PLK_ERROR_RPC, "no event is registered as %d", number);
    free_registration(found);
    return 0;
}
