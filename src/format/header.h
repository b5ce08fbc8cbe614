/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The 64-byte image header and the BAT, as bytes and as structs. Pure: no I/O, no threads, no state.
 * Facts: docs/formats/image.md.
 *
 * Units. On disk a BAT entry counts sectors (v1) or clusters (v2); here it is always a cluster index in the
 * file, 0 = not allocated. A "page" is 4096 bytes of the file counted from its start, the unit in which
 * the BAT is read, cached and written: page 0 holds the header and slots 0..1007, every other 1024 slots.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PLK_HEADER_BYTES 64
#define PLK_BAT_PAGE_BYTES 4096u
#define PLK_BAT_PAGE_SLOTS 1024u
#define PLK_BAT_FIRST_SLOT 16u /* the header has the room of 16 entries */

#define PLK_CLUSTER_SECTORS_MIN 64u
#define PLK_CLUSTER_SECTORS_MAX 131072u
#define PLK_CLUSTER_SECTORS_DEFAULT 2048u

#define PLK_IN_USE_CLOSED 0u
#define PLK_IN_USE_OPEN 0x746F6E59u   /* "Ynot" */
#define PLK_IN_USE_CLOSED21 0x312E3276u /* "v2.1": closed, the format extension is valid */

#define PLK_FLAG_EMPTY (1u << 0)   /* advisory and often stale: ignored when reading */
#define PLK_FLAG_CONVERT (1u << 1) /* a version conversion was cut short */

typedef struct PlkHeader {
    int version; /* 1 or 2 */
    uint32_t disk_type;
    uint32_t heads, cylinders;
    uint32_t cluster_sectors;
    uint32_t bat_entries;
    uint64_t size_sectors;
    uint32_t in_use;
    uint32_t first_block_sectors; /* where data starts = end of the BAT area */
    uint32_t flags;
    uint64_t ext_sector; /* format extension, 0 = none; meaningful if in_use is CLOSED21 */
} PlkHeader;

/* Byte 40..43 of a v1 header and reserved bits survive decode + encode only as far as PlkHeader names
 * them; the rest is written as zero, as ploop does. */
void plk_header_encode(const PlkHeader *h, uint8_t out[PLK_HEADER_BYTES]);

/* Which demands the reader makes. */
typedef enum PlkHeaderRule {
    PLK_HEADER_STRICT, /* everything ploop demands; what the engine opens */
    PLK_HEADER_LOOSE,  /* signature only; what check and rescue look at */
} PlkHeaderRule;

/*
 * buf holds `len` bytes from the start of `file` (for messages). FORMAT error naming file, field and
 * offset. STRICT demands: known signature; disk type 2; cluster a power of two in range; first block
 * non-zero, whole clusters, and big enough for the BAT; entries cover the size (floor(size/cluster) <=
 * entries, entries < 2^32 - 16); size non-zero and, for v1, below 2^32.
 */
int plk_header_decode(const uint8_t *buf, size_t len, const char *file, PlkHeaderRule rule,
                      PlkHeader *ret, PlkError *err);

/* FORMAT error if a file of that length ends before the first block. */
int plk_header_check_length(const PlkHeader *h, uint64_t file_bytes, const char *file, PlkError *err);

/* A fresh header for a disk of `size_sectors` (rounded up to a cluster, near the version's limit down).
 * ARGUMENT error for a cluster, version or size out of range. in_use closed, flags Empty. */
int plk_header_make(int version, uint64_t size_sectors, uint32_t cluster_sectors, PlkHeader *ret,
                    PlkError *err);

/* A power of two from PLK_CLUSTER_SECTORS_MIN to _MAX. The two functions below need one. */
bool plk_cluster_is_valid(uint32_t cluster_sectors);

/* Largest disk in sectors that version and cluster size can describe, whole clusters. */
uint64_t plk_header_max_size(int version, uint32_t cluster_sectors);

/* Smallest whole-cluster byte length of header + BAT. */
uint64_t plk_bat_area_bytes(uint64_t bat_entries, uint32_t cluster_sectors);

/* CHS as ploop computes it from the size; sectors is not stored in the header. */
void plk_geometry(uint64_t size_sectors, uint32_t *ret_heads, uint32_t *ret_cylinders,
                  uint32_t *ret_sectors);

/* Where a virtual cluster's entry lives. */
static inline uint32_t plk_bat_page(uint32_t cluster)
{
    return (uint32_t)(((uint64_t)cluster + PLK_BAT_FIRST_SLOT) / PLK_BAT_PAGE_SLOTS);
}
static inline uint32_t plk_bat_index(uint32_t cluster)
{
    return (cluster + PLK_BAT_FIRST_SLOT) % PLK_BAT_PAGE_SLOTS;
}
static inline uint32_t plk_bat_page_count(uint32_t entries)
{
    return plk_bat_page(entries) + (plk_bat_index(entries) > 0);
}
/* Byte offset of the entry in the file. */
static inline uint64_t plk_bat_offset(uint32_t cluster)
{
    return PLK_HEADER_BYTES + 4ull * cluster;
}

/*
 * Entries as bytes <-> cluster indexes. Decode marks an entry that can not be a cluster index (v1 not
 * a multiple of the cluster) as PLK_BAT_MISALIGNED. Encode: false when v1 cannot express a value.
 */
#define PLK_BAT_MISALIGNED 0xffffffffu
void plk_bat_decode(int version, uint32_t cluster_sectors, const uint8_t *bytes, uint32_t *ret,
                    size_t n);
bool plk_bat_encode(int version, uint32_t cluster_sectors, const uint32_t *slots, uint8_t *bytes,
                    size_t n);
