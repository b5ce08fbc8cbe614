/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls: found in the tables, checked, decoded, carried out, answered.
 *
 * Of one peer CALLS_RUNNING calls run at a time, the others wait in order; until it has opened its connection
 * they run one after the other, since what comes then decides what the next may do. Until it has shown who it is,
 * not even the next frame is read: a SASL layer may begin behind the reply.
 */
#include "rpc/call.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/error.h"
#include "rpc/stream.h"

#define CALLS_RUNNING 16
#define CALLS_WAITING 512

static const PlkProcedure *find(const PlkServerOptions *options, const PlkFrame *frame, PlkError *err)
{
    const PlkProgram *const *programs = options->programs;
    const PlkProcedure *procedure;

    while (*programs && ((*programs)->id != frame->program || (*programs)->version != frame->version))
        programs++;
    if (!*programs) {
        plk_fail(err, PLK_ERROR_RPC, "unknown program 0x%x version %u", frame->program, frame->version);
        return NULL;
    }
    if (frame->type == PLK_FRAME_CALL_WITH_FDS) {
        plk_fail(err, PLK_ERROR_RPC, "procedure %d takes no file descriptors", frame->procedure);
        return NULL;
    }
    if (frame->status != PLK_FRAME_OK) {
        plk_fail(err, PLK_ERROR_RPC, "a call with status %u", frame->status);
        return NULL;
    }
    procedure = (*programs)->find(frame->procedure);
    if (!procedure) /* clients know a server that lacks something by these words */
        plk_fail(err, PLK_ERROR_RPC, "unknown procedure: %d", frame->procedure);
    return procedure;
}

/* Whether this peer may call it now. */
static int admit(PlkPeer *peer, const PlkProcedure *procedure, PlkError *err)
{
    PLK_LOCKED(&peer->lock);
    if (peer->refusal)
        return plk_fail(err, peer->refusal_code, "%s", peer->refusal);
    if (!peer->authenticated && !(procedure->flags & PLK_CALL_UNKNOWN))
        return plk_fail(err, PLK_ERROR_RPC, "authentication is required first");
    if (!peer->opened && !(procedure->flags & (PLK_CALL_UNKNOWN | PLK_CALL_UNOPENED)))
        return plk_fail(err, PLK_ERROR_INTERNAL, "connection not open");
    if (peer->read_only && !(procedure->flags & PLK_CALL_READ_ONLY))
        return plk_fail(err, PLK_ERROR_READ_ONLY, "%s is not for read-only connections", procedure->name);
    return 0;
}

/* *ret_size is of *ret, what the procedure fills. */
static int perform(PlkCall *call, const PlkProcedure *procedure, const PlkMessage *message, void *ret, PlkError *err)
{
    PLK_FREE void *args = plk_calloc(1, procedure->args_size + 1);
    int r;

    if (!args)
        return plk_fail_nomem(err);
    if (!plk_message_decode(message, procedure->args, args, procedure->args_size))
        return plk_fail(err, PLK_ERROR_RPC, "the arguments of %s cannot be decoded", procedure->name);
    r = procedure->run(call, args, ret, err);
    if (procedure->args)
        xdr_free(procedure->args, args);
    return r;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static PlkMessage *answer(PlkCall *call, const PlkMessage *message)
{
    PlkPeer *peer = call->peer;
    PlkFrame frame = plk_frame_answer(&call->frame, PLK_FRAME_REPLY, PLK_FRAME_OK);
    const PlkServerOptions *options = plk_server_options(peer->server);
    const PlkProcedure *procedure;
    uint64_t began = now_ns();
    PLK_FREE void *ret = NULL;
    PlkMessage *reply;
    PlkError err = {0};
    int r = -1;

    procedure = find(options, &call->frame, &err);
    if (procedure && admit(peer, procedure, &err) == 0) {
        ret = plk_calloc(1, procedure->ret_size + 1);
        r = ret ? perform(call, procedure, message, ret, &err) : plk_fail_nomem(&err);
    }
    plk_server_count(peer->server, r < 0, 0, 0);
    if (procedure && options->measured)
        options->measured(peer, procedure, now_ns() - began, r < 0 ? &err : NULL, options->arg);
    plk_debug(PLK_DEBUG_RPC, "peer %lu: %s serial %u: %s", peer->id, procedure ? procedure->name : "call",
              call->frame.serial, r < 0 ? err.message : "ok");
    if (r < 0)
        return plk_message_error(frame, &err);
    reply = plk_message_encode(frame, procedure->ret, ret);
    if (procedure->ret)
        xdr_free(procedure->ret, ret);
    return reply;
}

static void run(PlkPeer *peer, PlkMessage *message)
{
    PlkCall call = {.peer = peer, .frame = message->frame};
    PlkMessage *reply = answer(&call, message);
    PlkRpcStream *download = NULL;
    bool refused;

    free(message);
    if (call.upload)
        plk_rpc_stream_open(&call);
    else if (call.download)
        download = plk_rpc_stream_open(&call);
    pthread_mutex_lock(&peer->lock);
    refused = peer->refusal;
    pthread_mutex_unlock(&peer->lock);
    if (call.last || refused)
        plk_peer_send_last(peer, reply);
    else
        plk_peer_send(peer, reply);
    if (call.replied && plk_peer_wait_drained(peer))
        call.replied(peer);
    if (download)
        plk_rpc_stream_run(download);
}

/* Lock held. The one that has waited longest, if another may run; NULL: this thread is done with calls. */
static PlkMessage *next_waiting(PlkPeer *peer)
{
    PlkMessage *message = peer->closed ? NULL : peer->waiting;

    if (!message) {
        peer->running--;
        return NULL;
    }
    peer->waiting = message->next;
    if (!peer->waiting)
        peer->waiting_end = &peer->waiting;
    if (--peer->n_waiting < CALLS_WAITING / 2)
        plk_peer_resume(peer);
    return message;
}

static void run_all(PlkPeer *peer, PlkMessage *message)
{
    while (message) {
        run(peer, message);
        pthread_mutex_lock(&peer->lock);
        message = next_waiting(peer);
        pthread_mutex_unlock(&peer->lock);
    }
}

/* Lock held. True: the reader goes on reading. */
static bool wait_in_line(PlkPeer *peer, PlkMessage *message)
{
    message->next = NULL;
    *peer->waiting_end = message;
    peer->waiting_end = &message->next;
    if (++peer->n_waiting < CALLS_WAITING)
        return true;
    plk_peer_pause(peer);
    return false;
}

bool plk_call_take(PlkPeer *peer, PlkMessage *message)
{
    bool reads_on;

    pthread_mutex_lock(&peer->lock);
    if (!peer->authenticated) {
        pthread_mutex_unlock(&peer->lock);
        run(peer, message);
        return true;
    }
    if (peer->running >= (peer->opened ? CALLS_RUNNING : 1)) {
        reads_on = wait_in_line(peer, message);
        pthread_mutex_unlock(&peer->lock);
        return reads_on;
    }
    peer->running++;
    pthread_mutex_unlock(&peer->lock);
    plk_peer_arm(peer, EPOLLIN);
    run_all(peer, message);
    return false;
}

bool plk_call_abandoned(const PlkCall *call)
{
    PLK_LOCKED(&call->peer->lock);
    return call->peer->closed;
}
