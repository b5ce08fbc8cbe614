/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which clusters of one file are free, and the rules for handing them out.
 *
 *  1. A cluster is handed out when no slot names it, neither on disk nor in memory (invariants b, d): it is
 *     appended at `next`, or it was unnamed when the session began, or it went freed -> pending -> sealed
 *     -> free, the last step after the flush that cleared its slot was durable.
 *  2. It reads as zeros (c): appended clusters are beyond what the file ever held, since the tail was
 *     cut off first; reused ones are punched or zeroed when they are handed out.
 *  3. Memory is bounded: one bit a cluster below the window, and at most PENDING_MAX waiting frees. What
 *     does not fit is punched and forgotten; the next session's scan finds it again.
 */
#include "image/alloc.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "base/seeded.h"

#define WINDOW_MAX (1ull << 25)     /* clusters tracked for reuse: a bitmap of 4 MiB */
#define PENDING_MAX 65536u          /* frees between two flushes */
#define EXTEND_BYTES (8ull << 20)   /* the file grows by this much at a time */

void plk_allocator_init(PlkAllocator *a)
{
    pthread_mutex_init(&a->lock, NULL);
}

void plk_allocator_clear(PlkAllocator *a)
{
    free(a->free_bits);
    free(a->pending.items);
    free(a->sealed.items);
    pthread_mutex_destroy(&a->lock);
}

static bool test_bit(const uint64_t *bits, uint64_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

static void set_bit(uint64_t *bits, uint64_t i)
{
    bits[i / 64] |= 1ull << i % 64;
}

static void clear_bit(uint64_t *bits, uint64_t i)
{
    bits[i / 64] &= ~(1ull << i % 64);
}

/* The biggest cluster index an entry can hold, plus one. */
static uint64_t index_limit(const PlkImage *img)
{
    return img->header.version == 1 ? 0xffffffffull / img->header.cluster_sectors : 0xfffffffeull;
}

/* Clusters the bitmaps cover: all that a file without leaks can have, as far as memory is allowed to go. */
static uint64_t window_of(const PlkImage *img)
{
    uint64_t full = (uint64_t)img->first_cluster + img->header.bat_entries;

    return PLK_MIN(PLK_MAX(full, atomic_load(&img->file_clusters)) + 64, WINDOW_MAX);
}

static bool ensure_bits(PlkImage *img)
{
    PlkAllocator *a = &img->alloc;
    uint64_t window = window_of(img);

    if (!a->free_bits) {
        a->free_bits = plk_calloc(plk_div_up(window, 64), 8);
        a->window = a->free_bits ? window : 0;
    }
    return a->free_bits != NULL;
}

/* ---- the rules as asserts: docs/crash-safety.md, invariants 1 to 4 ---- */

#ifndef NDEBUG
bool plk_allocator_holds(const PlkImage *img)
{
    const PlkAllocator *a = &img->alloc;

    return a->next >= img->first_cluster && a->next <= a->end && a->n_free <= a->next - img->first_cluster &&
           (a->n_free == 0 || (a->free_bits && a->cursor < a->window));
}
#endif

bool plk_image_may_name(PlkImage *img, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    PlkAllocator *a = &img->alloc;
    PLK_LOCKED(&a->lock);

    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++) {
        uint32_t c = slots[i];

        if (c == PLK_SLOT_NONE)
            continue;
        if (c < img->first_cluster || c >= a->next)
            return false;
        if (a->n_free > 0 && c < a->window && test_bit(a->free_bits, c))
            return false;
    }
    return true;
}

/* ---- learning the state of an existing file ---- */

typedef struct Scan {
    PlkImage *img;
    uint64_t *named; /* one bit a cluster below window */
    uint64_t window, highest, n_named;
} Scan;

static int scan_page(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Scan *s = arg;
    PlkImage *img = s->img;

    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++) {
        uint32_t c = slots[i];
        uint64_t at = (uint64_t)page * PLK_BAT_PAGE_BYTES + 4ull * i;
        const char *what = NULL;

        if (c == PLK_SLOT_NONE)
            continue;
        if (c == PLK_SLOT_BAD)
            what = "points into the header or between clusters";
        else if (c == PLK_SLOT_BEYOND)
            what = "points beyond the end of the file";
        else if (c < s->window && test_bit(s->named, c))
            what = "names a cluster that another entry names too";
        if (what) {
            plk_corrupt(&img->damage, img->io->name, at,
                        "the BAT entry %s; run 'ploop check -F' on the image before writing to it", what);
            return -EUCLEAN;
        }
        if (c < s->window)
            set_bit(s->named, c);
        s->n_named++;
        s->highest = PLK_MAX(s->highest, c);
    }
    return 0;
}

/* Turn the bitmap of named clusters into the bitmap of unnamed ones below the append position. */
static void adopt_unnamed(PlkAllocator *a, Scan *s)
{
    uint64_t end = PLK_MIN(a->next, s->window);

    for (uint64_t i = 0; i < plk_div_up(end, 64); i++)
        s->named[i] = ~s->named[i];
    for (uint64_t i = 0; i < s->img->first_cluster; i++)
        clear_bit(s->named, i);
    for (uint64_t i = end; i % 64 != 0; i++)
        clear_bit(s->named, i);
    for (uint64_t i = 0; i < plk_div_up(end, 64); i++)
        a->n_free += (uint64_t)__builtin_popcountll(s->named[i]);
    free(a->free_bits); /* of a scan whose session could not begin */
    a->free_bits = PLK_TAKE(s->named);
    a->window = s->window;
}

int plk_allocator_scan(PlkImage *img)
{
    PlkAllocator *a = &img->alloc;
    Scan s = {.img = img};
    int r;

    s.window = window_of(img);
    s.named = plk_calloc(plk_div_up(s.window, 64), 8);
    if (!s.named)
        return -ENOMEM;
    r = plk_image_walk_bat(img, scan_page, &s);
    if (r == 0) {
        a->next = s.n_named ? s.highest + 1 : img->first_cluster;
        a->end = atomic_load(&img->file_clusters);
        a->n_free = 0;
        if (a->next - img->first_cluster > s.n_named)
            adopt_unnamed(a, &s);
    }
    free(s.named);
    return r;
}

/* Free clusters at the end are tail too: their names were durably gone before they became free. */
static void lower_next(PlkImage *img)
{
    PlkAllocator *a = &img->alloc;

    while (a->n_free > 0 && a->next <= a->window && test_bit(a->free_bits, a->next - 1)) {
        clear_bit(a->free_bits, --a->next);
        a->n_free--;
    }
    assert(plk_allocator_holds(img));
}

int plk_allocator_cut_tail(PlkImage *img)
{
    PlkAllocator *a = &img->alloc;
    uint64_t have, want;
    int r = plk_io_size(img->io, &have);

    if (r < 0)
        return r;
    lower_next(img);
    want = a->next << img->cluster_shift;
    if (have != want) {
        r = plk_io_truncate(img->io, want, PLK_POINT_TAIL_TRUNCATE);
        if (r < 0)
            return r;
    }
    a->end = a->next;
    atomic_store(&img->file_clusters, a->end);
    return 0;
}

/* ---- handing out ---- */

static int extend_locked(PlkImage *img)
{
    PlkAllocator *a = &img->alloc;
    uint64_t limit = index_limit(img), end;
    int r = -EOPNOTSUPP;

    if (a->next >= limit)
        return -ENOSPC;
    end = PLK_MIN(a->end + PLK_MAX(EXTEND_BYTES >> img->cluster_shift, 1), limit);
    if (img->alloc_full) {
        r = plk_io_allocate(img->io, a->end << img->cluster_shift, (end - a->end) << img->cluster_shift,
                            PLK_POINT_DATA_EXTEND);
        if (r < 0 && r != -EOPNOTSUPP)
            return r;
    }
    if (r < 0)
        r = plk_io_truncate(img->io, end << img->cluster_shift, PLK_POINT_DATA_EXTEND);
    if (r < 0)
        return r;
    a->end = end;
    atomic_store(&img->file_clusters, end);
    return 0;
}

/* The next unnamed cluster from the cursor on; n_free says there is one. */
static uint32_t take_free_locked(PlkAllocator *a)
{
    uint64_t words = plk_div_up(a->window, 64), w = a->cursor / 64;

    while (a->free_bits[w] == 0)
        w = (w + 1) % words;
    a->cursor = w * 64 + (uint64_t)__builtin_ctzll(a->free_bits[w]);
    clear_bit(a->free_bits, a->cursor);
    a->n_free--;
    return (uint32_t)a->cursor;
}

static int take_locked(PlkImage *img, uint32_t *ret, bool *ret_reused)
{
    PlkAllocator *a = &img->alloc;
    int r;

    *ret_reused = a->n_free > 0;
    if (a->n_free > 0) {
        *ret = take_free_locked(a);
        return 0;
    }
    if (a->next >= a->end) {
        r = extend_locked(img);
        if (r < 0)
            return r;
    }
    *ret = (uint32_t)a->next++;
    assert(plk_allocator_holds(img));
    return 0;
}

int plk_image_alloc_cluster(PlkImage *img, uint32_t *ret)
{
    uint32_t cluster;
    bool reused;
    int r;

    pthread_mutex_lock(&img->alloc.lock);
    r = take_locked(img, &cluster, &reused);
    pthread_mutex_unlock(&img->alloc.lock);
    if (r < 0)
        return r;
    if (reused && !PLK_SEEDED(OLD_BYTES)) {
        r = plk_io_zero(img->io, plk_image_offset(img, cluster), img->cluster_bytes, PLK_POINT_DATA_ZERO);
        if (r < 0) {
            plk_image_unalloc_cluster(img, cluster);
            return r;
        }
    }
    *ret = cluster;
    return 0;
}

static void put_free_locked(PlkImage *img, uint32_t cluster)
{
    PlkAllocator *a = &img->alloc;

    if (!ensure_bits(img) || cluster >= a->window)
        return;
    set_bit(a->free_bits, cluster);
    a->n_free++;
}

void plk_image_unalloc_cluster(PlkImage *img, uint32_t cluster)
{
    pthread_mutex_lock(&img->alloc.lock);
    put_free_locked(img, cluster);
    pthread_mutex_unlock(&img->alloc.lock);
}

/* ---- taking back ---- */

int plk_image_free_cluster(PlkImage *img, uint32_t cluster)
{
    PlkAllocator *a = &img->alloc;
    PLK_LOCKED(&a->lock);

    assert(cluster >= img->first_cluster && cluster < a->next);
    if (PLK_SEEDED(EARLY_REUSE)) {
        put_free_locked(img, cluster);
        return 0;
    }
    if (!a->pending.items) {
        a->pending.items = plk_malloc(PENDING_MAX * sizeof *a->pending.items);
        if (!a->pending.items)
            return -ENOMEM;
    }
    if (a->pending.n == PENDING_MAX)
        return -EAGAIN;
    a->pending.items[a->pending.n++] = cluster;
    return 0;
}

void plk_image_seal_frees(PlkImage *img)
{
    PlkAllocator *a = &img->alloc;
    PlkClusterList t;

    PLK_LOCKED(&a->lock);
    assert(a->sealed.n == 0); /* one flush at a time */
    t = a->sealed;
    a->sealed = a->pending;
    a->pending = t;
}

void plk_image_unseal_frees(PlkImage *img)
{
    PlkAllocator *a = &img->alloc;
    size_t room;

    PLK_LOCKED(&a->lock);
    if (a->sealed.n == 0)
        return;
    if (!a->pending.items) {
        PlkClusterList t = a->pending;
        a->pending = a->sealed;
        a->sealed = t;
        return;
    }
    /* What does not fit stays unused until the next session finds it. */
    room = PLK_MIN(a->sealed.n, PENDING_MAX - a->pending.n);
    memcpy(a->pending.items + a->pending.n, a->sealed.items, room * sizeof *a->sealed.items);
    a->pending.n += room;
    a->sealed.n = 0;
}

static int by_cluster(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

void plk_image_release_frees(PlkImage *img)
{
    PlkAllocator *a = &img->alloc;
    PlkClusterList *l = &a->sealed;

    if (l->n == 0) /* only the flusher touches the sealed list */
        return;
    qsort(l->items, l->n, sizeof *l->items, by_cluster);
    for (size_t i = 0, run; i < l->n; i += run) {
        for (run = 1; i + run < l->n && l->items[i + run] == l->items[i] + run;)
            run++;
        /* Space is a gift, not a promise: a failure here loses nothing. */
        (void)plk_io_punch(img->io, plk_image_offset(img, l->items[i]), (uint64_t)run << img->cluster_shift,
                           PLK_POINT_FREE_PUNCH);
    }
    PLK_LOCKED(&a->lock);
    for (size_t i = 0; i < l->n; i++)
        put_free_locked(img, l->items[i]);
    l->n = 0;
    assert(plk_allocator_holds(img));
}
