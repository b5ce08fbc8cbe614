/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon at work: several clients at once, each sending calls and streams without waiting, to the real server, procedures
 * and pools (crowd-world.h).
 *
 * An input is a list of acts of two to five bytes; see acts[]. Calls of one client run beside each other, so who comes
 * first is not known; what is known is how many of them went well. The model counts: a volume is there after as many
 * good creates more than good deletes, a pool runs after as many good starts more than good stops, and each of these is
 * 0 or 1 whenever nothing is under way. What nobody changes has to be found, too, by whoever asks meanwhile.
 *
 * What must hold besides: every call is answered once, in its shape; streams go by their rules (crowd-client.c); a new client is
 * answered; lists say what the model says; an upload nobody disturbed is in its file; nothing is left over in directories,
 * nor of descriptors.
 */
#include <dirent.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/math.h"
#include "crowd-client.h"
#include "daemon/daemon.h"
#include "fuzz.h"

#define POOLS 3
#define VOLUMES 4 /* of a pool: three raw, and one that is ploop */
#define PLOOP 3
#define RAW_SIZE 65536
#define PLOOP_SIZE (4 << 20)
#define BURST 32
#define PIECE_FOR 512 /* bytes that are sent in small pieces, once that is asked for */
#define DATA_MAX 300000
#define LETTERS 26

#define SHAPE(name) (xdrproc_t)xdr_rpc_##name

/* ---- the model ---- */

typedef struct Volume {
    bool there, unsure; /* unsure: lists tell, next time */
    int change;         /* creates less deletes that went well since nothing was under way */
    unsigned pending;   /* of what makes or deletes it */
    unsigned busy;      /* of what changes its bytes, streams too */
    uint32_t epoch, bytes_epoch; /* counts what was begun of either */
} Volume;

typedef struct Pool {
    char name[4], directory[12];
    unsigned char uuid[16];
    bool active, persistent, unsure;
    int starts, defines, undefines; /* that went well since nothing was under way */
    unsigned pending;
    uint32_t epoch;
    Volume volumes[VOLUMES];
} Pool;

static Pool pools[POOLS];
static bool all_unsure; /* a damaged frame may have done anything */
static const char *const volume_names[VOLUMES] = {"a", "b", "c", "d"};

typedef enum Act { LOOK, START, STOP, DEFINE, UNDEFINE, REMOVE, TURN, MAKE, DELETE, CHANGE } Act;
enum { EXPECT_NOTHING, EXPECT_GOOD, EXPECT_ERROR };

static void reset_model(void)
{
    memset(pools, 0, sizeof pools);
    for (int i = 0; i < POOLS; i++) {
        snprintf(pools[i].name, sizeof pools[i].name, "p%d", i);
        snprintf(pools[i].directory, sizeof pools[i].directory, WORLD "/p%d", i);
        memset(pools[i].uuid, 0x11 * (i + 1), sizeof pools[i].uuid);
    }
    all_unsure = false;
}

static bool pool_is_listed(const Pool *p)
{
    return p->active || p->persistent;
}

static bool pool_is_known(const Pool *p)
{
    return !all_unsure && !p->unsure && p->pending == 0;
}

static bool volume_is_known(const Pool *p, const Volume *v)
{
    return pool_is_known(p) && !v->unsure && v->pending == 0;
}

/* Nothing is under way any more: what went well adds up to a state. */
static void conclude_pool(Pool *p)
{
    int active = p->active + p->starts, persistent = p->persistent + p->defines - p->undefines;

    if (p->pending > 0 || all_unsure || p->unsure)
        return;
    FUZZ_CHECK(active == 0 || active == 1, "pool %s: %s, and %+d starts that went well", p->name, p->active ? "runs" : "does not run",
               p->starts);
    FUZZ_CHECK(persistent >= 0, "pool %s: %d definitions, %d of them taken back", p->name, p->persistent + p->defines, p->undefines);
    p->unsure = persistent > 0 && p->undefines > 0; /* which came last? */
    p->active = active;
    p->persistent = persistent > 0;
    p->starts = p->defines = p->undefines = 0;
}

static void conclude_volume(const Pool *p, Volume *v)
{
    int there = v->there + v->change;

    if (v->pending > 0 || all_unsure || v->unsure)
        return;
    FUZZ_CHECK(there == 0 || there == 1, "volume %s/%s: %s, and %+d creates that went well", p->name,
               volume_names[v - p->volumes], v->there ? "was there" : "was not there", v->change);
    v->there = there;
    v->change = 0;
}

/* ---- answers ---- */

/* Of lists and searches while nothing changes what they look for. */
static void check_expected(const Call *call, const rpc_error *error)
{
    const Pool *p = &pools[call->pool];
    const Volume *v = &p->volumes[call->volume];

    if (call->expects == EXPECT_NOTHING || all_unsure || p->unsure || v->unsure || p->epoch != call->pool_epoch ||
        v->epoch != call->volume_epoch)
        return;
    FUZZ_CHECK((call->expects == EXPECT_GOOD) == !error, "procedure %d of %s/%s: %s", call->procedure, p->name,
               volume_names[call->volume], error ? *error->message : "found, but it is not there");
}

static void count_pool(Pool *p, Act act)
{
    p->starts += (act == START) - (act == STOP);
    p->defines += act == DEFINE;
    p->undefines += act == UNDEFINE;
    if (act != REMOVE || all_unsure)
        return;
    for (int i = 0; i < VOLUMES; i++)
        FUZZ_CHECK(!p->volumes[i].there || p->volumes[i].unsure || p->volumes[i].pending, "%s is deleted, but %s was in it", p->name,
                   volume_names[i]);
}

static void answered(Client *c, const Call *call, const rpc_error *error, const void *value)
{
    Pool *p = &pools[call->pool];
    Volume *v = &p->volumes[call->volume];

    switch ((Act)call->act) {
    case LOOK:
        check_expected(call, error);
        return;
    case START:
    case STOP:
    case DEFINE:
    case UNDEFINE:
    case REMOVE:
    case TURN:
        p->pending--;
        if (!error)
            count_pool(p, call->act);
        conclude_pool(p);
        return;
    case MAKE:
    case DELETE:
        v->busy--;
        v->pending--;
        v->change += error ? 0 : call->act == MAKE ? 1 : -1;
        conclude_volume(p, v);
        return;
    case CHANGE:
        v->busy--;
    }
}

static void active_answered(Client *c, const Call *call, const rpc_error *error, const void *value)
{
    const Pool *p = &pools[call->pool];
    const rpc_int *active = value;

    check_expected(call, error);
    if (!error && call->expects == EXPECT_GOOD && !all_unsure && !p->unsure && p->epoch == call->pool_epoch)
        FUZZ_CHECK(active->value == p->active, "pool %s: %s, it is said", p->name, p->active ? "does not run" : "runs");
}

static void open_answered(Client *c, const Call *call, const rpc_error *error, const void *value)
{
    FUZZ_CHECK(!error || call->expects != EXPECT_GOOD, "cannot open: %s", *error->message);
}

/* The stream's call: a refusal ends what it began. */
static void stream_begun(Client *c, const Call *call, const rpc_error *error, const void *value)
{
    if (error && call->procedure == 208)
        pools[call->pool].volumes[call->volume].busy--;
}

/* ---- streams that end, clients that go ---- */

static void check_bytes(const Stream *s)
{
    static uint8_t bytes[DATA_MAX];
    const Pool *p = &pools[s->pool];
    g_autofree char *path = g_strdup_printf("%s/%s", p->directory, volume_names[s->volume]);
    size_t n = PLK_MIN(s->written, sizeof bytes);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    FUZZ_CHECK(fd >= 0 && pread(fd, bytes, n, (off_t)s->offset) == (ssize_t)n, "%s: what was uploaded is not there", path);
    for (size_t i = 0; i < n; i++)
        FUZZ_CHECK(bytes[i] == s->letter, "%s: byte %zu of what was uploaded is 0x%02x", path, i, bytes[i]);
    close(fd);
}

static void stream_ended(Client *c, const Stream *s, const rpc_error *error)
{
    Volume *v = &pools[s->pool].volumes[s->volume];

    if (!s->upload)
        return;
    v->busy--;
    if (!error && s->plain && !s->aborted && !all_unsure && v->bytes_epoch == s->epoch && s->volume != PLOOP)
        check_bytes(s);
}

/* Nobody will tell what came of its calls. */
static void gone(Client *c)
{
    for (int i = 0; i < CALLS; i++) {
        const Call *call = &c->calls[i];
        Pool *p = &pools[call->pool];
        Volume *v = &p->volumes[call->volume];

        if (!call->procedure)
            continue;
        if (call->act >= START && call->act <= TURN) {
            p->pending--;
            p->unsure = true;
        } else if (call->act == MAKE || call->act == DELETE) {
            v->busy--;
            v->pending--;
            v->unsure = true;
        } else if (call->act == CHANGE || call->procedure == 208) {
            v->busy--;
        }
    }
    for (Stream *s = c->streams; s < c->streams + STREAMS; s++)
        if (s->state > STREAM_ASKED && s->upload)
            pools[s->pool].volumes[s->volume].busy--;
    memset(c->calls, 0, sizeof c->calls);
    memset(c->streams, 0, sizeof c->streams);
    all_unsure |= c->odd;
}

/* ---- what clients ask ---- */

static Pool *some_pool(uint32_t byte)
{
    return &pools[byte % POOLS];
}

static rpc_pool pool_arg(const Pool *p)
{
    rpc_pool arg = {.name = (char *)p->name};

    memcpy(arg.uuid, p->uuid, sizeof arg.uuid);
    return arg;
}

static rpc_vol volume_arg(const Pool *p, unsigned v, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", p->directory, volume_names[v]);
    return (rpc_vol){.pool = (char *)p->name, .name = (char *)volume_names[v], .key = path};
}

static void ask(Client *c, int32_t procedure, xdrproc_t shape, const void *args, Pool *p, unsigned volume, Act act)
{
    Volume *v = &p->volumes[volume];

    if (act >= START && act <= TURN) {
        p->pending++;
        p->epoch++;
    } else if (act == MAKE || act == DELETE) {
        v->pending++;
        v->epoch++;
    }
    if (act >= MAKE) {
        v->busy++;
        v->bytes_epoch++;
    }
    client_call(c, procedure, shape, args,
                (Call){.pool = (uint8_t)(p - pools), .volume = (uint8_t)volume, .act = act, .answered = answered});
}

static bool is_able(const Client *c)
{
    return c->authenticated && c->opened && !c->odd;
}

/* One that changes nothing. */
static void look(Client *c, uint32_t kind, Pool *p, unsigned volume)
{
    char path[20];
    const Volume *v = &p->volumes[volume];
    rpc_pool pool = pool_arg(p);
    rpc_vol vol = volume_arg(p, volume, path, sizeof path);
    rpc_name name = {.text = p->name}, target = {.text = p->directory}, key = {.text = path};
    rpc_pool_flags pool_flags = {.pool = pool};
    rpc_vol_flags vol_flags = {.vol = vol};
    rpc_pool_name pool_name = {.pool = pool, .name = vol.name};
    rpc_pool_list pool_list = {.pool = pool, .need_results = 1};
    rpc_pool_int most = {.pool = pool, .value = 10};
    rpc_list list = {.need_results = 1};
    rpc_int number = {.value = 14};
    bool listed = pool_is_listed(p), found = p->active && v->there;
    const struct {
        int32_t procedure;
        xdrproc_t shape;
        const void *args;
        enum { FREE, ON_POOL, ON_RUNNING, ON_VOLUME } about;
    } looks[] = {
        {84, SHAPE(name), &name, ON_POOL}, {85, SHAPE(uuid), pool.uuid, ON_POOL}, {154, SHAPE(pool), &pool, ON_POOL},
        {95, SHAPE(pool_name), &pool_name, ON_VOLUME}, {98, SHAPE(vol), &vol, ON_VOLUME}, {97, SHAPE(name), &key, ON_VOLUME},
        {100, SHAPE(vol), &vol, ON_RUNNING}, {282, SHAPE(pool_list), &pool_list, ON_RUNNING}, {281, SHAPE(list), &list, FREE},
        {60, SHAPE(int), &number, FREE}, {96, SHAPE(name), &key, ON_VOLUME}, {91, SHAPE(pool), &pool, ON_RUNNING},
        {155, SHAPE(pool), &pool, ON_POOL}, {110, NULL, NULL, FREE}, {89, SHAPE(pool), &pool, ON_POOL},
        {92, SHAPE(pool_int), &most, ON_RUNNING}, {71, NULL, NULL, FREE}, {73, NULL, NULL, FREE}, {3, NULL, NULL, FREE},
        {4, NULL, NULL, FREE}, {86, SHAPE(vol), &vol, ON_POOL}, {88, SHAPE(pool_flags), &pool_flags, ON_POOL},
        {99, SHAPE(vol_flags), &vol_flags, ON_VOLUME}, {391, SHAPE(name), &target, ON_RUNNING}, {87, SHAPE(pool), &pool, ON_POOL},
        {149, NULL, NULL, FREE}, {157, NULL, NULL, FREE}, {59, NULL, NULL, FREE}, {360, NULL, NULL, FREE}, {7, NULL, NULL, FREE},
        {378, SHAPE(vol_flags), &vol_flags, ON_VOLUME}, {72, SHAPE(int), &number, FREE},
    };
    size_t i = kind % G_N_ELEMENTS(looks);
    bool good = looks[i].about == ON_VOLUME ? found : looks[i].about == ON_RUNNING ? p->active : looks[i].about == FREE || listed;
    Call call = {.pool = (uint8_t)(p - pools), .volume = (uint8_t)volume, .act = LOOK, .answered = answered,
                 .pool_epoch = p->epoch, .volume_epoch = v->epoch};

    if (is_able(c) && (looks[i].about == FREE || volume_is_known(p, v)))
        call.expects = good ? EXPECT_GOOD : EXPECT_ERROR;
    if (looks[i].procedure == 154)
        call.answered = active_answered;
    client_call(c, looks[i].procedure, looks[i].shape, looks[i].args, call);
}

/* ---- acts of an input ---- */

typedef struct Choice {
    Client *c;
    Pool *p;
    unsigned volume;
    FuzzInput *in;
} Choice;

static void open_connection(Client *c, uint32_t how)
{
    rpc_open open = {0};
    rpc_int keepalive = {.value = 10};
    Call call = {.answered = open_answered};

    if (how & 1) {
        client_call(c, 66, NULL, NULL, (Call){0});
        c->authenticated = true;
    }
    if (how & 2)
        client_call(c, 60, SHAPE(int), &keepalive, (Call){0});
    if (how & 4) {
        call.expects = c->authenticated && !c->opened && !c->odd ? EXPECT_GOOD : EXPECT_NOTHING;
        client_call(c, 1, SHAPE(open), &open, call);
        c->opened |= c->authenticated;
    }
}

static void burst(Choice *a)
{
    uint32_t kind = fuzz_byte(a->in), n = fuzz_byte(a->in) % BURST + 1;

    for (uint32_t i = 0; i < n; i++)
        look(a->c, kind + i, a->p, (a->volume + i) % VOLUMES);
}

static void define(Choice *a)
{
    char uuid[PLK_UUID_CHARS + 1];
    uint32_t how = fuzz_byte(a->in);
    g_autofree char *xml = NULL;
    rpc_xml_flags args = {.flags = how & 2 ? 1 : 0}; /* validate, or build */

    plk_uuid_format(a->p->uuid, uuid);
    xml = g_strdup_printf("<pool type='dir'><name>%s</name><uuid>%s</uuid><target><path>%s</path></target></pool>", a->p->name, uuid,
                          a->p->directory);
    args.xml = xml;
    ask(a->c, how & 1 ? 76 : 77, SHAPE(xml_flags), &args, a->p, 0, how & 1 ? START : DEFINE);
}

static void turn(Choice *a)
{
    static const struct {
        int32_t procedure;
        Act act;
        unsigned flags;
        bool flagless;
    } turns[] = {
        {78, START, 1, false}, {80, STOP, 0, true}, {78, START, 0, false}, {79, TURN, 0, false}, {81, REMOVE, 0, false},
        {82, UNDEFINE, 0, true}, {78, START, 4, false}, {79, TURN, 8, false},
    };
    size_t i = fuzz_byte(a->in) % G_N_ELEMENTS(turns);
    rpc_pool_flags args = {.pool = pool_arg(a->p), .flags = turns[i].flags};

    ask(a->c, turns[i].procedure, turns[i].flagless ? SHAPE(pool) : SHAPE(pool_flags), &args, a->p, 0, turns[i].act);
}

static void refresh(Choice *a)
{
    rpc_pool_flags args = {.pool = pool_arg(a->p)};

    client_call(a->c, 83, SHAPE(pool_flags), &args, (Call){0});
}

static void autostart(Choice *a)
{
    rpc_pool_int args = {.pool = pool_arg(a->p), .value = (int)(fuzz_byte(a->in) & 1)};

    client_call(a->c, 90, SHAPE(pool_int), &args, (Call){0});
}

static char *volume_xml(const Choice *a, uint32_t how)
{
    bool ploop = a->volume == PLOOP;

    return g_strdup_printf("<volume><name>%s</name><capacity>%u</capacity>%s<target><format type='%s'/></target></volume>",
                           volume_names[a->volume], (ploop ? PLOOP_SIZE : RAW_SIZE) + (how & 7) * 512,
                           how & 8 ? "<allocation>0</allocation>" : "", ploop ? "ploop" : "raw");
}

static void create(Choice *a)
{
    g_autofree char *xml = volume_xml(a, fuzz_byte(a->in));
    rpc_pool_xml args = {.pool = pool_arg(a->p), .xml = xml};

    ask(a->c, 93, SHAPE(pool_xml), &args, a->p, a->volume, MAKE);
}

static void clone_volume(Choice *a)
{
    uint32_t from = fuzz_byte(a->in);
    unsigned source = a->volume == PLOOP ? PLOOP : from / POOLS % PLOOP;
    g_autofree char *xml = volume_xml(a, from);
    char path[20];
    rpc_pool_xml_from args = {.pool = pool_arg(a->p), .xml = xml, .from = volume_arg(some_pool(from), source, path, sizeof path)};

    ask(a->c, 125, SHAPE(pool_xml_from), &args, a->p, a->volume, MAKE);
}

static void delete(Choice *a)
{
    char path[20];
    rpc_vol_flags args = {.vol = volume_arg(a->p, a->volume, path, sizeof path)};

    ask(a->c, 94, SHAPE(vol_flags), &args, a->p, a->volume, DELETE);
}

static void wipe(Choice *a)
{
    char path[20];
    rpc_vol_wipe args = {.vol = volume_arg(a->p, a->volume, path, sizeof path), .algorithm = fuzz_byte(a->in) % 11};

    ask(a->c, 259, SHAPE(vol_wipe), &args, a->p, a->volume, CHANGE);
}

static void resize(Choice *a)
{
    char path[20];
    uint32_t how = fuzz_byte(a->in);
    uint64_t size = a->volume == PLOOP ? PLOOP_SIZE + (how >> 3) * (1u << 20) : (how >> 3) * 4096;
    rpc_vol_resize args = {.vol = volume_arg(a->p, a->volume, path, sizeof path), .capacity = size, .flags = how & 7};

    ask(a->c, 260, SHAPE(vol_resize), &args, a->p, a->volume, CHANGE);
}

static void open_stream(Choice *a)
{
    uint32_t how = fuzz_byte(a->in);
    char path[20];
    Volume *v = &a->p->volumes[a->volume];
    rpc_vol_range args = {.vol = volume_arg(a->p, a->volume, path, sizeof path), .offset = (how >> 2 & 3) * 1000,
                          .length = (how >> 4 & 1) * 2000, .flags = how >> 1 & 1};
    Stream *s = a->c->streams;
    Call call = {.pool = (uint8_t)(a->p - pools), .volume = (uint8_t)a->volume, .act = LOOK, .answered = stream_begun};

    while (s < a->c->streams + STREAMS && s->state != STREAM_NONE)
        s++;
    if (s == a->c->streams + STREAMS)
        return;
    if (how & 1) {
        v->busy++;
        v->bytes_epoch++;
    }
    *s = (Stream){.state = STREAM_ASKED, .serial = a->c->serial + 1, .upload = how & 1, .sparse = how & 2, .pool = call.pool,
                  .volume = call.volume, .plain = v->busy == 1, .offset = args.offset, .epoch = v->bytes_epoch,
                  .letter = (uint8_t)('a' + a->c->serial % LETTERS)};
    client_call(a->c, how & 1 ? 208 : 209, SHAPE(vol_range), &args, call);
}

/* A stream of this client that is open, whose call has been answered by then. NULL: none. */
static Stream *some_stream(Choice *a, uint32_t byte)
{
    Stream *s = &a->c->streams[byte % STREAMS];

    for (int i = 0; i < STREAMS && s->state == STREAM_NONE; i++)
        s = &a->c->streams[(byte + (uint32_t)i) % STREAMS];
    if (s->state == STREAM_ASKED)
        clients_settle(false);
    return a->c->fd >= 0 && s->state == STREAM_OPEN ? s : NULL;
}

static void send_data(Choice *a)
{
    static uint8_t bytes[DATA_MAX];
    static const uint32_t sizes[] = {0, 1, 100, 512, 4096, 5000, 1000, 3, 7, 65536, 511, 513, 2000, 1999, 2001, DATA_MAX};
    uint32_t which = fuzz_byte(a->in), n = which >> 4 ? sizes[which & 15] & 8191 : sizes[which & 15];
    Stream *s = some_stream(a, which >> 4);

    if (!s)
        return;
    memset(bytes, s->letter, n);
    client_stream(a->c, s, PLK_FRAME_STREAM, PLK_FRAME_CONTINUE, bytes, n);
    s->written += n;
}

static void send_hole(Choice *a)
{
    uint32_t which = fuzz_byte(a->in);
    Stream *s = some_stream(a, which);
    uint8_t payload[12] = {0};

    if (!s || !s->upload)
        return;
    payload[6] = (uint8_t)(which >> 4);
    payload[7] = (uint8_t)(which & 0xf0);
    payload[0] = which == 0xff ? 0x80 : 0;
    payload[11] = which == 0xfe;
    client_stream(a->c, s, PLK_FRAME_HOLE, PLK_FRAME_CONTINUE, payload, sizeof payload);
    s->plain = false;
}

static void end_stream(Choice *a)
{
    uint32_t how = fuzz_byte(a->in);
    Stream *s = some_stream(a, how);

    if (!s)
        return;
    if (how & 64 && !s->upload)
        for (int i = 0; i < 1000 && !s->drained && s->state == STREAM_OPEN; i++)
            clients_move(1);
    if (s->state != STREAM_OPEN)
        return;
    s->state = STREAM_ENDING;
    s->aborted = how & 128;
    client_stream(a->c, s, PLK_FRAME_STREAM, how & 128 ? PLK_FRAME_ERROR : PLK_FRAME_OK, NULL, 0);
    if (how & 32) /* more, for what is over */
        client_stream(a->c, s, PLK_FRAME_STREAM, PLK_FRAME_CONTINUE, "late", 4);
}

/* Frames that are none of a daemon's business: it drops them. */
static void send_stray(Choice *a)
{
    uint32_t how = fuzz_byte(a->in);
    PlkFrame f = {.program = PLK_PROGRAM_REMOTE, .version = 1, .procedure = how & 1 ? 208 : 209, .serial = 0x7fff0000u + how};

    f.type = how & 2 ? PLK_FRAME_STREAM : how & 4 ? PLK_FRAME_HOLE : PLK_FRAME_REPLY;
    f.status = how >> 3 & 3;
    client_frame(a->c, f, "stray frame.", how >> 4 & 12);
}

static void ping(Choice *a)
{
    PlkFrame f = {.program = PLK_PROGRAM_KEEPALIVE, .version = 1, .procedure = 1, .type = PLK_FRAME_EVENT};

    a->c->pings++;
    client_frame(a->c, f, NULL, 0);
}

static void listen_to(Choice *a)
{
    uint32_t how = fuzz_byte(a->in);
    rpc_pool pool = pool_arg(a->p);
    rpc_event_filter args = {.event = (int)(how & 1), .pool = how & 2 ? &pool : NULL};
    rpc_int number = {.value = (int)(how >> 3)};

    a->c->listens = true;
    if (how & 4)
        client_call(a->c, 369, SHAPE(int), &number, (Call){0});
    else
        client_call(a->c, 368, SHAPE(event_filter), &args, (Call){0});
}

static void harm(Choice *a)
{
    fuzz_take(a->in, a->c->harm, sizeof a->c->harm);
    a->c->harmed = true;
}

static void cut(Choice *a)
{
    a->c->piece = fuzz_byte(a->in) % 64 + 1;
    a->c->pieces = PIECE_FOR;
}

static void move(Choice *a)
{
    clients_move(0);
}

static void hang_up(Choice *a)
{
    client_leave(a->c);
}

static void close_connection(Choice *a)
{
    client_call(a->c, 2, NULL, NULL, (Call){0});
    a->c->leaving = a->c->authenticated; /* else it is refused */
}

static void check_all(Choice *a);

static const struct {
    void (*act)(Choice *a);
    unsigned weight; /* of 256 */
} acts[] = {
    {burst, 80}, {define, 12}, {turn, 24}, {create, 20}, {delete, 10}, {clone_volume, 6}, {open_stream, 18}, {send_data, 24}, {end_stream, 14},
    {send_hole, 4}, {refresh, 4}, {wipe, 3}, {resize, 4}, {autostart, 2}, {send_stray, 3}, {ping, 2}, {listen_to, 3},
    {harm, 4}, {cut, 5}, {move, 6}, {hang_up, 3}, {close_connection, 3}, {check_all, 2},
};

/* ---- what lists say ---- */

static void check_volumes(Asker *asker, Pool *p, const rpc_vols *vols)
{
    bool seen[VOLUMES] = {false};

    for (u_int i = 0; i < vols->vols.vols_len; i++)
        for (int v = 0; v < VOLUMES; v++)
            if (strcmp(vols->vols.vols_val[i].name, volume_names[v]) == 0) {
                FUZZ_CHECK(!seen[v], "%s/%s is listed twice", p->name, volume_names[v]);
                seen[v] = true;
            }
    for (int i = 0; i < VOLUMES; i++) {
        Volume *v = &p->volumes[i];

        FUZZ_CHECK(all_unsure || v->unsure || v->there == seen[i], "%s/%s is %slisted", p->name, volume_names[i], seen[i] ? "" : "not ");
        if (v->unsure || all_unsure)
            *v = (Volume){.there = seen[i], .epoch = v->epoch + 1, .bytes_epoch = v->bytes_epoch + 1, .busy = v->busy};
    }
}

/* Files in a directory that no list tells of. */
static void check_directory(const Pool *p)
{
    DIR *dir = opendir(p->directory);
    const struct dirent *e;

    while (dir && (e = readdir(dir))) {
        bool known = e->d_name[0] == '.';

        for (int i = 0; i < VOLUMES; i++)
            known |= p->volumes[i].there && strcmp(e->d_name, volume_names[i]) == 0;
        FUZZ_CHECK(known, "%s/%s is left over", p->directory, e->d_name);
    }
    if (dir)
        closedir(dir);
}

static void check_pool(Asker *asker, Pool *p, bool harmed)
{
    rpc_pool pool = pool_arg(p);
    rpc_pool_list list = {.pool = pool, .need_results = 1};
    rpc_int active, persistent;
    rpc_vols vols;
    bool sure = !p->unsure && !all_unsure, runs, keeps;
    bool listed = asker_ask(asker, 154, SHAPE(pool), &pool, SHAPE(int), &active, sizeof active) == 0;

    FUZZ_CHECK(asker_ask(asker, 155, SHAPE(pool), &pool, SHAPE(int), &persistent, sizeof persistent) == 0 || !listed, "%s: no answer", p->name);
    runs = listed && active.value;
    keeps = listed && persistent.value;
    FUZZ_CHECK(!sure || (runs == p->active && keeps == p->persistent), "pool %s: runs %d, defined %d, but it should be %d and %d", p->name,
               runs, keeps, p->active, p->persistent);
    p->active = runs;
    p->persistent = keeps;
    p->unsure = false;
    p->starts = p->defines = p->undefines = 0;
    p->epoch++;
    if (!runs)
        return;
    FUZZ_CHECK(asker_ask(asker, 282, SHAPE(pool_list), &list, SHAPE(vols), &vols, sizeof vols) == 0, "%s: no list of volumes", p->name);
    check_volumes(asker, p, &vols);
    xdr_free(SHAPE(vols), (char *)&vols);
    if (!harmed)
        check_directory(p);
}

static void check_list(Asker *asker)
{
    rpc_list list = {.need_results = 1};
    unsigned n = 0;
    rpc_pools listed;

    FUZZ_CHECK(asker_ask(asker, 281, SHAPE(list), &list, SHAPE(pools), &listed, sizeof listed) == 0, "no list of pools");
    for (int i = 0; i < POOLS; i++)
        n += pool_is_listed(&pools[i]);
    FUZZ_CHECK(all_unsure || (listed.pools.pools_len == n && listed.count == n), "%u pools are listed, there are %u",
               listed.pools.pools_len, n);
    xdr_free(SHAPE(pools), (char *)&listed);
}

static bool ever_harmed; /* in this input: there may be files and pools we know nothing of */

static void check_all(Choice *a)
{
    Asker asker;

    clients_settle(true);
    ever_harmed |= all_unsure;
    asker_join(&asker);
    for (int i = 0; i < POOLS; i++)
        check_pool(&asker, &pools[i], ever_harmed);
    if (!ever_harmed)
        check_list(&asker);
    asker_leave(&asker);
    /* What does not run cannot be asked for its volumes. */
    for (int i = 0; i < POOLS; i++)
        for (int v = 0; v < VOLUMES; v++)
            pools[i].volumes[v].unsure |= all_unsure && !pools[i].active;
    all_unsure = false;
}

/* ---- an input ---- */

static void one_act(FuzzInput *in)
{
    uint32_t which = fuzz_byte(in), who = fuzz_byte(in), i = 0;
    Choice a = {.c = &clients[who % CLIENTS], .p = some_pool(who >> 2 & 3), .volume = who >> 4 & 3, .in = in};

    while (i + 1 < G_N_ELEMENTS(acts) && which >= acts[i].weight)
        which -= acts[i++].weight;
    if (a.c->leaving || a.c->odd)
        clients_settle(false);
    if (a.c->fd < 0) {
        bool special = who >> 6 == 3; /* few come by another door, or do not open their connection */
        uint32_t how = special ? fuzz_byte(in) : 7;

        client_join(a.c, special ? how >> 3 & 3 ? DOOR_POLKIT : DOOR_READ_ONLY : DOOR_OPEN);
        open_connection(a.c, how);
    }
    acts[i].act(&a);
}

static void stop_all(void)
{
    Asker asker;
    rpc_int nothing;

    asker_join(&asker);
    for (int i = 0; i < POOLS; i++) {
        rpc_pool pool = pool_arg(&pools[i]);

        if (pools[i].active)
            FUZZ_CHECK(asker_ask(&asker, 80, SHAPE(pool), &pool, NULL, &nothing, sizeof nothing) == 0, "%s cannot be stopped", pools[i].name);
    }
    asker_leave(&asker);
    clients_settle(true);
}

static void finish(void)
{
    check_all(NULL);
    for (int i = 0; i < CLIENTS; i++)
        client_leave(&clients[i]);
    check_all(NULL);
    stop_all();
}

static int64_t began;

static void tell_speed(void)
{
    double seconds = (double)(world_ms() - began) / 1000;

    printf("%" PRIu64 " frames in, %" PRIu64 " out, %.0f a second in\n", frames_sent, frames_received, (double)frames_sent / seconds);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    world_prepare();
    on_stream_end = stream_ended;
    on_gone = gone;
    began = world_ms();
    atexit(tell_speed);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = {data, data + size};
    unsigned descriptors = world_descriptors(), inside;

    reset_model();
    ever_harmed = false;
    world_begin();
    inside = world_descriptors();
    while (fuzz_left(&in) > 0)
        one_act(&in);
    finish();
    FUZZ_CHECK(ever_harmed || world_descriptors() == inside, "%u descriptors were %u", world_descriptors(), inside);
    world_end();
    FUZZ_CHECK(world_descriptors() == descriptors, "%u descriptors were %u", world_descriptors(), descriptors);
    return 0;
}
