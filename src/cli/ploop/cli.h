/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the verbs of the `ploop` command share: the verb and option tables, the words that go to stdout
 * and stderr, exit codes, and the progress bar.
 *
 * One file a verb, cmd-VERB.c, ends in a `const PlkVerb plk_verb_VERB`; verbs.c lists them. Parsing, the
 * usage line, --help and the completion all come from that struct. A run function prints, and returns the
 * exit code.
 *
 * Output follows the original: progress lines and payload on stdout, warnings and errors on stderr; a log
 * line of level N shows when N <= the verbosity (3 unless -v says otherwise).
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <ploopkit/error.h>
#include <ploopkit/progress.h>

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

/* ---- verbs and their arguments ---- */

/* One option. The list ends with an entry whose id is 0. -h and --help are everybody's and not listed. */
typedef struct PlkOption {
    int id;               /* its letter, or PLK_LONG_ONLY + n */
    const char *name;     /* long name without dashes, NULL = none */
    const char *argument; /* what --help calls its argument, NULL = it takes none; "[=N]" = it can be left out */
    const char *help;     /* one short line; NULL keeps an old alias out of --help */
    bool required;
} PlkOption;

#define PLK_LONG_ONLY 256
#define PLK_MAX_OPTIONS 24

/* A command line that has been checked against a verb: option letters known, number of operands right. */
typedef struct PlkArgs {
    const struct PlkVerb *verb;
    const char *name;                   /* "check", "balloon discard" */
    const char *value[PLK_MAX_OPTIONS]; /* parallel to verb->options; "" for a flag; NULL = not given */
    char **operands;
    int n;
} PlkArgs;

typedef enum PlkVerbFlags {
    PLK_VERB_KERNEL = 1 << 0, /* only an OpenVZ kernel can do it: refused with exit 40 */
} PlkVerbFlags;

typedef struct PlkVerb {
    const char *name;
    int min, max;         /* operands; max -1 = any number */
    const char *operands; /* for the usage line: "DiskDescriptor.xml" */
    const PlkOption *options;
    unsigned flags;
    int (*run)(const PlkArgs *args); /* returns the exit code */
    const char *help;                /* one line, small first letter, no full stop */
    const char *const *notes;        /* more lines for --help, NULL-terminated; may be NULL */
    const struct PlkVerb *const
        *sub; /* sub verbs instead of run, NULL-terminated (`ploop balloon discard`) */
} PlkVerb;

/* One a cmd-*.c. */
extern const PlkVerb plk_verb_init, plk_verb_info, plk_verb_resize, plk_verb_grow, plk_verb_convert,
    plk_verb_check, plk_verb_rescue, plk_verb_restore_descriptor, plk_verb_snapshot, plk_verb_snapshot_list,
    plk_verb_snapshot_delete, plk_verb_snapshot_merge, plk_verb_snapshot_switch, plk_verb_map,
    plk_verb_export, plk_verb_import, plk_verb_copy, plk_verb_merge, plk_verb_replace, plk_verb_balloon,
    plk_verb_list, plk_verb_mount, plk_verb_umount, plk_verb_start, plk_verb_stop, plk_verb_clear,
    plk_verb_delete, plk_verb_getdev, plk_verb_stat, plk_verb_tsnapshot;

/* All verbs in the order of --help, NULL-terminated. */
extern const PlkVerb *const plk_verbs[];

/* Names of old releases, ending with {NULL, NULL}. */
typedef struct PlkVerbAlias {
    const char *old, *now;
} PlkVerbAlias;
extern const PlkVerbAlias plk_verb_aliases[];

/* Find the verb in argv[0], parse the rest, run. prefix: "ploop", later "ploop balloon". */
int plk_verb_dispatch(const PlkVerb *const *verbs, const char *prefix, int argc, char **argv);
/* "ploop init -s SIZE [-f FORMAT] ..." and the options, at most 80 columns. out NULL: the usage alone, on
 * stderr. */
void plk_verb_help(const PlkVerb *verb, const char *prefix, FILE *out);
void plk_verbs_help(const PlkVerb *const *verbs, const char *prefix, FILE *out);

bool plk_arg_given(const PlkArgs *args, int id);
const char *plk_arg(const PlkArgs *args, int id); /* its argument; NULL when not given */

/* Values. 0, or PLK_EXIT_PARAM after an error on stderr. An option that was not given leaves *ret alone. */
int plk_arg_sectors(const PlkArgs *args, int id, uint64_t *ret);
int plk_arg_uint(const PlkArgs *args, int id, uint64_t max, uint64_t *ret);
int plk_arg_guid(const PlkArgs *args, int id, char ret[39]); /* adds braces */

bool plk_is_descriptor(const char *path); /* ends in ".xml": what tells a disk from a single image */
/* 0, or PLK_EXIT_PARAM after an error: the operand must be a DiskDescriptor.xml. */
int plk_need_descriptor(const char *path);

/* ---- words ---- */

extern int plk_verbosity;

/* A line on stdout, shown from verbosity `level` on; the newline is added. Results are printed with printf.
 */
void plk_say(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "Warning: ..." on stderr unless the verbosity is negative. */
void plk_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "Error: ..." on stderr. */
void plk_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, returning the exit code: for `return plk_cli_fail(&err)`. */
int plk_cli_fail(const PlkError *err);
int plk_cli_param(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* 38 */
/* A name somebody else chose, on stdout and escaped as in the lines above, between two texts of ours. */
void plk_put_name(const char *before, const char *name, const char *after);
#define PLK_NAME_ROOM (4 * PATH_MAX) /* for an escaped path */

/* ---- progress and cancelling ---- */

/*
 * For the operations' progress parameter: a bar on stderr when that is a terminal and more than a second has
 * passed, "DONE/TOTAL" lines on --progress-fd, and cancellation after SIGINT, SIGTERM or SIGHUP (a second one
 * kills).
 */
const PlkProgress *plk_cli_progress(void);
void plk_progress_setup(void); /* installs the signal handlers; called once by main() */
int plk_progress_to_fd(const char *text);
void plk_progress_clear(void); /* wipe the bar from the terminal before printing something else */
bool plk_cancelled(void);
