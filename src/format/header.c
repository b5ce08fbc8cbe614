/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Header and BAT codec; the only place that knows their bytes. Facts: docs/formats/image.md.
 *
 * A loosely decoded header may hold any value, so whoever divides or rounds by its cluster size asks
 * plk_cluster_is_valid() first; the BAT loops need not, they mark what makes no sense as misaligned.
 */
#include "format/header.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/endian.h"
#include "base/math.h"

#define DISK_TYPE_EXPANDABLE 2u

/* The header has room for 16 slots in front of slot 0, and page numbers are counted in 32 bits. */
#define BAT_ENTRIES_MAX (UINT32_MAX - PLK_BAT_FIRST_SLOT) /* the last value below 2^32 - 16 */

typedef struct __attribute__((packed)) DiskHeader {
    char signature[16];  /*  0..15 */
    PlkLe32 disk_type;   /* 16..19 */
    PlkLe32 heads;       /* 20..23 */
    PlkLe32 cylinders;   /* 24..27 */
    PlkLe32 cluster;     /* 28..31, sectors */
    PlkLe32 bat_entries; /* 32..35 */
    PlkLe64 size;        /* 36..43, sectors; v1 has only the low half */
    PlkLe32 in_use;      /* 44..47 */
    PlkLe32 first_block; /* 48..51, sectors */
    PlkLe32 flags;       /* 52..55 */
    PlkLe64 ext;         /* 56..63, sectors */
} DiskHeader;

static_assert(sizeof(DiskHeader) == PLK_HEADER_BYTES, "the header is 64 bytes");
static_assert(offsetof(DiskHeader, size) == 36, "the size field is not 8-aligned");
static_assert(offsetof(DiskHeader, ext) == 56, "the extension offset ends the header");

static const char signatures[3][17] = {"", "WithoutFreeSpace", "WithouFreSpacExt"}; /* [version] */

void plk_header_encode(const PlkHeader *h, uint8_t out[PLK_HEADER_BYTES])
{
    DiskHeader d = {
        .disk_type = plk_to_le32(h->disk_type),
        .heads = plk_to_le32(h->heads),
        .cylinders = plk_to_le32(h->cylinders),
        .cluster = plk_to_le32(h->cluster_sectors),
        .bat_entries = plk_to_le32(h->bat_entries),
        .size = plk_to_le64(h->version == 1 ? (uint32_t)h->size_sectors : h->size_sectors),
        .in_use = plk_to_le32(h->in_use),
        .first_block = plk_to_le32(h->first_block_sectors),
        .flags = plk_to_le32(h->flags),
        .ext = plk_to_le64(h->ext_sector),
    };

    assert(h->version == 1 || h->version == 2);
    memcpy(d.signature, signatures[h->version], sizeof d.signature);
    memcpy(out, &d, sizeof d);
}

static int version_of(const char signature[16])
{
    for (int v = 1; v <= 2; v++)
        if (memcmp(signature, signatures[v], 16) == 0)
            return v;
    return 0;
}

bool plk_cluster_is_valid(uint32_t cluster_sectors)
{
    return plk_is_pow2(cluster_sectors) && cluster_sectors >= PLK_CLUSTER_SECTORS_MIN &&
           cluster_sectors <= PLK_CLUSTER_SECTORS_MAX;
}

static int check_geometry(const PlkHeader *h, const char *file, PlkError *err)
{
    uint64_t area;

    if (h->disk_type != DISK_TYPE_EXPANDABLE)
        return plk_corrupt(err, file, offsetof(DiskHeader, disk_type), "disk type is %" PRIu32 ", not %u",
                           h->disk_type, DISK_TYPE_EXPANDABLE);
    if (!plk_cluster_is_valid(h->cluster_sectors))
        return plk_corrupt(err, file, offsetof(DiskHeader, cluster),
                           "cluster of %" PRIu32 " sectors is not a power of two from %u to %u",
                           h->cluster_sectors, PLK_CLUSTER_SECTORS_MIN, PLK_CLUSTER_SECTORS_MAX);
    if (h->first_block_sectors == 0 || h->first_block_sectors % h->cluster_sectors)
        return plk_corrupt(err, file, offsetof(DiskHeader, first_block),
                           "first block at sector %" PRIu32 " is not on a cluster (%" PRIu32 " sectors)",
                           h->first_block_sectors, h->cluster_sectors);
    area = plk_bat_area_bytes(h->bat_entries, h->cluster_sectors);
    if (area > (uint64_t)h->first_block_sectors * PLK_SECTOR)
        return plk_corrupt(err, file, offsetof(DiskHeader, first_block),
                           "first block at sector %" PRIu32 " lies inside the BAT of %" PRIu32 " entries",
                           h->first_block_sectors, h->bat_entries);
    return 0;
}

static int check_size(const PlkHeader *h, const char *file, PlkError *err)
{
    if (h->bat_entries > BAT_ENTRIES_MAX)
        return plk_corrupt(err, file, offsetof(DiskHeader, bat_entries),
                           "BAT of %" PRIu32 " entries is too large", h->bat_entries);
    if (h->size_sectors == 0)
        return plk_corrupt(err, file, offsetof(DiskHeader, size), "disk size is 0");
    if (h->size_sectors / h->cluster_sectors > h->bat_entries)
        return plk_corrupt(err, file, offsetof(DiskHeader, size),
                           "disk of %" PRIu64 " sectors needs more than the %" PRIu32 " BAT entries",
                           h->size_sectors, h->bat_entries);
    return 0;
}

int plk_header_decode(const uint8_t *buf, size_t len, const char *file, PlkHeaderRule rule, PlkHeader *ret,
                      PlkError *err)
{
    DiskHeader d;
    PlkHeader h = {0};

    if (len < sizeof d)
        return plk_corrupt(err, file, len, "end of file inside the %zu byte header", sizeof d);
    memcpy(&d, buf, sizeof d);
    h.version = version_of(d.signature);
    if (h.version == 0)
        return plk_corrupt(err, file, 0ull, "not a ploop image: unknown signature");
    h.disk_type = plk_le32(d.disk_type);
    h.heads = plk_le32(d.heads);
    h.cylinders = plk_le32(d.cylinders);
    h.cluster_sectors = plk_le32(d.cluster);
    h.bat_entries = plk_le32(d.bat_entries);
    h.size_sectors = h.version == 1 ? (uint32_t)plk_le64(d.size) : plk_le64(d.size);
    h.in_use = plk_le32(d.in_use);
    h.first_block_sectors = plk_le32(d.first_block);
    h.flags = plk_le32(d.flags);
    h.ext_sector = plk_le64(d.ext);
    if (rule == PLK_HEADER_STRICT && (check_geometry(&h, file, err) != 0 || check_size(&h, file, err) != 0))
        return -1;
    *ret = h;
    return 0;
}

/* No program leaves one so short; and the first write would have to stretch it to where data starts. */
int plk_header_check_length(const PlkHeader *h, uint64_t file_bytes, const char *file, PlkError *err)
{
    if (file_bytes >= (uint64_t)h->first_block_sectors * PLK_SECTOR)
        return 0;
    return plk_corrupt(err, file, offsetof(DiskHeader, first_block),
                       "first block at sector %" PRIu32 " lies beyond the end of the file (%" PRIu64
                       " bytes)",
                       h->first_block_sectors, file_bytes);
}

int plk_header_make(int version, uint64_t size_sectors, uint32_t cluster_sectors, PlkHeader *ret,
                    PlkError *err)
{
    PlkHeader h = {.version = version, .disk_type = DISK_TYPE_EXPANDABLE, .flags = PLK_FLAG_EMPTY};
    uint64_t max;
    uint32_t sectors;

    if (version != 1 && version != 2)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "image version %d: only 1 and 2 exist", version);
    if (!plk_cluster_is_valid(cluster_sectors))
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "cluster of %" PRIu32 " sectors: must be a power of two from %u to %u",
                        cluster_sectors, PLK_CLUSTER_SECTORS_MIN, PLK_CLUSTER_SECTORS_MAX);
    max = plk_header_max_size(version, cluster_sectors);
    if (size_sectors == 0 || plk_round_down(size_sectors, cluster_sectors) > max)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "disk of %" PRIu64 " sectors: a version %d image with clusters of %" PRIu32
                        " sectors holds 1 to %" PRIu64,
                        size_sectors, version, cluster_sectors, max);
    h.size_sectors = PLK_MIN(plk_round_up(size_sectors, cluster_sectors), max);
    h.cluster_sectors = cluster_sectors;
    h.bat_entries = (uint32_t)(h.size_sectors / cluster_sectors);
    h.first_block_sectors = (uint32_t)(plk_bat_area_bytes(h.bat_entries, cluster_sectors) / PLK_SECTOR);
    plk_geometry(h.size_sectors, &h.heads, &h.cylinders, &sectors);
    *ret = h;
    return 0;
}

uint64_t plk_header_max_size(int version, uint32_t cluster_sectors)
{
    return version == 1 ? plk_round_down(UINT32_MAX, cluster_sectors)
                        : (uint64_t)BAT_ENTRIES_MAX * cluster_sectors;
}

uint64_t plk_bat_area_bytes(uint64_t bat_entries, uint32_t cluster_sectors)
{
    return plk_round_up(PLK_HEADER_BYTES + 4 * bat_entries, (uint64_t)cluster_sectors * PLK_SECTOR);
}

/* The first of the n candidates that divides v; 0 when none does. */
static uint32_t first_divisor(uint64_t v, const uint32_t *candidates, int n)
{
    for (int i = 0; i < n; i++)
        if (v % candidates[i] == 0)
            return candidates[i];
    return 0;
}

void plk_geometry(uint64_t size_sectors, uint32_t *ret_heads, uint32_t *ret_cylinders, uint32_t *ret_sectors)
{
    static const uint32_t sectors[] = {63, 32, 16, 8}, heads[] = {16, 8, 4, 2};
    uint32_t s, h = 0;

    if (size_sectors > 1032192 && size_sectors < 16777216) {
        s = 63;
        h = 16;
    } else {
        s = first_divisor(size_sectors, sectors, 4);
        if (s)
            h = first_divisor(size_sectors / s, heads, 4);
    }
    if (!h) /* nothing divides: plain linear addressing */
        s = h = 1;
    *ret_heads = h;
    *ret_cylinders = (uint32_t)(size_sectors / s / h);
    *ret_sectors = s;
}

/* A v1 entry is a cluster index shifted up; v2 needs no shift. */
static unsigned entry_shift(int version, uint32_t cluster_sectors)
{
    return version == 1 && plk_is_pow2(cluster_sectors) ? plk_log2(cluster_sectors) : 0;
}

void plk_bat_decode(int version, uint32_t cluster_sectors, const uint8_t *bytes, uint32_t *ret, size_t n)
{
    unsigned shift = entry_shift(version, cluster_sectors);
    /* A cluster size that can not be one leaves no v1 entry but 0 aligned. */
    uint32_t stray = version != 1 ? 0 : plk_is_pow2(cluster_sectors) ? cluster_sectors - 1 : UINT32_MAX;

    for (size_t i = 0; i < n; i++) {
        PlkLe32 raw;

        memcpy(&raw, bytes + 4 * i, sizeof raw);
        uint32_t v = plk_le32(raw);
        ret[i] = v & stray ? PLK_BAT_MISALIGNED : v >> shift;
    }
}

bool plk_bat_encode(int version, uint32_t cluster_sectors, const uint32_t *slots, uint8_t *bytes, size_t n)
{
    unsigned shift = entry_shift(version, cluster_sectors);
    uint32_t max = (PLK_BAT_MISALIGNED - 1) >> shift, over = 0;

    for (size_t i = 0; i < n; i++) {
        PlkLe32 raw = plk_to_le32(slots[i] << shift);

        over |= slots[i] > max;
        memcpy(bytes + 4 * i, &raw, sizeof raw);
    }
    return !over;
}
