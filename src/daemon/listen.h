/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sockets ploopd listens on. */
#pragma once

#include "daemon/config.h"

typedef struct PlkUnixSocket {
    const char *path;
    bool read_only;
    PlkAuth auth;
    int mode;          /* of the socket file */
    const char *group; /* NULL = ours */
} PlkUnixSocket;

/* A stale socket file is replaced; one on which somebody listens is not: STATE. The descriptor, or -1. */
int plk_bind_unix(const PlkUnixSocket *socket, PlkError *err);

/* All that the config says, and what systemd has opened for us. ARGUMENT when there is nothing at all. */
int plk_listen(PlkDaemon *daemon, const PlkConfig *config, PlkError *err);
/* Removes the socket files that we made; systemd's are systemd's. */
void plk_unlisten(PlkDaemon *daemon);

/* Whether it is a process of this machine: of those the kernel tells the user. */
bool plk_is_local(const PlkPeer *peer);
/* Whether who connected may, by the list of users; fills in what is known of it. */
void plk_admit(PlkPeer *peer, const PlkConfig *config);
/* "user 1000, process 77", "192.0.2.1 port 50000": for the log. g_free. */
char *plk_describe_peer(const PlkPeer *peer);
