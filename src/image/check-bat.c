/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The BAT in a check: every entry of the header's clusters, also those behind the last one of the disk.
 *
 * Which clusters are used is kept in a bitmap over a window of at most 2^27 clusters (16 MiB). A file with
 * more is walked once a window; all but the first walk only look at names in their window. Holes of the BAT
 * are skipped, so a walk costs what the BAT holds, not what it claims.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/math.h"
#include "image/check.h"

#define WINDOW_CLUSTERS (1ull << 27)
#define CHUNK_BYTES 65536u
#define CHUNK_SLOTS (CHUNK_BYTES / 4)

typedef struct Chunk {
    uint64_t offset; /* in the file */
    size_t bytes;
    bool changed;
    PlkLe32 entries[CHUNK_SLOTS]; /* as on disk */
    uint32_t slots[CHUNK_SLOTS];  /* as cluster indexes */
} Chunk;

bool plk_checker_mark(PlkChecker *c, uint64_t cluster)
{
    uint64_t bit = cluster - c->window_from, mask = 1ull << bit % 64;

    if (cluster < c->window_from || cluster >= c->window_to || c->used[bit / 64] & mask)
        return false;
    c->used[bit / 64] |= mask;
    if (c->silent) {
        c->n_used++;
        c->used_end = PLK_MAX(c->used_end, cluster + 1);
    }
    return true;
}

static bool in_window(const PlkChecker *c, uint64_t cluster)
{
    return cluster >= c->window_from && cluster < c->window_to;
}

/* What is wrong with a set entry, apart from being a duplicate; false: nothing. */
static bool is_wrong(const PlkChecker *c, uint64_t slot, uint32_t raw, uint32_t cluster, PlkFinding *ret)
{
    if (slot >= c->header.bat_entries) {
        *ret = (PlkFinding){.kind = PLK_FOUND_BEYOND_DEVICE, .rank = PLK_FINDING_LOSSLESS, .value = raw};
    } else if (c->header.version == 1 && raw % c->header.cluster_sectors) {
        *ret = (PlkFinding){.kind = PLK_FOUND_MISALIGNED, .rank = PLK_FINDING_LOSSY, .value = raw};
    } else if (cluster >= c->file_clusters) {
        *ret = (PlkFinding){.kind = PLK_FOUND_BEYOND_EOF, .rank = PLK_FINDING_LOSSY, .value = cluster};
    } else if (cluster < c->first_cluster) {
        *ret = (PlkFinding){.kind = PLK_FOUND_INTO_HEADER, .rank = PLK_FINDING_FATAL, .value = cluster};
    } else {
        return false;
    }
    return true;
}

static void count(PlkChecker *c, PlkFindingRank rank)
{
    if (!c->silent)
        return;
    c->n_lossless += rank == PLK_FINDING_LOSSLESS;
    c->n_lossy += rank == PLK_FINDING_LOSSY;
    c->n_fatal += rank == PLK_FINDING_FATAL;
}

static int check_slot(PlkChecker *c, Chunk *chunk, size_t i, bool first_window)
{
    uint64_t offset = chunk->offset + 4 * i, slot = (offset - PLK_HEADER_BYTES) / 4;
    uint32_t raw = plk_le32(chunk->entries[i]), cluster = chunk->slots[i];
    PlkFinding f;

    if (is_wrong(c, slot, raw, cluster, &f)) {
        if (!first_window)
            return 0;
    } else if (!in_window(c, cluster) || plk_checker_mark(c, cluster)) {
        return 0;
    } else {
        f = (PlkFinding){.kind = PLK_FOUND_DUPLICATE, .rank = PLK_FINDING_FATAL, .value = cluster};
    }
    f.slot = slot;
    f.other = PLK_NO_SLOT;
    f.offset = offset;
    f.fixed = c->mending && f.rank != PLK_FINDING_FATAL;
    count(c, f.rank);
    if (f.fixed && !c->silent) {
        chunk->entries[i] = plk_to_le32(0);
        chunk->changed = c->slots_changed = true;
    }
    return plk_checker_report(c, &f);
}

static int check_chunk(PlkChecker *c, Chunk *chunk, bool first_window)
{
    size_t first = chunk->offset == 0 ? PLK_BAT_FIRST_SLOT : 0, n = chunk->bytes / 4;
    int r = plk_io_read(c->io, chunk->entries, chunk->bytes, chunk->offset, PLK_POINT_BAT_READ);

    if (r < 0 || plk_is_zero(chunk->entries + first, 4 * (n - first)))
        return r;
    plk_bat_decode(c->header.version, c->header.cluster_sectors, (const uint8_t *)chunk->entries,
                   chunk->slots, n);
    chunk->changed = false;
    for (size_t i = first; r == 0 && i < n; i++)
        if (plk_le32(chunk->entries[i]) != 0)
            r = check_slot(c, chunk, i, first_window);
    if (r == 0 && chunk->changed)
        r = plk_io_write(c->io, chunk->entries + first, 4 * (n - first), chunk->offset + 4 * first,
                         PLK_POINT_META_BAT);
    return r;
}

/* All of the BAT area that the file holds as data. */
static int walk_entries(PlkChecker *c, bool first_window)
{
    uint64_t area_end =
        PLK_MIN((uint64_t)c->header.first_block_sectors * PLK_SECTOR, plk_round_down(c->size, 4));
    PLK_FREE Chunk *chunk = plk_malloc(sizeof *chunk);
    uint64_t at = 0, start, end;
    int r = chunk ? 0 : -ENOMEM;

    while (r == 0 && at < area_end) {
        r = plk_io_next_data(c->io, at, &start, &end);
        start = plk_round_down(PLK_MAX(start, at), CHUNK_BYTES);
        if (r < 0 || start >= area_end || end <= at)
            break;
        for (at = PLK_MAX(start, at); r == 0 && at < PLK_MIN(end, area_end); at += chunk->bytes) {
            chunk->offset = at;
            chunk->bytes = (size_t)PLK_MIN(CHUNK_BYTES, area_end - at);
            r = check_chunk(c, chunk, first_window);
        }
    }
    return r;
}

/* ---- unnamed clusters ---- */

/* The first cluster from `from` on, below `end`, whose bit is `wanted`; `end` if there is none. */
static uint64_t find_bit(const PlkChecker *c, uint64_t from, uint64_t end, bool wanted)
{
    while (from < end) {
        uint64_t bit = from - c->window_from, word = c->used[bit / 64];

        word = (wanted ? word : ~word) >> bit % 64;
        if (word)
            return PLK_MIN(from + (uint64_t)__builtin_ctzll(word), end);
        from = c->window_from + (bit / 64 + 1) * 64;
    }
    return end;
}

static int report_holes(PlkChecker *c)
{
    uint64_t end = PLK_MIN(c->window_to, c->used_end);
    int r = 0;

    for (uint64_t at = c->window_from; r == 0 && at < end;) {
        uint64_t hole = find_bit(c, at, end, false);

        at = find_bit(c, hole, end, true);
        if (hole < end)
            r = plk_checker_report(c, &(PlkFinding){.kind = PLK_FOUND_HOLE,
                                                    .slot = PLK_NO_SLOT,
                                                    .offset = hole << c->cluster_shift,
                                                    .value = hole,
                                                    .count = at - hole});
    }
    return r;
}

/* ---- windows ---- */

static int walk_window(PlkChecker *c, bool first_window)
{
    size_t bytes = (size_t)plk_div_up(c->window_to - c->window_from, 64) * 8;
    int r;

    c->used = plk_map_zeroed(bytes);
    if (!c->used)
        return -ENOMEM;
    plk_checker_mark_extension(c);
    r = walk_entries(c, first_window);
    if (r == 0 && !c->silent)
        r = report_holes(c);
    plk_unmap_zeroed(c->used, bytes);
    c->used = NULL;
    return r;
}

int plk_checker_walk_bat(PlkChecker *c)
{
    /* An entry is a 32-bit number: what lies higher can not be named. */
    uint64_t end = PLK_MAX(PLK_MIN(c->file_clusters, 1ull << 32), c->first_cluster + 1);
    int r = 0;

    if (c->silent)
        c->used_end = c->first_cluster;
    for (uint64_t from = c->first_cluster; r == 0 && from < end; from = c->window_to) {
        c->window_from = from;
        c->window_to = PLK_MIN(from + WINDOW_CLUSTERS, end);
        r = walk_window(c, from == c->first_cluster);
    }
    return r;
}
