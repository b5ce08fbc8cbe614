/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Corruptions that other programs met, and what a repair makes of each: it is found and nothing is changed by
 * looking; a dry run says what the repair then does; a guest reads what was promised; the second run finds
 * nothing and leaves every byte as it was; the engine takes writes again. The first eighteen are the list of
 * QEMU's parallels-checks.
 *
 * An image is drawn as a string with one letter for each slot: 'a' names the first data cluster of the file, 'b'
 * the second, '.' none. Each data cluster holds its letter, so the drawing is also what a guest reads.
 */
#include <errno.h>

#include "format/extension.h"
#include "format/md5.h"
#include "image/check.h"
#include "image.h"

#define CLUSTER 32768u
#define SECTORS 64u
#define SLOTS 16u
#define FORCE (PLK_REPAIR_LOSSLESS | PLK_REPAIR_LOSSY | PLK_REPAIR_IN_USE)

static PlkError err;

/* ---- making images ---- */

static void fill(PlkDir *dir, uint64_t cluster, int byte)
{
    uint8_t data[CLUSTER];

    memset(data, byte, sizeof data);
    put(dir, cluster * CLUSTER, data, sizeof data);
}

/* `slots` entries, of which the drawing gives the first. *ret_first: the cluster where data starts. */
static PlkDir *make_slots(int version, uint32_t slots, const char *drawing, uint32_t *ret_first)
{
    uint8_t header[PLK_HEADER_BYTES];
    uint32_t unit = version == 1 ? SECTORS : 1, end = 0;
    PlkHeader h;
    PlkDir *dir;

    CHECK_OK(plk_header_make(version, (uint64_t)slots * SECTORS, SECTORS, &h, &err), err);
    if (strspn(drawing, ".") < strlen(drawing))
        h.flags = 0;
    *ret_first = h.first_block_sectors / SECTORS;
    plk_header_encode(&h, header);
    dir = make_empty_file();
    put(dir, 0, header, sizeof header);
    set_length(dir, (uint64_t)*ret_first * CLUSTER);
    for (uint32_t i = 0; drawing[i]; i++) {
        uint32_t letter = (uint32_t)(drawing[i] - 'a');

        if (drawing[i] == '.')
            continue;
        poke(dir, plk_bat_offset(i), (*ret_first + letter) * unit);
        for (; end <= letter; end++)
            fill(dir, *ret_first + end, 'a' + (int)end);
    }
    return dir;
}

static PlkDir *make(int version, const char *drawing)
{
    uint32_t first;

    return make_slots(version, SLOTS, drawing, &first);
}

/* A format extension in that cluster, with a dirty bitmap whose only cluster is the one given. */
static void add_extension(PlkDir *dir, uint32_t cluster, uint32_t bitmap_cluster, uint32_t mark)
{
    uint8_t bytes[CLUSTER] = {0};
    PlkLe64 q;
    PlkLe32 d;

#define PUT64(at, value) (q = plk_to_le64(value), memcpy(bytes + (at), &q, 8))
#define PUT32(at, value) (d = plk_to_le32(value), memcpy(bytes + (at), &d, 4))
    PUT64(0, PLK_EXT_MAGIC);
    PUT64(24, PLK_EXT_DIRTY_BITMAP);
    PUT32(40, 40);
    PUT64(48, SLOTS * SECTORS);
    PUT32(72, 128);
    PUT32(76, 1);
    PUT64(80, (uint64_t)bitmap_cluster * SECTORS);
    plk_md5(bytes + 24, sizeof bytes - 24, bytes + 8);
    put(dir, (uint64_t)cluster * CLUSTER, bytes, sizeof bytes);
    poke(dir, 56, cluster * SECTORS);
    poke(dir, 44, mark);
}

/* ---- looking at them ---- */

/* One character of a cluster: its byte, '.' for zeros, '/' for one half each. */
static char letter_of(const uint8_t data[CLUSTER])
{
    bool first = memcmp(data, data + 1, CLUSTER / 2 - 1) == 0;
    bool second = memcmp(data + CLUSTER / 2, data + CLUSTER / 2 + 1, CLUSTER / 2 - 1) == 0;

    if (!first || !second)
        return '?';
    if (data[0] != data[CLUSTER - 1])
        return '/';
    return data[0] ? (char)data[0] : '.';
}

/* The first slots as a guest reads them; '!' is an error, "-" a disk that does not open. */
static const char *reads(PlkDir *dir)
{
    static char text[SLOTS + 1];
    uint8_t data[CLUSTER];
    uint32_t slot, n = SLOTS;
    bool present;
    PlkImage *img;
    PlkIo *io = open_io(dir, false);

    if (plk_image_open(io, 0, 0, &img, &err) < 0) {
        CHECK_INT(err.code, PLK_ERROR_FORMAT);
        plk_io_close(io);
        return "-";
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        CHECK_INT(plk_image_read_slot(img, i, &slot, &present), 0);
        memset(data, 0, sizeof data);
        if (present && slot < PLK_SLOT_BEYOND)
            CHECK_INT(plk_io_read(io, data, sizeof data, plk_image_offset(img, slot), PLK_POINT_DATA_READ), 0);
        text[i] = present && slot == PLK_SLOT_BAD ? '!' : letter_of(data);
    }
    while (n > 0 && text[n - 1] == '.')
        n--;
    text[n] = '\0';
    plk_image_drop(img);
    return text;
}

typedef struct Account {
    char words[400]; /* "duplicate@3:4+ tail+": kind, slot, what the repair puts there; + is fixed */
} Account;

static int tell(void *arg, const PlkFinding *f)
{
    Account *a = arg;
    size_t n = strlen(a->words);

    CHECK(f->meaning && (f->rank == PLK_FINDING_INFO || f->proposal));
    CHECK(f->rank != PLK_FINDING_LOSSY || f->loss);
    CHECK(f->rank != PLK_FINDING_FATAL || strstr(f->proposal, "ploop rescue"));
    n += (size_t)snprintf(a->words + n, sizeof a->words - n, "%s%s", n ? " " : "", plk_finding_name(f->kind));
    if (f->slot != PLK_NO_SLOT)
        n += (size_t)snprintf(a->words + n, sizeof a->words - n, "@%" PRIu64 ":%" PRIu64, f->slot, f->becomes);
    snprintf(a->words + n, sizeof a->words - n, "%s", f->fixed ? "+" : "");
    return 0;
}

static PlkCheckResult run_check(PlkDir *dir, unsigned repair, bool dry_run, Account *ret)
{
    PlkCheckOptions options = {.struct_size = sizeof options, .repair = repair, .dry_run = dry_run};
    PlkIo *io = open_io(dir, repair && !dry_run);
    PlkCheckResult result = {0};

    ret->words[0] = '\0';
    CHECK_OK(plk_image_check(io, 0, &options, tell, ret, NULL, &result, NULL, &err), err);
    plk_io_close(io);
    return result;
}

static void check_look(PlkDir *dir, const char *found)
{
    uint64_t before = fingerprint(dir);
    Account a;

    run_check(dir, 0, false, &a);
    CHECK_STR(a.words, found);
    CHECK(fingerprint(dir) == before);
}

/* Writes are taken, and none shows in another slot. */
static void check_takes_writes(PlkDir *dir)
{
    PlkImage *img;
    uint32_t cluster;

    CHECK_OK(plk_image_open(open_io(dir, true), PLK_IMAGE_WRITE, 0, &img, &err), err);
    CHECK_INT(plk_image_prepare_write(img), 0);
    CHECK_INT(plk_image_alloc_cluster(img, &cluster), 0);
    plk_image_unalloc_cluster(img, cluster);
    CHECK_OK(plk_image_close(img, &err), err);
}

/*
 * The whole life of a damaged image: `found` by a look, `mended` so by force, read as `before` and `after`.
 * Takes dir over.
 */
static void check_life(PlkDir *dir, const char *found, const char *mended, const char *before, const char *after)
{
    uint64_t whole = fingerprint(dir);
    Account a;

    CHECK_STR(reads(dir), before);
    check_look(dir, found);
    run_check(dir, FORCE, true, &a);
    CHECK_STR(a.words, mended);
    CHECK(fingerprint(dir) == whole);
    CHECK_INT(run_check(dir, FORCE, false, &a).left, 0);
    CHECK_STR(a.words, mended);
    CHECK_STR(reads(dir), after);
    whole = fingerprint(dir);
    run_check(dir, FORCE, false, &a);
    CHECK_STR(a.words, "");
    CHECK(fingerprint(dir) == whole);
    check_takes_writes(dir);
    CHECK_STR(reads(dir), after);
    plk_dir_close(dir);
}

/* Nobody may write before the repair, and the refusal names the cure. */
static void check_refuses_writes(PlkDir *dir)
{
    uint64_t before = fingerprint(dir);
    PlkImage *img;

    CHECK_OK(plk_image_open(open_io(dir, true), PLK_IMAGE_WRITE, 0, &img, &err), err);
    CHECK_INT(plk_image_prepare_write(img), -EUCLEAN);
    CHECK(strstr(img->damage.message, "offset") && strstr(img->damage.message, "ploop check -F"));
    plk_image_drop(img);
    CHECK(fingerprint(dir) == before);
}

/* ---- the eighteen ---- */

TEST(case_01_an_entry_beyond_the_end_is_cleared)
{
    PlkDir *dir = make(2, "ab.c");

    poke(dir, plk_bat_offset(2), 4);
    check_life(dir, "beyond-eof@2:0", "beyond-eof@2:0+", "ab.c", "ab.c");
}

TEST(case_02_a_leak_at_the_end_is_cut)
{
    PlkDir *dir = make(2, "ab");

    set_length(dir, 9 * CLUSTER);
    check_life(dir, "tail", "tail+", "ab", "ab");
}

TEST(case_03_a_duplicate_is_copied_apart_not_dropped)
{
    check_life(make(2, "abac"), "duplicate@2:4", "duplicate@2:4+", "abac", "abac");
    check_life(make(1, "abac"), "duplicate@2:4", "duplicate@2:4+", "abac", "abac");
}

TEST(case_04_a_duplicate_is_refused_by_writers_who_name_the_cure)
{
    PlkDir *dir = make(2, "abac");

    check_refuses_writes(dir);
    CHECK_STR(reads(dir), "abac");
    plk_dir_close(dir);
}

TEST(case_05_a_first_block_of_all_ones_is_recomputed)
{
    PlkDir *dir = make(2, "ab");

    poke(dir, 48, 0xffffffff);
    check_life(dir, "first-block", "first-block+", "-", "ab");
}

TEST(case_06_a_bat_of_2_gib_is_read_in_pieces)
{
    uint32_t entries = 536870896, first;
    PlkDir *dir = make_slots(2, entries, "", &first);

    poke(dir, plk_bat_offset(entries - 1), first);
    poke(dir, 52, 0);
    fill(dir, first, 'z');
    check_look(dir, "");
    poke(dir, plk_bat_offset(entries / 2), first); /* which makes the last one the second */
    check_look(dir, "duplicate@536870895:65537");
    check_life(dir, "duplicate@536870895:65537", "duplicate@536870895:65537+", "", "");
}

TEST(case_07_a_size_above_the_bat_fails_cleanly_and_is_recomputed)
{
    PlkDir *dir = make(2, "ab");

    poke(dir, 40, 256); /* 2^40 sectors */
    check_life(dir, "disk-size", "disk-size+", "-", "ab");
}

TEST(case_08_an_entry_far_outside_reads_as_zeros_and_no_file_grows_to_it)
{
    PlkDir *dir = make(2, "a.b");

    poke(dir, plk_bat_offset(1), 1000000);
    check_refuses_writes(dir);
    CHECK_INT(get_length(dir), 3 * CLUSTER);
    check_life(dir, "beyond-eof@1:0", "beyond-eof@1:0+", "a.b", "a.b");
}

TEST(case_09_an_entry_into_the_bat_never_lets_a_write_reach_it)
{
    uint32_t first;
    PlkDir *dir = make_slots(2, 16384, "ab", &first);

    CHECK(first > 2);
    poke(dir, plk_bat_offset(3), 2);
    check_refuses_writes(dir);
    check_life(dir, "into-header@3:0", "into-header@3:0+", "ab.!", "ab");
    dir = make_slots(1, 16384, "ab", &first);
    poke(dir, plk_bat_offset(3), SECTORS);
    check_life(dir, "into-header@3:0", "into-header@3:0+", "ab.!", "ab");
}

TEST(case_10_a_tail_left_by_a_kill_is_not_handed_out_as_it_is)
{
    PlkDir *dir = make(2, "ab");
    uint8_t data[CLUSTER];
    uint32_t cluster;
    PlkImage *img;

    fill(dir, 3, 'x'); /* allocated, written, and never named */
    fill(dir, 4, 'y');
    poke(dir, 44, PLK_IN_USE_OPEN);
    CHECK_OK(plk_image_open(open_io(dir, true), PLK_IMAGE_WRITE, 0, &img, &err), err);
    CHECK_INT(plk_image_prepare_write(img), 0);
    CHECK_INT(plk_image_alloc_cluster(img, &cluster), 0);
    CHECK(cluster >= 3);
    CHECK_INT(plk_io_read(img->io, data, sizeof data, plk_image_offset(img, cluster), PLK_POINT_DATA_READ), 0);
    CHECK_INT(letter_of(data), '.');
    plk_image_drop(img); /* killed again */
    fill(dir, 3, 'x');
    set_length(dir, 5 * CLUSTER);
    check_life(dir, "tail in-use", "tail+ in-use+", "ab", "ab");
}

TEST(case_11_a_last_cluster_half_past_the_end_is_made_whole)
{
    PlkDir *dir = make(2, "ab");

    set_length(dir, 3 * CLUSTER - CLUSTER / 2);
    check_life(dir, "file-length", "file-length+", "a/", "a/");
}

TEST(case_12_a_format_extension_is_no_leak)
{
    PlkDir *dir = make(2, "ab");
    uint64_t before;
    Account a;

    fill(dir, 3, 0x11);
    add_extension(dir, 4, 3, PLK_IN_USE_CLOSED21);
    check_look(dir, "");
    before = fingerprint(dir);
    run_check(dir, FORCE, false, &a);
    CHECK_STR(a.words, "");
    CHECK(fingerprint(dir) == before);
    plk_dir_close(dir);
}

TEST(case_13_the_bitmap_of_an_image_not_closed_is_dropped)
{
    PlkDir *dir = make(2, "ab");

    fill(dir, 3, 0x11);
    add_extension(dir, 4, 3, PLK_IN_USE_OPEN);
    check_life(dir, "tail in-use extension-stale", "tail+ in-use+ extension-stale+", "ab", "ab");
}

TEST(case_14_a_broken_extension_of_an_image_not_closed_is_dropped)
{
    PlkDir *dir = make(2, "ab");

    add_extension(dir, 3, 3, PLK_IN_USE_OPEN);
    poke(dir, 3 * CLUSTER + 100, 1); /* the digest is wrong now */
    poke(dir, 60, 0x7fffffff);       /* and it is nowhere near the file */
    check_life(dir, "tail in-use extension-stale", "tail+ in-use+ extension-stale+", "ab", "ab");
    dir = make(2, "ab");
    add_extension(dir, 3, 3, PLK_IN_USE_CLOSED21);
    poke(dir, 3 * CLUSTER + 100, 1);
    check_life(dir, "tail extension", "tail+ extension+", "ab", "ab");
}

TEST(case_15_a_duplicate_and_a_leak_are_one_repair)
{
    PlkDir *dir = make(2, "aab");

    fill(dir, 3, 'x'); /* the copy goes where the leak was */
    fill(dir, 4, 'y');
    check_life(dir, "duplicate@1:3 tail", "duplicate@1:3+ tail+", "aab", "aab");
}

TEST(case_16_a_leak_of_3_gib_is_cut)
{
    PlkDir *dir = make(2, "ab");

    set_length(dir, 3 * CLUSTER + (3ull << 30));
    check_life(dir, "tail", "tail+", "ab", "ab");
}

TEST(case_17_a_duplicate_in_the_last_entry_is_copied)
{
    check_life(make(2, "ab.............b"), "duplicate@15:3", "duplicate@15:3+", "ab.............b", "ab.............b");
}

TEST(case_18_the_in_use_mark_is_taken_off)
{
    PlkDir *dir = make(2, "ab");

    poke(dir, 44, PLK_IN_USE_OPEN);
    check_life(dir, "in-use", "in-use+", "ab", "ab");
}

/* ---- and what they do not have ---- */

TEST(three_slots_on_one_cluster_become_three_clusters)
{
    check_life(make(2, "aba.a"), "duplicate@2:3 duplicate@4:4", "duplicate@2:3+ duplicate@4:4+", "aba.a", "aba.a");
    check_life(make(2, "aabb"), "duplicate@1:3 duplicate@3:4", "duplicate@1:3+ duplicate@3:4+", "aabb", "aabb");
}

TEST(a_duplicate_of_a_half_cluster_reads_the_same_half)
{
    PlkDir *dir = make(2, "abb");

    set_length(dir, 3 * CLUSTER - CLUSTER / 2);
    check_life(dir, "duplicate@2:3 file-length", "duplicate@2:3+ file-length+", "a//", "a//");
}

TEST(an_entry_cleared_as_outside_does_not_get_the_copy_of_another)
{
    PlkDir *dir = make(2, "aa.b");

    poke(dir, plk_bat_offset(2), 3); /* outside, until the copy goes there */
    check_life(dir, "duplicate@1:3 beyond-eof@2:0", "duplicate@1:3+ beyond-eof@2:0+", "aa.b", "aa.b");
}

TEST(a_slot_in_the_extension_keeps_what_it_reads_and_the_extension_goes)
{
    PlkDir *dir = make(2, "ab");

    fill(dir, 3, 'x');
    add_extension(dir, 4, 3, PLK_IN_USE_CLOSED21);
    poke(dir, plk_bat_offset(5), 3); /* the bitmap's cluster; the other one becomes a tail */
    check_life(dir, "duplicate@5:3 extension-stale", "duplicate@5:3+ tail+ extension-stale+", "ab...x", "ab...x");
    dir = make(2, "ab");
    fill(dir, 3, 'x');
    add_extension(dir, 4, 3, PLK_IN_USE_CLOSED21);
    poke(dir, plk_bat_offset(5), 3);
    poke(dir, plk_bat_offset(6), 3); /* and this one gets a copy where the extension was */
    check_life(dir, "duplicate@5:3 duplicate@6:5 extension-stale", "duplicate@5:3+ duplicate@6:4+ tail+ extension-stale+",
               "ab...xx", "ab...xx");
}

TEST(a_lossy_repair_drops_the_record_of_changes_with_its_clusters)
{
    PlkDir *dir = make(2, "ab");

    fill(dir, 3, 0x11);
    add_extension(dir, 4, 3, PLK_IN_USE_CLOSED21);
    poke(dir, plk_bat_offset(9), 77);
    check_life(dir, "beyond-eof@9:0 extension-stale", "beyond-eof@9:0+ tail+ extension-stale+", "ab", "ab");
}

TEST(a_wrong_signature_does_not_cost_the_entries)
{
    for (int version = 1; version <= 2; version++) {
        PlkDir *dir = make(version, "abc");
        uint64_t before;
        Account a;

        put(dir, 0, version == 1 ? "WithouFreSpacExt" : "WithoutFreeSpace", 16);
        check_look(dir, "version");
        before = fingerprint(dir);
        CHECK_INT(run_check(dir, FORCE, false, &a).left, 1);
        CHECK_STR(a.words, "version");
        CHECK(fingerprint(dir) == before);
        plk_dir_close(dir);
    }
}

TEST(a_cut_bat_area_comes_back_only_if_it_held_nothing)
{
    PlkDir *dir = make(2, "");
    Account a;

    set_length(dir, 2000); /* all entries are there */
    check_life(dir, "bat-short", "bat-short+", "-", "");
    dir = make(2, "");
    set_length(dir, 100); /* the image says that it is empty */
    check_life(dir, "bat-short", "bat-short+", "-", "");
    dir = make(2, "");
    set_length(dir, 100);
    poke(dir, 52, 0); /* ... and now it does not */
    CHECK_INT(run_check(dir, FORCE, false, &a).left, 1);
    CHECK_INT(get_length(dir), 100);
    plk_dir_close(dir);
    dir = make(2, "ab");
    set_length(dir, 2000); /* entries are left, their data is not */
    CHECK_INT(run_check(dir, FORCE, false, &a).left, 1);
    CHECK_INT(peek(dir, plk_bat_offset(1)), 2);
    plk_dir_close(dir);
}

TEST(oddities_are_tidied_by_force_only)
{
    PlkDir *dir = make(1, "ab");
    Account a;

    poke(dir, 40, 7);
    CHECK_INT(run_check(dir, PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE, false, &a).fixed, 0);
    CHECK_INT(peek(dir, 40), 7);
    check_life(dir, "size-high", "size-high+", "ab", "ab");
    dir = make(2, "ab");
    poke(dir, 32, SLOTS + 4);
    check_life(dir, "bat-extra", "bat-extra+", "ab", "ab");
    dir = make(2, "ab");
    poke(dir, 32, SLOTS + 4);
    poke(dir, plk_bat_offset(SLOTS + 2), 2); /* surplus that holds something is left alone, but for the duplicate */
    check_look(dir, "bat-extra duplicate@18:3");
    plk_dir_close(dir);
}

TEST_MAIN()
