/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clients of fuzz-crowd.c: frames out, frames in, and what may come in when. */
#include "crowd-client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/math.h"
#include "daemon/daemon.h"
#include "fuzz.h"

#define PATIENCE_MS 15000 /* without anything moving, while answers are due */
#define FRESH_MS 1000     /* in which a new client must be answered... */
#define FRESH_TRIES 5     /* ... by the last of so many: the machine may be busy with others */
#define OUT_ENOUGH (256u << 10)
#define KEEPALIVE_PING 1
#define KEEPALIVE_PONG 2
#define EVENT_LIFECYCLE 370
#define EVENT_REFRESH 373
#define UPLOAD 208
#define DOWNLOAD 209

Client clients[CLIENTS] = {{.fd = -1}, {.fd = -1}, {.fd = -1}, {.fd = -1}};
uint64_t frames_sent, frames_received;
void (*on_stream_end)(Client *c, const Stream *s, const rpc_error *error);
void (*on_gone)(Client *c);

/* ---- buffers ---- */

static uint8_t *room(Buffer *b, size_t n)
{
    if (b->at == b->end)
        b->at = b->end = 0;
    if (b->at > 0 && b->end + n > b->size) {
        memmove(b->bytes, b->bytes + b->at, b->end - b->at);
        b->end -= b->at;
        b->at = 0;
    }
    if (b->end + n > b->size) {
        b->size = 2 * (b->end + n);
        b->bytes = realloc(b->bytes, b->size);
        FUZZ_CHECK(b->bytes, "no memory");
    }
    return b->bytes + b->end;
}

static void drop(Buffer *b)
{
    free(b->bytes);
    *b = (Buffer){0};
}

/* ---- joining and leaving ---- */

static const PlkFrame call_frame = {.program = PLK_PROGRAM_REMOTE, .version = 1};

void client_join(Client *c, Door door)
{
    *c = (Client){.fd = world_connect(door), .door = door, .authenticated = door != DOOR_POLKIT};
}

void client_leave(Client *c)
{
    if (c->fd < 0)
        return;
    close(c->fd);
    c->fd = -1;
    drop(&c->out);
    drop(&c->in);
    on_gone(c);
}

/* ---- what is sent ---- */

static void queue(Client *c, const PlkMessage *m)
{
    size_t n = m->frame.length;
    uint8_t *to = room(&c->out, n);

    memcpy(to, m->bytes, n);
    if (c->harmed) {
        to[(c->harm[0] | c->harm[1] << 8) % n] ^= c->harm[2] ? c->harm[2] : 1;
        c->harmed = false;
        c->odd = true;
    }
    c->out.end += n;
    frames_sent++;
    while (c->fd >= 0 && c->out.end - c->out.at > OUT_ENOUGH && !c->odd)
        clients_move(100);
}

void client_frame(Client *c, PlkFrame frame, const void *payload, size_t size)
{
    PlkMessage *m;

    frame.length = PLK_FRAME_HEAD + (uint32_t)size;
    m = plk_message_new(&frame);
    FUZZ_CHECK(m, "no memory");
    if (size)
        memcpy(m->bytes + PLK_FRAME_HEAD, payload, size);
    queue(c, m);
    free(m);
}

void client_stream(Client *c, const Stream *s, PlkFrameType type, PlkFrameStatus status, const void *payload, size_t size)
{
    PlkFrame frame = {.program = PLK_PROGRAM_REMOTE, .version = 1, .procedure = s->upload ? UPLOAD : DOWNLOAD, .type = type,
                      .serial = s->serial, .status = status};

    client_frame(c, frame, payload, size);
}

void client_call(Client *c, int32_t procedure, xdrproc_t shape, const void *args, Call call)
{
    PlkFrame frame = call_frame;
    PlkMessage *m;
    Call *place = &c->calls[(c->serial + 1) % CALLS];

    while (c->fd >= 0 && place->procedure && !c->odd)
        clients_move(100);
    if (c->fd < 0)
        return;
    frame.serial = ++c->serial;
    frame.procedure = procedure;
    m = plk_message_encode(frame, shape, args);
    FUZZ_CHECK(m, "procedure %d cannot be encoded", procedure);
    c->unanswered += place->procedure == 0;
    *place = call;
    place->serial = frame.serial;
    place->procedure = procedure;
    queue(c, m);
    free(m);
}

/* ---- what comes ---- */

/* A good reply is exactly its shape, nothing behind it. */
static void decode(const uint8_t *bytes, size_t size, xdrproc_t shape, void *value, int32_t procedure)
{
    XDR xdr;

    xdrmem_create(&xdr, (char *)bytes, (u_int)size, XDR_DECODE);
    FUZZ_CHECK(!shape || shape(&xdr, value), "what answers procedure %d cannot be decoded", procedure);
    FUZZ_CHECK(xdr_getpos(&xdr) == size, "%zu bytes answer procedure %d, %u of them are decoded", size, procedure,
               (unsigned)xdr_getpos(&xdr));
    xdr_destroy(&xdr);
}

static void decode_error(const uint8_t *bytes, size_t size, rpc_error *error, int32_t procedure)
{
    memset(error, 0, sizeof *error);
    decode(bytes, size, (xdrproc_t)xdr_rpc_error, error, procedure);
    FUZZ_CHECK(error->code > 0 && error->level == 2 && error->message && *error->message && **error->message,
               "procedure %d: an error without a code or words", procedure);
}

static Stream *stream_of(Client *c, uint32_t serial)
{
    for (Stream *s = c->streams; s < c->streams + STREAMS; s++)
        if (s->state != STREAM_NONE && s->serial == serial)
            return s;
    return NULL;
}

static void stream_answered(Client *c, uint32_t serial, bool good)
{
    Stream *s = stream_of(c, serial);

    if (s && s->state == STREAM_ASKED)
        s->state = good ? STREAM_OPEN : STREAM_NONE;
}

static void take_reply(Client *c, const PlkFrame *f, const uint8_t *payload, size_t size)
{
    Call *place = &c->calls[f->serial % CALLS], call = *place;
    const PlkProcedure *procedure = plk_program_remote.find(f->procedure);
    rpc_error error;
    void *value;

    FUZZ_CHECK(call.procedure && call.serial == f->serial && call.procedure == f->procedure,
               "an answer to procedure %d, serial %u, that nobody asked", f->procedure, f->serial);
    *place = (Call){0};
    c->unanswered--;
    stream_answered(c, f->serial, f->status == PLK_FRAME_OK);
    if (f->status == PLK_FRAME_ERROR) {
        decode_error(payload, size, &error, f->procedure);
        if (call.answered)
            call.answered(c, &call, &error, NULL);
        xdr_free((xdrproc_t)xdr_rpc_error, (char *)&error);
        return;
    }
    FUZZ_CHECK(f->status == PLK_FRAME_OK && procedure, "procedure %d: status %u", f->procedure, f->status);
    value = calloc(1, procedure->ret_size + 1);
    FUZZ_CHECK(value, "no memory");
    decode(payload, size, procedure->ret, value, f->procedure);
    if (call.answered)
        call.answered(c, &call, NULL, value);
    if (procedure->ret)
        xdr_free(procedure->ret, value);
    free(value);
}

static void end_stream(Client *c, Stream *s, const uint8_t *payload, size_t size, bool failed)
{
    Stream was = *s;
    rpc_error error;

    s->state = STREAM_NONE;
    if (failed)
        decode_error(payload, size, &error, was.upload ? UPLOAD : DOWNLOAD);
    else
        FUZZ_CHECK(was.state == STREAM_ENDING && size == 0, "serial %u: an end nobody asked for", was.serial);
    on_stream_end(c, &was, failed ? &error : NULL);
    if (failed)
        xdr_free((xdrproc_t)xdr_rpc_error, (char *)&error);
}

static void take_stream(Client *c, const PlkFrame *f, const uint8_t *payload, size_t size)
{
    Stream *s = stream_of(c, f->serial);
    bool hole = f->type == PLK_FRAME_HOLE;

    FUZZ_CHECK(s && s->state != STREAM_ASKED && f->procedure == (s->upload ? UPLOAD : DOWNLOAD),
               "a frame of procedure %d, serial %u, which is no open stream", f->procedure, f->serial);
    if (f->status != PLK_FRAME_CONTINUE) {
        FUZZ_CHECK(!hole && f->status <= PLK_FRAME_ERROR, "serial %u: status %u", f->serial, f->status);
        end_stream(c, s, payload, size, f->status == PLK_FRAME_ERROR);
        return;
    }
    FUZZ_CHECK(!s->upload && !s->drained, "serial %u: data %s", f->serial, s->upload ? "in an upload" : "behind the end");
    FUZZ_CHECK(!hole || (s->sparse && size == 12), "serial %u: a hole of %zu bytes", f->serial, size);
    FUZZ_CHECK(size <= PLK_FRAME_DATA, "serial %u: %zu bytes in a frame", f->serial, size);
    s->drained = !hole && size == 0;
}

static void take_keepalive(Client *c, const PlkFrame *f)
{
    PlkFrame pong = *f;

    FUZZ_CHECK(f->type == PLK_FRAME_EVENT && f->serial == 0 && f->length == PLK_FRAME_HEAD, "an odd ping");
    if (f->procedure == KEEPALIVE_PONG) {
        FUZZ_CHECK(c->pings > 0, "a pong without a ping");
        c->pings--;
        return;
    }
    pong.procedure = KEEPALIVE_PONG;
    client_frame(c, pong, NULL, 0);
}

static void take(Client *c, const uint8_t *bytes)
{
    const uint8_t *payload = bytes + PLK_FRAME_HEAD;
    size_t size;
    PlkFrame f;

    plk_frame_decode(bytes, &f);
    size = f.length - PLK_FRAME_HEAD;
    frames_received++;
    if (c->odd)
        return;
    if (f.program == PLK_PROGRAM_KEEPALIVE) {
        take_keepalive(c, &f);
        return;
    }
    FUZZ_CHECK(f.program == PLK_PROGRAM_REMOTE && f.version == 1, "a frame of program 0x%x, version %u", f.program, f.version);
    if (f.type == PLK_FRAME_REPLY)
        take_reply(c, &f, payload, size);
    else if (f.type == PLK_FRAME_STREAM || f.type == PLK_FRAME_HOLE)
        take_stream(c, &f, payload, size);
    else
        FUZZ_CHECK(f.type == PLK_FRAME_EVENT && c->listens && (f.procedure == EVENT_LIFECYCLE || f.procedure == EVENT_REFRESH),
                   "a frame of type %u, procedure %d", f.type, f.procedure);
}

static void take_all(Client *c)
{
    Buffer *b = &c->in;
    PlkFrame f;

    while (c->fd >= 0 && b->end - b->at >= PLK_FRAME_HEAD) {
        plk_frame_decode(b->bytes + b->at, &f);
        FUZZ_CHECK(f.length >= PLK_FRAME_HEAD && f.length <= PLK_FRAME_MAX, "a frame of %u bytes", f.length);
        if (b->end - b->at < f.length)
            return;
        take(c, b->bytes + b->at);
        b->at += f.length;
    }
}

/* ---- moving ---- */

static bool receive(Client *c)
{
    size_t want = 64 << 10;
    ssize_t n = recv(c->fd, room(&c->in, want), want, 0);

    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        FUZZ_CHECK(c->odd || c->leaving, "the daemon has hung up; %u calls have no answer", c->unanswered);
        FUZZ_CHECK(c->odd || !c->calls[c->serial % CALLS].procedure, "the daemon has hung up without an answer to the close");
        client_leave(c);
        return true;
    }
    c->in.end += (size_t)n;
    take_all(c);
    return true;
}

static bool send_some(Client *c)
{
    size_t n = c->out.end - c->out.at;
    ssize_t sent;

    if (c->pieces > 0 && c->piece > 0)
        n = PLK_MIN(n, c->piece);
    sent = n ? send(c->fd, c->out.bytes + c->out.at, n, MSG_NOSIGNAL) : 0;
    if (sent <= 0)
        return false; /* full; or it hung up, which receiving tells */
    c->out.at += (size_t)sent;
    c->pieces -= PLK_MIN(c->pieces, (size_t)sent);
    return true;
}

bool clients_move(int ms)
{
    struct pollfd p[CLIENTS];
    bool moved = false;

    for (Client *c = clients; c < clients + CLIENTS; c++)
        moved = (c->fd >= 0 && send_some(c)) || moved;
    for (int i = 0; i < CLIENTS; i++)
        p[i] = (struct pollfd){.fd = clients[i].fd,
                               .events = (short)(POLLIN | (clients[i].out.at < clients[i].out.end ? POLLOUT : 0))};
    if (poll(p, CLIENTS, moved ? 0 : ms) <= 0)
        return moved;
    for (int i = 0; i < CLIENTS; i++)
        if (clients[i].fd >= 0 && p[i].revents & (POLLIN | POLLERR | POLLHUP))
            moved = receive(&clients[i]) || moved;
    return moved;
}

/* What it is still owed; NULL: nothing. */
static const char *owed(const Client *c)
{
    if (c->fd < 0)
        return NULL;
    if (c->out.at < c->out.end)
        return "it does not take what is sent to it";
    if (c->leaving)
        return "it does not hang up"; /* nor need it answer what ran beside the close */
    if (c->unanswered)
        return "a call has no answer";
    if (c->pings)
        return "a ping has no answer";
    for (const Stream *s = c->streams; s < c->streams + STREAMS; s++)
        if (s->state == STREAM_ENDING)
            return "the end of a stream has no answer";
    return NULL;
}

static int32_t first_unanswered(const Client *c)
{
    for (uint32_t n = 0; n < CALLS; n++)
        if (c->calls[(c->serial + 1 + n) % CALLS].procedure)
            return c->calls[(c->serial + 1 + n) % CALLS].procedure;
    return 0;
}

/* An odd one leaves when all is sent, or nothing more is taken. */
static bool has_left(Client *c, bool moved)
{
    if (c->odd && (!moved || c->out.at == c->out.end))
        client_leave(c);
    return c->fd < 0;
}

void clients_settle(bool calm)
{
    int64_t since = world_ms();

    for (;;) {
        bool moved = clients_move(1);
        const char *why = NULL;
        unsigned here = 0;

        for (Client *c = clients; c < clients + CLIENTS; c++) {
            if (has_left(c, moved))
                continue;
            here++;
            why = why ? why : owed(c);
        }
        if (!why && (!calm || world_is_calm(here)))
            return;
        if (moved)
            since = world_ms();
        if (world_ms() - since < PATIENCE_MS)
            continue;
        for (Client *c = clients; c < clients + CLIENTS; c++)
            if (c->fd >= 0 && owed(c))
                fuzz_fail(__FILE__, __LINE__, "%s; first waits procedure %d", owed(c), first_unanswered(c));
        fuzz_fail(__FILE__, __LINE__, "the daemon does not come to rest");
    }
}

/* ---- one question after the other ---- */

static bool read_exactly(int fd, void *to, size_t size, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    for (size_t have = 0; have < size;) {
        ssize_t n = recv(fd, (char *)to + have, size - have, 0);

        if (n > 0)
            have += (size_t)n;
        else if (n == 0 || errno != EAGAIN || poll(&p, 1, ms) <= 0)
            return false;
    }
    return true;
}

/* -1: no answer. */
static int try_ask(Asker *a, int ms, int32_t procedure, xdrproc_t shape, const void *args, xdrproc_t ret_shape, void *ret)
{
    PlkFrame f = call_frame;
    uint8_t head[PLK_FRAME_HEAD];
    PlkMessage *m;
    rpc_error error;
    int code = 0;

    f.serial = ++a->serial;
    f.procedure = procedure;
    m = plk_message_encode(f, shape, args);
    FUZZ_CHECK(m && send(a->fd, m->bytes, m->frame.length, MSG_NOSIGNAL) == m->frame.length, "a new client cannot send");
    free(m);
    frames_sent++;
    if (!read_exactly(a->fd, head, sizeof head, ms))
        return -1;
    plk_frame_decode(head, &f);
    FUZZ_CHECK(f.serial == a->serial && f.procedure == procedure && f.type == PLK_FRAME_REPLY, "no answer but another frame");
    m = plk_message_new(&f);
    FUZZ_CHECK(m && read_exactly(a->fd, m->bytes + PLK_FRAME_HEAD, f.length - PLK_FRAME_HEAD, ms), "half an answer");
    frames_received++;
    if (f.status == PLK_FRAME_ERROR) {
        decode_error(m->bytes + PLK_FRAME_HEAD, plk_message_payload(m), &error, procedure);
        code = error.code;
        xdr_free((xdrproc_t)xdr_rpc_error, (char *)&error);
    } else {
        decode(m->bytes + PLK_FRAME_HEAD, plk_message_payload(m), ret_shape, ret, procedure);
    }
    free(m);
    return code;
}

static bool try_join(Asker *a)
{
    rpc_open open = {0};
    rpc_auth_types types = {0};

    *a = (Asker){.fd = world_connect(DOOR_POLKIT)};
    if (try_ask(a, FRESH_MS, 66, NULL, NULL, (xdrproc_t)xdr_rpc_auth_types, &types) == 0) {
        xdr_free((xdrproc_t)xdr_rpc_auth_types, (char *)&types);
        if (try_ask(a, FRESH_MS, 1, (xdrproc_t)xdr_rpc_open, &open, NULL, NULL) == 0)
            return true;
    }
    close(a->fd);
    return false;
}

void asker_join(Asker *a)
{
    for (int i = 0; i < FRESH_TRIES; i++)
        if (try_join(a))
            return;
    fuzz_fail(__FILE__, __LINE__, "a new client has no answer within %d ms, %d times over", FRESH_MS, FRESH_TRIES);
}

void asker_leave(Asker *a)
{
    close(a->fd);
}

int asker_ask(Asker *a, int32_t procedure, xdrproc_t shape, const void *args, xdrproc_t ret_shape, void *ret, size_t size)
{
    int code;

    memset(ret, 0, size);
    code = try_ask(a, PATIENCE_MS, procedure, shape, args, ret_shape, ret);
    FUZZ_CHECK(code >= 0, "procedure %d has no answer", procedure);
    return code;
}
