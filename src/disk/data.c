/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The data path: requests cut into clusters, each handled under its pin.
 *
 *   in place      shared pin; the cluster is the top's own
 *   somewhere new owned pin; allocate, bring up what the request does not cover, write, then publish the
 *                 slot in the map. Nothing is published before its bytes are in the file, so a reader
 *                 or a flush never sees a slot without its data.
 *
 * Returns 0 or -errno, allocates nothing, says nothing.
 */
#include <errno.h>
#include <string.h>

#include "base/math.h"
#include "disk/disk.h"
#include "disk/flush.h"

#define BOUNCE_BYTES 32768

/* A piece of a request inside one cluster. */
typedef struct Piece {
    uint32_t cluster;
    uint32_t from, len; /* bytes inside the cluster */
} Piece;

static Piece first_piece(const PlkDisk *disk, uint64_t off, uint64_t len)
{
    uint32_t from = (uint32_t)(off & (disk->cluster_bytes - 1));

    return (Piece){(uint32_t)(off >> disk->cluster_shift), from,
                   (uint32_t)PLK_MIN(len, disk->cluster_bytes - from)};
}

static bool out_of_range(const PlkDisk *disk, uint64_t off, uint64_t len)
{
    return off > disk->size || len > disk->size - off;
}

static bool is_whole(const PlkDisk *disk, const Piece *p)
{
    return p->len == disk->cluster_bytes;
}

static unsigned top_level(const PlkDisk *disk)
{
    return disk->n_images - 1;
}

/* Bounds that are kept between pieces, when no pin is held. A reader never pays for a flush. */
static void bound_cache(PlkDisk *disk)
{
    if (__builtin_expect(plk_map_is_full(&disk->map), 0))
        plk_map_shrink(disk);
}

static int bound_dirty(PlkDisk *disk)
{
    bound_cache(disk);
    return __builtin_expect(plk_map_is_dirty(&disk->map), 0) ? plk_disk_flush(disk) : 0;
}

static int begin_change(PlkDisk *disk, uint64_t off, uint64_t len)
{
    if (!disk->writable)
        return -EROFS;
    if (out_of_range(disk, off, len))
        return -EINVAL;
    if (atomic_load_explicit(&plk_disk_top(disk)->io->poisoned, memory_order_relaxed))
        return -EIO; /* also what would only be noted in memory: no flush will ever write it */
    return plk_image_prepare_write(plk_disk_top(disk));
}

/* ---- read ---- */

static int read_slot(PlkDisk *disk, PlkSlot slot, const Piece *p, void *buf)
{
    unsigned level = plk_slot_level(slot);
    PlkImage *img;

    if (level == PLK_LEVEL_NONE || level == PLK_LEVEL_BEYOND) {
        memset(buf, 0, p->len);
        return 0;
    }
    if (level == PLK_LEVEL_BAD)
        return -EUCLEAN;
    img = disk->images[level];
    return plk_io_read(img->io, buf, p->len, plk_image_offset(img, plk_slot_cluster(slot)) + p->from,
                       PLK_POINT_DATA_READ);
}

static int read_piece(PlkDisk *disk, const Piece *p, void *buf)
{
    pthread_rwlock_t *pin = plk_pins_share(&disk->pins, p->cluster);
    PlkSlot slot;
    int r = plk_map_get(disk, p->cluster, &slot);

    if (r == 0)
        r = read_slot(disk, slot, p, buf);
    plk_pins_release(pin);
    return r;
}

int plk_disk_read(PlkDisk *disk, void *buf, size_t len, uint64_t off)
{
    char *at = buf;

    if (out_of_range(disk, off, len))
        return -EINVAL;
    while (len > 0) {
        Piece p = first_piece(disk, off, len);
        int r;

        bound_cache(disk);
        r = read_piece(disk, &p, at);
        if (r < 0)
            return r;
        at += p.len;
        off += p.len;
        len -= p.len;
    }
    return 0;
}

/* ---- a new cluster on the top level ---- */

/* buf NULL means zeros. */
static int write_part(PlkDisk *disk, uint32_t file_cluster, const void *buf, uint32_t from, uint32_t len)
{
    PlkImage *top = plk_disk_top(disk);
    uint64_t at = plk_image_offset(top, file_cluster) + from;

    if (len == 0)
        return 0;
    return buf ? plk_io_write(top->io, buf, len, at, PLK_POINT_DATA_WRITE)
               : plk_io_zero(top->io, at, len, PLK_POINT_DATA_ZERO);
}

/* What the request does not cover: the owner's bytes, or zeros (which a new cluster has, but for alloc=full). */
static int bring_up(PlkDisk *disk, PlkSlot owner, uint32_t file_cluster, const Piece *p)
{
    PlkImage *top = plk_disk_top(disk), *lower;
    unsigned level = plk_slot_level(owner);
    char bounce[BOUNCE_BYTES];
    int r;

    if (is_whole(disk, p))
        return 0;
    if (level == PLK_LEVEL_BAD)
        return -EUCLEAN;
    if (level != PLK_LEVEL_NONE && level != PLK_LEVEL_BEYOND) {
        lower = disk->images[level];
        return plk_io_copy(top->io, plk_image_offset(top, file_cluster), lower->io,
                           plk_image_offset(lower, plk_slot_cluster(owner)), disk->cluster_bytes,
                           &disk->copy_method, bounce, sizeof bounce, PLK_POINT_DATA_COPY);
    }
    if (!top->alloc_full)
        return 0;
    r = write_part(disk, file_cluster, NULL, 0, p->from);
    return r < 0 ? r
                 : write_part(disk, file_cluster, NULL, p->from + p->len,
                              disk->cluster_bytes - p->from - p->len);
}

/* Cluster owned, not the top's yet. buf NULL: zeros. */
static int write_new(PlkDisk *disk, PlkMapPage *page, PlkSlot owner, const Piece *p, const void *buf)
{
    PlkImage *top = plk_disk_top(disk);
    unsigned level = plk_slot_level(owner);
    bool fresh_zeros = !buf && !top->alloc_full && (is_whole(disk, p) || level >= PLK_LEVEL_BEYOND);
    uint32_t file_cluster;
    int r = plk_image_alloc_cluster(top, &file_cluster);

    if (r < 0)
        return r;
    r = bring_up(disk, owner, file_cluster, p);
    if (r == 0 && !fresh_zeros)
        r = write_part(disk, file_cluster, buf, p->from, p->len);
    if (r < 0) {
        plk_image_unalloc_cluster(top, file_cluster);
        return r;
    }
    plk_map_set_top(disk, page, p->cluster, plk_slot(top_level(disk), file_cluster));
    return 0;
}

/* ---- write ---- */

static int write_piece_owned(PlkDisk *disk, const Piece *p, const void *buf)
{
    pthread_rwlock_t *pin = plk_pins_own(&disk->pins, p->cluster);
    PlkMapPage *page;
    PlkSlot slot;
    int r = plk_map_page(disk, plk_bat_page(p->cluster), &page);

    if (r == 0) {
        slot = atomic_load_explicit(&page->slots[plk_bat_index(p->cluster)], memory_order_relaxed);
        if (plk_slot_level(slot) == top_level(disk))
            r = write_part(disk, plk_slot_cluster(slot), buf, p->from, p->len);
        else
            r = write_new(disk, page, slot, p, buf);
    }
    plk_pins_release(pin);
    return r;
}

/* In place if the top has the cluster already: 1 done, 0 not there, or -errno. */
static int write_piece_shared(PlkDisk *disk, const Piece *p, const void *buf)
{
    pthread_rwlock_t *pin = plk_pins_share(&disk->pins, p->cluster);
    PlkSlot slot;
    int r = plk_map_get(disk, p->cluster, &slot);

    if (r == 0 && plk_slot_level(slot) == top_level(disk)) {
        r = write_part(disk, plk_slot_cluster(slot), buf, p->from, p->len);
        if (r == 0)
            r = 1;
    }
    plk_pins_release(pin);
    return r;
}

static int write_piece(PlkDisk *disk, const Piece *p, const void *buf)
{
    int r = write_piece_shared(disk, p, buf);

    if (r == 0)
        return write_piece_owned(disk, p, buf);
    return r < 0 ? r : 0;
}

int plk_disk_write(PlkDisk *disk, const void *buf, size_t len, uint64_t off)
{
    const char *at = buf;
    int r = begin_change(disk, off, len);

    while (r == 0 && len > 0) {
        Piece p = first_piece(disk, off, len);

        r = bound_dirty(disk);
        if (r == 0)
            r = write_piece(disk, &p, at);
        at += p.len;
        off += p.len;
        len -= p.len;
    }
    return r;
}

/* ---- zero and discard ---- */

/* Would clearing the top's slot uncover something? 1, 0 or -errno. */
static int lower_holds(PlkDisk *disk, uint32_t cluster)
{
    for (unsigned level = top_level(disk); level-- > 0;) {
        uint32_t entry;
        bool present;
        int r = plk_image_read_slot(disk->images[level], cluster, &entry, &present);

        if (r < 0)
            return r;
        if (present)
            return 1;
    }
    return 0;
}

/*
 * Drop the top's cluster: clear the slot, then hand the cluster over to the next flush. In this order, because a
 * flush that seals the free must find the cleared slot (ordering b).
 */
static int drop_cluster(PlkDisk *disk, PlkMapPage *page, uint32_t cluster, PlkSlot slot)
{
    int r;

    plk_map_set_top(disk, page, cluster, PLK_SLOT_UNOWNED);
    r = plk_image_free_cluster(plk_disk_top(disk), plk_slot_cluster(slot));
    if (r < 0)
        plk_map_set_top(disk, page, cluster, slot);
    return r;
}

/* Cluster owned. */
static int clear_owned(PlkDisk *disk, const Piece *p)
{
    PlkImage *top = plk_disk_top(disk);
    PlkMapPage *page;
    PlkSlot slot;
    int r = plk_map_page(disk, plk_bat_page(p->cluster), &page);

    if (r < 0)
        return r;
    slot = atomic_load_explicit(&page->slots[plk_bat_index(p->cluster)], memory_order_relaxed);
    if (plk_slot_level(slot) == PLK_LEVEL_NONE)
        return 0;
    if (plk_slot_level(slot) != top_level(disk))
        return write_new(disk, page, slot, p, NULL);
    if (top->kind == PLK_IMAGE_RAW || top->alloc_full)
        return write_part(disk, plk_slot_cluster(slot), NULL, 0, p->len);
    r = lower_holds(disk, p->cluster);
    if (r < 0)
        return r;
    return r ? write_part(disk, plk_slot_cluster(slot), NULL, 0, p->len)
             : drop_cluster(disk, page, p->cluster, slot);
}

/* A whole cluster reads as zeros from now on, with as little space as possible. */
static int clear_piece(PlkDisk *disk, const Piece *p)
{
    int r = -EAGAIN;

    for (int tries = 0; r == -EAGAIN && tries < 100; tries++) {
        pthread_rwlock_t *pin = plk_pins_own(&disk->pins, p->cluster);
        r = clear_owned(disk, p);
        plk_pins_release(pin);
        if (r == -EAGAIN) { /* too many frees wait for a flush */
            int f = plk_disk_flush(disk);
            if (f < 0)
                return f;
        }
    }
    return r;
}

static int zero_piece(PlkDisk *disk, const Piece *p)
{
    pthread_rwlock_t *pin;
    PlkSlot slot;
    int r;

    if (is_whole(disk, p))
        return clear_piece(disk, p);
    pin = plk_pins_share(&disk->pins, p->cluster);
    r = plk_map_get(disk, p->cluster, &slot);
    plk_pins_release(pin);
    if (r < 0 || plk_slot_level(slot) == PLK_LEVEL_NONE)
        return r;
    return write_piece(disk, p, NULL);
}

int plk_disk_zero(PlkDisk *disk, uint64_t off, uint64_t len)
{
    int r = begin_change(disk, off, len);

    while (r == 0 && len > 0) {
        Piece p = first_piece(disk, off, len);

        r = bound_dirty(disk);
        if (r == 0)
            r = zero_piece(disk, &p);
        off += p.len;
        len -= p.len;
    }
    return r;
}

int plk_disk_discard(PlkDisk *disk, uint64_t off, uint64_t len)
{
    uint64_t end = off + len, start;

    if (out_of_range(disk, off, len))
        return -EINVAL;
    start = plk_round_up(off, disk->cluster_bytes);
    if (end != disk->size) /* a last cluster cut short by the disk's end counts as whole */
        end = plk_round_down(end, disk->cluster_bytes);
    if (start >= end)
        return disk->writable ? 0 : -EROFS;
    return plk_disk_zero(disk, start, end - start);
}

/* ---- status ---- */

static bool continues(PlkSlot first, PlkSlot s, uint32_t n)
{
    unsigned level = plk_slot_level(first);

    if (level >= PLK_LEVEL_BEYOND)
        return s == first;
    return s == plk_slot(level, plk_slot_cluster(first) + n);
}

/*
 * Clusters from `cluster` on that lie like it, at most max and not beyond its map page, or the hole of the BAT
 * it is in. The others' slots are only peeked at: under one pin that is enough to keep the page, and an answer
 * may be old anyway.
 */
static int like_run(PlkDisk *disk, uint32_t cluster, uint32_t max, PlkSlot *ret_slot, uint32_t *ret_n)
{
    pthread_rwlock_t *pin = plk_pins_share(&disk->pins, cluster);
    uint32_t index = plk_bat_index(cluster), n = 1;
    uint32_t here = plk_bat_page(cluster), holes;
    PlkMapPage *page;
    int r = plk_map_holes(disk, here, plk_bat_page(cluster + max - 1) - here + 1, &holes);

    if (r == 0 && holes > 0) {
        *ret_slot = PLK_SLOT_UNOWNED;
        *ret_n = (uint32_t)PLK_MIN(max, (uint64_t)holes * PLK_BAT_PAGE_SLOTS - index);
        plk_pins_release(pin);
        return 0;
    }
    if (r == 0)
        r = plk_map_page(disk, here, &page);
    if (r == 0) {
        PlkSlot first = atomic_load_explicit(&page->slots[index], memory_order_relaxed);

        max = PLK_MIN(max, PLK_BAT_PAGE_SLOTS - index);
        while (n < max &&
               continues(first, atomic_load_explicit(&page->slots[index + n], memory_order_relaxed), n))
            n++;
        *ret_slot = first;
        *ret_n = n;
    }
    plk_pins_release(pin);
    return r;
}

/* Tell a hole in the file from data; shortens the extent to the part that is alike. */
static int look_for_hole(PlkDisk *disk, PlkExtent *e)
{
    uint64_t start, end;
    int r = plk_io_next_data(disk->images[e->level]->io, e->file_offset, &start, &end);

    if (r < 0)
        return r;
    if (start > e->file_offset || start >= end) {
        e->kind = PLK_EXTENT_ZERO;
        if (start < end)
            e->length = PLK_MIN(e->length, start - e->file_offset);
    } else {
        e->length = PLK_MIN(e->length, end - e->file_offset);
    }
    return 0;
}

int plk_disk_status(PlkDisk *disk, uint64_t off, uint64_t max_len, PlkExtent *ret)
{
    uint64_t end, from = off & (disk->cluster_bytes - 1);
    uint32_t cluster = (uint32_t)(off >> disk->cluster_shift), max, n = 0, got = 0;
    PlkExtent e = {0};
    PlkSlot first = 0, slot = 0;
    int r;

    if (off >= disk->size || max_len == 0)
        return -EINVAL;
    end = max_len > disk->size - off ? disk->size : off + max_len;
    max = (uint32_t)plk_div_up(end - (off - from), disk->cluster_bytes);
    do {
        bound_cache(disk);
        r = like_run(disk, cluster + n, max - n, &slot, &got);
        if (r < 0)
            return r;
        if (n == 0)
            first = slot;
        else if (!continues(first, slot, n))
            break;
        n += got;
    } while (n < max && plk_bat_index(cluster + n) == 0);
    if (plk_slot_level(first) == PLK_LEVEL_BAD)
        return -EUCLEAN;
    e.length = PLK_MIN((uint64_t)n << disk->cluster_shift, end - (off - from)) - from;
    e.kind = PLK_EXTENT_UNALLOCATED;
    e.level = -1;
    if (plk_slot_level(first) < PLK_LEVEL_BEYOND) {
        e.kind = PLK_EXTENT_DATA;
        e.level = (int)plk_slot_level(first);
        e.file_offset = plk_image_offset(disk->images[e.level], plk_slot_cluster(first)) + from;
        r = look_for_hole(disk, &e);
        if (r < 0)
            return r;
    }
    *ret = e;
    return 0;
}
