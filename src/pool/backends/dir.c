/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pool that is a directory: nothing to start or to stop. */
#include <errno.h>

#include "base/error.h"
#include "pool/pool.h"

static int check(const PlkPoolDef *def, bool *ret_up, PlkError *err)
{
    PLK_CLOSE int fd = -1;
    PlkError why;

    *ret_up = plk_target_open(def, &fd, &why) == 0;
    if (*ret_up || why.errnum != ETIMEDOUT)
        return 0;
    if (err)
        *err = why;
    return -1;
}

static int start(const PlkPoolDef *def, PlkError *err)
{
    return 0; /* whether it is there shows when it is opened */
}

static int stop(const PlkPoolDef *def, PlkError *err)
{
    return 0;
}

static int build(const PlkPoolDef *def, unsigned flags, PlkError *err)
{
    return plk_target_check_flags(def, flags, err) == 0 ? plk_target_build(def, err) : -1;
}

const PlkBackend plk_backend_dir = {
    .type = PLK_POOL_DIR, .check = check, .start = start, .stop = stop, .build = build, .remove = plk_target_remove,
};
