/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SASL, by libsasl2, in libvirt's three procedures: which mechanisms, the first step, each further one. On a
 * transport anybody can read, what follows is wrapped in the layer that was agreed on, from the first byte behind
 * the reply that completes it.
 */
#pragma once

#include "rpc/call.h"
#include "rpc/protocol.h"

typedef struct PlkSaslOptions {
    const char *app;              /* /etc/sasl2/APP.conf says which mechanisms there are */
    const char *const *allowed;   /* shell patterns of user names, NULL-terminated; NULL = all that can log in */
} PlkSaslOptions;

/* Once for the process. */
int plk_sasl_setup(const PlkSaslOptions *options, PlkError *err);

/* The procedures; *state is one peer's, NULL at first, freed with plk_sasl_free(). */
typedef struct PlkSasl PlkSasl;
int plk_sasl_mechanisms(PlkSasl **state, PlkPeer *peer, rpc_name *ret, PlkError *err);
int plk_sasl_start(PlkSasl **state, PlkPeer *peer, const rpc_sasl_start *args, rpc_sasl_reply *ret, PlkError *err);
int plk_sasl_step(PlkSasl **state, PlkPeer *peer, const rpc_sasl_step *args, rpc_sasl_reply *ret, PlkError *err);
void plk_sasl_free(PlkSasl *sasl); /* NULL is fine */
/* When the reply that completes it is out. */
void plk_sasl_layer(PlkSasl *sasl, PlkPeer *peer);

/* For a PlkListener on plain TCP: bytes as they are, until a layer is agreed on. */
PlkTransport *plk_sasl_wrap(void *arg, int fd);
