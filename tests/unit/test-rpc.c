/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The wire against a program of our own with calls that answer, fail, sleep and hang, and streams over a file in memory:
 * what a client sees, byte for byte, and that no peer waits for another.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "rpc/call.h"
#include "rpc/keepalive.h"
#include "rpc/protocol.h"
#include "test.h"

#define PROGRAM 0x1234u
#define MIB (1u << 20)

enum { OPEN = 1, CLOSE, ECHO, FAIL, SLEEP, HANG, UPLOAD, DOWNLOAD, DOWNLOAD_SPARSE };

static int file = -1; /* what is up- and downloaded */
static int fail_at = -1; /* writing fails at this offset */
static _Atomic bool let_go;
static _Atomic int finished, closed;

/* ---- a volume: a file in memory ---- */

static int next_run(PlkStream *s, bool *ret_data, uint64_t *ret_len)
{
    off_t end = lseek(file, 0, SEEK_END), data = lseek(file, (off_t)s->position, SEEK_DATA);

    if ((off_t)s->position >= end) {
        *ret_len = 0;
        return 0;
    }
    *ret_data = data == (off_t)s->position;
    *ret_len = *ret_data ? (uint64_t)lseek(file, data, SEEK_HOLE) - s->position : (data < 0 ? end : data) - s->position;
    return 0;
}

static ssize_t read_run(PlkStream *s, void *buf, size_t len)
{
    ssize_t n = pread(file, buf, len, (off_t)s->position);

    s->position += n > 0 ? (size_t)n : 0;
    return n;
}

static int skip_run(PlkStream *s, uint64_t len)
{
    s->position += len;
    return 0;
}

static int write_run(PlkStream *s, const void *buf, size_t len)
{
    if (fail_at >= 0 && s->position + len > (uint64_t)fail_at)
        return s->failed = -ENOSPC;
    if (pwrite(file, buf, len, (off_t)s->position) != (ssize_t)len)
        return -EIO;
    s->position += len;
    return 0;
}

static int write_hole(PlkStream *s, uint64_t len)
{
    s->position += len;
    return ftruncate(file, (off_t)s->position);
}

static int finish(PlkStream *s, PlkError *err)
{
    if (s->failed)
        return plk_fail_io(err, PLK_ERROR_WRITE, s->failed, "volume 'v'");
    finished++;
    return 0;
}

static void close_volume(PlkStream *s)
{
    closed++;
    free(s);
}

static const PlkStreamOps ops = {read_run, next_run, skip_run, write_run, write_hole, finish, close_volume};

static PlkStream *open_volume(bool send_file)
{
    PlkStream *s = calloc(1, sizeof *s);

    s->ops = &ops;
    s->fd = send_file ? file : -1;
    return s;
}

/* ---- a program ---- */

static int run_open(PlkCall *call, const void *args, void *ret, PlkError *err)
{
    pthread_mutex_lock(&call->peer->lock);
    call->peer->opened = true;
    pthread_mutex_unlock(&call->peer->lock);
    return 0;
}

static int run_close(PlkCall *call, const void *args, void *ret, PlkError *err)
{
    call->last = true;
    return 0;
}

static int run_echo(PlkCall *call, const void *args, void *ret, PlkError *err)
{
    const rpc_name *name = args;

    ((rpc_name *)ret)->text = strdup(name->text);
    return 0;
}

static int run_fail(PlkCall *call, const void *args, void *ret, PlkError *err)
{
    return plk_fail(err, PLK_ERROR_NO_POOL, "no pool 'p'");
}

static int run_sleep(PlkCall *call, const void *args, void *ret, PlkError *err)
{
    usleep(300000);
    return 0;
}

static int run_hang(PlkCall *call, const void *args, void *ret, PlkError *err)
{
    while (!let_go)
        usleep(5000);
    return 0;
}

static int run_upload(PlkCall *call, const void *args, void *ret, PlkError *err)
{
    call->upload = open_volume(false);
    call->sparse = true;
    return 0;
}

static int run_download(PlkCall *call, const void *args, void *ret, PlkError *err)
{
    call->sparse = call->frame.procedure == DOWNLOAD_SPARSE;
    call->download = open_volume(!call->sparse);
    return 0;
}

#define NAME (xdrproc_t)xdr_rpc_name
static const PlkProcedure procedures[] = {
    {OPEN, PLK_CALL_READ_ONLY | PLK_CALL_UNOPENED, "OPEN", .run = run_open},
    {CLOSE, PLK_CALL_READ_ONLY | PLK_CALL_UNOPENED, "CLOSE", .run = run_close},
    {ECHO, PLK_CALL_READ_ONLY, "ECHO", NAME, NAME, sizeof(rpc_name), sizeof(rpc_name), run_echo},
    {FAIL, 0, "FAIL", .run = run_fail},
    {SLEEP, 0, "SLEEP", .run = run_sleep},
    {HANG, 0, "HANG", .run = run_hang},
    {UPLOAD, 0, "UPLOAD", .run = run_upload},
    {DOWNLOAD, 0, "DOWNLOAD", .run = run_download},
    {DOWNLOAD_SPARSE, 0, "DOWNLOAD_SPARSE", .run = run_download},
};

static const PlkProcedure *find(int32_t number)
{
    return number >= OPEN && number <= DOWNLOAD_SPARSE ? &procedures[number - 1] : NULL;
}

/* ---- a server of it ---- */

static PlkServer *server;
static pthread_t thread;
static char path[64];
static PlkListener listener;
static PlkError err;

static void *run(void *arg)
{
    CHECK_INT(plk_server_run(server, NULL), 0);
    return NULL;
}

static int listen_at(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(path, sizeof path, "/tmp/plk-rpc-%d", (int)getpid());
    unlink(path);
    memcpy(a.sun_path, path, sizeof path);
    CHECK_INT(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    CHECK_INT(listen(fd, 4096), 0);
    return fd;
}

static void start(PlkAuth auth, unsigned handshake_ms, unsigned max_peers)
{
    static const PlkProgram program = {PROGRAM, 1, find};
    static const PlkProgram *const programs[] = {&program, NULL};
    PlkServerOptions options = {.programs = programs, .handshake_ms = handshake_ms, .max_peers = max_peers};

    file = memfd_create("volume", MFD_CLOEXEC);
    fail_at = -1;
    finished = closed = 0;
    let_go = false;
    CHECK_OK(plk_server_new(&options, &server, &err), err);
    listener = (PlkListener){.fd = listen_at(), .name = "test", .auth = auth};
    CHECK_OK(plk_server_listen(server, &listener, &err), err);
    CHECK_INT(pthread_create(&thread, NULL, run, NULL), 0);
}

static void stop(void)
{
    let_go = true;
    plk_server_stop(server);
    pthread_join(thread, NULL);
    plk_server_free(server);
    unlink(path);
    close(file);
}

/* ---- a client ---- */

static int join(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(a.sun_path, path, sizeof path);
    CHECK_INT(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void put(int fd, PlkMessage *m)
{
    for (size_t n = 0; n < m->frame.length;) {
        ssize_t r = send(fd, m->bytes + n, m->frame.length - n, MSG_NOSIGNAL);

        CHECK(r > 0);
        n += (size_t)r;
    }
    free(m);
}

static void send_call(int fd, int procedure, uint32_t serial, const char *text)
{
    PlkFrame frame = {.length = PLK_FRAME_HEAD, .program = PROGRAM, .version = 1, .procedure = procedure, .serial = serial};
    rpc_name name = {.text = (char *)text};

    put(fd, plk_message_encode(frame, text ? NAME : NULL, &name));
}

static void get_exactly(int fd, void *to, size_t len)
{
    for (size_t n = 0; n < len;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        CHECK_INT(poll(&p, 1, 10000), 1);
        ssize_t r = recv(fd, (char *)to + n, len - n, 0);
        CHECK(r > 0);
        n += (size_t)r;
    }
}

static PlkMessage *get(int fd)
{
    uint8_t head[PLK_FRAME_HEAD];
    PlkFrame frame;
    PlkMessage *m;

    get_exactly(fd, head, sizeof head);
    plk_frame_decode(head, &frame);
    CHECK(frame.length >= PLK_FRAME_HEAD && frame.length <= PLK_FRAME_MAX);
    m = plk_message_new(&frame);
    get_exactly(fd, m->bytes + PLK_FRAME_HEAD, frame.length - PLK_FRAME_HEAD);
    return m;
}

static void expect(int fd, PlkFrameType type, PlkFrameStatus status, uint32_t serial, size_t payload)
{
    PlkMessage *m = get(fd);

    CHECK_INT(m->frame.type, type);
    CHECK_INT(m->frame.status, status);
    CHECK_INT(m->frame.serial, serial);
    CHECK_INT(plk_message_payload(m), payload);
    free(m);
}

static void expect_error(int fd, PlkFrameType type, uint32_t serial, int code, const char *words)
{
    PlkMessage *m = get(fd);
    rpc_error e;

    CHECK_INT(m->frame.type, type);
    CHECK_INT(m->frame.status, PLK_FRAME_ERROR);
    CHECK_INT(m->frame.serial, serial);
    CHECK(plk_message_decode(m, (xdrproc_t)xdr_rpc_error, &e, sizeof e));
    CHECK_INT(e.code, code);
    CHECK(strstr(*e.message, words));
    CHECK_INT(e.level, 2);
    xdr_free((xdrproc_t)xdr_rpc_error, &e);
    free(m);
}

static void expect_end(int fd)
{
    char byte;
    struct pollfd p = {.fd = fd, .events = POLLIN};

    CHECK_INT(poll(&p, 1, 10000), 1);
    CHECK(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
}

static int opened(void)
{
    int fd = join();

    send_call(fd, OPEN, 0, NULL);
    expect(fd, PLK_FRAME_REPLY, PLK_FRAME_OK, 0, 0);
    return fd;
}

static void check_answers(int fd, uint32_t serial)
{
    send_call(fd, ECHO, serial, "abcd");
    expect(fd, PLK_FRAME_REPLY, PLK_FRAME_OK, serial, 8);
}

static void send_frame(int fd, int procedure, uint32_t serial, PlkFrameType type, PlkFrameStatus status, const void *data,
                       size_t len)
{
    PlkFrame frame = {.length = PLK_FRAME_HEAD + (uint32_t)len, .program = PROGRAM, .version = 1, .procedure = procedure,
                      .serial = serial, .type = type, .status = status};
    PlkMessage *m = plk_message_new(&frame);

    if (len)
        memcpy(m->bytes + PLK_FRAME_HEAD, data, len);
    put(fd, m);
}

/* ---- calls ---- */

TEST(a_call_is_answered_with_its_own_serial)
{
    int fd;

    start(PLK_AUTH_NONE, 0, 0);
    fd = opened();
    check_answers(fd, 7);
    send_call(fd, FAIL, 8, NULL);
    expect_error(fd, PLK_FRAME_REPLY, 8, 49, "no pool 'p'");
    send_call(fd, CLOSE, 9, NULL);
    expect(fd, PLK_FRAME_REPLY, PLK_FRAME_OK, 9, 0);
    expect_end(fd);
    stop();
}

TEST(what_is_not_known_is_refused_and_the_connection_lives)
{
    PlkFrame other = {.length = PLK_FRAME_HEAD, .program = 99, .version = 1, .procedure = ECHO, .serial = 3};
    int fd;

    start(PLK_AUTH_NONE, 0, 0);
    fd = join();
    send_call(fd, ECHO, 1, "early");
    expect_error(fd, PLK_FRAME_REPLY, 1, 1, "not open");
    send_call(fd, OPEN, 1, "surplus bytes are no fault");
    expect(fd, PLK_FRAME_REPLY, PLK_FRAME_OK, 1, 0);
    send_call(fd, 9999, 2, NULL);
    expect_error(fd, PLK_FRAME_REPLY, 2, 39, "unknown procedure");
    put(fd, plk_message_new(&other));
    expect_error(fd, PLK_FRAME_REPLY, 3, 39, "unknown program");
    send_frame(fd, ECHO, 4, PLK_FRAME_CALL, PLK_FRAME_OK, "\0\0\0\xff", 4);
    expect_error(fd, PLK_FRAME_REPLY, 4, 39, "decoded");
    send_frame(fd, ECHO, 5, PLK_FRAME_CALL, PLK_FRAME_ERROR, NULL, 0);
    expect_error(fd, PLK_FRAME_REPLY, 5, 39, "status");
    send_frame(fd, ECHO, 5, PLK_FRAME_CALL_WITH_FDS, PLK_FRAME_OK, "\0\0\0\1", 4);
    expect_error(fd, PLK_FRAME_REPLY, 5, 39, "descriptors");
    send_frame(fd, ECHO, 6, PLK_FRAME_REPLY, PLK_FRAME_OK, NULL, 0); /* nobody asked for these */
    send_frame(fd, UPLOAD, 6, PLK_FRAME_STREAM, PLK_FRAME_CONTINUE, "x", 1);
    check_answers(fd, 7);
    close(fd);
    stop();
}

TEST(a_length_that_cannot_be_ends_the_connection)
{
    static const uint32_t lengths[] = {0, 4, 27, PLK_FRAME_MAX + 1, 0x7fffffff};

    start(PLK_AUTH_NONE, 0, 0);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint8_t head[PLK_FRAME_HEAD] = {0};
        uint32_t be = htonl(lengths[i]);
        int fd = opened();

        memcpy(head, &be, 4);
        CHECK_INT(send(fd, head, sizeof head, MSG_NOSIGNAL), sizeof head);
        expect_end(fd);
    }
    stop();
}

TEST(a_stranger_may_say_little_and_not_for_long)
{
    uint8_t head[PLK_FRAME_HEAD] = {0};
    uint32_t be = htonl(65537);
    int fd, half;

    start(PLK_AUTH_SASL, 700, 0);
    fd = join();
    send_call(fd, ECHO, 1, "x");
    expect_error(fd, PLK_FRAME_REPLY, 1, 39, "authentication is required");
    memcpy(head, &be, 4);
    CHECK_INT(send(fd, head, sizeof head, MSG_NOSIGNAL), sizeof head);
    expect_end(fd);
    half = join();
    CHECK_INT(send(half, head, 3, MSG_NOSIGNAL), 3);
    expect_end(half); /* the deadline */
    stop();
}

TEST(one_client_too_many_is_told_so)
{
    int a, b, c;

    start(PLK_AUTH_NONE, 0, 2);
    a = opened();
    b = opened();
    c = join();
    send_call(c, OPEN, 5, NULL);
    expect_error(c, PLK_FRAME_REPLY, 5, 39, "too many clients");
    expect_end(c);
    check_answers(a, 1);
    check_answers(b, 1);
    close(a);
    close(b);
    stop();
}

/* ---- nobody waits ---- */

TEST(a_quick_call_overtakes_a_slow_one)
{
    int fd;

    start(PLK_AUTH_NONE, 0, 0);
    fd = opened();
    send_call(fd, SLEEP, 1, NULL);
    check_answers(fd, 2);
    expect(fd, PLK_FRAME_REPLY, PLK_FRAME_OK, 1, 0);
    close(fd);
    stop();
}

TEST(calls_that_hang_hold_up_nobody_and_pings_are_answered)
{
    const PlkFrame ping = {.length = PLK_FRAME_HEAD, .program = PLK_PROGRAM_KEEPALIVE, .version = 1, .procedure = 1,
                           .type = PLK_FRAME_EVENT};
    int fd[5];

    start(PLK_AUTH_NONE, 0, 0);
    for (int i = 0; i < 5; i++)
        fd[i] = opened();
    for (int i = 0; i < 4; i++)
        for (uint32_t k = 0; k < 60; k++)
            send_call(fd[i], HANG, k, NULL);
    check_answers(fd[4], 1);
    put(fd[0], plk_message_new(&ping));
    PlkMessage *pong = get(fd[0]);
    CHECK_INT(pong->frame.program, PLK_PROGRAM_KEEPALIVE);
    CHECK_INT(pong->frame.procedure, 2);
    free(pong);
    let_go = true;
    for (int i = 0; i < 240; i++)
        free(get(fd[i / 60]));
    for (int i = 0; i < 5; i++)
        close(fd[i]);
    stop();
}

TEST(a_thousand_pipelined_calls_are_all_answered)
{
    bool seen[1000] = {false};
    int fd;

    start(PLK_AUTH_NONE, 0, 0);
    fd = opened();
    for (uint32_t i = 0; i < 1000; i++)
        send_call(fd, ECHO, i, "abcd");
    for (int i = 0; i < 1000; i++) {
        PlkMessage *m = get(fd);

        CHECK(m->frame.serial < 1000 && !seen[m->frame.serial]);
        seen[m->frame.serial] = true;
        free(m);
    }
    close(fd);
    stop();
}

TEST(many_idle_clients_come_and_go)
{
    static int fd[800];

    start(PLK_AUTH_NONE, 0, 0);
    for (int i = 0; i < 400; i++)
        fd[i] = opened();
    for (int i = 0; i < 400; i += 2)
        close(fd[i]);
    for (int i = 1; i < 400; i += 2) {
        check_answers(fd[i], 3);
        close(fd[i]);
    }
    stop();
}

/* ---- streams ---- */

static void send_hole(int fd, uint32_t serial, int64_t length)
{
    PlkFrame frame = {.length = PLK_FRAME_HEAD, .program = PROGRAM, .version = 1, .procedure = UPLOAD, .serial = serial,
                      .type = PLK_FRAME_HOLE, .status = PLK_FRAME_CONTINUE};
    rpc_hole hole = {.length = length};

    put(fd, plk_message_encode(frame, (xdrproc_t)xdr_rpc_hole, &hole));
}

static int begin(int procedure, uint32_t serial)
{
    int fd = opened();

    send_call(fd, procedure, serial, NULL);
    expect(fd, PLK_FRAME_REPLY, PLK_FRAME_OK, serial, 0);
    return fd;
}

TEST(an_upload_is_written_in_order_and_confirmed_at_its_end)
{
    static uint8_t data[MIB], back[MIB];
    int fd;

    start(PLK_AUTH_NONE, 0, 0);
    fd = begin(UPLOAD, 4);
    for (int i = 0; i < 40; i++) {
        memset(data, i + 1, sizeof data);
        send_frame(fd, UPLOAD, 4, PLK_FRAME_STREAM, PLK_FRAME_CONTINUE, data, sizeof data);
    }
    send_hole(fd, 4, 3 * MIB);
    send_frame(fd, UPLOAD, 4, PLK_FRAME_STREAM, PLK_FRAME_OK, NULL, 0);
    expect(fd, PLK_FRAME_STREAM, PLK_FRAME_OK, 4, 0);
    CHECK_INT(finished, 1);
    CHECK_INT(closed, 1);
    CHECK_INT(lseek(file, 0, SEEK_END), 43 * MIB);
    for (int i = 0; i < 40; i++) {
        memset(data, i + 1, sizeof data);
        CHECK_INT(pread(file, back, sizeof back, (off_t)i * MIB), sizeof back);
        CHECK(memcmp(data, back, sizeof data) == 0);
    }
    check_answers(fd, 5);
    close(fd);
    stop();
}

TEST(a_write_that_fails_ends_the_upload_and_the_rest_is_swallowed)
{
    static uint8_t data[MIB];
    int fd;

    start(PLK_AUTH_NONE, 0, 0);
    fail_at = 2 * MIB;
    fd = begin(UPLOAD, 4);
    for (int i = 0; i < 20; i++)
        send_frame(fd, UPLOAD, 4, PLK_FRAME_STREAM, PLK_FRAME_CONTINUE, data, sizeof data);
    expect_error(fd, PLK_FRAME_STREAM, 4, 38, "volume 'v'");
    CHECK_INT(closed, 1);
    CHECK_INT(finished, 0);
    check_answers(fd, 5);
    close(fd);
    stop();
}

TEST(an_upload_given_up_is_closed_and_not_finished)
{
    int fd;

    start(PLK_AUTH_NONE, 0, 0);
    fd = begin(UPLOAD, 4);
    send_frame(fd, UPLOAD, 4, PLK_FRAME_STREAM, PLK_FRAME_CONTINUE, "abc", 3);
    send_frame(fd, UPLOAD, 4, PLK_FRAME_STREAM, PLK_FRAME_ERROR, NULL, 0);
    expect(fd, PLK_FRAME_STREAM, PLK_FRAME_OK, 4, 0);
    CHECK_INT(finished, 0);
    close(fd);
    fd = begin(UPLOAD, 5);
    send_frame(fd, UPLOAD, 5, PLK_FRAME_STREAM, PLK_FRAME_CONTINUE, "abc", 3);
    close(fd); /* gone in the middle */
    for (int i = 0; i < 200 && closed < 2; i++)
        usleep(10000);
    CHECK_INT(closed, 2);
    CHECK_INT(finished, 0);
    stop();
}

/* What fill_file() puts there. */
static int content_at(uint64_t offset)
{
    return offset < MIB ? 'a' : offset / MIB == 4 ? 'b' : 0;
}

static void check_download(int procedure)
{
    uint64_t data = 0, holes = 0;
    PlkMessage *m;
    rpc_hole hole;
    int fd = begin(procedure, 4);

    for (;;) {
        m = get(fd);
        CHECK_INT(m->frame.serial, 4);
        CHECK_INT(m->frame.status, PLK_FRAME_CONTINUE);
        if (m->frame.type == PLK_FRAME_HOLE) {
            CHECK(plk_message_decode(m, (xdrproc_t)xdr_rpc_hole, &hole, sizeof hole));
            holes += (uint64_t)hole.length;
        } else if (plk_message_payload(m)) {
            CHECK(plk_message_payload(m) <= PLK_FRAME_DATA);
            CHECK_INT(m->bytes[PLK_FRAME_HEAD], content_at(data + holes));
            data += plk_message_payload(m);
        } else {
            break;
        }
        free(m);
    }
    free(m);
    CHECK_INT(data, procedure == DOWNLOAD ? 8 * MIB : 2 * MIB);
    CHECK_INT(data + holes, 8 * MIB);
    send_frame(fd, procedure, 4, PLK_FRAME_STREAM, PLK_FRAME_OK, NULL, 0);
    expect(fd, PLK_FRAME_STREAM, PLK_FRAME_OK, 4, 0);
    check_answers(fd, 5);
    close(fd);
}

static void fill_file(void)
{
    static uint8_t block[MIB];

    CHECK_INT(ftruncate(file, 8 * MIB), 0);
    memset(block, 'a', sizeof block);
    CHECK_INT(pwrite(file, block, sizeof block, 0), sizeof block);
    memset(block, 'b', sizeof block);
    CHECK_INT(pwrite(file, block, sizeof block, 4 * MIB), sizeof block);
}

TEST(a_download_ends_with_an_empty_frame)
{
    start(PLK_AUTH_NONE, 0, 0);
    fill_file();
    check_download(DOWNLOAD);
    check_download(DOWNLOAD_SPARSE);
    CHECK_INT(closed, 2);
    stop();
}

TEST(a_download_may_be_ended_early_and_calls_go_on_beside_it)
{
    PlkMessage *m;
    int fd;

    start(PLK_AUTH_NONE, 0, 0);
    CHECK_INT(ftruncate(file, 1 << 30), 0);
    fd = begin(DOWNLOAD, 4);
    send_call(fd, ECHO, 5, "abcd");
    send_frame(fd, DOWNLOAD, 4, PLK_FRAME_STREAM, PLK_FRAME_ERROR, NULL, 0);
    for (bool answered = false, ended = false; !answered || !ended; free(m)) {
        m = get(fd);
        answered |= m->frame.type == PLK_FRAME_REPLY;
        ended |= m->frame.type == PLK_FRAME_STREAM && m->frame.status == PLK_FRAME_OK;
    }
    check_answers(fd, 6);
    CHECK_INT(closed, 1);
    close(fd);
    stop();
}

TEST_MAIN()
