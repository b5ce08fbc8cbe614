/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading and writing the partition table through the disk.
 *
 * Order of writing: the copy at the end first, then the one at the start, each as array before header. On a
 * live disk a crash in between leaves one valid copy; resizing works on a scratch delta anyway.
 */
#include "filesystem/partition.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <uuid/uuid.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "filesystem/gpt.h"

typedef struct Table {
    PlkGptHeader header;
    PlkGptEntry *entries;
} Table;

static void table_clear(Table *table)
{
    free(table->entries);
    table->entries = NULL;
}

#define TABLE_AUTO plk_cleanup(table_clear)

static uint64_t array_sectors(uint32_t n_entries)
{
    return plk_div_up((uint64_t)n_entries * sizeof(PlkGptEntry), PLK_GPT_SECTOR);
}

/* Where a partition of a disk of that size ends (first byte behind it). */
static uint64_t layout_end(uint64_t disk_bytes, uint32_t cluster, uint32_t n_entries)
{
    uint64_t reserve = (array_sectors(n_entries) + 1) * PLK_GPT_SECTOR;

    reserve = PLK_MAX(reserve, cluster);
    return disk_bytes <= reserve ? 0 : plk_round_down(disk_bytes - reserve, cluster);
}

bool plk_partition_layout(uint64_t disk_bytes, uint32_t cluster_bytes, PlkPartition *ret)
{
    uint64_t start = plk_round_up(PLK_GPT_FIRST_USABLE * PLK_GPT_SECTOR, cluster_bytes);
    uint64_t end = layout_end(disk_bytes, cluster_bytes, PLK_GPT_ENTRIES);

    if (end <= start)
        return false;
    *ret = (PlkPartition){.offset = start, .length = end - start, .in_table = true};
    return true;
}

static int fail_io(PlkDisk *disk, int rc, const char *act, PlkError *err)
{
    PlkError why = {0};

    plk_disk_explain(disk, rc, &why);
    return plk_fail(err, why.code == PLK_OK ? PLK_ERROR_PARTITION : why.code,
                    "cannot %s the partition table: %s", act, why.message);
}

/* One copy, by its header's place. 1 = valid, 0 = not, -1 = error. *ret_signed: somebody made a table here.
 */
static int read_copy(PlkDisk *disk, uint64_t lba, Table *ret, bool *ret_signed, PlkError *err)
{
    uint8_t sector[PLK_GPT_SECTOR];
    PLK_FREE PlkGptEntry *entries = NULL;
    PlkGptHeader header;
    uint64_t sectors = plk_disk_size(disk) / PLK_GPT_SECTOR;
    size_t bytes;
    int rc = plk_disk_read(disk, sector, sizeof sector, lba * PLK_GPT_SECTOR);

    if (rc)
        return fail_io(disk, rc, "read", err);
    *ret_signed |= plk_gpt_has_signature(sector);
    if (!plk_gpt_decode_header(sector, lba, &header))
        return 0;
    if (header.entries_lba >= sectors || array_sectors(header.n_entries) > sectors - header.entries_lba)
        return 0;
    bytes = header.n_entries * sizeof *entries;
    entries = plk_malloc(bytes);
    if (!entries)
        return plk_fail_nomem(err);
    rc = plk_disk_read(disk, entries, bytes, header.entries_lba * PLK_GPT_SECTOR);
    if (rc)
        return fail_io(disk, rc, "read", err);
    if (plk_gpt_crc32(entries, bytes) != header.entries_crc)
        return 0;
    *ret = (Table){.header = header, .entries = PLK_TAKE(entries)};
    return 1;
}

/* 1 = there is a table, 0 = there is none, -1 = error, a damaged table included. */
static int table_read(PlkDisk *disk, Table *ret, PlkError *err)
{
    uint64_t sectors = plk_disk_size(disk) / PLK_GPT_SECTOR;
    bool signature = false;
    int rc;

    if (sectors <= PLK_GPT_FIRST_USABLE)
        return 0;
    rc = read_copy(disk, PLK_GPT_HEADER_LBA, ret, &signature, err);
    if (rc == 0)
        rc = read_copy(disk, sectors - 1, ret, &signature, err);
    if (rc || !signature)
        return rc;
    return plk_fail(err, PLK_ERROR_PARTITION, "both copies of the GPT partition table are damaged");
}

/* The first partition by place, or NULL. */
static PlkGptEntry *table_first(const Table *table)
{
    PlkGptEntry *first = NULL;

    for (uint32_t i = 0; i < table->header.n_entries; i++) {
        PlkGptEntry *e = &table->entries[i];
        if (plk_gpt_entry_used(e) && (!first || plk_le64(e->first) < plk_le64(first->first)))
            first = e;
    }
    return first;
}

static int write_at(PlkDisk *disk, const void *buf, size_t len, uint64_t lba, PlkError *err)
{
    int rc = plk_disk_write(disk, buf, len, lba * PLK_GPT_SECTOR);

    return rc ? fail_io(disk, rc, "write", err) : 0;
}

/* Both copies and the protective MBR, for a disk of so many sectors. */
static int table_write(PlkDisk *disk, Table *table, uint64_t sectors, PlkError *err)
{
    PlkGptHeader main = table->header;
    uint8_t sector[PLK_GPT_SECTOR];
    uint64_t array = array_sectors(main.n_entries);
    size_t bytes = main.n_entries * sizeof *table->entries;
    int rc;

    main.entries_lba = PLK_GPT_ENTRIES_LBA;
    main.alternate_lba = sectors - 1;
    main.last_usable = sectors - 2 - array;
    main.entries_crc = plk_gpt_crc32(table->entries, bytes);
    PlkGptHeader copy = main;
    copy.entries_lba = main.last_usable + 1;
    copy.alternate_lba = PLK_GPT_HEADER_LBA;

    plk_gpt_encode_header(&copy, sectors - 1, sector);
    if (write_at(disk, table->entries, bytes, copy.entries_lba, err) ||
        write_at(disk, sector, sizeof sector, sectors - 1, err))
        return -1;
    plk_gpt_encode_header(&main, PLK_GPT_HEADER_LBA, sector);
    if (write_at(disk, table->entries, bytes, main.entries_lba, err) ||
        write_at(disk, sector, sizeof sector, PLK_GPT_HEADER_LBA, err))
        return -1;
    rc = plk_disk_read(disk, sector, sizeof sector, 0);
    if (rc)
        return fail_io(disk, rc, "read", err);
    plk_gpt_encode_mbr(sectors, sector);
    return write_at(disk, sector, sizeof sector, 0, err);
}

int plk_partition_create(PlkDisk *disk, PlkPartition *ret, PlkError *err)
{
    PlkGptEntry entries[PLK_GPT_ENTRIES] = {0};
    Table table = {.entries = entries};
    PlkPartition part;
    uuid_t guid;

    if (!plk_partition_layout(plk_disk_size(disk), plk_disk_cluster(disk), &part))
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "a disk of %" PRIu64 " bytes is too small for a partition table",
                        plk_disk_size(disk));
    table.header.n_entries = PLK_GPT_ENTRIES;
    table.header.first_usable = PLK_GPT_FIRST_USABLE;
    uuid_generate_random(guid);
    memcpy(table.header.disk_guid, guid, sizeof guid);
    uuid_generate_random(guid);
    plk_gpt_entry_set(&entries[0], guid, part.offset / PLK_GPT_SECTOR,
                      (part.offset + part.length) / PLK_GPT_SECTOR - 1, "primary");
    if (table_write(disk, &table, plk_disk_size(disk) / PLK_GPT_SECTOR, err))
        return -1;
    *ret = part;
    return 0;
}

int plk_partition_find(PlkDisk *disk, PlkPartition *ret, PlkError *err)
{
    TABLE_AUTO Table table = {0};
    uint64_t sectors = plk_disk_size(disk) / PLK_GPT_SECTOR, first, last;
    const PlkGptEntry *entry;
    int rc = table_read(disk, &table, err);

    if (rc < 0)
        return -1;
    if (rc == 0) {
        *ret = (PlkPartition){.offset = 0, .length = plk_disk_size(disk)};
        return 0;
    }
    entry = table_first(&table);
    if (!entry)
        return plk_fail(err, PLK_ERROR_NOT_FOUND, "the partition table has no partition");
    first = plk_le64(entry->first);
    last = plk_le64(entry->last);
    if (first < PLK_GPT_FIRST_USABLE || first > last || last >= sectors)
        return plk_fail(err, PLK_ERROR_PARTITION,
                        "the partition from sector %" PRIu64 " to %" PRIu64
                        " does not lie inside the disk of %" PRIu64 " sectors",
                        first, last, sectors);
    *ret = (PlkPartition){
        .offset = first * PLK_GPT_SECTOR,
        .length = (last - first + 1) * PLK_GPT_SECTOR,
        .in_table = true,
    };
    return 0;
}

/* Moving the end of `ours` must not run into, or leave outside, any other partition. */
static int check_alone(const Table *table, const PlkGptEntry *ours, PlkError *err)
{
    for (uint32_t i = 0; i < table->header.n_entries; i++) {
        const PlkGptEntry *e = &table->entries[i];
        if (e != ours && plk_gpt_entry_used(e))
            return plk_fail(err, PLK_ERROR_PARTITION,
                            "partition %" PRIu32 " lies behind the first one: its size cannot be changed",
                            i + 1);
    }
    return 0;
}

int plk_partition_fit(PlkDisk *disk, uint64_t disk_bytes, PlkPartition *ret, PlkError *err)
{
    TABLE_AUTO Table table = {0};
    PlkGptEntry *ours;
    uint64_t start, end;
    int rc = table_read(disk, &table, err);

    assert(disk_bytes <= plk_disk_size(disk));
    if (rc < 0)
        return -1;
    if (rc == 0) {
        *ret = (PlkPartition){.offset = 0, .length = disk_bytes};
        return 0;
    }
    ours = table_first(&table);
    if (!ours)
        return plk_fail(err, PLK_ERROR_NOT_FOUND, "the partition table has no partition");
    if (check_alone(&table, ours, err))
        return -1;
    end = layout_end(disk_bytes, plk_disk_cluster(disk), table.header.n_entries) / PLK_GPT_SECTOR;
    start = plk_le64(ours->first);
    if (start < PLK_GPT_ENTRIES_LBA + array_sectors(table.header.n_entries) || end <= start)
        return plk_fail(err, PLK_ERROR_PARTITION,
                        "the partition from sector %" PRIu64 " does not fit a disk of %" PRIu64 " bytes",
                        start, disk_bytes);
    ours->last = plk_to_le64(end - 1);
    if (table_write(disk, &table, disk_bytes / PLK_GPT_SECTOR, err))
        return -1;
    *ret = (PlkPartition){
        .offset = start * PLK_GPT_SECTOR,
        .length = (end - start) * PLK_GPT_SECTOR,
        .in_table = true,
    };
    return 0;
}
