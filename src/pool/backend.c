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

int plk_storage_find_sources(const char *type_name, const char *spec_xml, const PlkProgress *progress, char **ret_xml,
                             PlkError *err)
{
    int type = plk_name_index(plk_pool_type_names, type_name);
    const PlkBackend *backend;

    if (type < 0)
        return plk_fail(err, PLK_ERROR_INTERNAL, "unknown storage pool type %s", type_name);
    backend = plk_backend((PlkPoolType)type, err);
    if (!backend)
        return -1;
    if (!backend->find_sources)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "pool type '%s' does not support source discovery", type_name);
    return backend->find_sources(spec_xml, progress, ret_xml, err);
}

void plk_storage_supported(bool ret[PLK_POOL_TYPES])
{
    for (int type = 0; type < PLK_POOL_TYPES; type++)
        ret[type] = false;
    for (size_t i = 0; i < G_N_ELEMENTS(backends); i++)
        ret[backends[i]->type] = !backends[i]->supported || backends[i]->supported();
}
