/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `ploop`: the drop-in for the original command, without its kernel module. What is not about one verb
 * happens here: the options in front of the verb, sane standard streams, and the last word on whether the
 * output got out.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#include "look.h"

/* "-v", "-vv": louder; "-v2", "-v-1": exactly so. */
static int parse_verbosity(const char *text)
{
    char *end;
    long level;

    if (*text == 'v' && text[strspn(text, "v")] == '\0') {
        plk_verbosity += (int)strlen(text);
        return 0;
    }
    level = strtol(text + 1, &end, 10);
    if (*text != 'v' || *end || level < -100 || level > 100)
        return plk_cli_param("Bad option -%s; 'ploop --help' lists what there is", text);
    plk_verbosity = (int)level;
    return 0;
}

/* The options in front of the verb. -1 to go on, with *at at the verb; else the exit code. */
static int global_options(int argc, char **argv, int *at)
{
    for (; *at < argc && argv[*at][0] == '-'; ++*at) {
        const char *a = argv[*at];
        int rc = 0;

        if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0)
            return -1;
        if (strcmp(a, "--version") == 0) {
            puts("ploop (ploopkit) " PLK_VERSION);
            return PLK_EXIT_OK;
        }
        if ((strcmp(a, "--progress-fd") == 0 || strcmp(a, "--root") == 0) && *at + 1 == argc)
            rc = plk_cli_param("option %s lacks its argument", a);
        else if (strcmp(a, "--progress-fd") == 0)
            rc = plk_progress_to_fd(argv[++*at]);
        else if (strcmp(a, "--root") == 0)
            plk_root = argv[++*at];
        else
            rc = parse_verbosity(a + 1);
        if (rc)
            return rc;
    }
    return -1;
}

int main(int argc, char **argv)
{
    int at = 1, rc;

    if (plk_occupy_standard_streams() < 0)
        return PLK_EXIT_SYS;
    plk_progress_setup();
    rc = global_options(argc, argv, &at);
    if (rc < 0)
        rc = plk_verb_dispatch(plk_verbs, "ploop", argc - at, argv + at);
    return plk_finish_output(rc, PLK_EXIT_WRITE);
}
