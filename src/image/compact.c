/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Packing a file. With N clusters named, the packed file ends N clusters behind the BAT area, and there
 * are as many unnamed clusters below that end as named ones beyond it: each of these moves into one of those.
 *
 *  1  the in-use mark is durable (prepare_write); like every write session this drops recorded change
 * tracking 2  copy, sync, slots, sync, batch by batch (relocate.c); targets are unnamed, sources lie beyond
 * the end, so no cluster is ever both 3  cut the file
 *
 * Memory: one bit for each cluster of a window of the file (16 MiB = 2^27 clusters at most), the file is done
 * window by window; two BAT walks a window, skipping the BAT's own holes.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "image/relocate.h"

#define WINDOW_CLUSTERS (1ull << 27)

typedef struct Packing {
    PlkBatch batch;
    uint64_t end;               /* where the packed file ends */
    uint64_t from, to;          /* the window */
    uint64_t *named;            /* its bitmap */
    uint64_t cursor;            /* every cluster of the window below it is named by now */
    uint64_t n_named, n_movers; /* of the whole file; to be moved still */
} Packing;

static int count_named(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Packing *p = arg;

    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++)
        p->n_named += slots[i] != PLK_SLOT_NONE;
    return 0;
}

static int count_movers(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Packing *p = arg;

    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++)
        p->n_movers += slots[i] >= p->end;
    return 0;
}

static int mark_named(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Packing *p = arg;

    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++) {
        if (slots[i] >= p->from && slots[i] < p->to) {
            uint64_t bit = slots[i] - p->from;
            p->named[bit / 64] |= 1ull << bit % 64;
        }
    }
    return 0;
}

/* The next unnamed cluster of the window; false when it is full. */
static bool next_hole(Packing *p, uint32_t *ret)
{
    while (p->cursor < p->to) {
        uint64_t bit = p->cursor - p->from, word = ~p->named[bit / 64] >> bit % 64;

        if (word) {
            p->cursor += (uint64_t)__builtin_ctzll(word);
            break;
        }
        p->cursor = p->from + (bit / 64 + 1) * 64;
    }
    if (p->cursor >= p->to)
        return false;
    *ret = (uint32_t)p->cursor++;
    return true;
}

/* 1 = the window is full. */
static int move_page(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Packing *p = arg;
    uint32_t *edit = NULL, hole;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < PLK_BAT_PAGE_SLOTS; i++) {
        if (slots[i] < p->end)
            continue;
        if (!next_hole(p, &hole))
            return 1;
        if (!edit)
            r = plk_batch_page(&p->batch, page, slots, &edit);
        if (r == 0)
            r = plk_batch_move(&p->batch, &edit[i], hole);
        p->n_movers -= r == 0;
    }
    return r;
}

static int fill_window(Packing *p, PlkImage *img)
{
    int r;

    p->cursor = p->from;
    r = plk_image_walk_bat(img, mark_named, p);
    if (r == 0)
        r = plk_image_walk_bat(img, move_page, p);
    if (r >= 0)
        r = plk_batch_publish(&p->batch);
    return r;
}

static int fill_windows(Packing *p, PlkImage *img)
{
    uint64_t first = img->first_cluster, window = PLK_MIN(WINDOW_CLUSTERS, p->end - first);
    size_t bytes = plk_div_up(window, 64) * 8;
    int r = 0;

    for (p->from = first; r == 0 && p->n_movers > 0; p->from = p->to) {
        p->to = PLK_MIN(p->from + window, p->end);
        p->named = plk_map_zeroed(bytes);
        if (!p->named)
            return -ENOMEM;
        r = fill_window(p, img);
        plk_unmap_zeroed(p->named, bytes);
    }
    return r;
}

static int move_all(Packing *p, PlkImage *img, const PlkProgress *progress)
{
    int r = plk_batch_init(&p->batch, img, "packing", p->n_movers << img->cluster_shift, progress);

    if (r < 0)
        return r;
    r = fill_windows(p, img);
    plk_batch_clear(&p->batch);
    return r;
}

/* What moved before an error stays moved. */
static int pack(PlkImage *img, const PlkProgress *progress)
{
    Packing p = {0};
    int r, relearned;

    r = plk_image_walk_bat(img, count_named, &p);
    p.end = img->first_cluster + p.n_named;
    if (r == 0)
        r = plk_image_walk_bat(img, count_movers, &p);
    if (r == 0 && p.n_movers > 0)
        r = move_all(&p, img, progress);
    if (r == 0)
        r = plk_io_truncate(img->io, p.end << img->cluster_shift, PLK_POINT_TAIL_TRUNCATE);
    relearned = plk_image_relearn(img);
    return r < 0 ? r : relearned;
}

int plk_image_compact(PlkImage *img, uint64_t *ret_freed, const PlkProgress *progress, PlkError *err)
{
    uint64_t before, after;
    int r = plk_io_size(img->io, &before);

    if (r == 0 && img->kind == PLK_IMAGE_PLOOP)
        r = plk_image_prepare_write(img);
    if (r == 0 && img->kind == PLK_IMAGE_PLOOP)
        r = pack(img, progress);
    if (r == 0)
        r = plk_io_size(img->io, &after);
    if (r < 0)
        return plk_image_fail(img, r, "pack", err);
    *ret_freed = before > after ? before - after : 0;
    return 0;
}
