/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fault shim: a PlkIo or PlkDir around another that fails or shortens chosen calls. It is chosen by point (what
 * the call means), by count (the n-th matching call), or both. Every call that can fail passes it, the ones that
 * only look and those that lock too; they have no point, and only PLK_POINT_NONE matches them.
 */
#pragma once

#include "io/dir.h"

typedef struct PlkFault {
    PlkPoint point;     /* PLK_POINT_NONE = any */
    unsigned long nth;  /* 1 = the first matching call; 0 = never */
    bool sticky;        /* and all that match after it */
    int errnum;         /* positive errno to fail with; 0 = transfer max_transfer bytes instead */
    size_t max_transfer; /* short read or write */
    bool opens_only;     /* only calls that take a descriptor match: what runs into EMFILE */
    _Atomic unsigned long seen; /* matching calls so far, also when nth is 0: lets a test count */
    _Atomic(const char *) struck; /* the first call spoiled: "sync", "open"; NULL as long as there is none */
    PlkPoint struck_point;        /* and what it meant */
} PlkFault;

/*
 * Every file opened through the result is wrapped too. Takes `next` over when it succeeds; `fault` must outlive
 * the result. Opening, linking and making a file count as DIR_CREATE where they may make a name, else as a call
 * without a point.
 */
int plk_dir_wrap_fault(PlkDir *next, PlkFault *fault, PlkDir **ret);
/* The same, but next stays the caller's and must outlive the result. */
int plk_dir_borrow_fault(PlkDir *next, PlkFault *fault, PlkDir **ret);

/* For other things that can fail: counts the call, and says 0 or the -errno it is to fail with. */
int plk_fault_strike(PlkFault *fault, PlkPoint point, const char *call, bool opens);
