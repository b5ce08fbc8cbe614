/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The plain transport: the socket itself. */
#include "rpc/transport.h"

#include <errno.h>
#include <sys/socket.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"

static ssize_t receive_plain(PlkTransport *t, void *buf, size_t len)
{
    ssize_t n;

    do
        n = recv(t->fd, buf, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t send_plain(PlkTransport *t, const void *buf, size_t len, bool more)
{
    ssize_t n;

    do
        n = send(t->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void close_plain(PlkTransport *t)
{
    close(t->fd);
    free(t);
}

static const PlkTransportOps plain_ops = {.receive = receive_plain, .send = send_plain, .close = close_plain};

PlkTransport *plk_transport_plain(int fd)
{
    PlkTransport *t = plk_malloc(sizeof *t);

    if (!t) {
        close(fd);
        return NULL;
    }
    *t = (PlkTransport){.ops = &plain_ops, .fd = fd, .plain = true};
    return t;
}
