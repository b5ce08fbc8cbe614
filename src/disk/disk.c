/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of an open disk: found by path, opened, asked about, quiesced, closed. */
#include "disk/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "disk/flush.h"
#include "disk/store.h"

#define OPEN_TRIES 5

static PlkDiskOptions with_defaults(const PlkDiskOptions *given)
{
    PlkDiskOptions o = {0};

    if (given)
        memcpy(&o, given, PLK_MIN(given->struct_size, sizeof o));
    return o;
}

/* ---- by descriptor ---- */

static int parse_state(const PlkDiskOptions *o, PlkGuid *ret, PlkError *err)
{
    if (!plk_guid_parse(o->snapshot, ret))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' is not a snapshot GUID", o->snapshot);
    if (o->writable)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "snapshot %s can only be opened read-only", ret->text);
    return 0;
}

static bool same_chain(const PlkDescriptor *a, const PlkDescriptor *b)
{
    if (a->n_images != b->n_images || !plk_guid_equal(&a->top, &b->top))
        return false;
    for (size_t i = 0; i < a->n_images; i++)
        if (!plk_guid_equal(&a->images[i].guid, &b->images[i].guid) ||
            a->images[i].plain != b->images[i].plain || strcmp(a->images[i].file, b->images[i].file))
            return false;
    return true;
}

/*
 * A reader takes no descriptor lock (the directory may be read-only). Once its image locks are held nothing it
 * opened can change, so it is enough that the descriptor still says the same then.
 */
static int open_unlocked(PlkStore *store, const PlkGuid *state, const PlkDiskOptions *o, PlkDisk **ret, PlkError *err)
{
    for (int i = 0; i < OPEN_TRIES; i++) {
        PlkDescriptor before = {0};
        PlkDisk *disk = NULL;
        bool same;
        int opened;

        if (plk_store_load(store, err) < 0)
            return -1;
        opened = plk_store_open_state(store, state, o, &disk, err);
        before = store->desc;
        store->desc = (PlkDescriptor){0};
        same = plk_store_load(store, opened < 0 ? NULL : err) == 0 && same_chain(&before, &store->desc);
        plk_descriptor_clear(&before);
        if (same && opened == 0) {
            *ret = disk;
            return 0;
        }
        plk_disk_drop(disk);
        if (same)
            return -1;
    }
    return plk_fail(err, PLK_ERROR_BUSY, "descriptor '%s/%s' keeps changing; try again", store->dir->path, store->name);
}

static int open_descriptor(const char *path, const PlkDiskOptions *o, PlkDisk **ret, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    PlkGuid guid;
    int r;

    if (o->snapshot && parse_state(o, &guid, err) < 0)
        return -1;
    if (plk_store_open(path, o->root, &store, err) < 0)
        return -1;
    if (o->writable) {
        r = plk_store_lock(store, err);
        if (r == 0)
            r = plk_store_open_state(store, NULL, o, ret, err);
        plk_store_unlock(store);
    } else {
        r = open_unlocked(store, o->snapshot ? &guid : NULL, o, ret, err);
    }
    if (r < 0)
        return -1;
    (*ret)->store = PLK_TAKE(store);
    (*ret)->owns_store = true;
    return 0;
}

/* ---- by file ---- */

/* The canonical path of a file and the directory it is in. */
static int split_file(const char *path, char **ret_dir, char **ret_real, PlkError *err)
{
    PLK_FREE char *real = realpath(path, NULL);
    char *dir;

    if (!real)
        return plk_fail_errno(err, errno == ENOENT ? PLK_ERROR_NOT_FOUND : PLK_ERROR_OPEN, errno,
                              "cannot open image '%s'", path);
    dir = plk_printf("%.*s", (int)PLK_MAX(strrchr(real, '/') - real, 1), real);
    if (!dir)
        return plk_fail_nomem(err);
    *ret_dir = dir;
    *ret_real = PLK_TAKE(real);
    return 0;
}

static int open_anywhere(const char *path, PlkDir **ret, PlkError *err)
{
    int r = plk_dir_open_fs(path, "/", ret);

    return r < 0 ? plk_fail_io(err, PLK_ERROR_OPEN, r, "cannot open directory '%s'", path) : 0;
}

int plk_disk_open_images(const char *const *paths, size_t n, bool first_is_raw, uint32_t cluster_sectors,
                         const PlkDiskOptions *options, PlkDisk **ret, PlkError *err)
{
    PlkDiskOptions o = with_defaults(options);
    PlkChainFile files[PLK_CHAIN_SLOTS];
    char *real[PLK_CHAIN_SLOTS] = {0};
    PlkDir *dir = NULL;
    int r = 0;

    if (n == 0 || n > PLK_CHAIN_SLOTS)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "%zu images given; a disk has 1 to %d", n, PLK_CHAIN_SLOTS);
    for (size_t i = 0; r == 0 && i < n; i++) {
        PLK_FREE char *where = NULL;
        r = split_file(paths[i], &where, &real[i], err);
        files[i] = (PlkChainFile){real[i], i == 0 && first_is_raw};
        if (r == 0 && i == 0) /* the user named each file, so anywhere is right */
            r = open_anywhere(where, &dir, err);
    }
    if (r == 0 && first_is_raw && !cluster_sectors)
        cluster_sectors = PLK_CLUSTER_SECTORS_DEFAULT;
    if (r == 0)
        r = plk_disk_open_chain(dir, files, n, cluster_sectors, &o, ret, err);
    if (r == 0)
        plk_disk_own_dir(*ret);
    else
        plk_dir_close(dir);
    for (size_t i = 0; i < n; i++)
        free(real[i]);
    return r < 0 ? -1 : 0;
}

int plk_disk_open(const char *path, const PlkDiskOptions *options, PlkDisk **ret, PlkError *err)
{
    PlkDiskOptions o = with_defaults(options);
    const char *dot = strrchr(path, '.');
    struct stat st;

    if ((dot && strcmp(dot, ".xml") == 0) || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return open_descriptor(path, &o, ret, err);
    return plk_disk_open_images(&path, 1, false, 0, &o, ret, err);
}

/* ---- questions ---- */

void plk_disk_own_dir(PlkDisk *disk)
{
    disk->owns_dir = true;
}

uint64_t plk_disk_size(const PlkDisk *disk)
{
    return disk->size;
}

uint32_t plk_disk_cluster(const PlkDisk *disk)
{
    return disk->cluster_bytes;
}

const char *plk_disk_image_path(PlkDisk *disk, unsigned level)
{
    return level < disk->n_images ? disk->paths[level] : NULL;
}

static int add_allocated(PlkImage *img, uint64_t *sum, PlkError *err)
{
    int fd = plk_io_fd(img->io);
    uint64_t size;
    struct stat st;
    int r;

    if (fd >= 0) {
        if (fstat(fd, &st) < 0)
            return plk_fail_errno(err, PLK_ERROR_STAT, errno, "image '%s'", img->io->name);
        *sum += (uint64_t)st.st_blocks * 512;
        return 0;
    }
    r = plk_io_size(img->io, &size);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, r, "image '%s'", img->io->name);
    *sum += size;
    return 0;
}

int plk_disk_info(PlkDisk *disk, PlkDiskInfo *ret, PlkError *err)
{
    PlkImage *top = plk_disk_top(disk);
    PlkDiskInfo info = {
        .size = disk->size,
        .cluster = disk->cluster_bytes,
        .version = top->header.version,
        .levels = disk->n_images,
        .preallocated = disk->store && disk->store->desc.preallocated,
        .raw = disk->images[0]->kind == PLK_IMAGE_RAW,
        .dirty = top->was_dirty,
    };

    for (unsigned i = 0; i < disk->n_images; i++)
        if (add_allocated(disk->images[i], &info.allocated, err) < 0)
            return -1;
    *ret = info;
    return 0;
}

static bool explain_bats(PlkDisk *disk, PlkError *err)
{
    for (unsigned level = disk->n_images; level-- > 0;)
        if (plk_image_explain_bat(disk->images[level], err))
            return true;
    return false;
}

void plk_disk_explain(PlkDisk *disk, int neg_errno, PlkError *err)
{
    PlkImage *top = plk_disk_top(disk);

    if ((neg_errno == -EUCLEAN || neg_errno == -EOPNOTSUPP) && top->damage.code != PLK_OK) {
        if (err)
            *err = top->damage;
    } else if (neg_errno == -EUCLEAN && explain_bats(disk, err)) {
        return;
    } else if (neg_errno == -EUCLEAN) {
        plk_fail(err, PLK_ERROR_FORMAT, "disk '%s': a block allocation table entry is damaged; run 'ploop check -F'",
                 top->io->name);
    } else if (neg_errno == -EIO && atomic_load(&top->io->poisoned)) {
        plk_fail_errno(err, PLK_ERROR_SYNC, EIO, "disk '%s': a sync failed; nothing more is written until it is opened again",
                       top->io->name);
    } else {
        plk_fail_io(err, disk->writable ? PLK_ERROR_WRITE : PLK_ERROR_READ, neg_errno, "disk '%s'", top->io->name);
    }
}

/* ---- quiesce ---- */

int plk_disk_quiesce(PlkDisk *disk)
{
    int r;

    pthread_mutex_lock(&disk->flush_lock);
    plk_pins_own_all(&disk->pins);
    r = plk_disk_flush_locked(disk);
    if (r < 0) {
        plk_pins_release_all(&disk->pins);
        pthread_mutex_unlock(&disk->flush_lock);
    }
    return r;
}

void plk_disk_resume(PlkDisk *disk)
{
    plk_disk_take_size(disk);
    plk_pins_release_all(&disk->pins);
    pthread_mutex_unlock(&disk->flush_lock);
}

/* ---- closing ---- */

static void free_disk(PlkDisk *disk)
{
    plk_map_clear(&disk->map);
    plk_pins_clear(&disk->pins);
    pthread_mutex_destroy(&disk->flush_lock);
    pthread_mutex_destroy(&disk->snapshot_lock);
    for (unsigned i = 0; disk->paths && i < PLK_CHAIN_SLOTS; i++)
        free(disk->paths[i]);
    free(disk->paths);
    free(disk->images);
    free(disk->flush_buffer);
    if (disk->owns_store)
        plk_store_close(disk->store);
    else if (disk->owns_dir)
        plk_dir_close(disk->dir);
    free(disk);
}

int plk_disk_close(PlkDisk *disk, PlkError *err)
{
    unsigned n;
    int r;

    if (!disk)
        return 0;
    n = disk->n_images;
    r = plk_disk_flush(disk);
    if (r < 0) {
        plk_disk_explain(disk, r, err);
        plk_disk_drop(disk);
        return -1;
    }
    r = plk_image_close(disk->images[n - 1], err);
    disk->images[n - 1] = NULL;
    plk_disk_drop(disk);
    return r;
}

void plk_disk_drop(PlkDisk *disk)
{
    if (!disk)
        return;
    for (unsigned i = 0; i < disk->n_images; i++)
        plk_image_drop(disk->images[i]);
    free_disk(disk);
}
