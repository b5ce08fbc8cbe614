/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopctl job: what runs on this host's pools, of whichever program, and stopping it. */
#include "pool/job.h"

#include <glib.h>
#include <time.h>

#include "ctl.h"
#include "grid.h"

enum { OPT_JOB = OPT_OWN, OPT_TIMEOUT };

/* ---- list ---- */

static void print_json(const PlkJobInfo *jobs, size_t n)
{
    PlkJson j = {.out = stdout};

    plk_json_open(&j, NULL, '[');
    for (size_t i = 0; i < n; i++) {
        plk_json_open(&j, NULL, '{');
        plk_json_string(&j, "id", jobs[i].id);
        plk_json_string(&j, "kind", jobs[i].kind);
        plk_json_string(&j, "pool", jobs[i].pool);
        plk_json_string(&j, "volume", *jobs[i].volume ? jobs[i].volume : NULL);
        plk_json_string(&j, "program", jobs[i].program);
        plk_json_uint(&j, "pid", (uint64_t)jobs[i].pid);
        plk_json_uint(&j, "done", jobs[i].done);
        plk_json_uint(&j, "total", jobs[i].total);
        plk_json_uint(&j, "started", (uint64_t)jobs[i].started);
        plk_json_string(&j, "what", jobs[i].what);
        plk_json_bool(&j, "cancelled", jobs[i].cancelled);
        plk_json_close(&j, '}');
    }
    plk_json_close(&j, ']');
}

static char *progress_of(const PlkJobInfo *job)
{
    char done[PLK_SIZE_ROOM], total[PLK_SIZE_ROOM];

    if (!job->total)
        return g_strdup(*job->what ? job->what : "-");
    return g_strdup_printf("%d %% of %s, %s", (int)((double)job->done / (double)job->total * 100),
                           plk_pretty_size(job->total, total),
                           *job->what ? job->what : plk_pretty_size(job->done, done));
}

static void print_table(const PlkJobInfo *jobs, size_t n)
{
    static const PlkGridColumn columns[] = {
        {"Id"}, {"Kind"}, {"Volume"}, {"Program"}, {"Seconds", PLK_RIGHT}, {"Progress"}};
    PlkGrid *grid = plk_grid_new(columns, G_N_ELEMENTS(columns));

    for (size_t i = 0; i < n; i++) {
        const PlkJobInfo *job = &jobs[i];
        g_autofree char *volume = g_strdup_printf("%s%s%s", job->pool, *job->volume ? "/" : "", job->volume);
        g_autofree char *program = g_strdup_printf("%s (%d)", job->program, job->pid);
        g_autofree char *seconds = g_strdup_printf("%lld", (long long)(time(NULL) - job->started));
        g_autofree char *progress = job->cancelled ? g_strdup("is being cancelled") : progress_of(job);

        plk_grid_row(grid, (const char *[]){job->id, job->kind, volume, program, seconds, progress});
    }
    plk_grid_print(grid);
}

static int run_list(const PlkArgs *args)
{
    g_autofree PlkJobInfo *jobs = NULL;
    PLK_SESSION s = {0};
    PlkError err;
    size_t n;
    int rc = plk_need_storage(PLK_STORAGE_LOOK, &s);

    if (rc)
        return rc;
    if (plk_jobs_list(s.storage, &jobs, &n, &err) < 0)
        return plk_cli_fail(&err);
    if (plk_settings.json)
        print_json(jobs, n);
    else
        print_table(jobs, n);
    return PLK_EXIT_OK;
}

/* ---- wait, cancel ---- */

static int run_wait(const PlkArgs *args)
{
    PLK_SESSION s = {0};
    uint64_t seconds = 0;
    PlkError err;
    int rc = plk_arg_uint(args, OPT_TIMEOUT, INT_MAX / 1000, &seconds);

    if (rc == 0)
        rc = plk_need_storage(PLK_STORAGE_LOOK, &s);
    if (rc)
        return rc;
    if (plk_job_wait(s.storage, plk_arg(args, OPT_JOB),
                     plk_arg_given(args, OPT_TIMEOUT) ? (int)seconds * 1000 : -1, plk_cli_progress(),
                     &err) < 0)
        return plk_cli_fail(&err);
    return PLK_EXIT_OK;
}

static int run_cancel(const PlkArgs *args)
{
    PLK_SESSION s = {0};
    PlkError err;
    int rc = plk_need_storage(PLK_STORAGE_COMMAND, &s);

    if (rc)
        return rc;
    if (plk_job_cancel(s.storage, plk_arg(args, OPT_JOB), &err) < 0)
        return plk_cli_fail(&err);
    if (!plk_settings.json)
        plk_say(1, "Job %s is asked to stop", plk_arg(args, OPT_JOB));
    return PLK_EXIT_OK;
}

#define THE_JOB                                                                                              \
    {                                                                                                        \
        OPT_JOB, "job", "JOB", "its id, as 'job list' shows it", true, true                                  \
    }

static const PlkOption wait_options[] = {
    THE_JOB,
    {OPT_TIMEOUT, "timeout", "SECONDS", "for no longer than that; exit code 5 then"},
    {0},
};
static const PlkOption cancel_options[] = {THE_JOB, {0}};

static const PlkVerb verb_list = {
    .name = "list",
    .run = run_list,
    .help = "list what runs",
};

static const PlkVerb verb_wait = {
    .name = "wait",
    .options = wait_options,
    .run = run_wait,
    .help = "wait until a job is over",
};

static const PlkVerb verb_cancel = {
    .name = "cancel",
    .options = cancel_options,
    .run = run_cancel,
    .help = "ask a job to stop; what it began is undone",
};

static const PlkVerb *const verbs[] = {&verb_list, &verb_wait, &verb_cancel, NULL};

const PlkVerb plk_verb_job = {
    .name = "job",
    .sub = verbs,
    .help = "list, wait for and cancel running jobs",
};
