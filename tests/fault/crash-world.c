/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The disk under test; crash-world.h says what it is. */
#include "crash-world.h"

#include <stdarg.h>

#include "base/cleanup.h"
#include "base/math.h"

/* ---- chance ---- */

static uint64_t chance_state;

void chance_seed(uint32_t seed)
{
    chance_state = seed * 0x9e3779b97f4a7c15ull + 1;
}

uint32_t chance(uint32_t n)
{
    chance_state = chance_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((chance_state >> 33) * n >> 31);
}

/* ---- dying ---- */

PlkError must_error;

void must_die(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

static int stop(void *arg, const char *what, uint64_t done, uint64_t total)
{
    return 1;
}

const PlkProgress impatient = {.update = stop};

/* ---- notes ---- */

size_t world_now(World *w)
{
    return plk_record_length(w->record);
}

void world_remember(World *w, unsigned sector, Stamp stamp)
{
    MUST_BE(w->newest[sector] + 1u < HISTORY_MAX);
    w->history[sector][++w->newest[sector]] = (Write){stamp, world_now(w)};
}

void world_forget(World *w, unsigned cluster, unsigned n)
{
    for (unsigned i = 0; i < n * CLUSTER_SECTORS; i++)
        world_remember(w, cluster * CLUSTER_SECTORS + i, 0);
}

void world_resized(World *w, uint64_t sectors)
{
    MUST_BE(w->newest_size + 1u < SIZES_MAX);
    w->sizes[++w->newest_size] = (Size){sectors, world_now(w)};
}

void world_acknowledge(World *w)
{
    Ack *a = &w->acks[w->n_acks++];

    MUST_BE(w->n_acks <= ACKS_MAX);
    a->position = world_now(w);
    a->size = w->newest_size;
    memcpy(a->newest, w->newest, sizeof a->newest);
}

Shot *world_remember_shot(World *w)
{
    Shot *s = &w->shots[w->n_shots++];

    MUST_BE(w->n_shots <= SHOTS_MAX);
    for (unsigned i = 0; i < w->sectors; i++)
        s->stamps[i] = w->history[i][w->newest[i]].stamp;
    s->since = s->doomed = s->gone = SIZE_MAX;
    return s;
}

void render(uint32_t out[128], unsigned sector, Stamp stamp)
{
    for (unsigned i = 0; i < 128; i++)
        out[i] = stamp ? sector << 16 | stamp : 0;
}

/* ---- making a world ---- */

void world_new(World *w, unsigned clusters)
{
    PlkRecordBug bug = w->bug;

    memset(w, 0, sizeof *w);
    w->bug = bug;
    w->sectors = clusters * CLUSTER_SECTORS;
    w->sizes[0].sectors = w->sectors;
    MUST_BE(w->sectors <= SECTORS_MAX);
    MUST_BE(plk_record_new("/disk", &w->record) == 0);
    MUST_BE(plk_record_open(w->record, &w->dir) == 0);
}

void world_free(World *w)
{
    plk_dir_close(w->dir);
    plk_record_free(w->record);
}

PlkDir *world_dir(World *w)
{
    PlkDir *dir;

    MUST_BE(plk_record_open(w->record, &dir) == 0);
    return dir;
}

void world_make_image(World *w, const char *file, ImageKind kind, uint64_t sectors)
{
    PlkImageSpec spec = {.version = kind.version, .size_sectors = sectors, .cluster_sectors = CLUSTER_SECTORS,
                         .preallocated = kind.format == PLK_FORMAT_PREALLOCATED};
    PlkIo *io;

    MUST_BE(plk_dir_open_file(w->dir, file, PLK_OPEN_CREATE | PLK_OPEN_EXCLUSIVE, 0600, &io) == 0);
    if (kind.format == PLK_FORMAT_RAW)
        MUST(plk_image_create_raw(io, sectors * 512, false, NULL, &must_error));
    else
        MUST(plk_image_create(io, &spec, NULL, &must_error));
    plk_io_close(io);
}

void world_describe(World *w, ImageKind kind, unsigned clusters)
{
    PlkDescriptor desc;
    PlkStore *store;

    world_new(w, clusters);
    world_make_image(w, "root.hds", kind, w->sectors);
    MUST(plk_descriptor_new(w->sectors, CLUSTER_SECTORS, kind.format == PLK_FORMAT_PREALLOCATED,
                            kind.format == PLK_FORMAT_RAW, "root.hds", &desc, &must_error));
    MUST(plk_store_open_dir(world_dir(w), DESCRIPTOR, &store, &must_error));
    store->is_new = true;
    MUST(plk_store_lock_only(store, &must_error));
    MUST(plk_store_commit(store, &desc, &must_error));
    plk_store_close(store);
    world_ready(w);
}

void world_bare(World *w, ImageKind kind, unsigned clusters)
{
    world_new(w, clusters);
    w->bare = true;
    w->files[w->n_files++] = (PlkChainFile){"root.hds", kind.format == PLK_FORMAT_RAW};
    world_make_image(w, "root.hds", kind, w->sectors);
    world_ready(w);
}

void world_stack(World *w, int version)
{
    static const char *const names[FILES_MAX] = {"root.hds", "one.hds", "two.hds"};

    MUST_BE(w->n_files < FILES_MAX);
    world_make_image(w, names[w->n_files], (ImageKind){PLK_FORMAT_EXPANDED, version},
                     w->sizes[w->newest_size].sectors);
    w->files[w->n_files] = (PlkChainFile){names[w->n_files], false};
    w->n_files++;
    world_ready(w);
}

static int sync_file(void *arg, const char *name)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    int r = plk_dir_open_file(arg, name, PLK_OPEN_WRITE, 0, &io);

    return r < 0 ? r : plk_io_sync(io, PLK_POINT_FILE_SYNC);
}

/* The syncs behind the directory's are for the recorder: what it hastens goes before a file's last sync. */
void world_ready(World *w)
{
    plk_record_set_bug(w->record, (PlkRecordBug){0});
    for (unsigned i = 0; i < 2; i++) {
        MUST_BE(plk_dir_list(w->dir, sync_file, w->dir) == 0);
        MUST_BE(i > 0 || plk_dir_sync(w->dir) == 0);
    }
    plk_record_set_bug(w->record, w->bug);
    w->n_acks = 0;
    world_acknowledge(w);
    w->start = world_now(w);
}

/* ---- opening and closing ---- */

void world_open_store(World *w)
{
    MUST(plk_store_open_dir(world_dir(w), DESCRIPTOR, &w->store, &must_error));
    MUST(plk_store_lock(w->store, &must_error));
}

void world_close_store(World *w)
{
    plk_store_close(w->store);
    w->store = NULL;
}

void world_drop(World *w)
{
    plk_disk_drop(w->disk);
    if (!w->bare)
        world_close_store(w);
    w->killed = true;
}

/* After a kill: what was not flushed is there, or is not. */
static void adopt(World *w)
{
    uint32_t words[128];

    for (unsigned i = 0; i < w->sectors; i++) {
        MUST_BE(plk_disk_read(w->disk, words, sizeof words, i * 512ull) == 0);
        if ((words[0] & 0xffff) != w->history[i][w->newest[i]].stamp)
            world_remember(w, i, words[0] & 0xffff);
    }
    w->killed = false;
}

void world_open(World *w)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = true, .alloc_full = w->alloc_full};

    if (w->bare) {
        MUST(plk_disk_open_chain(w->dir, w->files, w->n_files, CLUSTER_SECTORS, &o, &w->disk, &must_error));
    } else {
        world_open_store(w);
        MUST(plk_store_open_state(w->store, NULL, &o, &w->disk, &must_error));
    }
    if (w->killed)
        adopt(w);
}

void world_close(World *w)
{
    MUST(plk_disk_close(w->disk, &must_error));
    world_acknowledge(w);
    if (!w->bare)
        world_close_store(w);
}

/* ---- changing it ---- */

void world_put(World *w, unsigned sector, unsigned n)
{
    static uint32_t buf[SECTORS_MAX * 128];

    w->stamp++;
    for (unsigned i = 0; i < n; i++) {
        world_remember(w, sector + i, w->stamp);
        render(buf + i * 128, sector + i, w->stamp);
    }
    MUST_BE(plk_disk_write(w->disk, buf, n * 512, sector * 512ull) == 0);
}

void world_zero(World *w, unsigned sector, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        world_remember(w, sector + i, 0);
    MUST_BE(plk_disk_zero(w->disk, sector * 512ull, n * 512ull) == 0);
}

void world_discard(World *w, unsigned cluster, unsigned n)
{
    world_forget(w, cluster, n);
    MUST_BE(plk_disk_discard(w->disk, (uint64_t)cluster * CLUSTER_BYTES, (uint64_t)n * CLUSTER_BYTES) == 0);
}

void world_flush(World *w)
{
    MUST_BE(plk_disk_flush(w->disk) == 0);
    world_acknowledge(w);
}

static void do_something(World *w, unsigned cluster)
{
    unsigned at = cluster * CLUSTER_SECTORS;

    switch (chance(8)) {
    case 0:
        world_put(w, at, CLUSTER_SECTORS);
        break;
    case 1:
        world_put(w, at + chance(8), 1 + chance(8));
        break;
    case 2:
        world_put(w, at + 48, 8);
        break;
    case 3:
        world_zero(w, at + chance(8), 1 + chance(8));
        break;
    case 4:
        world_discard(w, cluster, 1);
        break;
    case 5: /* over the edge of two clusters */
        if (at + CLUSTER_SECTORS < w->sectors)
            world_put(w, at + CLUSTER_SECTORS - 4, 8);
        break;
    default:
        world_flush(w);
    }
}

void world_about(World *w, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++)
        do_something(w, chance(w->sectors / CLUSTER_SECTORS));
}

void world_session(World *w, unsigned steps)
{
    world_open(w);
    world_about(w, steps);
    world_close(w);
}

/* ---- snapshots ---- */

PlkGuid world_guid(const Shot *shot)
{
    PlkGuid guid;

    MUST_BE(plk_guid_parse(shot->guid, &guid));
    return guid;
}

Shot *world_take(World *w)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    Shot *s = world_remember_shot(w);
    PlkGuid guid;

    world_open_store(w);
    MUST(plk_store_snapshot(w->store, &spec, &guid, &must_error));
    world_close_store(w);
    memcpy(s->guid, guid.text, sizeof guid.text);
    s->since = world_now(w);
    return s;
}

void world_delete(World *w, Shot *shot)
{
    PlkGuid guid = world_guid(shot);

    world_open_store(w);
    shot->doomed = world_now(w);
    MUST(plk_store_delete(w->store, &guid, NULL, NULL, &must_error));
    shot->gone = world_now(w);
    world_close_store(w);
}

void world_switch(World *w, Shot *shot, bool keep_old)
{
    PlkGuid guid = world_guid(shot);

    world_open_store(w);
    for (unsigned i = 0; i < w->sectors; i++)
        world_remember(w, i, shot->stamps[i]);
    MUST(plk_store_switch(w->store, &guid, keep_old, &must_error));
    world_acknowledge(w);
    world_close_store(w);
}
