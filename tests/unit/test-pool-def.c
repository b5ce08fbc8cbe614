/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Definitions of pools: what the texts kept in tests/conf do not show. Bounds, the schema, what is ours alone, and
 * what this machine's libvirt has no driver for.
 */
#include <glib.h>
#include <time.h>

#include "conf/pool-def.h"
#include "test.h"

#define TARGET "<target><path>/srv/p</path></target>"
#define POOL(inside) "<pool type='dir'><name>p</name>" inside TARGET "</pool>"
#define MILLISECONDS(n) ((n) * 1000000ll)

static PlkError err;

static int parse(const char *xml, unsigned flags)
{
    PlkPoolDef *def = NULL;
    int rc = plk_pool_def_parse(xml, flags, &def, &err);

    plk_pool_def_free(def);
    return rc;
}

static char *printed(const char *xml)
{
    PlkPoolDef *def = NULL;

    CHECK_OK(plk_pool_def_parse(xml, 0, &def, &err), err);
    char *text = plk_pool_def_format(def);
    plk_pool_def_free(def);
    return text;
}

static void check_same_again(const char *text)
{
    g_autofree char *again = printed(text);
    CHECK_STR(again, text);
}

TEST(an_uuid_that_is_missing_is_made_up)
{
    PlkPoolDef *one = NULL, *two = NULL;

    CHECK_OK(plk_pool_def_parse(POOL(""), 0, &one, &err), err);
    CHECK_OK(plk_pool_def_parse(POOL(""), 0, &two, &err), err);
    CHECK(memcmp(one->uuid, two->uuid, PLK_UUID_BYTES) != 0);
    plk_pool_def_free(one);
    plk_pool_def_free(two);
}

TEST(a_refusal_leaves_the_result_alone)
{
    PlkPoolDef *def = (PlkPoolDef *)&err;

    CHECK_FAILS(plk_pool_def_parse("<pool/>", 0, &def, &err), err, PLK_ERROR_XML);
    CHECK(def == (PlkPoolDef *)&err);
    CHECK(plk_pool_def_parse("<pool type='dir'/>", PLK_PARSE_VALIDATE, &def, NULL) == -1);
}

TEST(what_new_volumes_get_is_kept)
{
    static const char xml[] =
        "<pool type='dir' xmlns:k='urn:ploopkit:storagepool:1'><name>p</name>" TARGET
        "<k:volume_defaults><mode>0640</mode><owner>4000000000</owner><group>107</group><label>l</label>"
        "</k:volume_defaults></pool>";
    g_autofree char *text = printed(xml);

    CHECK(strstr(text, "<pool type='dir' xmlns:ploopkit='urn:ploopkit:storagepool:1'>\n"));
    CHECK(strstr(text, "  </target>\n"
                       "  <ploopkit:volume_defaults>\n"
                       "    <mode>0640</mode>\n"
                       "    <owner>4000000000</owner>\n"
                       "    <group>107</group>\n"
                       "    <label>l</label>\n"
                       "  </ploopkit:volume_defaults>\n"
                       "</pool>\n"));
    check_same_again(text);
    CHECK_OK(parse(text, PLK_PARSE_VALIDATE), err);
    CHECK_FAILS(parse("<pool type='dir' xmlns:k='urn:ploopkit:storagepool:1'><name>p</name>" TARGET
                      "<k:volume_defaults><mode>9</mode></k:volume_defaults></pool>", 0), err, PLK_ERROR_XML);
}

TEST(blanks_survive_being_printed)
{
    g_autofree char *text = printed("<pool type='fs'><name>a&#13;\n b</name><source><device path='/a&#10;&#13;&#9;b'/>"
                                    "</source>" TARGET "</pool>");

    CHECK(strstr(text, "<name>a&#13;\n b</name>"));
    CHECK(strstr(text, "path='/a&#10;&#13;&#9;b'"));
    check_same_again(text);
}

TEST(options_of_rbd_have_values)
{
    static const char head[] = "<pool type='rbd' xmlns:rbd='http://libvirt.org/schemas/storagepool/rbd/1.0'>";
    g_autofree char *xml = g_strconcat(head, "<name>p</name><source><host name='h'/><name>c</name></source>"
                                       "<rbd:config_opts><rbd:option name='a' value='1'/>"
                                       "<rbd:option name='b' value='2'/></rbd:config_opts></pool>", NULL);
    g_autofree char *text = printed(xml);

    CHECK(g_str_has_prefix(text, head));
    CHECK(g_str_has_suffix(text, "  </source>\n"
                                 "  <rbd:config_opts>\n"
                                 "    <rbd:option name='a' value='1'/>\n"
                                 "    <rbd:option name='b' value='2'/>\n"
                                 "  </rbd:config_opts>\n"
                                 "</pool>\n"));
    check_same_again(text);
}

TEST(sources_are_listed_as_found)
{
    PlkPoolSource sources[2];

    CHECK_OK(plk_pool_source_parse("<source><host name='h'/><dir path='/a'/><format type='nfs'/></source>",
                                   PLK_POOL_NETFS, &sources[0], &err), err);
    CHECK_OK(plk_pool_source_parse("<source/>", PLK_POOL_NETFS, &sources[1], &err), err);
    g_autofree char *text = plk_pool_sources_format(PLK_POOL_NETFS, sources, 2);
    CHECK_STR(text, "<sources>\n"
                    "  <source>\n"
                    "    <host name='h'/>\n"
                    "    <dir path='/a'/>\n"
                    "    <format type='nfs'/>\n"
                    "  </source>\n"
                    "  <source>\n"
                    "    <format type='auto'/>\n"
                    "  </source>\n"
                    "</sources>\n");
    plk_pool_source_clear(&sources[0]);
    plk_pool_source_clear(&sources[1]);
    CHECK_FAILS(plk_pool_source_parse("<pool/>", PLK_POOL_NETFS, &sources[0], &err), err, PLK_ERROR_XML);
}

TEST(a_kept_name_is_one_line)
{
    static const char xml[] = "<pool type='dir'><name>a\nb</name>" TARGET "</pool>";

    CHECK_OK(parse(xml, 0), err);
    CHECK_FAILS(parse(xml, PLK_PARSE_DEFINE), err, PLK_ERROR_XML_SYNTAX);
}

TEST(the_schema_knows_what_belongs_where)
{
    static const char *const wrong[] = {
        POOL("<foo/>"), POOL("<uuid a='1'/>"), POOL("<capacity>x</capacity>"), POOL("text"), POOL("<name>q</name>"),
        POOL("<source><host name='h'/></source>"), POOL("<x:y xmlns:x='urn:x'/>"), POOL("<features><cow/></features>"),
        POOL("<uuid>1</uuid>"), POOL("<refresh/>"),
        "<pool type='dir'><name>p</name><target><path>p</path></target></pool>",
        "<pool type='dir'><name>p</name><target><path>/p</path><format type='raw'/></target></pool>",
        "<pool type='fs'><name>p</name><source><device path='/x'/><format type='zzz'/></source>" TARGET "</pool>",
        "<pool type='dir'><name>p</name></pool>", "<pool type='q'/>", "<pool/>",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
        CHECK_FAILS(parse(wrong[i], PLK_PARSE_VALIDATE), err, PLK_ERROR_XML_SCHEMA);
    CHECK_OK(parse(POOL("<uuid>3e3fce45-4f53-4fa7-bb32-11f34168b82b</uuid><capacity unit='bytes'>1</capacity>"
                        "<features><cow state='yes'/></features><source/><!-- fine -->"), PLK_PARSE_VALIDATE), err);
}

/* ---- hostile documents ---- */

static long long nanoseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 10
#else
#define SLOWER 1
#endif

/* Refused, and in no time. The best of three: others use this machine too. */
static void check_refused_fast(GString *text)
{
    long long best = INT64_MAX;

    for (int i = 0; i < 3; i++) {
        long long start = nanoseconds();
        CHECK_FAILS(parse(text->str, 0), err, PLK_ERROR_XML_SYNTAX);
        best = MIN(best, nanoseconds() - start);
    }
    if (best > MILLISECONDS(5) * SLOWER)
        test_fail(__FILE__, __LINE__, "refused after %lld us: %s", best / 1000, err.message);
    g_string_free(text, TRUE);
}

static void repeat(GString *text, const char *what, int n)
{
    while (n-- > 0)
        g_string_append(text, what);
}

TEST(document_types_are_refused)
{
    GString *text = g_string_new("<?xml version='1.0'?><!DOCTYPE pool [<!ENTITY a0 'lol'>");

    for (int i = 1; i < 20; i++)
        g_string_append_printf(text, "<!ENTITY a%d '&a%d;&a%d;&a%d;&a%d;'>", i, i - 1, i - 1, i - 1, i - 1);
    g_string_append(text, "]><pool type='dir'><name>&a19;</name></pool>");
    check_refused_fast(text);
    check_refused_fast(g_string_new("<!DOCTYPE pool SYSTEM 'file:///etc/passwd'><pool type='dir'/>"));
    check_refused_fast(g_string_new("<!-- - -><!DOCTYPE pool []><pool type='dir'/>"));
}

TEST(many_attributes_are_refused)
{
    GString *text = g_string_new("<pool type='dir'");

    for (int i = 0; i < 100000; i++)
        g_string_append_printf(text, " a%d=''", i);
    g_string_append(text, "/>");
    check_refused_fast(text);
}

TEST(deep_nesting_is_refused)
{
    GString *text = g_string_new("<pool type='dir'>");

    repeat(text, "<a>", 10000);
    repeat(text, "</a>", 10000);
    g_string_append(text, "</pool>");
    check_refused_fast(text);
}

TEST(many_elements_are_refused)
{
    GString *text = g_string_new("<pool type='dir'>");

    repeat(text, "<a/>", 200000);
    g_string_append(text, "</pool>");
    check_refused_fast(text);
}

TEST(many_references_are_refused)
{
    GString *text = g_string_new("<pool type='dir'><name>");

    repeat(text, "&amp;", 150000);
    g_string_append(text, "</name></pool>");
    check_refused_fast(text);
}

TEST(many_namespaces_are_refused)
{
    GString *text = g_string_new("<pool type='dir'>");

    for (int i = 0; i < 3000; i++)
        g_string_append_printf(text, "<a xmlns:n%d='u'>", i);
    check_refused_fast(text);
}

TEST(long_texts_are_refused)
{
    GString *text = g_string_new("<pool type='dir'><name>");

    repeat(text, "0123456789abcdef", 1024 * 1024);
    g_string_append(text, "</name></pool>");
    check_refused_fast(text);
}

TEST(a_long_text_that_never_ends_is_refused)
{
    GString *text = g_string_new("<pool type='dir'><name>");

    repeat(text, "0123456789abcdef", 65000);
    check_refused_fast(text);
}

TEST(no_encoding_hides_anything)
{
    CHECK_FAILS(parse("<?xml version='1.0' encoding='UTF-7'?>+ADwAIQ-DOCTYPE x+AD4-<pool type='dir'/>", 0), err,
                PLK_ERROR_XML_SYNTAX);
    CHECK_FAILS(parse("<pool type='dir'><name>\xe9</name></pool>", 0), err, PLK_ERROR_XML_SYNTAX);
    CHECK_OK(parse("<?xml version='1.0' encoding='ISO-8859-1'?>" POOL(""), 0), err);
}

/* ---- paths and uuids ---- */

TEST(paths_are_sanitised)
{
    static const char *const pairs[][2] = {
        {"/a//b/", "/a/b"}, {"/", "/"}, {"//", "//"}, {"///", "/"}, {"//a/", "//a"}, {"///a", "/a"}, {"a//", "a"},
        {"", ""}, {"/a/./b", "/a/./b"}};

    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        g_autofree char *clean = plk_path_sanitise(pairs[i][0]);
        CHECK_STR(clean, pairs[i][1]);
    }
}

TEST(uuids_are_read_as_people_write_them)
{
    static const char usual[] = "3e3fce45-4f53-4fa7-bb32-11f34168b82b";
    unsigned char uuid[PLK_UUID_BYTES];
    char text[PLK_UUID_CHARS + 1];

    CHECK(plk_uuid_parse(" 3E3FCE45 4f534fa7-bb3211f34168b82b\n", uuid));
    plk_uuid_format(uuid, text);
    CHECK_STR(text, usual);
    CHECK(!plk_uuid_parse("3e3fce45-4f53-4fa7-bb32-11f34168b82", uuid));
    CHECK(!plk_uuid_parse("3e3fce45-4f53-4fa7-bb32-11f34168b82b0", uuid));
    CHECK(!plk_uuid_parse("", uuid));
    CHECK(!plk_uuid_parse("ge3fce45-4f53-4fa7-bb32-11f34168b82b", uuid));
    plk_uuid_format(uuid, text);
    CHECK_STR(text, usual);
}

TEST_MAIN()
