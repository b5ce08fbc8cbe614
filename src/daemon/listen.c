/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sockets ploopd listens on. */
#include "daemon/listen.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"

#define BACKLOG 1024

static int address_of(const char *path, struct sockaddr_un *ret, PlkError *err)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof ret->sun_path)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' is too long for a socket; the limit is %zu bytes", path,
                        sizeof ret->sun_path - 1);
    memcpy(ret->sun_path, path, strlen(path));
    return 0;
}

/* A file that nobody answers on is left from a process that died. */
static int clear_the_way(const struct sockaddr_un *a, PlkError *err)
{
    PLK_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;

    if (lstat(a->sun_path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return plk_fail(err, PLK_ERROR_EXISTS, "'%s' is in the way and no socket", a->sun_path);
    if (connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 || errno == EAGAIN)
        return plk_fail(err, PLK_ERROR_STATE, "somebody listens on '%s' already", a->sun_path);
    unlink(a->sun_path);
    return 0;
}

static int set_group(const char *path, const char *group, PlkError *err)
{
    char room[4096];
    struct group g, *found = NULL;

    if (getgrnam_r(group, &g, room, sizeof room, &found) != 0 || !found)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "there is no group '%s' for '%s'", group, path);
    return chown(path, (uid_t)-1, g.gr_gid) < 0
               ? plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot give '%s' to group '%s'", path, group)
               : 0;
}

/* Nobody gets in between bind and chmod. */
static int bind_and_listen(int fd, const struct sockaddr_un *a, const PlkUnixSocket *s, PlkError *err)
{
    mode_t was = umask(0177);
    int r = bind(fd, (const struct sockaddr *)a, sizeof *a);

    umask(was);
    if (r < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot make the socket '%s'", s->path);
    if ((s->group && set_group(s->path, s->group, err) < 0))
        return -1;
    if (chmod(s->path, (mode_t)s->mode) < 0 || listen(fd, BACKLOG) < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot listen on '%s'", s->path);
    return 0;
}

int plk_listen_unix(PlkDaemon *daemon, const PlkUnixSocket *s, PlkError *err)
{
    PLK_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un a;
    PlkListener listener;

    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot make a socket");
    if (address_of(s->path, &a, err) < 0 || clear_the_way(&a, err) < 0 || bind_and_listen(fd, &a, s, err) < 0)
        return -1;
    listener = (PlkListener){.fd = fd, .name = s->path, .read_only = s->read_only, .auth = s->auth};
    if (plk_server_listen(daemon->server, &listener, err) < 0)
        return -1;
    (void)PLK_TAKE_FD(fd);
    return 0;
}

int plk_listen_systemd(PlkDaemon *daemon, PlkAuth auth, unsigned *ret_n, PlkError *err)
{
    int n = sd_listen_fds(1);

    *ret_n = 0;
    for (int i = 0; i < n; i++) {
        /* The units start the read-write socket first. */
        PlkListener listener = {.fd = SD_LISTEN_FDS_START + i, .name = i ? "systemd, read-only" : "systemd",
                                .read_only = i == 1, .auth = auth};

        if (plk_server_listen(daemon->server, &listener, err) < 0)
            return -1;
        ++*ret_n;
    }
    return 0;
}
