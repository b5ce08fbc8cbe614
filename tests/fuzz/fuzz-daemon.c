/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon that lives: the server, its procedures and a storage of its own in this process, and three clients on its socket. An
 * input is what they do: questions, a bunch of them at a time and some of them bent, and between them changes of two pools with
 * three volumes each, uploads that end in every way, and broken frames.
 *
 * What must hold:
 *  - each call has one answer, with its own serial; only who breaks the protocol is hung up on;
 *  - what is acknowledged agrees with a model of pools, volumes and bytes, and what the model allows is not refused;
 *  - in the end a fresh client is served, finds what the model says, and no descriptor is left over.
 *
 * With FUZZ_TALK in the environment it says in the end how many frames a second it was.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/log.h"
#include "fuzz.h"
#include "rpc/wire.h"

#define POOLS 2
#define VOLUMES 3
#define CLIENTS 3
#define BUNCH 64 /* questions that are asked at once; a bit each */
#define BYTES_MAX 65536
#define WAIT_S 10
#define FDS_MORE 4

enum {
    OPEN = 1, CLOSE = 2, FEATURE = 60, AUTH_LIST = 66, DEFINE = 77, START = 78, STOP = 80, UNDEFINE = 82, REFRESH = 83,
    LOOKUP = 84, INFO = 87, XML = 88, VOL_CREATE = 93, VOL_DELETE = 94, VOL_LOOKUP = 95, VOL_BY_KEY = 96, VOL_BY_PATH = 97,
    VOL_INFO = 98, VOL_XML = 99, VOL_PATH = 100, CLONE = 125, IS_ACTIVE = 154, WIPE = 165, UPLOAD = 208, DOWNLOAD = 209,
    RESIZE = 260, LIST_POOLS = 281, LIST_VOLUMES = 282,
};

/* ---- the daemon ---- */

static char home[200];
static PlkDaemon daemon_;
static uint64_t n_frames;
static gint64 began;

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

static void *serve(void *arg)
{
    PlkError err;

    FUZZ_CHECK(plk_server_run(daemon_.server, &err) == 0, "%s", err.message);
    return NULL;
}

static char *path_of(const char *name)
{
    return g_strdup_printf("%s/%s", home, name);
}

static void listen_at(struct sockaddr_un *ret)
{
    PlkListener listener = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .name = "fuzz"};
    PlkError err;

    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret->sun_path, sizeof ret->sun_path, "%.90s/socket", home);
    FUZZ_CHECK(bind(listener.fd, (struct sockaddr *)ret, sizeof *ret) == 0 && listen(listener.fd, 16) == 0, "no socket");
    FUZZ_CHECK(plk_server_listen(daemon_.server, &listener, &err) == 0, "%s", err.message);
}

/* In memory where that is possible: what is fuzzed is not the disk. */
static void make_home(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(home, sizeof home, "%.100s/ploopkit-fuzz.XXXXXX", tmp ? tmp : "/tmp");
    FUZZ_CHECK(mkdtemp(home), "no directory");
    if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        (void)!mount("none", home, "tmpfs", 0, "size=64m");
}

static struct sockaddr_un address;

static void end(void)
{
    if (getenv("FUZZ_TALK"))
        fprintf(stderr, "%.0f frames a second\n", (double)n_frames * 1e6 / (double)(g_get_monotonic_time() - began));
    umount2(home, MNT_DETACH);
    rmdir(home);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const PlkProgram *const programs[] = {&plk_program_remote, NULL};
    PlkServerOptions options = {.programs = programs, .attach = attach, .closed = closed, .detach = detach, .arg = &daemon_};
    g_autofree char *config = NULL, *run = NULL;
    PlkStorageOptions storage = {.role = PLK_STORAGE_DAEMON};
    pthread_t thread;
    PlkError err;

    make_home();
    storage.config_dir = config = path_of("config");
    storage.runtime_dir = run = path_of("run");
    for (int i = 0; i < POOLS; i++) {
        g_autofree char *name = g_strdup_printf("p%d", i), *path = path_of(name);

        FUZZ_CHECK(mkdir(path, 0755) == 0, "no directory");
    }
    plk_log_setup(LOG_EMERG);
    daemon_.uri = "storage:///system";
    FUZZ_CHECK(plk_storage_open(&storage, &daemon_.storage, &err) == 0, "%s", err.message);
    plk_events_new(&daemon_);
    FUZZ_CHECK(plk_server_new(&options, &daemon_.server, &err) == 0, "%s", err.message);
    listen_at(&address);
    FUZZ_CHECK(pthread_create(&thread, NULL, serve, NULL) == 0, "no thread");
    began = g_get_monotonic_time();
    atexit(end);
    return 0;
}

/* ---- payloads ---- */

static void put_word(GByteArray *b, uint32_t v)
{
    uint32_t be = GUINT32_TO_BE(v);

    g_byte_array_append(b, (const guint8 *)&be, 4);
}

static void put_hyper(GByteArray *b, uint64_t v)
{
    put_word(b, (uint32_t)(v >> 32));
    put_word(b, (uint32_t)v);
}

static void put_text(GByteArray *b, const char *text)
{
    static const guint8 zeros[4];
    size_t n = strlen(text);

    put_word(b, (uint32_t)n);
    g_byte_array_append(b, (const guint8 *)text, (guint)n);
    g_byte_array_append(b, zeros, (guint)(-n & 3));
}

static void put_pool(GByteArray *b, unsigned pool)
{
    guint8 uuid[16] = {1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, (guint8)pool};
    char name[] = {'p', (char)('0' + pool), '\0'};

    put_text(b, name);
    g_byte_array_append(b, uuid, sizeof uuid);
}

static void put_volume(GByteArray *b, unsigned pool, unsigned volume)
{
    g_autofree char *key = g_strdup_printf("%s/p%u/v%u", home, pool, volume);
    char name[3] = {'p', (char)('0' + pool), '\0'};

    put_text(b, name);
    name[0] = 'v', name[1] = (char)('0' + volume);
    put_text(b, name);
    put_text(b, key);
}

/* ---- clients ---- */

static const FuzzInput nothing = {(const uint8_t *)"", (const uint8_t *)""};

typedef struct Client {
    int fd;
    uint32_t serial;
    GByteArray *out;   /* questions that are not sent yet */
    unsigned n_out;
    uint32_t upload;   /* serial of an open one; 0 */
    unsigned pool, volume;
    bool known;        /* what was in it before */
} Client;

typedef struct Frame {
    uint32_t length;
    int32_t procedure;
    uint32_t type, serial, status;
    uint8_t *payload; /* g_free */
} Frame;

static Client clients[CLIENTS];

static bool get_exactly(int fd, void *to, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(fd, to, n, 0);

        if (got < 0 && errno == EINTR) /* libFuzzer's alarm */
            continue;
        FUZZ_CHECK(got >= 0 || errno == ECONNRESET || errno == EPIPE, "no answer within %d s", WAIT_S);
        if (got <= 0)
            return false;
        to = (char *)to + got;
        n -= (size_t)got;
    }
    return true;
}

/* False: hung up on. */
static bool receive(Client *c, Frame *ret)
{
    uint32_t head[7];

    if (!get_exactly(c->fd, head, sizeof head))
        return false;
    for (int i = 0; i < 7; i++)
        head[i] = GUINT32_FROM_BE(head[i]);
    *ret = (Frame){.length = head[0] - sizeof head, .procedure = (int32_t)head[3], .type = head[4], .serial = head[5], .status = head[6]};
    FUZZ_CHECK(head[0] >= sizeof head && ret->length < (1u << 20), "a frame of %u bytes", head[0]);
    ret->payload = g_malloc(ret->length + 1);
    n_frames++;
    return get_exactly(c->fd, ret->payload, ret->length);
}

static void add_frame(GByteArray *out, int procedure, PlkFrameType type, uint32_t serial, PlkFrameStatus status, const void *payload,
                      size_t len)
{
    put_word(out, (uint32_t)(28 + len));
    put_word(out, PLK_PROGRAM_REMOTE);
    put_word(out, 1);
    put_word(out, (uint32_t)procedure);
    put_word(out, type);
    put_word(out, serial);
    put_word(out, status);
    g_byte_array_append(out, payload, (guint)len);
    n_frames++;
}

/* In two pieces: a frame may come in as many. */
static void send_all(Client *c, GByteArray *out, FuzzInput *in)
{
    size_t at = 0, cut = out->len ? fuzz_number(in, 2) % (out->len + 1) : 0;

    while (at < out->len) {
        ssize_t n = send(c->fd, out->data + at, (at < cut ? cut : out->len) - at, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break; /* hung up on: the answers will say so */
        at += (size_t)n;
    }
    g_byte_array_set_size(out, 0);
}

/* The answers to all questions that wait, each once. */
static void flush(Client *c, FuzzInput *in)
{
    uint64_t due = c->n_out == BUNCH ? UINT64_MAX : (1ull << c->n_out) - 1;
    uint32_t first = c->serial - c->n_out + 1;

    send_all(c, c->out, in);
    while (due) {
        Frame f;

        FUZZ_CHECK(receive(c, &f), "hung up on after good questions");
        FUZZ_CHECK(f.type == PLK_FRAME_REPLY && f.serial - first < 64 && due & 1ull << (f.serial - first),
                   "an answer of type %u to serial %u, %llx of %u on are due", f.type, f.serial, (unsigned long long)due, first);
        due &= ~(1ull << (f.serial - first));
        g_free(f.payload);
    }
    c->n_out = 0;
}

static void ask(Client *c, int procedure, GByteArray *payload, FuzzInput *in)
{
    add_frame(c->out, procedure, PLK_FRAME_CALL, ++c->serial, PLK_FRAME_OK, payload->data, payload->len);
    if (++c->n_out == BUNCH)
        flush(c, in);
}

/* One call, and its answer. */
static bool call_for(Client *c, int procedure, GByteArray *payload, FuzzInput *in, Frame *ret)
{
    bool ok;

    flush(c, in);
    add_frame(c->out, procedure, PLK_FRAME_CALL, ++c->serial, PLK_FRAME_OK, payload->data, payload->len);
    send_all(c, c->out, in);
    FUZZ_CHECK(receive(c, ret), "hung up on after procedure %d", procedure);
    FUZZ_CHECK(ret->type == PLK_FRAME_REPLY && ret->serial == c->serial, "procedure %d: type %u, serial %u instead of %u", procedure,
               ret->type, ret->serial, c->serial);
    ok = ret->status == PLK_FRAME_OK;
    return ok;
}

static bool call(Client *c, int procedure, GByteArray *payload, FuzzInput *in)
{
    Frame f;
    bool ok = call_for(c, procedure, payload, in, &f);

    g_free(f.payload);
    return ok;
}

static void connect_client(Client *c)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    struct timeval limit = {.tv_sec = WAIT_S};
    FuzzInput none = nothing;

    *c = (Client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .out = c->out ? c->out : g_byte_array_new()};
    g_byte_array_set_size(c->out, 0);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    FUZZ_CHECK(connect(c->fd, (struct sockaddr *)&address, sizeof address) == 0, "cannot connect");
    FUZZ_CHECK(call(c, AUTH_LIST, payload, &none), "no AUTH_LIST");
    put_word(payload, 1);
    put_text(payload, "storage:///system");
    put_word(payload, 0);
    FUZZ_CHECK(call(c, OPEN, payload, &none), "no OPEN");
}

/* ---- the model ---- */

typedef struct Volume {
    bool exists, known; /* known: what is in it */
    bool open;          /* an upload to it is */
    bool left;          /* by a client that went; nobody knows when the daemon sees that */
    size_t size;
    uint8_t bytes[BYTES_MAX];
} Volume;

static struct {
    bool defined, active;
    Volume volumes[VOLUMES];
} model[POOLS];

static bool pool_is_busy(unsigned pool)
{
    for (unsigned i = 0; i < VOLUMES; i++)
        if (model[pool].volumes[i].open || model[pool].volumes[i].left)
            return true;
    return false;
}

/* What is to happen happens; what is not does not; where somebody is busy both are fine. */
static void judge(bool ok, bool allowed, bool busy, const char *what)
{
    FUZZ_CHECK(!ok || allowed, "%s went well", what);
    FUZZ_CHECK(ok || !allowed || busy, "%s was refused", what);
}

/* ---- what clients do ---- */

static void question(Client *c, FuzzInput *in)
{
    static const int which[] = {LOOKUP, INFO, XML, VOL_LOOKUP, VOL_BY_KEY, VOL_BY_PATH, VOL_INFO, VOL_XML, VOL_PATH, IS_ACTIVE,
                                LIST_POOLS, LIST_VOLUMES, FEATURE};
    g_autoptr(GByteArray) b = g_byte_array_new();
    unsigned choice = fuzz_byte(in), bend = choice >> 5, pool = choice % POOLS, volume = choice % VOLUMES;
    int procedure = which[choice % G_N_ELEMENTS(which)];
    g_autofree char *path = g_strdup_printf("%s/p%u/v%u", home, pool, volume);

    if (procedure == LOOKUP)
        put_text(b, "p0");
    else if (procedure == VOL_BY_KEY || procedure == VOL_BY_PATH)
        put_text(b, path);
    else if (procedure >= VOL_INFO && procedure <= VOL_PATH)
        put_volume(b, pool, volume);
    else if (procedure != LIST_POOLS && procedure != FEATURE)
        put_pool(b, pool);
    if (procedure == VOL_LOOKUP)
        put_text(b, "v1");
    put_word(b, procedure == FEATURE ? choice : 1);
    put_word(b, 0);
    if (bend == 7) { /* bytes bent, or missing */
        b->data[fuzz_byte(in) % b->len] ^= (guint8)fuzz_byte(in);
        g_byte_array_set_size(b, b->len - fuzz_byte(in) % b->len);
    }
    ask(c, procedure, b, in);
}

static void stranger(Client *c, FuzzInput *in)
{
    static const uint8_t changes[] = {OPEN, CLOSE}; /* left to others */
    g_autoptr(GByteArray) b = g_byte_array_new();
    int procedure = (int)fuzz_number(in, 2) % 500;
    size_t n = fuzz_byte(in) % 24;

    for (size_t i = 0; i < n; i++)
        g_byte_array_append(b, &(guint8){(guint8)fuzz_byte(in)}, 1);
    if (memchr(changes, procedure, sizeof changes) || procedure == 66)
        procedure = 499;
    ask(c, procedure, b, in); /* too short for anything that changes things */
}

static void change_pool(Client *c, FuzzInput *in, int procedure)
{
    unsigned pool = fuzz_byte(in) % POOLS;
    g_autoptr(GByteArray) b = g_byte_array_new();
    bool defined = model[pool].defined, active = model[pool].active, busy = pool_is_busy(pool), ok;
    g_autofree char *xml = g_strdup_printf("<pool type='dir'><name>p%u</name><uuid>01020304-0506-4708-890a-0b0c0d0e0f%02x</uuid>"
                                           "<target><path>%s/p%u</path></target></pool>", pool, pool, home, pool);

    if (procedure == DEFINE)
        put_text(b, xml);
    else
        put_pool(b, pool);
    put_word(b, 0);
    ok = call(c, procedure, b, in);
    switch (procedure) {
    case DEFINE:
        judge(ok, true, false, "defining a pool");
        model[pool].defined = true;
        break;
    case START:
        judge(ok, defined && !active, false, "starting a pool");
        model[pool].active |= ok;
        break;
    case STOP:
        judge(ok, active, busy, "stopping a pool");
        model[pool].active &= !ok;
        break;
    case UNDEFINE:
        judge(ok, defined && !active, false, "undefining a pool");
        model[pool].defined &= !ok;
        break;
    default:
        judge(ok, active, busy, "a refresh");
    }
}

static void make_volume(Client *c, FuzzInput *in, bool clone)
{
    unsigned pool = fuzz_byte(in) % POOLS, volume = fuzz_byte(in) % VOLUMES, from = fuzz_byte(in) % VOLUMES;
    size_t size = clone ? model[pool].volumes[from].size : fuzz_number(in, 2) % (BYTES_MAX / 2);
    Volume *v = &model[pool].volumes[volume], *source = &model[pool].volumes[from];
    g_autofree char *xml = g_strdup_printf("<volume><name>v%u</name><capacity>%zu</capacity></volume>", volume, size);
    g_autoptr(GByteArray) b = g_byte_array_new();
    bool ok;

    put_pool(b, pool);
    put_text(b, xml);
    if (clone)
        put_volume(b, pool, from);
    put_word(b, 0);
    ok = call(c, clone ? CLONE : VOL_CREATE, b, in);
    judge(ok, model[pool].active && !v->exists && (!clone || (source->exists && !source->open)),
          clone && (source->left || !source->known),
          clone ? "a clone" : "a new volume");
    if (!ok)
        return;
    *v = (Volume){.exists = true, .known = !clone || source->known, .size = size};
    if (clone)
        memcpy(v->bytes, source->bytes, size);
}

static void check_bytes(unsigned pool, unsigned volume)
{
    const Volume *v = &model[pool].volumes[volume];
    g_autofree char *path = g_strdup_printf("%s/p%u/v%u", home, pool, volume), *text = NULL;
    gsize n;

    FUZZ_CHECK(g_file_get_contents(path, &text, &n, NULL), "volume %u is not there", volume);
    FUZZ_CHECK(!v->known || (n == v->size && memcmp(text, v->bytes, n) == 0), "volume %u has %zu bytes, or other ones, instead of %zu",
               volume, (size_t)n, v->size);
}

static void change_volume(Client *c, FuzzInput *in, int procedure)
{
    unsigned pool = fuzz_byte(in) % POOLS, volume = fuzz_byte(in) % VOLUMES;
    Volume *v = &model[pool].volumes[volume];
    size_t size = fuzz_number(in, 2) % (BYTES_MAX / 2);
    g_autoptr(GByteArray) b = g_byte_array_new();
    bool ok, grows = size > v->size;

    put_volume(b, pool, volume);
    if (procedure == RESIZE)
        put_hyper(b, size);
    put_word(b, 0);
    ok = call(c, procedure, b, in);
    /* Without its flag nothing shrinks; of a size that stays the same both is fine. */
    judge(ok, model[pool].active && v->exists && !v->open && (procedure != RESIZE || size >= v->size || !v->known),
          v->left || !v->known || (procedure == RESIZE && !grows),
          procedure == VOL_DELETE ? "a deletion" : procedure == WIPE ? "a wipe" : "a resize");
    if (!ok)
        return;
    if (procedure == VOL_DELETE)
        *v = (Volume){0};
    else if (procedure == WIPE)
        memset(v->bytes, 0, v->size);
    else
        v->size = size;
    if (v->exists)
        check_bytes(pool, volume);
}

static void end_upload(Client *c)
{
    if (c->upload)
        model[c->pool].volumes[c->volume].open = false;
    c->upload = 0;
}

static void begin_upload(Client *c, FuzzInput *in)
{
    unsigned pool = fuzz_byte(in) % POOLS, volume = fuzz_byte(in) % VOLUMES;
    Volume *v = &model[pool].volumes[volume];
    g_autoptr(GByteArray) b = g_byte_array_new();
    bool ok;

    if (c->upload)
        return;
    put_volume(b, pool, volume);
    put_hyper(b, 0);
    put_hyper(b, 0);
    put_word(b, 1); /* sparse */
    ok = call(c, UPLOAD, b, in);
    judge(ok, model[pool].active && v->exists && !v->open, v->left || !v->known, "an upload");
    if (!ok)
        return;
    c->upload = c->serial;
    c->pool = pool;
    c->volume = volume;
    c->known = v->known;
    v->open = true;
    v->known = false;
}

/* Some pieces, then an end, good or bad. */
static void upload(Client *c, FuzzInput *in)
{
    g_autoptr(GByteArray) b = g_byte_array_new(), data = g_byte_array_new();
    Volume *v = &model[c->pool].volumes[c->volume];
    unsigned pieces = fuzz_byte(in) % 6, how = fuzz_byte(in) % 8;
    size_t at = 0, before = v->size;
    Frame f;

    if (!c->upload)
        return;
    flush(c, in);
    for (unsigned i = 0; i < pieces; i++) {
        size_t n = fuzz_number(in, 2) % (BYTES_MAX / 8) + 1;

        g_byte_array_set_size(data, 0);
        if (fuzz_byte(in) % 3 == 0) {
            put_hyper(data, n);
            put_word(data, 0);
            add_frame(b, UPLOAD, PLK_FRAME_HOLE, c->upload, PLK_FRAME_CONTINUE, data->data, data->len);
            memset(v->bytes + at, 0, n);
        } else {
            g_byte_array_set_size(data, (guint)n);
            memset(data->data, (int)fuzz_byte(in), n);
            add_frame(b, UPLOAD, PLK_FRAME_STREAM, c->upload, PLK_FRAME_CONTINUE, data->data, n);
            memcpy(v->bytes + at, data->data, n);
        }
        at += n;
    }
    add_frame(b, UPLOAD, PLK_FRAME_STREAM, c->upload, how ? PLK_FRAME_OK : PLK_FRAME_ERROR, NULL, 0);
    if (how == 1) /* after the end: nobody's */
        add_frame(b, UPLOAD, PLK_FRAME_STREAM, c->upload, PLK_FRAME_CONTINUE, "late", 4);
    send_all(c, b, in);
    FUZZ_CHECK(receive(c, &f) && f.serial == c->upload && f.type == PLK_FRAME_STREAM, "no answer to the end of an upload");
    g_free(f.payload);
    FUZZ_CHECK(f.status == PLK_FRAME_OK, "an upload failed");
    end_upload(c);
    v->size = MAX(at, before); /* at most, if it was given up */
    v->known = how && (c->known || at >= before);
    if (how)
        check_bytes(c->pool, c->volume);
}

static void download(Client *c, FuzzInput *in)
{
    unsigned pool = fuzz_byte(in) % POOLS, volume = fuzz_byte(in) % VOLUMES;
    Volume *v = &model[pool].volumes[volume];
    g_autoptr(GByteArray) b = g_byte_array_new();
    size_t at = 0;
    bool ok;
    Frame f;

    put_volume(b, pool, volume);
    put_hyper(b, 0);
    put_hyper(b, 0);
    put_word(b, 0);
    ok = call(c, DOWNLOAD, b, in);
    judge(ok, model[pool].active && v->exists && !v->open, v->left || !v->known, "a download");
    for (bool more = ok; more;) {
        FUZZ_CHECK(receive(c, &f) && f.serial == c->serial && f.type == PLK_FRAME_STREAM && f.status == PLK_FRAME_CONTINUE,
                   "no data");
        FUZZ_CHECK(!v->known || (at + f.length <= v->size && memcmp(f.payload, v->bytes + at, f.length) == 0), "other bytes at %zu", at);
        at += f.length;
        more = f.length > 0;
        g_free(f.payload);
    }
    if (!ok)
        return;
    FUZZ_CHECK(!v->known || at == v->size, "%zu bytes of %zu", at, v->size);
    g_byte_array_set_size(b, 0);
    add_frame(b, DOWNLOAD, PLK_FRAME_STREAM, c->serial, PLK_FRAME_OK, NULL, 0);
    send_all(c, b, in);
    FUZZ_CHECK(receive(c, &f) && f.type == PLK_FRAME_STREAM && f.status == PLK_FRAME_OK && f.length == 0, "not confirmed");
    g_free(f.payload);
}

/* Its uploads end with it, whenever the daemon sees that. */
static void leave(Client *c)
{
    close(c->fd);
    if (c->upload) {
        Volume *v = &model[c->pool].volumes[c->volume];

        end_upload(c);
        v->left = true;
    }
}

static void come_again(Client *c, FuzzInput *in)
{
    leave(c);
    connect_client(c);
}

/* A head that cannot be ends the connection, whatever waits. */
static void break_rules(Client *c, FuzzInput *in)
{
    g_autoptr(GByteArray) b = g_byte_array_new();
    char byte;

    flush(c, in);
    add_frame(b, 1, PLK_FRAME_CALL, 1, PLK_FRAME_OK, NULL, 0);
    if (fuzz_byte(in) % 2)
        memset(b->data, fuzz_byte(in) % 2 ? 0xff : 0, 4); /* length */
    else
        b->data[7] ^= 1; /* program */
    send_all(c, b, in);
    if (b->len == 0 && recv(c->fd, &byte, 1, MSG_DONTWAIT) > 0)
        c->serial++; /* told so first; either is fine */
    come_again(c, in);
}

static void act(Client *c, FuzzInput *in, unsigned what)
{
    static const int pool_changes[] = {DEFINE, DEFINE, START, START, START, STOP, UNDEFINE, REFRESH};
    static const int volume_changes[] = {VOL_DELETE, RESIZE, RESIZE, WIPE};

    if (what < 150) {
        for (unsigned n = what % 16 + 1; n > 0; n--)
            question(c, in);
    } else if (what < 165) {
        stranger(c, in);
    } else if (what < 190) {
        change_pool(c, in, pool_changes[what % G_N_ELEMENTS(pool_changes)]);
    } else if (what < 208) {
        make_volume(c, in, what % 4 == 0);
    } else if (what < 222) {
        change_volume(c, in, volume_changes[what % G_N_ELEMENTS(volume_changes)]);
    } else if (what < 232) {
        begin_upload(c, in);
    } else if (what < 242) {
        upload(c, in);
    } else if (what < 250) {
        download(c, in);
    } else if (what < 253) {
        come_again(c, in);
    } else {
        break_rules(c, in);
    }
}

/* ---- the end of an input ---- */

static unsigned count_fds(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");

    while (d && readdir(d))
        n++;
    closedir(d);
    return n;
}

static void wait_until_alone(void)
{
    PlkServerFigures f;

    for (int i = 0; i < WAIT_S * 10000; i++) {
        plk_server_figures(daemon_.server, &f);
        if (f.peers == 0 && f.busy == 0)
            return;
        g_usleep(100);
    }
    FUZZ_CHECK(false, "%u clients are still there, %u threads at work", f.peers, f.busy);
}

static uint32_t word_at(const Frame *f, size_t at)
{
    uint32_t be;

    FUZZ_CHECK(at + 4 <= f->length, "an answer of %u bytes", f->length);
    memcpy(&be, f->payload + at, 4);
    return GUINT32_FROM_BE(be);
}

/* The last word of a list's answer is how many there are. */
static void check_count(Client *c, int procedure, GByteArray *payload, unsigned expected)
{
    FuzzInput none = nothing;
    Frame f;

    FUZZ_CHECK(call_for(c, procedure, payload, &none, &f), "procedure %d fails in the end", procedure);
    FUZZ_CHECK(word_at(&f, f.length - 4) == expected, "%u things instead of %u", word_at(&f, f.length - 4), expected);
    g_free(f.payload);
}

static void compare_with_model(Client *c)
{
    unsigned defined = 0;

    for (unsigned i = 0; i < POOLS; i++) {
        g_autoptr(GByteArray) b = g_byte_array_new();
        unsigned volumes = 0;

        defined += model[i].defined || model[i].active;
        for (unsigned k = 0; k < VOLUMES; k++) {
            volumes += model[i].volumes[k].exists;
            if (model[i].volumes[k].exists)
                check_bytes(i, k);
        }
        put_pool(b, i);
        put_word(b, 1);
        put_word(b, 0);
        if (model[i].active)
            check_count(c, LIST_VOLUMES, b, volumes);
    }
    {
        g_autoptr(GByteArray) b = g_byte_array_new();

        put_word(b, 1);
        put_word(b, 0);
        check_count(c, LIST_POOLS, b, defined);
    }
}

/* As it was before the input. */
static void clear(Client *c)
{
    FuzzInput none = nothing;

    for (unsigned i = 0; i < POOLS; i++) {
        g_autoptr(GByteArray) b = g_byte_array_new();

        put_pool(b, i);
        if (model[i].active)
            FUZZ_CHECK(call(c, STOP, b, &none), "cannot stop pool %u", i);
        if (model[i].defined)
            FUZZ_CHECK(call(c, UNDEFINE, b, &none), "cannot undefine pool %u", i);
        for (unsigned k = 0; k < VOLUMES; k++) {
            g_autofree char *path = g_strdup_printf("%s/p%u/v%u", home, i, k);

            unlink(path);
        }
    }
    memset(model, 0, sizeof model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = {data, data + size};
    static unsigned fds;

    for (int i = 0; i < CLIENTS; i++)
        connect_client(&clients[i]);
    while (fuzz_left(&in) > 0) {
        unsigned what = fuzz_byte(&in);

        act(&clients[fuzz_byte(&in) % CLIENTS], &in, what);
    }
    for (int i = 0; i < CLIENTS; i++) {
        flush(&clients[i], &in);
        leave(&clients[i]);
    }
    wait_until_alone();
    connect_client(&clients[0]);
    compare_with_model(&clients[0]);
    clear(&clients[0]);
    close(clients[0].fd);
    wait_until_alone();
    if (!fds)
        fds = count_fds();
    /* The watch of pools opens what has changed, in its own time. */
    for (int i = 0; i < WAIT_S * 1000 && count_fds() > fds + FDS_MORE; i++)
        g_usleep(1000);
    FUZZ_CHECK(count_fds() <= fds + FDS_MORE, "%u descriptors instead of %u", count_fds(), fds);
    return 0;
}
