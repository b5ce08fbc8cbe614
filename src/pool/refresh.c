/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking at a pool's directory: one name, or all of them in parallel. What has not changed by its fingerprint is not
 * opened, and keeps its record; one bad volume is a record with a reason, and no more.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "pool/incomplete.h"
#include "pool/live.h"
#include "pool/names.h"
#include "pool/private.h"

#define THREADS_MAX 8
#define PIECE 64          /* names that a thread takes at a time */
#define TRUST_NS 20000000 /* a directory whose time is younger may change again without a new time */

/* ---- one name ---- */

/* What the facts, and a mark, say of its state. Takes the facts. */
static PlkVolume *make_record(PlkPoolVolumes *live, const char *name, PlkVolumeFacts *facts, bool may_have_mark)
{
    PlkIncomplete mark;

    if (may_have_mark && plk_incomplete_get(live->dir, name, facts->dev, facts->ino, &mark))
        return plk_volume_new(g_strdup(name), PLK_STATE_INCOMPLETE, plk_incomplete_reason(&mark), facts);
    return plk_volume_new(g_strdup(name), facts->reason ? PLK_STATE_BROKEN : PLK_STATE_GOOD, g_strdup(facts->reason), facts);
}

static bool same_fingerprint(const PlkVolumeFacts *a, const PlkVolumeFacts *b)
{
    return a->fingerprint.trusted && a->fingerprint.digest[0] == b->fingerprint.digest[0] &&
           a->fingerprint.digest[1] == b->fingerprint.digest[1];
}

/* Marks come and go without a trace in the fingerprint. */
static bool mark_changed(const PlkVolume *old, bool may_have_mark)
{
    return may_have_mark != (old->state == PLK_STATE_INCOMPLETE);
}

static int look(PlkPoolVolumes *live, const char *name, PlkVolume *old, bool may_have_mark, PlkVolume **ret, PlkError *err)
{
    const PlkPlace place = plk_live_place(live, name);
    PlkVolumeFacts facts;
    int r;

    if (old && old->state != PLK_STATE_BUILDING && !mark_changed(old, may_have_mark)) {
        facts = old->facts; /* strings stay the old record's */
        r = plk_volume_stat(&place, &facts, err);
        if (r == 0 && same_fingerprint(&old->facts, &facts)) {
            *ret = plk_volume_ref(old);
            return 1;
        }
        if (r < 0)
            return -1;
    }
    memset(&facts, 0, sizeof facts);
    r = plk_volume_probe(&place, &facts, err);
    if (r == 0)
        *ret = make_record(live, name, &facts, may_have_mark);
    return r < 0 ? -1 : r == 0;
}

static bool has_mark(PlkPoolVolumes *live, const char *name)
{
    PLK_CLOSE int dir = plk_private_open(live->dir, "incomplete", false);

    return dir >= 0 && faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int plk_live_look(PlkPoolVolumes *live, const char *name, PlkVolume *old, PlkVolume **ret, PlkError *err)
{
    return look(live, name, old, has_mark(live, name), ret, err);
}

int plk_live_renew(PlkPoolVolumes *live, const char *name, PlkVolume **ret, PlkError *err)
{
    PlkVolume *volume = NULL;

    if (plk_live_look(live, name, NULL, &volume, err) < 0)
        return -1;
    if (ret)
        *ret = volume ? plk_volume_ref(volume) : NULL;
    plk_live_put(live, name, volume);
    return 0;
}

/* ---- all names ---- */

typedef struct Names {
    char *text;      /* one after the other, each with its NUL */
    size_t len, size;
    size_t *at;      /* where each begins; sorted after reading */
    size_t n, room;
} Names;

static void free_names(Names *names)
{
    g_free(names->text);
    g_free(names->at);
}

static const char *name_at(const Names *names, size_t i)
{
    return names->text + names->at[i];
}

static void add_name(Names *names, const char *name)
{
    size_t len = strlen(name) + 1;

    if (names->len + len > names->size)
        names->text = g_realloc(names->text, names->size = MAX(names->size * 2, (size_t)65536));
    if (names->n == names->room)
        names->at = g_realloc_n(names->at, names->room = MAX(names->room * 2, (size_t)1024), sizeof names->at[0]);
    memcpy(names->text + names->len, name, len);
    names->at[names->n++] = names->len;
    names->len += len;
}

static int compare_names(const void *a, const void *b, void *arg)
{
    const char *text = arg;

    return strcmp(text + *(const size_t *)a, text + *(const size_t *)b);
}

static int read_names(PlkPoolVolumes *live, Names *ret, PlkError *err)
{
    int fd = openat(live->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    int failed;

    if (!d) {
        failed = errno;
        if (fd >= 0)
            close(fd);
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, failed, "cannot open directory '%s'", live->path);
    }
    for (errno = 0; (e = readdir(d)); errno = 0)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, PLK_PRIVATE_DIR))
            add_name(ret, e->d_name);
    failed = errno;
    closedir(d);
    if (failed)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, failed, "cannot read directory '%s'", live->path);
    if (ret->n)
        qsort_r(ret->at, ret->n, sizeof ret->at[0], compare_names, ret->text);
    return 0;
}

/* ---- a round ---- */

typedef struct Round {
    PlkPoolVolumes *live;
    const PlkVolumeList *old;
    const Names *names;
    GHashTable *marks; /* NULL: there are none */
    PlkVolume **found; /* one for each name; NULL: no volume */
    const PlkProgress *progress;
    gint next;      /* piece; atomic */
    gint cancelled; /* atomic */
    gint failed;    /* atomic; the first one writes `error` */
    PlkError error;
} Round;

/* Both are sorted: where the search for the next name begins is where the last one ended. */
static PlkVolume *find_old(const Round *round, size_t *at, const char *name)
{
    size_t n = plk_volume_list_count(round->old);

    for (; *at < n; ++*at) {
        PlkVolume *volume = plk_volume_list_at(round->old, *at);
        int order = strcmp(volume->name, name);

        if (order == 0)
            return volume;
        if (order > 0)
            return NULL;
    }
    return NULL;
}

static void look_at_piece(Round *round, size_t from)
{
    size_t end = MIN(from + PIECE, round->names->n), at = plk_index_seek(round->old, name_at(round->names, from));
    PlkError err;

    for (size_t i = from; i < end; i++) {
        const char *name = name_at(round->names, i);
        bool marked = round->marks && g_hash_table_contains(round->marks, name);

        if (look(round->live, name, find_old(round, &at, name), marked, &round->found[i], &err) < 0 &&
            g_atomic_int_compare_and_exchange(&round->failed, 0, 1))
            round->error = err;
    }
}

static void *look_at_pieces(void *arg)
{
    Round *round = arg;

    for (;;) {
        size_t from = (size_t)g_atomic_int_add(&round->next, 1) * PIECE;

        if (from >= round->names->n || g_atomic_int_get(&round->failed) || g_atomic_int_get(&round->cancelled))
            return NULL;
        look_at_piece(round, from);
    }
}

/* This thread looks, too, and is the one that tells how far it is. */
static void look_at_all(Round *round)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int wanted = (int)MIN(MIN((size_t)MAX(cpus * 2, 2), (size_t)THREADS_MAX), round->names->n / PIECE + 1), n = 0;
    pthread_t threads[THREADS_MAX];

    while (n < wanted - 1 && pthread_create(&threads[n], NULL, look_at_pieces, round) == 0)
        n++;
    look_at_pieces(round);
    while (n > 0)
        pthread_join(threads[--n], NULL);
}

/* Names that another process is making right now: there is nothing yet but the reservation. */
typedef struct Births {
    const Round *round;
    GPtrArray *volumes;
} Births;

static void note_birth(void *arg, const char *name, const char *holder)
{
    Births *births = arg;
    const Names *names = births->round->names;
    PlkVolumeFacts facts = {0};

    if (!g_str_has_prefix(holder, "create") && !g_str_has_prefix(holder, "clone"))
        return;
    for (size_t low = 0, high = names->n; low < high;) {
        size_t middle = (low + high) / 2;
        int order = strcmp(name_at(names, middle), name);

        if (order == 0)
            return;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    g_ptr_array_add(births->volumes,
                    plk_volume_new(g_strdup(name), PLK_STATE_BUILDING, g_strdup_printf("in the making: %s", holder), &facts));
}

/* The new list; those that were changed in the meantime stay as they are now. */
static void swap(Round *round)
{
    PlkPoolVolumes *live = round->live;
    Births births = {.round = round, .volumes = g_ptr_array_new()};
    PlkVolumeList *list, *next;
    size_t n = 0;
    GHashTableIter i;
    gpointer name;

    for (size_t k = 0; k < round->names->n; k++)
        if (round->found[k])
            round->found[n++] = round->found[k];
    list = plk_index_build(round->found, n);
    plk_names_each(live->dir, note_birth, &births);
    for (guint k = 0; k < births.volumes->len; k++) {
        next = plk_index_with(list, g_ptr_array_index(births.volumes, k));
        plk_volume_list_unref(list);
        list = next;
    }
    g_ptr_array_free(births.volumes, true);

    pthread_mutex_lock(&live->lock);
    g_hash_table_iter_init(&i, live->touched);
    while (g_hash_table_iter_next(&i, &name, NULL)) {
        PlkVolume *now = plk_index_find(live->list, name);

        next = now ? plk_index_with(list, plk_volume_ref(now)) : plk_index_without(list, name);
        plk_volume_list_unref(list);
        list = next;
    }
    next = live->list;
    live->list = list;
    pthread_mutex_unlock(&live->lock);
    plk_volume_list_unref(next);
}

static void give_up(Round *round)
{
    for (size_t i = 0; i < round->names->n; i++)
        if (round->found[i])
            plk_volume_unref(round->found[i]);
}

static int end_round(Round *round, PlkError *err)
{
    bool stop = round->progress && round->progress->update &&
                round->progress->update(round->progress->arg, "refresh", round->names->n, round->names->n);

    if (!round->failed && !stop) {
        swap(round);
        return 0;
    }
    give_up(round);
    if (round->failed) {
        if (err)
            *err = round->error;
        return -1;
    }
    return plk_fail(err, PLK_ERROR_CANCELLED, "the refresh of '%s' was stopped; the list is as it was", round->live->path);
}

static bool is_older(const struct timespec *t, const struct timespec *now)
{
    return (now->tv_sec - t->tv_sec) * 1000000000ll + now->tv_nsec - t->tv_nsec > TRUST_NS;
}

static void remember_times(PlkPoolVolumes *live)
{
    struct timespec now;
    struct stat st;
    bool known = fstat(live->dir, &st) == 0;

    clock_gettime(CLOCK_REALTIME, &now);
    PLK_LOCKED(&live->lock);
    live->trusted = known && is_older(&st.st_mtim, &now) && is_older(&st.st_ctim, &now);
    if (known) {
        live->seen_m = st.st_mtim;
        live->seen_c = st.st_ctim;
    }
}

bool plk_live_is_stale(PlkPoolVolumes *live)
{
    struct stat st;

    if (fstat(live->dir, &st) < 0)
        return true;
    PLK_LOCKED(&live->lock);
    return !live->trusted || memcmp(&st.st_mtim, &live->seen_m, sizeof st.st_mtim) ||
           memcmp(&st.st_ctim, &live->seen_c, sizeof st.st_ctim);
}

static int run_round(PlkPoolVolumes *live, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(free_names) Names names = {NULL};
    Round round = {.live = live, .names = &names, .progress = progress};
    PlkVolumeList *old;
    int r;

    remember_times(live);
    r = read_names(live, &names, err);
    if (r < 0)
        return r;
    old = plk_live_list(live);
    round.old = old;
    round.marks = plk_incomplete_names(live->dir);
    round.found = g_new0(PlkVolume *, names.n + 1);
    look_at_all(&round);
    r = end_round(&round, err);
    plk_volume_list_unref(old);
    g_free(round.found);
    if (round.marks)
        g_hash_table_unref(round.marks);
    return r;
}

/* Lock held, given up while the round runs. */
static void begin_round(PlkPoolVolumes *live, const PlkProgress *progress)
{
    PlkError err = {0};
    GHashTable *touched;
    int r;

    live->begun++;
    live->touched = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    pthread_mutex_unlock(&live->lock);
    r = run_round(live, progress, &err);
    pthread_mutex_lock(&live->lock);
    touched = live->touched;
    live->touched = NULL;
    live->done = live->begun;
    live->last = r;
    live->last_error = err;
    pthread_cond_broadcast(&live->refreshed);
    g_hash_table_unref(touched);
}

int plk_live_refresh(PlkPoolVolumes *live, const PlkProgress *progress, PlkError *err)
{
    unsigned long mine;
    int r;

    PLK_LOCKED(&live->lock);
    for (mine = live->begun + 1; live->done < mine;) {
        if (live->begun == live->done)
            begin_round(live, progress);
        else
            pthread_cond_wait(&live->refreshed, &live->lock);
    }
    r = live->last;
    if (r < 0 && err)
        *err = live->last_error;
    return r;
}

int plk_pool_refresh(PlkPool *pool, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_live_releasep) PlkPoolVolumes *live = NULL;

    if (plk_live_hold(pool, &live, err) < 0 || plk_live_refresh(live, progress, err) < 0 ||
        plk_pool_measure(pool, err) < 0)
        return -1;
    plk_pool_emit(pool, PLK_EVENT_REFRESHED);
    return 0;
}
