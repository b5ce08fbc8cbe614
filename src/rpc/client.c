/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection to a daemon, from the side of who asks. */
#include "rpc/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "conf/libvirt-error.h"
#include "rpc/protocol.h"
#include "rpc/wire.h"

/* The procedures every connection begins and ends with: docs/protocol/procedures.md. */
#define CONNECT_OPEN 1
#define AUTH_LIST 66
#define AUTH_POLKIT 70
#define AUTH_IS_POLKIT 2

struct PlkClient {
    int fd;
    uint32_t serial;
};

/* ---- frames ---- */

static int send_all(PlkClient *client, const PlkMessage *message)
{
    for (size_t sent = 0; sent < message->frame.length;) {
        ssize_t n = send(client->fd, message->bytes + sent, message->frame.length - sent, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            return -errno;
        sent += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int receive_all(PlkClient *client, uint8_t *bytes, size_t len)
{
    while (len) {
        ssize_t n = recv(client->fd, bytes, len, 0);

        if (n == 0)
            return -ECONNRESET;
        if (n < 0 && errno != EINTR)
            return -errno;
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* A whole frame; NULL with -errno. */
static PlkMessage *receive(PlkClient *client, int *ret_error)
{
    uint8_t head[PLK_FRAME_HEAD];
    PlkMessage *message;
    PlkFrame frame;

    *ret_error = receive_all(client, head, sizeof head);
    if (*ret_error < 0)
        return NULL;
    plk_frame_decode(head, &frame);
    *ret_error = -EPROTO;
    if (frame.length < PLK_FRAME_HEAD || frame.length > PLK_FRAME_MAX)
        return NULL;
    message = plk_message_new(&frame);
    *ret_error = -ENOMEM;
    if (message)
        *ret_error = receive_all(client, message->bytes + PLK_FRAME_HEAD, frame.length - PLK_FRAME_HEAD);
    if (*ret_error == 0)
        return message;
    free(message);
    return NULL;
}

/* ---- a call ---- */

/* One of our codes in that range that libvirt's number stands for. */
static PlkErrorCode find_code(int libvirt, PlkErrorCode first, PlkErrorCode last)
{
    for (PlkErrorCode code = first; code <= last; code++) {
        PlkError as = {.code = code};

        if (plk_libvirt_error(&as).code == libvirt)
            return code;
    }
    return PLK_OK;
}

/* Several codes share a number. Those of pools are what libvirt's numbers were made for, so they come first. */
static PlkErrorCode code_of(int libvirt)
{
    PlkErrorCode code = find_code(libvirt, PLK_ERROR_XML, PLK_ERROR_DENIED);

    if (code == PLK_OK)
        code = find_code(libvirt, PLK_ERROR_ARGUMENT, PLK_ERROR_INTERNAL);
    return code == PLK_OK ? PLK_ERROR_SYSTEM : code;
}

static int fail_remotely(const PlkMessage *reply, PlkError *err)
{
    rpc_error error;
    int r;

    if (!plk_message_decode(reply, (xdrproc_t)xdr_rpc_error, &error, sizeof error))
        return plk_fail(err, PLK_ERROR_RPC, "the daemon's error cannot be understood");
    r = plk_fail(err, code_of(error.code), "%s", error.str2 ? *error.str2 : error.message ? *error.message : "unknown");
    xdr_free((xdrproc_t)xdr_rpc_error, (char *)&error);
    return r;
}

/* The answer to this serial; NULL with *err. */
static PlkMessage *await(PlkClient *client, uint32_t serial, PlkError *err)
{
    for (;;) {
        int error;
        PlkMessage *message = receive(client, &error);

        if (!message) {
            plk_fail_errno(err, PLK_ERROR_RPC, -error, "the daemon did not answer");
            return NULL;
        }
        if (message->frame.type == PLK_FRAME_REPLY && message->frame.serial == serial)
            return message;
        free(message);
    }
}

static int understand(const PlkMessage *reply, xdrproc_t decode, void *ret, size_t size, PlkError *err)
{
    if (reply->frame.status == PLK_FRAME_ERROR)
        return fail_remotely(reply, err);
    if (!decode || plk_message_decode(reply, decode, ret, size))
        return 0;
    return plk_fail(err, PLK_ERROR_RPC, "the daemon's answer cannot be understood");
}

int plk_client_call(PlkClient *client, int procedure, xdrproc_t encode, const void *arguments, xdrproc_t decode, void *ret,
                    size_t size, PlkError *err)
{
    PlkFrame frame = {.program = PLK_PROGRAM_REMOTE, .version = 1, .procedure = procedure, .type = PLK_FRAME_CALL,
                      .serial = ++client->serial, .length = PLK_FRAME_HEAD};
    PLK_FREE PlkMessage *call = plk_message_encode(frame, encode, arguments);
    PLK_FREE PlkMessage *reply = NULL;
    int r;

    if (!call)
        return plk_fail_nomem(err);
    r = send_all(client, call);
    if (r < 0)
        return plk_fail_errno(err, PLK_ERROR_RPC, -r, "cannot talk to the daemon");
    reply = await(client, client->serial, err);
    return reply ? understand(reply, decode, ret, size, err) : -1;
}

/* ---- a connection ---- */

/* Being who we are is enough, or polkit is to be asked. */
static int authenticate(PlkClient *client, PlkError *err)
{
    rpc_auth_types types;
    rpc_int complete;
    bool none, polkit = false;

    if (plk_client_call(client, AUTH_LIST, NULL, NULL, (xdrproc_t)xdr_rpc_auth_types, &types, sizeof types, err) < 0)
        return -1;
    none = types.types.types_len == 0;
    for (u_int i = 0; i < types.types.types_len; i++) {
        none = none || types.types.types_val[i] == 0;
        polkit = polkit || types.types.types_val[i] == AUTH_IS_POLKIT;
    }
    xdr_free((xdrproc_t)xdr_rpc_auth_types, (char *)&types);
    if (none)
        return 0;
    if (!polkit)
        return plk_fail(err, PLK_ERROR_AUTH, "the daemon wants a password; talk to it with virsh");
    return plk_client_call(client, AUTH_POLKIT, NULL, NULL, (xdrproc_t)xdr_rpc_int, &complete, sizeof complete, err);
}

static int introduce(PlkClient *client, PlkError *err)
{
    rpc_text name = (char *)(geteuid() == 0 ? "storage:///system" : "storage:///session");
    rpc_open open = {.name = &name};

    return authenticate(client, err) < 0
               ? -1
               : plk_client_call(client, CONNECT_OPEN, (xdrproc_t)xdr_rpc_open, &open, NULL, NULL, 0, err);
}

int plk_client_open(const char *socket_path, PlkClient **ret, PlkError *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    PlkClient *client;

    if (strlen(socket_path) >= sizeof address.sun_path)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' is too long for a socket", socket_path);
    strcpy(address.sun_path, socket_path);
    client = plk_calloc(1, sizeof *client);
    if (!client)
        return plk_fail_nomem(err);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0)
        plk_fail_errno(err, PLK_ERROR_STATE, errno, "no daemon answers on '%s'", socket_path);
    else if (introduce(client, err) == 0) {
        *ret = client;
        return 0;
    }
    plk_client_close(client);
    return -1;
}

void plk_client_close(PlkClient *client)
{
    if (client->fd >= 0)
        close(client->fd); /* the daemon takes it for a close of the connection */
    free(client);
}
