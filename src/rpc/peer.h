/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connected client. peer.c moves its frames, call.c answers its calls, stream.c its streams.
 *
 * Two roles, each held by one thread at most:
 *
 *   reading  begins when epoll says that there is something (the registration is one-shot) and ends with
 *            plk_peer_arm(EPOLLIN). Only the holder touches `head`, `have` and `incoming`. Who goes on to
 *            do something long gives it away first, so that the next frame finds another thread.
 *   sending  `sending`; the holder writes the queue, front to back, with the lock released. When the socket is
 *            full the role stays with nobody until epoll says EPOLLOUT. Everybody else only queues.
 *
 * Reference counted; the socket is closed with the last reference, plk_peer_close() merely ends the talking.
 * Bounds: what one peer can make us hold is CALLS_WAITING frames of calls, STREAM_QUEUED bytes for each stream, and
 * OUT_MAX bytes to send; at the first two we stop reading from it, at the last the connection ends.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "rpc/transport.h"
#include "rpc/wire.h"

typedef struct PlkServer PlkServer;
typedef struct PlkRpcStream PlkRpcStream;

/* Who is at the other end. Strings are g_free'd. */
typedef struct PlkIdentity {
    pid_t pid;
    uid_t uid;
    gid_t gid; /* with uid: of the process that connected, or as a relay told; (uid_t)-1 = not known */
    uint64_t start_time; /* of the process, in clock ticks since boot; 0 = not known */
    char *user, *group, *sasl, *x509, *selinux;
} PlkIdentity;

typedef struct PlkPeer {
    PlkServer *server;
    _Atomic unsigned refs;
    unsigned long id;
    PlkTransport *transport;
    const struct PlkListener *listener;
    void *session;       /* of who registered the programs */
    PlkIdentity identity;

    /* of the reading role */
    uint8_t head[PLK_FRAME_HEAD];
    size_t have;
    PlkMessage *incoming;

    pthread_mutex_t lock; /* guards all that follows */
    pthread_cond_t moved; /* something was sent, or the talking is over */
    uint32_t armed;       /* events epoll waits for */
    int64_t since; /* ms, monotonic: the deadline for showing who it is counts from here */
    bool asked;    /* a person is asked for a password: there is no deadline */
    bool closed, closing; /* over; over when the queue is empty */
    bool handshaken, authenticated, opened, read_only;
    const char *refusal; /* the answer to its first call, which is the last then; NULL */
    PlkErrorCode refusal_code;
    bool paused; /* nobody has the reading role until plk_peer_resume() */

    unsigned running; /* calls */
    PlkMessage *waiting, **waiting_end;
    size_t n_waiting;

    PlkMessage *out, **out_end;
    size_t out_bytes;
    bool sending;

    PlkRpcStream *streams;

    int64_t heard; /* ms: when a frame came last */
    bool keepalive;
    unsigned pings; /* unanswered */
} PlkPeer;

PlkPeer *plk_peer_ref(PlkPeer *peer);
void plk_peer_unref(PlkPeer *peer);

/* Ends the talking: streams are given up, threads that wait for this peer wake. Any thread, any number of times. */
void plk_peer_close(PlkPeer *peer, const char *why);

/* ---- reading role ---- */

/* The next whole frame; -EAGAIN; anything else is the end of the connection. */
int plk_peer_read(PlkPeer *peer, PlkMessage **ret);
void plk_peer_arm(PlkPeer *peer, uint32_t events);
/* Lock held. The role is given up, and nobody takes it before plk_peer_resume(). */
void plk_peer_pause(PlkPeer *peer);
void plk_peer_resume(PlkPeer *peer); /* lock held; nothing to do unless paused */

/* ---- sending ---- */

/* Takes the message (NULL: out of memory, the connection ends). Never waits. */
void plk_peer_send(PlkPeer *peer, PlkMessage *message);
/* The same, and the connection ends when it is out. */
void plk_peer_send_last(PlkPeer *peer, PlkMessage *message);
/* EPOLLOUT has come. */
void plk_peer_send_on(PlkPeer *peer);

/* For streams: until there is nothing queued. false when the talking is over. */
bool plk_peer_wait_drained(PlkPeer *peer);
/*
 * A frame whose payload is a part of a file, sent without a copy through this program; waits for the socket. 0, or
 * -errno of reading the file, whose missing bytes went out as zeros; -EPIPE when the talking is over.
 */
int plk_peer_send_file(PlkPeer *peer, const PlkFrame *frame, int fd, uint64_t offset);
