/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clients of the daemon of fuzz-crowd.c, all driven by one thread: what they send is queued and goes out in pieces, and each
 * frame that comes is held against what may come now.
 *
 * A client whose frames were damaged, or that broke the rules on purpose, is `odd`: the daemon owes it nothing but
 * not to be harmed by it.
 */
#pragma once

#include "crowd-world.h"
#include "rpc/protocol.h"
#include "rpc/wire.h"

#define CLIENTS 4
#define CALLS 1024 /* unanswered ones of a client */
#define STREAMS 6

typedef struct Client Client;
typedef struct Call Call;

/* What the model makes of a reply; error: NULL when it is good, and value is its decoded result then. */
typedef void Answered(Client *c, const Call *call, const rpc_error *error, const void *value);

struct Call {
    uint32_t serial;
    int32_t procedure; /* 0: the place is free */
    uint8_t pool, volume, act, expects;
    uint32_t pool_epoch, volume_epoch;
    Answered *answered; /* NULL: nothing to note */
};

typedef enum StreamState {
    STREAM_NONE,
    STREAM_ASKED,  /* the call has no answer yet */
    STREAM_OPEN,
    STREAM_ENDING, /* we have ended it and wait for the confirmation */
} StreamState;

typedef struct Stream {
    StreamState state;
    uint32_t serial;
    bool upload, sparse, drained; /* drained: a download's last frame has come */
    bool aborted;
    uint8_t pool, volume;
    /* of an upload that nobody disturbs: what must be in the file then */
    bool plain;
    uint8_t letter;
    uint64_t offset, written;
    uint32_t epoch;
} Stream;

typedef struct Buffer {
    uint8_t *bytes;
    size_t at, end, size;
} Buffer;

struct Client {
    int fd; /* -1: not connected */
    Door door;
    bool authenticated, opened, leaving; /* as soon as what was sent is carried out; leaving: CLOSE is on its way */
    bool odd;
    bool listens; /* has asked for events */
    uint32_t serial; /* of the last call */
    unsigned unanswered, pings;
    size_t piece, pieces; /* so many bytes at once, for so many bytes */
    uint8_t harm[3]; /* to be done to the next frame: where (two bytes), bits */
    bool harmed;
    Call calls[CALLS]; /* by serial */
    Stream streams[STREAMS];
    Buffer out, in;
};

extern Client clients[CLIENTS];
extern uint64_t frames_sent, frames_received;

/* Set by the model: a stream is over (error NULL: well; not called for those given up), a client has gone. */
extern void (*on_stream_end)(Client *c, const Stream *s, const rpc_error *error);
extern void (*on_gone)(Client *c);

void client_join(Client *c, Door door);
void client_leave(Client *c); /* hangs up, whatever is under way */
/* Queues; waits only when too much is under way. *call: what is known of it (serial and procedure are filled in). */
void client_call(Client *c, int32_t procedure, xdrproc_t shape, const void *args, Call call);
void client_frame(Client *c, PlkFrame frame, const void *payload, size_t size);
/* A frame of a stream. */
void client_stream(Client *c, const Stream *s, PlkFrameType type, PlkFrameStatus status, const void *payload, size_t size);

/* One round of sending and receiving; waits for at most ms. False: nothing moved. */
bool clients_move(int ms);
/* Until the daemon has answered all that it owes; odd clients have left then. calm: and until it is at rest. */
void clients_settle(bool calm);

/* A client of its own, for one question after the other: 0, or the error's code; *ret to be freed with xdr_free(). It asks
 * anew if there is no answer within a second; several times without is a failure. */
typedef struct Asker {
    int fd;
    uint32_t serial;
} Asker;
void asker_join(Asker *a);
void asker_leave(Asker *a);
int asker_ask(Asker *a, int32_t procedure, xdrproc_t shape, const void *args, xdrproc_t ret_shape, void *ret, size_t size);
