/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The worlds of inject.h. */
#include "inject.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ploopkit/snapshot.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "disk/store.h"
#include "io/retry.h"

World world;

void world_die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(2);
}

/* ---- in the place of the real filesystem ---- */

int __wrap_plk_dir_open_fs(const char *path, const char *root, PlkDir **ret);
char *__wrap_realpath(const char *path, char *resolved);

int __wrap_plk_dir_open_fs(const char *path, const char *root, PlkDir **ret)
{
    int r = PLK_UNINTERRUPTED(plk_fault_strike(&world.fault, PLK_POINT_NONE, "open-dir", true));

    if (strcmp(path, DIR_PATH) != 0)
        return -ENOENT;
    return r < 0 ? r : plk_dir_borrow_fault(world.mem, &world.fault, ret);
}

char *__wrap_realpath(const char *path, char *resolved)
{
    int r = strcmp(path, DIR_PATH) == 0 ? 1 : plk_dir_exists(world.mem, path);

    errno = r < 0 ? -r : ENOENT;
    return r == 1 ? strdup(path) : NULL;
}

/* ---- what is not given back ---- */

#define EXPORTED __attribute__((visibility("default"))) /* libraries are to find these too */

static _Atomic long n_live;

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add(&n_live, 1);
    return p;
}

static void *uncounted(void *p)
{
    if (p)
        atomic_fetch_sub(&n_live, 1);
    return p;
}

long live_allocations(void)
{
    return atomic_load(&n_live);
}

void *__real_plk_map_zeroed(size_t size);
void __real_plk_unmap_zeroed(void *p, size_t size);
void *__wrap_plk_map_zeroed(size_t size);
void __wrap_plk_unmap_zeroed(void *p, size_t size);

void *__wrap_plk_map_zeroed(size_t size)
{
    return counted(__real_plk_map_zeroed(size));
}

void __wrap_plk_unmap_zeroed(void *p, size_t size)
{
    __real_plk_unmap_zeroed(uncounted(p), size);
}

#ifndef __SANITIZE_ADDRESS__ /* which counts by itself, at the end */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *p);

EXPORTED void *malloc(size_t size)
{
    return counted(__libc_malloc(size));
}

EXPORTED void *calloc(size_t n, size_t size)
{
    return counted(__libc_calloc(n, size));
}

EXPORTED void *realloc(void *p, size_t size)
{
    void *moved = __libc_realloc(p, size);

    if (!p)
        return counted(moved);
    if (size == 0)
        uncounted(p);
    return moved;
}

EXPORTED void *reallocarray(void *p, size_t n, size_t size)
{
    size_t bytes;

    return __builtin_mul_overflow(n, size, &bytes) ? NULL : realloc(p, bytes);
}

EXPORTED void *aligned_alloc(size_t alignment, size_t size)
{
    return counted(__libc_memalign(alignment, size));
}

EXPORTED void free(void *p)
{
    __libc_free(uncounted(p));
}

#endif

/* ---- worlds ---- */

void world_clear(World *w)
{
    plk_dir_close(w->mem);
    memset(w, 0, sizeof *w);
}

static void new_directory(void)
{
    if (plk_dir_open_memory(DIR_PATH, &world.mem) < 0)
        world_die("no directory in memory");
}

void world_empty(void)
{
    world_clear(&world);
    for (unsigned i = 0; i < SECTORS; i++)
        world.now[i] = world.safe[i] = 1;
    new_directory();
}

static int clone_file(void *arg, const char *name)
{
    static char buf[65536];
    plk_cleanup(plk_io_closep) PlkIo *from = NULL, *to = NULL;
    uint64_t size, start = 0, end = 0;
    int r = plk_dir_open_file(arg, name, 0, 0, &from);

    if (r == 0)
        r = plk_dir_open_file(world.mem, name, PLK_OPEN_CREATE, 0600, &to);
    if (r == 0)
        r = plk_io_size(from, &size);
    for (uint64_t at = 0; r == 0 && at < size; at = end) {
        r = plk_io_next_data(from, at, &start, &end);
        for (uint64_t n; r == 0 && start < end; start += n) {
            n = PLK_MIN(end - start, sizeof buf);
            r = plk_io_read(from, buf, n, start, PLK_POINT_NONE);
            if (r == 0)
                r = plk_io_write(to, buf, n, start, PLK_POINT_NONE);
        }
    }
    return r < 0 ? r : plk_io_truncate(to, size, PLK_POINT_NONE);
}

void world_clone(const World *from)
{
    world_clear(&world);
    world = *from;
    new_directory();
    if (plk_dir_list(from->mem, clone_file, from->mem) < 0)
        world_die("cannot clone a directory");
}

/* ---- data ---- */

static void render(uint32_t words[128], unsigned sector, Stamp stamp)
{
    for (unsigned i = 0; i < 128; i++)
        words[i] = stamp ? sector << 16 | stamp : 0;
}

/* After a failed sync nothing succeeds any more. */
static bool settle(int r, const char *what)
{
    if (r == 0 && world.poisoned)
        world.broken = what;
    if (r == 0)
        return true;
    if (world.n_failed++ == 0)
        plk_disk_explain(world.disk, r, world.err);
    if (world.fault.struck && strcmp(world.fault.struck, "sync") == 0)
        world.poisoned = true;
    return false;
}

static void may_hold(unsigned sector, unsigned n, uint64_t stamp, bool surely)
{
    for (unsigned i = sector; i < sector + n; i++) {
        world.now[i] = surely ? stamp : world.now[i] | stamp;
        world.safe[i] |= stamp;
    }
}

void put(unsigned sector, unsigned n)
{
    static uint32_t buf[SECTORS * 128];
    Stamp stamp = ++world.last;
    int r;

    for (unsigned i = 0; i < n; i++)
        render(buf + i * 128, sector + i, stamp);
    r = plk_disk_write(world.disk, buf, n * 512ull, sector * 512ull);
    may_hold(sector, n, 1ull << stamp, settle(r, "a write succeeded after a failed sync"));
}

void discard(unsigned cluster, unsigned n)
{
    int r = plk_disk_discard(world.disk, cluster * (uint64_t)CLUSTER_BYTES, n * (uint64_t)CLUSTER_BYTES);

    may_hold(cluster * CLUSTER_SECTORS, n * CLUSTER_SECTORS, 1,
             settle(r, "a discard succeeded after a failed sync"));
}

void flush(void)
{
    if (settle(plk_disk_flush(world.disk), "a flush succeeded after a failed sync"))
        memcpy(world.safe, world.now, sizeof world.safe);
}

bool world_try_open(PlkError *err)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = true};

    world.err = err;
    world.n_failed = 0;
    world.poisoned = false;
    return plk_disk_open(XML, &o, &world.disk, err) == 0;
}

void world_open(void)
{
    static PlkError err;

    if (!world_try_open(&err))
        world_die("cannot open: %s", err.message);
}

void world_close(void)
{
    PlkError err;

    if (plk_disk_close(world.disk, &err) == 0) {
        if (world.poisoned)
            world.broken = "closing succeeded after a failed sync";
        memcpy(world.safe, world.now, sizeof world.safe);
    } else if (world.n_failed++ == 0) {
        *world.err = err;
    }
    world.disk = NULL;
}

static Stamp only_stamp(uint64_t bits)
{
    return (Stamp)__builtin_ctzll(bits);
}

void remember_known(const char *guid)
{
    Known *k = &world.known[world.n_known++];

    if (world.n_known > KNOWN_MAX)
        world_die("too many snapshots");
    snprintf(k->guid, sizeof k->guid, "%s", guid);
    for (unsigned i = 0; i < SECTORS; i++)
        k->stamps[i] = only_stamp(world.now[i]);
}

/* ---- looking ---- */

static Stamp stamp_of(const uint32_t words[128], unsigned sector)
{
    uint32_t expected[128];
    Stamp stamp = (Stamp)(words[0] & 0x3f);

    render(expected, sector, stamp);
    return memcmp(words, expected, sizeof expected) == 0 ? stamp : STAMP_BAD;
}

bool read_stamps(const char *guid, Stamp out[SECTORS], char *why, size_t len)
{
    static uint32_t buf[SECTORS * 128];
    PlkDiskOptions o = {.struct_size = sizeof o, .snapshot = guid};
    PlkDisk *disk;
    PlkError err;
    int r;

    memset(buf, 0, sizeof buf);
    if (plk_disk_open(XML, &o, &disk, &err) < 0) {
        snprintf(why, len, "does not open: %s", err.message);
        return false;
    }
    r = plk_disk_read(disk, buf, PLK_MIN(sizeof buf, plk_disk_size(disk)), 0);
    if (r < 0)
        snprintf(why, len, "does not read: %s", strerror(-r));
    plk_disk_drop(disk);
    for (unsigned i = 0; r == 0 && i < SECTORS; i++)
        out[i] = stamp_of(buf + i * 128, i);
    return r == 0;
}

static void add_shape(Picture *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add_shape(Picture *p, const char *fmt, ...)
{
    size_t n = strlen(p->shape);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(p->shape + n, sizeof p->shape - n, fmt, ap);
    va_end(ap);
}

/* Random names are left out, the others are one digit each. */
static char guid_letter(const PlkGuid *guid)
{
    if (plk_guid_equal(guid, &PLK_GUID_TOP))
        return 'T';
    if (plk_guid_equal(guid, &PLK_GUID_NONE))
        return '0';
    return strspn(guid->text + 1, (const char[]){guid->text[1], 0}) == 8 ? guid->text[1] : '?';
}

static void describe(Picture *p, const PlkDescriptor *desc)
{
    add_shape(p, "%llu sectors of %u, %s%s:", (unsigned long long)desc->size_sectors, desc->cluster_sectors,
              desc->preallocated ? "preallocated " : "", desc->images[0].plain ? "raw" : "ploop");
    for (size_t i = 0; i < desc->n_shots; i++)
        add_shape(p, " %c>%c%s", guid_letter(&desc->shots[i].guid), guid_letter(&desc->shots[i].parent),
                  desc->shots[i].temporary ? "t" : "");
}

/* Whether an interrupted version conversion is undone is part of what is tested: hence the lock. */
static bool take_shape(Picture *p, char *why, size_t len)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    PlkDiskOptions o = {.struct_size = sizeof o};
    PlkDiskInfo info;
    PlkDisk *disk;
    PlkError err;

    if (plk_store_open_locked(XML, NULL, &store, &err) < 0 ||
        plk_store_open_state(store, NULL, &o, &disk, &err) < 0) {
        snprintf(why, len, "%s", err.message);
        return false;
    }
    describe(p, &store->desc);
    if (plk_disk_info(disk, &info, &err) == 0)
        add_shape(p, ", version %d, %llu bytes", info.version, (unsigned long long)info.size);
    plk_disk_drop(disk);
    return true;
}

bool take_picture(Picture *p, char *why, size_t len)
{
    memset(p, 0, sizeof *p);
    p->exists = plk_dir_exists(world.mem, "DiskDescriptor.xml") == 1;
    return !p->exists || (take_shape(p, why, len) && read_stamps(NULL, p->active, why, len));
}

static bool is_lock(const char *name)
{
    return strcmp(name, "DiskDescriptor.xml.lck") == 0;
}

static int add_file(void *arg, const char *name)
{
    static uint64_t buf[8192];
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    uint64_t *sum = arg, size, hash = 1469598103934665603ull;

    if (is_lock(name))
        return 0;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211ull;
    if (plk_dir_open_file(world.mem, name, 0, 0, &io) < 0 || plk_io_size(io, &size) < 0)
        return -EIO;
    for (uint64_t at = 0; at < size; at += sizeof buf) {
        if (plk_io_read(io, buf, sizeof buf, at, PLK_POINT_NONE) < 0)
            return -EIO;
        for (unsigned i = 0; i < sizeof buf / sizeof buf[0]; i++)
            hash = (hash ^ buf[i]) * 1099511628211ull;
    }
    *sum += (hash ^ size) * 1099511628211ull;
    return 0;
}

uint64_t world_fingerprint(void)
{
    uint64_t sum = 0;

    if (plk_dir_list(world.mem, add_file, &sum) < 0)
        world_die("cannot look at a directory in memory");
    return sum;
}

typedef struct Search {
    const PlkDescriptor *desc; /* NULL: there is none */
    const char *also;
    char *name;
    size_t len;
} Search;

static bool is_word(const char *words, const char *name)
{
    while (words && *words) {
        size_t len = strcspn(words, " ");

        if (words[len - 1] == '*' ? strncmp(words, name, len - 1) == 0
                                  : strlen(name) == len && strncmp(words, name, len) == 0)
            return true;
        words += len + strspn(words + len, " ");
    }
    return false;
}

static int look_at_name(void *arg, const char *name)
{
    Search *s = arg;

    if (is_lock(name) || is_word(s->also, name) || (s->desc && strcmp(name, "DiskDescriptor.xml") == 0))
        return 0;
    for (size_t i = 0; s->desc && i < s->desc->n_images; i++)
        if (strcmp(name, s->desc->images[i].file) == 0)
            return 0;
    snprintf(s->name, s->len, "%s", name);
    return 1;
}

bool find_stray(const char *also, char *name, size_t len)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    Search s = {.also = also, .name = name, .len = len};

    if (plk_dir_exists(world.mem, "DiskDescriptor.xml") == 1 &&
        plk_store_open(XML, NULL, &store, NULL) == 0 && plk_store_load(store, NULL) == 0)
        s.desc = &store->desc;
    return plk_dir_list(world.mem, look_at_name, &s) != 0;
}
