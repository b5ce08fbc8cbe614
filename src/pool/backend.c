/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kinds of pools there are. */
#include "base/error.h"
#include "pool/pool.h"

static const PlkBackend *const backends[] = {
    &plk_backend_dir, &plk_backend_fs, &plk_backend_netfs, &plk_backend_vstorage,
};

const PlkBackend *plk_backend(PlkPoolType type, PlkError *err)
{
    for (size_t i = 0; i < G_N_ELEMENTS(backends); i++)
        if (backends[i]->type == type)
            return backends[i];
    plk_error_set(err, PLK_ERROR_INTERNAL, "missing backend for pool type %d (%s)", (int)type,
                  plk_pool_type_names[type]);
    return NULL;
}

void plk_storage_supported(bool ret[PLK_POOL_TYPES])
{
    for (int type = 0; type < PLK_POOL_TYPES; type++)
        ret[type] = false;
    for (size_t i = 0; i < G_N_ELEMENTS(backends); i++)
        ret[backends[i]->type] = !backends[i]->supported || backends[i]->supported();
}
