/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploopctl doctor: what is wrong in a pool, and the command that mends it. Only looks, unless --sweep is
 * given. Exit code 7 when something wants mending; leftovers alone do no harm.
 */
#include <glib.h>

#include "ctl.h"

enum { OPT_SWEEP = OPT_OWN };

typedef struct Visit {
    PlkJson j;
    const char *pool;
    unsigned bad, harmless;
} Visit;

static void show_text(const Visit *v, const PlkAilment *a)
{
    printf("%s", a->harmless ? "note: " : "bad:  ");
    plk_put_name("", v->pool, "");
    if (*a->object)
        plk_put_name("/", a->object, "");
    plk_put_name(": ", a->what, "\n");
    if (a->remedy)
        plk_put_name("      ", a->remedy, "\n");
}

static void show_json(Visit *v, const PlkAilment *a)
{
    plk_json_open(&v->j, NULL, '{');
    plk_json_string(&v->j, "pool", v->pool);
    plk_json_string(&v->j, "object", *a->object ? a->object : NULL);
    plk_json_string(&v->j, "what", a->what);
    plk_json_string(&v->j, "remedy", a->remedy);
    plk_json_bool(&v->j, "harmless", a->harmless);
    plk_json_close(&v->j, '}');
}

static int show(void *arg, const PlkAilment *a)
{
    Visit *v = arg;

    v->bad += !a->harmless;
    v->harmless += a->harmless;
    if (plk_settings.json)
        show_json(v, a);
    else
        show_text(v, a);
    return plk_cancelled();
}

static int visit(PlkPool *pool, bool sweep, Visit *v)
{
    unsigned swept = 0;
    PlkError err;

    v->pool = plk_pool_name(pool);
    if (sweep && plk_pool_sweep(pool, &swept, &err) < 0)
        return plk_cli_fail(&err);
    if (swept && !plk_settings.json)
        plk_say(1, "%s: %u leftovers of dead processes removed", v->pool, swept);
    return plk_pool_doctor(pool, show, v, &err) < 0 ? plk_cli_fail(&err) : 0;
}

/* Every active pool; one that cannot be visited does not keep us from the others. */
static int visit_all(PlkStorage *storage, bool sweep, Visit *v)
{
    PlkPool **pools;
    PlkError err;
    size_t n;
    int rc = 0;

    if (plk_storage_pools(storage, PLK_LIST_ACTIVE, &pools, &n, &err) < 0)
        return plk_cli_fail(&err);
    for (size_t i = 0; i < n && !plk_cancelled(); i++) {
        int one = visit(pools[i], sweep, v);

        rc = rc ? rc : one;
    }
    plk_pools_free(pools, n);
    return rc;
}

static int run(const PlkArgs *args)
{
    bool sweep = plk_arg_given(args, OPT_SWEEP);
    PlkStorageRole role = sweep ? PLK_STORAGE_COMMAND : PLK_STORAGE_LOOK;
    Visit v = {.j = {.out = stdout}};
    PLK_SESSION s = {0};
    int rc = plk_arg_given(args, OPT_POOL) ? plk_need_pool(args, role, &s) : plk_need_storage(role, &s);

    if (rc)
        return rc;
    if (plk_settings.json)
        plk_json_open(&v.j, NULL, '[');
    rc = s.pool ? visit(s.pool, sweep, &v) : visit_all(s.storage, sweep, &v);
    if (plk_settings.json)
        plk_json_close(&v.j, ']');
    else if (rc == 0 && !v.bad)
        plk_say(1, "Nothing wants mending%s",
                v.harmless ? "; 'ploopctl doctor --sweep' removes leftovers" : "");
    return rc ? rc : v.bad ? PLK_EXIT_DAMAGED : PLK_EXIT_OK;
}

static const PlkOption options[] = {
    {OPT_POOL, "pool", "POOL", "this one; every active one by default", false, true},
    {OPT_SWEEP, "sweep", NULL, "remove what processes of this host left when they died"},
    {0},
};

static const char *const notes[] = {"Exit code 7 when something wants mending, 0 otherwise.", NULL};

const PlkVerb plk_verb_doctor = {
    .name = "doctor",
    .options = options,
    .run = run,
    .help = "tell what is wrong in a pool and what mends it",
    .notes = notes,
};
