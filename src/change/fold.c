/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The copy engine of merging. For each page of the BAT it resolves which source owns a slot, finds the slot's
 * place in the target (its own cluster, else a new one) and copies. What lies side by side in both files is
 * copied in one call, for a reflink costs the same whatever its length.
 *
 * Order, a batch of BAT pages at a time: data, sync, pages, sync. A crash leaves clusters overwritten in
 * place by what the source above says anyway, and new ones that nothing names: repeating mends both.
 */
#include "change/fold.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "base/seeded.h"
#include "image/relocate.h"

#define RUN_MAX (64u << 20)
#define BOUNCE_BYTES (1u << 20)
#define BATCH_PAGES 256
#define PROGRESS_NS 100000000

/* A copy that waits for more of the same. */
typedef struct Run {
    PlkImage *source;
    uint64_t from, to, len;
    bool fresh; /* into clusters that are zeros already */
} Run;

typedef uint32_t Slots[PLK_BAT_PAGE_SLOTS];

typedef struct Fold {
    PlkImage *const *sources;
    size_t n;
    PlkImage *target;
    unsigned flags; /* PlkFoldFlags */
    _Atomic int method;
    uint8_t *bounce;
    size_t bounce_bytes;
    Run run;
    Slots *batch; /* rewritten target pages, their data copied or in `run` */
    uint32_t batch_pages[BATCH_PAGES];
    size_t n_batch, batch_room;
    const PlkProgress *progress;
    uint64_t done, total, reported_at;
    PlkImage *damaged; /* whose BAT made it -EUCLEAN */
} Fold;

/* One page: which source owns each slot, and where in it. */
typedef struct Owners {
    PlkImage *image[PLK_BAT_PAGE_SLOTS];
    Slots cluster;
} Owners;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int report(Fold *f, bool last)
{
    uint64_t now;

    if (!f->progress)
        return 0;
    now = now_ns();
    if (!last && now - f->reported_at < PROGRESS_NS)
        return 0;
    f->reported_at = now;
    return f->progress->update(f->progress->arg, "merging", last ? f->total : f->done, f->total) && !last
               ? -ECANCELED
               : 0;
}

/* ---- copying ---- */

/* Only what the source really holds: the rest of a fresh target is zeros without being written. */
static int copy_data(Fold *f, const Run *run)
{
    uint64_t at = run->from, end = run->from + run->len, start, stop;
    int r = 0;

    while (r == 0 && at < end) {
        r = plk_io_next_data(run->source->io, at, &start, &stop);
        if (r < 0 || start >= end || start >= stop)
            break;
        start = PLK_MAX(start, at);
        stop = PLK_MIN(stop, end);
        r = plk_io_copy(f->target->io, run->to + (start - run->from), run->source->io, start, stop - start,
                        &f->method, f->bounce, f->bounce_bytes, PLK_POINT_DATA_COPY);
        at = stop;
    }
    return r;
}

static int flush_run(Fold *f)
{
    Run run = f->run;
    int r;

    f->run.len = 0;
    if (run.len == 0)
        return 0;
    /* A clone carries the holes along, and each call has its price: then one call is best. */
    if (run.fresh && !f->target->alloc_full && f->method != PLK_COPY_CLONE)
        r = copy_data(f, &run);
    else
        r = plk_io_copy(f->target->io, run.to, run.source->io, run.from, run.len, &f->method, f->bounce,
                        f->bounce_bytes, PLK_POINT_DATA_COPY);
    return r < 0 ? r : report(f, false);
}

static int add_to_run(Fold *f, PlkImage *source, uint64_t from, uint64_t to, uint64_t len, bool fresh)
{
    Run *run = &f->run;
    int r;

    if (run->len && run->source == source && run->fresh == fresh && run->from + run->len == from &&
        run->to + run->len == to && run->len + len <= PLK_MAX(RUN_MAX, len)) {
        run->len += len;
        return 0;
    }
    r = flush_run(f);
    *run = (Run){source, from, to, len, fresh};
    return r;
}

static int flush_batch(Fold *f)
{
    int r = flush_run(f);

    if (r == 0 && !PLK_SEEDED(COPY_UNSYNCED))
        r = plk_io_sync(f->target->io, PLK_POINT_DATA_SYNC);
    for (size_t i = 0; r == 0 && i < f->n_batch; i++) {
        assert(plk_image_may_name(f->target, f->batch[i]));
        r = plk_image_write_page(f->target, f->batch_pages[i], f->batch[i]);
    }
    if (r == 0 && f->n_batch)
        r = plk_io_sync(f->target->io, PLK_POINT_META_SYNC);
    f->n_batch = 0;
    return r;
}

/* ---- one page ---- */

static uint64_t cluster_at(uint32_t page, uint32_t i)
{
    return (uint64_t)page * PLK_BAT_PAGE_SLOTS + i - PLK_BAT_FIRST_SLOT;
}

/* A raw image owns every cluster up to its end, but those that are holes are nothing to copy. */
static int read_raw_page(PlkImage *img, uint32_t page, Slots slots)
{
    uint64_t data_start = 0, data_end = 0;
    int r = 0;

    memset(slots, 0, sizeof(Slots));
    for (uint32_t i = page == 0 ? PLK_BAT_FIRST_SLOT : 0; i < PLK_BAT_PAGE_SLOTS; i++) {
        uint64_t cluster = cluster_at(page, i), at = cluster << img->cluster_shift;

        if (at >= img->raw_bytes)
            break;
        if (at >= data_end)
            r = plk_io_next_data(img->io, at, &data_start, &data_end);
        if (r < 0)
            return r;
        if (data_start >= data_end)
            break;
        /* Cluster 0 of a raw image is a cluster like any other: the index is kept one up. */
        if (data_start < at + img->cluster_bytes && data_end > at)
            slots[i] = (uint32_t)cluster + 1;
    }
    return 0;
}

static int find_owners(Fold *f, uint32_t page, Owners *o, bool *ret_any)
{
    Slots slots;
    int r;

    memset(o->image, 0, sizeof o->image);
    *ret_any = false;
    for (size_t s = 0; s < f->n; s++) {
        PlkImage *img = f->sources[s];
        bool raw = img->kind == PLK_IMAGE_RAW;

        r = raw ? read_raw_page(img, page, slots) : plk_image_read_page(img, page, slots);
        if (r < 0)
            return r;
        for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++) {
            if (slots[i] == PLK_SLOT_NONE || o->image[i])
                continue;
            o->image[i] = img;
            o->cluster[i] = slots[i] - raw;
            *ret_any = true;
        }
    }
    return 0;
}

static int damaged(Fold *f, PlkImage *img)
{
    f->damaged = img;
    return -EUCLEAN;
}

/* Where the cluster goes in the target; *slot is its entry there. */
static int place(Fold *f, uint64_t cluster, uint32_t *slot, uint64_t *ret_to, bool *ret_fresh)
{
    PlkImage *target = f->target;
    int r;

    *ret_fresh = (f->flags & PLK_FOLD_FRESH) != 0;
    if (target->kind == PLK_IMAGE_RAW) {
        *ret_to = cluster << target->cluster_shift;
        return 0;
    }
    if (*slot == PLK_SLOT_BAD || *slot == PLK_SLOT_BEYOND)
        return damaged(f, target);
    if (*slot == PLK_SLOT_NONE) {
        r = plk_image_alloc_cluster(target, slot);
        if (r < 0)
            return r;
        *ret_fresh = true;
    }
    *ret_to = plk_image_offset(target, *slot);
    return 0;
}

static int fold_slot(Fold *f, uint64_t cluster, PlkImage *source, uint32_t entry, uint32_t *slot)
{
    bool is_zero = entry == PLK_SLOT_BEYOND && source->kind != PLK_IMAGE_RAW, fresh;
    uint64_t to, len = f->target->cluster_bytes;
    int r;

    if (entry == PLK_SLOT_BAD && source->kind != PLK_IMAGE_RAW)
        return damaged(f, source);
    if (is_zero && (f->flags & PLK_FOLD_BASE) && f->target->kind != PLK_IMAGE_RAW && *slot == PLK_SLOT_NONE)
        return 0;
    r = place(f, cluster, slot, &to, &fresh);
    if (r < 0)
        return r;
    if (f->target->kind == PLK_IMAGE_RAW) {
        if (to >= f->target->raw_bytes)
            return 0;
        len = PLK_MIN(len, f->target->raw_bytes - to);
    }
    if (is_zero)
        return plk_io_zero(f->target->io, to, len, PLK_POINT_DATA_ZERO);
    return add_to_run(f, source, plk_image_offset(source, entry), to, len, fresh);
}

static int fold_page(Fold *f, uint32_t page, const Owners *o)
{
    uint32_t *slots = f->batch[f->n_batch];
    bool raw = f->target->kind == PLK_IMAGE_RAW, changed = false;
    int r = raw ? 0 : plk_image_read_page(f->target, page, slots);

    for (uint32_t i = 0; r == 0 && i < PLK_BAT_PAGE_SLOTS; i++) {
        uint32_t before = slots[i];

        if (!o->image[i])
            continue;
        f->done = PLK_MIN(cluster_at(page, i) << f->target->cluster_shift, f->total);
        r = fold_slot(f, cluster_at(page, i), o->image[i], o->cluster[i], &slots[i]);
        changed |= !raw && slots[i] != before;
    }
    if (r < 0 || !changed)
        return r;
    f->batch_pages[f->n_batch++] = page;
    return f->n_batch == f->batch_room ? flush_batch(f) : 0;
}

static int fold_pages(Fold *f)
{
    uint32_t pages = plk_bat_page_count(plk_image_slots(f->sources[0]));
    Owners owners;
    int r = 0;
    bool any;

    f->total = (uint64_t)plk_image_slots(f->sources[0]) << f->target->cluster_shift;
    for (uint32_t page = 0; r == 0 && page < pages; page++) {
        f->done = PLK_MIN(((uint64_t)page * PLK_BAT_PAGE_SLOTS) << f->target->cluster_shift, f->total);
        r = find_owners(f, page, &owners, &any);
        if (r == 0 && any)
            r = fold_page(f, page, &owners);
    }
    if (r == 0)
        r = flush_batch(f);
    return r < 0 ? r : report(f, true);
}

/* ---- the whole ---- */

static int check_fit(const PlkImage *upper, const PlkImage *lower, PlkError *err)
{
    if (upper->cluster_bytes != lower->cluster_bytes)
        return plk_fail(err, PLK_ERROR_FORMAT,
                        "images '%s' and '%s' differ in cluster size (%u and %u bytes)", upper->io->name,
                        lower->io->name, upper->cluster_bytes, lower->cluster_bytes);
    /* A raw image may end within a cluster; what holds its copy does not. */
    if (plk_image_slots(upper) < plk_image_slots(lower))
        return plk_fail(err, PLK_ERROR_FORMAT, "image '%s' is smaller than '%s' below it", upper->io->name,
                        lower->io->name);
    return 0;
}

int plk_images_check_fit(PlkImage *const *sources, size_t n, const PlkImage *target, PlkError *err)
{
    for (size_t i = 1; i < n; i++)
        if (check_fit(sources[i - 1], sources[i], err) < 0)
            return -1;
    /* A new file has the uppermost's size from the start, and so may be bigger than the lowest. */
    return check_fit(sources[0], target, err);
}

static int prepare(Fold *f, const PlkProgress *progress, PlkError *err)
{
    PlkImage *upper = f->sources[0], *target = f->target;
    int r;

    if (plk_images_check_fit(f->sources, f->n, target, err) < 0)
        return -1;
    if (target->header.size_sectors < upper->header.size_sectors &&
        plk_image_grow(target, upper->header.size_sectors, progress, err) < 0)
        return -1;
    r = plk_image_prepare_write(target);
    if (r == -EUCLEAN && err)
        *err = target->damage;
    else if (r < 0)
        plk_fail_io(err, PLK_ERROR_WRITE, r, "image '%s': cannot prepare it for merging", target->io->name);
    return r < 0 ? -1 : 0;
}

static int fail_fold(Fold *f, int r, PlkError *err)
{
    if (r == -EUCLEAN && f->damaged && plk_image_explain_bat(f->damaged, err))
        return -1;
    if (r == -EUCLEAN && f->damaged)
        return plk_fail(
            err, PLK_ERROR_FORMAT,
            "image '%s': a block allocation table entry is damaged; run 'ploop check -F' on it before merging",
            f->damaged->io->name);
    if (r == -ECANCELED && f->target->unpublished)
        return plk_fail(err, PLK_ERROR_CANCELLED, "merging into image '%s' was cancelled; all is as before",
                        f->target->io->name);
    if (r == -ECANCELED)
        return plk_fail(err, PLK_ERROR_CANCELLED,
                        "merging into image '%s' was cancelled; the newer state is as before, the older one is partly "
                        "overwritten: merge again to finish",
                        f->target->io->name);
    return plk_fail_io(err, PLK_ERROR_WRITE, r, "cannot merge into image '%s'", f->target->io->name);
}

/* A small disk gets small buffers. */
static int make_buffers(Fold *f)
{
    uint32_t slots = plk_image_slots(f->sources[0]);

    f->bounce_bytes = PLK_MIN(BOUNCE_BYTES, PLK_MAX(slots, 1ull) << f->target->cluster_shift);
    f->bounce = plk_malloc(f->bounce_bytes);
    f->batch_room = PLK_MIN(BATCH_PAGES, PLK_MAX(plk_bat_page_count(slots), 1u));
    f->batch = plk_calloc(f->batch_room, sizeof *f->batch);
    return f->bounce && f->batch ? 0 : -ENOMEM;
}

int plk_images_fold(PlkImage *const *sources, size_t n, PlkImage *target, unsigned flags,
                    const PlkProgress *progress, PlkError *err)
{
    Fold f = {.sources = sources, .n = n, .target = target, .flags = flags, .progress = progress};
    int r;

    assert(n > 0);
    if (prepare(&f, progress, err) < 0)
        return -1;
    r = make_buffers(&f);
    if (r == 0)
        r = fold_pages(&f);
    free(f.bounce);
    free(f.batch);
    if (r == 0)
        return 0;
    if (target->kind == PLK_IMAGE_PLOOP)
        (void)plk_image_relearn(target); /* what was allocated for nothing goes when the image is closed */
    return fail_fold(&f, r, err);
}
