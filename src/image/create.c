/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* New images. The file has no name yet, or nobody knows it: order does not matter until the final sync. */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "image/image.h"

#define FILL_BYTES (1u << 20)

static int fail_create(PlkIo *io, int r, PlkError *err)
{
    return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot create image '%s'", io->name);
}

/* Real zeros, so that no tool finds a hole. */
static int write_zeros(PlkIo *io, uint64_t from, uint64_t to, const char *what, const PlkProgress *progress)
{
    PLK_FREE uint8_t *zeros = plk_calloc(1, FILL_BYTES);
    int r;

    if (!zeros)
        return -ENOMEM;
    for (uint64_t at = from; at < to; at += FILL_BYTES) {
        r = plk_io_write(io, zeros, (size_t)PLK_MIN(FILL_BYTES, to - at), at, PLK_POINT_META_INIT);
        if (r < 0)
            return r;
        if (progress && progress->update(progress->arg, what, at - from, to - from))
            return -ECANCELED;
    }
    return 0;
}

static int reserve(PlkIo *io, uint64_t bytes)
{
    int r = plk_io_allocate(io, 0, bytes, PLK_POINT_META_INIT);

    return r == -EOPNOTSUPP ? plk_io_truncate(io, bytes, PLK_POINT_META_INIT) : r;
}

/* Slot i names the i-th data cluster. */
static int write_full_bat(PlkIo *io, const PlkHeader *h)
{
    uint32_t slots[PLK_BAT_PAGE_SLOTS], first = h->first_block_sectors / h->cluster_sectors;
    uint8_t bytes[PLK_BAT_PAGE_BYTES];

    for (uint64_t i = 0; i < h->bat_entries;) {
        uint32_t n = (uint32_t)PLK_MIN(PLK_BAT_PAGE_SLOTS, h->bat_entries - i);
        int r;

        for (uint32_t k = 0; k < n; k++)
            slots[k] = first + (uint32_t)i + k;
        if (!plk_bat_encode(h->version, h->cluster_sectors, slots, bytes, n))
            return -EFBIG;
        r = plk_io_write(io, bytes, n * 4, plk_bat_offset((uint32_t)i), PLK_POINT_META_INIT);
        if (r < 0)
            return r;
        i += n;
    }
    return 0;
}

static int write_image(PlkIo *io, const PlkHeader *h, const PlkImageSpec *spec, const PlkProgress *progress)
{
    uint64_t area = (uint64_t)h->first_block_sectors * PLK_SECTOR, cluster = h->cluster_sectors * PLK_SECTOR;
    uint64_t total = area + (spec->preallocated ? h->bat_entries * cluster : 0);
    uint8_t buf[PLK_HEADER_BYTES];
    int r;

    r = spec->preallocated ? reserve(io, total) : plk_io_truncate(io, area, PLK_POINT_META_INIT);
    if (r == 0 && spec->alloc_full)
        r = write_zeros(io, 0, total, "creating image", progress);
    if (r == 0 && spec->preallocated)
        r = write_full_bat(io, h);
    if (r < 0)
        return r;
    plk_header_encode(h, buf);
    r = plk_io_write(io, buf, sizeof buf, 0, PLK_POINT_META_INIT);
    return r < 0 ? r : plk_io_sync(io, PLK_POINT_META_SYNC);
}

int plk_image_create(PlkIo *io, const PlkImageSpec *spec, const PlkProgress *progress, PlkError *err)
{
    PlkHeader h;
    int r;

    if (plk_header_make(spec->version, spec->size_sectors, spec->cluster_sectors, &h, err) < 0)
        return -1;
    if (spec->preallocated)
        h.flags &= ~PLK_FLAG_EMPTY;
    r = write_image(io, &h, spec, progress);
    return r < 0 ? fail_create(io, r, err) : 0;
}

int plk_image_create_raw(PlkIo *io, uint64_t bytes, bool full, const PlkProgress *progress, PlkError *err)
{
    int r = full ? reserve(io, bytes) : plk_io_truncate(io, bytes, PLK_POINT_META_INIT);

    if (r == 0 && full)
        r = write_zeros(io, 0, bytes, "creating raw image", progress);
    if (r == 0)
        r = plk_io_sync(io, PLK_POINT_META_SYNC);
    return r < 0 ? fail_create(io, r, err) : 0;
}
