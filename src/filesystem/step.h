/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Progress and cancellation, as this folder's loops call them. */
#pragma once

#include <ploopkit/progress.h>

#include "base/error.h"

/* -1 with a CANCELLED error when the callback says stop. */
static inline int plk_step(const PlkProgress *progress, const char *what, uint64_t done, uint64_t total,
                           PlkError *err)
{
    if (!progress || !progress->update || !progress->update(progress->arg, what, done, total))
        return 0;
    return plk_fail(err, PLK_ERROR_CANCELLED, "%s: cancelled", what);
}
