/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon of fuzz-crowd.c, and the ground it stands on. */
#include "crowd-world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib.h>
#include <libxml/parser.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/log.h"
#include "fuzz.h"

#define SPACE "size=64m" /* what may be filled, whatever a frame asks for */

static const char *const roots[] = {WORLD, NULL};
static PlkConfig config;
static PlkDaemon world = {.uri = "storage:///system", .config = &config};
static PlkListener doors[DOORS] = {
    {.name = "open"}, {.name = "polkit", .auth = PLK_AUTH_POLKIT}, {.name = "read-only", .read_only = true}};
static pthread_t thread;

/* ---- ground ---- */

static bool write_line(const char *path, const char *line)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line);

    if (fd >= 0)
        close(fd);
    return done;
}

/* Root in a namespace of users of our own, if not before. */
static bool become_root(void)
{
    char uids[40], gids[40];

    snprintf(uids, sizeof uids, "0 %u 1\n", (unsigned)geteuid());
    snprintf(gids, sizeof gids, "0 %u 1\n", (unsigned)getegid());
    if (geteuid() == 0)
        return unshare(CLONE_NEWNS) == 0;
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_line("/proc/self/setgroups", "deny") &&
           write_line("/proc/self/uid_map", uids) && write_line("/proc/self/gid_map", gids);
}

void world_prepare(void)
{
    if (!become_root() || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("fuzz", WORLD, "tmpfs", MS_NOSUID | MS_NODEV, SPACE) < 0) {
        dprintf(STDERR_FILENO, "no mount namespace of our own: %s\n", strerror(errno));
        exit(77);
    }
    signal(SIGPIPE, SIG_IGN);
    xmlInitParser(); /* before there are threads */
    plk_log_setup(getenv("FUZZ_TALK") ? LOG_INFO : LOG_CRIT);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *where)
{
    return where->level == 0 ? 0 : remove(path);
}

/* ---- the daemon: what main.c of ploopd does ---- */

static void attach(PlkPeer *peer, void *arg)
{
    PlkSession *session = g_new0(PlkSession, 1);

    session->daemon = arg;
    session->secure = true;
    peer->session = session;
}

static void closed(PlkPeer *peer, const char *why, void *arg)
{
    plk_events_forget(((PlkDaemon *)arg)->events, peer);
}

static void detach(PlkPeer *peer, void *arg)
{
    g_free(peer->session);
}

static void measured(const PlkPeer *peer, const PlkProcedure *procedure, uint64_t ns, const PlkError *failure, void *arg)
{
    PlkLogFields fields = {.client = peer->id};

    if (failure)
        plk_log(LOG_INFO, &fields, "%s: %s", procedure->name, failure->message);
    plk_log_about(NULL, NULL);
}

static struct sockaddr_un address(Door door)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    snprintf(a.sun_path, sizeof a.sun_path, WORLD "/door%d", door);
    return a;
}

static void open_door(Door door)
{
    struct sockaddr_un a = address(door);
    PlkListener *l = &doors[door];
    PlkError err;

    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(l->fd >= 0 && bind(l->fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(l->fd, 64) == 0, "%s: %s", a.sun_path,
               strerror(errno));
    FUZZ_CHECK(plk_server_listen(world.server, l, &err) == 0, "%s", err.message);
}

static void *run(void *arg)
{
    PlkError err;

    FUZZ_CHECK(plk_server_run(arg, &err) == 0, "%s", err.message);
    return NULL;
}

void world_begin(void)
{
    static const PlkProgram *const programs[] = {&plk_program_remote, NULL};
    PlkStorageOptions storage = {.config_dir = WORLD "/state/config", .runtime_dir = WORLD "/state/run",
                                 .role = PLK_STORAGE_DAEMON, .roots = roots};
    PlkServerOptions options = {.programs = programs, .handshake_ms = 600000, .attach = attach, .closed = closed, .detach = detach,
                                .measured = measured, .arg = &world};
    PlkError err;

    FUZZ_CHECK(plk_storage_open(&storage, &world.storage, &err) == 0, "%s", err.message);
    plk_events_new(&world);
    FUZZ_CHECK(plk_server_new(&options, &world.server, &err) == 0, "%s", err.message);
    for (Door door = 0; door < DOORS; door++)
        open_door(door);
    FUZZ_CHECK(pthread_create(&thread, NULL, run, world.server) == 0, "no thread");
}

void world_end(void)
{
    plk_server_stop(world.server);
    pthread_join(thread, NULL);
    plk_server_free(world.server);
    plk_events_free(world.events);
    plk_storage_close(world.storage);
    FUZZ_CHECK(nftw(WORLD, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, "cannot clean up: %s", strerror(errno));
}

int world_connect(Door door)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un a = address(door);

    FUZZ_CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0, "%s: %s", a.sun_path, strerror(errno));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

bool world_is_calm(unsigned peers)
{
    PlkServerFigures figures;

    plk_server_figures(world.server, &figures);
    return figures.peers == peers && figures.busy == 0;
}

unsigned world_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

int64_t world_ms(void)
{
    return plk_now_ms();
}
