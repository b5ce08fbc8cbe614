/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making a disk durable. The order, and why each step stands where it does:
 *
 *   1 seal frees          clusters freed so far; the BAT pages that cleared their slots are taken in 2
 *   2 take dirty pages    and copy their slots: what is copied was published after its data was written
 *   3 sync                so that data is durable before any name for it (ordering a)
 *   4 write the copies    not the live pages: newer slots in them have data that step 3 did not cover
 *   5 sync                the acknowledgement
 *   6 release frees       nothing durable names them any more (ordering b)
 *
 * With no dirty page, 3 is all there is. One flush runs at a time.
 */
#include <assert.h>
#include <errno.h>

#include "base/cleanup.h"
#include "base/math.h"
#include "base/seeded.h"
#include "disk/disk.h"
#include "disk/flush.h"

static PlkMapPage *steal_dirty(PlkMap *map)
{
    PlkMapPage *list;

    PLK_LOCKED(&map->dirty_lock);
    list = PLK_TAKE(map->dirty);
    atomic_store(&map->n_dirty, 0);
    return list;
}

/* After a failure: put everything back on the list. Pages of the batch had their mark cleared. */
static void give_back(PlkMap *map, PlkMapPage *const *batch, size_t n, PlkMapPage *rest)
{
    PLK_LOCKED(&map->dirty_lock);
    for (size_t i = 0; i < n; i++) {
        if (atomic_exchange(&batch[i]->dirty, true))
            continue; /* dirtied again meanwhile: it is on the list */
        batch[i]->next_dirty = map->dirty;
        map->dirty = batch[i];
        atomic_fetch_add(&map->n_dirty, 1);
    }
    while (rest) {
        PlkMapPage *next = rest->next_dirty;
        rest->next_dirty = map->dirty;
        map->dirty = rest;
        atomic_fetch_add(&map->n_dirty, 1);
        rest = next;
    }
}

/* The top level's own entries. The mark is cleared before the slots are read; see plk_map_set_top(). */
static void render(PlkMapPage *page, unsigned top, uint32_t *out)
{
    atomic_store(&page->dirty, false);
    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++) {
        PlkSlot s = atomic_load(&page->slots[i]);
        out[i] = plk_slot_level(s) == top ? plk_slot_cluster(s) : PLK_SLOT_NONE;
    }
}

/* Steps 2 to 4 for as many pages as the buffer holds; *list becomes the rest. */
static int flush_batch(PlkDisk *disk, PlkMapPage **list)
{
    uint32_t (*slots)[PLK_BAT_PAGE_SLOTS] = (void *)disk->flush_buffer;
    PlkMapPage *batch[PLK_FLUSH_BATCH], *rest = *list;
    PlkImage *top = plk_disk_top(disk);
    size_t n;
    int r;

    for (n = 0; rest && n < disk->flush_pages; n++) {
        batch[n] = rest;
        rest = rest->next_dirty;
        render(batch[n], disk->n_images - 1, slots[n]);
    }
    r = plk_image_sync(top, PLK_POINT_DATA_SYNC);
    for (size_t i = 0; r == 0 && i < n; i++) {
        assert(plk_image_may_name(top, slots[i]));
        r = plk_image_write_page(top, batch[i]->index, slots[i]);
    }
    if (r < 0)
        give_back(&disk->map, batch, n, rest);
    *list = rest;
    return r;
}

int plk_disk_flush_locked(PlkDisk *disk)
{
    PlkImage *top = plk_disk_top(disk);
    PlkMapPage *list;
    int r = 0;

    if (!atomic_load(&top->prepared)) /* nothing was ever written */
        return atomic_load(&top->io->poisoned) ? -EIO : 0;
    plk_image_seal_frees(top);
    list = steal_dirty(&disk->map);
    if (!list)
        r = plk_image_sync(top, PLK_POINT_DATA_SYNC);
    else {
        while (r == 0 && list)
            r = flush_batch(disk, &list);
        if (r == 0 && !PLK_SEEDED(ACK_EARLY))
            r = plk_image_sync(top, PLK_POINT_META_SYNC);
    }
    if (r == 0)
        plk_image_release_frees(top);
    else
        plk_image_unseal_frees(top);
    return r;
}

int plk_disk_flush(PlkDisk *disk)
{
    PLK_LOCKED(&disk->flush_lock);
    return plk_disk_flush_locked(disk);
}
