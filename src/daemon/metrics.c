/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The figures and the socket they are read from. */
#include "daemon/metrics.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "daemon/listen.h"
#include "pool/job.h"

#define PROCEDURES 512 /* numbers below this are counted each for itself */
#define REQUEST_MS 1000
#define SILENT 64
#define BUCKETS 7

static const uint64_t bucket_ns[BUCKETS] = {100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, UINT64_MAX};
static const char *const bucket_name[BUCKETS] = {"0.0001", "0.001", "0.01", "0.1", "1", "10", "+Inf"};

typedef struct Figures {
    const char *_Atomic name;
    atomic_ulong calls, failed, nanoseconds, bucket[BUCKETS];
} Figures;

static Figures figures[PROCEDURES];

struct PlkMetrics {
    PlkDaemon *daemon;
    int listening, stop;
    char *path;
    pthread_t thread;
};

void plk_metrics_note(const PlkProcedure *procedure, uint64_t nanoseconds, bool failed)
{
    Figures *f;
    int i = 0;

    if (procedure->number < 0 || procedure->number >= PROCEDURES)
        return;
    f = &figures[procedure->number];
    f->name = procedure->name;
    atomic_fetch_add_explicit(&f->calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&f->failed, failed, memory_order_relaxed);
    atomic_fetch_add_explicit(&f->nanoseconds, nanoseconds, memory_order_relaxed);
    while (nanoseconds > bucket_ns[i])
        i++;
    atomic_fetch_add_explicit(&f->bucket[i], 1, memory_order_relaxed);
}

/* ---- the text ---- */

static void head(GString *to, const char *name, const char *type, const char *help)
{
    g_string_append_printf(to, "# TYPE %s %s\n# HELP %s %s\n", name, type, name, help);
}

static void add_server(GString *to, PlkServer *server)
{
    PlkServerFigures f;

    plk_server_figures(server, &f);
    head(to, "ploopd_clients", "gauge", "Connected clients.");
    g_string_append_printf(to, "ploopd_clients %u\n", f.peers);
    head(to, "ploopd_clients_accepted", "counter", "Connections accepted since the start.");
    g_string_append_printf(to, "ploopd_clients_accepted_total %" G_GUINT64_FORMAT "\n", f.accepted);
    head(to, "ploopd_clients_refused", "counter", "Connections refused because there were too many.");
    g_string_append_printf(to, "ploopd_clients_refused_total %" G_GUINT64_FORMAT "\n", f.refused);
    head(to, "ploopd_threads", "gauge", "Threads that serve, and of these at work.");
    g_string_append_printf(to, "ploopd_threads{state=\"all\"} %u\nploopd_threads{state=\"busy\"} %u\n", f.threads, f.busy);
    head(to, "ploopd_bytes", "counter", "Bytes received and sent.");
    g_string_append_printf(to, "ploopd_bytes_total{direction=\"in\"} %" G_GUINT64_FORMAT "\n", f.bytes_in);
    g_string_append_printf(to, "ploopd_bytes_total{direction=\"out\"} %" G_GUINT64_FORMAT "\n", f.bytes_out);
}

static void add_calls(GString *to)
{
    head(to, "ploopd_call_failures", "counter", "Calls answered with an error.");
    for (int i = 0; i < PROCEDURES; i++)
        if (figures[i].name)
            g_string_append_printf(to, "ploopd_call_failures_total{procedure=\"%s\"} %lu\n", figures[i].name, figures[i].failed);
    head(to, "ploopd_call_seconds", "histogram", "Time from the arrival of a call to its answer.");
    for (int i = 0; i < PROCEDURES; i++) {
        unsigned long sum = 0;

        if (!figures[i].name)
            continue;
        for (int b = 0; b < BUCKETS; b++) {
            sum += figures[i].bucket[b];
            g_string_append_printf(to, "ploopd_call_seconds_bucket{procedure=\"%s\",le=\"%s\"} %lu\n", figures[i].name,
                                   bucket_name[b], sum);
        }
        g_string_append_printf(to, "ploopd_call_seconds_sum{procedure=\"%s\"} %.9f\n", figures[i].name,
                               (double)figures[i].nanoseconds / 1e9);
        g_string_append_printf(to, "ploopd_call_seconds_count{procedure=\"%s\"} %lu\n", figures[i].name, sum);
    }
}

/* A label's value: quotes, backslashes and newlines have a backslash in front. */
static char *label(const char *text)
{
    GString *s = g_string_new(NULL);

    for (; *text; text++) {
        if (*text == '\n')
            g_string_append(s, "\\n");
        else if (*text == '"' || *text == '\\')
            g_string_append_printf(s, "\\%c", *text);
        else
            g_string_append_c(s, *text);
    }
    return g_string_free(s, false);
}

static void add_pool(GString *size, GString *volumes, PlkPool *pool)
{
    g_autofree char *name = label(plk_pool_name(pool));
    PlkPoolInfo info;

    if (plk_pool_info(pool, &info, NULL) < 0 || !info.active)
        return;
    g_string_append_printf(size, "ploopd_pool_bytes{pool=\"%s\",of=\"capacity\"} %" G_GUINT64_FORMAT "\n", name, info.capacity);
    g_string_append_printf(size, "ploopd_pool_bytes{pool=\"%s\",of=\"allocation\"} %" G_GUINT64_FORMAT "\n", name, info.allocation);
    g_string_append_printf(size, "ploopd_pool_bytes{pool=\"%s\",of=\"available\"} %" G_GUINT64_FORMAT "\n", name, info.available);
    g_string_append_printf(volumes, "ploopd_pool_volumes{pool=\"%s\",state=\"all\"} %zu\n", name, info.volumes);
    g_string_append_printf(volumes, "ploopd_pool_volumes{pool=\"%s\",state=\"broken\"} %zu\n", name, info.broken);
}

static void add_pools(GString *to, PlkStorage *storage)
{
    g_autoptr(GString) size = g_string_new(NULL), volumes = g_string_new(NULL);
    PlkPool **pools = NULL;
    size_t n = 0, active = 0;

    if (plk_storage_pools(storage, 0, &pools, &n, NULL) < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        active += plk_pool_state(pools[i]).active;
        add_pool(size, volumes, pools[i]);
    }
    plk_pools_free(pools, n);
    head(to, "ploopd_pools", "gauge", "Storage pools.");
    g_string_append_printf(to, "ploopd_pools{state=\"active\"} %zu\nploopd_pools{state=\"inactive\"} %zu\n", active, n - active);
    head(to, "ploopd_pool_bytes", "gauge", "Sizes of active pools.");
    g_string_append(to, size->str);
    head(to, "ploopd_pool_volumes", "gauge", "Volumes of active pools.");
    g_string_append(to, volumes->str);
}

static void add_jobs(GString *to, PlkStorage *storage)
{
    PlkJobInfo *jobs = NULL;
    size_t n = 0;

    if (plk_jobs_list(storage, &jobs, &n, NULL) < 0)
        return;
    head(to, "ploopd_jobs", "gauge", "Long operations that run on this state, of any process.");
    g_string_append_printf(to, "ploopd_jobs %zu\n", n);
    g_free(jobs);
}

static char *text_of(PlkMetrics *m, size_t *ret_len)
{
    GString *text = g_string_new(NULL);
    GString *answer = g_string_new(NULL);

    add_server(text, m->daemon->server);
    add_calls(text);
    add_pools(text, m->daemon->storage);
    add_jobs(text, m->daemon->storage);
    g_string_append(text, "# EOF\n");
    g_string_append_printf(answer,
                           "HTTP/1.0 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
                           "Content-Length: %zu\r\n\r\n%s",
                           text->len, text->str);
    g_string_free(text, true);
    *ret_len = answer->len;
    return g_string_free(answer, false);
}

/* ---- the socket ---- */

/* Whatever it asks for, it gets the figures. */
static void answer(PlkMetrics *m, int fd)
{
    const struct timeval limit = {.tv_sec = REQUEST_MS / 1000};
    g_autofree char *text = NULL;
    char request[2048];
    size_t len;

    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (recv(fd, request, sizeof request, MSG_DONTWAIT) <= 0)
        return;
    text = text_of(m, &len);
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(fd, text + sent, len - sent, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        sent += (size_t)n;
    }
    shutdown(fd, SHUT_WR);
}

/* Who has connected and asked for nothing yet, the oldest first; the others do not wait for it. */
typedef struct Silent {
    struct pollfd poll[2 + SILENT]; /* the first two are the listening socket and the stop */
    gint64 since[2 + SILENT];
    nfds_t n;
} Silent;

static void drop_oldest(Silent *s)
{
    close(s->poll[2].fd);
    s->n--;
    memmove(s->poll + 2, s->poll + 3, (s->n - 2) * sizeof *s->poll);
    memmove(s->since + 2, s->since + 3, (s->n - 2) * sizeof *s->since);
}

static void take_one(Silent *s)
{
    int fd = accept4(s->poll[0].fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (s->n == 2 + SILENT)
        drop_oldest(s);
    s->poll[s->n] = (struct pollfd){.fd = fd, .events = POLLIN};
    s->since[s->n++] = g_get_monotonic_time();
}

/* Answers those who have asked, and ends with those who said nothing for a second. */
static void look_through(PlkMetrics *m, Silent *s)
{
    gint64 limit = g_get_monotonic_time() - REQUEST_MS * 1000;
    nfds_t kept = 2;

    for (nfds_t i = 2; i < s->n; i++) {
        if (!s->poll[i].revents && s->since[i] > limit) {
            s->poll[kept] = s->poll[i];
            s->since[kept++] = s->since[i];
            continue;
        }
        if (s->poll[i].revents)
            answer(m, s->poll[i].fd);
        close(s->poll[i].fd);
    }
    s->n = kept;
}

static void *serve(void *arg)
{
    PlkMetrics *m = arg;
    Silent s = {.poll = {{.fd = m->listening, .events = POLLIN}, {.fd = m->stop, .events = POLLIN}}, .n = 2};

    for (;;) {
        int r = poll(s.poll, s.n, s.n > 2 ? REQUEST_MS : -1);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 || s.poll[1].revents)
            break;
        look_through(m, &s);
        if (s.poll[0].revents)
            take_one(&s);
    }
    while (s.n > 2)
        drop_oldest(&s);
    return NULL;
}

int plk_metrics_new(PlkDaemon *daemon, const char *path, PlkMetrics **ret, PlkError *err)
{
    const PlkUnixSocket at = {.path = path, .mode = 0600};
    PlkMetrics *m;
    int fd = plk_bind_unix(&at, err), r;

    if (fd < 0)
        return -1;
    m = g_new0(PlkMetrics, 1);
    *m = (PlkMetrics){.daemon = daemon, .path = g_strdup(path), .listening = fd, .stop = eventfd(0, EFD_CLOEXEC)};
    r = pthread_create(&m->thread, NULL, serve, m);
    if (r) {
        close(m->listening);
        close(m->stop);
        unlink(path);
        g_free(m->path);
        g_free(m);
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, r, "cannot start a thread");
    }
    *ret = m;
    return 0;
}

void plk_metrics_free(PlkMetrics *metrics)
{
    uint64_t one = 1;

    if (!metrics)
        return;
    if (write(metrics->stop, &one, sizeof one) == (ssize_t)sizeof one)
        pthread_join(metrics->thread, NULL);
    close(metrics->listening);
    close(metrics->stop);
    unlink(metrics->path);
    g_free(metrics->path);
    g_free(metrics);
}
