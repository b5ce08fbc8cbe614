/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes to and from a peer: as they are, or through TLS or a SASL layer. Nothing here ever waits; -EAGAIN says that the
 * socket would have to. At most one thread receives and one sends, at the same time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct PlkTransport PlkTransport;

typedef struct PlkTransportOps {
    /* Bytes, 0 at the end, -errno. */
    ssize_t (*receive)(PlkTransport *t, void *buf, size_t len);
    /* more: the rest of the frame follows at once. */
    ssize_t (*send)(PlkTransport *t, const void *buf, size_t len, bool more);
    /* 0 = done, -EAGAIN: call again when *ret_events (of poll) come. NULL: there is none. */
    int (*handshake)(PlkTransport *t, short *ret_events);
    /* Why the handshake failed, for the log; NULL as a function: there is none. */
    const char *(*failure)(PlkTransport *t);
    /* Received already, though the socket shows nothing. NULL: never. */
    bool (*buffered)(PlkTransport *t);
    /* What send() took and still has: 0 = nothing (any more), -EAGAIN. NULL: never any. */
    int (*flush)(PlkTransport *t);
    /* After the handshake: who the other end has shown to be; NULL as an answer, or as a function: unknown. */
    const char *(*subject)(PlkTransport *t);
    void (*close)(PlkTransport *t); /* frees, too */
} PlkTransportOps;

struct PlkTransport {
    const PlkTransportOps *ops;
    int fd;
    bool plain; /* what is sent to fd goes to the peer as it is: sendfile may be used */
};

/* fd: a socket that does not block, taken over even if it fails. NULL when out of memory. */
PlkTransport *plk_transport_plain(int fd);
