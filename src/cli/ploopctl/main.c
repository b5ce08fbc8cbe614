/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `ploopctl`: storage pools and volumes from the shell. */
#include <glib.h>

#include "ctl.h"

PlkSettings plk_settings;

enum {
    OPT_STATE_DIR = PLK_GLOBAL,
    OPT_CONFIG_DIR,
    OPT_RUNTIME_DIR,
    OPT_JSON,
    OPT_NO_PROGRESS,
    OPT_PROGRESS_FD,
    OPT_VERSION
};

/* DIR/config and DIR/run; kept to the end of the process. */
static void use_state_dir(const char *dir)
{
    plk_settings.config_dir = g_build_filename(dir, "config", NULL);
    plk_settings.runtime_dir = g_build_filename(dir, "run", NULL);
}

static int set_option(int id, const char *value)
{
    switch (id) {
    case OPT_STATE_DIR:
        use_state_dir(value);
        break;
    case OPT_CONFIG_DIR:
        plk_settings.config_dir = value;
        break;
    case OPT_RUNTIME_DIR:
        plk_settings.runtime_dir = value;
        break;
    case OPT_JSON:
        plk_settings.json = true;
        break;
    case 'q':
        plk_verbosity = 0;
        plk_progress_off();
        break;
    case OPT_NO_PROGRESS:
        plk_progress_off();
        break;
    case OPT_PROGRESS_FD:
        if (plk_progress_to_fd(value))
            return PLK_EXIT_USAGE;
        break;
    default: /* OPT_VERSION */
        puts("ploopctl (ploopkit) " PLK_VERSION);
        return PLK_EXIT_OK;
    }
    return -1;
}

static const PlkOption options[] = {
    {OPT_STATE_DIR, "state-dir", "DIR", "a state of its own: DIR/config and DIR/run"},
    {OPT_CONFIG_DIR, "config-dir", "DIR", "definitions; else libvirt's own directory"},
    {OPT_RUNTIME_DIR, "runtime-dir", "DIR", "what runs; else libvirt's own directory"},
    {OPT_JSON, "json", NULL, "results as JSON"},
    {'q', "quiet", NULL, "results and errors only, tables without a heading"},
    {OPT_NO_PROGRESS, "no-progress", NULL, "no progress bar"},
    {OPT_PROGRESS_FD, "progress-fd", "FD", "lines of DONE/TOTAL bytes go there"},
    {OPT_VERSION, "version", NULL, "print the version"},
    {0},
};

static const PlkVerb *const verbs[] = {
    &plk_verb_pool,   &plk_verb_vol,    &plk_verb_snapshot, &plk_verb_job,
    &plk_verb_export, &plk_verb_import, &plk_verb_doctor,   NULL,
};

static const char *const notes[] = {
    "",
    "'ploopctl pool list' may be written 'ploopctl pool-list', as in virsh.",
    "ploopctl(1) has the exit codes and the shapes of the JSON.",
    NULL,
};

const PlkProgram plk_program = {
    .name = "ploopctl",
    .verbs = verbs,
    .joined = true,
    .usage = "[OPTION...] ",
    .notes = notes,
    .options = options,
    .option = set_option,
    .usage_exit = PLK_EXIT_USAGE,
    .exit_code = plk_ctl_exit_code,
};

int main(int argc, char **argv)
{
    int at = 1, rc;

    if (plk_occupy_standard_streams() < 0)
        return PLK_EXIT_FAILED;
    plk_progress_setup();
    rc = plk_program_options(argc, argv, &at);
    if (rc < 0)
        rc = plk_verb_dispatch(verbs, plk_program.name, argc - at, argv + at);
    return plk_finish_output(rc, PLK_EXIT_FAILED);
}
