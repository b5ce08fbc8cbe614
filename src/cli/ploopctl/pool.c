/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopctl pool: the table of its verbs, and those that take a pool from one state to another. */
#include "pool.h"
#include "state.h"

enum { OPT_DISABLE = OPT_OWN };

typedef int PoolAct(PlkSession *session, const PlkArgs *args, PlkError *err);

static int run_act(const PlkArgs *args, PoolAct *act, const char *done)
{
    PLK_SESSION s = {0};
    PlkError err;
    int rc = plk_need_pool(args, PLK_STORAGE_COMMAND, &s);

    if (rc)
        return rc;
    if (act(&s, args, &err) < 0)
        return plk_cli_fail(&err);
    if (!plk_settings.json)
        plk_say(1, "Pool %s %s", plk_pool_name(s.pool), done);
    return PLK_EXIT_OK;
}

static int build(PlkSession *session, const PlkArgs *args, PlkError *err)
{
    return plk_state_build(session,
                           (plk_arg_given(args, OPT_OVERWRITE) ? PLK_BUILD_OVERWRITE : 0) |
                              (plk_arg_given(args, OPT_NO_OVERWRITE) ? PLK_BUILD_NO_OVERWRITE : 0),
                          err);
}

static int start(PlkSession *session, const PlkArgs *args, PlkError *err)
{
    return plk_state_start(
        session, plk_start_flags(args) | (plk_arg_given(args, OPT_FORCE) ? PLK_START_TAKE_OVER : 0), err);
}

static int destroy(PlkSession *session, const PlkArgs *args, PlkError *err)
{
    return plk_state_destroy(session, err);
}

static int delete_pool(PlkSession *session, const PlkArgs *args, PlkError *err)
{
    return plk_state_delete(session, err);
}

static int undefine(PlkSession *session, const PlkArgs *args, PlkError *err)
{
    return plk_state_undefine(session, err);
}

static int refresh(PlkSession *session, const PlkArgs *args, PlkError *err)
{
    return plk_state_refresh(session, err);
}

static int set_autostart(PlkSession *session, const PlkArgs *args, PlkError *err)
{
    return plk_state_set_autostart(session, !plk_arg_given(args, OPT_DISABLE), err);
}

static int run_build(const PlkArgs *args)
{
    return run_act(args, build, "built");
}

static int run_start(const PlkArgs *args)
{
    return run_act(args, start, "started");
}

static int run_destroy(const PlkArgs *args)
{
    return run_act(args, destroy, "destroyed");
}

static int run_delete(const PlkArgs *args)
{
    return run_act(args, delete_pool, "deleted");
}

static int run_undefine(const PlkArgs *args)
{
    return run_act(args, undefine, "has been undefined");
}

static int run_refresh(const PlkArgs *args)
{
    return run_act(args, refresh, "refreshed");
}

static int run_autostart(const PlkArgs *args)
{
    return run_act(args, set_autostart,
                   plk_arg_given(args, OPT_DISABLE) ? "unmarked as autostarted" : "marked as autostarted");
}

static const PlkOption pool_options[] = {PLK_THE_POOL, {0}};

static const PlkOption build_options[] = {
    PLK_THE_POOL,
    {OPT_NO_OVERWRITE, "no-overwrite", NULL, "refuse a device that holds something"},
    {OPT_OVERWRITE, "overwrite", NULL, "make a filesystem whatever is there"},
    {0},
};

static const PlkOption start_options[] = {
    PLK_THE_POOL,
    {OPT_BUILD, "build", NULL, "build it first"},
    {OPT_NO_OVERWRITE, "no-overwrite", NULL, "build it, refuse a device that holds something"},
    {OPT_OVERWRITE, "overwrite", NULL, "build it, whatever is there"},
    {OPT_FORCE, "take-over", NULL, "write though another host says the pool is its own"},
    {0},
};

static const PlkOption autostart_options[] = {
    PLK_THE_POOL,
    {OPT_DISABLE, "disable", NULL, "no longer"},
    {0},
};

static const PlkVerb verb_build = {
    .name = "build",
    .options = build_options,
    .run = run_build,
    .help = "make the directory, or the filesystem on its device",
};

static const PlkVerb verb_start = {
    .name = "start",
    .options = start_options,
    .run = run_start,
    .help = "make a pool's volumes available",
};

static const PlkVerb verb_autostart = {
    .name = "autostart",
    .options = autostart_options,
    .run = run_autostart,
    .help = "start it with the machine",
};

static const PlkVerb verb_refresh = {
    .name = "refresh",
    .options = pool_options,
    .run = run_refresh,
    .help = "look at all volumes anew",
};

static const PlkVerb verb_destroy = {
    .name = "destroy",
    .options = pool_options,
    .run = run_destroy,
    .help = "stop a pool; its volumes stay where they are",
};

static const PlkVerb verb_delete = {
    .name = "delete",
    .options = pool_options,
    .run = run_delete,
    .help = "remove the empty directory of an inactive pool",
};

static const PlkVerb verb_undefine = {
    .name = "undefine",
    .options = pool_options,
    .run = run_undefine,
    .help = "forget the definition of an inactive pool",
};

static const PlkVerb *const verbs[] = {
    &plk_verb_pool_list,
    &plk_verb_pool_info,
    &plk_verb_pool_define_as,
    &plk_verb_pool_define,
    &plk_verb_pool_create_as,
    &plk_verb_pool_create,
    &verb_build,
    &verb_start,
    &verb_autostart,
    &verb_refresh,
    &verb_destroy,
    &verb_delete,
    &verb_undefine,
    &plk_verb_pool_edit,
    &plk_verb_pool_dumpxml,
    &plk_verb_pool_name,
    &plk_verb_pool_uuid,
    &plk_verb_pool_capabilities,
    &plk_verb_pool_find_sources,
    NULL,
};

const PlkVerb plk_verb_pool = {
    .name = "pool",
    .sub = verbs,
    .help = "define, start, list, ... pools",
};
