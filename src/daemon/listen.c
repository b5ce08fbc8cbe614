/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sockets ploopd listens on, and who may use them. */
#include "daemon/listen.h"

#include <errno.h>
#include <glib.h>
#include <grp.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "rpc/sasl.h"
#include "rpc/tls.h"

#define BACKLOG 1024
#define LIBVIRT_SOCKET "/run/libvirt/virtstoraged-sock"

/* ---- unix ---- */

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

int plk_bind_unix(const PlkUnixSocket *s, PlkError *err)
{
    PLK_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un a;
    mode_t was;
    int r;

    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot make a socket");
    if (address_of(s->path, &a, err) < 0 || clear_the_way(&a, err) < 0)
        return -1;
    was = umask(0177); /* nobody gets in between bind and chmod */
    r = bind(fd, (const struct sockaddr *)&a, sizeof a);
    umask(was);
    if (r < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot make the socket '%s'", s->path);
    if (s->group && set_group(s->path, s->group, err) < 0)
        return -1;
    if (chmod(s->path, (mode_t)s->mode) < 0 || listen(fd, BACKLOG) < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot listen on '%s'", s->path);
    return PLK_TAKE_FD(fd);
}

static int listen_unix(PlkDaemon *daemon, const PlkUnixSocket *s, PlkError *err)
{
    PLK_CLOSE int fd = plk_bind_unix(s, err);
    PlkListener listener = {.fd = fd, .name = s->read_only ? "unix, read-only" : "unix", .read_only = s->read_only,
                            .auth = s->auth};

    if (fd < 0 || plk_server_listen(daemon->server, &listener, err) < 0)
        return -1;
    (void)PLK_TAKE_FD(fd);
    return 0;
}

static char *socket_path(const PlkConfig *config)
{
    return config->socket ? g_strdup(config->socket) : config->libvirt ? g_strdup(LIBVIRT_SOCKET) : NULL;
}

static int listen_both(PlkDaemon *daemon, const PlkConfig *config, const char *path, PlkError *err)
{
    g_autofree char *read_only = g_strconcat(path, "-ro", NULL);
    int mode = config->socket_mode >= 0 ? config->socket_mode : config->auth == PLK_AUTH_POLKIT ? 0777 : 0700;
    PlkUnixSocket rw = {.path = path, .mode = mode, .group = config->socket_group, .auth = config->auth};
    PlkUnixSocket ro = rw;

    ro.path = read_only;
    ro.read_only = true;
    return listen_unix(daemon, &rw, err) < 0 || listen_unix(daemon, &ro, err) < 0 ? -1 : 0;
}

/* A socket that was passed to us. */
typedef struct Passed {
    int fd;
    char *path; /* g_free; "" = it has none */
    bool read_only;
} Passed;

static void clear_passed(gpointer data)
{
    g_free(((Passed *)data)->path);
}

static int look_at_passed(int fd, const char *name, Passed *ret, PlkError *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNSPEC};
    socklen_t len = sizeof a - 1;

    if (sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) <= 0 || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "systemd passed '%s', which is no unix stream socket that listens", name);
    *ret = (Passed){.fd = fd, .path = g_strdup(a.sun_path)};
    ret->read_only = g_str_has_suffix(name, "-ro.socket") || g_str_has_suffix(name, "-ro") || g_str_has_suffix(a.sun_path, "-ro");
    return 0;
}

/* Of two units systemd passes the sockets in any order, so their names tell which is the read-only one. Where they do not, only
 * the first may write. */
static void settle_read_only(GArray *passed)
{
    bool told = false;

    for (guint i = 0; i < passed->len; i++)
        told |= g_array_index(passed, Passed, i).read_only;
    for (guint i = 1; i < passed->len && !told; i++)
        g_array_index(passed, Passed, i).read_only = true;
}

static int take_passed(GArray **ret, PlkError *err)
{
    g_auto(GStrv) names = NULL;
    int n = sd_listen_fds_with_names(1, &names);

    *ret = g_array_new(FALSE, TRUE, sizeof(Passed));
    g_array_set_clear_func(*ret, clear_passed);
    for (int i = 0; i < n; i++) {
        Passed one;

        if (look_at_passed(SD_LISTEN_FDS_START + i, names[i], &one, err) < 0)
            return -1;
        g_array_append_val(*ret, one);
    }
    settle_read_only(*ret);
    return 0;
}

/* *ret_path: of the one that may write; g_free. */
static int listen_systemd(PlkDaemon *daemon, const PlkConfig *config, int *ret_n, char **ret_path, PlkError *err)
{
    g_autoptr(GArray) passed = NULL;

    if (take_passed(&passed, err) < 0)
        return -1;
    for (guint i = 0; i < passed->len; i++) {
        const Passed *p = &g_array_index(passed, Passed, i);
        PlkListener listener = {.fd = p->fd, .name = p->read_only ? "systemd, read-only" : "systemd",
                                .read_only = p->read_only, .auth = config->auth};

        if (plk_server_listen(daemon->server, &listener, err) < 0)
            return -1;
        if (!p->read_only && *p->path && !*ret_path)
            *ret_path = g_strdup(p->path);
    }
    *ret_n = (int)passed->len;
    return 0;
}

/* ---- TCP ---- */

/* "host:port", "[v6]:port", ":port" */
static int split_address(const char *text, char **ret_host, char **ret_port, PlkError *err)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;

    /* getaddrinfo() takes 70000 for 4464. */
    if (!colon || !colon[1] || (g_ascii_isdigit(colon[1]) && !g_ascii_string_to_unsigned(colon + 1, 10, 0, 65535, NULL, NULL)))
        return plk_fail(err, PLK_ERROR_CONFIG, "'%s' is no HOST:PORT to listen on", text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']')
        *ret_host = g_strndup(text + 1, len - 2);
    else
        *ret_host = len ? g_strndup(text, len) : NULL;
    *ret_port = g_strdup(colon + 1);
    return 0;
}

static int listen_at(PlkDaemon *daemon, const struct addrinfo *a, const char *text, PlkListener listener, PlkError *err)
{
    PLK_CLOSE int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    int on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (fd < 0 || bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot listen on '%s'", text);
    listener.fd = fd;
    if (plk_server_listen(daemon->server, &listener, err) < 0)
        return -1;
    (void)PLK_TAKE_FD(fd);
    return 0;
}

/* listener: all but the descriptor. */
static int listen_tcp(PlkDaemon *daemon, const char *text, PlkListener listener, PlkError *err)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    g_autofree char *host = NULL, *port = NULL;
    struct addrinfo *list = NULL;
    int r;

    if (split_address(text, &host, &port, err) < 0)
        return -1;
    r = getaddrinfo(host, port, &hints, &list);
    if (r)
        return plk_fail(err, PLK_ERROR_CONFIG, "cannot listen on '%s': %s", text, gai_strerror(r));
    for (struct addrinfo *a = list; a && r == 0; a = a->ai_next)
        r = listen_at(daemon, a, text, listener, err);
    freeaddrinfo(list);
    return r;
}

static int listen_plain_tcp(PlkDaemon *daemon, const PlkConfig *config, PlkError *err)
{
    PlkListener listener = {.name = "tcp", .auth = config->tcp_auth,
                            .wrap = config->tcp_auth == PLK_AUTH_SASL ? plk_sasl_wrap : NULL};

    if (config->tcp_auth == PLK_AUTH_POLKIT)
        return plk_fail(err, PLK_ERROR_CONFIG, "polkit knows only local processes: [tcp] auth is to be sasl, or none");
    return listen_tcp(daemon, config->tcp, listener, err);
}

static int listen_tls(PlkDaemon *daemon, const PlkConfig *config, PlkError *err)
{
    PlkTlsOptions options = {.ca = config->ca, .crl = config->crl, .cert = config->cert, .key = config->key,
                             .trust_anybody = config->tls_trust_anybody, .priority = config->tls_priority,
                             .allowed = (const char *const *)config->tls_names};
    PlkListener listener = {.name = "tls", .auth = config->tls_auth, .wrap = plk_tls_wrap};

    if (config->tls_auth == PLK_AUTH_POLKIT)
        return plk_fail(err, PLK_ERROR_CONFIG, "polkit knows only local processes: [tls] auth is to be sasl, or none");
    if (plk_tls_new(&options, &daemon->tls, err) < 0)
        return -1;
    listener.wrap_arg = daemon->tls;
    return listen_tcp(daemon, config->tls, listener, err);
}

/* ---- all ---- */

static bool wants_sasl(const PlkConfig *config)
{
    return config->auth == PLK_AUTH_SASL || (config->tcp && config->tcp_auth == PLK_AUTH_SASL) ||
           (config->tls && config->tls_auth == PLK_AUTH_SASL);
}

/* Whoever writes down who may come in is not to learn one day that nobody looked. */
static int check_lists(const PlkConfig *config, PlkError *err)
{
    if (config->users && config->auth != PLK_AUTH_NONE)
        return plk_fail(err, PLK_ERROR_CONFIG, "[daemon] users is not looked at where auth is polkit or sasl");
    if (config->tls && config->tls_names && config->tls_trust_anybody)
        return plk_fail(err, PLK_ERROR_CONFIG, "[tls] names means nothing where trust_anybody is true: anybody can choose a name");
    if (config->sasl_users && !wants_sasl(config))
        return plk_fail(err, PLK_ERROR_CONFIG, "[sasl] users is not looked at: no socket has auth=sasl");
    return 0;
}

int plk_listen(PlkDaemon *daemon, const PlkConfig *config, PlkError *err)
{
    const PlkSaslOptions sasl = {.app = "libvirt", .allowed = (const char *const *)config->sasl_users};
    g_autofree char *path = socket_path(config), *passed = NULL;
    int n;

    if (check_lists(config, err) < 0)
        return -1;
    if (wants_sasl(config) && plk_sasl_setup(&sasl, err) < 0)
        return -1;
    if (listen_systemd(daemon, config, &n, &passed, err) < 0)
        return -1;
    if (n == 0 && path) {
        if (listen_both(daemon, config, path, err) < 0)
            return -1;
        daemon->socket = g_strdup(path);
    }
    if (config->tcp && listen_plain_tcp(daemon, config, err) < 0)
        return -1;
    if (config->tls && listen_tls(daemon, config, err) < 0)
        return -1;
    if (n == 0 && !path && !config->tcp && !config->tls)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "no socket to listen on; give --socket PATH");
    if (!daemon->socket && !passed)
        return 0;
    return plk_storage_announce(daemon->storage, passed ? passed : daemon->socket, err);
}

void plk_unlisten(PlkDaemon *daemon)
{
    g_autofree char *path = g_steal_pointer(&daemon->socket), *read_only = path ? g_strconcat(path, "-ro", NULL) : NULL;

    if (!path)
        return;
    unlink(path);
    unlink(read_only);
}

/* ---- who connects ---- */

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

static bool is_listed(const PlkConfig *config, uid_t uid)
{
    if (!config->users || uid == 0 || uid == geteuid())
        return true;
    for (size_t i = 0; i < config->n_users; i++)
        if (config->users[i] == (int64_t)uid)
            return true;
    return false;
}

/* A process of another PID namespace has no number here, but a user. */
bool plk_is_local(const PlkPeer *peer)
{
    return peer->identity.uid != (uid_t)-1;
}

void plk_admit(PlkPeer *peer, const PlkConfig *config)
{
    if (!plk_is_local(peer))
        return;
    peer->identity.start_time = start_time(peer->identity.pid);
    if (peer->listener->auth == PLK_AUTH_NONE && !is_listed(config, peer->identity.uid)) {
        peer->refusal = "this user is not on ploopd's list of users";
        peer->refusal_code = PLK_ERROR_AUTH;
    }
}

char *plk_describe_peer(const PlkPeer *peer)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (plk_is_local(peer))
        return g_strdup_printf("user %u, process %d", (unsigned)peer->identity.uid, (int)peer->identity.pid);
    if (getpeername(peer->transport->fd, (struct sockaddr *)&a, &len) < 0 ||
        getnameinfo((struct sockaddr *)&a, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
        return g_strdup("an unknown address");
    return g_strdup_printf("%s port %s", host, port);
}
