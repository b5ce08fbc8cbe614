/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pool on Virtuozzo Storage. Its client is no free software and is not driven from here: such a pool can be kept, not run. */
#include "base/error.h"
#include "pool/pool.h"

static bool supported(void)
{
    return false;
}

static int check(const PlkPoolDef *def, bool *ret_up, PlkError *err)
{
    *ret_up = false;
    return 0;
}

static int start(const PlkPoolDef *def, PlkError *err)
{
    return plk_fail(err, PLK_ERROR_NO_SUPPORT, "pool '%s' needs vstorage-mount, which is not supported; mount it by other "
                    "means and define a pool of type 'dir' on it", def->name);
}

static int stop(const PlkPoolDef *def, PlkError *err)
{
    return 0;
}

static int build(const PlkPoolDef *def, unsigned flags, PlkError *err)
{
    return plk_target_build(def, err);
}

const PlkBackend plk_backend_vstorage = {
    .type = PLK_POOL_VSTORAGE, .supported = supported, .check = check, .start = start, .stop = stop, .build = build,
    .remove = plk_target_remove,
};
