/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The course of a check; see check.h. */
#include "image/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/math.h"

#define FILL_BYTES (1u << 20)
#define BAT_ENTRIES_MAX (UINT32_MAX - PLK_BAT_FIRST_SLOT)
#define KNOWN_FLAGS (PLK_FLAG_EMPTY | PLK_FLAG_CONVERT)

enum {
    OFFSET_TYPE = 16,
    OFFSET_CLUSTER = 28,
    OFFSET_ENTRIES = 32,
    OFFSET_SIZE = 36,
    OFFSET_SIZE_HIGH = 40,
    OFFSET_IN_USE = 44,
    OFFSET_FIRST_BLOCK = 48,
    OFFSET_FLAGS = 52,
    OFFSET_EXT = 56
};

static int found(PlkChecker *c, PlkFindingKind kind, PlkFindingRank rank, uint64_t offset, uint64_t value,
                 bool fixed)
{
    return plk_checker_report(c, &(PlkFinding){.kind = kind,
                                               .rank = rank,
                                               .slot = PLK_NO_SLOT,
                                               .offset = offset,
                                               .value = value,
                                               .fixed = fixed});
}

static int info(PlkChecker *c, PlkFindingKind kind, uint64_t offset, uint64_t value)
{
    return found(c, kind, PLK_FINDING_INFO, offset, value, false);
}

static int fatal(PlkChecker *c, PlkFindingKind kind, uint64_t offset, uint64_t value)
{
    return found(c, kind, PLK_FINDING_FATAL, offset, value, false);
}

/* ---- header ---- */

/* Faults that leave nothing to go on with: at most one is reported, and header_ok stays false. */
static int check_identity(PlkChecker *c, size_t got, const uint8_t buf[PLK_HEADER_BYTES])
{
    PlkHeader *h = &c->header;

    if (got < PLK_HEADER_BYTES)
        return fatal(c, PLK_FOUND_HEADER_SHORT, got, got);
    if (plk_header_decode(buf, got, c->name, PLK_HEADER_LOOSE, h, NULL) < 0)
        return fatal(c, PLK_FOUND_SIGNATURE, 0, 0);
    if (h->disk_type != 2)
        return fatal(c, PLK_FOUND_TYPE, OFFSET_TYPE, h->disk_type);
    if (!plk_cluster_is_valid(h->cluster_sectors))
        return fatal(c, PLK_FOUND_CLUSTER_SIZE, OFFSET_CLUSTER, h->cluster_sectors);
    if (h->first_block_sectors == 0 || h->first_block_sectors % h->cluster_sectors ||
        (uint64_t)h->first_block_sectors * PLK_SECTOR <
            plk_bat_area_bytes(h->bat_entries, h->cluster_sectors))
        return fatal(c, PLK_FOUND_FIRST_BLOCK, OFFSET_FIRST_BLOCK, h->first_block_sectors);
    if (h->bat_entries > BAT_ENTRIES_MAX)
        return fatal(c, PLK_FOUND_BAT_COUNT, OFFSET_ENTRIES, h->bat_entries);
    if (h->size_sectors == 0 || h->size_sectors / h->cluster_sectors > h->bat_entries)
        return fatal(c, PLK_FOUND_DISK_SIZE, OFFSET_SIZE, h->size_sectors);
    c->header_ok = true;
    return 0;
}

/* What is odd, but read by everybody as meant. */
static int check_oddities(PlkChecker *c, const uint8_t buf[PLK_HEADER_BYTES])
{
    const PlkHeader *h = &c->header;
    uint64_t needed = plk_div_up(h->size_sectors, h->cluster_sectors);
    uint64_t area = plk_bat_area_bytes(h->bat_entries, h->cluster_sectors);
    PlkLe32 high;
    int r = 0;

    memcpy(&high, buf + OFFSET_SIZE_HIGH, sizeof high);
    if (h->version == 1 && plk_le32(high) != 0)
        r = info(c, PLK_FOUND_SIZE_HIGH, OFFSET_SIZE_HIGH, plk_le32(high));
    if (r == 0 && h->size_sectors % h->cluster_sectors)
        r = info(c, PLK_FOUND_SIZE_PARTIAL, OFFSET_SIZE, h->size_sectors % h->cluster_sectors);
    if (r == 0 && h->bat_entries > needed)
        r = info(c, PLK_FOUND_BAT_EXTRA, OFFSET_ENTRIES, h->bat_entries - needed);
    if (r == 0 && (uint64_t)h->first_block_sectors * PLK_SECTOR > area)
        r = info(c, PLK_FOUND_FIRST_BLOCK_LATE, OFFSET_FIRST_BLOCK, h->first_block_sectors);
    if (r == 0 && h->flags & ~KNOWN_FLAGS)
        r = info(c, PLK_FOUND_UNKNOWN_FLAGS, OFFSET_FLAGS, h->flags);
    return r;
}

static bool is_closed(const PlkHeader *h)
{
    return h->in_use == PLK_IN_USE_CLOSED || h->in_use == PLK_IN_USE_CLOSED21;
}

static int read_header(PlkChecker *c, uint8_t buf[PLK_HEADER_BYTES])
{
    size_t got;
    int r = plk_io_read_upto(c->io, buf, PLK_HEADER_BYTES, 0, &got, PLK_POINT_OPEN_READ);

    if (r == 0)
        r = check_identity(c, got, buf);
    if (r < 0 || !c->header_ok)
        return r;
    c->cluster_shift = plk_log2(c->header.cluster_sectors * PLK_SECTOR);
    c->first_cluster = c->header.first_block_sectors / c->header.cluster_sectors;
    c->file_clusters = plk_div_up(c->size, 1ull << c->cluster_shift);
    plk_io_set_meta_end(c->io, c->first_cluster << c->cluster_shift);
    return 0;
}

int plk_image_is_closed(PlkIo *io)
{
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader h;
    size_t got;
    int r = plk_io_read_upto(io, buf, sizeof buf, 0, &got, PLK_POINT_OPEN_READ);

    if (r < 0)
        return r;
    return plk_header_decode(buf, got, io->name, PLK_HEADER_STRICT, &h, NULL) == 0 && is_closed(&h);
}

/* ---- repairing ---- */

static bool may(const PlkChecker *c, unsigned repair)
{
    return c->io->writable && (c->options->repair & repair) == repair;
}

/* Graver faults than the options mend keep everything as it is, so that nothing is lost on the way. */
static bool decide_mending(const PlkChecker *c)
{
    if (c->locked || !may(c, PLK_REPAIR_LOSSLESS))
        return false;
    return may(c, PLK_REPAIR_LOSSY) || (c->n_lossy == 0 && c->n_fatal == 0);
}

static int write_header(PlkChecker *c, const PlkHeader *h, PlkPoint point)
{
    uint8_t buf[PLK_HEADER_BYTES];
    int r;

    plk_header_encode(h, buf);
    r = plk_io_write(c->io, buf, sizeof buf, 0, point);
    return r < 0 ? r : plk_io_sync(c->io, PLK_POINT_META_SYNC);
}

/* Before entries change: a crash from here on shows. */
static int mark_in_use(PlkChecker *c)
{
    PlkHeader h = c->header;

    if (!c->mending || c->n_lossless + c->n_lossy == 0 || h.in_use == PLK_IN_USE_OPEN)
        return 0;
    h.in_use = PLK_IN_USE_OPEN;
    return write_header(c, &h, PLK_POINT_META_IN_USE);
}

/* ---- what the header says of the contents ---- */

static int check_empty_flag(PlkChecker *c, PlkHeader *h)
{
    bool empty = c->used_end == c->first_cluster, flagged = h->flags & PLK_FLAG_EMPTY;

    if (empty == flagged)
        return 0;
    if (c->mending)
        h->flags ^= PLK_FLAG_EMPTY;
    return found(c, PLK_FOUND_EMPTY_FLAG, PLK_FINDING_LOSSLESS, OFFSET_FLAGS, c->header.flags, c->mending);
}

static int check_convert_flag(PlkChecker *c, PlkHeader *h)
{
    if (!(h->flags & PLK_FLAG_CONVERT))
        return 0;
    if (c->mending)
        h->flags &= ~PLK_FLAG_CONVERT;
    return found(c, PLK_FOUND_CONVERT_FLAG, PLK_FINDING_LOSSLESS, OFFSET_FLAGS, c->header.flags, c->mending);
}

static int check_extension(PlkChecker *c, PlkHeader *h)
{
    bool counts = h->in_use == PLK_IN_USE_CLOSED21;

    if (h->ext_sector == 0 || c->ext)
        return 0;
    if (c->mending)
        h->ext_sector = 0;
    return found(c, counts ? PLK_FOUND_EXTENSION : PLK_FOUND_EXTENSION_STALE, PLK_FINDING_LOSSLESS,
                 OFFSET_EXT, c->header.ext_sector, c->mending);
}

static int check_in_use(PlkChecker *c, PlkHeader *h)
{
    bool fixed = c->mending && may(c, PLK_REPAIR_IN_USE);

    if (is_closed(h))
        return 0;
    if (fixed)
        h->in_use = PLK_IN_USE_CLOSED;
    return found(c, PLK_FOUND_IN_USE, PLK_FINDING_LOSSLESS, OFFSET_IN_USE, c->header.in_use, fixed);
}

/*
 * "v2.1" says that the extension counts. It does not any more if it was found damaged, or when the repair
 * changes what a guest reads: recorded tracking would be wrong then.
 */
static void settle_extension(const PlkChecker *c, PlkHeader *h)
{
    bool dropped = c->header.ext_sector != 0 && h->ext_sector == 0;

    if (h->in_use == PLK_IN_USE_CLOSED21 && (dropped || (c->slots_changed && c->n_lossy > 0))) {
        h->in_use = PLK_IN_USE_CLOSED;
        h->ext_sector = 0;
    }
}

static bool header_differs(const PlkHeader *a, const PlkHeader *b)
{
    uint8_t x[PLK_HEADER_BYTES], y[PLK_HEADER_BYTES];

    plk_header_encode(a, x);
    plk_header_encode(b, y);
    return memcmp(x, y, sizeof x) != 0;
}

static int finish_header(PlkChecker *c)
{
    PlkHeader h = c->header;
    int r = check_in_use(c, &h);

    if (r == 0)
        r = check_empty_flag(c, &h);
    if (r == 0)
        r = check_convert_flag(c, &h);
    if (r == 0)
        r = check_extension(c, &h);
    if (r < 0 || !c->mending)
        return r;
    settle_extension(c, &h);
    if (c->slots_changed)
        r = plk_io_sync(c->io, PLK_POINT_META_SYNC);
    else if (!header_differs(&h, &c->header))
        return 0;
    return r < 0 ? r : write_header(c, &h, PLK_POINT_META_CLOSE);
}

/* ---- the end of the file ---- */

/* Reported before the header's findings, as ploop does; done after them. */
static int check_length(PlkChecker *c)
{
    uint64_t want = c->used_end << c->cluster_shift;

    if (c->size > want)
        return found(c, PLK_FOUND_TAIL, PLK_FINDING_LOSSLESS, want, c->size - want, c->mending);
    if (c->size < want)
        return found(c, PLK_FOUND_FILE_LENGTH, PLK_FINDING_LOSSLESS, c->size, want - c->size, c->mending);
    return 0;
}

static int fix_length(PlkChecker *c)
{
    uint64_t want = c->used_end << c->cluster_shift;
    int r;

    if (!c->mending || c->size == want)
        return 0;
    r = plk_io_truncate(c->io, want, c->size < want ? PLK_POINT_DATA_EXTEND : PLK_POINT_TAIL_TRUNCATE);
    if (r == 0)
        r = plk_io_sync(c->io, PLK_POINT_META_SYNC);
    if (r == 0)
        c->size = want;
    return r;
}

/* ---- holes of the file ---- */

static int fill_range(PlkChecker *c, uint64_t from, uint64_t to, PlkPoint point)
{
    PLK_FREE void *zeros = plk_calloc(1, FILL_BYTES);
    const PlkProgress *p = c->progress;
    int r = zeros ? 0 : -ENOMEM;

    for (uint64_t at = from; r == 0 && at < to; at += FILL_BYTES) {
        r = plk_io_write(c->io, zeros, (size_t)PLK_MIN(FILL_BYTES, to - at), at, point);
        if (r == 0 && p && p->update(p->arg, "filling holes", PLK_MIN(at + FILL_BYTES, to), c->size))
            r = -ECANCELED;
    }
    return r;
}

static int fill(PlkChecker *c, uint64_t from, uint64_t to)
{
    uint64_t meta_end = c->first_cluster << c->cluster_shift, middle = PLK_MIN(PLK_MAX(from, meta_end), to);
    int r = fill_range(c, from, middle, PLK_POINT_META_INIT);

    return r < 0 ? r : fill_range(c, middle, to, PLK_POINT_DATA_ZERO);
}

static int check_sparse(PlkChecker *c)
{
    bool fixing = may(c, PLK_REPAIR_SPARSE);
    uint64_t at = 0, start, end;
    int r = 0;

    while (r == 0 && at < c->size) {
        r = plk_io_next_data(c->io, at, &start, &end);
        if (r < 0)
            return r;
        start = PLK_MIN(PLK_MAX(start, at), c->size);
        if (start > at)
            r = found(c, PLK_FOUND_SPARSE, PLK_FINDING_LOSSLESS, at, start - at, fixing);
        if (r == 0 && start > at && fixing)
            r = fill(c, at, start);
        at = PLK_MAX(end, start);
        if (start >= c->size)
            break;
    }
    return r == 0 && fixing ? plk_io_sync(c->io, PLK_POINT_DATA_SYNC) : r;
}

/* ---- the whole course ---- */

static int survey(PlkChecker *c)
{
    int r;

    c->silent = true;
    r = plk_checker_walk_bat(c);
    c->silent = false;
    c->mending = r == 0 && decide_mending(c);
    return r;
}

/* There is something to say about the BAT. */
static bool bat_is_odd(const PlkChecker *c)
{
    return c->n_lossless + c->n_lossy + c->n_fatal > 0 || c->used_end - c->first_cluster > c->n_used;
}

static int check_contents(PlkChecker *c)
{
    int r = plk_checker_load_extension(c);

    if (r == 0)
        r = survey(c);
    if (r == 0)
        r = mark_in_use(c);
    if (r == 0 && bat_is_odd(c))
        r = plk_checker_walk_bat(c);
    if (r == 0)
        r = check_length(c);
    if (r == 0)
        r = finish_header(c);
    return r < 0 ? r : fix_length(c);
}

static int check_ploop(PlkChecker *c)
{
    uint8_t buf[PLK_HEADER_BYTES];
    int r = read_header(c, buf);

    if (r < 0 || !c->header_ok)
        return r;
    if (c->header.flags & PLK_FLAG_CONVERT && !is_closed(&c->header))
        return fatal(c, PLK_FOUND_CONVERTING, OFFSET_FLAGS, c->header.flags);
    if (c->size < c->first_cluster << c->cluster_shift)
        return fatal(c, PLK_FOUND_BAT_SHORT, c->size, c->size);
    if (c->options->skip_clean && is_closed(&c->header)) {
        c->result->skipped = true;
    } else {
        r = check_oddities(c, buf);
        if (r == 0)
            r = check_contents(c);
    }
    return r == 0 && c->options->sparse ? check_sparse(c) : r;
}

static int check_raw(PlkChecker *c)
{
    uint64_t over = c->size % (c->options->cluster_sectors * PLK_SECTOR);
    int r = 0;

    c->header =
        (PlkHeader){.cluster_sectors = c->options->cluster_sectors, .size_sectors = c->size / PLK_SECTOR};
    c->header_ok = true;
    if (over)
        r = info(c, PLK_FOUND_SIZE_PARTIAL, c->size, over / PLK_SECTOR);
    return r == 0 && c->options->sparse ? check_sparse(c) : r;
}

int plk_image_check(PlkIo *io, unsigned level, const PlkCheckOptions *options, PlkFindingFn *report,
                    void *arg, const PlkProgress *progress, PlkCheckResult *ret, PlkHeader *ret_header,
                    PlkError *err)
{
    PlkChecker c = {.io = io,
                    .name = io->name,
                    .options = options,
                    .level = level,
                    .report = report,
                    .arg = arg,
                    .progress = progress,
                    .result = ret};
    int r = plk_io_size(io, &c.size);

    if (r == 0)
        r = options->raw ? check_raw(&c) : check_ploop(&c);
    if (c.ext)
        plk_unmap_zeroed(c.ext, (size_t)1 << c.cluster_shift);
    if (r < 0)
        return plk_fail_io(err, c.mending ? PLK_ERROR_WRITE : PLK_ERROR_READ, r, "cannot check image '%s'",
                           io->name);
    if (ret_header && c.header_ok)
        *ret_header = c.header;
    return 0;
}
