/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Running helper programs: without a shell, from fixed directories (never $PATH), with a fixed
 * environment, nothing inherited but what is named here, and an end: the helper dies with us, on
 * cancel, and at its limits.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ploopkit/error.h>
#include <ploopkit/progress.h>

#define PLK_PROGRAM_PATH_MAX 64
#define PLK_RUN_OUTPUT_MAX (64 * 1024)

typedef struct PlkRun {
    const char *program;     /* "mke2fs": a bare name, see plk_find_program() */
    const char *const *args; /* NULL-terminated, without the program's name; NULL = none */
    const char *const *env;  /* "NAME=value" beside PATH and LC_ALL=C; NULL-terminated, NULL = none */
    const int *fds;          /* stay open in the helper, under their numbers (3 and up) */
    size_t fd_count;
    unsigned cpu_seconds;        /* 0 = no limit */
    uint64_t address_space;      /* bytes; 0 = no limit */
    const PlkProgress *progress; /* asked about ten times a second; may be NULL */
    const char *what;            /* for progress; NULL = the program's name */
} PlkRun;

typedef struct PlkRunResult {
    int status;   /* exit status, 0 to 255 */
    char *output; /* stdout and stderr together, the last PLK_RUN_OUTPUT_MAX bytes, NUL-terminated */
    size_t output_len;
} PlkRunResult;

void plk_run_result_clear(PlkRunResult *result);

/*
 * The absolute path of a helper into buf. HELPER if it is not installed; the message names the
 * Debian package.
 */
int plk_find_program(const char *name, char buf[PLK_PROGRAM_PATH_MAX], PlkError *err);

/*
 * Run to the end. 0 whenever the helper exited by itself, whatever its status; *ret is then to be cleared by
 * the caller. Else: UNSUPPORTED (not installed), CANCELLED (killed on demand), NO_MEMORY, or HELPER (could
 * not be started, or died by a signal). Any thread may call this; it must be the one that stays until the
 * end, which it does by waiting here.
 */
int plk_run(const PlkRun *run, PlkRunResult *ret, PlkError *err);

/* "mke2fs failed with status 1: LAST LINE OF OUTPUT"; returns -1. */
int plk_run_fail(const PlkRun *run, const PlkRunResult *result, PlkErrorCode code, PlkError *err);

/* plk_run(), and any status but 0 is an error with `code`. For callers that want neither status nor output.
 */
int plk_run_checked(const PlkRun *run, PlkErrorCode code, PlkError *err);
