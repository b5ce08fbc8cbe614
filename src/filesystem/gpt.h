/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * GUID partition table, bytes <-> structs. Pure: no I/O. Sectors are 512 bytes, as ploop's are.
 *
 * Entries are kept as found on disk, so that a table read and written again keeps the GUIDs, names and
 * attributes of every partition, our own included.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endian.h"

#define PLK_GPT_SECTOR 512u
#define PLK_GPT_HEADER_LBA 1u
#define PLK_GPT_ENTRIES_LBA 2u
#define PLK_GPT_ENTRIES 128u /* of a new table */
#define PLK_GPT_ENTRIES_MAX 1024u
#define PLK_GPT_ARRAY_SECTORS 32u /* 128 entries */
#define PLK_GPT_FIRST_USABLE (PLK_GPT_ENTRIES_LBA + PLK_GPT_ARRAY_SECTORS)

/* One partition, 128 bytes. UEFI 2.10, table 5.6. */
typedef struct __attribute__((packed)) PlkGptEntry {
    uint8_t type[16];   /*   0  all zero: unused */
    uint8_t guid[16];   /*  16 */
    PlkLe64 first;      /*  32  LBA */
    PlkLe64 last;       /*  40  LBA, inclusive */
    PlkLe64 attributes; /*  48 */
    uint8_t name[72];   /*  56  UTF-16LE */
} PlkGptEntry;
_Static_assert(sizeof(PlkGptEntry) == 128, "GPT entry");
_Static_assert(offsetof(PlkGptEntry, name) == 56, "GPT entry name");

/* What a header says, minus what follows from where it lies. */
typedef struct PlkGptHeader {
    uint64_t alternate_lba, first_usable, last_usable;
    uint64_t entries_lba;
    uint32_t n_entries, entries_crc;
    uint8_t disk_guid[16];
} PlkGptHeader;

extern const uint8_t PLK_GPT_TYPE_LINUX[16]; /* 0FC63DAF-8483-4772-8E79-3D69D8477DE4 */

uint32_t plk_gpt_crc32(const void *buf, size_t len);

bool plk_gpt_has_signature(const uint8_t sector[PLK_GPT_SECTOR]);
/* False unless every field and the checksum fit a header at `lba`. */
bool plk_gpt_decode_header(const uint8_t sector[PLK_GPT_SECTOR], uint64_t lba, PlkGptHeader *ret);
void plk_gpt_encode_header(const PlkGptHeader *header, uint64_t lba, uint8_t sector[PLK_GPT_SECTOR]);
/* The protective MBR of a disk of so many sectors; bytes 0..445, the boot code, stay. */
void plk_gpt_encode_mbr(uint64_t sectors, uint8_t sector[PLK_GPT_SECTOR]);

bool plk_gpt_entry_used(const PlkGptEntry *entry);
/* name is ASCII, at most 36 characters. */
void plk_gpt_entry_set(PlkGptEntry *entry, const uint8_t guid[16], uint64_t first, uint64_t last,
                       const char *name);
