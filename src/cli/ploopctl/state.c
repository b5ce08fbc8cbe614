/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of pools, here or by the daemon. The numbers are those of docs/protocol/procedures.md. */
#include "state.h"

#include <glib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "rpc/client.h"
#include "rpc/protocol.h"

enum {
    POOL_CREATE_XML = 76, POOL_DEFINE_XML, POOL_CREATE, POOL_BUILD, POOL_DESTROY, POOL_DELETE, POOL_UNDEFINE, POOL_REFRESH,
    POOL_SET_AUTOSTART = 90,
};

static int ask(const char *socket, int procedure, xdrproc_t encode, const void *arguments, xdrproc_t decode, void *ret,
               size_t size, PlkError *err)
{
    plk_cleanup(plk_client_closep) PlkClient *client = NULL;

    return plk_client_open(socket, &client, err) < 0
               ? -1
               : plk_client_call(client, procedure, encode, arguments, decode, ret, size, err);
}

static rpc_pool name_of(const PlkPool *pool)
{
    rpc_pool as = {.name = (char *)plk_pool_name(pool)};

    memcpy(as.uuid, plk_pool_uuid(pool), sizeof as.uuid);
    return as;
}

/* ---- new pools ---- */

static int ask_for_new(PlkSession *session, const char *socket, int procedure, PlkPoolDef *def, unsigned flags, PlkError *err)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *mine = def;
    g_autofree char *xml = plk_pool_def_format(mine);
    rpc_xml_flags arguments = {.xml = xml, .flags = flags};
    rpc_pool made;

    if (ask(socket, procedure, (xdrproc_t)xdr_rpc_xml_flags, &arguments, (xdrproc_t)xdr_rpc_pool, &made, sizeof made, err) < 0)
        return -1;
    xdr_free((xdrproc_t)xdr_rpc_pool, (char *)&made);
    if (plk_storage_reload(session->storage, err) < 0)
        return -1;
    session->pool = plk_storage_pool_by_name(session->storage, mine->name, err);
    return session->pool ? 0 : -1;
}

int plk_state_define(PlkSession *session, PlkPoolDef *def, PlkError *err)
{
    g_autofree char *socket = plk_storage_daemon_socket(session->storage);

    return socket ? ask_for_new(session, socket, POOL_DEFINE_XML, def, 0, err)
                  : plk_storage_define(session->storage, def, &session->pool, err);
}

int plk_state_create(PlkSession *session, PlkPoolDef *def, unsigned flags, PlkError *err)
{
    g_autofree char *socket = plk_storage_daemon_socket(session->storage);

    return socket ? ask_for_new(session, socket, POOL_CREATE_XML, def, flags, err)
                  : plk_storage_create(session->storage, def, flags, &session->pool, err);
}

/* ---- those that are there ---- */

static int ask_with_flags(const PlkSession *session, const char *socket, int procedure, unsigned flags, PlkError *err)
{
    rpc_pool_flags arguments = {.pool = name_of(session->pool), .flags = flags};

    return ask(socket, procedure, (xdrproc_t)xdr_rpc_pool_flags, &arguments, NULL, NULL, 0, err);
}

static int ask_plainly(const PlkSession *session, const char *socket, int procedure, PlkError *err)
{
    rpc_pool arguments = name_of(session->pool);

    return ask(socket, procedure, (xdrproc_t)xdr_rpc_pool, &arguments, NULL, NULL, 0, err);
}

int plk_state_build(PlkSession *session, unsigned flags, PlkError *err)
{
    g_autofree char *socket = plk_storage_daemon_socket(session->storage);

    return socket ? ask_with_flags(session, socket, POOL_BUILD, flags, err) : plk_pool_build(session->pool, flags, err);
}

int plk_state_start(PlkSession *session, unsigned flags, PlkError *err)
{
    g_autofree char *socket = plk_storage_daemon_socket(session->storage);

    return socket ? ask_with_flags(session, socket, POOL_CREATE, flags, err) : plk_pool_start(session->pool, flags, err);
}

int plk_state_destroy(PlkSession *session, PlkError *err)
{
    g_autofree char *socket = plk_storage_daemon_socket(session->storage);

    return socket ? ask_plainly(session, socket, POOL_DESTROY, err) : plk_pool_destroy(session->pool, err);
}

int plk_state_delete(PlkSession *session, PlkError *err)
{
    g_autofree char *socket = plk_storage_daemon_socket(session->storage);

    return socket ? ask_with_flags(session, socket, POOL_DELETE, 0, err) : plk_pool_delete(session->pool, 0, err);
}

int plk_state_undefine(PlkSession *session, PlkError *err)
{
    g_autofree char *socket = plk_storage_daemon_socket(session->storage);

    return socket ? ask_plainly(session, socket, POOL_UNDEFINE, err) : plk_pool_undefine(session->pool, err);
}

int plk_state_refresh(PlkSession *session, PlkError *err)
{
    g_autofree char *socket = plk_storage_daemon_socket(session->storage);

    return socket ? ask_with_flags(session, socket, POOL_REFRESH, 0, err)
                  : plk_pool_refresh(session->pool, plk_cli_progress(), err);
}

int plk_state_set_autostart(PlkSession *session, bool on, PlkError *err)
{
    g_autofree char *socket = plk_storage_daemon_socket(session->storage);
    rpc_pool_int arguments = {.pool = name_of(session->pool), .value = on};

    return socket ? ask(socket, POOL_SET_AUTOSTART, (xdrproc_t)xdr_rpc_pool_int, &arguments, NULL, NULL, 0, err)
                  : plk_pool_set_autostart(session->pool, on, err);
}
