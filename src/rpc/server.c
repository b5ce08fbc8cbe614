/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listening, the table of peers, and the threads.
 *
 * An event carries the number of its peer, never a pointer: who got an event for one that is gone meanwhile finds
 * nothing in the table. Numbers are not used twice.
 */
#include "rpc/server.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/error.h"
#include "rpc/call.h"
#include "rpc/keepalive.h"
#include "rpc/stream.h"

#define THREADS_MIN 4
#define THREAD_STACK (1u << 20)
#define THREAD_IDLE_MS 30000 /* a thread beyond the minimum that had nothing to do so long goes */
#define TICK_MS 20           /* how long all threads may be at work before there is another one */
#define LOOK_MS 500          /* between two looks at deadlines */
#define ID_STOP 0            /* numbers of what is no peer */
#define ID_LISTENER 1        /* and following */
#define ID_PEER 64
#define LISTENERS_MAX (ID_PEER - ID_LISTENER)

struct PlkServer {
    PlkServerOptions options;
    int epoll;      /* peers: all threads */
    int accept_set; /* listeners and `stop`: the first thread */
    int stop;       /* eventfd */
    PlkListener listeners[LISTENERS_MAX];
    size_t n_listeners;

    pthread_mutex_t lock;
    pthread_cond_t thread_ended;
    GHashTable *peers; /* by number, each with a reference */
    unsigned long next_id;
    unsigned threads, idle;
    bool stopping;
    bool starved; /* nobody was idle at the last tick, either */
    int64_t woken; /* ms: when a thread last took an event */
    PlkServerFigures figures;
};

int64_t plk_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int plk_server_epoll(PlkServer *server)
{
    return server->epoll;
}

const PlkServerOptions *plk_server_options(const PlkServer *server)
{
    return &server->options;
}

void plk_server_count(PlkServer *server, bool failed, uint64_t in, uint64_t out)
{
    PlkServerFigures *f = &server->figures;

    if (in)
        __atomic_fetch_add(&f->bytes_in, in, __ATOMIC_RELAXED);
    else if (out)
        __atomic_fetch_add(&f->bytes_out, out, __ATOMIC_RELAXED);
    else
        __atomic_fetch_add(&f->calls, 1, __ATOMIC_RELAXED);
    if (failed)
        __atomic_fetch_add(&f->failed, 1, __ATOMIC_RELAXED);
}

/* ---- the table of peers ---- */

static gpointer key_of(unsigned long id)
{
    return (gpointer)id;
}

static PlkPeer *find_peer(PlkServer *server, unsigned long id)
{
    PlkPeer *peer;

    PLK_LOCKED(&server->lock);
    peer = g_hash_table_lookup(server->peers, key_of(id));
    return peer ? plk_peer_ref(peer) : NULL;
}

void plk_server_forget(PlkServer *server, PlkPeer *peer)
{
    bool found;

    epoll_ctl(server->epoll, EPOLL_CTL_DEL, peer->transport->fd, NULL);
    pthread_mutex_lock(&server->lock);
    found = g_hash_table_remove(server->peers, key_of(peer->id));
    pthread_mutex_unlock(&server->lock);
    if (found)
        plk_peer_unref(peer);
}

void plk_server_each(PlkServer *server, void (*each)(PlkPeer *peer, void *arg), void *arg)
{
    PlkPeer **all, *peer;
    size_t n = 0;
    GHashTableIter i;

    pthread_mutex_lock(&server->lock);
    all = g_new(PlkPeer *, g_hash_table_size(server->peers) + 1);
    g_hash_table_iter_init(&i, server->peers);
    while (g_hash_table_iter_next(&i, NULL, (gpointer *)&peer))
        all[n++] = plk_peer_ref(peer);
    pthread_mutex_unlock(&server->lock);
    for (size_t k = 0; k < n; k++) {
        each(all[k], arg);
        plk_peer_unref(all[k]);
    }
    g_free(all);
}

/* ---- accepting ---- */

/* Not yet in the table. NULL when out of memory; fd is gone then. */
static PlkPeer *new_peer(PlkServer *server, const PlkListener *listener, int fd)
{
    PlkPeer *peer = plk_calloc(1, sizeof *peer);
    struct ucred cred = {.uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t len = sizeof cred;

    if (!peer) {
        close(fd);
        return NULL;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        cred = (struct ucred){.uid = (uid_t)-1, .gid = (gid_t)-1};
    peer->server = server;
    peer->listener = listener;
    peer->transport = listener->wrap ? listener->wrap(listener->wrap_arg, fd) : plk_transport_plain(fd);
    peer->since = peer->heard = plk_now_ms();
    peer->identity = (PlkIdentity){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
    peer->handshaken = peer->transport && !peer->transport->ops->handshake;
    peer->authenticated = listener->auth == PLK_AUTH_NONE;
    peer->read_only = listener->read_only;
    peer->waiting_end = &peer->waiting;
    peer->out_end = &peer->out;
    atomic_init(&peer->refs, 1);
    pthread_mutex_init(&peer->lock, NULL);
    pthread_cond_init(&peer->moved, NULL);
    if (peer->transport)
        return peer;
    free(peer);
    return NULL;
}

static void add_peer(PlkServer *server, PlkPeer *peer)
{
    struct epoll_event e = {.events = 0};
    unsigned max = server->options.max_peers;

    if (server->options.attach)
        server->options.attach(peer, server->options.arg);
    pthread_mutex_lock(&server->lock);
    e.data.u64 = peer->id = server->next_id++;
    g_hash_table_insert(server->peers, key_of(peer->id), plk_peer_ref(peer));
    server->figures.accepted++;
    if (g_hash_table_size(server->peers) > max) {
        peer->refusal = "too many clients; close one, or raise max_clients";
        peer->refusal_code = PLK_ERROR_RPC;
        server->figures.refused++;
    }
    pthread_mutex_unlock(&server->lock);
    plk_debug(PLK_DEBUG_RPC, "peer %lu: from %s, pid %d, uid %d", peer->id, peer->listener->name,
              (int)peer->identity.pid, (int)peer->identity.uid);
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, peer->transport->fd, &e) < 0)
        plk_peer_close(peer, "cannot be watched");
    else
        plk_peer_arm(peer, EPOLLIN);
}

static void accept_all(PlkServer *server, const PlkListener *listener)
{
    for (int fd; (fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
        PlkPeer *peer = new_peer(server, listener, fd);

        if (!peer)
            return;
        add_peer(server, peer);
        plk_peer_unref(peer);
    }
}

int plk_server_listen(PlkServer *server, const PlkListener *listener, PlkError *err)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = ID_LISTENER + server->n_listeners};

    if (server->n_listeners == LISTENERS_MAX)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "%s: more than %d sockets to listen on", listener->name, LISTENERS_MAX);
    if (fcntl(listener->fd, F_SETFL, fcntl(listener->fd, F_GETFL) | O_NONBLOCK) < 0 ||
        epoll_ctl(server->accept_set, EPOLL_CTL_ADD, listener->fd, &e) < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "%s: cannot listen", listener->name);
    server->listeners[server->n_listeners++] = *listener;
    return 0;
}

/* ---- what a thread does with an event ---- */

/* True: the reading role is still ours. */
static bool take(PlkPeer *peer, PlkMessage *message)
{
    const PlkFrame *frame = &message->frame;

    if (frame->program == PLK_PROGRAM_KEEPALIVE) {
        plk_keepalive_take(peer, frame);
    } else if (frame->type == PLK_FRAME_CALL || frame->type == PLK_FRAME_CALL_WITH_FDS) {
        return plk_call_take(peer, message);
    } else if (frame->type == PLK_FRAME_STREAM || frame->type == PLK_FRAME_HOLE) {
        return plk_rpc_stream_take(peer, message);
    }
    free(message); /* replies and events nobody asked for */
    return true;
}

static void end_handshake(PlkPeer *peer)
{
    PlkTransport *t = peer->transport;
    const char *subject = t->ops->subject ? t->ops->subject(t) : NULL;

    PLK_LOCKED(&peer->lock);
    peer->handshaken = true;
    peer->identity.x509 = subject ? plk_strdup(subject) : NULL;
}

/* 0: shaken hands. */
static int shake_hands(PlkPeer *peer)
{
    PlkTransport *t = peer->transport;
    short events = 0;
    int r;

    if (peer->handshaken)
        return 0;
    r = t->ops->handshake(t, &events);
    if (r == -EAGAIN)
        plk_peer_arm(peer, (uint32_t)events);
    else if (r < 0)
        plk_peer_close(peer, t->ops->failure && *t->ops->failure(t) ? t->ops->failure(t) : "the handshake failed");
    else
        end_handshake(peer);
    return r;
}

static void read_frames(PlkPeer *peer)
{
    PlkMessage *message;
    int r;

    if (shake_hands(peer) < 0)
        return;
    for (;;) {
        r = plk_peer_read(peer, &message);
        if (r == -EAGAIN) {
            plk_peer_arm(peer, EPOLLIN);
            return;
        }
        if (r < 0) {
            plk_peer_close(peer, r == -ECONNRESET ? "it hung up" : strerror(-r));
            return;
        }
        if (!take(peer, message))
            return;
    }
}

static void serve(PlkServer *server, const struct epoll_event *e)
{
    PlkPeer *peer = find_peer(server, e->data.u64);
    uint32_t waited, took = 0;

    if (!peer)
        return;
    pthread_mutex_lock(&peer->lock);
    waited = peer->armed;
    if (!peer->handshaken)
        took = waited;
    /* What the transport holds already is announced by EPOLLOUT; see arm() in peer.c. */
    if (e->events & ~(uint32_t)EPOLLOUT || (peer->transport->ops->buffered && peer->transport->ops->buffered(peer->transport)))
        took |= waited & EPOLLIN;
    if (e->events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        took |= waited & EPOLLOUT;
    peer->armed = 0; /* one-shot: what was waited for besides is to be asked for again */
    pthread_mutex_unlock(&peer->lock);
    if (waited & ~took)
        plk_peer_arm(peer, waited & ~took);
    if (took & EPOLLOUT)
        plk_peer_send_on(peer);
    if (took & EPOLLIN || !peer->handshaken)
        read_frames(peer);
    plk_peer_unref(peer);
}

/* ---- threads ---- */

static void *work(void *arg)
{
    PlkServer *server = arg;
    struct epoll_event e;
    int n;

    for (;;) {
        pthread_mutex_lock(&server->lock);
        server->idle++;
        pthread_mutex_unlock(&server->lock);
        n = epoll_wait(server->epoll, &e, 1, THREAD_IDLE_MS);
        pthread_mutex_lock(&server->lock);
        server->idle--;
        server->woken = plk_now_ms();
        if (server->stopping || (n == 0 && server->threads > THREADS_MIN))
            break;
        pthread_mutex_unlock(&server->lock);
        if (n == 1 && e.data.u64 >= ID_PEER)
            serve(server, &e);
    }
    server->threads--;
    pthread_cond_broadcast(&server->thread_ended);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

/* Lock held. */
static int add_thread(PlkServer *server)
{
    pthread_attr_t attr;
    pthread_t id;
    int r;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    r = pthread_create(&id, &attr, work, server);
    pthread_attr_destroy(&attr);
    if (r == 0)
        server->threads++;
    return r;
}

/* Another thread, if all were at work at this tick and the one before, and nobody took anything in between. */
static void feed(PlkServer *server, int64_t now)
{
    bool starved;

    PLK_LOCKED(&server->lock);
    starved = server->idle == 0 && now - server->woken >= TICK_MS;
    if (starved && server->starved && server->threads < server->options.max_threads)
        add_thread(server);
    server->starved = starved;
}

/* ---- deadlines ---- */

typedef struct Round {
    int64_t now;
    unsigned unknown;
    PlkPeer *oldest; /* of those that have not shown who they are */
    int64_t oldest_since;
} Round;

static void look_after(PlkPeer *peer, void *arg)
{
    Round *round = arg;
    const PlkServerOptions *options = plk_server_options(peer->server);
    bool unknown, asked;
    int64_t since;

    pthread_mutex_lock(&peer->lock);
    since = peer->since;
    asked = peer->asked;
    unknown = (!peer->authenticated || !peer->handshaken || !peer->opened) && !peer->closed;
    pthread_mutex_unlock(&peer->lock);
    plk_keepalive_tick(peer, round->now, options->keepalive_ms, options->keepalive_count);
    if (!unknown)
        return;
    if (!asked && round->now - since > options->handshake_ms) {
        plk_peer_close(peer, "it did not show who it is in time");
        return;
    }
    round->unknown++;
    if (round->oldest && round->oldest_since <= since)
        return;
    if (round->oldest)
        plk_peer_unref(round->oldest);
    round->oldest = plk_peer_ref(peer);
    round->oldest_since = since;
}

static void look_after_all(PlkServer *server, int64_t now)
{
    Round round = {.now = now};

    plk_server_each(server, look_after, &round);
    if (round.unknown > server->options.max_unknown)
        plk_peer_close(round.oldest, "too many that do not show who they are");
    if (round.oldest)
        plk_peer_unref(round.oldest);
    pthread_mutex_lock(&server->lock);
    server->figures.unknown = round.unknown;
    pthread_mutex_unlock(&server->lock);
}

/* ---- life ---- */

static unsigned or_else(unsigned value, unsigned otherwise)
{
    return value ? value : otherwise;
}

int plk_server_new(const PlkServerOptions *options, PlkServer **ret, PlkError *err)
{
    PlkServer *s = plk_calloc(1, sizeof *s);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = ID_STOP};

    if (!s)
        return plk_fail_nomem(err);
    s->options = *options;
    s->options.max_peers = or_else(options->max_peers, 5000);
    s->options.max_unknown = or_else(options->max_unknown, 1000);
    s->options.max_threads = or_else(options->max_threads, 1024);
    s->options.handshake_ms = or_else(options->handshake_ms, 10000);
    s->options.keepalive_ms = or_else(options->keepalive_ms, 5000);
    s->options.keepalive_count = or_else(options->keepalive_count, 5);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->accept_set = epoll_create1(EPOLL_CLOEXEC);
    s->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->peers = g_hash_table_new(g_direct_hash, g_direct_equal);
    s->next_id = ID_PEER;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->thread_ended, NULL);
    /* Both sets hear of the stop; it is never read, so every thread does. */
    if (s->epoll < 0 || s->accept_set < 0 || s->stop < 0 ||
        epoll_ctl(s->accept_set, EPOLL_CTL_ADD, s->stop, &e) < 0 ||
        epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->stop, &e) < 0) {
        plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot make an event queue");
        plk_server_free(s);
        return -1;
    }
    *ret = s;
    return 0;
}

void plk_server_free(PlkServer *server)
{
    for (size_t i = 0; i < server->n_listeners; i++)
        close(server->listeners[i].fd);
    if (server->epoll >= 0)
        close(server->epoll);
    if (server->accept_set >= 0)
        close(server->accept_set);
    if (server->stop >= 0)
        close(server->stop);
    g_hash_table_destroy(server->peers);
    pthread_cond_destroy(&server->thread_ended);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

void plk_server_stop(PlkServer *server)
{
    uint64_t one = 1;
    ssize_t n = write(server->stop, &one, sizeof one);

    (void)n; /* full: it was stopped before */
}

static void close_peer(PlkPeer *peer, void *arg)
{
    plk_peer_close(peer, "the server ends");
}

static void end(PlkServer *server)
{
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_mutex_unlock(&server->lock);
    plk_server_each(server, close_peer, NULL);
    pthread_mutex_lock(&server->lock);
    while (server->threads > 0)
        pthread_cond_wait(&server->thread_ended, &server->lock);
    pthread_mutex_unlock(&server->lock);
}

static bool has_peers(PlkServer *server)
{
    PLK_LOCKED(&server->lock);
    return g_hash_table_size(server->peers) > 0;
}

int plk_server_run(PlkServer *server, PlkError *err)
{
    int64_t looked = plk_now_ms(), now;
    struct epoll_event e;
    int r = 0, n;

    pthread_mutex_lock(&server->lock);
    while (server->threads < THREADS_MIN && r == 0)
        r = add_thread(server);
    pthread_mutex_unlock(&server->lock);
    for (bool stop = r != 0; !stop;) {
        n = epoll_wait(server->accept_set, &e, 1, has_peers(server) ? TICK_MS : LOOK_MS);
        if (n == 1 && e.data.u64 == ID_STOP)
            stop = true;
        else if (n == 1)
            accept_all(server, &server->listeners[e.data.u64 - ID_LISTENER]);
        now = plk_now_ms();
        feed(server, now);
        if (now - looked >= LOOK_MS) {
            look_after_all(server, now);
            looked = now;
        }
    }
    end(server);
    return r ? plk_fail_errno(err, PLK_ERROR_SYSTEM, r, "cannot start a thread") : 0;
}

static uint64_t counted(const uint64_t *figure)
{
    return __atomic_load_n(figure, __ATOMIC_RELAXED);
}

void plk_server_figures(PlkServer *server, PlkServerFigures *ret)
{
    const PlkServerFigures *f = &server->figures;

    PLK_LOCKED(&server->lock);
    *ret = (PlkServerFigures){.peers = g_hash_table_size(server->peers), .unknown = f->unknown, .threads = server->threads,
                              .busy = server->threads - server->idle, .accepted = f->accepted, .refused = f->refused,
                              .calls = counted(&f->calls), .failed = counted(&f->failed),
                              .bytes_in = counted(&f->bytes_in), .bytes_out = counted(&f->bytes_out)};
}
