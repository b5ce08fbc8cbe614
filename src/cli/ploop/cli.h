/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the verbs of the `ploop` command share beyond cli/common: its exit codes and the list of its verbs.
 *
 * One file a verb, cmd-VERB.c, ends in a `const PlkVerb plk_verb_VERB`; verbs.c lists them.
 *
 * Output follows the original: progress lines and payload on stdout, warnings and errors on stderr; a log
 * line of level N shows when N <= the verbosity (3 unless -v says otherwise).
 */
#pragma once

#include "cli/common/command.h"

/* ---- exit codes (ploop(8)) ---- */

typedef enum PlkExit {
    PLK_EXIT_OK = 0,
    PLK_EXIT_CREATE = 1,
    PLK_EXIT_OPEN = 4,
    PLK_EXIT_MALLOC = 5,
    PLK_EXIT_READ = 6,
    PLK_EXIT_WRITE = 7,
    PLK_EXIT_FORMAT = 11,
    PLK_EXIT_SYS = 12,
    PLK_EXIT_PROTOCOL = 13,
    PLK_EXIT_STAT = 15,
    PLK_EXIT_FSYNC = 16,
    PLK_EXIT_BUSY = 17,
    PLK_EXIT_FLOCK = 18,
    PLK_EXIT_TRUNCATE = 19,
    PLK_EXIT_FALLOCATE = 20,
    PLK_EXIT_LOCKED = 23,
    PLK_EXIT_MKFS = 24,
    PLK_EXIT_RESIZE_FS = 26,
    PLK_EXIT_RENAME = 28,
    PLK_EXIT_ABORT = 29,
    PLK_EXIT_GPT = 33,
    PLK_EXIT_UNLINK = 35,
    PLK_EXIT_DIRTY = 37,
    PLK_EXIT_PARAM = 38,
    PLK_EXIT_DESCRIPTOR = 39,
    PLK_EXIT_NOT_MOUNTED = 40,
    PLK_EXIT_FSCK = 41,
    PLK_EXIT_NO_SNAPSHOT = 43,
} PlkExit;

int plk_exit_code(PlkErrorCode code);

/* ---- verbs ---- */

/* One a cmd-*.c. */
extern const PlkVerb plk_verb_init, plk_verb_info, plk_verb_resize, plk_verb_grow, plk_verb_convert,
    plk_verb_check, plk_verb_rescue, plk_verb_restore_descriptor, plk_verb_snapshot, plk_verb_snapshot_list,
    plk_verb_snapshot_delete, plk_verb_snapshot_merge, plk_verb_snapshot_switch, plk_verb_map,
    plk_verb_export, plk_verb_import, plk_verb_copy, plk_verb_merge, plk_verb_replace, plk_verb_balloon,
    plk_verb_list, plk_verb_mount, plk_verb_umount, plk_verb_start, plk_verb_stop, plk_verb_clear,
    plk_verb_delete, plk_verb_getdev, plk_verb_stat, plk_verb_tsnapshot;

/* All verbs in the order of --help, NULL-terminated. */
extern const PlkVerb *const plk_verbs[];

bool plk_is_descriptor(const char *path); /* ends in ".xml": what tells a disk from a single image */
/* 0, or PLK_EXIT_PARAM after an error: the operand must be a DiskDescriptor.xml. */
int plk_need_descriptor(const char *path);
