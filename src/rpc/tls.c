/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS, by GnuTLS. One thread may send while another receives, and a session is not for two threads at once:
 * each call into it holds the session's lock, which is never held while anything waits.
 */
#include "rpc/tls.h"

#include <errno.h>
#include <fnmatch.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"

struct PlkTls {
    PlkTlsOptions options;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
};

typedef struct TlsTransport {
    PlkTransport transport; /* first */
    const PlkTls *tls;
    gnutls_session_t session;
    pthread_mutex_t lock;
    char *subject;
    char failure[512]; /* "" = the handshake has not failed */
    enum { SHAKING, WELCOMING, DONE } stage;
} TlsTransport;

/* ---- credentials ---- */

static int load(const PlkTlsOptions *o, gnutls_certificate_credentials_t to, PlkError *err)
{
    int r = gnutls_certificate_set_x509_trust_file(to, o->ca, GNUTLS_X509_FMT_PEM);

    if (r <= 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "no CA certificate in '%s'%s%s", o->ca, r < 0 ? ": " : "",
                        r < 0 ? gnutls_strerror(r) : "");
    r = o->crl ? gnutls_certificate_set_x509_crl_file(to, o->crl, GNUTLS_X509_FMT_PEM) : 0;
    if (r < 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "revocation list '%s': %s", o->crl, gnutls_strerror(r));
    r = gnutls_certificate_set_x509_key_file(to, o->cert, o->key, GNUTLS_X509_FMT_PEM);
    if (r < 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "certificate '%s' with key '%s': %s", o->cert, o->key, gnutls_strerror(r));
    return 0;
}

int plk_tls_new(const PlkTlsOptions *options, PlkTls **ret, PlkError *err)
{
    PlkTls *tls = plk_calloc(1, sizeof *tls);
    const char *at = NULL;

    if (!tls)
        return plk_fail_nomem(err);
    tls->options = *options;
    if (gnutls_certificate_allocate_credentials(&tls->credentials) < 0) {
        plk_tls_free(tls);
        return plk_fail_nomem(err);
    }
    if (gnutls_priority_init(&tls->priority, options->priority, &at) < 0) {
        plk_tls_free(tls);
        return plk_fail(err, PLK_ERROR_CONFIG, "TLS priority '%s' is not understood from '%s' on",
                        options->priority ? options->priority : "", at ? at : "");
    }
    if (load(options, tls->credentials, err) < 0) {
        plk_tls_free(tls);
        return -1;
    }
    *ret = tls;
    return 0;
}

void plk_tls_free(PlkTls *tls)
{
    if (tls->priority)
        gnutls_priority_deinit(tls->priority);
    if (tls->credentials)
        gnutls_certificate_free_credentials(tls->credentials);
    free(tls);
}

/* ---- the handshake ---- */

static int map(ssize_t r)
{
    return r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED ? -EAGAIN : -ECONNABORTED;
}

/* The distinguished name of the client's own certificate; NULL: it has none. */
static char *subject_of(gnutls_session_t session)
{
    unsigned n = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &n);
    gnutls_x509_crt_t crt;
    gnutls_datum_t dn = {NULL, 0};
    char *subject = NULL;

    if (!chain || n == 0 || gnutls_x509_crt_init(&crt) < 0)
        return NULL;
    if (gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) == 0 &&
        gnutls_x509_crt_get_dn3(crt, &dn, GNUTLS_X509_DN_FLAG_COMPAT) == 0)
        subject = plk_printf("%.*s", (int)dn.size, (const char *)dn.data);
    gnutls_free(dn.data);
    gnutls_x509_crt_deinit(crt);
    return subject;
}

static bool is_allowed(const char *subject, const char *const *patterns)
{
    if (!patterns)
        return true;
    for (; subject && *patterns; patterns++)
        if (fnmatch(*patterns, subject, 0) == 0)
            return true;
    return false;
}

static int refuse(TlsTransport *t, const char *why, const char *what)
{
    char raw[sizeof t->failure];

    snprintf(raw, sizeof raw, "%s%s", why, what);
    plk_escape(t->failure, sizeof t->failure, raw); /* names in certificates are what somebody else wrote */
    return -EACCES;
}

static int refuse_certificate(TlsTransport *t, unsigned status)
{
    gnutls_datum_t text = {NULL, 0};
    int r;

    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0)
        return refuse(t, "the client's certificate is not trusted", "");
    r = refuse(t, "the client's certificate: ", (const char *)text.data);
    gnutls_free(text.data);
    return r;
}

static int verify(TlsTransport *t)
{
    unsigned status = 0;
    int r;

    t->subject = subject_of(t->session);
    if (t->tls->options.trust_anybody)
        return 0;
    r = gnutls_certificate_verify_peers2(t->session, &status);
    if (r < 0)
        return refuse(t, "the client's certificate: ", gnutls_strerror(r));
    if (status)
        return refuse_certificate(t, status);
    if (!t->subject || !is_allowed(t->subject, t->tls->options.allowed))
        return refuse(t, "not on the list of names: ", t->subject ? t->subject : "a certificate without a name");
    return 0;
}

static int shake(PlkTransport *transport, short *ret_events)
{
    TlsTransport *t = (TlsTransport *)transport;
    ssize_t r;

    PLK_LOCKED(&t->lock);
    *ret_events = POLLIN;
    if (t->stage == SHAKING) {
        r = gnutls_handshake(t->session);
        if (r < 0 && gnutls_record_get_direction(t->session))
            *ret_events = POLLOUT;
        if (r < 0 && !gnutls_error_is_fatal((int)r))
            return -EAGAIN;
        if (r < 0) {
            refuse(t, "TLS: ", gnutls_strerror((int)r));
            return -ECONNABORTED;
        }
        if (verify(t) < 0)
            return -EACCES;
        t->stage = WELCOMING;
    }
    r = gnutls_record_send(t->session, "\1", 1);
    if (r < 0) {
        *ret_events = POLLOUT;
        return map(r);
    }
    t->stage = DONE;
    return 0;
}

/* ---- bytes ---- */

static ssize_t receive(PlkTransport *transport, void *buf, size_t len)
{
    TlsTransport *t = (TlsTransport *)transport;
    ssize_t n;

    PLK_LOCKED(&t->lock);
    n = gnutls_record_recv(t->session, buf, len);
    return n >= 0 ? n : map(n);
}

static ssize_t send_some(PlkTransport *transport, const void *buf, size_t len, bool more)
{
    TlsTransport *t = (TlsTransport *)transport;
    ssize_t n;

    PLK_LOCKED(&t->lock);
    n = gnutls_record_send(t->session, buf, len);
    return n >= 0 ? n : map(n);
}

static bool buffered(PlkTransport *transport)
{
    TlsTransport *t = (TlsTransport *)transport;

    PLK_LOCKED(&t->lock);
    return gnutls_record_check_pending(t->session) > 0;
}

static const char *subject(PlkTransport *transport)
{
    return ((TlsTransport *)transport)->subject;
}

static const char *failure(PlkTransport *transport)
{
    return ((TlsTransport *)transport)->failure;
}

static void close_tls(PlkTransport *transport)
{
    TlsTransport *t = (TlsTransport *)transport;

    gnutls_deinit(t->session);
    close(transport->fd);
    pthread_mutex_destroy(&t->lock);
    free(t->subject);
    free(t);
}

static const PlkTransportOps ops = {
    .receive = receive,
    .send = send_some,
    .handshake = shake,
    .buffered = buffered,
    .subject = subject,
    .failure = failure,
    .close = close_tls,
};

PlkTransport *plk_tls_wrap(void *arg, int fd)
{
    const PlkTls *tls = arg;
    TlsTransport *t = plk_calloc(1, sizeof *t);

    if (!t || gnutls_init(&t->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0) {
        free(t);
        close(fd);
        return NULL;
    }
    t->transport = (PlkTransport){.ops = &ops, .fd = fd};
    t->tls = tls;
    pthread_mutex_init(&t->lock, NULL);
    gnutls_priority_set(t->session, tls->priority);
    gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, tls->credentials);
    gnutls_certificate_server_set_request(t->session,
                                          tls->options.trust_anybody ? GNUTLS_CERT_REQUEST : GNUTLS_CERT_REQUIRE);
    gnutls_transport_set_int(t->session, fd);
    return &t->transport;
}
