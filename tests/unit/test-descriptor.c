/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DiskDescriptor.xml: one fault a test in a sound text, byte-exact printing, and hostile texts. */
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "format/descriptor.h"
#include "test.h"

#define TOP "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
#define NONE "{00000000-0000-0000-0000-000000000000}"
#define ONE "{11111111-1111-4111-8111-111111111111}"
#define TWO "{22222222-2222-4222-8222-222222222222}"
#define LOST "{33333333-3333-4333-8333-333333333333}"
#define IMAGE(guid, file)                                                                                    \
    "      <Image>\n"                                                                                        \
    "        <GUID>" guid "</GUID>\n"                                                                        \
    "        <Type>Compressed</Type>\n"                                                                      \
    "        <File>" file "</File>\n"                                                                        \
    "      </Image>\n"
#define SHOT(guid, parent)                                                                                   \
    "    <Shot>\n"                                                                                           \
    "      <GUID>" guid "</GUID>\n"                                                                          \
    "      <ParentGUID>" parent "</ParentGUID>\n"                                                            \
    "    </Shot>\n"
#define DESCRIPTOR(images, shots)                                                                            \
    "<?xml version=\"1.0\"?>\n"                                                                              \
    "<Parallels_disk_image>\n"                                                                               \
    "  <Disk_Parameters>\n"                                                                                  \
    "    <Disk_size>16384</Disk_size>\n"                                                                     \
    "    <Cylinders>32</Cylinders>\n"                                                                        \
    "    <Heads>16</Heads>\n"                                                                                \
    "    <Sectors>32</Sectors>\n"                                                                            \
    "    <Padding>0</Padding>\n"                                                                             \
    "  </Disk_Parameters>\n"                                                                                 \
    "  <StorageData>\n"                                                                                      \
    "    <Storage>\n"                                                                                        \
    "      <Start>0</Start>\n"                                                                               \
    "      <End>16384</End>\n"                                                                               \
    "      <Blocksize>2048</Blocksize>\n" images "    </Storage>\n"                                          \
    "  </StorageData>\n"                                                                                     \
    "  <Snapshots>\n"                                                                                        \
    "    <TopGUID>" TOP "</TopGUID>\n" shots "  </Snapshots>\n"                                              \
    "</Parallels_disk_image>\n"

/* As `ploop init -s 8M -v 1 -t none` writes it, and after two snapshots. */
static const char single[] = DESCRIPTOR(IMAGE(TOP, "root.hds"), SHOT(TOP, NONE));
static const char snapshots[] = DESCRIPTOR(IMAGE(ONE, "root.hds") IMAGE(TWO, "b.hds") IMAGE(TOP, "c.hds"),
                                           SHOT(ONE, NONE) SHOT(TWO, ONE) SHOT(TOP, TWO));

/* `text` with each `from` replaced; to be freed. */
static char *replaced(const char *text, const char *from, const char *to)
{
    char *out = strdup(""), *at;

    CHECK(strstr(text, from));
    for (const char *hit; (hit = strstr(text, from)); text = hit + strlen(from)) {
        CHECK(asprintf(&at, "%s%.*s%s", out, (int)(hit - text), text, to) >= 0);
        free(out);
        out = at;
    }
    CHECK(asprintf(&at, "%s%s", out, text) >= 0);
    free(out);
    return at;
}

static PlkDescriptor parsed(const char *text)
{
    PlkDescriptor desc;
    PlkError err;

    CHECK_OK(plk_descriptor_parse(text, strlen(text), "D.xml", &desc, &err), err);
    return desc;
}

static PlkDescriptor parsed_with(const char *from, const char *to)
{
    PLK_FREE char *text = replaced(single, from, to);

    return parsed(text);
}

static void check_refused(const char *text, size_t len, const char *words)
{
    PlkDescriptor desc = {.n_images = 77};
    PlkError err;

    CHECK_FAILS(plk_descriptor_parse(text, len, "D.xml", &desc, &err), err, PLK_ERROR_DESCRIPTOR);
    if (strncmp(err.message, "D.xml: ", 7) != 0 || !strstr(err.message, words))
        test_fail(__FILE__, __LINE__, "message '%s' lacks '%s'", err.message, words);
    CHECK_INT(desc.n_images, 77); /* untouched */
}

static void check_refused_with(const char *from, const char *to, const char *words)
{
    PLK_FREE char *text = replaced(single, from, to);

    check_refused(text, strlen(text), words);
}

static void check_prints(const PlkDescriptor *desc, const char *wanted)
{
    PlkError err;
    char *text;
    size_t len;

    CHECK_OK(plk_descriptor_print(desc, &text, &len, &err), err);
    CHECK_INT(len, strlen(text));
    CHECK_STR(text, wanted);
    free(text);
}

static PlkGuid guid(const char *text)
{
    PlkGuid g;

    CHECK(plk_guid_parse(text, &g));
    return g;
}

/* ---- reading ---- */

TEST(a_descriptor_made_by_ploop_is_read)
{
    PlkDescriptor desc = parsed(snapshots);

    CHECK_INT(desc.size_sectors, 16384);
    CHECK_INT(desc.cylinders, 32);
    CHECK_INT(desc.heads, 16);
    CHECK_INT(desc.sectors, 32);
    CHECK_INT(desc.cluster_sectors, 2048);
    CHECK(!desc.preallocated);
    CHECK_STR(desc.top.text, TOP);
    CHECK_INT(desc.n_images, 3);
    CHECK_STR(desc.images[1].file, "b.hds");
    CHECK(!desc.images[1].plain);
    CHECK_STR(desc.shots[1].parent.text, ONE);
    plk_descriptor_clear(&desc);
}

TEST(a_missing_top_guid_means_the_constant_one)
{
    PlkDescriptor desc = parsed_with("    <TopGUID>" TOP "</TopGUID>\n", "");

    CHECK_STR(desc.top.text, TOP);
    check_prints(&desc, single);
    plk_descriptor_clear(&desc);
    check_refused_with("    <TopGUID>" TOP "</TopGUID>\n    <Shot>\n      <GUID>" TOP,
                       "    <Shot>\n      <GUID>" ONE, "names no Shot");
}

TEST(a_lone_image_without_shot_gets_one)
{
    PlkDescriptor desc = parsed_with(SHOT(TOP, NONE), "");

    CHECK_INT(desc.n_shots, 1);
    CHECK_STR(desc.shots[0].guid.text, TOP);
    CHECK_STR(desc.shots[0].parent.text, NONE);
    check_prints(&desc, single);
    plk_descriptor_clear(&desc);
}

TEST(an_old_format_top_is_kept_until_renamed)
{
    PlkDescriptor desc = parsed_with(TOP, ONE);
    PlkGuid top = guid(TOP);

    CHECK_STR(desc.top.text, ONE);
    plk_descriptor_rename(&desc, &desc.top, &top);
    check_prints(&desc, single);
    plk_descriptor_clear(&desc);
}

TEST(a_missing_or_unreadable_size_reads_as_none)
{
    PlkDescriptor desc = parsed_with("    <Disk_size>16384</Disk_size>\n", "");

    CHECK_INT(desc.size_sectors, 0);
    plk_descriptor_clear(&desc);
    desc = parsed_with("<Disk_size>16384", "<Disk_size>abc");
    CHECK_INT(desc.size_sectors, 0);
    plk_descriptor_clear(&desc);
    desc = parsed_with("<Disk_size>16384", "<Disk_size>99999999999999999999");
    CHECK_INT(desc.size_sectors, 0);
    plk_descriptor_clear(&desc);
    desc = parsed_with("<Disk_size>16384", "<Disk_size>-1");
    CHECK_INT(desc.size_sectors, 0);
    plk_descriptor_clear(&desc);
    desc = parsed_with("<Cylinders>32", "<Cylinders>4294967297");
    CHECK_INT(desc.cylinders, 0);
    plk_descriptor_clear(&desc);
}

TEST(numbers_may_be_hex_or_octal)
{
    PlkDescriptor desc = parsed_with("<Disk_size>16384", "<Disk_size>0x4000");

    CHECK_INT(desc.size_sectors, 16384);
    plk_descriptor_clear(&desc);
    desc = parsed_with("<Disk_size>16384", "<Disk_size>040000");
    CHECK_INT(desc.size_sectors, 16384);
    plk_descriptor_clear(&desc);
}

TEST(a_missing_geometry_is_made_anew_and_divides_nothing)
{
    PlkDescriptor desc = parsed_with("    <Cylinders>32</Cylinders>\n    <Heads>16</Heads>\n", "");

    CHECK_INT(desc.cylinders, 0);
    check_prints(&desc, single);
    plk_descriptor_set_size(&desc, 16384);
    check_prints(&desc, single);
    plk_descriptor_clear(&desc);
    desc = parsed_with("<Heads>16", "<Heads>0");
    plk_descriptor_set_size(&desc, 16384);
    CHECK_INT(desc.heads, 16);
    plk_descriptor_clear(&desc);
}

TEST(a_useless_block_size_is_refused)
{
    check_refused_with("      <Blocksize>2048</Blocksize>\n", "", "Blocksize of 0");
    check_refused_with("<Blocksize>2048", "<Blocksize>0", "Blocksize of 0");
    check_refused_with("<Blocksize>2048", "<Blocksize>63", "Blocksize of 63");
    check_refused_with("<Blocksize>2048", "<Blocksize>32", "Blocksize of 32");
    check_refused_with("<Blocksize>2048", "<Blocksize>262144", "Blocksize of 262144");
}

TEST(bad_guids_are_refused)
{
    check_refused_with(TOP, "{xfbaabe3-6958-40ff-92a7-860e329aab41}", "not a GUID");
    check_refused_with(TOP, "5fbaabe3-6958-40ff-92a7-860e329aab41", "not a GUID");
    check_refused_with(NONE, "", "ParentGUID '' is not a GUID");
    check_refused_with("      <ParentGUID>" NONE "</ParentGUID>\n", "", "Shot has no ParentGUID");
    check_refused_with(TOP, NONE, "GUID that means none");
    check_refused_with(TOP, "{704718e1-2314-44c8-9087-d78ed36b0f4e}", "reserved for backups");
}

TEST(uppercase_guids_are_kept)
{
    static const char upper[] = "{5FBAABE3-6958-40FF-92A7-860E329AAB41}";
    PLK_FREE char *text = replaced(single, TOP, upper);
    PlkDescriptor desc = parsed(text);

    CHECK_STR(desc.top.text, upper);
    CHECK_INT(plk_descriptor_find_shot(&desc, &PLK_GUID_TOP), 0);
    check_prints(&desc, text);
    plk_descriptor_clear(&desc);
}

TEST(only_plain_is_plain)
{
    PlkDescriptor desc = parsed_with("Compressed", "Plain");

    CHECK(desc.images[0].plain);
    plk_descriptor_clear(&desc);
    desc = parsed_with("Compressed", "plain");
    CHECK(!desc.images[0].plain);
    plk_descriptor_clear(&desc);
}

TEST(padding_start_root_name_and_comments_mean_nothing)
{
    PLK_FREE char *a = replaced(single, "Parallels_disk_image", "Virtuozzo_disk_image");
    PLK_FREE char *b = replaced(a, "<Start>0", "<!-- hello --><Start>77");
    PLK_FREE char *text = replaced(b, "<Padding>0", "<Padding>1");
    PlkDescriptor desc = parsed(text);

    CHECK_INT(desc.size_sectors, 16384);
    check_prints(&desc, text);
    plk_descriptor_clear(&desc);
}

TEST(split_disks_and_doubled_elements_are_refused)
{
    check_refused_with("</Storage>\n", "</Storage><Storage><Start>0</Start></Storage>\n", "a second Storage");
    check_refused_with("</StorageData>", "</StorageData><StorageData/>", "a second StorageData");
    check_refused_with("</Type>", "</Type><File>other</File>", "a second File");
}

TEST(preallocated_is_0_or_1_and_never_plain)
{
    PlkDescriptor desc = parsed_with("</Blocksize>", "</Blocksize><Preallocated>1</Preallocated>");

    CHECK(desc.preallocated);
    plk_descriptor_clear(&desc);
    check_refused_with("</Blocksize>", "</Blocksize><Preallocated>2</Preallocated>", "Preallocated is '2'");
    check_refused_with(
        "<Blocksize>2048</Blocksize>\n      <Image>\n        <GUID>" TOP "</GUID>\n        <Type>Compressed",
        "<Blocksize>64</Blocksize><Preallocated>1</Preallocated><Image><GUID>" TOP "</GUID><Type>Plain",
        "is Plain");
}

TEST(missing_sections_are_named)
{
    check_refused_with(IMAGE(TOP, "root.hds"), "", "Storage has no Image");
    check_refused_with("Snapshots>", "Shots>", "has no Snapshots");
    check_refused_with("StorageData>", "Data>", "has no StorageData");
    check_refused_with("Storage>", "Store>", "has no Storage");
    check_refused_with("Disk_Parameters>", "Disk>", "has no Disk_Parameters");
}

TEST(file_names_are_kept_as_written_but_not_empty)
{
    PlkDescriptor desc = parsed_with("root.hds", " ../a&amp;b &#xE9; ");

    CHECK_STR(desc.images[0].file, " ../a&b \303\251 ");
    plk_descriptor_clear(&desc);
    check_refused_with("<File>root.hds</File>", "<File/>", "no File name");
    check_refused_with("        <File>root.hds</File>\n", "", "no File name");
    check_refused_with("root.hds", "a&#0;b", "line 18: ");
}

TEST(a_temporary_shot_is_not_the_top)
{
    PLK_FREE char *text = replaced(snapshots, "<ParentGUID>" ONE "</ParentGUID>\n",
                                   "<ParentGUID>" ONE "</ParentGUID>\n      <Temporary/>\n");
    PlkDescriptor desc = parsed(text);

    CHECK(desc.shots[1].temporary && !desc.shots[0].temporary);
    check_prints(&desc, text);
    plk_descriptor_clear(&desc);
    check_refused_with("</ParentGUID>", "</ParentGUID><Temporary/>", "is Temporary");
}

TEST(images_and_shots_must_pair_up)
{
    check_refused_with("    </Storage>", IMAGE(ONE, "b") "    </Storage>", "2 images but 1 shots");
    check_refused_with("  </Snapshots>", SHOT(ONE, NONE) "  </Snapshots>", "1 images but 2 shots");
}

TEST(doubled_guids_are_refused)
{
    PLK_FREE char *text = replaced(snapshots, "<GUID>" TWO, "<GUID>" ONE);

    check_refused(text, strlen(text), "two images have the GUID " ONE);
}

/* ---- hostile and broken texts ---- */

TEST(what_is_not_xml_is_refused_with_its_line)
{
    static const char utf7[] = "<?xml version='1.0' encoding='UTF-7'?>+ADw-a/+AD4-";
    static const uint8_t utf16[] = {0xff, 0xfe, '<', 0, 'a', 0, '/', 0, '>', 0};

    check_refused("", 0, "line 1: ");
    check_refused("hello", 5, "line 1: ");
    check_refused(single, sizeof single / 2, "line 1");
    check_refused("<a>\n\n</b>", 9, "line 3: ");
    check_refused((const char *)utf16, sizeof utf16, "NUL byte");
    check_refused(utf7, sizeof utf7 - 1, "line 1: ");
}

TEST(document_types_and_entities_are_refused)
{
    static const char bomb[] = "<!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]><a d='&c;'>&c;</a>";
    static const char outside[] = "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>";

    check_refused(bomb, sizeof bomb - 1, "document type");
    check_refused(outside, sizeof outside - 1, "document type");
    check_refused("<a>&b;</a>", 10, "line 1: ");
}

TEST(more_than_a_mebibyte_is_not_even_looked_at)
{
    PLK_FREE char *text = calloc(1, PLK_DESC_TEXT_MAX + 1);

    check_refused(text, PLK_DESC_TEXT_MAX + 1, "more than the 1048576");
}

/* `head`, then as many `unit` as fit in the limit; %d in the unit is numbered. */
static char *filled(const char *head, const char *unit, size_t *ret_len)
{
    char *text = malloc(PLK_DESC_TEXT_MAX + 64);
    size_t len = (size_t)sprintf(text, "%s", head);
    const char *mark = strstr(unit, "%d");

    for (int i = 0; len < PLK_DESC_TEXT_MAX - 32; i++)
        len += mark ? (size_t)sprintf(text + len, "%.*s%d%s", (int)(mark - unit), unit, i, mark + 2)
                    : (size_t)sprintf(text + len, "%s", unit);
    *ret_len = len;
    return text;
}

TEST(a_mebibyte_of_anything_costs_little)
{
    static const char *const hostile[][2] = {
        {"<a", " b%d=''"},
        {"<?*<b", " c%d=''"},
        {"<a>", "<a>"},
        {"<a>", "&b;"},
        {"<a>", "&"},
        {"<a>", "<![CDATA["},
        {"<a>", "<!---->"},
        {"<a>", "<?b?>"},
        {"<a>", "<b%d/>"},
        {"<a>", "<b/>"},
        {"<a>", "<?xml ?>"},
        {"", "<"},
        {"<a ", "="},
        {"<a>", "&#65;"},
        {"<a b='", "&lt;"},
        {"<", "a"},
        {"<a>", "<b xmlns:c%d=''>"},
        {"<a>", "<b:c/>"},
        {"<a>", "<b c='' c=''>"},
    };

    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        size_t len;
        PLK_FREE char *text = filled(hostile[i][0], hostile[i][1], &len);
        clock_t start = clock();

        check_refused(text, len, "");
        /* Meant to be 50 ms of processor time; the margin is for sanitizers and slower machines. */
        if ((clock() - start) * 1000 / CLOCKS_PER_SEC >= 150)
            test_fail(__FILE__, __LINE__, "'%s' took too long", hostile[i][1]);
    }
}

TEST(the_parser_prints_nothing)
{
    char path[] = "/tmp/test-descriptor-XXXXXX", buf[64];
    int fd = mkstemp(path), saved = dup(2);
    PlkDescriptor desc;

    CHECK(fd >= 0 && saved >= 0 && unlink(path) == 0);
    dup2(fd, 2);
    CHECK(plk_descriptor_parse("<a:b><c></a>&x;", 15, "x", &desc, NULL) != 0);
    CHECK(plk_descriptor_parse("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", 34, "x", &desc, NULL) != 0);
    dup2(saved, 2);
    close(saved);
    CHECK_INT(pread(fd, buf, sizeof buf, 0), 0);
    close(fd);
}

TEST(too_many_images_are_refused)
{
    size_t len;
    PLK_FREE char *images = filled("", "<Image/>", &len);

    strcpy(images + 8 * PLK_DESC_IMAGES_MAX, "<Image>");
    check_refused_with("<Image>", images, "more than 1024");
}

/* ---- chains ---- */

TEST(a_chain_runs_from_the_base_to_the_asked_state)
{
    PlkDescriptor desc = parsed(snapshots);
    PlkGuid two = guid(TWO);
    PlkError err;
    size_t n;
    int *chain;

    CHECK_OK(plk_descriptor_chain(&desc, &PLK_GUID_TOP, "D.xml", &chain, &n, &err), err);
    CHECK_INT(n, 3);
    CHECK(chain[0] == 0 && chain[1] == 1 && chain[2] == 2);
    free(chain);
    CHECK_OK(plk_descriptor_chain(&desc, &two, "D.xml", &chain, &n, &err), err);
    CHECK_INT(n, 2);
    free(chain);
    CHECK_INT(plk_descriptor_count_children(&desc, &two), 1);
    CHECK_INT(plk_descriptor_count_children(&desc, &PLK_GUID_TOP), 0);
    two = guid(LOST);
    CHECK_FAILS(plk_descriptor_chain(&desc, &two, "D.xml", &chain, &n, &err), err, PLK_ERROR_NO_SNAPSHOT);
    plk_descriptor_clear(&desc);
}

static void check_no_chain(const char *from, const char *to, const char *words)
{
    PLK_FREE char *text = replaced(snapshots, from, to);
    PlkDescriptor desc = parsed(text);
    PlkError err;
    size_t n;
    int *chain;

    CHECK_FAILS(plk_descriptor_chain(&desc, &PLK_GUID_TOP, "D.xml", &chain, &n, &err), err,
                PLK_ERROR_DESCRIPTOR);
    CHECK(strstr(err.message, words));
    plk_descriptor_clear(&desc);
}

TEST(broken_chains_are_refused)
{
    check_no_chain("<ParentGUID>" TWO, "<ParentGUID>" TOP, "its own ancestor");
    check_no_chain("<ParentGUID>" NONE, "<ParentGUID>" TWO, "its own ancestor");
    check_no_chain("<ParentGUID>" TWO, "<ParentGUID>" LOST, "names no Shot");
    check_no_chain(IMAGE(TWO, "b.hds"), IMAGE(LOST, "b"), "has no Image");
}

TEST(chains_hold_128_images_and_no_more)
{
    PlkGuid parent = PLK_GUID_TOP, child;
    PlkDescriptor desc;
    PlkError err;
    size_t n;
    int *chain;

    CHECK_OK(plk_descriptor_new(2048, 2048, false, false, "root.hds", &desc, &err), err);
    for (int i = 1; i < 128; i++, parent = child) {
        plk_guid_random(&child);
        CHECK_OK(plk_descriptor_add(&desc, &child, &parent, "x", &err), err);
    }
    CHECK_OK(plk_descriptor_chain(&desc, &parent, "D.xml", &chain, &n, &err), err);
    CHECK_INT(n, 128);
    free(chain);
    plk_guid_random(&child);
    CHECK_OK(plk_descriptor_add(&desc, &child, &parent, "x", &err), err);
    CHECK_FAILS(plk_descriptor_chain(&desc, &child, "D.xml", &chain, &n, &err), err, PLK_ERROR_DESCRIPTOR);
    plk_descriptor_clear(&desc);
}

/* ---- writing ---- */

TEST(what_ploop_wrote_comes_out_to_the_byte)
{
    PlkDescriptor desc = parsed(snapshots), copy;
    PlkError err;

    check_prints(&desc, snapshots);
    CHECK_OK(plk_descriptor_copy(&desc, &copy, &err), err);
    plk_descriptor_clear(&desc);
    check_prints(&copy, snapshots);
    plk_descriptor_clear(&copy);
}

TEST(a_new_descriptor_is_to_the_byte_what_ploop_makes)
{
    PlkDescriptor desc;
    PlkError err;

    CHECK_OK(plk_descriptor_new(16384, 2048, false, false, "root.hds", &desc, &err), err);
    check_prints(&desc, single);
    plk_descriptor_clear(&desc);
}

TEST(snapshots_are_written_as_ploop_writes_them)
{
    PlkDescriptor desc = parsed(single);
    PlkGuid one = guid(ONE), two = guid(TWO), top = PLK_GUID_TOP;
    PlkError err;

    plk_descriptor_rename(&desc, &top, &one);
    desc.top = top;
    CHECK_OK(plk_descriptor_add(&desc, &top, &one, "b.hds", &err), err);
    plk_descriptor_rename(&desc, &top, &two);
    desc.top = top;
    CHECK_OK(plk_descriptor_add(&desc, &top, &two, "c.hds", &err), err);
    check_prints(&desc, snapshots);
    CHECK_FAILS(plk_descriptor_add(&desc, &two, &top, "d.hds", &err), err, PLK_ERROR_EXISTS);
    plk_descriptor_clear(&desc);
}

TEST(removing_a_snapshot_leaves_no_trace)
{
    static const char wanted[] =
        DESCRIPTOR(IMAGE(ONE, "root.hds") IMAGE(TOP, "c.hds"), SHOT(ONE, NONE) SHOT(TOP, ONE));
    PlkDescriptor desc = parsed(snapshots);
    PlkGuid two = guid(TWO);

    plk_descriptor_remove(&desc, &two);
    CHECK_INT(desc.n_images, 2);
    CHECK_STR(desc.shots[1].parent.text, TWO);
    desc.shots[1].parent = guid(ONE);
    check_prints(&desc, wanted);
    plk_descriptor_clear(&desc);
}

TEST(growing_keeps_cylinders_and_heads)
{
    PLK_FREE char *a = replaced(single, "16384", "61440"); /* 8 MiB to 30 MiB */
    PLK_FREE char *wanted = replaced(a, "<Sectors>32", "<Sectors>120");
    PlkDescriptor desc = parsed(single);

    plk_descriptor_set_size(&desc, 61440);
    check_prints(&desc, wanted);
    plk_descriptor_clear(&desc);
}

TEST(optional_elements_come_and_go_in_their_place)
{
    PLK_FREE char *a =
        replaced(single, "2048</Blocksize>\n", "2048</Blocksize>\n      <Preallocated>1</Preallocated>\n");
    PLK_FREE char *b =
        replaced(a, "16384</Disk_size>\n", "16384</Disk_size>\n    <Max_delta_size>99</Max_delta_size>\n");
    PLK_FREE char *c = replaced(b, NONE "</ParentGUID>\n", NONE "</ParentGUID>\n      <Temporary/>\n");
    PlkDescriptor desc = parsed(single);

    desc.preallocated = true;
    desc.max_delta_size = 99;
    desc.shots[0].temporary = true;
    check_prints(&desc, c);
    plk_descriptor_clear(&desc);
    desc = parsed(b);
    desc.preallocated = false;
    desc.max_delta_size = 0;
    check_prints(&desc, single);
    plk_descriptor_clear(&desc);
}

TEST(what_is_not_understood_survives_a_rewrite)
{
    PLK_FREE char *a = replaced(snapshots, "<Parallels_disk_image>",
                                "<!-- mine -->\n<Parallels_disk_image Version=\"1.0\">");
    PLK_FREE char *b = replaced(a, "  <StorageData>",
                                "  <Encryption kind='x'><KeyId>k</KeyId></Encryption>\n  <StorageData>");
    PLK_FREE char *before = replaced(b, "<Heads>16", "<!-- h --><Heads a=\"1\">0x10");
    PLK_FREE char *dequoted = replaced(before, "'x'", "\"x\"");
    PLK_FREE char *d = replaced(dequoted, "16384", "32768");
    PLK_FREE char *e = replaced(d, "<Sectors>32", "<Sectors>64");
    PLK_FREE char *wanted = replaced(e, "c.hds", "d&amp;.hds");
    PlkDescriptor desc = parsed(before);

    plk_descriptor_set_size(&desc, 32768);
    free(desc.images[2].file);
    desc.images[2].file = strdup("d&.hds");
    check_prints(&desc, wanted);
    plk_descriptor_clear(&desc);
}

TEST(a_text_without_indentation_stays_so)
{
    static const char text[] =
        "<?xml version=\"1.0\"?>\n<D><Disk_Parameters/><StorageData><Storage><Blocksize>64</Blocksize><Image>"
        "<GUID>" TOP "</GUID><Type>Compressed</Type><File>a</File></Image></Storage></StorageData>"
        "<Snapshots/></D>\n";
    static const char wanted[] =
        "<?xml version=\"1.0\"?>\n<D><Disk_Parameters/><StorageData><Storage><Blocksize>64</Blocksize><Image>"
        "<GUID>" TOP "</GUID><Type>Compressed</Type><File>a</File></Image></Storage></StorageData>"
        "<Snapshots><TopGUID>" TOP "</TopGUID><Shot><GUID>" TOP "</GUID><ParentGUID>" NONE
        "</ParentGUID></Shot></Snapshots></D>\n";
    PlkDescriptor desc = parsed(text);

    check_prints(&desc, wanted);
    plk_descriptor_clear(&desc);
}

TEST(file_names_xml_can_not_hold_are_refused)
{
    static const char *const names[] = {"a\001b", "a\377b"};
    PlkDescriptor desc;
    PlkError err;
    char *text;
    size_t len;

    for (int i = 0; i < 2; i++) {
        CHECK_OK(plk_descriptor_new(2048, 64, false, false, names[i], &desc, &err), err);
        CHECK_FAILS(plk_descriptor_print(&desc, &text, &len, &err), err, PLK_ERROR_ARGUMENT);
        plk_descriptor_clear(&desc);
    }
}

TEST(strange_file_names_survive_print_and_parse)
{
    static const char name[] = " <a>&\"'\303\251\n\r\t;--> ";
    PlkDescriptor desc, back;
    PlkError err;
    char *text;
    size_t len;

    CHECK_OK(plk_descriptor_new(2048, 64, true, false, name, &desc, &err), err);
    CHECK_OK(plk_descriptor_print(&desc, &text, &len, &err), err);
    back = parsed(text);
    CHECK_STR(back.images[0].file, name);
    CHECK(back.preallocated);
    free(text);
    plk_descriptor_clear(&desc);
    plk_descriptor_clear(&back);
}

/* Each allocation of ours fails once; the call must say so or succeed, and leak nothing. */
TEST(running_out_of_memory_is_survived_everywhere)
{
    PlkGuid one = guid(ONE);
    bool done = false;

    for (unsigned long n = 1; !done; n++) {
        PlkDescriptor desc = {0}, copy = {0};
        PlkError err = {0};
        char *text = NULL;
        size_t len, n_chain;
        int *chain = NULL;

        plk_alloc_fail_at(n, 0);
        done = plk_descriptor_parse(snapshots, sizeof snapshots - 1, "D.xml", &desc, &err) == 0 &&
               plk_descriptor_copy(&desc, &copy, &err) == 0 &&
               plk_descriptor_chain(&copy, &PLK_GUID_TOP, "D.xml", &chain, &n_chain, &err) == 0 &&
               (plk_descriptor_remove(&copy, &one), plk_descriptor_add(&copy, &one, &one, "x", &err)) == 0 &&
               plk_descriptor_print(&copy, &text, &len, &err) == 0;
        plk_alloc_fail_at(0, 0);
        CHECK(done || err.code == PLK_ERROR_NO_MEMORY);
        plk_descriptor_clear(&desc);
        plk_descriptor_clear(&copy);
        free(text);
        free(chain);
    }
}

TEST_MAIN()
