/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Definitions of volumes: what the texts kept in tests/conf do not show. */
#include <glib.h>

#include "conf/volume-def.h"
#include "test.h"

static PlkError err;

TEST(what_is_found_on_a_disk_is_printed)
{
    PlkVolumeDef *def = plk_volume_def_new("v'1", PLK_FILE_QCOW2, 1048576);

    def->key = g_strdup("/srv/p/v'1");
    def->target.path = g_strdup(def->key);
    def->allocation = 200704;
    def->physical = 196616;
    def->target.permissions = (PlkPermissions){.mode = 0600, .uid = 0, .gid = 0};
    def->target.has_times = true;
    def->target.atime = (struct timespec){1700000000, 7};
    def->target.mtime = (struct timespec){1700000001, 0};
    def->target.ctime = (struct timespec){1700000002, 123456789};
    def->target.cluster = 65536;
    def->target.compat = g_strdup("1.1");
    def->target.has_features = true;
    g_autofree char *text = plk_volume_def_format(def, PLK_POOL_DIR);
    plk_volume_def_free(def);
    CHECK_STR(text, "<volume type='file'>\n"
                    "  <name>v&apos;1</name>\n"
                    "  <key>/srv/p/v&apos;1</key>\n"
                    "  <capacity unit='bytes'>1048576</capacity>\n"
                    "  <allocation unit='bytes'>200704</allocation>\n"
                    "  <physical unit='bytes'>196616</physical>\n"
                    "  <target>\n"
                    "    <path>/srv/p/v&apos;1</path>\n"
                    "    <format type='qcow2'/>\n"
                    "    <permissions>\n"
                    "      <mode>0600</mode>\n"
                    "      <owner>0</owner>\n"
                    "      <group>0</group>\n"
                    "    </permissions>\n"
                    "    <timestamps>\n"
                    "      <atime>1700000000.000000007</atime>\n"
                    "      <mtime>1700000001</mtime>\n"
                    "      <ctime>1700000002.123456789</ctime>\n"
                    "      <btime>0</btime>\n"
                    "    </timestamps>\n"
                    "    <compat>1.1</compat>\n"
                    "    <clusterSize unit='B'>65536</clusterSize>\n"
                    "    <features/>\n"
                    "  </target>\n"
                    "</volume>\n");
}

TEST(a_new_definition_has_the_type_of_its_format)
{
    static const struct { PlkFileFormat format; PlkVolumeType type; } pairs[] = {
        {PLK_FILE_PLOOP, PLK_VOLUME_PLOOP}, {PLK_FILE_DIR, PLK_VOLUME_DIR}, {PLK_FILE_RAW, PLK_VOLUME_FILE}};

    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        PlkVolumeDef *def = plk_volume_def_new("v", pairs[i].format, 1);
        CHECK_INT(def->type, pairs[i].type);
        plk_volume_def_free(def);
    }
}

TEST(control_characters_of_a_name_are_left_out)
{
    PlkVolumeDef *def = plk_volume_def_new("a\x01\tb", PLK_FILE_RAW, 1);
    g_autofree char *text = plk_volume_def_format(def, PLK_POOL_DIR);

    plk_volume_def_free(def);
    CHECK(strstr(text, "<name>a\tb</name>"));
}

TEST(capacity_is_needed_unless_something_else_tells_it)
{
    PlkVolumeDef *def = NULL;

    CHECK_FAILS(plk_volume_def_parse("<volume><name>a</name></volume>", PLK_POOL_DIR, 0, &def, &err), err,
                PLK_ERROR_XML);
    CHECK_OK(plk_volume_def_parse("<volume><name>a</name></volume>", PLK_POOL_DIR, PLK_PARSE_OPT_CAPACITY, &def, &err),
             err);
    CHECK(!def->has_capacity && !def->has_allocation);
    plk_volume_def_freep(&def);
    CHECK_OK(plk_volume_def_parse("<volume><name>a</name><backingStore><path>b</path></backingStore></volume>",
                                  PLK_POOL_DIR, 0, &def, &err), err);
    CHECK(!def->has_capacity);
    plk_volume_def_freep(&def);
}

TEST(the_schema_knows_what_belongs_where)
{
    static const char *const wrong[] = {
        "<foo/>", "<capacity unit='M' a='1'>1</capacity>", "<target><foo/></target>", "<target>x</target>",
        "<target><timestamps><atime>x</atime></timestamps></target>", "<target><features><foo/></features></target>",
        "<target><format/></target>", "<backingStore><path>b</path></backingStore>", "<capacity>2</capacity>"};
    PlkVolumeDef *def = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autofree char *xml = g_strconcat("<volume><name>a</name><capacity>1</capacity>", wrong[i], "</volume>", NULL);
        CHECK_FAILS(plk_volume_def_parse(xml, PLK_POOL_DIR, PLK_PARSE_VALIDATE, &def, &err), err,
                    PLK_ERROR_XML_SCHEMA);
    }
    CHECK_OK(plk_volume_def_parse("<volume type='ploop'><name>a</name><capacity unit='G'>1</capacity><target>"
                                  "<format type='ploop'/><timestamps><atime>1.5</atime></timestamps></target></volume>",
                                  PLK_POOL_DIR, PLK_PARSE_VALIDATE, &def, &err), err);
    plk_volume_def_freep(&def);
}

TEST(sizes_have_units)
{
    static const struct { const char *number, *unit; uint64_t bytes; } good[] = {
        {"1", NULL, 1}, {"1", "", 1}, {"3", "K", 3072}, {"3", "kib", 3072}, {"3", "KB", 3000}, {"1", "bytes", 1},
        {"7", "E", 7ull << 60}, {"9223372036854775807", "b", INT64_MAX}, {" 5", "MB", 5000000}};
    static const struct { const char *number, *unit; PlkErrorCode code; } bad[] = {
        {"8", "E", PLK_ERROR_OVERFLOW}, {"9223372036854775808", NULL, PLK_ERROR_OVERFLOW}, {"1", "z", PLK_ERROR_UNIT},
        {"1", "KiBB", PLK_ERROR_UNIT}, {"-1", NULL, PLK_ERROR_XML}, {"1K", NULL, PLK_ERROR_XML},
        {"", NULL, PLK_ERROR_XML}, {"18446744073709551616", NULL, PLK_ERROR_XML}};
    uint64_t bytes = 42;

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        CHECK_FAILS(plk_scale_size(bad[i].number, bad[i].unit, &bytes, &err), err, bad[i].code);
    CHECK_INT(bytes, 42);
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        CHECK_OK(plk_scale_size(good[i].number, good[i].unit, &bytes, &err), err);
        CHECK(bytes == good[i].bytes);
    }
}

TEST_MAIN()
