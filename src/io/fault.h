/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fault shim: a PlkIo or PlkDir around another that fails or shortens chosen calls. It is chosen by point (what
 * the call means), by count (the n-th matching call), or both.
 */
#pragma once

#include "io/dir.h"

typedef struct PlkFault {
    PlkPoint point;     /* PLK_POINT_NONE = any */
    unsigned long nth;  /* 1 = the first matching call; 0 = never */
    bool sticky;        /* and all that match after it */
    int errnum;         /* positive errno to fail with; 0 = transfer max_transfer bytes instead */
    size_t max_transfer; /* short read or write */
    _Atomic unsigned long seen; /* matching calls so far, also when nth is 0: lets a test count */
} PlkFault;

/*
 * Every file opened through the result is wrapped too. Takes `next` over when it succeeds; `fault` must outlive
 * the result. Opening, linking and making a file count as DIR_CREATE where they may make a name, else as a call
 * without a point, which only PLK_POINT_NONE matches.
 */
int plk_dir_wrap_fault(PlkDir *next, PlkFault *fault, PlkDir **ret);
