/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The format extension's bytes. Everything is checked against the cluster before it is looked at;
 * sizes are compared with what is left, never added up first, so no value can wrap.
 */
#include "format/extension.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/endian.h"
#include "base/math.h"
#include "format/md5.h"

typedef struct __attribute__((packed)) DiskExtension {
    PlkLe64 magic;   /*  0..7  */
    uint8_t md5[16]; /*  8..23, over the rest of the cluster */
} DiskExtension;

typedef struct __attribute__((packed)) DiskElement {
    PlkLe64 magic;  /*  0..7, 0 ends the list */
    PlkLe64 flags;  /*  8..15 */
    PlkLe32 size;   /* 16..19, bytes of data behind this */
    PlkLe32 unused; /* 20..23 */
} DiskElement;

typedef struct __attribute__((packed)) DiskBitmap {
    PlkLe64 size;        /*  0..7, sectors */
    uint8_t uuid[16];    /*  8..23 */
    PlkLe32 granularity; /* 24..27, sectors */
    PlkLe32 l1_count;    /* 28..31; the L1 table follows */
} DiskBitmap;

static_assert(sizeof(DiskExtension) == 24 && sizeof(DiskElement) == 24, "both are 24 bytes");
static_assert(sizeof(DiskBitmap) == 32, "the bitmap head is 32 bytes");

static int check_cluster(const uint8_t *cluster, size_t bytes, const char *file, uint64_t offset,
                         PlkError *err)
{
    DiskExtension head;
    uint8_t md5[16];

    if (bytes < sizeof head)
        return plk_corrupt(err, file, offset, "format extension of %zu bytes is too short", bytes);
    memcpy(&head, cluster, sizeof head);
    if (plk_le64(head.magic) != PLK_EXT_MAGIC)
        return plk_corrupt(err, file, offset, "no format extension here: unknown magic");
    plk_md5(cluster + sizeof head, bytes - sizeof head, md5);
    if (memcmp(md5, head.md5, sizeof md5) != 0)
        return plk_corrupt(err, file, offset + offsetof(DiskExtension, md5),
                           "the checksum of the format extension is wrong");
    return 0;
}

int plk_extension_walk(const uint8_t *cluster, size_t cluster_bytes, const char *file,
                       uint64_t cluster_offset, int (*each)(void *arg, const PlkExtElement *element),
                       void *arg, PlkError *err)
{
    size_t pos = sizeof(DiskExtension);
    DiskElement head;

    if (check_cluster(cluster, cluster_bytes, file, cluster_offset, err) != 0)
        return -1;
    while (cluster_bytes - pos >= sizeof head) {
        PlkExtElement element;
        int r;

        memcpy(&head, cluster + pos, sizeof head);
        element.magic = plk_le64(head.magic);
        if (element.magic == 0)
            return 0;
        element.flags = plk_le64(head.flags);
        element.size = plk_le32(head.size);
        element.offset = cluster_offset + pos + sizeof head;
        element.data = cluster + pos + sizeof head;
        if (element.size > cluster_bytes - pos - sizeof head)
            return plk_corrupt(err, file, cluster_offset + pos,
                               "extension element of %" PRIu32 " bytes leaves its cluster", element.size);
        r = each(arg, &element);
        if (r != 0)
            return r;
        pos = PLK_MIN(cluster_bytes, pos + sizeof head + plk_round_up(element.size, 8));
    }
    if (!plk_is_zero(cluster + pos, cluster_bytes - pos))
        return plk_corrupt(err, file, cluster_offset + pos, "extension element leaves its cluster");
    return 0;
}

/* How many clusters hold one bit a granule. */
static uint64_t bitmap_clusters(uint64_t size_sectors, uint32_t granularity, uint32_t cluster_bytes)
{
    return plk_div_up(plk_div_up(plk_div_up(size_sectors, granularity), 8), cluster_bytes);
}

int plk_dirty_bitmap_decode(const PlkExtElement *element, uint64_t disk_sectors, uint32_t cluster_bytes,
                            const char *file, PlkDirtyBitmap *ret, PlkError *err)
{
    DiskBitmap d;
    PlkDirtyBitmap b;

    if (element->size < sizeof d)
        return plk_corrupt(err, file, element->offset, "dirty bitmap of %" PRIu32 " bytes is too short",
                           element->size);
    memcpy(&d, element->data, sizeof d);
    b.size_sectors = plk_le64(d.size);
    memcpy(b.uuid, d.uuid, sizeof b.uuid);
    b.granularity = plk_le32(d.granularity);
    b.l1_count = plk_le32(d.l1_count);
    b.l1 = element->data + sizeof d;
    if (b.size_sectors != disk_sectors)
        return plk_corrupt(err, file, element->offset + offsetof(DiskBitmap, size),
                           "dirty bitmap for %" PRIu64 " sectors on a disk of %" PRIu64, b.size_sectors,
                           disk_sectors);
    if (!plk_is_pow2(b.granularity))
        return plk_corrupt(err, file, element->offset + offsetof(DiskBitmap, granularity),
                           "dirty bitmap granularity %" PRIu32 " is not a power of two", b.granularity);
    if (b.l1_count != 0 && b.l1_count != bitmap_clusters(b.size_sectors, b.granularity, cluster_bytes))
        return plk_corrupt(err, file, element->offset + offsetof(DiskBitmap, l1_count),
                           "dirty bitmap table of %" PRIu32 " entries does not fit the disk", b.l1_count);
    if (b.l1_count > (element->size - sizeof d) / sizeof(PlkLe64))
        return plk_corrupt(err, file, element->offset + offsetof(DiskBitmap, l1_count),
                           "dirty bitmap table of %" PRIu32 " entries leaves its element", b.l1_count);
    *ret = b;
    return 0;
}

uint64_t plk_dirty_bitmap_l1(const PlkDirtyBitmap *bitmap, uint32_t i)
{
    PlkLe64 entry;

    assert(i < bitmap->l1_count);
    memcpy(&entry, bitmap->l1 + sizeof entry * i, sizeof entry);
    return plk_le64(entry);
}
