/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A descriptor for an image that lost its own. Whatever calls this may not look at how it went (libvirt does
 * not), so it waits for nobody, demands little, and touches no file but the descriptor and the lock file beside
 * it.
 */
#include <ploopkit/create.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "change/operation.h"
#include "disk/note.h"

#define DESCRIPTOR_NAME "DiskDescriptor.xml"
#define LOCK_NAME DESCRIPTOR_NAME ".lck"

/* ---- what the image says ---- */

/* The largest ordinary cluster that divides the file, as ploop chooses it; 0 if there is none. */
static uint32_t guess_cluster(uint64_t sectors)
{
    for (uint32_t c = PLK_CLUSTER_SECTORS_DEFAULT; c >= PLK_CLUSTER_SECTORS_MIN; c /= 2)
        if (sectors && sectors % c == 0)
            return c;
    return 0;
}

static int look_at_raw(PlkIo *io, uint32_t *cluster, uint64_t *ret_size, PlkError *err)
{
    uint64_t bytes, sectors;
    int r = plk_io_size(io, &bytes);

    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, r, "image '%s'", io->name);
    sectors = bytes / PLK_SECTOR;
    if (*cluster == 0)
        *cluster = guess_cluster(sectors);
    if (!plk_cluster_is_valid(*cluster))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "image '%s': Incorrect blocksize specified: %d", io->name,
                        *cluster ? (int)*cluster : -1);
    if (bytes == 0 || bytes % (*cluster * (uint64_t)PLK_SECTOR))
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "raw image '%s': its %llu bytes are not whole clusters of %u sectors", io->name,
                        (unsigned long long)bytes, *cluster);
    *ret_size = sectors;
    return 0;
}

static int look_at_header(PlkIo *io, uint32_t *cluster, uint64_t *ret_size, PlkError *err)
{
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader header;
    uint64_t bytes;
    size_t got;
    int r = plk_io_read_upto(io, buf, sizeof buf, 0, &got, PLK_POINT_OPEN_READ);

    if (r == 0)
        r = plk_io_size(io, &bytes);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_READ, r, "image '%s': cannot read the header", io->name);
    if (plk_header_decode(buf, got, io->name, PLK_HEADER_STRICT, &header, err) < 0 ||
        plk_header_check_length(&header, bytes, io->name, err) < 0)
        return -1;
    *cluster = header.cluster_sectors;
    *ret_size = header.size_sectors;
    return 0;
}

static int describe(PlkStore *store, const char *entry, bool raw, uint32_t cluster, PlkDescriptor *ret,
                    PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    uint64_t size;
    int r = plk_dir_open_file(store->dir, entry, 0, 0, &io);

    if (r < 0)
        return plk_fail_io(err, r == -ENOENT ? PLK_ERROR_NOT_FOUND : PLK_ERROR_OPEN, r,
                           "cannot open image '%s' of '%s'", entry, store->dir->path);
    if ((raw ? look_at_raw(io, &cluster, &size, err) : look_at_header(io, &cluster, &size, err)) < 0)
        return -1;
    return plk_descriptor_new(size, cluster, false, raw, entry, ret, err);
}

/* ---- what it leaves out ---- */

typedef struct OrphanCount {
    const char *base;
    unsigned n;
} OrphanCount;

/* "BASE.{guid}" */
static int count_orphan(void *arg, const char *name)
{
    OrphanCount *c = arg;
    size_t len = strlen(c->base);
    PlkGuid guid;

    if (strncmp(name, c->base, len) == 0 && name[len] == '.' && name[len + 1] == '{' &&
        plk_guid_parse(name + len + 1, &guid))
        c->n++;
    return 0;
}

/*
 * Without waiting: somebody who holds the lock writes the note himself. What an interrupted change intended is
 * void: the descriptor may be letter for letter the one before it, and the file it made hold what came after.
 */
static void write_note(PlkStore *store)
{
    if (plk_dir_flock(store->dir, LOCK_NAME, 0, &store->lock) == 0 &&
        plk_note_write_behind(store, "", true) == 0)
        plk_note_write(store);
}

/* ---- the whole ---- */

static int refuse_existing(PlkDir *dir, PlkError *err)
{
    int r = plk_dir_exists(dir, DESCRIPTOR_NAME);

    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot look for '%s/%s'", dir->path, DESCRIPTOR_NAME);
    if (r > 0)
        return plk_fail(err, PLK_ERROR_EXISTS, "Can't create '%s/%s': File exists", dir->path,
                        DESCRIPTOR_NAME);
    return 0;
}

static int open_store(const char *where, bool may_exist, PlkStore **ret, PlkError *err)
{
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    int r = plk_dir_open_fs(where, "/", &dir); /* the image may lie anywhere: the caller named it */

    if (r < 0)
        return plk_fail_io(err, r == -ENOENT || r == -ENOTDIR ? PLK_ERROR_NOT_FOUND : PLK_ERROR_OPEN, r,
                           "cannot open directory '%s'", where);
    if ((!may_exist && refuse_existing(dir, err) < 0) ||
        plk_store_open_dir(dir, DESCRIPTOR_NAME, ret, err) < 0)
        return -1;
    dir = NULL;
    return 0;
}

int plk_store_restore(PlkStore *store, const char *base_path, bool raw, uint32_t cluster_sectors,
                      unsigned *ret_orphans, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
    PLK_FREE char *entry = NULL;
    OrphanCount orphans = {0};

    store->is_new = true;
    if (plk_store_file_entry(store, base_path, &entry, err) < 0 ||
        describe(store, entry, raw, cluster_sectors, &desc, err) < 0 ||
        plk_store_commit(store, &desc, err) < 0)
        return -1;
    write_note(store);
    orphans.base = strrchr(entry, '/') ? strrchr(entry, '/') + 1 : entry;
    (void)plk_dir_list(store->dir, count_orphan, &orphans);
    if (ret_orphans)
        *ret_orphans = orphans.n;
    return 0;
}

int plk_descriptor_restore(const char *dir, const char *base_path, bool raw, uint32_t cluster_sectors,
                           unsigned *ret_orphans, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (open_store(dir, false, &store, err) < 0)
        return -1;
    return plk_store_restore(store, base_path, raw, cluster_sectors, ret_orphans, err);
}

int plk_descriptor_renew(const char *dir, const char *base, bool raw, uint32_t cluster_sectors, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};

    if (open_store(dir, true, &store, err) < 0 || plk_store_lock_only(store, err) < 0 ||
        describe(store, base, raw, cluster_sectors, &desc, err) < 0)
        return -1;
    /* Before the commit: what an earlier change intended is not to be done to this image. */
    if (plk_note_write_behind(store, "", true) < 0)
        return plk_fail(err, PLK_ERROR_WRITE, "cannot write '%s/%s'", store->dir->path, LOCK_NAME);
    return plk_store_commit(store, &desc, err);
}
