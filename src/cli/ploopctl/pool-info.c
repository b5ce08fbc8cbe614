/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopctl pool info, dumpxml, name, uuid, capabilities: what one pool is. */
#include <glib.h>

#include "base/cleanup.h"
#include "pool.h"

enum { OPT_INACTIVE = OPT_OWN };

static void line(const char *key, const char *value)
{
    printf("%-15s ", key);
    plk_put_name("", value, "\n");
}

static void line_size(const char *key, uint64_t bytes, bool exact)
{
    char text[PLK_SIZE_ROOM];

    if (exact)
        printf("%-15s %" G_GUINT64_FORMAT "\n", key, bytes);
    else
        line(key, plk_pretty_size(bytes, text));
}

static void print_virsh_part(PlkPool *pool, const PlkPoolInfo *info, bool exact)
{
    char uuid[PLK_UUID_CHARS + 1];

    plk_uuid_format(info->uuid, uuid);
    line("Name:", plk_pool_name(pool));
    line("UUID:", uuid);
    line("State:", info->active ? "running" : "inactive");
    line("Persistent:", plk_yes_no(info->persistent));
    line("Autostart:", plk_yes_no(info->autostart));
    if (!info->active)
        return;
    line_size("Capacity:", info->capacity, exact);
    line_size("Allocation:", info->allocation, exact);
    line_size("Available:", info->available, exact);
}

static void print_our_part(PlkPool *pool, const PlkPoolInfo *info)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = plk_pool_definition(pool, false);

    line("Type:", plk_pool_type_names[info->type]);
    if (def->target)
        line("Target:", def->target);
    if (info->active)
        printf("%-15s %zu, %zu of them broken\n", "Volumes:", info->volumes, info->broken);
    if (*info->reason)
        line("Reason:", info->reason);
}

static int run_info(const PlkArgs *args)
{
    PLK_SESSION s = {0};
    PlkPoolInfo info;
    PlkError err;
    int rc = plk_need_pool(args, PLK_STORAGE_LOOK, &s);

    if (rc)
        return rc;
    if (plk_settings.json)
        return plk_print_pool_json(s.pool);
    if (plk_ask_pool(s.pool, &info, &err) < 0)
        return plk_cli_fail(&err);
    print_virsh_part(s.pool, &info, plk_arg_given(args, OPT_BYTES));
    if (!args->joined)
        print_our_part(s.pool, &info);
    putchar('\n');
    return PLK_EXIT_OK;
}

static int run_dumpxml(const PlkArgs *args)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = NULL;
    g_autofree char *xml = NULL;
    PLK_SESSION s = {0};
    PlkPoolInfo info;
    int rc = plk_need_pool(args, PLK_STORAGE_LOOK, &s);

    if (rc)
        return rc;
    def = plk_pool_definition(s.pool, plk_arg_given(args, OPT_INACTIVE));
    if (!plk_arg_given(args, OPT_INACTIVE) && plk_pool_info(s.pool, &info, NULL) == 0 && info.active) {
        def->capacity = info.capacity;
        def->allocation = info.allocation;
        def->available = info.available;
    }
    xml = plk_pool_def_format(def);
    return plk_print_xml(args, xml);
}

static int run_name(const PlkArgs *args)
{
    PLK_SESSION s = {0};
    int rc = plk_need_pool(args, PLK_STORAGE_LOOK, &s);

    if (rc == 0)
        plk_put_name("", plk_pool_name(s.pool), "\n");
    return rc;
}

static int run_uuid(const PlkArgs *args)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = NULL;
    char uuid[PLK_UUID_CHARS + 1];
    PLK_SESSION s = {0};
    int rc = plk_need_pool(args, PLK_STORAGE_LOOK, &s);

    if (rc)
        return rc;
    def = plk_pool_definition(s.pool, false);
    plk_uuid_format(def->uuid, uuid);
    puts(uuid);
    return PLK_EXIT_OK;
}

static int run_capabilities(const PlkArgs *args)
{
    bool supported[PLK_POOL_TYPES];
    g_autofree char *xml = NULL;

    plk_storage_supported(supported);
    xml = plk_pool_capabilities_format(supported);
    fputs(xml, stdout);
    return PLK_EXIT_OK;
}

static const PlkOption pool_options[] = {PLK_THE_POOL, {0}};
static const PlkOption info_options[] = {
    PLK_THE_POOL,
    {OPT_BYTES, "bytes", NULL, "sizes in bytes"},
    {0},
};
static const PlkOption dumpxml_options[] = {
    PLK_THE_POOL,
    {OPT_INACTIVE, "inactive", NULL, "what the next start takes"},
    {OPT_XPATH, "xpath", "XPATH", "only the nodes it picks", false, true},
    {OPT_WRAP, "wrap", NULL, "with --xpath: within one root element"},
    {0},
};

const PlkVerb plk_verb_pool_info = {
    .name = "info",
    .options = info_options,
    .run = run_info,
    .help = "show one pool",
};

const PlkVerb plk_verb_pool_dumpxml = {
    .name = "dumpxml",
    .options = dumpxml_options,
    .run = run_dumpxml,
    .help = "print its XML",
};

const PlkVerb plk_verb_pool_name = {
    .name = "name",
    .options = pool_options,
    .run = run_name,
    .help = "print the name of a pool given by UUID",
};

const PlkVerb plk_verb_pool_uuid = {
    .name = "uuid",
    .options = pool_options,
    .run = run_uuid,
    .help = "print the UUID of a pool given by name",
};

const PlkVerb plk_verb_pool_capabilities = {
    .name = "capabilities",
    .run = run_capabilities,
    .help = "print which types and formats there are, as XML",
};
