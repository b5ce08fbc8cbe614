/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Do two definitions stand on the same storage? The rules are libvirt's, so that a directory of definitions that one
 * of us keeps the other can load: kinds of pools that take whole devices are held against each other, the rest against
 * their own kind only. Text is compared, never what a path leads to. Pure.
 */
#include <glib.h>

#include "pool/pool.h"

static bool takes_devices(PlkPoolType type)
{
    return type == PLK_POOL_FS || type == PLK_POOL_LOGICAL || type == PLK_POOL_DISK || type == PLK_POOL_ZFS;
}

static bool same_device(const PlkPoolSource *a, const PlkPoolSource *b)
{
    for (size_t i = 0; i < a->n_devices; i++)
        for (size_t j = 0; j < b->n_devices; j++)
            if (g_strcmp0(a->devices[i].path, b->devices[j].path) == 0)
                return true;
    return false;
}

/* The port counts only if the new one gives one; the target does not count at all. */
static bool same_export(const PlkPoolSource *known, const PlkPoolSource *asked)
{
    if (known->n_hosts != 1 || asked->n_hosts != 1 || g_strcmp0(known->dir, asked->dir) != 0)
        return false;
    if (asked->hosts[0].port && known->hosts[0].port != asked->hosts[0].port)
        return false;
    return g_strcmp0(known->hosts[0].name, asked->hosts[0].name) == 0;
}

bool plk_pool_same_source(const PlkPoolDef *known, const PlkPoolDef *asked)
{
    if (takes_devices(known->type) && takes_devices(asked->type))
        return same_device(&known->source, &asked->source);
    if (known->type != asked->type)
        return false;
    switch (known->type) {
    case PLK_POOL_DIR:
        return g_strcmp0(known->target, asked->target) == 0;
    case PLK_POOL_NETFS:
        return same_export(&known->source, &asked->source);
    case PLK_POOL_VSTORAGE:
        return g_strcmp0(known->source.name, asked->source.name) == 0;
    default:
        return false;
    }
}
