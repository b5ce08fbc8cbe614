/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening, marking and closing one delta file.
 *
 *   clean ──prepare_write──> in use (mark durable) ──close──> clean
 *                               └─ crash, poison ─> dirty ──open, prepare_write (scan)──> in use
 *
 * The mark goes on before the first change and comes off after the last sync, so a clean mark means that
 * the BAT on disk is the whole truth.
 */
#include "image/image.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/math.h"
#include "base/seeded.h"
#include "format/extension.h"
#include "image/alloc.h"

static void set_cluster(PlkImage *img, uint32_t cluster_sectors)
{
    img->cluster_bytes = cluster_sectors * PLK_SECTOR;
    img->cluster_shift = plk_log2(img->cluster_bytes);
}

static int read_header(PlkImage *img, uint64_t file_bytes, PlkError *err)
{
    uint8_t buf[PLK_HEADER_BYTES];
    size_t got;
    int r;

    r = plk_io_read_upto(img->io, buf, sizeof buf, 0, &got, PLK_POINT_OPEN_READ);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_READ, r, "image '%s': cannot read the header", img->io->name);
    if (plk_header_decode(buf, got, img->io->name, PLK_HEADER_STRICT, &img->header, err) < 0)
        return -1;
    set_cluster(img, img->header.cluster_sectors);
    img->first_cluster = img->header.first_block_sectors / img->header.cluster_sectors;
    if (plk_header_check_length(&img->header, file_bytes, img->io->name, err) < 0)
        return -1;
    img->was_dirty = img->header.in_use == PLK_IN_USE_OPEN;
    /* Its entries may count sectors in one page and clusters in the next. */
    if (img->was_dirty && (img->header.flags & PLK_FLAG_CONVERT))
        return plk_fail(err, PLK_ERROR_DIRTY,
                        "image '%s' was left in the middle of a version conversion; opening its disk for "
                        "writing undoes that",
                        img->io->name);
    return 0;
}

static int read_raw(PlkImage *img, uint64_t file_bytes, uint32_t cluster_sectors, PlkError *err)
{
    if (!plk_is_pow2(cluster_sectors) || cluster_sectors < PLK_CLUSTER_SECTORS_MIN ||
        cluster_sectors > PLK_CLUSTER_SECTORS_MAX)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "image '%s': bad cluster size of %u sectors", img->io->name,
                        cluster_sectors);
    set_cluster(img, cluster_sectors);
    if (file_bytes >> img->cluster_shift >= UINT32_MAX - 16)
        return plk_fail(err, PLK_ERROR_UNSUPPORTED, "raw image '%s' is too big for clusters of %u sectors",
                        img->io->name, cluster_sectors);
    img->kind = PLK_IMAGE_RAW;
    img->raw_bytes = file_bytes;
    img->header = (PlkHeader){.cluster_sectors = cluster_sectors,
                              .size_sectors = file_bytes / PLK_SECTOR,
                              .bat_entries = (uint32_t)plk_div_up(file_bytes, img->cluster_bytes)};
    return 0;
}

static int read_identity(PlkImage *img, unsigned flags, uint32_t cluster_sectors, PlkError *err)
{
    uint64_t file_bytes;
    int r = plk_io_size(img->io, &file_bytes);

    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, r, "image '%s': cannot tell its length", img->io->name);
    if (flags & PLK_IMAGE_IS_RAW) {
        if (read_raw(img, file_bytes, cluster_sectors, err) < 0)
            return -1;
    } else if (read_header(img, file_bytes, err) < 0) {
        return -1;
    }
    if (cluster_sectors && cluster_sectors != img->header.cluster_sectors)
        return plk_fail(err, PLK_ERROR_FORMAT, "image '%s' has clusters of %u sectors where %u are expected",
                        img->io->name, img->header.cluster_sectors, cluster_sectors);
    if ((flags & PLK_IMAGE_REFUSE_DIRTY) && img->was_dirty)
        return plk_fail(err, PLK_ERROR_DIRTY,
                        "image '%s' was not closed cleanly; run 'ploop check -d' on it first", img->io->name);
    atomic_init(&img->file_clusters, plk_div_up(file_bytes, img->cluster_bytes));
    return 0;
}

/*
 * An image left in use may have been left by a failed sync, and the page cache hold what the disk does not. A
 * writer would build on that: it reads everything again, header and BAT, from the disk.
 */
static int read_from_disk(PlkImage *img, unsigned flags, uint32_t cluster_sectors, PlkError *err)
{
    int r = plk_io_reload(img->io);

    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_SYNC, r,
                           "image '%s' was not closed cleanly, and what was written to it does not reach the disk",
                           img->io->name);
    plk_debug(PLK_DEBUG_IMAGE, "%s: left in use; read again from the disk, recovered by the first change",
              img->io->name);
    return read_identity(img, flags, cluster_sectors, err);
}

int plk_image_open(PlkIo *io, unsigned flags, uint32_t cluster_sectors, PlkImage **ret, PlkError *err)
{
    PlkImage *img = plk_calloc(1, sizeof *img);

    if (!img)
        return plk_fail_nomem(err);
    img->io = io;
    img->writable = (flags & PLK_IMAGE_WRITE) != 0;
    img->alloc_full = (flags & PLK_IMAGE_ALLOC_FULL) != 0;
    img->unpublished = (flags & PLK_IMAGE_UNPUBLISHED) != 0;
    io->no_holes = img->alloc_full;
    pthread_mutex_init(&img->prepare_lock, NULL);
    plk_allocator_init(&img->alloc);
    if (read_identity(img, flags, cluster_sectors, err) < 0 ||
        (img->writable && img->was_dirty && read_from_disk(img, flags, cluster_sectors, err) < 0)) {
        img->io = NULL; /* stays the caller's */
        plk_image_drop(img);
        return -1;
    }
    plk_io_set_meta_end(io, plk_image_offset(img, img->first_cluster));
    plk_debug(PLK_DEBUG_IMAGE, "%s: v%d, %u slots, cluster %u, %s", io->name, img->header.version,
              img->header.bat_entries, img->cluster_bytes, img->was_dirty ? "dirty" : "clean");
    *ret = img;
    return 0;
}

void plk_image_drop(PlkImage *img)
{
    if (!img)
        return;
    plk_io_close(img->io);
    plk_allocator_clear(&img->alloc);
    pthread_mutex_destroy(&img->prepare_lock);
    free(img);
}

int plk_image_write_header(PlkImage *img, uint32_t in_use, PlkPoint point)
{
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader h = img->header;

    h.in_use = in_use;
    plk_header_encode(&h, buf);
    return plk_io_write(img->io, buf, sizeof buf, 0, point);
}

int plk_image_sync(PlkImage *img, PlkPoint point)
{
    return img->unpublished ? 0 : plk_io_sync(img->io, point);
}

int plk_image_publish(PlkImage *img)
{
    img->unpublished = false;
    return plk_io_sync(img->io, PLK_POINT_META_SYNC);
}

int plk_image_set_raw_length(PlkImage *img, uint64_t bytes, PlkPoint point)
{
    int r = plk_io_truncate(img->io, bytes, point);

    if (r == 0)
        r = plk_io_sync(img->io, PLK_POINT_DATA_SYNC);
    if (r < 0)
        return r;
    img->raw_bytes = bytes;
    img->header.size_sectors = bytes / PLK_SECTOR;
    img->header.bat_entries = (uint32_t)plk_div_up(bytes, img->cluster_bytes);
    atomic_store(&img->file_clusters, img->header.bat_entries);
    return 0;
}

/* ---- the way into "in use" ---- */

static int refuse_necessary(void *arg, const PlkExtElement *e)
{
    PlkImage *img = arg;

    if (e->magic == PLK_EXT_DIRTY_BITMAP || !(e->flags & PLK_EXT_NECESSARY))
        return 0;
    plk_fail(&img->damage, PLK_ERROR_UNSUPPORTED,
             "image '%s' carries extension %016llx, which forbids changes by programs that do not know it",
             img->io->name, (unsigned long long)e->magic);
    return -EOPNOTSUPP;
}

/* -EOPNOTSUPP if the extension is sound and forbids changes. One that is no whole cluster of the file is not. */
static int ask_extension(PlkImage *img)
{
    uint64_t cluster = img->header.ext_sector / img->header.cluster_sectors, at, bytes;
    PLK_FREE uint8_t *buf = NULL;
    int r = plk_io_size(img->io, &bytes);

    if (r < 0 || cluster >= bytes >> img->cluster_shift || img->header.ext_sector % img->header.cluster_sectors)
        return r;
    at = cluster << img->cluster_shift;
    buf = plk_malloc(img->cluster_bytes);
    if (!buf)
        return -ENOMEM;
    r = plk_io_read(img->io, buf, img->cluster_bytes, at, PLK_POINT_OPEN_READ);
    if (r < 0)
        return r;
    r = plk_extension_walk(buf, img->cluster_bytes, img->io->name, at, refuse_necessary, img, NULL);
    return r == -EOPNOTSUPP ? r : 0;
}

/* A write makes recorded change tracking wrong; it is dropped, unless the extension forbids that. */
static int drop_extension(PlkImage *img)
{
    int r = 0;

    if (img->header.ext_sector && img->header.in_use == PLK_IN_USE_CLOSED21)
        r = ask_extension(img);
    if (r == 0)
        img->header.ext_sector = 0;
    return r;
}

static int mark_in_use(PlkImage *img)
{
    int r;

    img->header.flags &= ~PLK_FLAG_EMPTY;
    r = plk_image_write_header(img, PLK_IN_USE_OPEN, PLK_POINT_META_IN_USE);
    if (r < 0 || PLK_SEEDED(MARK_LATE))
        return r;
    return plk_image_sync(img, PLK_POINT_META_SYNC);
}

static int prepare_locked(PlkImage *img)
{
    int r;

    if (img->header.flags & PLK_FLAG_CONVERT) {
        plk_fail(&img->damage, PLK_ERROR_DIRTY, "image '%s' is in the middle of a version conversion",
                 img->io->name);
        return -EUCLEAN;
    }
    r = plk_allocator_scan(img);
    if (r < 0)
        return r;
    r = drop_extension(img);
    if (r < 0)
        return r;
    r = mark_in_use(img);
    if (r < 0 || PLK_SEEDED(TRUST_TAIL))
        return r;
    return plk_allocator_cut_tail(img);
}

int plk_image_prepare_write(PlkImage *img)
{
    int r = 0;

    if (atomic_load_explicit(&img->prepared, memory_order_acquire))
        return 0;
    if (!img->writable)
        return -EROFS;
    PLK_LOCKED(&img->prepare_lock);
    if (!atomic_load(&img->prepared) && img->kind == PLK_IMAGE_PLOOP)
        r = prepare_locked(img);
    if (r == 0)
        atomic_store_explicit(&img->prepared, true, memory_order_release);
    return r;
}

/* ---- and out of it ---- */

uint32_t plk_image_closed_flags(const PlkImage *img)
{
    uint32_t flags = img->header.flags & ~(uint32_t)(PLK_FLAG_EMPTY | PLK_FLAG_CONVERT);

    return img->alloc.next == img->first_cluster ? flags | PLK_FLAG_EMPTY : flags;
}

/* Three syncs: names are gone before the tail is, and the tail before the mark says that there is none. */
int plk_image_mark_closed(PlkImage *img)
{
    int r;

    if (img->kind == PLK_IMAGE_RAW)
        return plk_io_sync(img->io, PLK_POINT_META_SYNC);
    assert(img->alloc.sealed.n == 0 && plk_allocator_holds(img));
    r = plk_image_sync(img, PLK_POINT_META_SYNC);
    if (r == 0)
        r = plk_allocator_cut_tail(img);
    if (r == 0)
        r = plk_image_sync(img, PLK_POINT_META_SYNC);
    if (r < 0)
        return r;
    img->header.flags = plk_image_closed_flags(img);
    r = plk_image_write_header(img, PLK_IN_USE_CLOSED, PLK_POINT_META_CLOSE);
    return r < 0 ? r : plk_io_sync(img->io, PLK_POINT_META_SYNC);
}

int plk_image_close(PlkImage *img, PlkError *err)
{
    int r = 0;

    if (!img)
        return 0;
    if (atomic_load(&img->prepared)) {
        r = plk_image_mark_closed(img);
        if (r < 0)
            plk_fail_io(err, PLK_ERROR_SYNC, r, "image '%s' could not be closed and stays marked in use",
                        img->io->name);
    }
    plk_image_drop(img);
    return r < 0 ? -1 : 0;
}
