/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The BAT in a check: every entry of the header's clusters, also those behind the last one of the disk.
 *
 * Which clusters are used is kept in a bitmap over a window of at most 2^27 clusters (16 MiB), and in another
 * of the same size, but touched only where it has bits, which belong to the format extension. A file with more
 * clusters is walked once a window; all but the first walk only look at names in their window. Holes of the BAT
 * are skipped, so a walk costs what the BAT holds, not what it claims.
 *
 * Of the slots that share a cluster the first keeps it. REPORT and COPY meet the others in the same order and
 * so tell, and make, the same copies.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/math.h"
#include "image/check.h"

#define WINDOW_CLUSTERS (1ull << 27)
#define CHUNK_BYTES 65536u
#define BOUNCE_BYTES (1u << 20)
#define SHARED_FIRST 64u
#define SHARED_MAX 65536u /* shared clusters whose first slot is remembered, to be named */

typedef struct Chunk {
    uint64_t offset; /* in the file */
    size_t bytes;
    size_t changed_from, changed_to; /* entries to be written */
    bool copied;                     /* ... which name clusters that are not durable yet */
    size_t room;                     /* bytes: CHUNK_BYTES, or all of a smaller BAT area */
    uint32_t *slots;                 /* as cluster indexes; behind the entries */
    PlkLe32 entries[];               /* as on disk */
} Chunk;

typedef struct Walk {
    PlkChecker *c;
    Chunk *chunk;
    bool first_window;
    void *bounce; /* copying only */
    _Atomic int method;
} Walk;

/* ---- bitmaps ---- */

static bool test_bit(const uint64_t *bits, uint64_t bit)
{
    return bits[bit / 64] >> bit % 64 & 1;
}

static bool in_window(const PlkChecker *c, uint64_t cluster)
{
    return cluster >= c->window_from && cluster < c->window_to;
}

/* True if no slot had the cluster before. */
static bool mark_used(PlkChecker *c, uint64_t cluster)
{
    uint64_t bit = cluster - c->window_from;

    if (test_bit(c->used, bit))
        return false;
    c->used[bit / 64] |= 1ull << bit % 64;
    if (c->pass == PLK_PASS_SURVEY) {
        c->n_named++;
        c->slots_end = PLK_MAX(c->slots_end, cluster + 1);
    }
    return true;
}

/* True, once a cluster, if the extension has it. */
static bool take_from_extension(PlkChecker *c, uint64_t cluster)
{
    uint64_t bit = cluster - c->window_from;

    if (!c->ext || !test_bit(c->ext_used, bit))
        return false;
    c->ext_used[bit / 64] &= ~(1ull << bit % 64);
    c->n_ext_named += c->pass == PLK_PASS_SURVEY;
    return true;
}

/* ---- clusters that several slots name ---- */

static int by_cluster(const void *a, const void *b)
{
    uint64_t x = ((const PlkSharedCluster *)a)->cluster, y = ((const PlkSharedCluster *)b)->cluster;

    return (x > y) - (x < y);
}

static PlkSharedCluster *find_shared(const PlkChecker *c, uint64_t cluster)
{
    PlkSharedCluster key = {.cluster = cluster};

    return c->n_shared ? bsearch(&key, c->shared, c->n_shared, sizeof key, by_cluster) : NULL;
}

/* For one more; the room doubles each time it is full. */
static bool make_room(PlkChecker *c)
{
    size_t n = c->n_shared, room = PLK_MAX(2 * n, SHARED_FIRST);
    PlkSharedCluster *grown;

    if (n > 0 && (n < SHARED_FIRST || !plk_is_pow2(n)))
        return true;
    grown = plk_realloc(c->shared, room, sizeof *grown);
    if (grown)
        c->shared = grown;
    return grown;
}

static int note_shared(PlkChecker *c, uint64_t cluster)
{
    c->n_shared_entries++;
    if (c->n_shared == SHARED_MAX || (c->n_shared && c->shared[c->n_shared - 1].cluster == cluster))
        return 0;
    if (!make_room(c))
        return -ENOMEM;
    c->shared[c->n_shared++] = (PlkSharedCluster){.cluster = cluster, .slot = PLK_NO_SLOT};
    return 0;
}

/* After the survey: each of them once, in order. */
static void sort_shared(PlkChecker *c)
{
    size_t n = 0;

    if (c->n_shared == 0)
        return;
    qsort(c->shared, c->n_shared, sizeof *c->shared, by_cluster);
    for (size_t i = 0; i < c->n_shared; i++)
        if (n == 0 || c->shared[i].cluster != c->shared[n - 1].cluster)
            c->shared[n++] = c->shared[i];
    c->n_shared = n;
}

static void note_first_slot(PlkChecker *c, uint64_t cluster, uint64_t slot)
{
    PlkSharedCluster *s = find_shared(c, cluster);

    if (s && s->slot == PLK_NO_SLOT)
        s->slot = slot;
}

/* ---- one entry ---- */

/* What is wrong with a set entry, apart from sharing its cluster; false: nothing. */
static bool is_wrong(const PlkChecker *c, uint64_t slot, uint32_t raw, uint32_t cluster, PlkFinding *ret)
{
    if (slot >= c->header.bat_entries) {
        *ret = (PlkFinding){.kind = PLK_FOUND_BEYOND_DEVICE, .rank = PLK_FINDING_LOSSLESS, .value = raw};
    } else if (c->header.version == 1 && raw % c->header.cluster_sectors) {
        *ret = (PlkFinding){.kind = PLK_FOUND_MISALIGNED, .rank = PLK_FINDING_LOSSY, .value = raw};
    } else if (cluster >= c->file_clusters) {
        *ret = (PlkFinding){.kind = PLK_FOUND_BEYOND_EOF, .rank = PLK_FINDING_LOSSY, .value = cluster};
    } else if (cluster < c->first_cluster) {
        *ret = (PlkFinding){.kind = PLK_FOUND_INTO_HEADER, .rank = PLK_FINDING_LOSSY, .value = cluster};
    } else {
        return false;
    }
    return true;
}

static void set_entry(PlkChecker *c, Chunk *chunk, size_t i, uint32_t raw)
{
    if (chunk->changed_from == chunk->changed_to)
        chunk->changed_from = i;
    chunk->changed_to = i + 1;
    chunk->entries[i] = plk_to_le32(raw);
    c->slots_changed = true;
}

static uint64_t slot_of(const Chunk *chunk, size_t i)
{
    return (chunk->offset + 4 * i - PLK_HEADER_BYTES) / 4;
}

static int report_entry(PlkChecker *c, const Chunk *chunk, size_t i, PlkFinding *f)
{
    f->slot = slot_of(chunk, i);
    f->offset = chunk->offset + 4 * i;
    f->fixed = c->mending && f->rank != PLK_FINDING_FATAL;
    return plk_checker_report(c, f);
}

static int wrong_entry(PlkChecker *c, Chunk *chunk, size_t i, PlkFinding *f)
{
    int r = 0;

    switch (c->pass) {
    case PLK_PASS_SURVEY:
        c->n_lossless += f->rank == PLK_FINDING_LOSSLESS;
        c->n_lossy += f->rank == PLK_FINDING_LOSSY;
        break;
    case PLK_PASS_REPORT:
        r = report_entry(c, chunk, i, f);
        if (r == 0 && plk_checker_writes(c))
            set_entry(c, chunk, i, 0);
        break;
    case PLK_PASS_COPY: /* it was cleared by the pass before, and that is durable */
        assert(!"an entry that names nothing is left");
    }
    return r;
}

/* The entry keeps the cluster, the extension goes. */
static int entry_in_extension(PlkChecker *c, Chunk *chunk, size_t i)
{
    PlkFinding f = {.kind = PLK_FOUND_DUPLICATE, .rank = PLK_FINDING_LOSSY, .other = PLK_NO_SLOT};

    f.value = f.becomes = chunk->slots[i];
    c->n_lossy += c->pass == PLK_PASS_SURVEY;
    return c->pass == PLK_PASS_REPORT ? report_entry(c, chunk, i, &f) : 0;
}

static size_t bounce_bytes(const PlkChecker *c)
{
    return (size_t)PLK_MIN(BOUNCE_BYTES, 1ull << c->cluster_shift);
}

static int copy_cluster(Walk *w, uint64_t from, uint64_t to)
{
    PlkChecker *c = w->c;
    const PlkProgress *p = c->progress;
    uint64_t bytes = 1ull << c->cluster_shift, done = to - c->used_end;
    int r;

    /* Nobody names what is overwritten here: the survey has seen every entry. */
    assert(to >= c->used_end && to > from && from >= c->first_cluster);
    r = plk_io_copy(c->io, to * bytes, c->io, from * bytes, bytes, &w->method, w->bounce,
                    bounce_bytes(c), PLK_POINT_DATA_COPY);
    c->size = PLK_MAX(c->size, (to + 1) * bytes);
    if (r == 0 && p && p->update(p->arg, "copying shared clusters", done * bytes, c->n_shared_entries * bytes))
        r = -ECANCELED;
    return r;
}

/* Not the first slot of this cluster. */
static int shared_entry(Walk *w, size_t i)
{
    PlkChecker *c = w->c;
    Chunk *chunk = w->chunk;
    uint32_t cluster = chunk->slots[i];
    PlkFinding f = {.kind = PLK_FOUND_DUPLICATE, .rank = c->shared_rank, .other = PLK_NO_SLOT, .value = cluster};
    PlkSharedCluster *s;
    int r;

    if (c->pass == PLK_PASS_SURVEY)
        return note_shared(c, cluster);
    f.becomes = c->copy_to++;
    if (c->pass == PLK_PASS_REPORT) {
        s = find_shared(c, cluster);
        f.other = s ? s->slot : PLK_NO_SLOT;
        return report_entry(c, chunk, i, &f);
    }
    r = copy_cluster(w, cluster, f.becomes);
    if (r == 0) {
        set_entry(c, chunk, i, (uint32_t)(c->header.version == 1 ? f.becomes * c->header.cluster_sectors : f.becomes));
        chunk->copied = true;
    }
    return r;
}

static int check_entry(Walk *w, size_t i)
{
    PlkChecker *c = w->c;
    Chunk *chunk = w->chunk;
    uint32_t raw = plk_le32(chunk->entries[i]), cluster = chunk->slots[i];
    PlkFinding f;

    if (is_wrong(c, slot_of(chunk, i), raw, cluster, &f)) {
        /* What a pass of copies wrote itself lies behind the file as it was found. */
        bool ours = c->pass == PLK_PASS_COPY && cluster >= c->file_clusters;
        return w->first_window && !ours ? wrong_entry(c, chunk, i, &f) : 0;
    }
    if (!in_window(c, cluster))
        return 0;
    if (take_from_extension(c, cluster)) {
        mark_used(c, cluster);
        note_first_slot(c, cluster, slot_of(chunk, i));
        return entry_in_extension(c, chunk, i);
    }
    if (!mark_used(c, cluster))
        return shared_entry(w, i);
    if (c->pass == PLK_PASS_REPORT)
        note_first_slot(c, cluster, slot_of(chunk, i));
    return 0;
}

/* ---- all of them ---- */

static int write_chunk(PlkChecker *c, Chunk *chunk)
{
    size_t from = chunk->changed_from, n = chunk->changed_to - from;
    int r = 0;

    if (n == 0)
        return 0;
    assert(plk_checker_writes(c) && chunk->offset + 4 * from >= PLK_HEADER_BYTES);
    if (chunk->copied)
        r = plk_io_sync(c->io, PLK_POINT_DATA_SYNC);
    return r < 0 ? r
                 : plk_io_write(c->io, chunk->entries + from, 4 * n, chunk->offset + 4 * from, PLK_POINT_META_BAT);
}

static int check_chunk(Walk *w)
{
    PlkChecker *c = w->c;
    Chunk *chunk = w->chunk;
    size_t first = chunk->offset == 0 ? PLK_BAT_FIRST_SLOT : 0, n = chunk->bytes / 4;
    int r = plk_io_read(c->io, chunk->entries, chunk->bytes, chunk->offset, PLK_POINT_BAT_READ);

    if (r < 0 || n <= first || plk_is_zero(chunk->entries + first, 4 * (n - first)))
        return r;
    plk_bat_decode(c->header.version, c->header.cluster_sectors, (const uint8_t *)chunk->entries, chunk->slots, n);
    chunk->changed_from = chunk->changed_to = 0;
    chunk->copied = false;
    for (size_t i = first; r == 0 && i < n; i++)
        if (plk_le32(chunk->entries[i]) != 0)
            r = check_entry(w, i);
    return r < 0 ? r : write_chunk(c, chunk);
}

/* What the file holds of the BAT area; of an entry at its end that is cut short, too. */
static uint64_t find_area_end(const PlkChecker *c)
{
    return PLK_MIN((uint64_t)c->header.first_block_sectors * PLK_SECTOR, plk_round_up(c->size, 4));
}

static Chunk *make_chunk(const PlkChecker *c)
{
    uint64_t area = PLK_MAX(find_area_end(c), 1u); /* a pass of copies may lengthen the file */
    size_t room = (size_t)PLK_MIN(CHUNK_BYTES, plk_round_up(area, PLK_BAT_PAGE_BYTES));
    Chunk *chunk = plk_malloc(sizeof *chunk + 2 * room);

    if (!chunk)
        return NULL;
    chunk->room = room;
    chunk->slots = (uint32_t *)(chunk->entries + room / 4);
    return chunk;
}

/* Where the file has data. */
static int walk_entries(Walk *w)
{
    PlkChecker *c = w->c;
    uint64_t area_end = find_area_end(c), at = 0, start, end;
    int r = 0;

    while (r == 0 && at < area_end) {
        r = plk_io_next_data(c->io, at, &start, &end);
        start = plk_round_down(PLK_MAX(start, at), PLK_BAT_PAGE_BYTES);
        if (r < 0 || start >= area_end || end <= at)
            break;
        end = PLK_MIN(plk_round_up(end, PLK_BAT_PAGE_BYTES), area_end);
        for (at = PLK_MAX(start, at); r == 0 && at < end; at += w->chunk->bytes) {
            w->chunk->offset = at;
            w->chunk->bytes = (size_t)PLK_MIN(w->chunk->room, end - at);
            r = check_chunk(w);
        }
    }
    return r;
}

/* ---- unnamed clusters ---- */

static uint64_t used_word(const PlkChecker *c, uint64_t i)
{
    return c->ext && !c->drops_ext ? c->used[i] | c->ext_used[i] : c->used[i];
}

/* The first cluster from `from` on, below `end`, that is used or not, as wanted; `end` if there is none. */
static uint64_t find_cluster(const PlkChecker *c, uint64_t from, uint64_t end, bool used)
{
    while (from < end) {
        uint64_t bit = from - c->window_from, word = used_word(c, bit / 64);

        word = (used ? word : ~word) >> bit % 64;
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
        uint64_t hole = find_cluster(c, at, end, false);

        at = find_cluster(c, hole, end, true);
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

static int walk_window(Walk *w)
{
    PlkChecker *c = w->c;
    size_t bytes = (size_t)plk_div_up(c->window_to - c->window_from, 64) * 8;
    int r = -ENOMEM;

    c->used = plk_map_zeroed(bytes);
    c->ext_used = c->ext ? plk_map_zeroed(bytes) : NULL;
    if (c->used && (c->ext_used || !c->ext)) {
        plk_checker_mark_extension(c);
        r = walk_entries(w);
        if (r == 0 && c->pass == PLK_PASS_REPORT)
            r = report_holes(c);
    }
    if (c->used)
        plk_unmap_zeroed(c->used, bytes);
    if (c->ext_used)
        plk_unmap_zeroed(c->ext_used, bytes);
    c->used = c->ext_used = NULL;
    return r;
}

int plk_checker_walk_bat(PlkChecker *c, PlkCheckPass pass)
{
    /* An entry is a 32-bit number: what lies higher can not be named. */
    uint64_t end = PLK_MAX(PLK_MIN(c->file_clusters, 1ull << 32), c->first_cluster + 1);
    PLK_FREE Chunk *chunk = make_chunk(c);
    PLK_FREE void *bounce = pass == PLK_PASS_COPY ? plk_malloc(bounce_bytes(c)) : NULL;
    Walk w = {.c = c, .chunk = chunk, .bounce = bounce};
    int r = chunk && (bounce || pass != PLK_PASS_COPY) ? 0 : -ENOMEM;

    assert(pass != PLK_PASS_COPY || plk_checker_writes(c));
    atomic_init(&w.method, PLK_COPY_CLONE);
    c->pass = pass;
    c->copy_to = c->used_end;
    if (pass == PLK_PASS_SURVEY)
        c->slots_end = c->ext_end = c->first_cluster;
    for (uint64_t from = c->first_cluster; r == 0 && from < end; from = c->window_to) {
        c->window_from = from;
        c->window_to = PLK_MIN(from + WINDOW_CLUSTERS, end);
        w.first_window = from == c->first_cluster;
        r = walk_window(&w);
    }
    if (pass == PLK_PASS_SURVEY)
        sort_shared(c);
    return r;
}
