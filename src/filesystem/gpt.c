/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The GPT codec. It is our own because the table lies inside a disk that no other library can open: libfdisk
 * wants a file, and making one appear (view/) for 34 sectors would cost more than these few lines.
 */
#include "filesystem/gpt.h"

#include <assert.h>
#include <string.h>

#include "base/math.h"

/* UEFI 2.10, table 5.5. Bytes 92..511 are zero. */
typedef struct __attribute__((packed)) DiskHeader {
    char signature[8];     /*  0  "EFI PART" */
    PlkLe32 revision;      /*  8  1.0 */
    PlkLe32 header_size;   /* 12  92 */
    PlkLe32 header_crc;    /* 16  of header_size bytes, this field as zero */
    PlkLe32 reserved;      /* 20 */
    PlkLe64 my_lba;        /* 24 */
    PlkLe64 alternate_lba; /* 32 */
    PlkLe64 first_usable;  /* 40 */
    PlkLe64 last_usable;   /* 48 */
    uint8_t disk_guid[16]; /* 56 */
    PlkLe64 entries_lba;   /* 72 */
    PlkLe32 n_entries;     /* 80 */
    PlkLe32 entry_size;    /* 84 */
    PlkLe32 entries_crc;   /* 88 */
} DiskHeader;
_Static_assert(sizeof(DiskHeader) == 92, "GPT header");
_Static_assert(offsetof(DiskHeader, entries_lba) == 72, "GPT header entries");

#define REVISION_1_0 0x00010000u

static const char signature[8] = {'E', 'F', 'I', ' ', 'P', 'A', 'R', 'T'};

/* The first three fields of a GUID are little-endian on disk. */
const uint8_t PLK_GPT_TYPE_LINUX[16] = {0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
                                        0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4};

/* Bit by bit: a table is 16 KiB and is read once an operation. */
uint32_t plk_gpt_crc32(const void *buf, size_t len)
{
    const uint8_t *p = buf;
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0xedb88320u & -(crc & 1));
    }
    return ~crc;
}

bool plk_gpt_has_signature(const uint8_t sector[PLK_GPT_SECTOR])
{
    return memcmp(sector, signature, sizeof signature) == 0;
}

static uint32_t header_crc(const uint8_t sector[PLK_GPT_SECTOR], uint32_t size)
{
    uint8_t copy[PLK_GPT_SECTOR];

    memcpy(copy, sector, sizeof copy);
    memset(copy + offsetof(DiskHeader, header_crc), 0, 4);
    return plk_gpt_crc32(copy, size);
}

bool plk_gpt_decode_header(const uint8_t sector[PLK_GPT_SECTOR], uint64_t lba, PlkGptHeader *ret)
{
    DiskHeader h;
    uint32_t size;

    memcpy(&h, sector, sizeof h);
    size = plk_le32(h.header_size);
    if (!plk_gpt_has_signature(sector) || size < sizeof h || size > PLK_GPT_SECTOR)
        return false;
    if (plk_le32(h.header_crc) != header_crc(sector, size) || plk_le64(h.my_lba) != lba)
        return false;
    if (plk_le32(h.entry_size) != sizeof(PlkGptEntry) || plk_le32(h.n_entries) == 0 ||
        plk_le32(h.n_entries) > PLK_GPT_ENTRIES_MAX || plk_le64(h.first_usable) > plk_le64(h.last_usable))
        return false;
    *ret = (PlkGptHeader){
        .alternate_lba = plk_le64(h.alternate_lba),
        .first_usable = plk_le64(h.first_usable),
        .last_usable = plk_le64(h.last_usable),
        .entries_lba = plk_le64(h.entries_lba),
        .n_entries = plk_le32(h.n_entries),
        .entries_crc = plk_le32(h.entries_crc),
    };
    memcpy(ret->disk_guid, h.disk_guid, sizeof h.disk_guid);
    return true;
}

void plk_gpt_encode_header(const PlkGptHeader *header, uint64_t lba, uint8_t sector[PLK_GPT_SECTOR])
{
    DiskHeader h = {
        .revision = plk_to_le32(REVISION_1_0),
        .header_size = plk_to_le32(sizeof h),
        .my_lba = plk_to_le64(lba),
        .alternate_lba = plk_to_le64(header->alternate_lba),
        .first_usable = plk_to_le64(header->first_usable),
        .last_usable = plk_to_le64(header->last_usable),
        .entries_lba = plk_to_le64(header->entries_lba),
        .n_entries = plk_to_le32(header->n_entries),
        .entry_size = plk_to_le32(sizeof(PlkGptEntry)),
        .entries_crc = plk_to_le32(header->entries_crc),
    };
    memcpy(h.signature, signature, sizeof signature);
    memcpy(h.disk_guid, header->disk_guid, sizeof h.disk_guid);
    memset(sector, 0, PLK_GPT_SECTOR);
    memcpy(sector, &h, sizeof h);
    h.header_crc = plk_to_le32(header_crc(sector, sizeof h));
    memcpy(sector, &h, sizeof h);
}

/* One partition of type EE over the whole disk, or as much of it as 32 bits can say. */
void plk_gpt_encode_mbr(uint64_t sectors, uint8_t sector[PLK_GPT_SECTOR])
{
    static const uint8_t entry[8] = {0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff};
    PlkLe32 first = plk_to_le32(1);
    PlkLe32 count = plk_to_le32((uint32_t)PLK_MIN(sectors - 1, 0xffffffffu));

    assert(sectors > 1);
    memset(sector + 446, 0, 64);
    memcpy(sector + 446, entry, sizeof entry);
    memcpy(sector + 454, &first, sizeof first);
    memcpy(sector + 458, &count, sizeof count);
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

bool plk_gpt_entry_used(const PlkGptEntry *entry)
{
    return !plk_is_zero(entry->type, sizeof entry->type);
}

void plk_gpt_entry_set(PlkGptEntry *entry, const uint8_t guid[16], uint64_t first, uint64_t last,
                       const char *name)
{
    size_t len = strlen(name);

    assert(len <= sizeof entry->name / 2 && first <= last);
    memset(entry, 0, sizeof *entry);
    memcpy(entry->type, PLK_GPT_TYPE_LINUX, sizeof entry->type);
    memcpy(entry->guid, guid, sizeof entry->guid);
    entry->first = plk_to_le64(first);
    entry->last = plk_to_le64(last);
    for (size_t i = 0; i < len; i++)
        entry->name[2 * i] = (uint8_t)name[i];
}
