/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making errors: the private half of <ploopkit/error.h>. */
#pragma once

#include <ploopkit/error.h>

/*
 * Fill *err (NULL is fine) and return -1, so that `return plk_fail(err, ...)` is one line.
 * The message names the object; plk_fail_errno() appends ": strerror(errnum)".
 */
int plk_fail(PlkError *err, PlkErrorCode code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int plk_fail_errno(PlkError *err, PlkErrorCode code, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
int plk_fail_nomem(PlkError *err);

/*
 * The seam from the data path: errnum is 0 or -errno as a data-path call returned it. ENOSPC and
 * EDQUOT become NO_SPACE, ENOMEM NO_MEMORY, EUCLEAN FORMAT, ECANCELED CANCELLED, whatever `code` says.
 */
int plk_fail_io(PlkError *err, PlkErrorCode code, int neg_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* "image 'X': " in front of the message already in *err; the code stays. */
void plk_error_prefix(PlkError *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * The only way to say that an image or a descriptor lies. One place for a breakpoint: with
 * PLK_DEBUG=corrupt it also prints the source line that noticed. `offset` is a byte offset in `file`.
 */
#define plk_corrupt(err, file, offset, ...) \
    plk_corrupt_at((err), __FILE__, __LINE__, (file), (offset), __VA_ARGS__)
int plk_corrupt_at(PlkError *err, const char *src, int line, const char *file,
                   unsigned long long offset, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
