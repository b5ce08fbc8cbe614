/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The BAT of one file, a page at a time: the only code that reads or writes its bytes on a live image. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/math.h"
#include "image/image.h"

/* Entries [*ret_first, *ret_end) of the page belong to virtual clusters of this disk. */
static void valid_range(const PlkImage *img, uint32_t page, uint32_t *ret_first, uint32_t *ret_end)
{
    uint64_t start = (uint64_t)page * PLK_BAT_PAGE_SLOTS;
    uint64_t end = (uint64_t)img->header.bat_entries + PLK_BAT_FIRST_SLOT;

    *ret_first = page == 0 ? PLK_BAT_FIRST_SLOT : 0;
    *ret_end = end <= start ? 0 : (uint32_t)PLK_MIN(end - start, PLK_BAT_PAGE_SLOTS);
}

static void classify(const PlkImage *img, uint32_t *slots, uint32_t n)
{
    uint64_t end = atomic_load_explicit(&img->file_clusters, memory_order_relaxed);
    uint32_t first = img->first_cluster;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t c = slots[i];

        if (c == PLK_SLOT_NONE || (c >= first && c < end))
            continue;
        slots[i] = c == PLK_BAT_MISALIGNED || c < first ? PLK_SLOT_BAD : PLK_SLOT_BEYOND;
    }
}

int plk_image_read_page(PlkImage *img, uint32_t page, uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    uint8_t bytes[PLK_BAT_PAGE_BYTES];
    uint32_t first, end;
    int r;

    assert(img->kind == PLK_IMAGE_PLOOP);
    valid_range(img, page, &first, &end);
    memset(slots, 0, PLK_BAT_PAGE_SLOTS * sizeof *slots);
    if (end <= first)
        return 0;
    r = plk_io_read(img->io, bytes + first * 4, (end - first) * 4,
                    (uint64_t)page * PLK_BAT_PAGE_BYTES + first * 4, PLK_POINT_BAT_READ);
    if (r < 0 || plk_is_zero(bytes + first * 4, (end - first) * 4))
        return r;
    plk_bat_decode(img->header.version, img->header.cluster_sectors, bytes + first * 4, slots + first,
                   end - first);
    classify(img, slots + first, end - first);
    return 0;
}

int plk_image_read_slot(PlkImage *img, uint32_t cluster, uint32_t *ret, bool *ret_present)
{
    uint8_t bytes[4];
    int r;

    *ret = cluster;
    *ret_present = cluster < img->header.bat_entries;
    if (!*ret_present || img->kind == PLK_IMAGE_RAW)
        return 0;
    r = plk_io_read(img->io, bytes, sizeof bytes, plk_bat_offset(cluster), PLK_POINT_BAT_READ);
    if (r < 0)
        return r;
    plk_bat_decode(img->header.version, img->header.cluster_sectors, bytes, ret, 1);
    classify(img, ret, 1);
    *ret_present = *ret != PLK_SLOT_NONE;
    return 0;
}

int plk_image_write_page(PlkImage *img, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    uint8_t bytes[PLK_BAT_PAGE_BYTES];
    uint32_t first, end;

    assert(img->kind == PLK_IMAGE_PLOOP && atomic_load(&img->prepared));
    valid_range(img, page, &first, &end);
    if (end <= first)
        return 0;
    if (!plk_bat_encode(img->header.version, img->header.cluster_sectors, slots + first, bytes, end - first))
        return -EFBIG;
    return plk_io_write(img->io, bytes, (end - first) * 4, (uint64_t)page * PLK_BAT_PAGE_BYTES + first * 4,
                        PLK_POINT_META_BAT);
}

int plk_image_walk_bat(PlkImage *img, PlkPageFn *each, void *arg)
{
    uint32_t slots[PLK_BAT_PAGE_SLOTS];
    uint64_t bat_end = plk_bat_offset(img->header.bat_entries), at = 0, start, end;
    int r;

    while (at < bat_end) {
        r = plk_io_next_data(img->io, at, &start, &end);
        if (r < 0)
            return r;
        start = PLK_MAX(start, at);
        if (start >= bat_end || start >= end)
            break;
        end = PLK_MIN(end, bat_end);
        for (at = plk_round_down(start, PLK_BAT_PAGE_BYTES); at < end; at += PLK_BAT_PAGE_BYTES) {
            uint32_t page = (uint32_t)(at / PLK_BAT_PAGE_BYTES);

            r = plk_image_read_page(img, page, slots);
            if (r == 0)
                r = each(arg, page, slots);
            if (r != 0)
                return r;
        }
    }
    return 0;
}

typedef struct Explain {
    PlkImage *img;
    PlkError *err;
} Explain;

static int explain_page(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Explain *e = arg;

    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++) {
        uint64_t at = (uint64_t)page * PLK_BAT_PAGE_BYTES + 4ull * i;

        if (slots[i] != PLK_SLOT_BAD)
            continue;
        plk_corrupt(e->err, e->img->io->name, at,
                    "the BAT entry of cluster %llu points into the header or between clusters; "
                    "run 'ploop check -F'",
                    (unsigned long long)((at - PLK_HEADER_BYTES) / 4));
        return 1;
    }
    return 0;
}

bool plk_image_explain_bat(PlkImage *img, PlkError *err)
{
    Explain e = {.img = img, .err = err};

    return img->kind == PLK_IMAGE_PLOOP && plk_image_walk_bat(img, explain_page, &e) > 0;
}
