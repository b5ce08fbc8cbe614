/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The other end of rpc/server.h, as simple as a command needs it: one connection to a daemon on this host, one call at a time,
 * each waited for. What comes unasked (events) is passed over.
 *
 * One thread. Errors of the daemon come back with its words, under the code that stands for its number here.
 */
#pragma once

#include <rpc/rpc.h>

#include <ploopkit/error.h>

typedef struct PlkClient PlkClient;

/* Connects to the unix socket and opens a connection on it. STATE when nobody listens, AUTH when more than being who we are is
 * asked for. */
int plk_client_open(const char *socket_path, PlkClient **ret, PlkError *err);
void plk_client_close(PlkClient *client);
static inline void plk_client_closep(PlkClient **client)
{
    if (*client)
        plk_client_close(*client);
}

/*
 * encode and decode: xdr_ functions of rpc/protocol.h, or NULL where there is nothing. *ret (size bytes) is to be freed with
 * xdr_free(decode, ret).
 */
int plk_client_call(PlkClient *client, int procedure, xdrproc_t encode, const void *arguments, xdrproc_t decode, void *ret,
                    size_t size, PlkError *err);
