/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The header and BAT codec against worked headers of docs/formats/image.md and one lie a field. */
#include "base/math.h"
#include "format/header.h"
#include "test.h"

#define MIB 2048ull /* sectors */
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

/* An 8 MiB disk as the ploop command makes it: version 1, clusters of 1 MiB. */
static const uint8_t eight_mib[PLK_HEADER_BYTES] = {
    'W', 'i',  't', 'h', 'o',  'u',  't', 'F', 'r', 'e', 'e', 'S', 'p', 'a',  'c', 'e', /* 00 */
    2,   0,    0,   0,   0x10, 0,    0,   0,   32,  0,   0,   0,   0,   0x08, 0,   0,   /* 10 */
    8,   0,    0,   0,   0,    0x40, 0,   0,   0,   0,   0,   0,   0,   0,    0,   0,   /* 20 */
    0,   0x08, 0,   0,   1,    0,    0,   0,                                            /* 30 */
};

/* A sound header of 256 clusters of 32 KiB with the 32-bit field at `offset` set to `value`. */
static void patched(int version, unsigned offset, uint32_t value, uint8_t out[PLK_HEADER_BYTES])
{
    PlkError err;
    PlkHeader h;

    CHECK_OK(plk_header_make(version, 256 * 64, 64, &h, &err), err);
    plk_header_encode(&h, out);
    for (unsigned i = 0; i < 4; i++)
        out[offset + i] = (uint8_t)(value >> (8 * i));
}

static bool strict_accepts(int version, unsigned offset, uint32_t value)
{
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader h, loose;
    PlkError err;

    patched(version, offset, value, buf);
    CHECK_OK(plk_header_decode(buf, sizeof buf, "x.hds", PLK_HEADER_LOOSE, &loose, &err), err);
    CHECK_INT(loose.version, version);
    if (plk_header_decode(buf, sizeof buf, "x.hds", PLK_HEADER_STRICT, &h, &err) == 0)
        return true;
    CHECK_INT(err.code, PLK_ERROR_FORMAT);
    CHECK(strstr(err.message, "x.hds: offset "));
    return false;
}

TEST(a_header_made_by_ploop_decodes)
{
    PlkError err;
    PlkHeader h;

    CHECK_OK(plk_header_decode(eight_mib, sizeof eight_mib, "x", PLK_HEADER_STRICT, &h, &err), err);
    CHECK_INT(h.version, 1);
    CHECK_INT(h.disk_type, 2);
    CHECK_INT(h.heads, 16);
    CHECK_INT(h.cylinders, 32);
    CHECK_INT(h.cluster_sectors, 2048);
    CHECK_INT(h.bat_entries, 8);
    CHECK_INT(h.size_sectors, 16384);
    CHECK_INT(h.in_use, PLK_IN_USE_CLOSED);
    CHECK_INT(h.first_block_sectors, 2048);
    CHECK_INT(h.flags, PLK_FLAG_EMPTY);
    CHECK_INT(h.ext_sector, 0);
}

TEST(a_fresh_header_is_to_the_byte_the_one_ploop_makes)
{
    uint8_t buf[PLK_HEADER_BYTES];
    PlkError err;
    PlkHeader h;

    CHECK_OK(plk_header_make(1, 8 * MIB, 2048, &h, &err), err);
    plk_header_encode(&h, buf);
    CHECK(memcmp(buf, eight_mib, sizeof buf) == 0);
}

TEST(large_fresh_headers_match_ploop)
{
    PlkError err;
    PlkHeader h;

    CHECK_OK(plk_header_make(2, TIB, 2048, &h, &err), err);
    CHECK_INT(h.cylinders, 0x400000);
    CHECK_INT(h.heads, 16);
    CHECK_INT(h.bat_entries, 0x100000);
    CHECK_INT(h.first_block_sectors, 0x2800);
    CHECK_OK(plk_header_make(2, 100 * GIB, 0x20000, &h, &err), err);
    CHECK_INT(h.bat_entries, 1600);
    CHECK_INT(h.first_block_sectors, 0x20000);
    CHECK_OK(plk_header_make(2, 1100 * GIB, 2048, &h, &err), err);
    CHECK_INT(h.bat_entries, 0x113000);
    CHECK_INT(h.first_block_sectors, 0x2800);
}

TEST(every_field_survives_encode_and_decode)
{
    PlkHeader h = {2, 2, 7, 9, 64, 100, 5000, PLK_IN_USE_CLOSED21, 128, PLK_FLAG_CONVERT, 1ull << 40};
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader back;
    PlkError err;

    for (h.version = 1; h.version <= 2; h.version++) {
        plk_header_encode(&h, buf);
        CHECK_OK(plk_header_decode(buf, sizeof buf, "x", PLK_HEADER_STRICT, &back, &err), err);
        CHECK_INT(back.version, h.version);
        CHECK_INT(back.heads, 7);
        CHECK_INT(back.cylinders, 9);
        CHECK_INT(back.size_sectors, 5000);
        CHECK_INT(back.in_use, PLK_IN_USE_CLOSED21);
        CHECK_INT(back.first_block_sectors, 128);
        CHECK_INT(back.flags, PLK_FLAG_CONVERT);
        CHECK_INT(back.ext_sector, 1ll << 40);
    }
}

TEST(strict_refuses_each_lie_and_loose_shows_it)
{
    CHECK(strict_accepts(1, 52, 0x80)); /* unknown flags mean nothing */
    CHECK(!strict_accepts(1, 16, 1));   /* disk type */
    CHECK(!strict_accepts(1, 28, 63));  /* cluster */
    CHECK(!strict_accepts(1, 28, 0));
    CHECK(!strict_accepts(1, 28, 32));
    CHECK(!strict_accepts(1, 28, 1u << 18));
    CHECK(!strict_accepts(1, 48, 0)); /* first block */
    CHECK(!strict_accepts(1, 48, 65));
    CHECK(!strict_accepts(1, 36, 0)); /* size */
    CHECK(!strict_accepts(1, 36, 257 * 64));
    CHECK(!strict_accepts(2, 40, 2)); /* size, high half */
    CHECK(!strict_accepts(2, 32, 255));
    CHECK(!strict_accepts(2, 32, UINT32_MAX));
}

TEST(the_bat_must_end_before_the_first_block)
{
    CHECK(strict_accepts(2, 32, 8192 - 16)); /* fills one 32 KiB cluster exactly */
    CHECK(!strict_accepts(2, 32, 8192 - 15));
}

TEST(a_partial_last_cluster_may_lack_its_entry_or_have_one)
{
    CHECK(strict_accepts(1, 36, 256 * 64 + 3));
    CHECK(strict_accepts(1, 36, 256 * 64 - 3));
}

TEST(the_unused_bytes_of_a_v1_size_are_ignored)
{
    CHECK(strict_accepts(1, 40, 0xffffffff));
}

TEST(each_in_use_mark_is_a_fact_and_no_fault)
{
    CHECK(strict_accepts(1, 44, PLK_IN_USE_OPEN));
    CHECK(strict_accepts(2, 44, PLK_IN_USE_CLOSED21));
    CHECK(strict_accepts(1, 44, 1));
}

TEST(what_is_no_image_is_refused_even_loosely)
{
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader h = {.version = 77};
    PlkError err;

    memcpy(buf, eight_mib, sizeof buf);
    CHECK_FAILS(plk_header_decode(buf, 63, "x", PLK_HEADER_LOOSE, &h, &err), err, PLK_ERROR_FORMAT);
    CHECK_FAILS(plk_header_decode(buf, 0, "x", PLK_HEADER_LOOSE, &h, &err), err, PLK_ERROR_FORMAT);
    buf[9] = 'X';
    CHECK_FAILS(plk_header_decode(buf, 64, "x", PLK_HEADER_LOOSE, &h, &err), err, PLK_ERROR_FORMAT);
    CHECK_STR(err.message, "x: offset 0: not a ploop image: unknown signature");
    CHECK_INT(h.version, 77); /* untouched */
}

TEST(sizes_round_up_except_at_the_limit)
{
    PlkError err;
    PlkHeader h;

    CHECK_OK(plk_header_make(1, 1, 64, &h, &err), err);
    CHECK_INT(h.size_sectors, 64);
    CHECK_OK(plk_header_make(1, UINT32_MAX, 2048, &h, &err), err);
    CHECK_INT(h.size_sectors, (1ll << 32) - 2048);
    CHECK_INT(h.size_sectors, plk_header_max_size(1, 2048));
    CHECK_OK(plk_header_make(2, 1ull << 32, 2048, &h, &err), err);
    CHECK_INT(h.size_sectors, 1ll << 32);
    CHECK_OK(plk_header_make(2, plk_header_max_size(2, 64), 64, &h, &err), err);
    CHECK_INT(h.bat_entries, UINT32_MAX - 16);
}

TEST(sizes_a_version_can_not_describe_are_refused)
{
    PlkError err;
    PlkHeader h;

    CHECK_FAILS(plk_header_make(1, 1ull << 32, 2048, &h, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_header_make(1, 5 * TIB, 2048, &h, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_header_make(2, UINT64_MAX, 64, &h, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_header_make(2, 0, 64, &h, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_header_make(2, 64, 32, &h, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_header_make(2, 64, 100, &h, &err), err, PLK_ERROR_ARGUMENT);
    CHECK_FAILS(plk_header_make(3, 64, 64, &h, &err), err, PLK_ERROR_ARGUMENT);
}

static void check_geometry(uint64_t size, uint32_t cylinders, uint32_t heads, uint32_t sectors)
{
    uint32_t c, h, s;

    plk_geometry(size, &h, &c, &s);
    CHECK_INT(c, cylinders);
    CHECK_INT(h, heads);
    CHECK_INT(s, sectors);
}

TEST(geometry_follows_ploop)
{
    check_geometry(2048, 4, 16, 32);
    check_geometry(8 * MIB, 32, 16, 32);
    check_geometry(GIB, 2080, 16, 63); /* 2096640 sectors: less than the disk */
    check_geometry(1032192, 1024, 16, 63);
    check_geometry(16777216, 32768, 16, 32);
    check_geometry(TIB, 0x400000, 16, 32);
    check_geometry(24, 24, 1, 1); /* 8 divides 24, but nothing divides 3 */
    check_geometry(17, 17, 1, 1);
    check_geometry(0, 0, 16, 63);
}

TEST(slots_live_behind_the_header_in_pages)
{
    CHECK_INT(plk_bat_offset(0), 64);
    CHECK_INT(plk_bat_page(1007), 0);
    CHECK_INT(plk_bat_page(1008), 1);
    CHECK_INT(plk_bat_index(1008), 0);
    CHECK_INT(plk_bat_page_count(0), 1);
    CHECK_INT(plk_bat_page_count(1008), 1);
    CHECK_INT(plk_bat_page_count(1009), 2);
    CHECK_INT(plk_bat_area_bytes(262128, 2048), 1 << 20); /* 1 MiB clusters: one header cluster */
    CHECK_INT(plk_bat_area_bytes(262129, 2048), 2 << 20);
}

TEST(v1_entries_are_sectors_and_v2_entries_clusters)
{
    static const uint8_t sectors[] = {0, 0, 0, 0,  64, 0, 0,    0,    65,   0,
                                      0, 0, 0, 64, 0,  0, 0xc0, 0xff, 0xff, 0xff};
    uint32_t slots[5];

    plk_bat_decode(1, 64, sectors, slots, 5);
    CHECK_INT(slots[0], 0);
    CHECK_INT(slots[1], 1);
    CHECK_INT(slots[2], PLK_BAT_MISALIGNED);
    CHECK_INT(slots[3], 256);
    CHECK_INT(slots[4], 0x3ffffff);
    plk_bat_decode(2, 64, sectors, slots, 5);
    CHECK_INT(slots[2], 65);
    CHECK_INT(slots[3], 0x4000);
    plk_bat_decode(1, 63, sectors, slots, 5); /* as a loosely read header may have it */
    CHECK_INT(slots[0], 0);
    CHECK_INT(slots[1], PLK_BAT_MISALIGNED);
}

TEST(entries_survive_encode_and_decode_at_any_alignment)
{
    static uint8_t bytes[4 * 1024 + 3];
    static uint32_t in[1024], out[1024];

    for (uint32_t i = 0; i < 1024; i++)
        in[i] = i * 2654435761u >> 11; /* 21 bits: fits v1 with 1 MiB clusters */
    for (int version = 1; version <= 2; version++) {
        for (size_t n = 0; n < 1024; n += 17) {
            CHECK(plk_bat_encode(version, 2048, in, bytes + 3, n));
            plk_bat_decode(version, 2048, bytes + 3, out, n);
            CHECK(memcmp(in, out, 4 * n) == 0);
        }
    }
}

TEST(a_cluster_beyond_2_tib_does_not_fit_a_v1_entry)
{
    uint32_t slots[2] = {1, (1u << 21) - 1};
    uint8_t bytes[8];

    CHECK(plk_bat_encode(1, 2048, slots, bytes, 2));
    slots[1]++;
    CHECK(!plk_bat_encode(1, 2048, slots, bytes, 2));
    CHECK(plk_bat_encode(2, 2048, slots, bytes, 2));
    slots[0] = PLK_BAT_MISALIGNED;
    CHECK(!plk_bat_encode(2, 2048, slots, bytes, 2));
}

TEST_MAIN()
