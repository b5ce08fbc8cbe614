/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may do what. Two gates: who may connect at all (auth_list, auth_polkit, the allow-list of listen.c), and, if
 * access control is switched on, each single right, asked of polkit under libvirt's names.
 */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "daemon/daemon.h"
#include "daemon/polkit.h"

#define ASKED_MAX 64

static const char *const actions[PLK_RIGHTS] = {
    [PLK_CONNECT_GETATTR] = "org.libvirt.api.connect.getattr",
    [PLK_CONNECT_READ] = "org.libvirt.api.connect.read",
    [PLK_CONNECT_WRITE] = "org.libvirt.api.connect.write",
    [PLK_CONNECT_SEARCH_STORAGE_POOLS] = "org.libvirt.api.connect.search-storage-pools",
    [PLK_CONNECT_DETECT_STORAGE_POOLS] = "org.libvirt.api.connect.detect-storage-pools",
    [PLK_POOL_GETATTR] = "org.libvirt.api.storage-pool.getattr",
    [PLK_POOL_READ] = "org.libvirt.api.storage-pool.read",
    [PLK_POOL_WRITE] = "org.libvirt.api.storage-pool.write",
    [PLK_POOL_SAVE] = "org.libvirt.api.storage-pool.save",
    [PLK_POOL_DELETE] = "org.libvirt.api.storage-pool.delete",
    [PLK_POOL_START] = "org.libvirt.api.storage-pool.start",
    [PLK_POOL_STOP] = "org.libvirt.api.storage-pool.stop",
    [PLK_POOL_REFRESH] = "org.libvirt.api.storage-pool.refresh",
    [PLK_POOL_SEARCH_STORAGE_VOLS] = "org.libvirt.api.storage-pool.search-storage-vols",
    [PLK_POOL_FORMAT] = "org.libvirt.api.storage-pool.format",
    [PLK_VOL_GETATTR] = "org.libvirt.api.storage-vol.getattr",
    [PLK_VOL_READ] = "org.libvirt.api.storage-vol.read",
    [PLK_VOL_CREATE] = "org.libvirt.api.storage-vol.create",
    [PLK_VOL_DELETE] = "org.libvirt.api.storage-vol.delete",
    [PLK_VOL_FORMAT] = "org.libvirt.api.storage-vol.format",
    [PLK_VOL_RESIZE] = "org.libvirt.api.storage-vol.resize",
    [PLK_VOL_DATA_READ] = "org.libvirt.api.storage-vol.data-read",
    [PLK_VOL_DATA_WRITE] = "org.libvirt.api.storage-vol.data-write",
};

/* What polkit needs to know of a process. Taken under the lock: a relay may tell of another at any time. */
static PlkIdentity who_asks(PlkPeer *peer)
{
    PLK_LOCKED(&peer->lock);
    return (PlkIdentity){.pid = peer->identity.pid, .uid = peer->identity.uid, .gid = peer->identity.gid,
                         .start_time = peer->identity.start_time};
}

int plk_allow(PlkPeer *peer, PlkRight right, const PlkTarget *on, PlkError *err)
{
    const PlkSession *session = peer->session;
    char uuid[PLK_UUID_CHARS + 1] = "";
    PlkIdentity who;
    PlkError why;

    if (!session->daemon->polkit_access)
        return 0;
    who = who_asks(peer);
    if (on)
        plk_uuid_format(on->uuid, uuid);
    if (plk_polkit_check(&who, actions[right],
                         (const PlkPolkitDetail[]){{"connect_driver", "storage"},
                                                   {"pool_name", on ? on->pool : NULL},
                                                   {"pool_uuid", on ? uuid : NULL},
                                                   {"vol_name", on ? on->volume : NULL},
                                                   {NULL, NULL}},
                         false, &why) == 0)
        return 0;
    return plk_fail(err, PLK_ERROR_DENIED, "%s", why.message);
}

/* ---- who may connect ---- */

static void let_in(PlkPeer *peer)
{
    PLK_LOCKED(&peer->lock);
    peer->authenticated = true;
}

/* A password takes whoever types it longer than a handshake may last. */
static void mark_asked(PlkPeer *peer, bool asked)
{
    PLK_LOCKED(&peer->lock);
    peer->asked = asked;
    peer->since = plk_now_ms();
}

/* Each question keeps a thread; beyond ASKED_MAX of them polkit answers at once, from its rules alone. */
static int ask_polkit(PlkPeer *peer, const char *action, PlkError *err)
{
    static _Atomic unsigned asked;
    PlkIdentity who = who_asks(peer);
    bool room = atomic_fetch_add(&asked, 1) < ASKED_MAX;
    int r;

    mark_asked(peer, room);
    r = plk_polkit_check(&who, action, NULL, room, err);
    mark_asked(peer, false);
    atomic_fetch_sub(&asked, 1);
    return r;
}

/* Root needs no polkit, and is told that nothing is needed. */
PLK_PROCEDURE(auth_list)
{
    rpc_auth_types *types = ret;
    PlkAuth auth = call->peer->listener->auth;

    if (auth == PLK_AUTH_POLKIT && who_asks(call->peer).uid == 0)
        auth = PLK_AUTH_NONE;
    if (auth == PLK_AUTH_NONE)
        let_in(call->peer);
    types->types.types_val = g_new0(int, 1);
    types->types.types_val[0] = auth;
    types->types.types_len = 1;
    return 0;
}

PLK_PROCEDURE(auth_polkit)
{
    const char *action = call->peer->listener->read_only ? "org.libvirt.unix.monitor" : "org.libvirt.unix.manage";

    if (call->peer->listener->auth != PLK_AUTH_POLKIT)
        return plk_fail(err, PLK_ERROR_AUTH, "this socket does not use polkit");
    if (ask_polkit(call->peer, action, err) < 0)
        return -1;
    let_in(call->peer);
    ((rpc_int *)ret)->value = 1;
    return 0;
}

/* ---- SASL ---- */

static int check_sasl(const PlkCall *call, PlkError *err)
{
    return call->peer->listener->auth == PLK_AUTH_SASL ? 0
                                                       : plk_fail(err, PLK_ERROR_AUTH, "this socket does not use SASL");
}

static void begin_layer(PlkPeer *peer)
{
    plk_sasl_layer(((PlkSession *)peer->session)->sasl, peer);
}

PLK_PROCEDURE(auth_sasl_init)
{
    return check_sasl(call, err) < 0 ? -1 : plk_sasl_mechanisms(&plk_session(call)->sasl, call->peer, ret, err);
}

PLK_PROCEDURE(auth_sasl_start)
{
    rpc_sasl_reply *reply = ret;

    if (check_sasl(call, err) < 0 || plk_sasl_start(&plk_session(call)->sasl, call->peer, args, reply, err) < 0)
        return -1;
    call->replied = reply->complete ? begin_layer : NULL;
    return 0;
}

PLK_PROCEDURE(auth_sasl_step)
{
    rpc_sasl_reply *reply = ret;

    if (check_sasl(call, err) < 0 || plk_sasl_step(&plk_session(call)->sasl, call->peer, args, reply, err) < 0)
        return -1;
    call->replied = reply->complete ? begin_layer : NULL;
    return 0;
}
