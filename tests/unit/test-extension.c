/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The format extension: the worked example of docs/formats/image.md, and one damage a field. */
#include "format/extension.h"
#include "format/md5.h"
#include "test.h"

#define CLUSTER 32768u
#define DISK_SECTORS 16384u

/* The first bytes of an extension cluster whose checksum another implementation computed. */
static const uint8_t worked[] = {
    0x87, 0xea, 0xdc, 0x23, 0xef, 0x4c, 0x23, 0xab, 0x58, 0xee, 0x16, 0xfd, 0xbf, 0x9d, 0xf2, 0x52, /* 00 */
    0x1e, 0xe5, 0x42, 0xe5, 0x2c, 0xfb, 0x48, 0x1e, 0x4a, 0xb3, 0x2c, 0x25, 0xae, 0x5f, 0x38, 0x20, /* 10 */
    0,    0,    0,    0,    0,    0,    0,    0,    0x28, 0,    0,    0,    0,    0,    0,    0,    /* 20 */
    0,    0x40, 0,    0,    0,    0,    0,    0,    0,    1,    2,    3,    4,    5,    6,    7,    /* 30 */
    8,    9,    10,   11,   12,   13,   14,   15,   0x80, 0,    0,    0,    1,    0,    0,    0,    /* 40 */
    0xc0,                                                                                           /* 50 */
};

#define ELEMENT 24 /* offset of the first element; its data follows 24 bytes on */
#define DATA 48

static uint8_t cluster[CLUSTER];

static void load_worked(void)
{
    memset(cluster, 0, sizeof cluster);
    memcpy(cluster, worked, sizeof worked);
}

static void put32(unsigned offset, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        cluster[offset + i] = (uint8_t)(v >> (8 * i));
}

static void sign(void)
{
    plk_md5(cluster + 24, CLUSTER - 24, cluster + 8);
}

typedef struct Seen {
    unsigned n;
    PlkExtElement first, last;
    int answer;
} Seen;

static int remember(void *arg, const PlkExtElement *element)
{
    Seen *seen = arg;

    if (seen->n++ == 0)
        seen->first = *element;
    seen->last = *element;
    return seen->answer;
}

static int walk(Seen *seen, PlkError *err)
{
    return plk_extension_walk(cluster, CLUSTER, "x.hds", 0x20000, remember, seen, err);
}

static int decode(PlkDirtyBitmap *ret, PlkError *err)
{
    Seen seen = {0};

    CHECK_OK(walk(&seen, err), *err);
    return plk_dirty_bitmap_decode(&seen.first, DISK_SECTORS, CLUSTER, "x.hds", ret, err);
}

static void check_md5(const char *text, const char *wanted)
{
    uint8_t md5[16];
    char hex[33];

    plk_md5(text, strlen(text), md5);
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", md5[i]);
    CHECK_STR(hex, wanted);
}

TEST(md5_agrees_with_the_test_suite_of_rfc_1321)
{
    check_md5("", "d41d8cd98f00b204e9800998ecf8427e");
    check_md5("abc", "900150983cd24fb0d6963f7d28e17f72");
    check_md5("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
              "d174ab98d277d9f5a5611c2c9f419d9f");
    check_md5("12345678901234567890123456789012345678901234567890123456789012345678901234567890",
              "57edf4a22be3c955ac49da2e2107b67a");
}

TEST(the_worked_example_decodes)
{
    PlkDirtyBitmap bitmap;
    PlkError err;

    load_worked();
    CHECK_OK(decode(&bitmap, &err), err);
    CHECK_INT(bitmap.size_sectors, DISK_SECTORS);
    CHECK_INT(bitmap.granularity, 128);
    CHECK_INT(bitmap.uuid[15], 15);
    CHECK_INT(bitmap.l1_count, 1);
    CHECK_INT(plk_dirty_bitmap_l1(&bitmap, 0), 192);
}

TEST(an_empty_bitmap_as_ploop_writes_it_has_no_table)
{
    PlkDirtyBitmap bitmap;
    PlkError err;

    load_worked();
    put32(DATA + 28, 0);
    put32(ELEMENT + 16, 32);
    put32(DATA + 32, 0);
    sign();
    CHECK_OK(decode(&bitmap, &err), err);
    CHECK_INT(bitmap.l1_count, 0);
}

TEST(any_changed_byte_breaks_the_checksum)
{
    Seen seen = {0};
    PlkError err;

    for (unsigned at = 0; at < CLUSTER; at += 4099) {
        load_worked();
        cluster[at] ^= 1;
        CHECK_FAILS(walk(&seen, &err), err, PLK_ERROR_FORMAT);
        CHECK(strstr(err.message, at < 8 ? "offset 131072" : "offset 131080"));
    }
    CHECK_INT(seen.n, 0);
}

TEST(unknown_elements_are_shown_with_their_flags)
{
    Seen seen = {0};
    PlkError err;

    load_worked();
    put32(ELEMENT, 0x1234);
    put32(ELEMENT + 4, 0);
    put32(ELEMENT + 8, PLK_EXT_TRANSIT);
    sign();
    CHECK_OK(walk(&seen, &err), err);
    CHECK_INT(seen.last.magic, 0x1234);
    CHECK_INT(seen.last.flags, PLK_EXT_TRANSIT);
    CHECK_INT(seen.last.size, 40);
    CHECK_INT(seen.last.offset, 0x20000 + DATA);
}

TEST(elements_follow_each_other_at_multiples_of_eight)
{
    Seen seen = {0};
    PlkError err;

    load_worked();
    put32(ELEMENT + 16, 33);        /* padded to 40 */
    put32(DATA + 40, 0x77);         /* the next one, without data */
    put32(DATA + 40 + 24, 0x78);    /* and a third */
    put32(DATA + 40 + 24 + 16, 99); /* bytes */
    sign();
    CHECK_OK(walk(&seen, &err), err);
    CHECK_INT(seen.n, 3);
    CHECK_INT(seen.last.magic, 0x78);
    CHECK_INT(seen.last.size, 99);
}

TEST(a_callback_stops_the_walk_with_its_own_answer)
{
    Seen seen = {.answer = 5};
    PlkError err;

    load_worked();
    put32(DATA + 40, 0x77);
    sign();
    CHECK_INT(walk(&seen, &err), 5);
    CHECK_INT(seen.n, 1);
}

TEST(an_element_may_fill_the_cluster_but_not_leave_it)
{
    Seen seen = {0};
    PlkError err;

    load_worked();
    put32(ELEMENT + 16, CLUSTER - DATA);
    sign();
    CHECK_OK(walk(&seen, &err), err);
    put32(ELEMENT + 16, CLUSTER - DATA + 1);
    sign();
    CHECK_FAILS(walk(&seen, &err), err, PLK_ERROR_FORMAT);
    put32(ELEMENT + 16, UINT32_MAX);
    sign();
    CHECK_FAILS(walk(&seen, &err), err, PLK_ERROR_FORMAT);
    put32(ELEMENT + 16, CLUSTER - DATA - 8); /* leaves room for half an element head */
    put32(CLUSTER - 8, 0x77);
    sign();
    CHECK_FAILS(walk(&seen, &err), err, PLK_ERROR_FORMAT);
}

TEST(a_cluster_too_short_for_its_head_is_refused)
{
    Seen seen = {0};
    PlkError err;

    load_worked();
    for (size_t len = 0; len < 24; len++)
        CHECK_FAILS(plk_extension_walk(cluster, len, "x", 0, remember, &seen, &err), err, PLK_ERROR_FORMAT);
}

static void check_refused(unsigned offset, uint32_t value)
{
    PlkDirtyBitmap bitmap;
    PlkError err;

    load_worked();
    put32(offset, value);
    sign();
    CHECK_FAILS(decode(&bitmap, &err), err, PLK_ERROR_FORMAT);
}

TEST(a_bitmap_that_does_not_fit_its_disk_is_refused)
{
    check_refused(DATA, DISK_SECTORS - 1);
    check_refused(DATA + 4, 1); /* size, high half */
    check_refused(DATA + 24, 0);
    check_refused(DATA + 24, 129);
    check_refused(DATA + 28, 2);
    check_refused(DATA + 28, UINT32_MAX);
    check_refused(ELEMENT + 16, 39); /* the table leaves the element */
    check_refused(ELEMENT + 16, 24);
}

TEST_MAIN()
