/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raw clients of a storage daemon, one thread each, that ask as fast as they are answered. Prints numbers on one line:
 *
 *     clients SOCKET lookup CLIENTS SECONDS POOL    answers a second, ms at p99: lookup of volume v000000
 *     clients SOCKET create CLIENTS SECONDS POOL    the same: raw volumes of 4 KiB, which are deleted afterwards
 *     clients SOCKET info CLIENTS SECONDS POOL      the same: info of v000000, while one more client refreshes the pool all the time
 *     clients SOCKET idle CLIENTS                   seconds until all are in; MiB of the daemon then
 */
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "rpc/client.h"
#include "rpc/protocol.h"

#define POOL_REFRESH 83
#define POOL_LOOKUP 84
#define VOL_CREATE 93
#define VOL_DELETE 94
#define VOL_LOOKUP 95
#define VOL_INFO 98
#define MOST 1000000 /* answers a client may get */

typedef struct Client {
    PlkClient *connection;
    unsigned number;
    pthread_t thread;
    double *took; /* seconds of each answer */
    size_t answers;
} Client;

static const char *socket_path;
static rpc_pool pool;
static rpc_vol volume; /* v000000 of it, where it is asked about */
static double seconds;

static void must(int r, const PlkError *err)
{
    if (r < 0) {
        fprintf(stderr, "%s\n", err->message);
        exit(1);
    }
}

static void find_volume(Client *c, rpc_vol *ret)
{
    rpc_pool_name args = {.pool = pool, .name = (char *)"v000000"};
    PlkError err;

    must(plk_client_call(c->connection, VOL_LOOKUP, (xdrproc_t)xdr_rpc_pool_name, &args, (xdrproc_t)xdr_rpc_vol, ret, sizeof *ret,
                         &err),
         &err);
}

static void look_up(Client *c)
{
    rpc_vol vol;

    find_volume(c, &vol);
    xdr_free((xdrproc_t)xdr_rpc_vol, &vol);
}

static void info(Client *c)
{
    rpc_vol_info answer;
    PlkError err;

    must(plk_client_call(c->connection, VOL_INFO, (xdrproc_t)xdr_rpc_vol, &volume, (xdrproc_t)xdr_rpc_vol_info, &answer,
                         sizeof answer, &err),
         &err);
}

static void refresh(Client *c)
{
    rpc_pool_flags args = {.pool = pool};
    PlkError err;

    must(plk_client_call(c->connection, POOL_REFRESH, (xdrproc_t)xdr_rpc_pool_flags, &args, NULL, NULL, 0, &err), &err);
}

static void create(Client *c)
{
    g_autofree char *xml = g_strdup_printf("<volume><name>c%u-%zu</name><capacity>4096</capacity></volume>", c->number, c->answers);
    rpc_pool_xml args = {.pool = pool, .xml = xml};
    rpc_vol vol;
    PlkError err;

    must(plk_client_call(c->connection, VOL_CREATE, (xdrproc_t)xdr_rpc_pool_xml, &args, (xdrproc_t)xdr_rpc_vol, &vol, sizeof vol,
                         &err),
         &err);
    xdr_free((xdrproc_t)xdr_rpc_vol, &vol);
}

static void delete_all(Client *c)
{
    for (size_t i = 0; i < c->answers; i++) {
        g_autofree char *name = g_strdup_printf("c%u-%zu", c->number, i);
        rpc_vol_flags args = {.vol = {.pool = pool.name, .name = name, .key = (char *)""}};
        PlkError err;

        must(plk_client_call(c->connection, VOL_DELETE, (xdrproc_t)xdr_rpc_vol_flags, &args, NULL, NULL, 0, &err), &err);
    }
}

/* What is measured, by its name in the arguments. */
static const struct Question {
    const char *name;
    void (*ask)(Client *c);
    void (*meanwhile)(Client *c); /* one more client does so */
    void (*afterwards)(Client *c);
} questions[] = {
    {"lookup", look_up, NULL, NULL},
    {"create", create, NULL, delete_all},
    {"info", info, refresh, NULL},
};
static const struct Question *question;
static gint over;

static void *ask(void *arg)
{
    Client *c = arg;
    double end = now() + seconds;

    for (double begin = now(); begin < end && c->answers < MOST;) {
        question->ask(c);
        c->took[c->answers++] = now() - begin;
        begin = now();
    }
    return NULL;
}

static void *do_meanwhile(void *arg)
{
    while (!g_atomic_int_get(&over))
        question->meanwhile(arg);
    return NULL;
}

static void begin(Client *c, void *(*run)(void *))
{
    if (pthread_create(&c->thread, NULL, run, c) != 0)
        abort();
}

static Client *connect_all(unsigned n)
{
    Client *all = g_new0(Client, n);
    PlkError err;

    for (unsigned i = 0; i < n; i++) {
        all[i].number = i;
        must(plk_client_open(socket_path, &all[i].connection, &err), &err);
    }
    return all;
}

static void find_pool(Client *c, char *name)
{
    rpc_name args = {.text = name};
    PlkError err;

    must(plk_client_call(c->connection, POOL_LOOKUP, (xdrproc_t)xdr_rpc_name, &args, (xdrproc_t)xdr_rpc_pool, &pool, sizeof pool,
                         &err),
         &err);
}

static void traffic(unsigned n, char *pool_name)
{
    Client *all = connect_all(n + 1), *other = &all[n];
    size_t answers = 0, at = 0;
    double start, took;
    g_autofree double *merged = NULL;

    find_pool(all, pool_name);
    if (question->ask == info)
        find_volume(all, &volume);
    if (question->meanwhile)
        begin(other, do_meanwhile);
    start = now();
    for (unsigned i = 0; i < n; i++) {
        all[i].took = g_new(double, MOST); /* touched where used */
        begin(&all[i], ask);
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(all[i].thread, NULL);
        answers += all[i].answers;
    }
    took = now() - start;
    g_atomic_int_set(&over, 1);
    if (question->meanwhile)
        pthread_join(other->thread, NULL);
    merged = g_new(double, answers);
    for (unsigned i = 0; i < n; i++) {
        memcpy(merged + at, all[i].took, all[i].answers * sizeof *merged);
        at += all[i].answers;
    }
    printf("%.0f %.3f\n", (double)answers / took, quantile(merged, answers, 0.99) * 1e3);
    for (unsigned i = 0; question->afterwards && i < n; i++)
        question->afterwards(&all[i]);
}

/* What the process at the other end has in memory. */
static double daemon_mib(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct ucred who;
    socklen_t len = sizeof who;
    char path[64];
    g_autofree char *status = NULL;
    const char *rss;

    g_strlcpy(address.sun_path, socket_path, sizeof address.sun_path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
        return 0;
    close(fd);
    snprintf(path, sizeof path, "/proc/%d/status", who.pid);
    if (!g_file_get_contents(path, &status, NULL, NULL) || !(rss = strstr(status, "VmRSS:")))
        return 0;
    return strtod(rss + 6, NULL) / 1024;
}

static void idle(unsigned n)
{
    double start = now();

    connect_all(n);
    printf("%.3f ", now() - start);
    printf("%.1f\n", daemon_mib());
}

int main(int argc, char **argv)
{
    struct rlimit files = {1 << 16, 1 << 16};
    unsigned n;

    if (argc != 6 && argc != 4) {
        fprintf(stderr, "usage: clients SOCKET lookup|create|info CLIENTS SECONDS POOL\n       clients SOCKET idle CLIENTS\n");
        return 2;
    }
    setrlimit(RLIMIT_NOFILE, &files);
    socket_path = argv[1];
    n = (unsigned)strtoul(argv[3], NULL, 10);
    if (argc == 4) {
        idle(n);
        return 0;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(questions); i++)
        if (strcmp(argv[2], questions[i].name) == 0)
            question = &questions[i];
    if (!question)
        return 2;
    seconds = strtod(argv[4], NULL);
    traffic(n, argv[5]);
    return 0;
}
