/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The connection itself: opening, what we are and can do, who speaks. */
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "daemon/daemon.h"
#include "rpc/keepalive.h"

#define OPEN_READ_ONLY 1u
#define OPEN_NO_ALIASES 2u

/* libvirt's: the one whose interface and XML these are. */
#define LIBVIRT_VERSION 9000000ull

enum { FEATURE_KEEPALIVE = 10, FEATURE_EVENT_CALLBACK = 14, FEATURE_CLOSE_CALLBACK = 15 };

/* No name at all leaves the choice to us. */
PLK_PROCEDURE(open)
{
    const rpc_open *a = args;
    const char *uri = plk_daemon(call)->uri, *asked = a->name && **a->name ? *a->name : uri;
    PlkPeer *peer = call->peer;

    if (plk_check_flags(a->flags, OPEN_READ_ONLY | OPEN_NO_ALIASES, "virConnectOpen", err) < 0)
        return -1;
    if (strcmp(asked, uri))
        return plk_fail(err, PLK_ERROR_INTERNAL, "no connection to '%s' here, only to '%s'", asked, uri);
    if (plk_allow(call->peer, PLK_CONNECT_GETATTR, NULL, err) < 0)
        return -1;
    PLK_LOCKED(&peer->lock);
    if (peer->opened)
        return plk_fail(err, PLK_ERROR_INTERNAL, "connection is open already");
    peer->opened = true;
    peer->read_only |= (a->flags & OPEN_READ_ONLY) != 0;
    return 0;
}

PLK_PROCEDURE(close)
{
    call->last = true;
    return 0;
}

static int tell_text(const char *text, void *ret)
{
    ((rpc_name *)ret)->text = g_strdup(text);
    return 0;
}

static int tell_number(uint64_t number, void *ret)
{
    ((rpc_uhyper *)ret)->value = number;
    return 0;
}

PLK_PROCEDURE(type)
{
    return plk_allow(call->peer, PLK_CONNECT_GETATTR, NULL, err) < 0 ? -1 : tell_text("storage", ret);
}

PLK_PROCEDURE(version)
{
    return plk_allow(call->peer, PLK_CONNECT_GETATTR, NULL, err) < 0 ? -1 : tell_number(LIBVIRT_VERSION, ret);
}

PLK_PROCEDURE(lib_version)
{
    return plk_allow(call->peer, PLK_CONNECT_GETATTR, NULL, err) < 0 ? -1 : tell_number(LIBVIRT_VERSION, ret);
}

PLK_PROCEDURE(uri)
{
    return plk_allow(call->peer, PLK_CONNECT_GETATTR, NULL, err) < 0 ? -1 : tell_text(plk_daemon(call)->uri, ret);
}

PLK_PROCEDURE(hostname)
{
    char name[256] = "localhost";

    if (plk_allow(call->peer, PLK_CONNECT_GETATTR, NULL, err) < 0)
        return -1;
    gethostname(name, sizeof name - 1);
    return tell_text(name, ret);
}

PLK_PROCEDURE(capabilities)
{
    bool supported[PLK_POOL_TYPES];

    if (plk_allow(call->peer, PLK_CONNECT_READ, NULL, err) < 0)
        return -1;
    plk_storage_supported(supported);
    ((rpc_name *)ret)->text = plk_capabilities_format(supported);
    return 0;
}

PLK_PROCEDURE(is_secure)
{
    ((rpc_int *)ret)->value = plk_session(call)->secure;
    return 0;
}

/* Asked before OPEN, too: only keepalive may be, and asking for it switches it on. */
PLK_PROCEDURE(feature)
{
    int feature = ((const rpc_int *)args)->value;
    bool opened;

    pthread_mutex_lock(&call->peer->lock);
    opened = call->peer->opened;
    pthread_mutex_unlock(&call->peer->lock);
    if (feature == FEATURE_KEEPALIVE)
        plk_keepalive_begin(call->peer);
    else if (!opened)
        return plk_fail(err, PLK_ERROR_INTERNAL, "connection not open");
    ((rpc_int *)ret)->value = feature == FEATURE_KEEPALIVE || feature == FEATURE_EVENT_CALLBACK ||
                              feature == FEATURE_CLOSE_CALLBACK;
    return 0;
}

/* The client wants to hear when the connection breaks, which it hears anyway. */
PLK_PROCEDURE(close_callback)
{
    return plk_allow(call->peer, PLK_CONNECT_GETATTR, NULL, err);
}

/* ---- who speaks: a relay tells for whom ---- */

static int take_param(PlkIdentity *identity, const rpc_param *p, PlkError *err)
{
    const rpc_param_value *v = &p->value;
    const struct {
        const char *field;
        int type;
        char **text;
    } texts[] = {
        {"user-name", 7, &identity->user},         {"group-name", 7, &identity->group},
        {"sasl-user-name", 7, &identity->sasl},    {"x509-distinguished-name", 7, &identity->x509},
        {"selinux-context", 7, &identity->selinux},
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(p->field, texts[i].field) == 0 && v->type == texts[i].type) {
            g_free(*texts[i].text);
            *texts[i].text = g_strdup(v->rpc_param_value_u.s);
            return 0;
        }
    if (strcmp(p->field, "unix-user-id") == 0 && v->type == 4)
        identity->uid = (uid_t)v->rpc_param_value_u.ul;
    else if (strcmp(p->field, "unix-group-id") == 0 && v->type == 4)
        identity->gid = (gid_t)v->rpc_param_value_u.ul;
    else if (strcmp(p->field, "process-id") == 0 && v->type == 3)
        identity->pid = (pid_t)v->rpc_param_value_u.l;
    else if (strcmp(p->field, "process-time") == 0 && v->type == 4)
        identity->start_time = v->rpc_param_value_u.ul;
    else
        return plk_fail(err, PLK_ERROR_ARGUMENT, "unknown parameter '%s' of type %d in an identity", p->field, v->type);
    return 0;
}

/* Rights are asked of polkit for whoever a relay says it speaks for, so it must be one that could do without asking. */
static int may_speak_for_others(PlkPeer *peer, PlkError *err)
{
    PLK_LOCKED(&peer->lock);
    return peer->identity.uid == 0 || peer->identity.uid == geteuid()
               ? 0
               : plk_fail(err, PLK_ERROR_DENIED, "only root, and the user of this daemon, may speak for others");
}

/* All of it or nothing; what is not told is not known from now on. */
PLK_PROCEDURE(set_identity)
{
    const rpc_identity *a = args;
    PlkIdentity now = {.uid = (uid_t)-1, .gid = (gid_t)-1};
    int r = 0;

    if (plk_check_flags(a->flags, 0, "virConnectSetIdentity", err) < 0 || may_speak_for_others(call->peer, err) < 0 ||
        plk_allow(call->peer, PLK_CONNECT_WRITE, NULL, err) < 0)
        return -1;
    for (u_int i = 0; i < a->params.params_len && r == 0; i++)
        r = take_param(&now, &a->params.params_val[i], err);
    if (r == 0 && a->params.params_len) {
        PlkIdentity was;

        pthread_mutex_lock(&call->peer->lock);
        was = call->peer->identity;
        call->peer->identity = now;
        pthread_mutex_unlock(&call->peer->lock);
        now = was;
    }
    g_free(now.user);
    g_free(now.group);
    g_free(now.sasl);
    g_free(now.x509);
    g_free(now.selinux);
    return r;
}
