/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See map.h for the rules; this file keeps them. */
#include "disk/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "disk/disk.h"

#define CACHE_DEFAULT (64u << 20)
#define PAGES_MIN 64

static void free_tables(PlkMap *map)
{
    plk_unmap_zeroed(map->pages, map->n_pages * sizeof *map->pages);
    plk_unmap_zeroed(map->used, map->n_pages * sizeof *map->used);
    map->pages = NULL;
    map->used = NULL;
}

int plk_map_init(PlkMap *map, uint32_t bat_entries, size_t cache_bytes)
{
    map->n_pages = plk_bat_page_count(bat_entries);
    map->pages = plk_map_zeroed(map->n_pages * sizeof *map->pages);
    map->used = plk_map_zeroed(map->n_pages * sizeof *map->used);
    if (!map->pages || !map->used) {
        free_tables(map);
        return -ENOMEM;
    }
    map->max_pages = PLK_MAX((cache_bytes ? cache_bytes : CACHE_DEFAULT) / sizeof(PlkMapPage), PAGES_MIN);
    /* Dirty pages stay: half of the cache at most, and no more than one flush writes behind one data sync. */
    map->max_dirty = PLK_MIN(map->max_pages / 2, PLK_FLUSH_BATCH);
    for (int i = 0; i < PLK_MAP_LOADERS; i++)
        pthread_mutex_init(&map->load_locks[i], NULL);
    pthread_mutex_init(&map->dirty_lock, NULL);
    return 0;
}

void plk_map_clear(PlkMap *map)
{
    if (!map->pages)
        return;
    for (uint32_t i = 0; i < map->n_pages && atomic_load(&map->n_loaded) > 0; i++) {
        PlkMapPage *p = atomic_load_explicit(&map->pages[i], memory_order_relaxed);
        if (p) {
            free(p);
            atomic_fetch_sub(&map->n_loaded, 1);
        }
    }
    free_tables(map);
    for (int i = 0; i < PLK_MAP_LOADERS; i++)
        pthread_mutex_destroy(&map->load_locks[i]);
    pthread_mutex_destroy(&map->dirty_lock);
}

/* ---- resolving a page ---- */

static PlkSlot slot_of_entry(unsigned level, uint32_t entry)
{
    if (entry == PLK_SLOT_BAD)
        return plk_slot(PLK_LEVEL_BAD, 0);
    if (entry == PLK_SLOT_BEYOND)
        return plk_slot(PLK_LEVEL_BEYOND, 0);
    return plk_slot(level, entry);
}

/* Give every slot nobody above owns to this level, if it has it. Returns how many it took, or -errno. */
static int claim(PlkImage *img, unsigned level, uint32_t page, PlkSlot *slots)
{
    uint32_t entries[PLK_BAT_PAGE_SLOTS];
    uint64_t first = (uint64_t)page * PLK_BAT_PAGE_SLOTS;
    uint64_t entries_end = (uint64_t)img->header.bat_entries + PLK_BAT_FIRST_SLOT; /* none is named from there on */
    uint32_t end = (uint32_t)PLK_MIN(PLK_BAT_PAGE_SLOTS, entries_end > first ? entries_end - first : 0);
    int taken = 0, r;

    if (img->kind == PLK_IMAGE_PLOOP) {
        r = plk_image_read_page(img, page, entries);
        if (r < 0)
            return r;
    }
    for (uint32_t i = page == 0 ? PLK_BAT_FIRST_SLOT : 0; i < end; i++) {
        uint64_t cluster = first + i - PLK_BAT_FIRST_SLOT;

        if (slots[i] != PLK_SLOT_UNOWNED)
            continue;
        if (img->kind == PLK_IMAGE_PLOOP && entries[i] == PLK_SLOT_NONE)
            continue;
        slots[i] = img->kind == PLK_IMAGE_RAW ? plk_slot(level, (uint32_t)cluster)
                                              : slot_of_entry(level, entries[i]);
        taken++;
    }
    return taken;
}

static int resolve(PlkDisk *disk, PlkMapPage *page)
{
    PlkSlot slots[PLK_BAT_PAGE_SLOTS];
    int left = PLK_BAT_PAGE_SLOTS - (page->index == 0 ? PLK_BAT_FIRST_SLOT : 0);

    for (int i = 0; i < (int)PLK_BAT_PAGE_SLOTS; i++)
        slots[i] = PLK_SLOT_UNOWNED;
    for (unsigned level = disk->n_images; level-- > 0 && left > 0;) {
        int r = claim(disk->images[level], level, page->index, slots);
        if (r < 0)
            return r;
        left -= r;
    }
    for (int i = 0; i < (int)PLK_BAT_PAGE_SLOTS; i++)
        atomic_init(&page->slots[i], slots[i]);
    return 0;
}

static int load(PlkDisk *disk, uint32_t index, PlkMapPage **ret)
{
    PlkMap *map = &disk->map;
    PlkMapPage *page;
    int r;

    PLK_LOCKED(&map->load_locks[index % PLK_MAP_LOADERS]);
    page = atomic_load_explicit(&map->pages[index], memory_order_acquire);
    if (page) {
        *ret = page;
        return 0;
    }
    page = plk_malloc(sizeof *page);
    if (!page)
        return -ENOMEM;
    page->index = index;
    page->next_dirty = NULL;
    atomic_init(&page->dirty, false);
    r = resolve(disk, page);
    if (r < 0) {
        free(page);
        return r;
    }
    atomic_store_explicit(&map->pages[index], page, memory_order_release);
    atomic_fetch_add(&map->n_loaded, 1);
    *ret = page;
    return 0;
}

int plk_map_page(PlkDisk *disk, uint32_t index, PlkMapPage **ret)
{
    PlkMapPage *page = atomic_load_explicit(&disk->map.pages[index], memory_order_acquire);

    if (!page)
        return load(disk, index, ret);
    if (!atomic_load_explicit(&disk->map.used[index], memory_order_relaxed))
        atomic_store_explicit(&disk->map.used[index], true, memory_order_relaxed);
    *ret = page;
    return 0;
}

int plk_map_get(PlkDisk *disk, uint32_t cluster, PlkSlot *ret)
{
    PlkMapPage *page;
    int r = plk_map_page(disk, plk_bat_page(cluster), &page);

    if (r == 0)
        *ret = atomic_load_explicit(&page->slots[plk_bat_index(cluster)], memory_order_relaxed);
    return r;
}

/*
 * The mark is looked at after the store: a flush that cleared it before will see the slot. And it is set
 * with the list locked: whoever finds it set and then flushes finds the page on the list, or in a flush
 * that he waits for.
 */
void plk_map_set_top(PlkDisk *disk, PlkMapPage *page, uint32_t cluster, PlkSlot slot)
{
    PlkMap *map = &disk->map;

    atomic_store(&page->slots[plk_bat_index(cluster)], slot);
    if (atomic_load(&page->dirty))
        return;
    PLK_LOCKED(&map->dirty_lock);
    if (atomic_exchange(&page->dirty, true))
        return;
    page->next_dirty = map->dirty;
    map->dirty = page;
    atomic_fetch_add(&map->n_dirty, 1);
}

/* ---- nothing there ---- */

/* Shortens *n to the pages from `index` on in which this level has no entry. */
static int leave_holes(PlkImage *img, uint32_t index, uint32_t *n)
{
    uint64_t at = (uint64_t)index * PLK_BAT_PAGE_BYTES, start, end;
    int r;

    if (img->kind == PLK_IMAGE_RAW) { /* no BAT: it owns all up to its end */
        if (index < plk_bat_page_count(img->header.bat_entries))
            *n = 0;
        return 0;
    }
    if (at >= plk_bat_offset(img->header.bat_entries))
        return 0;
    r = plk_io_next_data(img->io, at, &start, &end);
    if (r == 0 && start < end)
        *n = (uint32_t)PLK_MIN(*n, start > at ? (start - at) / PLK_BAT_PAGE_BYTES : 0);
    return r;
}

/* What is in memory is looked at first: a slot that is not on disk yet is in a page that is loaded. */
int plk_map_holes(PlkDisk *disk, uint32_t index, uint32_t max, uint32_t *ret_n)
{
    PlkMap *map = &disk->map;
    uint32_t n = 0;
    int r = 0;

    max = PLK_MIN(max, map->n_pages - index);
    while (n < max && !atomic_load_explicit(&map->pages[index + n], memory_order_acquire))
        n++;
    for (unsigned level = disk->n_images; r == 0 && n > 0 && level-- > 0;)
        r = leave_holes(disk->images[level], index, &n);
    *ret_n = r < 0 ? 0 : n;
    return r;
}

/* ---- the bound ---- */

static void drop_pages(PlkMap *map, size_t target, bool also_used)
{
    for (uint32_t i = 0; i < map->n_pages && atomic_load(&map->n_loaded) > target; i++) {
        PlkMapPage *p = atomic_load_explicit(&map->pages[i], memory_order_relaxed);

        if (!p || atomic_load(&p->dirty))
            continue;
        if (!also_used && atomic_exchange(&map->used[i], false))
            continue;
        atomic_store_explicit(&map->pages[i], NULL, memory_order_relaxed);
        free(p);
        atomic_fetch_sub(&map->n_loaded, 1);
    }
}

void plk_map_shrink(PlkDisk *disk)
{
    PlkMap *map = &disk->map;
    size_t target = map->max_pages - map->max_pages / 8;

    /* A running flush walks pages without pins; the cache may be over its bound until it is done. */
    if (pthread_mutex_trylock(&disk->flush_lock) != 0)
        return;
    if (plk_map_is_full(map)) {
        plk_pins_own_all(&disk->pins);
        drop_pages(map, target, false);
        drop_pages(map, target, true);
        plk_pins_release_all(&disk->pins);
    }
    pthread_mutex_unlock(&disk->flush_lock);
}
