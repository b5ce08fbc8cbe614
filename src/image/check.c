/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The course of a check; see check.h. */
#include "image/check.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "base/seeded.h"

#define FILL_BYTES (1u << 20)

enum { OFFSET_IN_USE = 44, OFFSET_FLAGS = 52, OFFSET_EXT = 56 };

/* ---- what may be done ---- */

bool plk_checker_is_closed(const PlkHeader *h)
{
    return h->in_use == PLK_IN_USE_CLOSED || h->in_use == PLK_IN_USE_CLOSED21;
}

int plk_image_is_closed(PlkIo *io)
{
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader h;
    size_t got;
    int r = plk_io_read_upto(io, buf, sizeof buf, 0, &got, PLK_POINT_OPEN_READ);

    if (r < 0)
        return r;
    return plk_header_decode(buf, got, io->name, PLK_HEADER_STRICT, &h, NULL) == 0 && plk_checker_is_closed(&h);
}

bool plk_checker_may(const PlkChecker *c, unsigned repair)
{
    return (c->io->writable || c->options->dry_run) && (c->options->repair & repair) == repair;
}

/* Clusters that entries can name: as many as the allocator hands out. */
static uint64_t index_limit(const PlkHeader *h)
{
    return h->version == 1 ? UINT32_MAX / h->cluster_sectors : UINT32_MAX - 1;
}

/* Graver faults than the options mend keep everything as it is, so that nothing is lost on the way. */
static bool decide_mending(const PlkChecker *c)
{
    if (c->locked || !plk_checker_may(c, PLK_REPAIR_LOSSLESS))
        return false;
    return plk_checker_may(c, PLK_REPAIR_LOSSY) || (c->n_lossy + c->n_fatal + c->fault.count == 0);
}

/* After the survey. */
static void decide(PlkChecker *c)
{
    uint64_t end = PLK_MAX(c->slots_end, c->ext_end);
    bool room = end + c->n_shared_entries <= index_limit(&c->header);

    c->shared_rank = room ? PLK_FINDING_LOSSY : PLK_FINDING_FATAL;
    c->n_lossy += room ? c->n_shared_entries : 0;
    c->n_fatal += room ? 0 : c->n_shared_entries;
    c->mending = decide_mending(c);
    c->drops_ext = c->mending && c->ext && c->n_lossy > 0;
    c->used_end = c->drops_ext ? c->slots_end : end;
}

/* ---- the header ---- */

static int write_header(PlkChecker *c, const PlkHeader *h, PlkPoint point)
{
    uint8_t buf[PLK_HEADER_BYTES];
    int r;

    assert(plk_checker_writes(c));
    plk_header_encode(h, buf);
    r = plk_io_write(c->io, buf, sizeof buf, 0, point);
    return r < 0 ? r : plk_io_sync(c->io, PLK_POINT_META_SYNC);
}

/* Before entries or the file's length change: a crash from here on shows. */
static int mark_in_use(PlkChecker *c)
{
    PlkHeader h = c->header;

    if (!plk_checker_writes(c) || c->n_lossless + c->n_lossy == 0 || c->found.in_use == PLK_IN_USE_OPEN)
        return 0;
    h.in_use = PLK_IN_USE_OPEN;
    return write_header(c, &h, PLK_POINT_META_IN_USE);
}

static int lossless(PlkChecker *c, PlkFindingKind kind, uint64_t offset, uint64_t value, uint64_t becomes, bool fixed)
{
    return plk_checker_report(c, &(PlkFinding){.kind = kind,
                                               .rank = PLK_FINDING_LOSSLESS,
                                               .slot = PLK_NO_SLOT,
                                               .offset = offset,
                                               .value = value,
                                               .becomes = becomes,
                                               .fixed = fixed});
}

static int check_empty_flag(PlkChecker *c, PlkHeader *h)
{
    bool empty = c->used_end == c->first_cluster, flagged = h->flags & PLK_FLAG_EMPTY;

    if (empty == flagged)
        return 0;
    h->flags ^= PLK_FLAG_EMPTY;
    return lossless(c, PLK_FOUND_EMPTY_FLAG, OFFSET_FLAGS, c->found.flags, h->flags, c->mending);
}

static int check_convert_flag(PlkChecker *c, PlkHeader *h)
{
    if (!(h->flags & PLK_FLAG_CONVERT))
        return 0;
    h->flags &= ~PLK_FLAG_CONVERT;
    return lossless(c, PLK_FOUND_CONVERT_FLAG, OFFSET_FLAGS, c->found.flags, h->flags, c->mending);
}

/*
 * "v2.1" says that the extension counts. It does not any more if it was found damaged, or when a repair changes
 * what slots name: the recorded tracking would be wrong then.
 */
static int check_extension(PlkChecker *c, PlkHeader *h)
{
    bool counts = c->found.in_use == PLK_IN_USE_CLOSED21, valid = c->ext || c->drops_ext;
    PlkFinding f = {.kind = counts ? PLK_FOUND_EXTENSION : PLK_FOUND_EXTENSION_STALE,
                    .rank = PLK_FINDING_LOSSLESS,
                    .slot = PLK_NO_SLOT,
                    .offset = OFFSET_EXT,
                    .value = h->ext_sector,
                    .fixed = c->mending};

    if (h->ext_sector == 0 || (valid && c->n_lossy == 0))
        return 0;
    if (valid) {
        f.kind = PLK_FOUND_EXTENSION_STALE;
        f.rank = PLK_FINDING_LOSSY;
    }
    h->ext_sector = 0;
    if (h->in_use == PLK_IN_USE_CLOSED21)
        h->in_use = PLK_IN_USE_CLOSED;
    return plk_checker_report(c, &f);
}

static int check_in_use(PlkChecker *c, PlkHeader *h)
{
    bool fixed = c->mending && plk_checker_may(c, PLK_REPAIR_IN_USE);

    if (plk_checker_is_closed(h))
        return 0;
    if (fixed)
        h->in_use = PLK_IN_USE_CLOSED;
    return lossless(c, PLK_FOUND_IN_USE, OFFSET_IN_USE, c->found.in_use, PLK_IN_USE_CLOSED, fixed);
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
    if (r < 0 || !plk_checker_writes(c))
        return r;
    /* The mark says that the entries are right: so they are on the disk before it. */
    if (c->slots_changed && !PLK_SEEDED(ONE_SYNC))
        r = plk_io_sync(c->io, PLK_POINT_META_SYNC);
    if (r < 0 || (!c->slots_changed && !c->tidy && !header_differs(&h, &c->found)))
        return r;
    return write_header(c, &h, PLK_POINT_META_CLOSE);
}

/* ---- the end of the file ---- */

/* Where it belongs, once shared clusters have their copies. */
static uint64_t wanted_length(const PlkChecker *c)
{
    uint64_t copies = c->mending && c->shared_rank == PLK_FINDING_LOSSY ? c->n_shared_entries : 0;

    return (c->used_end + copies) << c->cluster_shift;
}

/* Reported before the header's findings, as ploop does; done after them. */
static int check_length(PlkChecker *c)
{
    uint64_t used = c->used_end << c->cluster_shift, becomes = wanted_length(c);

    if (c->found_size > used)
        return lossless(c, PLK_FOUND_TAIL, used, c->found_size - used, becomes, c->mending);
    if (c->found_size < used && c->fault.kind != PLK_FOUND_BAT_SHORT)
        return lossless(c, PLK_FOUND_FILE_LENGTH, c->found_size, used - c->found_size, becomes, c->mending);
    return 0;
}

static int fix_length(PlkChecker *c)
{
    uint64_t want = wanted_length(c);
    int r;

    if (!plk_checker_writes(c) || c->size == want)
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
    PLK_FREE void *zeros = plk_calloc(1, to > from ? (size_t)PLK_MIN(FILL_BYTES, to - from) : 0);
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
    bool fixing = plk_checker_may(c, PLK_REPAIR_SPARSE), writing = fixing && !c->options->dry_run;
    uint64_t at = 0, start, end;
    int r = 0;

    while (r == 0 && at < c->size) {
        r = plk_io_next_data(c->io, at, &start, &end);
        if (r < 0)
            return r;
        start = PLK_MIN(PLK_MAX(start, at), c->size);
        if (start > at)
            r = lossless(c, PLK_FOUND_SPARSE, at, start - at, 0, fixing);
        if (r == 0 && start > at && writing)
            r = fill(c, at, start);
        at = PLK_MAX(end, start);
        if (start >= c->size)
            break;
    }
    return r == 0 && writing ? plk_io_sync(c->io, PLK_POINT_DATA_SYNC) : r;
}

/* ---- the whole course ---- */

/* What could not be meant so, and what it is taken for from here on. */
static int report_fault(PlkChecker *c)
{
    PlkFinding f = c->fault;

    f.fixed = c->mending;
    return f.count ? plk_checker_report(c, &f) : 0;
}

/* There is something to say about the BAT. */
static bool bat_is_odd(const PlkChecker *c)
{
    uint64_t used = c->n_named + (c->drops_ext ? 0 : c->n_ext - c->n_ext_named);

    return c->n_lossless + c->n_lossy + c->n_fatal > 0 || c->used_end - c->first_cluster > used;
}

/* Every slot reads as before, and none shares its bytes any more. */
static int part_shared(PlkChecker *c)
{
    int r = 0;

    if (!plk_checker_writes(c) || c->n_shared_entries == 0 || c->shared_rank != PLK_FINDING_LOSSY)
        return 0;
    /* The file is about to grow: entries that named clusters outside it are gone for good by then. */
    if (c->slots_changed)
        r = plk_io_sync(c->io, PLK_POINT_META_SYNC);
    return r < 0 ? r : plk_checker_walk_bat(c, PLK_PASS_COPY);
}

/* A file that lacks part of its BAT gets it back, before its header says that all is well. */
static int restore_bat_area(PlkChecker *c)
{
    return c->fault.kind == PLK_FOUND_BAT_SHORT && c->fault.count ? fix_length(c) : 0;
}

static int check_entries(PlkChecker *c)
{
    int r = mark_in_use(c);

    if (r == 0 && bat_is_odd(c))
        r = plk_checker_walk_bat(c, PLK_PASS_REPORT);
    if (r == 0 && c->drops_ext)
        plk_checker_forget_extension(c);
    return r < 0 ? r : part_shared(c);
}

static int check_contents(PlkChecker *c)
{
    bool wrong_version = false;
    int r = plk_checker_load_extension(c);

    if (r == 0)
        r = plk_checker_walk_bat(c, PLK_PASS_SURVEY);
    if (r == 0 && c->n_lossy > c->n_named)
        r = plk_checker_check_version(c, &wrong_version);
    if (r < 0 || wrong_version)
        return r;
    decide(c);
    r = report_fault(c);
    if (r == 0)
        r = plk_checker_check_oddities(c);
    if (r == 0)
        r = check_entries(c);
    if (r == 0)
        r = check_length(c);
    if (r == 0)
        r = restore_bat_area(c);
    if (r == 0)
        r = finish_header(c);
    return r < 0 ? r : fix_length(c);
}

static int check_ploop(PlkChecker *c)
{
    int r = plk_checker_read_header(c);

    if (r < 0 || !c->header_ok)
        return r;
    if (c->options->skip_clean && plk_checker_is_closed(&c->found) && c->fault.count == 0)
        c->result->skipped = true;
    else
        r = check_contents(c);
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
        r = plk_checker_report(c, &(PlkFinding){.kind = PLK_FOUND_SIZE_PARTIAL,
                                                .slot = PLK_NO_SLOT,
                                                .offset = c->size,
                                                .value = over / PLK_SECTOR});
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
                    .lower = options->lower,
                    .report = report,
                    .arg = arg,
                    .progress = progress,
                    .result = ret};
    int r = plk_io_size(io, &c.size);

    c.found_size = c.size;
    if (r == 0 && io->writable && plk_image_is_closed(io) == 0)
        r = plk_io_reload(io); /* a repair goes by what the disk holds; see plk_image_open() */
    if (r == 0)
        r = options->raw ? check_raw(&c) : check_ploop(&c);
    plk_checker_forget_extension(&c);
    free(c.shared);
    if (r < 0)
        return plk_fail_io(err, c.mending ? PLK_ERROR_WRITE : PLK_ERROR_READ, r, "cannot check image '%s'",
                           io->name);
    if (ret_header && c.header_ok)
        *ret_header = c.header;
    return 0;
}
