/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopctl vol info, dumpxml, path, key, name, pool, map: what one volume is. */
#include <glib.h>

#include "base/cleanup.h"
#include "grid.h"
#include "vol.h"

enum { OPT_PHYSICAL = OPT_OWN, OPT_UUID };

/* As plk_need_volume(), and the volume itself, which is there then. */
static int need_record(const PlkArgs *args, PlkSession *s, PlkVolume **ret)
{
    PlkError err;
    int rc = plk_need_volume(args, PLK_STORAGE_LOOK, s);

    if (rc)
        return rc;
    return plk_pool_volume(s->pool, s->volume, ret, &err) < 0 ? plk_cli_fail(&err) : 0;
}

static void line(const char *key, const char *value)
{
    printf("%-15s ", key);
    plk_put_name("", value, "\n");
}

static void print_our_part(PlkPool *pool, const PlkVolume *v)
{
    g_autofree char *status = plk_volume_status(v), *path = plk_pool_volume_path(pool, v->name);

    line("Format:", plk_volume_format_name(v));
    line("Path:", path);
    if (v->facts.backing)
        line("Backing:", v->facts.backing);
    if (v->facts.type == PLK_VOLUME_PLOOP)
        printf("%-15s %u\n", "Snapshots:", v->facts.snapshots);
    line("Status:", status);
}

static int run_info(const PlkArgs *args)
{
    bool exact = plk_arg_given(args, OPT_BYTES), physical = plk_arg_given(args, OPT_PHYSICAL);
    plk_cleanup(plk_volume_unrefp) PlkVolume *v = NULL;
    char size[PLK_SIZE_ROOM];
    PLK_SESSION s = {0};
    int rc = need_record(args, &s, &v);

    if (rc)
        return rc;
    if (plk_settings.json)
        return plk_print_volume_json(s.pool, s.volume);
    line("Name:", v->name);
    line("Type:", plk_volume_type_names[v->facts.type]);
    line("Capacity:", plk_show_size(v->facts.capacity, exact, size));
    line(physical ? "Physical:" : "Allocation:",
         plk_show_size(physical ? v->facts.physical : v->facts.allocation, exact, size));
    if (!args->joined)
        print_our_part(s.pool, v);
    putchar('\n');
    return PLK_EXIT_OK;
}

static int run_dumpxml(const PlkArgs *args)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *v = NULL;
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = NULL;
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *pool = NULL;
    g_autofree char *xml = NULL;
    PLK_SESSION s = {0};
    int rc = need_record(args, &s, &v);

    if (rc)
        return rc;
    pool = plk_pool_definition(s.pool, false);
    def = plk_pool_volume_definition(s.pool, v);
    xml = plk_volume_def_format(def, pool->type);
    return plk_print_xml(args, xml);
}

/* Key and path are the same. */
static int run_path(const PlkArgs *args)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *v = NULL;
    g_autofree char *path = NULL;
    PLK_SESSION s = {0};
    int rc = need_record(args, &s, &v);

    if (rc)
        return rc;
    path = plk_pool_volume_path(s.pool, s.volume);
    plk_put_name("", path, "\n");
    return PLK_EXIT_OK;
}

static int run_name(const PlkArgs *args)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *v = NULL;
    PLK_SESSION s = {0};
    int rc = need_record(args, &s, &v);

    if (rc == 0)
        plk_put_name("", s.volume, "\n");
    return rc;
}

static int run_pool(const PlkArgs *args)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *v = NULL;
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = NULL;
    char uuid[PLK_UUID_CHARS + 1];
    PLK_SESSION s = {0};
    int rc = need_record(args, &s, &v);

    if (rc)
        return rc;
    def = plk_pool_definition(s.pool, false);
    plk_uuid_format(def->uuid, uuid);
    plk_put_name("", plk_arg_given(args, OPT_UUID) ? uuid : plk_pool_name(s.pool), "\n");
    return PLK_EXIT_OK;
}

/* ---- map ---- */

static int add_row(void *arg, uint64_t offset, uint64_t length, bool data, const char *file,
                   uint64_t file_offset)
{
    char cells[3][PLK_SIZE_ROOM] = {"", "", "-"};

    snprintf(cells[0], PLK_SIZE_ROOM, "%" G_GUINT64_FORMAT, offset);
    snprintf(cells[1], PLK_SIZE_ROOM, "%" G_GUINT64_FORMAT, length);
    if (data)
        snprintf(cells[2], PLK_SIZE_ROOM, "%" G_GUINT64_FORMAT, file_offset);
    plk_grid_row(arg,
                 (const char *[]){cells[0], cells[1], data ? "data" : "hole", cells[2], file ? file : "-"});
    return plk_cancelled();
}

static int add_json(void *arg, uint64_t offset, uint64_t length, bool data, const char *file,
                    uint64_t file_offset)
{
    PlkJson *j = arg;

    plk_json_open(j, NULL, '{');
    plk_json_uint(j, "offset", offset);
    plk_json_uint(j, "length", length);
    plk_json_bool(j, "data", data);
    plk_json_string(j, "file", data ? file : NULL);
    if (data)
        plk_json_uint(j, "file_offset", file_offset);
    plk_json_close(j, '}');
    return plk_cancelled();
}

static int run_map(const PlkArgs *args)
{
    static const PlkGridColumn columns[] = {
        {"Offset", PLK_RIGHT}, {"Length", PLK_RIGHT}, {"Is"}, {"At", PLK_RIGHT}, {"In"}};
    PlkGrid *grid = NULL;
    PlkJson j = {.out = stdout};
    PLK_SESSION s = {0};
    PlkError err;
    int rc = plk_need_volume(args, PLK_STORAGE_LOOK, &s);

    if (rc)
        return rc;
    if (plk_settings.json)
        plk_json_open(&j, NULL, '[');
    else
        grid = plk_grid_new(columns, G_N_ELEMENTS(columns));
    rc = plk_pool_volume_map(s.pool, s.volume, grid ? add_row : add_json, grid ? (void *)grid : (void *)&j,
                             &err);
    if (grid)
        plk_grid_print(grid);
    else
        plk_json_close(&j, ']');
    return rc < 0 ? plk_cli_fail(&err) : PLK_EXIT_OK;
}

static const PlkOption info_options[] = {
    PLK_THE_VOLUME,
    PLK_ITS_POOL,
    {OPT_BYTES, "bytes", NULL, "sizes in bytes"},
    {OPT_PHYSICAL, "physical", NULL, "length of the files instead of the blocks they use"},
    {0},
};
static const PlkOption dumpxml_options[] = {
    PLK_THE_VOLUME,
    PLK_ITS_POOL,
    {OPT_XPATH, "xpath", "XPATH", "only the nodes it picks", false, true},
    {OPT_WRAP, "wrap", NULL, "with --xpath: within one root element"},
    {0},
};
static const PlkOption volume_options[] = {PLK_THE_VOLUME, PLK_ITS_POOL, {0}};
static const PlkOption pool_options[] = {
    PLK_THE_VOLUME,
    {OPT_UUID, "uuid", NULL, "its UUID instead of its name"},
    {0},
};

const PlkVerb plk_verb_vol_info = {
    .name = "info",
    .options = info_options,
    .run = run_info,
    .help = "show one volume",
};

const PlkVerb plk_verb_vol_dumpxml = {
    .name = "dumpxml",
    .options = dumpxml_options,
    .run = run_dumpxml,
    .help = "print its XML",
};

const PlkVerb plk_verb_vol_path = {
    .name = "path",
    .options = volume_options,
    .run = run_path,
    .help = "print its path",
};

const PlkVerb plk_verb_vol_key = {
    .name = "key",
    .options = volume_options,
    .run = run_path,
    .help = "print its key",
};

const PlkVerb plk_verb_vol_name = {
    .name = "name",
    .options = volume_options,
    .run = run_name,
    .help = "print the name of a volume given by path",
};

const PlkVerb plk_verb_vol_pool = {
    .name = "pool",
    .options = pool_options,
    .run = run_pool,
    .help = "print the pool of a volume given by path",
};

const PlkVerb plk_verb_vol_map = {
    .name = "map",
    .options = volume_options,
    .run = run_map,
    .help = "show where its data lies",
};
