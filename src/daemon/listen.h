/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sockets ploopd listens on. */
#pragma once

#include "daemon/daemon.h"

typedef struct PlkUnixSocket {
    const char *path;
    bool read_only;
    PlkAuth auth;
    int mode;          /* of the socket file */
    const char *group; /* NULL = ours */
} PlkUnixSocket;

/* A stale socket file is replaced; one on which somebody listens is not: STATE. */
int plk_listen_unix(PlkDaemon *daemon, const PlkUnixSocket *socket, PlkError *err);
/* Sockets that systemd opened for us, the read-write one first, the read-only one second. *ret_n: how many. */
int plk_listen_systemd(PlkDaemon *daemon, PlkAuth auth, unsigned *ret_n, PlkError *err);
