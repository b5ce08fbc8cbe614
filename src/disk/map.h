/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The flat map of the whole chain: for each virtual cluster the level that owns it and where in that level's
 * file. Kept in BAT pages, resolved on first touch (one page a level until every slot is owned), so a warm
 * lookup costs the same whatever the depth, and opening costs nothing.
 *
 * A slot is one 64-bit word, read and written under the pin of its cluster. Pages are found through a plain array of
 * pointers that only ever go from NULL to a page while pins are held; a page goes away only while all pins are owned.
 * That is the whole memory-safety argument.
 *
 * Bounded: when the limit is passed, the next request that needs a page first owns all pins and drops clean pages
 * that were not touched lately. Dirty pages (top-level slots not yet written to the BAT) stay; their number is
 * bounded by flushing.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"

struct PlkDisk;

typedef uint64_t PlkSlot; /* level << 32 | file cluster */
#define PLK_LEVEL_NONE 0xffu   /* no level owns it */
#define PLK_LEVEL_BAD 0xfeu    /* the owning level's entry is damaged: -EUCLEAN */
#define PLK_LEVEL_BEYOND 0xfdu /* the owning level's entry lies outside its file: zeros */

static inline unsigned plk_slot_level(PlkSlot s)
{
    return (unsigned)(s >> 32);
}
static inline uint32_t plk_slot_cluster(PlkSlot s)
{
    return (uint32_t)s;
}
static inline PlkSlot plk_slot(unsigned level, uint32_t cluster)
{
    return (uint64_t)level << 32 | cluster;
}
#define PLK_SLOT_UNOWNED plk_slot(PLK_LEVEL_NONE, 0)

typedef struct PlkMapPage {
    _Atomic PlkSlot slots[PLK_BAT_PAGE_SLOTS];
    uint32_t index;
    _Atomic bool dirty; /* on the dirty list */
    struct PlkMapPage *next_dirty;
} PlkMapPage;

#define PLK_MAP_LOADERS 16

typedef struct PlkMap {
    PlkMapPage *_Atomic *pages; /* n_pages, zero until touched */
    _Atomic bool *used; /* n_pages: since the last sweep; apart from the pages to keep lookups in few cache lines */
    uint32_t n_pages;
    size_t max_pages, max_dirty;
    _Atomic size_t n_loaded;
    pthread_mutex_t load_locks[PLK_MAP_LOADERS];
    pthread_mutex_t dirty_lock;
    PlkMapPage *dirty; /* list */
    _Atomic size_t n_dirty;
} PlkMap;

int plk_map_init(PlkMap *map, uint32_t bat_entries, size_t cache_bytes); /* 0 or -ENOMEM */
void plk_map_clear(PlkMap *map);

/* With a pin held. 0 or -errno; the page stays valid while the pin is held. */
int plk_map_page(struct PlkDisk *disk, uint32_t page, PlkMapPage **ret);
int plk_map_get(struct PlkDisk *disk, uint32_t cluster, PlkSlot *ret);
/*
 * How many pages from `index` on, at most max, hold no entry of any level because their bytes are holes in the
 * files: answered without loading them, so that looking at an empty disk costs nothing however large it is.
 */
int plk_map_holes(struct PlkDisk *disk, uint32_t index, uint32_t max, uint32_t *ret_n);
/* With the cluster owned: the top level's entry is `file_cluster` now; the page is dirty. */
void plk_map_set_top(struct PlkDisk *disk, PlkMapPage *page, uint32_t cluster, PlkSlot slot);

/* Is the cache over its bound? Asked without a pin; then plk_map_shrink() owns all pins and drops pages. */
static inline bool plk_map_is_full(const PlkMap *map)
{
    return atomic_load_explicit(&map->n_loaded, memory_order_relaxed) > map->max_pages;
}
void plk_map_shrink(struct PlkDisk *disk);
/* So many dirty pages that a writer has to flush before it goes on? */
static inline bool plk_map_is_dirty(const PlkMap *map)
{
    return atomic_load_explicit(&map->n_dirty, memory_order_relaxed) >= map->max_dirty;
}
