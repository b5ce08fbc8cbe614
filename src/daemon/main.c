/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopd: options, start, signals, end. */
#include <errno.h>
#include <getopt.h>
#include <glib.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "daemon/listen.h"

typedef struct Options {
    const char *socket, *state_dir;
    bool foreground, verbose;
} Options;

static const char usage[] =
    "Usage: ploopd [OPTION]...\n"
    "Serves ploop volumes and storage pools over libvirt's protocol.\n"
    "\n"
    "  --socket PATH      listen on PATH, and read-only on PATH-ro\n"
    "  --state-dir DIR    keep definitions in DIR/config and what runs in DIR/run\n"
    "  --foreground       stay in the foreground (ploopd always does; for scripts that say so)\n"
    "  --verbose          tell what is going on\n"
    "  --help, --version\n"
    "\n"
    "Talk to it with: virsh -c 'storage:///system?socket=PATH' pool-list --all\n";

static int parse(int argc, char **argv, Options *ret)
{
    enum { SOCKET = 1, STATE_DIR, FOREGROUND, VERBOSE, HELP, VERSION };
    static const struct option options[] = {
        {"socket", required_argument, NULL, SOCKET}, {"state-dir", required_argument, NULL, STATE_DIR},
        {"foreground", no_argument, NULL, FOREGROUND}, {"verbose", no_argument, NULL, VERBOSE},
        {"help", no_argument, NULL, HELP}, {"version", no_argument, NULL, VERSION}, {NULL, 0, NULL, 0},
    };

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case SOCKET:
            ret->socket = optarg;
            break;
        case STATE_DIR:
            ret->state_dir = optarg;
            break;
        case FOREGROUND:
            ret->foreground = true;
            break;
        case VERBOSE:
            ret->verbose = true;
            break;
        case HELP:
            fputs(usage, stdout);
            exit(EXIT_SUCCESS);
        case VERSION:
            puts("ploopd " PLK_VERSION);
            exit(EXIT_SUCCESS);
        default:
            fputs("ploopd: see ploopd --help\n", stderr);
            return -1;
        }
    }
    return 0;
}

/* ---- peers ---- */

/* Field 22 of /proc/PID/stat, behind the name in parentheses, in which anything may stand. */
static uint64_t start_time(pid_t pid)
{
    char path[64], *end;
    g_autofree char *text = NULL;
    unsigned long long ticks = 0;

    g_snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (!g_file_get_contents(path, &text, NULL, NULL) || !(end = strrchr(text, ')')))
        return 0;
    sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks);
    return ticks;
}

static void attach(PlkPeer *peer, void *arg)
{
    PlkSession *session = g_new0(PlkSession, 1);

    session->daemon = arg;
    session->secure = peer->identity.pid > 0 || !peer->transport->plain; /* a unix socket has a process behind it */
    peer->session = session;
    if (peer->identity.pid > 0)
        peer->identity.start_time = start_time(peer->identity.pid);
}

static void closed(PlkPeer *peer, void *arg)
{
    plk_events_forget(((PlkDaemon *)arg)->events, peer);
}

static void detach(PlkPeer *peer, void *arg)
{
    PlkSession *session = peer->session;

    plk_sasl_free(session->sasl);
    g_free(session);
}

/* ---- signals ---- */

/* Blocked in all threads; this one takes them. */
static void *take_signals(void *arg)
{
    PlkDaemon *daemon = arg;
    sigset_t set;
    PlkError err;
    int signal;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    while (sigwait(&set, &signal) == 0 && signal == SIGHUP) {
        sd_notify(0, "RELOADING=1");
        if (plk_storage_reload(daemon->storage, &err) < 0)
            fprintf(stderr, "ploopd: %s\n", err.message);
        sd_notify(0, "READY=1");
    }
    sd_notify(0, "STOPPING=1");
    plk_server_stop(daemon->server);
    return NULL;
}

static void block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* ---- life ---- */

static int open_storage(const Options *o, PlkDaemon *daemon, PlkError *err)
{
    g_autofree char *config = o->state_dir ? g_build_filename(o->state_dir, "config", NULL) : NULL;
    g_autofree char *runtime = o->state_dir ? g_build_filename(o->state_dir, "run", NULL) : NULL;
    PlkStorageOptions options = {.config_dir = config, .runtime_dir = runtime, .role = PLK_STORAGE_DAEMON};

    return plk_storage_open(&options, &daemon->storage, err);
}

static int listen_on(const Options *o, PlkDaemon *daemon, PlkError *err)
{
    g_autofree char *read_only = o->socket ? g_strconcat(o->socket, "-ro", NULL) : NULL;
    PlkUnixSocket rw = {.path = o->socket, .mode = 0700}, ro = {.path = read_only, .mode = 0700, .read_only = true};
    unsigned n;

    if (plk_listen_systemd(daemon, PLK_AUTH_NONE, &n, err) < 0)
        return -1;
    if (!o->socket)
        return n ? 0 : plk_fail(err, PLK_ERROR_ARGUMENT, "no socket to listen on; give --socket PATH");
    if (plk_listen_unix(daemon, &rw, err) < 0)
        return -1;
    return plk_listen_unix(daemon, &ro, err);
}

static int serve(const Options *o, PlkDaemon *daemon, PlkError *err)
{
    static const PlkProgram *const programs[] = {&plk_program_remote, NULL};
    PlkServerOptions options = {.programs = programs, .attach = attach, .closed = closed, .detach = detach, .arg = daemon};
    pthread_t signals;
    int r;

    if (plk_server_new(&options, &daemon->server, err) < 0)
        return -1;
    r = listen_on(o, daemon, err);
    if (r == 0 && (r = pthread_create(&signals, NULL, take_signals, daemon)) != 0)
        r = plk_fail_errno(err, PLK_ERROR_SYSTEM, r, "cannot start a thread");
    if (r == 0) {
        sd_notify(0, "READY=1");
        if (o->verbose)
            fprintf(stderr, "ploopd: ready; %s?socket=%s\n", daemon->uri, o->socket ? o->socket : "(systemd)");
        r = plk_server_run(daemon->server, err);
        pthread_kill(signals, SIGTERM);
        pthread_join(signals, NULL);
    }
    plk_server_free(daemon->server);
    return r;
}

int main(int argc, char **argv)
{
    PlkDaemon daemon = {.uri = geteuid() == 0 ? "storage:///system" : "storage:///session"};
    Options o = {0};
    PlkError err;
    int r;

    if (parse(argc, argv, &o) < 0)
        return EXIT_FAILURE;
    block_signals();
    r = open_storage(&o, &daemon, &err);
    if (r == 0) {
        plk_events_new(&daemon);
        r = serve(&o, &daemon, &err);
        plk_events_free(daemon.events);
        plk_storage_close(daemon.storage);
    }
    if (o.socket && r == 0) {
        g_autofree char *read_only = g_strconcat(o.socket, "-ro", NULL);

        unlink(o.socket);
        unlink(read_only);
    }
    if (r < 0)
        fprintf(stderr, "ploopd: %s\n", err.message);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
