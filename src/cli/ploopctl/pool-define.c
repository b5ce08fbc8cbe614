/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopctl pool define, define-as, create, create-as: pools from XML, or from options that become XML. */
#include "base/cleanup.h"
#include "pool.h"
#include "state.h"
#include "xml-text.h"

enum {
    OPT_TYPE = OPT_OWN,
    OPT_SOURCE_HOST,
    OPT_SOURCE_PATH,
    OPT_SOURCE_DEV,
    OPT_SOURCE_NAME,
    OPT_TARGET,
    OPT_SOURCE_FORMAT,
    OPT_AUTH_TYPE,
    OPT_AUTH_USERNAME,
    OPT_SECRET_USAGE,
    OPT_SECRET_UUID,
    OPT_PROTOCOL,
    OPT_INITIATOR
};

/* ---- options to XML, in virsh's order ---- */

static bool any_given(const PlkArgs *args, const int *ids)
{
    for (; *ids; ids++)
        if (plk_arg_given(args, *ids))
            return true;
    return false;
}

static void put_auth(const PlkArgs *args, GString *xml)
{
    const char *usage = plk_arg(args, OPT_SECRET_USAGE), *uuid = plk_arg(args, OPT_SECRET_UUID);
    g_autofree char *tag = NULL;

    if (!plk_arg_given(args, OPT_AUTH_TYPE) || !plk_arg_given(args, OPT_AUTH_USERNAME) || (!usage && !uuid))
        return;
    tag = g_markup_printf_escaped("auth type='%s' username='%s'", plk_arg(args, OPT_AUTH_TYPE),
                                  plk_arg(args, OPT_AUTH_USERNAME));
    plk_xml_open(xml, 4, tag);
    plk_xml_attribute(xml, 6, "secret", usage ? "usage" : "uuid", usage ? usage : uuid);
    plk_xml_close(xml, 4, "auth");
}

static void put_source(const PlkArgs *args, GString *xml)
{
    static const int ids[] = {OPT_SOURCE_HOST, OPT_SOURCE_PATH,   OPT_SOURCE_DEV,
                              OPT_SOURCE_NAME, OPT_SOURCE_FORMAT, OPT_PROTOCOL,
                              OPT_INITIATOR,   OPT_AUTH_TYPE,     0};

    if (!any_given(args, ids))
        return;
    plk_xml_open(xml, 2, "source");
    plk_xml_attribute(xml, 4, "host", "name", plk_arg(args, OPT_SOURCE_HOST));
    plk_xml_attribute(xml, 4, "dir", "path", plk_arg(args, OPT_SOURCE_PATH));
    plk_xml_attribute(xml, 4, "device", "path", plk_arg(args, OPT_SOURCE_DEV));
    if (plk_arg_given(args, OPT_INITIATOR)) {
        plk_xml_open(xml, 4, "initiator");
        plk_xml_attribute(xml, 6, "iqn", "name", plk_arg(args, OPT_INITIATOR));
        plk_xml_close(xml, 4, "initiator");
    }
    put_auth(args, xml);
    plk_xml_attribute(xml, 4, "format", "type", plk_arg(args, OPT_SOURCE_FORMAT));
    plk_xml_element(xml, 4, "name", plk_arg(args, OPT_SOURCE_NAME));
    plk_xml_attribute(xml, 4, "protocol", "ver", plk_arg(args, OPT_PROTOCOL));
    plk_xml_close(xml, 2, "source");
}

static char *pool_xml(const PlkArgs *args)
{
    GString *xml = g_string_new(NULL);
    g_autofree char *tag = g_markup_printf_escaped("pool type='%s'", plk_arg(args, OPT_TYPE));

    plk_xml_open(xml, 0, tag);
    plk_xml_element(xml, 2, "name", plk_arg(args, OPT_NAME));
    put_source(args, xml);
    if (plk_arg_given(args, OPT_TARGET)) {
        plk_xml_open(xml, 2, "target");
        plk_xml_element(xml, 4, "path", plk_arg(args, OPT_TARGET));
        plk_xml_close(xml, 2, "target");
    }
    plk_xml_close(xml, 0, "pool");
    return g_string_free(xml, FALSE);
}

/* ---- XML to a pool ---- */

static int make_pool(const PlkArgs *args, const char *xml, bool persistent, PlkSession *s, PlkError *err)
{
    PlkPoolDef *def;
    unsigned flags = plk_arg_if_any(args, OPT_VALIDATE) ? PLK_PARSE_VALIDATE : 0;

    if (plk_pool_def_parse(xml, flags | (persistent ? PLK_PARSE_DEFINE : 0), &def, err) < 0)
        return -1;
    if (persistent)
        return plk_state_define(s, def, err);
    return plk_state_create(s, def, plk_start_flags(args), err);
}

static int make_and_say(const PlkArgs *args, const char *xml, bool persistent, const char *file)
{
    PLK_SESSION s = {0};
    PlkError err;
    int rc = plk_need_storage(PLK_STORAGE_COMMAND, &s);

    if (rc)
        return rc;
    if (make_pool(args, xml, persistent, &s, &err) < 0)
        return plk_cli_fail(&err);
    if (plk_settings.json)
        return plk_print_pool_json(s.pool);
    plk_say(1, "Pool %s %s%s%s", plk_pool_name(s.pool), persistent ? "defined" : "created",
            file ? " from " : "", file ? file : "");
    return PLK_EXIT_OK;
}

static int from_file(const PlkArgs *args, bool persistent)
{
    const char *file = plk_arg(args, OPT_FILE);
    g_autofree char *xml = NULL;
    PlkError err;

    if (plk_read_text(file, &xml, &err) < 0)
        return plk_cli_fail(&err);
    return make_and_say(args, xml, persistent, file);
}

static int from_options(const PlkArgs *args, bool persistent)
{
    g_autofree char *xml = pool_xml(args);

    if (!plk_arg_given(args, OPT_PRINT_XML))
        return make_and_say(args, xml, persistent, NULL);
    fputs(xml, stdout);
    return PLK_EXIT_OK;
}

static int run_define(const PlkArgs *args)
{
    return from_file(args, true);
}

static int run_create(const PlkArgs *args)
{
    return from_file(args, false);
}

static int run_define_as(const PlkArgs *args)
{
    return from_options(args, true);
}

static int run_create_as(const PlkArgs *args)
{
    return from_options(args, false);
}

/* ---- the verbs ---- */

#define THE_FILE                                                                                             \
    {                                                                                                        \
        OPT_FILE, "file", "FILE", "its XML; - is standard input", true, true                                 \
    }
#define BUILD_OPTIONS                                                                                        \
    {OPT_BUILD, "build", NULL, "build it first"},                                                            \
        {OPT_NO_OVERWRITE, "no-overwrite", NULL, "build it, refuse a device that holds something"},          \
    {                                                                                                        \
        OPT_OVERWRITE, "overwrite", NULL, "build it, whatever is there"                                      \
    }
#define POOL_OPTIONS                                                                                         \
    {OPT_NAME, "name", "NAME", "name of the new pool", true, true},                                          \
        {OPT_TYPE, "type", "TYPE", "dir, fs, netfs, ...", true, true},                                       \
        {OPT_PRINT_XML, "print-xml", NULL, "print the XML, make nothing"},                                   \
        {OPT_SOURCE_HOST, "source-host", "HOST", "netfs: the server", false, true},                          \
        {OPT_SOURCE_PATH, "source-path", "PATH", "netfs: what the server exports", false, true},             \
        {OPT_SOURCE_DEV, "source-dev", "DEVICE", "fs: the device", false, true},                             \
        {OPT_SOURCE_NAME, "source-name", "NAME", "name on the source", false, true},                         \
        {OPT_TARGET, "target", "DIR", "directory of the volumes", false, true},                              \
        {OPT_SOURCE_FORMAT, "source-format", "FORMAT", "fs: ext4, xfs, ...; netfs: nfs, ...", false, true},  \
        {OPT_AUTH_TYPE, "auth-type", "TYPE", "how to log in", false, true},                                  \
        {OPT_AUTH_USERNAME, "auth-username", "NAME", "as whom", false, true},                                \
        {OPT_SECRET_USAGE, "secret-usage", "USAGE", "the secret, by usage", false, true},                    \
        {OPT_SECRET_UUID, "secret-uuid", "UUID", "the secret, by UUID", false, true},                        \
        {OPT_PROTOCOL, "source-protocol-ver", "VERSION", "version of NFS", false, true},                     \
    {                                                                                                        \
        OPT_INITIATOR, "source-initiator", "IQN", "iSCSI initiator", false, true                             \
    }

static const PlkOption define_options[] = {
    THE_FILE,
    {OPT_VALIDATE, "validate", NULL, "hold it against the schema"},
    {0},
};
static const PlkOption create_options[] = {THE_FILE, BUILD_OPTIONS, {0}};
static const PlkOption define_as_options[] = {POOL_OPTIONS, {0}};
static const PlkOption create_as_options[] = {POOL_OPTIONS, BUILD_OPTIONS, {0}};

const PlkVerb plk_verb_pool_define = {
    .name = "define",
    .options = define_options,
    .run = run_define,
    .help = "keep a pool's definition, from XML",
};

const PlkVerb plk_verb_pool_define_as = {
    .name = "define-as",
    .options = define_as_options,
    .run = run_define_as,
    .help = "keep a pool's definition, from options",
};

const PlkVerb plk_verb_pool_create = {
    .name = "create",
    .options = create_options,
    .run = run_create,
    .help = "start a pool that is forgotten when it stops, from XML",
};

const PlkVerb plk_verb_pool_create_as = {
    .name = "create-as",
    .options = create_as_options,
    .run = run_create_as,
    .help = "the same, from options",
};
