/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The check of a whole disk: images below snapshots are repaired when that is asked for, and only then; what this
 * does to the states that stand on them is said before; a dry run says the same and writes nothing.
 */
#include <glob.h>

#include <ploopkit/check.h>

#include "volume.h"

#define FORCE (PLK_REPAIR_LOSSLESS | PLK_REPAIR_LOSSY | PLK_REPAIR_IN_USE)

static PlkError err;

typedef struct Account {
    char words[300]; /* "0/duplicate+": level, kind, + is fixed */
    char loss[400], proposal[400]; /* of the first one */
} Account;

static int tell(void *arg, const PlkFinding *f)
{
    Account *a = arg;
    size_t n = strlen(a->words);

    snprintf(a->words + n, sizeof a->words - n, "%s%u/%s%s", n ? " " : "", f->level, plk_finding_name(f->kind),
             f->fixed ? "+" : "");
    if (n > 0)
        return 0;
    snprintf(a->loss, sizeof a->loss, "%s", f->loss ? f->loss : "");
    snprintf(a->proposal, sizeof a->proposal, "%s", f->proposal ? f->proposal : "");
    return 0;
}

static PlkCheckResult check_disk(Volume *v, PlkCheckOptions options, Account *ret)
{
    PlkCheckResult result;

    options.struct_size = sizeof options;
    *ret = (Account){0};
    CHECK_OK(plk_check_disk(v->xml, &options, tell, ret, NULL, &result, &err), err);
    return result;
}

static void poke(const char *file, long offset, uint32_t value)
{
    FILE *f = fopen(file, "r+");

    CHECK(f && fseek(f, offset, SEEK_SET) == 0 && fwrite(&value, 4, 1, f) == 1);
    fclose(f);
}

static uint32_t peek(const char *file, long offset)
{
    FILE *f = fopen(file, "r");
    uint32_t value;

    CHECK(f && fseek(f, offset, SEEK_SET) == 0 && fread(&value, 4, 1, f) == 1);
    fclose(f);
    return value;
}

static long entry(unsigned slot)
{
    return 64 + 4 * (long)slot;
}

/* The one delta beside the base. */
static void find_delta(Volume *v, char path[600])
{
    char pattern[400];
    glob_t found;

    snprintf(pattern, sizeof pattern, "%s.{*", v->base);
    CHECK_INT(glob(pattern, 0, NULL, &found), 0);
    CHECK_INT(found.gl_pathc, 1);
    snprintf(path, 600, "%s", found.gl_pathv[0]);
    globfree(&found);
}

/* Three images: "abc" below, "xy" in the middle hiding the first two of these, "t" on top. */
static void make_chain(Volume *v, char middle[600])
{
    volume_new(v, PLK_FORMAT_EXPANDED, 2);
    volume_write(v, "0a 1b 2c");
    volume_snapshot(v, GUID_1);
    volume_write(v, "0x 1y");
    find_delta(v, middle);
    volume_snapshot(v, GUID_2);
    volume_write(v, "5t");
    volume_expect(v, GUID_1, "abc");
    volume_expect(v, GUID_2, "xyc");
    volume_expect(v, NULL, "xyc..t");
}

TEST(a_duplicate_in_a_lower_image_is_repaired_only_when_asked_for)
{
    char middle[600];
    Account a;
    Volume v;

    make_chain(&v, middle);
    poke(v.base, entry(3), peek(v.base, entry(2)));
    volume_expect(&v, NULL, "xycc.t");
    CHECK_INT(check_disk(&v, (PlkCheckOptions){.repair = FORCE}, &a).left, 1);
    CHECK_STR(a.words, "0/duplicate");
    CHECK_INT(peek(v.base, entry(3)), peek(v.base, entry(2)));
    CHECK_INT(check_disk(&v, (PlkCheckOptions){.repair = FORCE, .lower = true}, &a).left, 0);
    CHECK_STR(a.words, "0/duplicate+");
    CHECK(peek(v.base, entry(3)) != peek(v.base, entry(2)));
    volume_expect(&v, GUID_1, "abcc");
    volume_expect(&v, GUID_2, "xycc");
    volume_expect(&v, NULL, "xycc.t");
    check_disk(&v, (PlkCheckOptions){.repair = FORCE, .lower = true}, &a);
    CHECK_STR(a.words, "");
    volume_remove(&v);
}

TEST(a_cleared_entry_shows_what_lies_below_in_all_states_above_and_this_is_said_before)
{
    char middle[600];
    Account a;
    Volume v;

    make_chain(&v, middle);
    poke(middle, entry(1), 4000);
    volume_expect(&v, GUID_2, "x.c");
    check_disk(&v, (PlkCheckOptions){.repair = FORCE, .lower = true, .dry_run = true}, &a);
    CHECK_STR(a.words, "1/beyond-eof+ 1/tail+");
    CHECK(strstr(a.loss, "older bytes of the images below") && strstr(a.loss, "all that stand on it"));
    CHECK_INT(peek(middle, entry(1)), 4000);
    CHECK_INT(check_disk(&v, (PlkCheckOptions){.repair = FORCE, .lower = true}, &a).left, 0);
    volume_expect(&v, GUID_1, "abc");
    volume_expect(&v, GUID_2, "xbc");
    volume_expect(&v, NULL, "xbc..t");
    volume_remove(&v);
}

TEST(a_lower_image_left_in_use_is_closed_when_asked_for)
{
    char middle[600];
    Account a;
    Volume v;

    make_chain(&v, middle);
    poke(v.base, 44, 0x746F6E59);
    CHECK_INT(check_disk(&v, (PlkCheckOptions){.repair = FORCE}, &a).left, 1);
    CHECK_INT(peek(v.base, 44), 0x746F6E59);
    CHECK_INT(check_disk(&v, (PlkCheckOptions){.repair = FORCE, .lower = true}, &a).left, 0);
    CHECK_INT(peek(v.base, 44), 0);
    volume_expect(&v, NULL, "xyc..t");
    volume_remove(&v);
}

TEST(a_header_of_a_lower_image_is_set_right_when_asked_for)
{
    char middle[600];
    Account a;
    Volume v;

    make_chain(&v, middle);
    poke(middle, 48, 0);
    CHECK_INT(check_disk(&v, (PlkCheckOptions){.repair = FORCE, .lower = true}, &a).left, 0);
    CHECK_STR(a.words, "1/first-block+");
    volume_expect(&v, NULL, "xyc..t");
    volume_remove(&v);
}

TEST(a_dry_run_needs_no_more_than_a_reader_does)
{
    PlkDiskOptions reader = {.struct_size = sizeof reader};
    char middle[600];
    PlkDisk *disk;
    Account a;
    Volume v;

    make_chain(&v, middle);
    poke(middle, entry(1), 4000);
    CHECK_OK(plk_disk_open(v.xml, &reader, &disk, &err), err);
    check_disk(&v, (PlkCheckOptions){.repair = FORCE, .lower = true, .dry_run = true}, &a);
    CHECK_STR(a.words, "1/beyond-eof+ 1/tail+");
    CHECK_OK(plk_disk_close(disk, &err), err);
    volume_remove(&v);
}

TEST(an_image_smaller_than_the_one_below_comes_with_the_way_out)
{
    char middle[600];
    Account a;
    Volume v;

    make_chain(&v, middle);
    poke(middle, 36, 32 * 64);
    poke(middle, 32, 32);
    check_disk(&v, (PlkCheckOptions){0}, &a);
    CHECK_STR(a.words, "1/chain-size");
    CHECK(strstr(a.proposal, "ploop grow -s 4096 ") && strstr(a.proposal, middle));
    volume_remove(&v);
}

TEST_MAIN()
