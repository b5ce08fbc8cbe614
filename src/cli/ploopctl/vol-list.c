/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopctl vol list: every volume of a pool, the damaged ones with their reason. */
#include <glib.h>

#include "base/cleanup.h"
#include "grid.h"
#include "vol.h"

enum { OPT_DETAILS = OPT_OWN, OPT_NAMES };

static void unref_list(PlkVolumeList **list)
{
    plk_volume_list_unref(*list);
}

static void print_virsh(PlkPool *pool, const PlkVolumeList *list, bool details)
{
    static const PlkGridColumn columns[] = {{"Name"}, {"Path"}, {"Type"}, {"Capacity"}, {"Allocation"}};
    PlkGrid *grid = plk_grid_new(columns, details ? G_N_ELEMENTS(columns) : 2);

    for (size_t i = 0; i < plk_volume_list_count(list); i++) {
        const PlkVolume *v = plk_volume_list_at(list, i);
        g_autofree char *path = plk_pool_volume_path(pool, v->name);
        char capacity[PLK_SIZE_ROOM], allocation[PLK_SIZE_ROOM];

        plk_grid_row(grid, (const char *[]){v->name, path, plk_volume_type_names[v->facts.type],
                                            plk_pretty_size(v->facts.capacity, capacity),
                                            plk_pretty_size(v->facts.allocation, allocation)});
    }
    plk_grid_print(grid);
}

static void print_table(const PlkVolumeList *list)
{
    static const PlkGridColumn columns[] = {{"Name"},
                                            {"Format"},
                                            {"Capacity", PLK_RIGHT},
                                            {"Allocation", PLK_RIGHT},
                                            {"Snapshots", PLK_RIGHT},
                                            {"Status", PLK_STATUS}};
    PlkGrid *grid = plk_grid_new(columns, G_N_ELEMENTS(columns));

    for (size_t i = 0; i < plk_volume_list_count(list); i++) {
        const PlkVolume *v = plk_volume_list_at(list, i);
        char capacity[PLK_SIZE_ROOM], allocation[PLK_SIZE_ROOM], snapshots[PLK_SIZE_ROOM] = "-";
        g_autofree char *status = plk_volume_status(v);

        if (v->facts.type == PLK_VOLUME_PLOOP)
            snprintf(snapshots, sizeof(snapshots), "%u", v->facts.snapshots);
        plk_grid_row(grid,
                     (const char *[]){v->name, plk_volume_format_name(v),
                                      plk_pretty_size(v->facts.capacity, capacity),
                                      plk_pretty_size(v->facts.allocation, allocation), snapshots, status});
    }
    plk_grid_print(grid);
}

static void print_json(PlkPool *pool, const PlkVolumeList *list)
{
    PlkJson j = {.out = stdout};

    plk_json_open(&j, NULL, '[');
    for (size_t i = 0; i < plk_volume_list_count(list); i++)
        plk_volume_json(&j, NULL, pool, plk_volume_list_at(list, i));
    plk_json_close(&j, ']');
}

static int run(const PlkArgs *args)
{
    plk_cleanup(unref_list) PlkVolumeList *list = NULL;
    PLK_SESSION s = {0};
    PlkError err;
    int rc = plk_need_pool(args, PLK_STORAGE_LOOK, &s);

    if (rc)
        return rc;
    if (plk_pool_volumes(s.pool, &list, &err) < 0)
        return plk_cli_fail(&err);
    if (plk_settings.json)
        print_json(s.pool, list);
    else if (plk_arg_given(args, OPT_NAMES))
        for (size_t i = 0; i < plk_volume_list_count(list); i++)
            plk_put_name("", plk_volume_list_at(list, i)->name, "\n");
    else if (args->joined || plk_arg_given(args, OPT_DETAILS))
        print_virsh(s.pool, list, plk_arg_given(args, OPT_DETAILS));
    else
        print_table(list);
    return PLK_EXIT_OK;
}

static const PlkOption options[] = {
    PLK_THE_POOL,
    {OPT_DETAILS, "details", NULL, "virsh's columns with types and sizes"},
    {OPT_NAMES, "name", NULL, "names only"},
    {0},
};

static const char *const notes[] = {"'vol-list' shows virsh's columns, as virsh does.", NULL};

const PlkVerb plk_verb_vol_list = {
    .name = "list",
    .options = options,
    .run = run,
    .help = "list the volumes of a pool",
    .notes = notes,
};
