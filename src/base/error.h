/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making errors: the private half of <ploopkit/error.h>. */
#pragma once

#include <ploopkit/error.h>

/*
 * Fill *err (NULL is fine). Used through the macros below, which return -1 in the caller's sight, so that
 * `return plk_fail(err, ...)` is one line and the compiler sees what it returns.
 */
void plk_error_set(PlkError *err, PlkErrorCode code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void plk_error_set_errno(PlkError *err, PlkErrorCode code, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void plk_error_set_io(PlkError *err, PlkErrorCode code, int neg_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static inline int plk_failed(void)
{
    return -1;
}

/* The message names the object; plk_fail_errno() appends ": strerror(errnum)". */
#define plk_fail(err, code, ...) (plk_error_set((err), (code), __VA_ARGS__), plk_failed())
#define plk_fail_errno(err, code, errnum, ...) (plk_error_set_errno((err), (code), (errnum), __VA_ARGS__), plk_failed())
#define plk_fail_nomem(err) plk_fail((err), PLK_ERROR_NO_MEMORY, "out of memory")

/*
 * The seam from the data path: neg_errno is -errno as a data-path call returned it. ENOSPC and EDQUOT become
 * NO_SPACE, ENOMEM NO_MEMORY, EUCLEAN FORMAT, ECANCELED CANCELLED, whatever `code` says.
 */
#define plk_fail_io(err, code, neg_errno, ...) (plk_error_set_io((err), (code), (neg_errno), __VA_ARGS__), plk_failed())

/* "image 'X': " in front of the message already in *err; the code stays. */
void plk_error_prefix(PlkError *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * The only way to say that an image or a descriptor lies. One place for a breakpoint: with
 * PLK_DEBUG=corrupt it also prints the source line that noticed. `offset` is a byte offset in `file`.
 */
#define plk_corrupt(err, file, offset, ...) \
    (plk_corrupt_at((err), __FILE__, __LINE__, (file), (offset), __VA_ARGS__), plk_failed())
void plk_corrupt_at(PlkError *err, const char *src, int line, const char *file, unsigned long long offset,
                    const char *fmt, ...) __attribute__((format(printf, 6, 7)));
