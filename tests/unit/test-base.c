/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "base/alloc.h"
#include "base/crc64.h"
#include "base/error.h"
#include "base/guid.h"
#include "base/math.h"
#include "base/text.h"
#include "base/units.h"
#include "test.h"

TEST(sizes_follow_the_ploop_parser)
{
    uint64_t v;

    CHECK_INT(plk_parse_sectors("100", &v), 0);
    CHECK_INT(v, 100);
    CHECK_INT(plk_parse_sectors("0x10K", &v), 0);
    CHECK_INT(v, 32);
    CHECK_INT(plk_parse_sectors("1g", &v), 0);
    CHECK_INT(v, 2097152);
    CHECK_INT(plk_parse_sectors("0M", &v), 0);
    CHECK_INT(v, 0);
    CHECK_INT(plk_parse_sectors("1.5G", &v), -EINVAL);
    CHECK_INT(plk_parse_sectors("1GB", &v), -EINVAL);
    CHECK_INT(plk_parse_sectors("-1", &v), -EINVAL);
    CHECK_INT(plk_parse_sectors("", &v), -EINVAL);
    CHECK_INT(plk_parse_sectors("1e99", &v), -EINVAL);
    CHECK_INT(plk_parse_sectors("99999999999999999999", &v), -ERANGE);
    CHECK_INT(plk_parse_sectors("2000T", &v), -ERANGE);
}

TEST(escaped_text_is_one_line_of_printable_utf8)
{
    char out[64];

    plk_escape(out, sizeof out, "a\nb\tc\033[2J\177");
    CHECK_STR(out, "a\\nb\\tc\\x1b[2J\\x7f");
    plk_escape(out, sizeof out, "\xc3\xa4 \xe2\x82\xac \xc2\x9b \xff \xc3");
    CHECK_STR(out, "\xc3\xa4 \xe2\x82\xac \\xc2\\x9b \\xff \\xc3");
    plk_escape(out, sizeof out, "\\n stays, ' and % too");
    CHECK_STR(out, "\\n stays, ' and % too");
}

TEST(escaped_text_is_cut_between_characters)
{
    char out[6];

    plk_escape(out, sizeof out, "abc\nd");
    CHECK_STR(out, "abc\\n");
    plk_escape(out, sizeof out, "abcd\n");
    CHECK_STR(out, "abcd");
    plk_escape(out, sizeof out, "abcd\xc3\xa4");
    CHECK_STR(out, "abcd");
    plk_escape(out, sizeof out, "abcdefgh");
    CHECK_STR(out, "abcde");
    plk_escape(out, 1, "abc");
    CHECK_STR(out, "");
}

TEST(guids_keep_their_case_and_compare_without_it)
{
    PlkGuid a, b;

    CHECK(plk_guid_parse("5FBAABE3-6958-40ff-92a7-860e329aab41", &a));
    CHECK_STR(a.text, "{5FBAABE3-6958-40ff-92a7-860e329aab41}");
    CHECK(plk_guid_equal(&a, &PLK_GUID_TOP));
    CHECK(!plk_guid_parse("{5fbaabe3-6958-40ff-92a7-860e329aab41", &a));
    CHECK(!plk_guid_parse("5fbaabe3x6958-40ff-92a7-860e329aab41", &a));
    CHECK(!plk_guid_parse("base", &a));
    plk_guid_random(&a);
    plk_guid_random(&b);
    CHECK(!plk_guid_equal(&a, &b));
}

TEST(messages_are_one_printable_line)
{
    PlkError err;

    plk_fail_errno(&err, PLK_ERROR_OPEN, ENOENT, "image '%s'", "a\nb\033[1m");
    CHECK_STR(err.message, "image 'a\\nb\\x1b[1m': No such file or directory");
    plk_error_prefix(&err, "volume '%s': ", "v");
    CHECK_STR(err.message, "volume 'v': image 'a\\nb\\x1b[1m': No such file or directory");
    CHECK_INT(plk_fail_io(&err, PLK_ERROR_WRITE, -ENOSPC, "x"), -1);
    CHECK_INT(err.code, PLK_ERROR_NO_SPACE);
}

TEST(zero_detection_sees_every_byte)
{
    unsigned char buf[257] = {0};

    CHECK(plk_is_zero(buf, sizeof buf));
    for (size_t i = 0; i < sizeof buf; i++) {
        buf[i] = 1;
        CHECK(!plk_is_zero(buf, sizeof buf));
        buf[i] = 0;
    }
}

TEST(allocation_failures_are_injected_once_or_for_good)
{
    void *p;

    plk_alloc_fail_at(2, 0);
    p = plk_malloc(1);
    CHECK(p);
    CHECK(!plk_malloc(1));
    free(p);
    p = plk_malloc(1);
    CHECK(p);
    free(p);
    plk_alloc_fail_at(1, 1);
    CHECK(!plk_malloc(1) && !plk_calloc(1, 1) && !plk_strdup("x"));
    plk_alloc_fail_at(0, 0);
}

TEST(crc64_is_that_of_xz)
{
    const char digits[] = "123456789", text[] = "a longer text, to take eight bytes at a time";

    CHECK(plk_crc64(0, digits, 9) == 0x995dc9bbdf1939fau);
    CHECK(plk_crc64(plk_crc64(0, text, 3), text + 3, sizeof text - 3) == plk_crc64(0, text, sizeof text));
}

TEST_MAIN()
