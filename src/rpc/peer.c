/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One peer's frames, in and out. Roles and bounds: rpc/peer.h. */
#include "rpc/peer.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/math.h"
#include "rpc/server.h"
#include "rpc/stream.h"

#define UNKNOWN_FRAME_MAX 65536u /* from a peer that has not shown who it is, or what it wants */
#define OUT_MAX (64u << 20)

PlkPeer *plk_peer_ref(PlkPeer *peer)
{
    atomic_fetch_add_explicit(&peer->refs, 1, memory_order_relaxed);
    return peer;
}

static void free_messages(PlkMessage *first)
{
    while (first) {
        PlkMessage *next = first->next;

        free(first);
        first = next;
    }
}

void plk_peer_unref(PlkPeer *peer)
{
    const PlkServerOptions *options = plk_server_options(peer->server);

    if (atomic_fetch_sub_explicit(&peer->refs, 1, memory_order_acq_rel) > 1)
        return;
    assert(peer->closed && !peer->streams);
    if (options->detach)
        options->detach(peer, options->arg);
    peer->transport->ops->close(peer->transport);
    free_messages(peer->waiting);
    free_messages(peer->out);
    free(peer->incoming);
    free(peer->identity.user);
    free(peer->identity.group);
    free(peer->identity.sasl);
    free(peer->identity.x509);
    free(peer->identity.selinux);
    pthread_cond_destroy(&peer->moved);
    pthread_mutex_destroy(&peer->lock);
    free(peer);
}

void plk_peer_close(PlkPeer *peer, const char *why)
{
    const PlkServerOptions *options = plk_server_options(peer->server);

    pthread_mutex_lock(&peer->lock);
    if (peer->closed) {
        pthread_mutex_unlock(&peer->lock);
        return;
    }
    peer->closed = true;
    shutdown(peer->transport->fd, SHUT_RDWR);
    pthread_cond_broadcast(&peer->moved);
    pthread_mutex_unlock(&peer->lock);
    plk_debug(PLK_DEBUG_RPC, "peer %lu: %s", peer->id, why);
    plk_rpc_streams_drop(peer);
    if (options->closed)
        options->closed(peer, why, options->arg);
    plk_server_forget(peer->server, peer);
}

/* ---- reading ---- */

static ssize_t receive(PlkPeer *peer, void *to, size_t len)
{
    ssize_t n = peer->transport->ops->receive(peer->transport, to, len);

    return n == 0 ? -ECONNRESET : n;
}

static int check_length(PlkPeer *peer, uint32_t length)
{
    bool known;

    pthread_mutex_lock(&peer->lock);
    known = peer->authenticated && peer->opened;
    pthread_mutex_unlock(&peer->lock);
    return length < PLK_FRAME_HEAD || length > (known ? PLK_FRAME_MAX : UNKNOWN_FRAME_MAX) ? -EPROTO : 0;
}

/* The head first: what follows is not read, so that no byte of another frame gets into our hands. */
static int read_head(PlkPeer *peer)
{
    PlkFrame frame;
    ssize_t n;

    while (peer->have < PLK_FRAME_HEAD) {
        n = receive(peer, peer->head + peer->have, PLK_FRAME_HEAD - peer->have);
        if (n < 0)
            return (int)n;
        peer->have += (size_t)n;
    }
    plk_frame_decode(peer->head, &frame);
    if (check_length(peer, frame.length) < 0)
        return -EPROTO;
    peer->incoming = plk_message_new(&frame);
    return peer->incoming ? 0 : -ENOMEM;
}

int plk_peer_read(PlkPeer *peer, PlkMessage **ret)
{
    int r = peer->incoming ? 0 : read_head(peer);
    PlkMessage *message = peer->incoming;
    ssize_t n;

    if (r < 0)
        return r;
    while (peer->have < message->frame.length) {
        n = receive(peer, message->bytes + peer->have, message->frame.length - peer->have);
        if (n < 0)
            return (int)n;
        peer->have += (size_t)n;
    }
    peer->incoming = NULL;
    peer->have = 0;
    plk_server_count(peer->server, false, message->frame.length, 0);
    pthread_mutex_lock(&peer->lock);
    peer->heard = plk_now_ms();
    peer->pings = 0;
    pthread_mutex_unlock(&peer->lock);
    *ret = message;
    return 0;
}

/* Lock held. */
static void arm(PlkPeer *peer, uint32_t events)
{
    const PlkTransport *t = peer->transport;
    struct epoll_event e = {.data.u64 = peer->id};

    if (peer->closed)
        return;
    /* What the transport holds already makes no event of the socket; that it can be written to is one at once. */
    if ((events & EPOLLIN) && t->ops->buffered && t->ops->buffered(peer->transport))
        events |= EPOLLOUT;
    peer->armed |= events;
    e.events = peer->armed | EPOLLONESHOT | EPOLLRDHUP * !!(peer->armed & EPOLLIN);
    epoll_ctl(plk_server_epoll(peer->server), EPOLL_CTL_MOD, t->fd, &e);
}

void plk_peer_arm(PlkPeer *peer, uint32_t events)
{
    PLK_LOCKED(&peer->lock);
    arm(peer, events);
}

void plk_peer_pause(PlkPeer *peer)
{
    peer->paused = true;
}

void plk_peer_resume(PlkPeer *peer)
{
    if (peer->paused) {
        peer->paused = false;
        arm(peer, EPOLLIN);
    }
}

/* ---- sending ---- */

/* Lock held, by the holder of the sending role, who keeps it only if the socket is full. */
static int send_queue(PlkPeer *peer)
{
    PlkTransport *t = peer->transport;

    assert(peer->sending);
    while (peer->out && !peer->closed) {
        PlkMessage *m = peer->out;
        bool more = m->next != NULL;
        ssize_t n;

        pthread_mutex_unlock(&peer->lock);
        n = t->ops->send(t, m->bytes + m->sent, m->frame.length - m->sent, more);
        pthread_mutex_lock(&peer->lock);
        if (n < 0)
            return (int)n;
        m->sent += (size_t)n;
        if (m->sent < m->frame.length)
            continue;
        peer->out = m->next;
        if (!peer->out)
            peer->out_end = &peer->out;
        peer->out_bytes -= m->frame.length;
        plk_server_count(peer->server, false, 0, m->frame.length);
        free(m);
    }
    if (t->ops->flush && !peer->closed) {
        int r = t->ops->flush(t); /* never waits */

        if (r < 0)
            return r;
    }
    peer->sending = false;
    pthread_cond_broadcast(&peer->moved);
    return 0;
}

/* Lock held, sending role held; both are gone afterwards. */
static void send_and_unlock(PlkPeer *peer)
{
    int r = send_queue(peer);
    bool over = r == 0 && peer->closing && !peer->out;

    if (r == -EAGAIN)
        arm(peer, EPOLLOUT);
    else if (r < 0)
        peer->sending = false;
    pthread_mutex_unlock(&peer->lock);
    if (over)
        plk_peer_close(peer, "closed by its own wish");
    else if (r < 0 && r != -EAGAIN)
        plk_peer_close(peer, strerror(-r));
}

/* False: the connection is over. */
static bool queue(PlkPeer *peer, PlkMessage *message)
{
    if (peer->closed || peer->closing || peer->out_bytes > OUT_MAX) {
        free(message);
        return false;
    }
    *peer->out_end = message;
    peer->out_end = &message->next;
    peer->out_bytes += message->frame.length;
    return true;
}

static void send_message(PlkPeer *peer, PlkMessage *message, bool last)
{
    bool full;

    if (!message) {
        plk_peer_close(peer, "out of memory");
        return;
    }
    pthread_mutex_lock(&peer->lock);
    full = peer->out_bytes > OUT_MAX;
    if (!queue(peer, message)) {
        pthread_mutex_unlock(&peer->lock);
        if (full)
            plk_peer_close(peer, "it does not take what it asked for");
        return;
    }
    peer->closing |= last;
    if (peer->sending) {
        pthread_mutex_unlock(&peer->lock);
        return;
    }
    peer->sending = true;
    send_and_unlock(peer);
}

void plk_peer_send(PlkPeer *peer, PlkMessage *message)
{
    send_message(peer, message, false);
}

void plk_peer_send_last(PlkPeer *peer, PlkMessage *message)
{
    send_message(peer, message, true);
}

void plk_peer_send_on(PlkPeer *peer)
{
    pthread_mutex_lock(&peer->lock);
    if (peer->sending)
        send_and_unlock(peer);
    else
        pthread_mutex_unlock(&peer->lock);
}

bool plk_peer_wait_drained(PlkPeer *peer)
{
    PLK_LOCKED(&peer->lock);
    while ((peer->sending || peer->out) && !peer->closed && !peer->closing)
        pthread_cond_wait(&peer->moved, &peer->lock);
    return !peer->closed && !peer->closing;
}

/* ---- a part of a file ---- */

/* Until the socket takes more, or the talking is over. */
static int wait_writable(PlkPeer *peer)
{
    struct pollfd p = {.fd = peer->transport->fd, .events = POLLOUT};

    return poll(&p, 1, -1) < 0 && errno != EINTR ? -errno : p.revents & (POLLERR | POLLHUP | POLLNVAL) ? -EPIPE : 0;
}

static int send_bytes(PlkPeer *peer, const uint8_t *bytes, size_t len, bool more)
{
    PlkTransport *t = peer->transport;
    int r = 0;

    while (len > 0 && r == 0) {
        ssize_t n = t->ops->send(t, bytes, len, more);

        if (n == -EAGAIN)
            r = wait_writable(peer);
        else if (n < 0)
            r = (int)n;
        else
            bytes += n, len -= (size_t)n;
    }
    return r;
}

/* What the head has promised goes out, come what may. */
static int send_zeros(PlkPeer *peer, size_t len)
{
    static const uint8_t zeros[16384];
    int r = 0;

    for (size_t n; len > 0 && r == 0; len -= n) {
        n = PLK_MIN(len, sizeof zeros);
        r = send_bytes(peer, zeros, n, false);
    }
    return r;
}

static int send_file_bytes(PlkPeer *peer, int fd, uint64_t offset, size_t len)
{
    off_t at = (off_t)offset;
    int failed = 0, r = 0;

    while (len > 0 && r == 0 && !failed) {
        ssize_t n = sendfile(peer->transport->fd, fd, &at, len);

        if (n > 0)
            len -= (size_t)n;
        else if (n == 0)
            failed = -EIO; /* somebody has cut the file */
        else if (errno == EAGAIN)
            r = wait_writable(peer);
        else if (errno == EPIPE || errno == ECONNRESET)
            r = -EPIPE;
        else if (errno != EINTR)
            failed = -errno;
    }
    if (r == 0 && failed)
        r = send_zeros(peer, len);
    return r ? -EPIPE : failed;
}

int plk_peer_send_file(PlkPeer *peer, const PlkFrame *frame, int fd, uint64_t offset)
{
    uint8_t head[PLK_FRAME_HEAD];
    int r;

    assert(peer->transport->plain);
    pthread_mutex_lock(&peer->lock);
    while (peer->sending && !peer->closed)
        pthread_cond_wait(&peer->moved, &peer->lock);
    if (peer->closed || peer->closing) {
        pthread_mutex_unlock(&peer->lock);
        return -EPIPE;
    }
    peer->sending = true;
    pthread_mutex_unlock(&peer->lock);

    plk_frame_encode(frame, head);
    r = send_bytes(peer, head, sizeof head, true);
    r = r < 0 ? -EPIPE : send_file_bytes(peer, fd, offset, frame->length - PLK_FRAME_HEAD);
    plk_server_count(peer->server, false, 0, frame->length);

    pthread_mutex_lock(&peer->lock);
    send_and_unlock(peer);
    return r;
}
