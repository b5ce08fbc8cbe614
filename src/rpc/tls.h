/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS as libvirt has it: certificates on both sides, and one byte 1 from the server, inside TLS, when it has accepted the
 * client's. Until then a client sends nothing.
 */
#pragma once

#include <ploopkit/error.h>

#include "rpc/transport.h"

typedef struct PlkTls PlkTls;

typedef struct PlkTlsOptions {
    const char *ca, *crl;         /* PEM files; crl may be NULL */
    const char *cert, *key;       /* of the server */
    bool trust_anybody;           /* clients need no certificate */
    const char *const *allowed;   /* shell patterns of distinguished names, NULL-terminated; NULL = all the CA signed */
    const char *priority;         /* GnuTLS's words; NULL = its default */
} PlkTlsOptions;

/* Reads the files. CONFIG naming the one that is wrong. Options are borrowed and must outlive the result. */
int plk_tls_new(const PlkTlsOptions *options, PlkTls **ret, PlkError *err);
void plk_tls_free(PlkTls *tls);
/* For a PlkListener: arg is the PlkTls. */
PlkTransport *plk_tls_wrap(void *arg, int fd);
