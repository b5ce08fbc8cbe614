/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A smaller disk in the same file.
 *
 *  1  the in-use mark is durable (prepare_write)
 *  2  slots beyond the new size are cleared, page by page; clusters that lost their name are given back
 *     to the host after a sync (invariant b)
 *  3  the header with the new size, count and first block, synced
 *
 * A crash before 3 leaves the old size with zeros at its end: that data was to go anyway.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/math.h"
#include "image/relocate.h"

typedef struct Cut {
    PlkImage *img;
    uint32_t first_page, first_index; /* slots from here on go */
} Cut;

/* Everything freed so far is durable: punch it. */
static int release_frees(PlkImage *img)
{
    int r;

    plk_image_seal_frees(img);
    r = plk_io_sync(img->io, PLK_POINT_META_SYNC);
    if (r < 0)
        plk_image_unseal_frees(img);
    else
        plk_image_release_frees(img);
    return r;
}

static int free_one(PlkImage *img, uint32_t cluster)
{
    int r = plk_image_free_cluster(img, cluster);

    if (r != -EAGAIN)
        return r;
    r = release_frees(img);
    return r < 0 ? r : plk_image_free_cluster(img, cluster);
}

static int cut_page(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Cut *cut = arg;
    uint32_t kept[PLK_BAT_PAGE_SLOTS] = {0}, from = page == cut->first_page ? cut->first_index : 0;
    int r;

    if (page < cut->first_page)
        return 0;
    for (uint32_t i = 0; i < from; i++)
        kept[i] = slots[i];
    r = plk_image_write_page(cut->img, page, kept);
    for (uint32_t i = from; r == 0 && i < PLK_BAT_PAGE_SLOTS; i++)
        if (slots[i] != PLK_SLOT_NONE)
            r = free_one(cut->img, slots[i]);
    return r;
}

static int shrink_ploop(PlkImage *img, const PlkHeader *header)
{
    Cut cut = {img, plk_bat_page(header->bat_entries), plk_bat_index(header->bat_entries)};
    int r = plk_image_walk_bat(img, cut_page, &cut);

    if (r == 0)
        r = release_frees(img);
    if (r < 0)
        return r;
    img->header = *header;
    r = plk_image_write_header(img, PLK_IN_USE_OPEN, PLK_POINT_META_HEADER);
    if (r == 0)
        r = plk_io_sync(img->io, PLK_POINT_META_SYNC);
    if (r < 0)
        return r;
    img->first_cluster = header->first_block_sectors / header->cluster_sectors;
    plk_io_set_meta_end(img->io, plk_image_offset(img, img->first_cluster));
    return plk_image_relearn(img);
}

static int check_size(const PlkImage *img, uint64_t size_sectors, PlkError *err)
{
    if (size_sectors == 0 || size_sectors > img->header.size_sectors)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "image '%s' of %" PRIu64 " sectors cannot shrink to %" PRIu64, img->io->name,
                        img->header.size_sectors, size_sectors);
    if (img->kind == PLK_IMAGE_PLOOP && size_sectors % img->header.cluster_sectors)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "image '%s': a size of %" PRIu64
                        " sectors must be aligned to the cluster block size %" PRIu32,
                        img->io->name, size_sectors, img->header.cluster_sectors);
    return 0;
}

static int shrink(PlkImage *img, uint64_t size_sectors, PlkError *err)
{
    PlkHeader header;
    int r = plk_image_prepare_write(img);

    if (r == 0 && img->kind == PLK_IMAGE_RAW) {
        r = plk_image_set_raw_length(img, size_sectors * PLK_SECTOR, PLK_POINT_TAIL_TRUNCATE);
    } else if (r == 0) {
        if (plk_header_make(img->header.version, size_sectors, img->header.cluster_sectors, &header, err) < 0)
            return -1;
        header.flags = img->header.flags;
        r = shrink_ploop(img, &header);
    }
    return r < 0 ? plk_image_fail(img, r, "shrink", err) : 0;
}

int plk_image_shrink(PlkImage *img, uint64_t size_sectors, const PlkProgress *progress, PlkError *err)
{
    if (check_size(img, size_sectors, err) < 0)
        return -1;
    return size_sectors == img->header.size_sectors ? 0 : shrink(img, size_sectors, err);
}
