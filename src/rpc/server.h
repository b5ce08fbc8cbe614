/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A server of RPC programs: listening sockets, peers, and the threads that work for them.
 *
 * All threads but the first wait in one epoll; who gets an event reads the frame and carries out what it says,
 * so a call is answered by the thread that received it. The first thread (plk_server_run) accepts, keeps the
 * deadlines, and starts another thread whenever all of them have been at work for a while, be it that they
 * compute or that a dead file system holds them. Nobody waits for anybody but for the kernel.
 *
 * A server knows programs by their tables and nothing of what they do.
 */
#pragma once

#include "rpc/peer.h"

typedef struct PlkCall PlkCall;

#define PLK_CALL_READ_ONLY 1u  /* also allowed to who may only read */
#define PLK_CALL_UNKNOWN 2u    /* ... and before the peer has shown who it is */
#define PLK_CALL_UNOPENED 4u   /* ... and before OPEN */

/*
 * One procedure. run: 0 with *ret filled in (freed with xdr_free), or -1 with *err. args and ret are as large as said;
 * NULL shapes are empty.
 */
typedef struct PlkProcedure {
    int32_t number;
    unsigned flags;
    const char *name;
    xdrproc_t args, ret;
    size_t args_size, ret_size;
    int (*run)(PlkCall *call, const void *args, void *ret, PlkError *err);
} PlkProcedure;

typedef struct PlkProgram {
    uint32_t id, version;
    const PlkProcedure *(*find)(int32_t number); /* NULL: unknown procedure */
} PlkProgram;

typedef enum PlkAuth {
    PLK_AUTH_NONE,
    PLK_AUTH_SASL,
    PLK_AUTH_POLKIT,
} PlkAuth; /* libvirt's numbers */

/* A socket that listens. fd is the server's from plk_server_listen() on. */
typedef struct PlkListener {
    int fd;
    const char *name; /* for logs: "unix /run/..." */
    bool read_only;
    PlkAuth auth;
    /* Makes the transport of an accepted socket, which it takes over; NULL = plain. */
    PlkTransport *(*wrap)(void *arg, int fd);
    void *wrap_arg;
} PlkListener;

typedef struct PlkServerOptions {
    unsigned max_peers;        /* 0 = 5000; beyond, a peer's first call is answered with a refusal */
    unsigned max_unknown;      /* 0 = 1000 that have not shown who they are; beyond, the oldest goes */
    unsigned max_threads;      /* 0 = 1024 */
    unsigned handshake_ms;     /* 0 = 10000: until a peer must have shown who it is, and have opened its connection */
    unsigned keepalive_ms;     /* 0 = 5000: silence after which a peer that asked for it is pinged */
    unsigned keepalive_count;  /* 0 = 5: pings without an answer that end it */
    const PlkProgram *const *programs; /* NULL-terminated */
    void (*attach)(PlkPeer *peer, void *arg); /* makes peer->session; NULL */
    void (*closed)(PlkPeer *peer, const char *why, void *arg); /* the talking is over; NULL */
    void (*detach)(PlkPeer *peer, void *arg); /* with the last reference; NULL */
    /* A known procedure was carried out, or refused: how long it took, and why it failed (NULL: it did not); NULL */
    void (*measured)(const PlkPeer *peer, const PlkProcedure *procedure, uint64_t nanoseconds, const PlkError *failure,
                     void *arg);
    void *arg;
} PlkServerOptions;

typedef struct PlkServerFigures {
    unsigned peers, unknown, threads, busy;
    uint64_t accepted, refused, calls, failed, bytes_in, bytes_out;
} PlkServerFigures;

int plk_server_new(const PlkServerOptions *options, PlkServer **ret, PlkError *err);
void plk_server_free(PlkServer *server); /* after plk_server_run() has returned, or was never called */
int plk_server_listen(PlkServer *server, const PlkListener *listener, PlkError *err);
/* Until plk_server_stop(), which any thread and any signal handler may call. Then peers are closed, calls end. */
int plk_server_run(PlkServer *server, PlkError *err);
void plk_server_stop(PlkServer *server);
void plk_server_figures(PlkServer *server, PlkServerFigures *ret);
/* Calls each peer, with a reference, no lock held. */
void plk_server_each(PlkServer *server, void (*each)(PlkPeer *peer, void *arg), void *arg);

/* ---- between the files of rpc/ ---- */

int plk_server_epoll(PlkServer *server);
const PlkServerOptions *plk_server_options(const PlkServer *server);
void plk_server_forget(PlkServer *server, PlkPeer *peer); /* it is closed: events for it are none of ours */
void plk_server_count(PlkServer *server, bool failed, uint64_t in, uint64_t out);
int64_t plk_now_ms(void);
