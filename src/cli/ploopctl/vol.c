/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopctl vol: the table of its verbs, and those that change a volume where it is. */
#include "vol.h"

#include <glib.h>
#include <stdarg.h>

enum { OPT_ALLOCATE = OPT_OWN, OPT_DELTA, OPT_SHRINK, OPT_ALGORITHM, OPT_DELETE_SNAPSHOTS };

int plk_say_volume(PlkPool *pool, const char *name, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    if (plk_settings.json)
        return plk_print_volume_json(pool, name);
    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    plk_say(1, "%s", text);
    return PLK_EXIT_OK;
}

static int run_delete(const PlkArgs *args)
{
    PLK_SESSION s = {0};
    PlkError err;
    int rc = plk_need_volume(args, PLK_STORAGE_COMMAND, &s);

    if (rc)
        return rc;
    if (plk_pool_delete_volume(s.pool, s.volume, plk_arg_given(args, OPT_DELETE_SNAPSHOTS) ? 2 : 0, &err) < 0)
        return plk_cli_fail(&err);
    if (!plk_settings.json)
        plk_say(1, "Vol %s deleted", s.volume);
    return PLK_EXIT_OK;
}

static unsigned resize_flags(const PlkArgs *args)
{
    return (plk_arg_given(args, OPT_ALLOCATE) ? PLK_RESIZE_ALLOCATE : 0) |
           (plk_arg_given(args, OPT_DELTA) ? PLK_RESIZE_DELTA : 0) |
           (plk_arg_given(args, OPT_SHRINK) ? PLK_RESIZE_SHRINK : 0);
}

static int run_resize(const PlkArgs *args)
{
    PLK_SESSION s = {0};
    uint64_t capacity = 0;
    PlkError err;
    int rc = plk_arg_size(args, OPT_CAPACITY, &capacity);

    if (rc == 0)
        rc = plk_need_volume(args, PLK_STORAGE_COMMAND, &s);
    if (rc)
        return rc;
    if (plk_pool_resize_volume(s.pool, s.volume, capacity, resize_flags(args), plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    return plk_say_volume(s.pool, s.volume, "Size of volume '%s' successfully changed %s %s", s.volume,
                          plk_arg_given(args, OPT_DELTA) ? "by" : "to", plk_arg(args, OPT_CAPACITY));
}

/* 0 or the exit code. */
static int wipe_algorithm(const PlkArgs *args, PlkWipe *ret)
{
    const char *name = plk_arg(args, OPT_ALGORITHM);
    int i = name ? plk_name_index(plk_wipe_names, name) : PLK_WIPE_ZERO;

    if (i < 0)
        return plk_arg_bad(args, OPT_ALGORITHM, "see 'ploopctl vol wipe --help'");
    *ret = (PlkWipe)i;
    return 0;
}

static int run_wipe(const PlkArgs *args)
{
    PLK_SESSION s = {0};
    PlkWipe how = PLK_WIPE_ZERO;
    PlkError err;
    int rc = wipe_algorithm(args, &how);

    if (rc == 0)
        rc = plk_need_volume(args, PLK_STORAGE_COMMAND, &s);
    if (rc)
        return rc;
    if (plk_pool_wipe_volume(s.pool, s.volume, how, plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    return plk_say_volume(s.pool, s.volume, "Vol %s wiped", s.volume);
}

static int run_accept(const PlkArgs *args)
{
    PLK_SESSION s = {0};
    PlkError err;
    int rc = plk_need_volume(args, PLK_STORAGE_COMMAND, &s);

    if (rc)
        return rc;
    if (plk_pool_accept_volume(s.pool, s.volume, &err) < 0)
        return plk_cli_fail(&err);
    return plk_say_volume(s.pool, s.volume, "Vol %s accepted as it is", s.volume);
}

static const PlkOption delete_options[] = {
    PLK_THE_VOLUME,
    PLK_ITS_POOL,
    {OPT_DELETE_SNAPSHOTS, "delete-snapshots", NULL, "pools of network storage only"},
    {0},
};

static const PlkOption resize_options[] = {
    PLK_THE_VOLUME,
    {OPT_CAPACITY, "capacity", "SIZE", "new size, or with --delta the difference", true, true},
    PLK_ITS_POOL,
    {OPT_ALLOCATE, "allocate", NULL, "reserve the new room now"},
    {OPT_DELTA, "delta", NULL, "SIZE is added to the present size, or taken off with --shrink"},
    {OPT_SHRINK, "shrink", NULL, "let it become smaller: what lies beyond is lost"},
    {0},
};

static const PlkOption wipe_options[] = {
    PLK_THE_VOLUME,
    PLK_ITS_POOL,
    {OPT_ALGORITHM, "algorithm", "NAME", "zero (default), nnsa, dod, bsi, gutmann, ...", false, true},
    {0},
};
static const char *const wipe_notes[] = {
    "Algorithms: zero nnsa dod bsi gutmann schneier pfitzner7 pfitzner33 random trim",
    NULL,
};

static const PlkOption accept_options[] = {PLK_THE_VOLUME, PLK_ITS_POOL, {0}};

static const PlkVerb verb_delete = {
    .name = "delete",
    .options = delete_options,
    .run = run_delete,
    .help = "remove a volume and its data",
};

static const PlkVerb verb_resize = {
    .name = "resize",
    .options = resize_options,
    .run = run_resize,
    .help = "make a volume larger or smaller",
};

static const PlkVerb verb_wipe = {
    .name = "wipe",
    .options = wipe_options,
    .run = run_wipe,
    .help = "overwrite a volume's data; size and format stay",
    .notes = wipe_notes,
};

static const PlkVerb verb_accept = {
    .name = "accept",
    .options = accept_options,
    .run = run_accept,
    .help = "use a volume though an upload into it did not end",
};

static const PlkVerb *const verbs[] = {
    &plk_verb_vol_list,
    &plk_verb_vol_info,
    &plk_verb_vol_create_as,
    &plk_verb_vol_create,
    &plk_verb_vol_clone,
    &plk_verb_vol_create_from,
    &verb_resize,
    &plk_verb_vol_upload,
    &plk_verb_vol_download,
    &verb_wipe,
    &verb_delete,
    &verb_accept,
    &plk_verb_vol_dumpxml,
    &plk_verb_vol_path,
    &plk_verb_vol_key,
    &plk_verb_vol_name,
    &plk_verb_vol_pool,
    &plk_verb_vol_map,
    NULL,
};

const PlkVerb plk_verb_vol = {
    .name = "vol",
    .sub = verbs,
    .help = "create, clone, resize, upload, ... volumes",
};
