/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a command of many verbs is made of: tables of verbs and options, the words that go to stdout and
 * stderr, and the progress bar.
 *
 * A program is a `const PlkProgram plk_program`. Parsing, the usage line, --help and the completion all come
 * from its tables. A verb's run function prints, and returns the exit code.
 *
 * Payload goes to stdout, warnings and errors to stderr; a log line of level N shows when N <= the verbosity.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <ploopkit/error.h>
#include <ploopkit/progress.h>

/* ---- verbs and their arguments ---- */

/* One option. The list ends with an entry whose id is 0. -h and --help are everybody's and not listed. */
typedef struct PlkOption {
    int id;           /* its letter, or PLK_LONG_ONLY + n */
    const char *name; /* long name without dashes, NULL = none */
    const char
        *argument;    /* what --help calls its argument, NULL = it takes none; "[=N]" = it can be left out */
    const char *help; /* one short line; NULL keeps an old alias out of --help */
    bool required;
    bool operand; /* its name may be left out: what stands alone fills such options in the table's order */
} PlkOption;

#define PLK_LONG_ONLY 256
#define PLK_GLOBAL 512 /* ids of the program's own options begin here, where they have no letter */
#define PLK_MAX_OPTIONS 40

/* A command line that has been checked against a verb: options known, number of operands right. */
typedef struct PlkArgs {
    const struct PlkVerb *verb;
    const char *name;                   /* "check" */
    bool joined;                        /* it was called as one word: "pool-list" */
    const char *value[PLK_MAX_OPTIONS]; /* parallel to verb->options; "" for a flag; NULL = not given */
    char **operands;
    int n;
} PlkArgs;

typedef enum PlkVerbFlags {
    PLK_VERB_REFUSED = 1 << 0, /* there for the sake of those who look for it; see PlkProgram.refused */
} PlkVerbFlags;

typedef struct PlkVerb {
    const char *name;
    int min, max;         /* operands; max -1 = any number; both 0 where options are filled with them */
    const char *operands; /* for the usage line: "DiskDescriptor.xml" */
    const PlkOption *options;
    unsigned flags;
    int (*run)(const PlkArgs *args); /* returns the exit code */
    const char *help;                /* one line, small first letter, no full stop */
    const char *const *notes;        /* more lines for --help, NULL-terminated; may be NULL */
    const struct PlkVerb *const
        *sub; /* sub verbs instead of run, NULL-terminated (`ploop balloon discard`) */
} PlkVerb;

/* Names of old releases, ending with {NULL, NULL}. */
typedef struct PlkVerbAlias {
    const char *old, *now;
} PlkVerbAlias;

typedef struct PlkProgram {
    const char *name;
    const PlkVerb *const *verbs; /* in the order of --help, NULL-terminated */
    const PlkVerbAlias *aliases; /* may be NULL */
    bool joined;                 /* "pool-list" is "pool list" */
    const char *usage;           /* what stands between the name and COMMAND in the usage line */
    const char *const *notes;    /* last lines of --help, NULL-terminated */
    const char *refused;      /* why PLK_VERB_REFUSED verbs are: "takes the OpenVZ kernel"; NULL = has none */
    const char *refused_all;  /* the same of several: "take the OpenVZ kernel" */
    const PlkOption *options; /* those that may stand anywhere; may be NULL */
    int (*option)(int id, const char *value); /* -1 to go on, else the exit code */
    int usage_exit;                           /* the exit code of a wrong command line */
    int (*exit_code)(PlkErrorCode code);
} PlkProgram;

extern const PlkProgram plk_program;

/* Find the verb in argv[0], parse the rest, run. prefix: "ploop", later "ploop balloon". */
int plk_verb_dispatch(const PlkVerb *const *verbs, const char *prefix, int argc, char **argv);
/* The program's own options in front of the verb, from argv[1] on. -1 to go on, with *ret_at at the verb;
 * else the exit code. */
int plk_program_options(int argc, char **argv, int *ret_at);
/* "ploop init -s SIZE [-f FORMAT] ..." and the options, at most 80 columns. out NULL: the usage alone, on
 * stderr. */
void plk_verb_help(const PlkVerb *verb, const char *prefix, FILE *out);
void plk_verbs_help(const PlkVerb *const *verbs, const char *prefix, FILE *out);

bool plk_arg_given(const PlkArgs *args, int id);
const char *plk_arg(const PlkArgs *args, int id); /* its argument; NULL when not given */
/* The same for a verb that may not have such an option at all. */
const char *plk_arg_if_any(const PlkArgs *args, int id);

/* Values. 0, or the exit code of bad usage after an error on stderr. An option that was not given leaves
 * *ret alone. */
int plk_arg_sectors(const PlkArgs *args, int id, uint64_t *ret);
int plk_arg_uint(const PlkArgs *args, int id, uint64_t max, uint64_t *ret);
int plk_arg_guid(const PlkArgs *args, int id, char ret[39]); /* adds braces */
/* "Invalid argument for option --x: VALUE (why)" */
int plk_arg_bad(const PlkArgs *args, int id, const char *why);

/* ---- words ---- */

extern int plk_verbosity; /* 3 unless somebody says otherwise */

/* A line on stdout, shown from verbosity `level` on; the newline is added. Results are printed with printf.
 */
void plk_say(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "Warning: ..." on stderr unless the verbosity is negative. */
void plk_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "Error: ..." on stderr. */
void plk_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, returning the exit code: for `return plk_cli_fail(&err)`. */
int plk_cli_fail(const PlkError *err);
int plk_cli_param(const char *fmt, ...)
    __attribute__((format(printf, 1, 2))); /* the exit code of bad usage */
/* A name somebody else chose, on stdout and escaped as in the lines above, between two texts of ours. */
void plk_put_name(const char *before, const char *name, const char *after);
#define PLK_NAME_ROOM (4 * PATH_MAX) /* for an escaped path */

/* ---- a program's first and last steps ---- */

/* A caller may have closed some of 0, 1, 2; a file opened there would receive our messages. */
int plk_occupy_standard_streams(void);
/* rc, or write_exit where not all of stdout got out. */
int plk_finish_output(int rc, int write_exit);

/* ---- progress and cancelling ---- */

/*
 * For the operations' progress parameter: a bar on stderr when that is a terminal and more than a second has
 * passed, "DONE/TOTAL" lines on --progress-fd, and cancellation after SIGINT, SIGTERM or SIGHUP (a second one
 * kills).
 */
const PlkProgress *plk_cli_progress(void);
void plk_progress_setup(void); /* installs the signal handlers; called once by main() */
int plk_progress_to_fd(const char *text);
void plk_progress_off(void);   /* no bar, ever; cancelling works */
void plk_progress_clear(void); /* wipe the bar from the terminal before printing something else */
bool plk_cancelled(void);
