/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopd: start, signals, end. */
#include <glib.h>
#include <libxml/parser.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "pool/job.h"
#include "rpc/tls.h"

#define MALLOC_KEEPS (1 << 20) /* at the end of each thread's heap */
#define MALLOC_MAPS_FROM (8 << 20)

/* ---- peers ---- */

static void attach(PlkPeer *peer, void *arg)
{
    PlkSession *session = g_new0(PlkSession, 1);

    session->daemon = arg;
    session->secure = plk_is_local(peer) || !peer->transport->plain;
    session->from = plk_describe_peer(peer);
    peer->session = session;
    plk_admit(peer, session->daemon->config);
}

static void closed(PlkPeer *peer, const char *why, void *arg)
{
    PlkLogFields fields = {.client = peer->id};
    bool refused;

    pthread_mutex_lock(&peer->lock);
    refused = !peer->handshaken;
    pthread_mutex_unlock(&peer->lock);
    if (refused)
        plk_log(LOG_NOTICE, &fields, "refused %s: %s", ((PlkSession *)peer->session)->from, why);
    else
        plk_log(LOG_DEBUG, &fields, "%s", why);
    plk_events_forget(((PlkDaemon *)arg)->events, peer);
}

static void detach(PlkPeer *peer, void *arg)
{
    PlkSession *session = peer->session;

    plk_sasl_free(session->sasl);
    g_free(session->from);
    g_free(session);
}

static void measured(const PlkPeer *peer, const PlkProcedure *procedure, uint64_t ns, const PlkError *failure, void *arg)
{
    PlkLogFields fields = {.client = peer->id};

    plk_metrics_note(procedure, ns, failure != NULL);
    if (failure && (failure->code == PLK_ERROR_AUTH || failure->code == PLK_ERROR_DENIED))
        plk_log(LOG_NOTICE, &fields, "refused %s: %s: %s", ((PlkSession *)peer->session)->from, procedure->name, failure->message);
    else if (failure)
        plk_log(LOG_INFO, &fields, "%s: %s", procedure->name, failure->message);
    else
        plk_log(LOG_DEBUG, &fields, "%s: done in %.3f ms", procedure->name, (double)ns / 1e6);
    plk_log_about(NULL, NULL);
}

/* ---- jobs ---- */

static void on_job(void *arg, const PlkJobInfo *job, bool begins)
{
    plk_log(LOG_INFO, &(PlkLogFields){.pool = job->pool, .volume = job->volume, .job = *job->id ? job->id : NULL},
            "%s of '%s/%s' %s", job->kind, job->pool, job->volume, begins ? "begins" : "has ended");
}

/* ---- signals and the watchdog ---- */

static void reload(PlkDaemon *daemon)
{
    PlkError err;

    sd_notify(0, "RELOADING=1");
    if (plk_storage_reload(daemon->storage, &err) < 0)
        plk_log(LOG_ERR, NULL, "%s", err.message);
    sd_notify(0, "READY=1");
}

static void fill_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

/* They are blocked in all threads; this one takes them, and between two of them pats the watchdog. */
static void *take_signals(void *arg)
{
    PlkDaemon *daemon = arg;
    uint64_t watchdog_us = 0;
    struct timespec wait;
    sigset_t set;
    int signal;

    fill_signals(&set);
    if (sd_watchdog_enabled(0, &watchdog_us) <= 0)
        watchdog_us = 120000000;
    wait = (struct timespec){.tv_sec = (time_t)(watchdog_us / 2000000), .tv_nsec = (long)(watchdog_us / 2 % 1000000 * 1000)};
    while ((signal = sigtimedwait(&set, NULL, &wait)) == SIGHUP || signal < 0) {
        if (signal == SIGHUP)
            reload(daemon);
        sd_notify(0, "WATCHDOG=1");
    }
    sd_notify(0, "STOPPING=1");
    plk_server_stop(daemon->server);
    return NULL;
}

static void block_signals(void)
{
    sigset_t set;

    fill_signals(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* ---- life ---- */

static int open_storage(PlkDaemon *daemon, PlkError *err)
{
    const char *dir = daemon->config->state_dir;
    g_autofree char *config = dir ? g_build_filename(dir, "config", NULL) : NULL;
    g_autofree char *runtime = dir ? g_build_filename(dir, "run", NULL) : NULL;
    PlkStorageOptions options = {.config_dir = config, .runtime_dir = runtime, .role = PLK_STORAGE_DAEMON,
                                 .roots = (const char *const *)daemon->config->roots,
                                 .qcow2_compat_0_10 = daemon->config->libvirt};

    if (!dir && !daemon->config->libvirt)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "no directory to keep state in; give --state-dir DIR, or --libvirt to use libvirt's own");
    return plk_storage_open(&options, &daemon->storage, err);
}

static int run(PlkDaemon *daemon, PlkError *err)
{
    pthread_t signals;
    int r = pthread_create(&signals, NULL, take_signals, daemon);

    if (r)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, r, "cannot start a thread");
    sd_notify(0, "READY=1");
    plk_log(LOG_NOTICE, NULL, "ready: %s%s%s", daemon->uri, daemon->config->socket ? "?socket=" : "",
            daemon->config->socket ? daemon->config->socket : "");
    r = plk_server_run(daemon->server, err);
    pthread_kill(signals, SIGTERM);
    pthread_join(signals, NULL);
    return r;
}

static int serve(PlkDaemon *daemon, PlkError *err)
{
    static const PlkProgram *const programs[] = {&plk_program_remote, NULL};
    PlkServerOptions options = {.max_peers = daemon->config->max_clients, .programs = programs, .attach = attach,
                                .closed = closed, .detach = detach, .measured = measured, .arg = daemon};
    PlkMetrics *metrics = NULL;
    int r;

    if (plk_server_new(&options, &daemon->server, err) < 0)
        return -1;
    r = plk_listen(daemon, daemon->config, err);
    if (r == 0 && daemon->config->metrics)
        r = plk_metrics_new(daemon, daemon->config->metrics, &metrics, err);
    if (r == 0) {
        r = run(daemon, err);
        plk_unlisten(daemon);
    }
    plk_metrics_free(metrics);
    plk_server_free(daemon->server);
    if (daemon->tls)
        plk_tls_free(daemon->tls);
    return r;
}

/* What a large pool took goes back to the system. As glibc has it, small chunks that are free wait in lists that no free() looks
 * through, the limit above which the end of a heap is given back grows, and malloc_trim() leaves those ends alone. */
static void tame_malloc(void)
{
    mallopt(M_MXFAST, 0);
    mallopt(M_TRIM_THRESHOLD, MALLOC_KEEPS);
    mallopt(M_MMAP_THRESHOLD, MALLOC_MAPS_FROM);
}

int main(int argc, char **argv)
{
    plk_cleanup(plk_config_clear) PlkConfig config;
    PlkDaemon daemon = {.uri = geteuid() == 0 ? "storage:///system" : "storage:///session", .config = &config};
    PlkError err;
    int r;

    tame_malloc();
    xmlInitParser(); /* before there are threads, as it asks for */
    plk_config_init(&config);
    r = plk_config_parse(&config, argc, argv, &err);
    plk_log_setup(config.verbose ? LOG_DEBUG : LOG_NOTICE);
    daemon.polkit_access = config.access_polkit;
    block_signals();
    if (r == 0)
        r = open_storage(&daemon, &err);
    if (r == 0) {
        plk_events_new(&daemon);
        plk_storage_on_job(daemon.storage, on_job, NULL);
        r = serve(&daemon, &err);
        plk_events_free(daemon.events);
        plk_storage_close(daemon.storage);
    }
    if (r < 0)
        plk_log(LOG_ERR, NULL, "%s", err.message);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
