/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The partition table: ploop's layout, what survives damage, and what a resize keeps. */
#include "disk.h"

#include "filesystem/gpt.h"
#include "filesystem/partition.h"

#define MIB (1024ull * 1024)

static void check_layout(uint64_t mib, uint64_t first, uint64_t last)
{
    PlkPartition part;

    CHECK(plk_partition_layout(mib * MIB, MIB, &part));
    CHECK_INT(part.offset / 512, first);
    CHECK_INT((part.offset + part.length) / 512 - 1, last);
}

/* Numbers observed with the original tool and parted 3.5. */
TEST(layout_is_that_of_ploop_init)
{
    PlkPartition part;

    check_layout(1024, 2048, 2095103);
    check_layout(100, 2048, 202751);
    check_layout(10, 2048, 18431);
    CHECK(!plk_partition_layout(2 * MIB, MIB, &part));
}

TEST(checksum_is_crc32)
{
    CHECK_INT(plk_gpt_crc32("123456789", 9), 0xcbf43926u);
}

static void make(TestDisk *t, uint64_t mib, PlkPartition *ret)
{
    PlkError err;

    test_disk_make(t, mib * MIB, 2048);
    CHECK_OK(plk_partition_create(t->disk, ret, &err), err);
}

static void check_found(TestDisk *t, const PlkPartition *want)
{
    PlkPartition part;
    PlkError err;

    CHECK_OK(plk_partition_find(t->disk, &part, &err), err);
    CHECK_INT(part.offset, want->offset);
    CHECK_INT(part.length, want->length);
    CHECK(part.in_table);
}

static void spoil(TestDisk *t, uint64_t lba)
{
    uint8_t byte;

    CHECK_INT(plk_disk_read(t->disk, &byte, 1, lba * 512 + 60), 0);
    byte ^= 0x40;
    CHECK_INT(plk_disk_write(t->disk, &byte, 1, lba * 512 + 60), 0);
}

TEST(new_table_is_found_with_mbr_and_name)
{
    uint8_t mbr[512];
    PlkGptEntry entry;
    PlkPartition part;
    TestDisk t;

    make(&t, 100, &part);
    check_found(&t, &part);
    CHECK_INT(plk_disk_read(t.disk, mbr, sizeof mbr, 0), 0);
    CHECK_INT(mbr[450], 0xee);
    CHECK_INT(mbr[510], 0x55);
    CHECK_INT(plk_disk_read(t.disk, &entry, sizeof entry, 2 * 512), 0);
    CHECK(memcmp(entry.name, "p\0r\0i\0m\0a\0r\0y\0\0", 16) == 0);
    CHECK(memcmp(entry.type, PLK_GPT_TYPE_LINUX, 16) == 0);
    test_disk_end(&t);
}

TEST(damaged_header_or_array_is_replaced_by_the_copy)
{
    PlkPartition part;
    TestDisk t;

    for (uint64_t lba = 1; lba <= 2; lba++) {
        make(&t, 10, &part);
        spoil(&t, lba);
        check_found(&t, &part);
        test_disk_end(&t);
    }
}

TEST(two_damaged_copies_are_an_error)
{
    PlkPartition part;
    PlkError err;
    TestDisk t;

    make(&t, 10, &part);
    spoil(&t, 1);
    spoil(&t, 10 * MIB / 512 - 1);
    CHECK_FAILS(plk_partition_find(t.disk, &part, &err), err, PLK_ERROR_PARTITION);
    test_disk_end(&t);
}

TEST(disk_without_table_is_one_partition)
{
    PlkPartition part;
    PlkError err;
    TestDisk t;

    test_disk_make(&t, 10 * MIB, 2048);
    CHECK_OK(plk_partition_find(t.disk, &part, &err), err);
    CHECK(!part.in_table && part.offset == 0 && part.length == 10 * MIB);
    test_disk_end(&t);
}

TEST(resize_moves_the_end_and_keeps_identities)
{
    PlkGptEntry before, after;
    PlkPartition part;
    PlkError err;
    TestDisk t;

    make(&t, 100, &part);
    CHECK_INT(plk_disk_read(t.disk, &before, sizeof before, 2 * 512), 0);
    CHECK_OK(plk_partition_fit(t.disk, 64 * MIB, &part, &err), err);
    CHECK_INT((part.offset + part.length) / 512, 63 * 2048);
    check_found(&t, &part);
    /* The copy is where a disk of 64 MiB ends. */
    spoil(&t, 100 * MIB / 512 - 1);
    CHECK_OK(plk_partition_fit(t.disk, 100 * MIB, &part, &err), err);
    spoil(&t, 1);
    check_found(&t, &part);
    CHECK_INT(plk_disk_read(t.disk, &after, sizeof after, 2 * 512), 0);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    test_disk_end(&t);
}

/* Adds a second partition behind ours, in the first copy only, checksums right. */
static void add_partition(TestDisk *t, uint64_t first, uint64_t last)
{
    PlkGptEntry entries[PLK_GPT_ENTRIES];
    PlkGptHeader header;
    uint8_t sector[512], guid[16] = {7};

    CHECK_INT(plk_disk_read(t->disk, sector, 512, 512), 0);
    CHECK_INT(plk_disk_read(t->disk, entries, sizeof entries, 1024), 0);
    CHECK(plk_gpt_decode_header(sector, 1, &header));
    plk_gpt_entry_set(&entries[1], guid, first, last, "other");
    header.entries_crc = plk_gpt_crc32(entries, sizeof entries);
    plk_gpt_encode_header(&header, 1, sector);
    CHECK_INT(plk_disk_write(t->disk, sector, 512, 512), 0);
    CHECK_INT(plk_disk_write(t->disk, entries, sizeof entries, 1024), 0);
}

TEST(resize_is_refused_with_a_partition_behind)
{
    PlkPartition part;
    PlkError err;
    TestDisk t;

    make(&t, 100, &part);
    CHECK_OK(plk_partition_fit(t.disk, 50 * MIB, &part, &err), err);
    add_partition(&t, 60 * 2048, 70 * 2048 - 1);
    CHECK_FAILS(plk_partition_fit(t.disk, 100 * MIB, &part, &err), err, PLK_ERROR_PARTITION);
    CHECK(strstr(err.message, "partition 2"));
    test_disk_end(&t);
}

TEST(partition_beyond_the_disk_is_refused)
{
    PlkPartition part;
    PlkError err;
    TestDisk t;

    make(&t, 10, &part);
    add_partition(&t, 40, 999999);
    CHECK_FAILS(plk_partition_find(t.disk, &part, &err), err, PLK_ERROR_PARTITION);
    test_disk_end(&t);
}

TEST_MAIN()
