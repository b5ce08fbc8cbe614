/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors are plain structs; this file words them and keeps every message on one printable line. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/debug.h"
#include "base/text.h"

static const char *const names[] = {
    [PLK_OK] = "ok",
    [PLK_ERROR_ARGUMENT] = "bad argument",
    [PLK_ERROR_UNSUPPORTED] = "unsupported",
    [PLK_ERROR_FORMAT] = "corrupt image",
    [PLK_ERROR_DESCRIPTOR] = "bad descriptor",
    [PLK_ERROR_DIRTY] = "not closed cleanly",
    [PLK_ERROR_LOCKED] = "locked",
    [PLK_ERROR_BUSY] = "busy",
    [PLK_ERROR_EXISTS] = "exists",
    [PLK_ERROR_NOT_FOUND] = "not found",
    [PLK_ERROR_NO_SNAPSHOT] = "no such snapshot",
    [PLK_ERROR_NO_SPACE] = "no space",
    [PLK_ERROR_NO_MEMORY] = "out of memory",
    [PLK_ERROR_CANCELLED] = "cancelled",
    [PLK_ERROR_OPEN] = "open failed",
    [PLK_ERROR_CREATE] = "create failed",
    [PLK_ERROR_READ] = "read failed",
    [PLK_ERROR_WRITE] = "write failed",
    [PLK_ERROR_SYNC] = "sync failed",
    [PLK_ERROR_TRUNCATE] = "truncate failed",
    [PLK_ERROR_ALLOCATE] = "allocation failed",
    [PLK_ERROR_STAT] = "stat failed",
    [PLK_ERROR_RENAME] = "rename failed",
    [PLK_ERROR_UNLINK] = "unlink failed",
    [PLK_ERROR_LOCK_CALL] = "lock failed",
    [PLK_ERROR_HELPER] = "helper failed",
    [PLK_ERROR_MKFS] = "mkfs failed",
    [PLK_ERROR_FSCK] = "fsck failed",
    [PLK_ERROR_RESIZE_FS] = "filesystem resize failed",
    [PLK_ERROR_PARTITION] = "partitioning failed",
    [PLK_ERROR_INTERNAL] = "internal error",
    [PLK_ERROR_XML] = "bad definition",
    [PLK_ERROR_XML_SYNTAX] = "malformed XML",
    [PLK_ERROR_XML_SCHEMA] = "XML breaks the schema",
    [PLK_ERROR_UNIT] = "unknown unit",
    [PLK_ERROR_OVERFLOW] = "overflow",
    [PLK_ERROR_CONFIG] = "unsupported configuration",
    [PLK_ERROR_NO_POOL] = "no such pool",
    [PLK_ERROR_NO_VOLUME] = "no such volume",
    [PLK_ERROR_VOLUME_EXISTS] = "volume exists",
    [PLK_ERROR_STATE] = "wrong state",
    [PLK_ERROR_REFUSED] = "refused",
    [PLK_ERROR_NO_SUPPORT] = "not supported",
    [PLK_ERROR_NO_ALGORITHM] = "no such algorithm",
    [PLK_ERROR_NOT_THIS_FORMAT] = "not for this format",
    [PLK_ERROR_PROBE] = "probe failed",
    [PLK_ERROR_BUILT] = "already built",
    [PLK_ERROR_READ_ONLY] = "read-only",
    [PLK_ERROR_SYSTEM] = "system call failed",
    [PLK_ERROR_RPC] = "protocol error",
    [PLK_ERROR_AUTH] = "not authenticated",
    [PLK_ERROR_AUTH_UNAVAILABLE] = "cannot authenticate",
    [PLK_ERROR_DENIED] = "access denied",
};

const char *plk_error_name(PlkErrorCode code)
{
    unsigned c = (unsigned)code;

    return c < sizeof names / sizeof names[0] && names[c] ? names[c] : "unknown error";
}

/* Names come from directories and XML written by others: no control byte reaches a terminal or a log. */
static void make_printable(PlkError *err)
{
    char raw[sizeof err->message];

    memcpy(raw, err->message, sizeof raw);
    plk_escape(err->message, sizeof err->message, raw);
}

static void set(PlkError *err, PlkErrorCode code, int errnum, const char *fmt, va_list ap)
{
    int n;

    if (!err)
        return;
    err->code = code;
    err->errnum = errnum;
    n = vsnprintf(err->message, sizeof err->message, fmt, ap);
    if (n < 0)
        n = 0;
    if (errnum && (size_t)n < sizeof err->message) {
        char buf[128];
        snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s",
                 strerror_r(errnum, buf, sizeof buf));
    }
    make_printable(err);
}

void plk_error_set(PlkError *err, PlkErrorCode code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set(err, code, 0, fmt, ap);
    va_end(ap);
}

void plk_error_set_errno(PlkError *err, PlkErrorCode code, int errnum, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set(err, code, errnum, fmt, ap);
    va_end(ap);
}

void plk_error_set_io(PlkError *err, PlkErrorCode code, int neg_errno, const char *fmt, ...)
{
    va_list ap;

    switch (-neg_errno) {
    case ENOSPC:
    case EDQUOT:
        code = PLK_ERROR_NO_SPACE;
        break;
    case ENOMEM:
        code = PLK_ERROR_NO_MEMORY;
        break;
    case EUCLEAN:
        code = PLK_ERROR_FORMAT;
        break;
    case ECANCELED:
        code = PLK_ERROR_CANCELLED;
        break;
    default:
        break;
    }
    va_start(ap, fmt);
    set(err, code, -neg_errno, fmt, ap);
    va_end(ap);
}

void plk_error_prefix(PlkError *err, const char *fmt, ...)
{
    char old[sizeof err->message];
    va_list ap;
    int n;

    if (!err)
        return;
    memcpy(old, err->message, sizeof old);
    va_start(ap, fmt);
    n = vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof err->message)
        snprintf(err->message + n, sizeof err->message - (size_t)n, "%s", old);
    make_printable(err);
}

void plk_corrupt_at(PlkError *err, const char *src, int line, const char *file,
                   unsigned long long offset, const char *fmt, ...)
{
    char what[700];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    plk_debug(PLK_DEBUG_CORRUPT, "%s:%d: %s at %llu: %s", src, line, file, offset, what);
    plk_error_set(err, PLK_ERROR_FORMAT, "%s: offset %llu: %s", file, offset, what);
}
