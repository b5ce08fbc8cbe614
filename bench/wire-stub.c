/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * wire-stub SOCKET VOLUMES BYTES: a server that answers at once and has nothing behind it. One pool, so many volumes of so many
 * bytes, all zeros; what is uploaded is forgotten. What a client takes with it is the client's own time.
 */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/call.h"
#include "rpc/protocol.h"

#define CONNECT_OPEN 1

static unsigned volumes;
static uint64_t bytes;

/* ---- a volume of zeros ---- */

static int next(PlkStream *s, bool *ret_data, uint64_t *ret_len)
{
    *ret_data = true;
    *ret_len = s->end - s->position;
    return 0;
}

static ssize_t read_zeros(PlkStream *s, void *buf, size_t len)
{
    len = MIN(len, s->end - s->position);
    memset(buf, 0, len);
    s->position += len;
    return (ssize_t)len;
}

static int skip(PlkStream *s, uint64_t len)
{
    s->position += len;
    return 0;
}

static int forget(PlkStream *s, const void *buf, size_t len)
{
    return skip(s, len);
}

static int finish(PlkStream *s, PlkError *err)
{
    return 0;
}

static void end(PlkStream *s)
{
    g_free(s);
}

static const PlkStreamOps ops = {
    .read = read_zeros, .next = next, .skip = skip, .write = forget, .hole = skip, .finish = finish, .close = end};

static PlkStream *zeros(uint64_t size)
{
    PlkStream *s = g_new0(PlkStream, 1);

    *s = (PlkStream){.ops = &ops, .fd = -1, .end = size, .size = size};
    return s;
}

/* ---- procedures ---- */

#define PROCEDURE(name) static int name(PlkCall *call, const void *args, void *ret, PlkError *err)

PROCEDURE(open_connection)
{
    pthread_mutex_lock(&call->peer->lock);
    call->peer->opened = true;
    pthread_mutex_unlock(&call->peer->lock);
    return 0;
}

PROCEDURE(nothing)
{
    return 0;
}

PROCEDURE(pool)
{
    ((rpc_pool *)ret)->name = strdup("bench");
    return 0;
}

static void tell(rpc_vol *vol, unsigned number)
{
    char name[32];

    snprintf(name, sizeof name, "v%06u", number);
    *vol = (rpc_vol){.pool = strdup("bench"), .name = strdup(name), .key = g_strconcat("/bench/", name, NULL)};
}

PROCEDURE(volume)
{
    tell(ret, 0);
    return 0;
}

PROCEDURE(all)
{
    rpc_vols *vols = ret;

    vols->vols.vols_val = g_new0(rpc_vol, volumes + 1);
    vols->vols.vols_len = vols->count = volumes;
    for (unsigned i = 0; i < volumes; i++)
        tell(&vols->vols.vols_val[i], i);
    return 0;
}

PROCEDURE(path)
{
    ((rpc_name *)ret)->text = strdup(((const rpc_vol *)args)->key);
    return 0;
}

PROCEDURE(info)
{
    *(rpc_vol_info *)ret = (rpc_vol_info){.capacity = bytes, .allocation = bytes};
    return 0;
}

PROCEDURE(is_active)
{
    ((rpc_int *)ret)->value = 1;
    return 0;
}

PROCEDURE(upload)
{
    call->upload = zeros(UINT64_MAX);
    return 0;
}

PROCEDURE(download)
{
    call->download = zeros(bytes);
    return 0;
}

#define SHAPE(t) (xdrproc_t)xdr_rpc_##t, sizeof(rpc_##t)
#define ROW(number_, args_, args_size_, ret_, ret_size_, run_)                                                \
    {.number = number_, .flags = PLK_CALL_UNKNOWN | PLK_CALL_UNOPENED, .name = #run_, .args = args_,          \
     .args_size = args_size_, .ret = ret_, .ret_size = ret_size_, .run = run_}
#define P(number, args, ret, run) ROW(number, args, ret, run)
#define NOTHING NULL, 0

static const PlkProcedure procedures[] = {
    P(CONNECT_OPEN, SHAPE(open), NOTHING, open_connection),
    P(2, NOTHING, NOTHING, nothing),
    P(60, SHAPE(int), SHAPE(int), nothing),
    P(66, NOTHING, SHAPE(auth_types), nothing),
    P(84, SHAPE(name), SHAPE(pool), pool),
    P(95, SHAPE(pool_name), SHAPE(vol), volume),
    P(98, SHAPE(vol), SHAPE(vol_info), info),
    P(100, SHAPE(vol), SHAPE(name), path),
    P(154, SHAPE(pool), SHAPE(int), is_active),
    P(208, SHAPE(vol_range), NOTHING, upload),
    P(209, SHAPE(vol_range), NOTHING, download),
    P(282, SHAPE(pool_list), SHAPE(vols), all),
    P(360, NOTHING, NOTHING, nothing),
    P(361, NOTHING, NOTHING, nothing),
};

static const PlkProcedure *find(int32_t number)
{
    for (size_t i = 0; i < G_N_ELEMENTS(procedures); i++)
        if (procedures[i].number == number)
            return &procedures[i];
    return NULL;
}

static int listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 100) < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    static const PlkProgram program = {.id = PLK_PROGRAM_REMOTE, .version = 1, .find = find};
    static const PlkProgram *const programs[] = {&program, NULL};
    PlkServerOptions options = {.programs = programs};
    PlkListener listener = {.name = "stub", .auth = PLK_AUTH_NONE};
    PlkServer *server;
    PlkError err;

    if (argc != 4) {
        fprintf(stderr, "usage: wire-stub SOCKET VOLUMES BYTES\n");
        return 2;
    }
    volumes = (unsigned)strtoul(argv[2], NULL, 10);
    bytes = strtoull(argv[3], NULL, 10);
    listener.fd = listen_on(argv[1]);
    if (plk_server_new(&options, &server, &err) < 0 || plk_server_listen(server, &listener, &err) < 0 ||
        plk_server_run(server, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return 0;
}
