/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * storm [SECONDS [PROCESSES [THREADS]]]: several processes of several threads each do anything at any time to the volumes of
 * one pool: refresh, create, clone, upload, download, resize, wipe, delete, list.
 *
 * The names n0..n7 are everybody's. Each thread has one more that nobody else changes. Whoever writes to a volume
 * fills it with one letter, so what is read from a good one is all the same letter, or zeros, at any
 * time; a thread's own volume is always listed, and holds what the thread wrote last. A deadlock ends in an alarm.
 */
#include <errno.h>
#include <ftw.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pool/volumes.h"

#define SHARED 8
#define SIZE (256u << 10)
#define CAPACITY (4ull << 20) /* of ploop volumes: no smaller disk makes sense */
#define GRACE 120             /* seconds a stopped storm may take to calm down */

static char base[64];
static time_t until;
static atomic_ulong done, refused;

typedef struct Thread {
    pthread_t id;
    PlkPool *pool;
    unsigned seed;
    char own[32];
    char letter; /* in its own volume */
} Thread;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "storm, pid %d: ", (int)getpid());
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(1);
}

/* What may be said to somebody who comes at the wrong moment. Anything else is a fault. */
static void count(int r, const PlkError *err, const char *what, const char *name)
{
    atomic_fetch_add(r == 0 ? &done : &refused, 1);
    if (r == 0 || err->code == PLK_ERROR_STATE || err->code == PLK_ERROR_NO_VOLUME ||
        err->code == PLK_ERROR_VOLUME_EXISTS || err->code == PLK_ERROR_LOCKED || err->code == PLK_ERROR_NO_SUPPORT ||
        err->code == PLK_ERROR_NOT_THIS_FORMAT || err->code == PLK_ERROR_ARGUMENT)
        return;
    die("%s of '%s': %s", what, name, err->message);
}

/* ---- bytes in and out ---- */

static int upload(PlkPool *pool, const char *name, PlkStreamWhat what, char letter, PlkError *err)
{
    static __thread char bytes[SIZE];
    PlkStream *stream;
    int r;

    if (plk_pool_upload(pool, name, what, 0, 0, &stream, err) < 0)
        return -1;
    memset(bytes, letter, sizeof bytes);
    for (size_t at = 0; at < sizeof bytes; at += SIZE / 8)
        if (plk_stream_write(stream, bytes + at, SIZE / 8) < 0)
            break;
    r = plk_stream_finish(stream, err);
    plk_stream_close(stream);
    return r;
}

/* The letter that fills the first SIZE bytes, '\0' for zeros; -1 with *err. */
static int read_letter(PlkPool *pool, const char *name, PlkStreamWhat what, PlkError *err)
{
    static __thread char bytes[SIZE];
    PlkStream *stream;
    size_t have = 0;
    ssize_t n = 1;

    if (plk_pool_download(pool, name, what, 0, SIZE, &stream, err) < 0)
        return -1;
    while (have < SIZE && n > 0) {
        n = plk_stream_read(stream, bytes + have, SIZE - have);
        have += n > 0 ? (size_t)n : 0;
    }
    plk_stream_close(stream);
    if (n < 0)
        die("reading '%s': %s", name, strerror((int)-n));
    for (size_t i = 1; i < have; i++)
        if (bytes[i] != bytes[0])
            die("'%s' has '%c' at byte %zu and '%c' at its start", name, bytes[i], i, bytes[0]);
    return have ? (unsigned char)bytes[0] : 0;
}

/* The name tells the format, so that nobody's letters get where an image belongs. */
static bool is_ploop(const char *name)
{
    return *name == 'n' && (name[1] - '0') % 2;
}

static PlkStreamWhat what_of(const char *name)
{
    return is_ploop(name) ? PLK_STREAM_DISK : PLK_STREAM_CONTAINER;
}

static int create(PlkPool *pool, const char *name, PlkError *err)
{
    bool ploop = is_ploop(name);
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def =
        plk_volume_def_new(name, ploop ? PLK_FILE_PLOOP : PLK_FILE_RAW, ploop ? CAPACITY : SIZE);

    def->has_allocation = true;
    return plk_pool_create_volume(pool, def, ploop ? PLK_CREATE_EMPTY : 0, NULL, NULL, err);
}

static int copy(PlkPool *pool, const char *name, const char *from, PlkError *err)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = NULL;
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = NULL;

    if (plk_pool_volume(pool, from, &volume, err) < 0)
        return -1;
    if (volume->state != PLK_STATE_GOOD)
        return 0;
    def = plk_volume_def_new(name, is_ploop(name) ? PLK_FILE_PLOOP : PLK_FILE_RAW, volume->facts.capacity);
    def->has_allocation = true;
    return plk_pool_clone_volume(pool, def, pool, from, NULL, 0, NULL, NULL, err);
}

/* ---- the own volume ---- */

static void expect_own(Thread *t)
{
    PlkVolumeList *list;
    bool listed = false;
    PlkError err;
    int letter;

    if (plk_pool_volumes(t->pool, &list, &err) < 0)
        die("list: %s", err.message);
    for (size_t i = 0; i < plk_volume_list_count(list); i++)
        listed = listed || strcmp(plk_volume_list_at(list, i)->name, t->own) == 0;
    plk_volume_list_unref(list);
    if (!listed)
        die("'%s' is not listed", t->own);
    letter = read_letter(t->pool, t->own, PLK_STREAM_CONTAINER, &err);
    if (letter < 0)
        die("reading '%s': %s", t->own, err.message);
    if (letter != t->letter)
        die("'%s' holds '%c', and '%c' was written", t->own, letter, t->letter);
}

static void change_own(Thread *t)
{
    PlkError err;
    char letter = (char)('a' + rand_r(&t->seed) % 26);

    if (upload(t->pool, t->own, PLK_STREAM_CONTAINER, letter, &err) < 0)
        die("upload to '%s': %s", t->own, err.message);
    t->letter = letter;
}

/* ---- anybody's ---- */

static void act(Thread *t)
{
    char name[8], other[8];
    PlkError err = {0};
    int r = 0;
    const char *what = "?";

    snprintf(name, sizeof name, "n%u", rand_r(&t->seed) % SHARED);
    snprintf(other, sizeof other, "n%u", rand_r(&t->seed) % SHARED);
    switch (rand_r(&t->seed) % 12) {
    case 0:
        what = "refresh", r = plk_pool_refresh(t->pool, NULL, &err);
        break;
    case 1:
    case 2:
        what = "create", r = create(t->pool, name, &err);
        break;
    case 3:
    case 4:
        what = "clone", r = copy(t->pool, name, other, &err);
        break;
    case 5:
    case 6:
        what = "upload", r = upload(t->pool, name, what_of(name), (char)('A' + rand_r(&t->seed) % 26), &err);
        break;
    case 7:
        what = "download", r = read_letter(t->pool, name, what_of(name), &err);
        r = r > 0 ? 0 : r;
        break;
    case 8:
        what = "delete", r = plk_pool_delete_volume(t->pool, name, 0, &err);
        break;
    case 9:
        what = "wipe", r = plk_pool_wipe_volume(t->pool, name, PLK_WIPE_ZERO, NULL, &err);
        break;
    case 10:
        change_own(t);
        break;
    default:
        expect_own(t);
    }
    count(r, &err, what, name);
}

static void *run_thread(void *arg)
{
    Thread *t = arg;
    PlkError err;

    if (create(t->pool, t->own, &err) < 0)
        die("create of '%s': %s", t->own, err.message);
    while (time(NULL) < until)
        act(t);
    expect_own(t);
    return NULL;
}

/* ---- the processes ---- */

static PlkStorage *open_storage(void)
{
    g_autofree char *config = g_strconcat(base, "/config", NULL), *runtime = g_strconcat(base, "/run", NULL);
    PlkStorageOptions options = {.config_dir = config, .runtime_dir = runtime, .role = PLK_STORAGE_COMMAND};
    PlkStorage *storage;
    PlkError err;

    if (plk_storage_open(&options, &storage, &err) < 0)
        die("open: %s", err.message);
    return storage;
}

static int run_process(unsigned number, unsigned threads)
{
    g_autofree Thread *all = g_new0(Thread, threads);
    PlkStorage *storage = open_storage();
    PlkPool *pool;
    PlkError err;

    alarm((unsigned)(until - time(NULL)) + GRACE);
    pool = plk_storage_pool_by_name(storage, "p", &err);
    if (!pool)
        die("pool: %s", err.message);
    for (unsigned i = 0; i < threads; i++) {
        all[i] = (Thread){.pool = pool, .seed = (unsigned)time(NULL) * 31 + number * 100 + i};
        snprintf(all[i].own, sizeof all[i].own, "own-%u-%u", number, i);
        if (pthread_create(&all[i].id, NULL, run_thread, &all[i]))
            die("no thread");
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(all[i].id, NULL);
    plk_pool_unref(pool);
    plk_storage_close(storage);
    printf("process %u: %lu done, %lu refused\n", number, atomic_load(&done), atomic_load(&refused));
    fflush(stdout);
    return atomic_load(&done) > 10 ? 0 : 1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void make_pool(void)
{
    g_autofree char *target = NULL, *xml = NULL;
    PlkStorage *storage;
    PlkPoolDef *def;
    PlkPool *pool;
    PlkError err;

    strcpy(base, "/tmp/plk-storm-XXXXXX");
    if (!mkdtemp(base))
        die("mkdtemp: %s", strerror(errno));
    target = g_strconcat(base, "/p", NULL);
    mkdir(target, 0755);
    storage = open_storage();
    xml = g_strdup_printf("<pool type='dir'><name>p</name><target><path>%s</path></target></pool>", target);
    if (plk_pool_def_parse(xml, 0, &def, &err) < 0 || plk_storage_define(storage, def, &pool, &err) < 0 ||
        plk_pool_start(pool, 0, &err) < 0)
        die("pool: %s", err.message);
    plk_pool_unref(pool);
    plk_storage_close(storage);
}

/* With nobody left, all is good or known not to be, and all that is private is gone. */
static void look_after(void)
{
    g_autofree char *private = g_strconcat(base, "/p/.ploopkit", NULL);
    PlkStorage *storage = open_storage();
    PlkVolumeList *list;
    PlkPool *pool;
    PlkError err;

    pool = plk_storage_pool_by_name(storage, "p", &err);
    if (!pool || plk_pool_volumes(pool, &list, &err) < 0)
        die("afterwards: %s", err.message);
    for (size_t i = 0; i < plk_volume_list_count(list); i++)
        if (plk_volume_list_at(list, i)->state != PLK_STATE_GOOD)
            die("afterwards '%s' is not good: %s", plk_volume_list_at(list, i)->name, plk_volume_list_at(list, i)->reason);
    plk_volume_list_unref(list);
    plk_pool_unref(pool);
    plk_storage_close(storage);
    if (access(private, F_OK) == 0)
        die("afterwards %s is still there", private);
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 10, processes = argc > 2 ? (unsigned)atoi(argv[2]) : 4;
    unsigned threads = argc > 3 ? (unsigned)atoi(argv[3]) : 8;
    int failed = 0, status;

    setvbuf(stdout, NULL, _IOLBF, 0);
    make_pool();
    until = time(NULL) + seconds;
    for (unsigned i = 0; i < processes; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(run_process(i, threads));
        if (pid < 0)
            die("fork: %s", strerror(errno));
    }
    while (wait(&status) > 0) {
        if (WIFSIGNALED(status))
            fprintf(stderr, "a process ended by signal %d\n", WTERMSIG(status));
        failed |= status != 0;
    }
    if (!failed)
        look_after();
    nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    puts(failed ? "FAILED" : "ok no wrong byte, no lost volume, no deadlock");
    return failed;
}
