/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A bigger disk in the same file. When the bigger BAT needs room where data clusters lie, these move to the
 * end first.
 *
 *  1  the in-use mark is durable (prepare_write)
 *  2  data clusters below the new first block are copied to the end, synced, their slots rewritten, synced;
 *     batch by batch (relocate.c): the old header names everything, wherever it lies
 *  3  the room of the new slots is zeroed, synced: it held moved data, or bytes behind the old BAT that
 *     no reader ever looked at and that must not become names
 *  4  the header with the new size, count and first block, synced: this instant is the growth
 *
 * Until 4 the old header is right, from 4 on the new one; a crash costs at most a tail that nobody names.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/math.h"
#include "image/relocate.h"

typedef struct Evacuation {
    PlkBatch batch;
    uint64_t below; /* clusters below this one must go */
    uint64_t next;  /* the next one goes here */
    uint64_t count; /* while counting */
} Evacuation;

static bool is_in_the_way(const Evacuation *e, uint32_t slot)
{
    return slot != PLK_SLOT_NONE && slot < e->below;
}

static int count_page(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Evacuation *e = arg;

    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++)
        e->count += is_in_the_way(e, slots[i]);
    return 0;
}

static int evacuate_page(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Evacuation *e = arg;
    uint32_t *edit = NULL;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < PLK_BAT_PAGE_SLOTS; i++) {
        if (!is_in_the_way(e, slots[i]))
            continue;
        if (!edit)
            r = plk_batch_page(&e->batch, page, slots, &edit);
        if (r == 0)
            r = plk_batch_move(&e->batch, &edit[i], (uint32_t)e->next++);
    }
    return r;
}

/* Can entries of this version name every cluster up to `end`? */
static bool entries_reach(const PlkHeader *h, uint64_t end)
{
    uint64_t limit = h->version == 1 ? UINT32_MAX / h->cluster_sectors + 1ull : PLK_SLOT_BEYOND;

    return end <= limit;
}

static int evacuate(PlkImage *img, uint32_t new_first, const PlkProgress *progress)
{
    Evacuation e = {.below = new_first, .next = PLK_MAX(img->alloc.next, new_first)};
    int r;

    if (new_first <= img->first_cluster)
        return 0;
    r = plk_image_walk_bat(img, count_page, &e);
    if (r < 0)
        return r;
    if (!entries_reach(&img->header, e.next + e.count))
        return -EFBIG;
    /* Room for the BAT and whole clusters in any case, also when nothing moves. */
    r = plk_io_truncate(img->io, (e.next + e.count) << img->cluster_shift, PLK_POINT_DATA_EXTEND);
    if (r == 0)
        r = plk_batch_init(&e.batch, img, "growing", e.count << img->cluster_shift, progress);
    if (r < 0)
        return r;
    r = plk_image_walk_bat(img, evacuate_page, &e);
    if (r == 0)
        r = plk_batch_publish(&e.batch);
    plk_batch_clear(&e.batch);
    return r;
}

/* Step 3. Nothing in this range is named any more, durably. */
static int clear_new_slots(PlkImage *img, uint64_t area_end)
{
    uint64_t from = plk_bat_offset(img->header.bat_entries);
    int r;

    if (from >= area_end)
        return 0;
    plk_io_set_meta_end(img->io, PLK_MAX(area_end, plk_image_offset(img, img->first_cluster)));
    r = plk_io_zero(img->io, from, area_end - from, PLK_POINT_META_INIT);
    return r < 0 ? r : plk_io_sync(img->io, PLK_POINT_META_SYNC);
}

/* Step 4. After a failed write the old header counts, and is what closing writes. The flags are those of now:
 * becoming ready to write has changed them. */
static int switch_header(PlkImage *img, const PlkHeader *header)
{
    PlkHeader old = img->header;
    int r;

    img->header = *header;
    img->header.flags = old.flags;
    r = plk_image_write_header(img, PLK_IN_USE_OPEN, PLK_POINT_META_HEADER);
    if (r < 0) {
        img->header = old;
        return r;
    }
    img->first_cluster = header->first_block_sectors / header->cluster_sectors;
    return plk_io_sync(img->io, PLK_POINT_META_SYNC);
}

static int grow_ploop(PlkImage *img, const PlkHeader *header, const PlkProgress *progress)
{
    uint32_t new_first = header->first_block_sectors / header->cluster_sectors;
    int r, relearned;

    r = evacuate(img, new_first, progress);
    if (r == 0)
        r = clear_new_slots(img, (uint64_t)header->first_block_sectors * PLK_SECTOR);
    if (r == 0)
        r = switch_header(img, header);
    plk_io_set_meta_end(img->io, plk_image_offset(img, img->first_cluster));
    relearned = plk_image_relearn(img);
    return r < 0 ? r : relearned;
}

/* The header after the growth. */
static int plan_header(const PlkImage *img, uint64_t size_sectors, PlkHeader *ret, PlkError *err)
{
    const PlkHeader *old = &img->header;

    if (size_sectors % old->cluster_sectors)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "image '%s': a size of %" PRIu64
                        " sectors must be aligned to the cluster block size %" PRIu32,
                        img->io->name, size_sectors, old->cluster_sectors);
    if (plk_header_make(old->version, size_sectors, old->cluster_sectors, ret, err) < 0)
        return -1;
    return 0;
}

static int check_raw_size(const PlkImage *img, uint64_t size_sectors, PlkError *err)
{
    if (size_sectors > INT64_MAX / PLK_SECTOR ||
        size_sectors / img->header.cluster_sectors >= UINT32_MAX - 16)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "raw image '%s' cannot have %" PRIu64 " sectors",
                        img->io->name, size_sectors);
    return 0;
}

static int fail_grow(PlkImage *img, int r, PlkError *err)
{
    if (r == -EFBIG)
        return plk_fail(
            err, PLK_ERROR_NO_SPACE,
            "image '%s' cannot grow: its file would become longer than version %d entries can name",
            img->io->name, img->header.version);
    return plk_image_fail(img, r, "grow", err);
}

int plk_image_grow(PlkImage *img, uint64_t size_sectors, const PlkProgress *progress, PlkError *err)
{
    bool raw = img->kind == PLK_IMAGE_RAW;
    PlkHeader header;
    int r;

    if (size_sectors == img->header.size_sectors)
        return 0;
    if (size_sectors < img->header.size_sectors)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "image '%s': the new size %" PRIu64 " is less than the old size %" PRIu64
                        " (sectors)",
                        img->io->name, size_sectors, img->header.size_sectors);
    if (raw ? check_raw_size(img, size_sectors, err) : plan_header(img, size_sectors, &header, err))
        return -1;
    r = plk_image_prepare_write(img);
    if (r == 0)
        r = raw ? plk_image_set_raw_length(img, size_sectors * PLK_SECTOR, PLK_POINT_DATA_EXTEND) : grow_ploop(img, &header, progress);
    return r < 0 ? fail_grow(img, r, err) : 0;
}
