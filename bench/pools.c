/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Figures of pools that are taken inside one process, in turns with the floor; pools.py drives it. Each answer is a line of
 * numbers on standard output: seconds, bytes, or what the verb says.
 *
 *   bench-pools fill SOURCE TARGET N         N copies of a ploop volume's descriptor and base image, v000000 and on
 *   bench-pools refresh TARGET ROUNDS        medians: first, its floor, ratio; unchanged, its floor, ratio
 *   bench-pools first TARGET                 one refresh with an empty index
 *   bench-pools floor TARGET                 the floor of that, in the same order
 *   bench-pools memory TARGET                seconds of an unchanged refresh (median), bytes resident, at most, volumes
 *   bench-pools lookup TARGET SOURCE         p98 and median of lookups of volumes just put there
 *   bench-pools info TARGET                  p99 and slowest info of a volume, then of the pool, during refreshes
 *   bench-pools clone TARGET FROM NAME WAY   WAY: reflink or copy
 *   bench-pools create TARGET NAME BYTES     a ploop volume with ext4
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "base/cleanup.h"
#include "clock.h"
#include "floor.h"
#include "pool/volumes.h"

#define LOOKUPS 100
#define REFRESHES 3
#define SAMPLES_MAX 1000000
#define UNCHANGED_ROUNDS 9

static char state[] = "/tmp/plk-bench-XXXXXX";
static PlkStorage *storage;
static PlkPool *pool;
static PlkError err;

/* ---- tools ---- */

static void die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, err.message);
    exit(1);
}

/* ---- the pool ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_state(void)
{
    nftw(state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* On directories of its own; as a command, so that nothing is looked at before it is asked for. */
static void open_pool(const char *target)
{
    g_autofree char *config = NULL, *runtime = NULL, *xml = NULL;
    PlkStorageOptions options = {.role = PLK_STORAGE_COMMAND};
    PlkPoolDef *def;

    if (!mkdtemp(state) || atexit(remove_state))
        die(state);
    options.config_dir = config = g_strconcat(state, "/config", NULL);
    options.runtime_dir = runtime = g_strconcat(state, "/run", NULL);
    xml = g_strdup_printf("<pool type='dir'><name>p</name><target><path>%s</path></target></pool>", target);
    if (plk_storage_open(&options, &storage, &err) < 0 || plk_pool_def_parse(xml, 0, &def, &err) < 0 ||
        plk_storage_define(storage, def, &pool, &err) < 0 || plk_pool_start(pool, 0, &err) < 0)
        die(target);
}

static void close_pool(void)
{
    if (plk_pool_destroy(pool, &err) < 0)
        die("stop");
    plk_pool_unref(pool);
    plk_storage_close(storage);
}

/* Its index is empty then. */
static void restart_pool(void)
{
    if (plk_pool_destroy(pool, &err) < 0 || plk_pool_start(pool, 0, &err) < 0)
        die("start");
}

static void refresh(void)
{
    if (plk_pool_refresh(pool, NULL, &err) < 0)
        die("refresh");
}

static size_t count_good(void)
{
    PlkPoolInfo info;

    if (plk_pool_info(pool, &info, &err) < 0)
        die("info");
    return info.volumes - info.broken;
}

/* As many as a refresh takes (pool/refresh.c). */
static unsigned threads(void)
{
    return (unsigned)MIN(MAX(sysconf(_SC_NPROCESSORS_ONLN) * 2, 2), 8);
}

static double time_refresh(void)
{
    double start = now();

    refresh();
    return now() - start;
}

static double time_floor(const char *target, FloorKind kind, bool sorted, size_t wanted)
{
    double start = now();
    size_t n = floor_run(target, kind, threads(), sorted);

    if (wanted && n != wanted) {
        fprintf(stderr, "bench: the floor saw %zu volumes, the pool has %zu\n", n, wanted);
        exit(1);
    }
    return now() - start;
}

/* ---- fill ---- */

/* What a volume is copied from, read once; zeros at the end of a file become a hole. */
static struct {
    const char *name;
    char bytes[1 << 21];
    size_t used;
    off_t length;
} files[] = {{.name = "DiskDescriptor.xml"}, {.name = "root.hds"}};

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    exit(1);
}

static void read_source(const char *source)
{
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_strconcat(source, "/", files[i].name, NULL);
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        files[i].length = fd < 0 ? -1 : read(fd, files[i].bytes, sizeof files[i].bytes);
        must(files[i].length >= 0 && files[i].length < (off_t)sizeof files[i].bytes, path);
        for (files[i].used = (size_t)files[i].length; files[i].used && !files[i].bytes[files[i].used - 1];)
            files[i].used--;
        close(fd);
    }
}

static void put_volume(int target, const char *name)
{
    int dir = mkdirat(target, name, 0711) < 0 ? -1 : openat(target, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    must(dir >= 0, name);
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        int fd = openat(dir, files[i].name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        must(fd >= 0 && write(fd, files[i].bytes, files[i].used) == (ssize_t)files[i].used &&
                 ftruncate(fd, files[i].length) == 0,
             name);
        close(fd);
    }
    close(dir);
}

static void fill(const char *source, const char *target, unsigned n)
{
    int to = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char name[16];

    read_source(source);
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "v%06u", i);
        put_volume(to, name);
    }
    close(to);
}

/* ---- refresh ---- */

typedef struct Turns {
    double *ours, *floor, *ratio;
    int n;
} Turns;

static Turns *turns_new(int n)
{
    Turns *t = g_new0(Turns, 1);

    t->ours = g_new0(double, n);
    t->floor = g_new0(double, n);
    t->ratio = g_new0(double, n);
    return t;
}

static void turn(Turns *t, const char *target, FloorKind kind, size_t wanted)
{
    if (t->n % 2)
        t->ours[t->n] = time_refresh();
    t->floor[t->n] = time_floor(target, kind, false, wanted);
    if (t->n % 2 == 0)
        t->ours[t->n] = time_refresh();
    t->ratio[t->n] = t->ours[t->n] / t->floor[t->n];
    t->n++;
}

static void turns_print(Turns *t)
{
    printf("%.6f %.6f %.3f ", median(t->ours, t->n), median(t->floor, t->n), median(t->ratio, t->n));
    g_free(t->ours);
    g_free(t->floor);
    g_free(t->ratio);
    g_free(t);
}

static void compare_refresh(const char *target, int rounds)
{
    Turns *first = turns_new(rounds), *again = turns_new(rounds);
    size_t n;

    refresh();
    n = count_good();
    for (int i = 0; i < rounds; i++) {
        restart_pool();
        turn(first, target, FLOOR_PROBE, n);
        turn(again, target, FLOOR_STATX, n);
    }
    turns_print(first);
    turns_print(again);
}

/* ---- memory ---- */

static double status_bytes(const char *key)
{
    g_autofree char *text = NULL;
    const char *at = g_file_get_contents("/proc/self/status", &text, NULL, NULL) ? strstr(text, key) : NULL;

    return at ? strtod(at + strlen(key), NULL) * 1024 : 0;
}

static void unchanged(const char *target)
{
    double took[UNCHANGED_ROUNDS];

    refresh();
    for (int i = 0; i < UNCHANGED_ROUNDS; i++)
        took[i] = time_refresh();
    printf("%.6f %.0f %.0f %zu", median(took, UNCHANGED_ROUNDS), status_bytes("VmRSS:"), status_bytes("VmHWM:"), count_good());
}

/* ---- one volume ---- */

static double time_lookup(const char *name)
{
    double start = now();
    PlkVolume *volume;

    if (plk_pool_volume(pool, name, &volume, &err) < 0)
        die(name);
    start = now() - start;
    plk_volume_unref(volume);
    return start;
}

static void lookup(const char *target, const char *source)
{
    int to = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    double took[LOOKUPS];
    char name[32];

    read_source(source);
    refresh();
    for (int i = 0; i < LOOKUPS; i++) {
        g_autofree char *path = NULL;

        snprintf(name, sizeof name, "v%06d-new", i * 7);
        put_volume(to, name);
        took[i] = time_lookup(name);
        path = g_strconcat(target, "/", name, NULL);
        nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    close(to);
    printf("%.6f %.6f", quantile(took, LOOKUPS, 0.98), median(took, LOOKUPS));
}

static void *refresh_often(void *arg)
{
    gint *done = arg;

    for (int i = 0; i < REFRESHES; i++)
        refresh();
    g_atomic_int_set(done, 1);
    return NULL;
}

static double time_info(void)
{
    double start = now();
    PlkPoolInfo info;

    if (plk_pool_info(pool, &info, &err) < 0)
        die("info");
    return now() - start;
}

/* The first of the refreshes has an empty index. */
static void info(const char *target)
{
    double *volume = g_new(double, SAMPLES_MAX), *whole = g_new(double, SAMPLES_MAX);
    size_t n = 0;
    gint done = 0;
    pthread_t thread;
    char name[16];

    if (pthread_create(&thread, NULL, refresh_often, &done))
        die("thread");
    for (unsigned at = 1; !g_atomic_int_get(&done) && n < SAMPLES_MAX; n++) {
        snprintf(name, sizeof name, "v%06u", at = at * 7919 % 99991);
        volume[n] = time_lookup(name);
        whole[n] = time_info();
        usleep(500);
    }
    pthread_join(thread, NULL);
    printf("%.6f %.6f ", quantile(volume, n, 0.99), quantile(volume, n, 1));
    printf("%.6f %.6f", quantile(whole, n, 0.99), quantile(whole, n, 1));
    g_free(volume);
    g_free(whole);
}

/* ---- new ones ---- */

static void clone_volume(const char *from, const char *name, const char *way)
{
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = NULL;
    PlkVolume *source;
    double start;

    if (plk_pool_volume(pool, from, &source, &err) < 0)
        die(from);
    def = plk_volume_def_new(name, PLK_FILE_PLOOP, source->facts.capacity);
    plk_volume_unref(source);
    start = now();
    if (plk_pool_clone_volume(pool, def, pool, from, NULL, strcmp(way, "reflink") ? 0 : PLK_CREATE_REFLINK, NULL, NULL,
                              &err) < 0)
        die(name);
    printf("%.6f", now() - start);
}

static void create_volume(const char *name, const char *bytes)
{
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def =
        plk_volume_def_new(name, PLK_FILE_PLOOP, strtoull(bytes, NULL, 10));
    double start = now();

    if (plk_pool_create_volume(pool, def, 0, NULL, NULL, &err) < 0)
        die(name);
    printf("%.6f", now() - start);
}

/* ---- verbs ---- */

static bool run(int argc, char **argv)
{
    const char *verb = argv[1];

    if (!strcmp(verb, "refresh") && argc == 4)
        compare_refresh(argv[2], atoi(argv[3]));
    else if (!strcmp(verb, "first") && argc == 3)
        printf("%.6f", time_refresh());
    else if (!strcmp(verb, "memory") && argc == 3)
        unchanged(argv[2]);
    else if (!strcmp(verb, "lookup") && argc == 4)
        lookup(argv[2], argv[3]);
    else if (!strcmp(verb, "info") && argc == 3)
        info(argv[2]);
    else if (!strcmp(verb, "clone") && argc == 6)
        clone_volume(argv[3], argv[4], argv[5]);
    else if (!strcmp(verb, "create") && argc == 5)
        create_volume(argv[3], argv[4]);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    bool known = true;

    if (argc == 5 && !strcmp(argv[1], "fill")) {
        fill(argv[2], argv[3], (unsigned)atoi(argv[4]));
        return 0;
    }
    if (argc == 3 && !strcmp(argv[1], "floor")) {
        printf("%.6f\n", time_floor(argv[2], FLOOR_PROBE, true, 0));
        return 0;
    }
    if (argc >= 3) {
        open_pool(argv[2]);
        known = run(argc, argv);
        close_pool();
    }
    puts("");
    return argc >= 3 && known ? 0 : 2;
}
