/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploopctl pool list. A pool that cannot be asked for its sizes is a row with its reason, never the end of
 * the list.
 */
#include <glib.h>
#include <string.h>

#include "base/error.h"
#include "grid.h"
#include "pool.h"

enum {
    OPT_INACTIVE = OPT_OWN,
    OPT_ALL,
    OPT_TRANSIENT,
    OPT_PERSISTENT,
    OPT_AUTOSTART,
    OPT_NO_AUTOSTART,
    OPT_TYPE,
    OPT_DETAILS,
    OPT_UUID,
    OPT_NAMES
};

typedef struct Listing {
    PlkPool **pools;
    PlkPoolInfo *infos;
    size_t n;
} Listing;

static void listing_clear(Listing *l)
{
    plk_pools_free(l->pools, l->n);
    g_free(l->infos);
}

/* virsh lists active pools unless told otherwise; so does the joined word. `pool list` shows what there is.
 */
static unsigned list_flags(const PlkArgs *args)
{
    static const struct {
        int id;
        unsigned flag;
    } filters[] = {{OPT_TRANSIENT, PLK_LIST_TRANSIENT},
                   {OPT_PERSISTENT, PLK_LIST_PERSISTENT},
                   {OPT_AUTOSTART, PLK_LIST_AUTOSTART},
                   {OPT_NO_AUTOSTART, PLK_LIST_NO_AUTOSTART}};
    unsigned flags = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(filters); i++)
        if (plk_arg_given(args, filters[i].id))
            flags |= filters[i].flag;
    if (plk_arg_given(args, OPT_INACTIVE))
        return flags | PLK_LIST_INACTIVE;
    return plk_arg_given(args, OPT_ALL) || !args->joined ? flags : flags | PLK_LIST_ACTIVE;
}

/* "dir,fs": a bit for each type. 0 or the exit code. */
static int wanted_types(const char *text, unsigned *ret)
{
    g_auto(GStrv) names = text ? g_strsplit(text, ",", -1) : NULL;

    *ret = text ? 0 : ~0u;
    for (char **name = names; name && *name; name++) {
        int type = plk_name_index(plk_pool_type_names, *name);

        if (type < 0)
            return plk_cli_param("--type %s: not a type of pools; 'ploopctl pool capabilities' lists them",
                                 *name);
        *ret |= 1u << type;
    }
    return 0;
}

/* What a pool that could not be asked looks like. */
static void unknown_info(PlkPool *pool, const PlkError *err, PlkPoolInfo *ret)
{
    PlkPoolDef *def = plk_pool_definition(pool, false);

    *ret = (PlkPoolInfo){.type = def->type};
    memcpy(ret->uuid, def->uuid, sizeof(ret->uuid));
    g_strlcpy(ret->reason, err->message, sizeof(ret->reason));
    plk_pool_def_free(def);
}

/* Infos beside the pools; those of other types are dropped. */
static void ask_pools(Listing *l, unsigned types)
{
    size_t kept = 0;
    PlkError err;

    l->infos = g_new0(PlkPoolInfo, l->n + 1);
    for (size_t i = 0; i < l->n; i++) {
        PlkPoolInfo *info = &l->infos[kept];

        if (plk_ask_pool(l->pools[i], info, &err) < 0)
            unknown_info(l->pools[i], &err, info);
        if (types & 1u << info->type)
            l->pools[kept++] = l->pools[i];
        else
            plk_pool_unref(l->pools[i]);
    }
    l->n = kept;
}

/* ---- ways to show it ---- */

static const char *state_of(const PlkPoolInfo *info, bool details)
{
    return !info->active ? "inactive" : details ? "running" : "active";
}

static char *status_of(const PlkPoolInfo *info)
{
    if (*info->reason)
        return g_strdup(info->reason);
    if (info->broken)
        return g_strdup_printf("broken: %zu of %zu volumes; see 'ploopctl doctor'", info->broken,
                               info->volumes);
    return g_strdup(info->active ? "good" : "-");
}

static void print_virsh(const Listing *l, bool details)
{
    static const PlkGridColumn columns[] = {{"Name"},     {"State"},      {"Autostart"}, {"Persistent"},
                                            {"Capacity"}, {"Allocation"}, {"Available"}};
    PlkGrid *grid = plk_grid_new(columns, details ? G_N_ELEMENTS(columns) : 3);

    for (size_t i = 0; i < l->n; i++) {
        const PlkPoolInfo *info = &l->infos[i];
        char capacity[PLK_SIZE_ROOM] = "-", allocation[PLK_SIZE_ROOM] = "-", available[PLK_SIZE_ROOM] = "-";

        if (info->active) {
            plk_pretty_size(info->capacity, capacity);
            plk_pretty_size(info->allocation, allocation);
            plk_pretty_size(info->available, available);
        }
        plk_grid_row(grid, (const char *[]){plk_pool_name(l->pools[i]), state_of(info, details),
                                            plk_yes_no(info->autostart), plk_yes_no(info->persistent),
                                            capacity, allocation, available});
    }
    plk_grid_print(grid);
}

static void print_table(const Listing *l)
{
    static const PlkGridColumn columns[] = {{"Name"},
                                            {"Type"},
                                            {"State", PLK_STATUS},
                                            {"Autostart"},
                                            {"Capacity", PLK_RIGHT},
                                            {"Available", PLK_RIGHT},
                                            {"Volumes", PLK_RIGHT},
                                            {"Status", PLK_STATUS}};
    PlkGrid *grid = plk_grid_new(columns, G_N_ELEMENTS(columns));

    for (size_t i = 0; i < l->n; i++) {
        const PlkPoolInfo *info = &l->infos[i];
        char capacity[PLK_SIZE_ROOM] = "-", available[PLK_SIZE_ROOM] = "-", volumes[PLK_SIZE_ROOM] = "-";
        g_autofree char *status = status_of(info);

        if (info->active) {
            plk_pretty_size(info->capacity, capacity);
            plk_pretty_size(info->available, available);
            snprintf(volumes, sizeof(volumes), "%zu", info->volumes);
        }
        plk_grid_row(grid, (const char *[]){plk_pool_name(l->pools[i]), plk_pool_type_names[info->type],
                                            state_of(info, true), plk_yes_no(info->autostart), capacity,
                                            available, volumes, status});
    }
    plk_grid_print(grid);
}

static void print_words(const Listing *l, bool names)
{
    char uuid[PLK_UUID_CHARS + 1];

    for (size_t i = 0; i < l->n; i++) {
        plk_uuid_format(l->infos[i].uuid, uuid);
        plk_put_name("", names ? plk_pool_name(l->pools[i]) : uuid, "\n");
    }
}

static void print_json(const Listing *l)
{
    PlkJson j = {.out = stdout};

    plk_json_open(&j, NULL, '[');
    for (size_t i = 0; i < l->n; i++)
        plk_pool_json(&j, NULL, l->pools[i], &l->infos[i]);
    plk_json_close(&j, ']');
}

static int run(const PlkArgs *args)
{
    __attribute__((cleanup(listing_clear))) Listing l = {0};
    PLK_SESSION s = {0};
    unsigned types;
    PlkError err;
    int rc;

    rc = wanted_types(plk_arg(args, OPT_TYPE), &types);
    if (rc == 0)
        rc = plk_need_storage(PLK_STORAGE_LOOK, &s);
    if (rc)
        return rc;
    if (plk_storage_pools(s.storage, list_flags(args), &l.pools, &l.n, &err) < 0)
        return plk_cli_fail(&err);
    ask_pools(&l, types);
    if (plk_settings.json)
        print_json(&l);
    else if (plk_arg_given(args, OPT_NAMES) || plk_arg_given(args, OPT_UUID))
        print_words(&l, plk_arg_given(args, OPT_NAMES));
    else if (args->joined || plk_arg_given(args, OPT_DETAILS))
        print_virsh(&l, plk_arg_given(args, OPT_DETAILS));
    else
        print_table(&l);
    return PLK_EXIT_OK;
}

static const PlkOption options[] = {
    {OPT_INACTIVE, "inactive", NULL, "inactive pools only"},
    {OPT_ALL, "all", NULL, "active and inactive pools (default of 'pool list')"},
    {OPT_TRANSIENT, "transient", NULL, "those without a definition"},
    {OPT_PERSISTENT, "persistent", NULL, "those with one"},
    {OPT_AUTOSTART, "autostart", NULL, "those that start with the machine"},
    {OPT_NO_AUTOSTART, "no-autostart", NULL, "those that do not"},
    {OPT_TYPE, "type", "TYPE,...", "only these types"},
    {OPT_DETAILS, "details", NULL, "virsh's columns with sizes"},
    {OPT_UUID, "uuid", NULL, "UUIDs only"},
    {OPT_NAMES, "name", NULL, "names only"},
    {0},
};

static const char *const notes[] = {"'pool-list' shows active pools and virsh's columns, as virsh does.",
                                    NULL};

const PlkVerb plk_verb_pool_list = {
    .name = "list",
    .options = options,
    .run = run,
    .help = "list pools",
    .notes = notes,
};
