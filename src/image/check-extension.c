/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The format extension in a check: whether it is sound, and which clusters belong to it. A sound one is no
 * leak and is never cut off; a damaged one is forgotten.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/math.h"
#include "image/check.h"

typedef struct Look {
    PlkChecker *c;
    bool damaged, locked;
    uint64_t lock_magic;
} Look;

/* Sector -> cluster; 0 unless it is a whole data cluster of the file. */
static uint64_t cluster_at(const PlkChecker *c, uint64_t sector)
{
    uint64_t cluster = sector / c->header.cluster_sectors;

    if (sector % c->header.cluster_sectors || cluster < c->first_cluster ||
        cluster >= c->size >> c->cluster_shift)
        return 0;
    return cluster;
}

static bool l1_is_sound(const PlkChecker *c, const PlkDirtyBitmap *bitmap)
{
    for (uint32_t i = 0; i < bitmap->l1_count; i++) {
        uint64_t sector = plk_dirty_bitmap_l1(bitmap, i);
        if (sector > 1 && !cluster_at(c, sector))
            return false;
    }
    return true;
}

static int look_at_element(void *arg, const PlkExtElement *element)
{
    Look *look = arg;
    PlkChecker *c = look->c;
    PlkDirtyBitmap bitmap;

    if (element->magic != PLK_EXT_DIRTY_BITMAP) {
        if (element->flags & PLK_EXT_NECESSARY) {
            look->locked = true;
            look->lock_magic = element->magic;
        }
        return 0;
    }
    if (c->has_bitmap ||
        plk_dirty_bitmap_decode(element, c->header.size_sectors, 1u << c->cluster_shift, c->name, &bitmap,
                                NULL) < 0 ||
        !l1_is_sound(c, &bitmap)) {
        look->damaged = true;
        return 0;
    }
    c->bitmap = bitmap;
    c->has_bitmap = true;
    return 0;
}

void plk_checker_forget_extension(PlkChecker *c)
{
    if (c->ext)
        plk_unmap_zeroed(c->ext, (size_t)1 << c->cluster_shift);
    c->ext = NULL;
    c->has_bitmap = false;
}

int plk_checker_load_extension(PlkChecker *c)
{
    uint64_t cluster = cluster_at(c, c->header.ext_sector);
    size_t bytes = (size_t)1 << c->cluster_shift;
    Look look = {.c = c};
    int r;

    if (c->header.in_use != PLK_IN_USE_CLOSED21 || !cluster)
        return 0;
    c->ext = plk_map_zeroed(bytes);
    if (!c->ext)
        return -ENOMEM;
    r = plk_io_read(c->io, c->ext, bytes, cluster << c->cluster_shift, PLK_POINT_OPEN_READ);
    if (r < 0)
        return r;
    if (plk_extension_walk(c->ext, bytes, c->name, cluster << c->cluster_shift, look_at_element, &look,
                           NULL) != 0 ||
        look.damaged) {
        plk_checker_forget_extension(c);
        return 0;
    }
    c->locked = look.locked;
    if (!look.locked)
        return 0;
    return plk_checker_report(c, &(PlkFinding){.kind = PLK_FOUND_EXTENSION_LOCK,
                                               .slot = PLK_NO_SLOT,
                                               .offset = cluster << c->cluster_shift,
                                               .value = look.lock_magic});
}

static void mark(PlkChecker *c, uint64_t cluster)
{
    uint64_t bit = cluster - c->window_from, mask = 1ull << bit % 64;

    if (cluster < c->window_from || cluster >= c->window_to || c->ext_used[bit / 64] & mask)
        return;
    c->ext_used[bit / 64] |= mask;
    if (c->pass == PLK_PASS_SURVEY) {
        c->n_ext++;
        c->ext_end = PLK_MAX(c->ext_end, cluster + 1);
    }
}

void plk_checker_mark_extension(PlkChecker *c)
{
    if (!c->ext)
        return;
    mark(c, cluster_at(c, c->header.ext_sector));
    for (uint32_t i = 0; c->has_bitmap && i < c->bitmap.l1_count; i++)
        mark(c, cluster_at(c, plk_dirty_bitmap_l1(&c->bitmap, i)));
}
