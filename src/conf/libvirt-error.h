/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Our error codes in libvirt's words: the numbers clients compare and the phrase libvirt puts in front of a
 * message. One table; nothing else in the house knows these numbers.
 */
#pragma once

#include <ploopkit/error.h>

typedef struct PlkLibvirtError {
    int code;           /* virErrorNumber */
    int domain;         /* virErrorDomain: 18 storage, 0 none, 5 XML, ... */
    const char *phrase; /* "Storage pool not found"; NULL: the message stands alone */
} PlkLibvirtError;

/* Never fails: what has no counterpart is an internal error (1) or, with an errno behind it, a system error (38). */
PlkLibvirtError plk_libvirt_error(const PlkError *err);
