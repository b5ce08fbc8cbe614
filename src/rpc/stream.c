/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Uploads and downloads of one peer. */
#include "rpc/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "rpc/protocol.h"

#define STREAM_QUEUED (8u << 20) /* bytes that wait to be written; a single frame may be more */

struct PlkRpcStream {
    PlkRpcStream *next;
    PlkPeer *peer;
    PlkFrame frame; /* of the call */
    PlkStream *volume;
    bool upload, sparse;

    /* guarded by the peer's lock */
    PlkMessage *first, **end;
    size_t queued;
    bool working; /* a thread writes or sends; it frees the stream if that is over in the meantime */
    bool over;    /* the peer ended it, or is gone */
    bool answer;  /* ... and waits for our OK */
};

static PlkFrame stream_frame(const PlkRpcStream *s, PlkFrameStatus status)
{
    return plk_frame_answer(&s->frame, PLK_FRAME_STREAM, status);
}

static void send_ok(PlkRpcStream *s)
{
    plk_peer_send(s->peer, plk_message_encode(stream_frame(s, PLK_FRAME_OK), NULL, NULL));
}

/* Lock held. From then on frames of this serial are nobody's. */
static void forget(PlkRpcStream *s)
{
    PlkRpcStream **p = &s->peer->streams;

    while (*p && *p != s)
        p = &(*p)->next;
    if (*p)
        *p = s->next;
}

/* Nobody knows it any more. */
static void free_stream(PlkRpcStream *s)
{
    while (s->first) {
        PlkMessage *next = s->first->next;

        free(s->first);
        s->first = next;
    }
    plk_stream_close(s->volume);
    free(s);
}

/* By the working thread: what it works on has failed, or ended by itself. NULL: with OK. */
static void end(PlkRpcStream *s, const PlkError *err)
{
    PlkPeer *peer = s->peer;

    pthread_mutex_lock(&peer->lock);
    forget(s);
    plk_peer_resume(peer);
    pthread_mutex_unlock(&peer->lock);
    /* Closed first: who hears that it is over finds the volume free. */
    plk_stream_close(PLK_TAKE(s->volume));
    if (err)
        plk_peer_send(peer, plk_message_error(stream_frame(s, PLK_FRAME_ERROR), err));
    else
        send_ok(s);
    free_stream(s);
}

/* ---- uploads ---- */

/* What a failed data call means, in the stream's own words. */
static void explain(PlkRpcStream *s, int r, PlkError *err)
{
    plk_fail_errno(err, PLK_ERROR_SYSTEM, -r, "cannot write to the volume");
    plk_stream_finish(s->volume, err);
}

static int write_hole(PlkRpcStream *s, const PlkMessage *message, PlkError *err)
{
    rpc_hole hole;
    int r;

    if (!plk_message_decode(message, (xdrproc_t)xdr_rpc_hole, &hole, sizeof hole))
        return plk_fail(err, PLK_ERROR_RPC, "a hole that cannot be decoded");
    if (!s->sparse)
        return plk_fail(err, PLK_ERROR_RPC, "a hole in a stream that was not opened as sparse");
    if (hole.length < 0 || hole.flags)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "a hole of %lld bytes with flags 0x%x", (long long)hole.length, hole.flags);
    r = hole.length ? plk_stream_hole(s->volume, (uint64_t)hole.length) : 0; /* some clients end a file with one of 0 */
    if (r < 0)
        explain(s, r, err);
    return r;
}

/* 0: go on. 1: it is over, and well. */
static int carry_out(PlkRpcStream *s, const PlkMessage *message, PlkError *err)
{
    int r;

    if (message->frame.type == PLK_FRAME_HOLE)
        return write_hole(s, message, err);
    switch (message->frame.status) {
    case PLK_FRAME_CONTINUE:
        r = plk_stream_write(s->volume, message->bytes + PLK_FRAME_HEAD, plk_message_payload(message));
        if (r < 0)
            explain(s, r, err);
        return r;
    case PLK_FRAME_OK:
        return plk_stream_finish(s->volume, err) < 0 ? -1 : 1;
    case PLK_FRAME_ERROR:
        return 1; /* without a finish: what was written stays, marked as incomplete */
    default:
        return plk_fail(err, PLK_ERROR_RPC, "a stream frame with status %u", message->frame.status);
    }
}

/* Lock held. The next frame; NULL: there is none, and this thread is not the one that works any more. */
static PlkMessage *pop(PlkRpcStream *s)
{
    PlkMessage *message = s->over ? NULL : s->first;

    if (!message) {
        s->working = false;
        return NULL;
    }
    s->first = message->next;
    if (!s->first)
        s->end = &s->first;
    s->queued -= message->frame.length;
    if (s->queued < STREAM_QUEUED / 2)
        plk_peer_resume(s->peer);
    return message;
}

/* The thread that queued the first frame writes until there is none. */
static void write_queue(PlkRpcStream *s)
{
    PlkPeer *peer = s->peer;
    PlkMessage *message;
    PlkError err = {0};
    bool over;
    int r;

    for (;;) {
        pthread_mutex_lock(&peer->lock);
        message = pop(s);
        over = s->over;
        pthread_mutex_unlock(&peer->lock);
        if (!message)
            break;
        r = carry_out(s, message, &err);
        free(message);
        if (r != 0) {
            end(s, r < 0 ? &err : NULL);
            return;
        }
    }
    if (over)
        free_stream(s);
}

/* ---- downloads ---- */

static int send_hole(PlkRpcStream *s, uint64_t length)
{
    rpc_hole hole = {.length = (quad_t)length};
    PlkFrame frame = plk_frame_answer(&s->frame, PLK_FRAME_HOLE, PLK_FRAME_CONTINUE);

    plk_peer_send(s->peer, plk_message_encode(frame, (xdrproc_t)xdr_rpc_hole, &hole));
    return plk_stream_skip(s->volume, length);
}

/* Through this program: TLS, and what is not simply the bytes of a file. */
static int send_read(PlkRpcStream *s, PlkFrame frame)
{
    PlkMessage *message = plk_message_new(&frame);
    size_t want = frame.length - PLK_FRAME_HEAD;
    ssize_t n = message ? plk_stream_read(s->volume, message->bytes + PLK_FRAME_HEAD, want) : -ENOMEM;

    if (n <= 0) {
        free(message);
        return n < 0 ? (int)n : -EIO;
    }
    message->frame.length = PLK_FRAME_HEAD + (uint32_t)n;
    plk_frame_encode(&message->frame, message->bytes);
    plk_peer_send(s->peer, message);
    return 0;
}

static int send_data(PlkRpcStream *s, uint64_t length)
{
    PlkFrame frame = stream_frame(s, PLK_FRAME_CONTINUE);
    uint64_t at = s->volume->position;
    int r;

    frame.length += (uint32_t)PLK_MIN(length, PLK_FRAME_DATA);
    if (s->volume->fd < 0 || !s->peer->transport->plain)
        return send_read(s, frame);
    r = plk_peer_send_file(s->peer, &frame, s->volume->fd, at);
    return r < 0 ? r : plk_stream_skip(s->volume, frame.length - PLK_FRAME_HEAD);
}

/* 1: that was the end. */
static int send_next(PlkRpcStream *s)
{
    uint64_t length;
    bool data;
    int r = plk_stream_next(s->volume, &data, &length);

    if (r < 0)
        return r;
    if (length == 0) {
        plk_peer_send(s->peer, plk_message_encode(stream_frame(s, PLK_FRAME_CONTINUE), NULL, NULL));
        return 1;
    }
    return data || !s->sparse ? send_data(s, length) : send_hole(s, length);
}

static bool is_over(PlkRpcStream *s)
{
    PLK_LOCKED(&s->peer->lock);
    return s->over;
}

/* Lock not held. Everything is out; the stream lives on until the peer says that it is done. */
static void finish_sending(PlkRpcStream *s)
{
    PlkPeer *peer = s->peer;
    bool over, answer;

    pthread_mutex_lock(&peer->lock);
    s->working = false;
    over = s->over;
    answer = s->answer;
    pthread_mutex_unlock(&peer->lock);
    if (!over)
        return;
    plk_stream_close(PLK_TAKE(s->volume));
    if (answer)
        send_ok(s);
    free_stream(s);
}

static void send_all(PlkRpcStream *s)
{
    PlkError err;
    int r = 0;

    while (r == 0 && plk_peer_wait_drained(s->peer) && !is_over(s))
        r = send_next(s);
    if (r < 0 && !is_over(s)) {
        plk_fail_errno(&err, PLK_ERROR_SYSTEM, -r, "cannot read the volume");
        end(s, &err);
    } else {
        finish_sending(s);
    }
}

/* ---- both ---- */

/* Lock held. */
static PlkRpcStream *find(PlkPeer *peer, const PlkFrame *frame)
{
    PlkRpcStream *s = peer->streams;

    while (s && (s->frame.serial != frame->serial || s->frame.procedure != frame->procedure))
        s = s->next;
    return s;
}

PlkRpcStream *plk_rpc_stream_open(PlkCall *call)
{
    PlkPeer *peer = call->peer;
    PlkStream *volume = call->upload ? call->upload : call->download;
    PlkRpcStream *s = plk_calloc(1, sizeof *s);
    bool closed;

    if (!s) {
        plk_stream_close(volume);
        return NULL;
    }
    *s = (PlkRpcStream){.peer = peer, .frame = call->frame, .sparse = call->sparse, .volume = volume};
    s->upload = call->upload != NULL;
    s->end = &s->first;
    s->working = !s->upload;
    pthread_mutex_lock(&peer->lock);
    closed = peer->closed;
    if (!closed) {
        s->next = peer->streams;
        peer->streams = s;
    }
    pthread_mutex_unlock(&peer->lock);
    if (!closed)
        return s;
    free_stream(s);
    return NULL;
}

void plk_rpc_stream_run(PlkRpcStream *s)
{
    send_all(s);
}

/* Lock held. The peer ends a download, early or not. True: it is ours to answer and free. */
static bool end_download(PlkRpcStream *s, const PlkMessage *message)
{
    if (message->frame.type != PLK_FRAME_STREAM || message->frame.status == PLK_FRAME_CONTINUE)
        return false;
    forget(s);
    s->over = true;
    s->answer = true;
    return !s->working;
}

bool plk_rpc_stream_take(PlkPeer *peer, PlkMessage *message)
{
    PlkRpcStream *s;
    bool mine = false, full;

    pthread_mutex_lock(&peer->lock);
    s = find(peer, &message->frame);
    if (!s || !s->upload) {
        bool ended = s && end_download(s, message);

        pthread_mutex_unlock(&peer->lock);
        free(message);
        if (ended) {
            plk_stream_close(PLK_TAKE(s->volume));
            send_ok(s);
            free_stream(s);
        }
        return true;
    }
    message->next = NULL;
    *s->end = message;
    s->end = &message->next;
    s->queued += message->frame.length;
    if (!s->working)
        mine = s->working = true;
    full = !mine && s->queued > STREAM_QUEUED;
    if (full)
        plk_peer_pause(peer);
    pthread_mutex_unlock(&peer->lock);
    if (mine) {
        plk_peer_arm(peer, EPOLLIN);
        write_queue(s);
    }
    return !mine && !full;
}

void plk_rpc_streams_drop(PlkPeer *peer)
{
    PlkRpcStream *idle = NULL, *s, *next;

    pthread_mutex_lock(&peer->lock);
    for (s = peer->streams; s; s = next) {
        next = s->next;
        s->over = true;
        if (!s->working) {
            s->next = idle;
            idle = s;
        }
    }
    peer->streams = NULL;
    pthread_mutex_unlock(&peer->lock);
    for (s = idle; s; s = next) {
        next = s->next;
        free_stream(s);
    }
}
