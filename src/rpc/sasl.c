/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SASL. Until a peer has shown who it is, one thread at a time has to do with it (rpc/call.c), so its state needs
 * no lock. The layer does: one thread may encode while another decodes.
 *
 * Bytes that the layer has encoded must all go out before the next are encoded, and the sender counts plain ones: it is
 * told that the plain ones are gone as soon as they are encoded, and what is encoded goes first at the next call.
 */
#include "rpc/sasl.h"

#include <errno.h>
#include <fnmatch.h>
#include <glib.h>
#include <netdb.h>
#include <pthread.h>
#include <sasl/sasl.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/math.h"

#define LAYER_MIN_SSF 56 /* on transports anybody can read */
#define CHUNK 8192

static PlkSaslOptions setup;

/* ---- the layer ---- */

typedef struct Layer {
    PlkTransport transport; /* first */
    PlkTransport *below;
    pthread_mutex_t lock;
    sasl_conn_t *conn; /* NULL: there is no layer (yet). The peer's PlkSasl owns it and lives longer. */
    GByteArray *in;    /* decoded */
    size_t in_at;
    GByteArray *out; /* encoded */
    size_t out_at;
} Layer;

static Layer *layer_of(PlkTransport *t)
{
    return (Layer *)t;
}

/* Lock held. 0: all is out. */
static int flush(Layer *l)
{
    while (l->out_at < l->out->len) {
        ssize_t n = l->below->ops->send(l->below, l->out->data + l->out_at, l->out->len - l->out_at, false);

        if (n < 0)
            return (int)n;
        l->out_at += (size_t)n;
    }
    g_byte_array_set_size(l->out, 0);
    l->out_at = 0;
    return 0;
}

static ssize_t send_layer(PlkTransport *t, const void *buf, size_t len, bool more)
{
    Layer *l = layer_of(t);
    const char *encoded;
    unsigned n;
    int r;

    PLK_LOCKED(&l->lock);
    if (!l->conn)
        return l->below->ops->send(l->below, buf, len, more);
    r = flush(l);
    if (r < 0)
        return r;
    len = PLK_MIN(len, (size_t)CHUNK);
    if (sasl_encode(l->conn, buf, (unsigned)len, &encoded, &n) != SASL_OK)
        return -EIO;
    g_byte_array_append(l->out, (const guint8 *)encoded, n);
    r = flush(l);
    return r < 0 && r != -EAGAIN ? r : (ssize_t)len;
}

/* Lock held. Decodes what there is; 0 at the end, -EAGAIN: nothing came. */
static ssize_t decode_some(Layer *l)
{
    uint8_t raw[CHUNK];
    ssize_t n = l->below->ops->receive(l->below, raw, sizeof raw);
    const char *decoded;
    unsigned len;

    if (n <= 0)
        return n;
    if (sasl_decode(l->conn, (const char *)raw, (unsigned)n, &decoded, &len) != SASL_OK)
        return -EPROTO;
    g_byte_array_set_size(l->in, 0);
    l->in_at = 0;
    g_byte_array_append(l->in, (const guint8 *)decoded, len);
    return n;
}

static ssize_t receive_layer(PlkTransport *t, void *buf, size_t len)
{
    Layer *l = layer_of(t);
    ssize_t r;

    PLK_LOCKED(&l->lock);
    if (!l->conn)
        return l->below->ops->receive(l->below, buf, len);
    while (l->in_at == l->in->len) { /* a whole packet may take more than one read */
        r = decode_some(l);
        if (r <= 0)
            return r;
    }
    len = PLK_MIN(len, l->in->len - l->in_at);
    memcpy(buf, l->in->data + l->in_at, len);
    l->in_at += len;
    return (ssize_t)len;
}

static bool buffered_layer(PlkTransport *t)
{
    Layer *l = layer_of(t);

    PLK_LOCKED(&l->lock);
    return l->in_at < l->in->len;
}

/* Encoded bytes that the sender takes for sent. */
static int unsent_layer(PlkTransport *t)
{
    Layer *l = layer_of(t);

    PLK_LOCKED(&l->lock);
    return l->conn ? flush(l) : 0;
}

static void close_layer(PlkTransport *t)
{
    Layer *l = layer_of(t);

    l->below->ops->close(l->below);
    g_byte_array_free(l->in, true);
    g_byte_array_free(l->out, true);
    pthread_mutex_destroy(&l->lock);
    g_free(l);
}

static const PlkTransportOps layer_ops = {.receive = receive_layer, .send = send_layer, .buffered = buffered_layer,
                                          .flush = unsent_layer, .close = close_layer};

PlkTransport *plk_sasl_wrap(void *arg, int fd)
{
    PlkTransport *below = plk_transport_plain(fd);
    Layer *l;

    if (!below)
        return NULL;
    l = g_new0(Layer, 1);
    l->transport = (PlkTransport){.ops = &layer_ops, .fd = fd};
    l->below = below;
    l->in = g_byte_array_new();
    l->out = g_byte_array_new();
    pthread_mutex_init(&l->lock, NULL);
    return &l->transport;
}

/* ---- the exchange ---- */

/* libsasl does not bear a step of what has never begun, or has failed: after a failure nothing is asked of it any more. */
struct PlkSasl {
    sasl_conn_t *conn;
    enum { NEW, STARTED, OVER } stage;
};

int plk_sasl_setup(const PlkSaslOptions *options, PlkError *err)
{
    int r = sasl_server_init(NULL, options->app);

    setup = *options;
    return r == SASL_OK ? 0 : plk_fail(err, PLK_ERROR_CONFIG, "SASL: %s", sasl_errstring(r, NULL, NULL));
}

void plk_sasl_free(PlkSasl *sasl)
{
    if (!sasl)
        return;
    sasl_dispose(&sasl->conn);
    g_free(sasl);
}

/* Is what travels here anybody's to read? */
static bool wants_layer(const PlkPeer *peer)
{
    return peer->transport->ops == &layer_ops;
}

/* "address;port", as libsasl has it. NULL: a unix socket, in whose name it would look for an address. */
static char *address(int fd, bool remote)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if ((remote ? getpeername : getsockname)(fd, (struct sockaddr *)&a, &len) < 0 || a.ss_family == AF_UNIX ||
        getnameinfo((struct sockaddr *)&a, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
        return NULL;
    return g_strdup_printf("%s;%s", host, port);
}

static int fail(PlkSasl *sasl, int r, PlkError *err)
{
    sasl->stage = OVER;
    plk_debug(PLK_DEBUG_RPC, "sasl: %s", sasl_errdetail(sasl->conn));
    return plk_fail(err, PLK_ERROR_AUTH, "authentication failed: %s", sasl_errstring(r, NULL, NULL));
}

static int begin(PlkSasl **state, PlkPeer *peer, PlkError *err)
{
    bool layer = wants_layer(peer);
    sasl_security_properties_t props = {.min_ssf = layer ? LAYER_MIN_SSF : 0, .max_ssf = layer ? 100000 : 0,
                                        .maxbufsize = CHUNK,
                                        .security_flags = layer ? SASL_SEC_NOANONYMOUS | SASL_SEC_NOPLAINTEXT : 0};
    g_autofree char *here = address(peer->transport->fd, false), *there = address(peer->transport->fd, true);
    PlkSasl *sasl;
    int r;

    if (*state)
        return plk_fail(err, PLK_ERROR_AUTH, "SASL has begun already");
    *state = sasl = g_new0(PlkSasl, 1);
    r = sasl_server_new("libvirt", NULL, NULL, here, there, NULL, SASL_SUCCESS_DATA, &sasl->conn);
    if (r == SASL_OK)
        r = sasl_setprop(sasl->conn, SASL_SEC_PROPS, &props);
    return r == SASL_OK ? 0 : fail(sasl, r, err);
}

int plk_sasl_mechanisms(PlkSasl **state, PlkPeer *peer, rpc_name *ret, PlkError *err)
{
    const char *list;
    int r;

    if (begin(state, peer, err) < 0)
        return -1;
    r = sasl_listmech((*state)->conn, NULL, "", ",", "", &list, NULL, NULL);
    if (r != SASL_OK)
        return fail(*state, r, err);
    ret->text = g_strdup(list);
    return 0;
}

static int check_user(PlkSasl *sasl, PlkPeer *peer, PlkError *err)
{
    const char *const *p = setup.allowed;
    const void *user = NULL;

    if (sasl_getprop(sasl->conn, SASL_USERNAME, &user) != SASL_OK || !user)
        return plk_fail(err, PLK_ERROR_AUTH, "SASL tells no user name");
    while (p && *p && fnmatch(*p, user, 0))
        p++;
    if (p && !*p)
        return plk_fail(err, PLK_ERROR_AUTH, "user '%s' is not on the list", (const char *)user);
    PLK_LOCKED(&peer->lock);
    peer->identity.sasl = g_strdup(user);
    return 0;
}

/* It is over: who it is, and whether the layer is strong enough. */
static int complete(PlkSasl *sasl, PlkPeer *peer, PlkError *err)
{
    const void *ssf = NULL;

    if (check_user(sasl, peer, err) < 0)
        return -1;
    if (wants_layer(peer) &&
        (sasl_getprop(sasl->conn, SASL_SSF, &ssf) != SASL_OK || *(const int *)ssf < LAYER_MIN_SSF))
        return plk_fail(err, PLK_ERROR_AUTH, "the SASL layer is too weak for a transport that is not encrypted");
    PLK_LOCKED(&peer->lock);
    peer->authenticated = true;
    return 0;
}

/* What libsasl answered to a step. */
static int answer(PlkSasl *sasl, PlkPeer *peer, int r, const char *out, unsigned len, rpc_sasl_reply *ret, PlkError *err)
{
    if (r != SASL_OK && r != SASL_CONTINUE)
        return fail(sasl, r, err);
    sasl->stage = r == SASL_OK ? OVER : STARTED;
    if (len > RPC_SASL_MAX)
        return plk_fail(err, PLK_ERROR_AUTH, "a SASL answer of %u bytes", len);
    if (r == SASL_OK && complete(sasl, peer, err) < 0)
        return -1;
    ret->complete = r == SASL_OK;
    ret->nil = out == NULL;
    ret->data.data_len = out ? len : 0;
    ret->data.data_val = out ? g_memdup2(out, len) : NULL;
    return 0;
}

int plk_sasl_start(PlkSasl **state, PlkPeer *peer, const rpc_sasl_start *args, rpc_sasl_reply *ret, PlkError *err)
{
    const char *out = NULL;
    unsigned len = 0;
    int r;

    if (!*state || (*state)->stage != NEW)
        return plk_fail(err, PLK_ERROR_AUTH, "SASL out of order");
    r = sasl_server_start((*state)->conn, args->mech, args->nil ? NULL : args->data.data_val,
                          args->nil ? 0 : args->data.data_len, &out, &len);
    return answer(*state, peer, r, out, len, ret, err);
}

int plk_sasl_step(PlkSasl **state, PlkPeer *peer, const rpc_sasl_step *args, rpc_sasl_reply *ret, PlkError *err)
{
    const char *out = NULL;
    unsigned len = 0;
    int r;

    if (!*state || (*state)->stage != STARTED)
        return plk_fail(err, PLK_ERROR_AUTH, "SASL out of order");
    r = sasl_server_step((*state)->conn, args->nil ? NULL : args->data.data_val, args->nil ? 0 : args->data.data_len,
                         &out, &len);
    return answer(*state, peer, r, out, len, ret, err);
}

void plk_sasl_layer(PlkSasl *sasl, PlkPeer *peer)
{
    Layer *l = layer_of(peer->transport);

    if (!wants_layer(peer))
        return;
    PLK_LOCKED(&l->lock);
    l->conn = sasl->conn;
}
