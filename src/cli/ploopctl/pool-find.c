/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopctl pool find-sources: what a pool could stand on. */
#include <glib.h>

#include "base/cleanup.h"
#include "pool.h"

enum { OPT_TYPE = OPT_OWN };

static int run_find(const PlkArgs *args)
{
    g_autofree char *spec = NULL, *xml = NULL;
    PlkError err;

    if (plk_arg_given(args, OPT_FILE) && plk_read_text(plk_arg(args, OPT_FILE), &spec, &err) < 0)
        return plk_cli_fail(&err);
    if (plk_storage_find_sources(plk_arg(args, OPT_TYPE), spec, plk_cli_progress(), &xml, &err) < 0)
        return plk_cli_fail(&err);
    fputs(xml, stdout);
    return PLK_EXIT_OK;
}

static const PlkOption options[] = {
    {OPT_TYPE, "type", "TYPE", "netfs", true, true},
    {OPT_FILE, "srcSpec", "FILE", "XML of a source that names the host; - is standard input", false, true},
    {0},
};

const PlkVerb plk_verb_pool_find_sources = {
    .name = "find-sources",
    .options = options,
    .run = run_find,
    .help = "print what a server has that a pool could stand on, as XML",
};
