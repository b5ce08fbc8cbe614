/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every verb, in the order of --help: what one does daily first, what only an OpenVZ kernel can do last. */
#include "cli.h"

const PlkVerb *const plk_verbs[] = {
    &plk_verb_init,
    &plk_verb_info,
    &plk_verb_resize,
    &plk_verb_grow,
    &plk_verb_convert,
    &plk_verb_check,
    &plk_verb_rescue,
    &plk_verb_restore_descriptor,
    &plk_verb_snapshot,
    &plk_verb_snapshot_list,
    &plk_verb_snapshot_delete,
    &plk_verb_snapshot_merge,
    &plk_verb_snapshot_switch,
    &plk_verb_map,
    &plk_verb_export,
    &plk_verb_import,
    &plk_verb_copy,
    &plk_verb_merge,
    &plk_verb_replace,
    &plk_verb_balloon,
    &plk_verb_list,
    &plk_verb_mount,
    &plk_verb_umount,
    &plk_verb_start,
    &plk_verb_stop,
    &plk_verb_clear,
    &plk_verb_delete,
    &plk_verb_getdev,
    &plk_verb_stat,
    &plk_verb_tsnapshot,
    NULL,
};

static const PlkVerbAlias aliases[] = {
    {"fsck", "check"},
    {"rm", "delete"},
    {NULL, NULL},
};

static const char *const notes[] = {
    "-vN sets how much is said (3; -v-1: errors only), each -v adds one.",
    "--root DIR lets a descriptor name images anywhere beneath DIR.",
    "--progress-fd FD gets lines of DONE/TOTAL bytes.",
    "--version prints the version. ploop(8) has the exit codes.",
    NULL,
};

const PlkProgram plk_program = {
    .name = "ploop",
    .verbs = plk_verbs,
    .aliases = aliases,
    .usage = "[-vN] [--root DIR] [--progress-fd FD] ",
    .notes = notes,
    .refused = "takes the OpenVZ kernel",
    .refused_all = "take the OpenVZ kernel",
    .usage_exit = PLK_EXIT_PARAM,
    .exit_code = plk_exit_code,
};
