/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of pools: lookups, filters, and what two pools may not share. */
#include <string.h>

#include "base/error.h"
#include "pool/pool.h"

static guint position(PlkStorage *storage, const char *name, bool *ret_found)
{
    guint low = 0, high = storage->pools->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;
        int order = strcmp(((PlkPool *)storage->pools->pdata[middle])->name, name);

        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

PlkPool *plk_pool_list_find(PlkStorage *storage, const char *name)
{
    bool found;
    guint at = position(storage, name, &found);

    return found ? storage->pools->pdata[at] : NULL;
}

PlkPool *plk_pool_list_find_uuid(PlkStorage *storage, const unsigned char uuid[PLK_UUID_BYTES])
{
    for (guint i = 0; i < storage->pools->len; i++) {
        PlkPool *pool = storage->pools->pdata[i];

        if (memcmp(pool->uuid, uuid, PLK_UUID_BYTES) == 0)
            return pool;
    }
    return NULL;
}

void plk_pool_list_add(PlkStorage *storage, PlkPool *pool)
{
    bool found;
    guint at = position(storage, pool->name, &found);

    g_ptr_array_insert(storage->pools, at, pool);
}

void plk_pool_list_remove(PlkStorage *storage, PlkPool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->gone = true;
    pthread_mutex_unlock(&pool->lock);
    g_ptr_array_remove(storage->pools, pool); /* drops the list's reference, if it is still there */
}

static bool collides(PlkPool *pool, const PlkPoolDef *def)
{
    PLK_LOCKED(&pool->lock);

    return plk_pool_same_source(pool->def, def) || (pool->next && plk_pool_same_source(pool->next, def));
}

static int check_identity(PlkStorage *storage, const PlkPoolDef *def, PlkPool **ret, PlkError *err)
{
    PlkPool *by_uuid = plk_pool_list_find_uuid(storage, def->uuid), *by_name = plk_pool_list_find(storage, def->name);
    char uuid[PLK_UUID_CHARS + 1];

    if (by_uuid != by_name) {
        plk_uuid_format(by_uuid ? by_uuid->uuid : by_name->uuid, uuid);
        return plk_fail(err, PLK_ERROR_REFUSED, "pool '%s' is already defined with uuid %s",
                        by_uuid ? by_uuid->name : by_name->name, uuid);
    }
    *ret = by_name;
    return 0;
}

/* Pools of kinds that only libvirt runs have names and devices too. */
static int check_foreign(PlkStorage *storage, const PlkPoolDef *def, PlkError *err)
{
    for (guint i = 0; i < storage->foreign->len; i++) {
        const PlkPoolDef *other = storage->foreign->pdata[i];

        if (strcmp(other->name, def->name) == 0 || memcmp(other->uuid, def->uuid, PLK_UUID_BYTES) == 0)
            return plk_fail(err, PLK_ERROR_REFUSED, "pool '%s' of type '%s' is already defined", other->name,
                            plk_pool_type_names[other->type]);
        if (plk_pool_same_source(other, def))
            return plk_fail(err, PLK_ERROR_REFUSED, "the source of pool '%s' is already that of pool '%s'", def->name,
                            other->name);
    }
    return 0;
}

int plk_pool_list_conflict(PlkStorage *storage, const PlkPoolDef *def, PlkPool **ret, PlkError *err)
{
    if (check_foreign(storage, def, err) != 0)
        return -1;
    for (guint i = 0; i < storage->pools->len; i++) {
        PlkPool *pool = storage->pools->pdata[i];

        if (strcmp(pool->name, def->name) != 0 && collides(pool, def))
            return plk_fail(err, PLK_ERROR_REFUSED, "the source of pool '%s' is already that of pool '%s'", def->name,
                            pool->name);
    }
    return check_identity(storage, def, ret, err);
}

PlkPool *plk_storage_pool_by_name(PlkStorage *storage, const char *name, PlkError *err)
{
    PLK_LOCKED(&storage->lock);
    PlkPool *pool = plk_pool_list_find(storage, name);

    if (!pool)
        plk_error_set(err, PLK_ERROR_NO_POOL, "there is no pool named '%s'", name);
    return pool ? plk_pool_ref(pool) : NULL;
}

PlkPool *plk_storage_pool_by_uuid(PlkStorage *storage, const unsigned char uuid[PLK_UUID_BYTES], PlkError *err)
{
    char text[PLK_UUID_CHARS + 1];
    PLK_LOCKED(&storage->lock);
    PlkPool *pool = plk_pool_list_find_uuid(storage, uuid);

    plk_uuid_format(uuid, text);
    if (!pool)
        plk_error_set(err, PLK_ERROR_NO_POOL, "there is no pool with uuid %s", text);
    return pool ? plk_pool_ref(pool) : NULL;
}

static bool is_active_at(PlkPool *pool, const char *path)
{
    PLK_LOCKED(&pool->lock);

    return pool->active && pool->def->target && strcmp(pool->def->target, path) == 0;
}

PlkPool *plk_storage_pool_by_path(PlkStorage *storage, const char *path, PlkError *err)
{
    g_autofree char *clean = plk_path_sanitise(path);
    PLK_LOCKED(&storage->lock);

    for (guint i = 0; i < storage->pools->len; i++)
        if (is_active_at(storage->pools->pdata[i], clean))
            return plk_pool_ref(storage->pools->pdata[i]);
    plk_error_set(err, PLK_ERROR_NO_POOL, "there is no active pool on '%s'", path);
    return NULL;
}

/* libvirt's flags by type: its public order is not that of its types. */
static const PlkPoolType type_of_flag[] = {
    PLK_POOL_DIR, PLK_POOL_FS, PLK_POOL_NETFS, PLK_POOL_LOGICAL, PLK_POOL_DISK, PLK_POOL_ISCSI, PLK_POOL_SCSI,
    PLK_POOL_MPATH, PLK_POOL_RBD, PLK_POOL_SHEEPDOG, PLK_POOL_GLUSTER, PLK_POOL_ZFS, PLK_POOL_VSTORAGE,
    PLK_POOL_ISCSI_DIRECT,
};

static bool type_matches(PlkPoolType type, unsigned flags)
{
    unsigned types = flags >> 6;

    for (size_t i = 0; types && i < G_N_ELEMENTS(type_of_flag); i++)
        if (type_of_flag[i] == type)
            return types >> i & 1;
    return types == 0;
}

/* Of a pair of flags one, both or none may be asked for; both is as none. */
static bool pair_matches(bool value, unsigned flags, unsigned yes, unsigned no)
{
    unsigned asked = flags & (yes | no);

    return asked == 0 || asked & (value ? yes : no);
}

static bool matches(PlkPool *pool, unsigned flags)
{
    PLK_LOCKED(&pool->lock);

    return pair_matches(pool->active, flags, PLK_LIST_ACTIVE, PLK_LIST_INACTIVE) &&
           pair_matches(pool->persistent, flags, PLK_LIST_PERSISTENT, PLK_LIST_TRANSIENT) &&
           pair_matches(pool->autostart, flags, PLK_LIST_AUTOSTART, PLK_LIST_NO_AUTOSTART) &&
           type_matches(pool->def->type, flags);
}

int plk_storage_pools(PlkStorage *storage, unsigned flags, PlkPool ***ret, size_t *ret_n, PlkError *err)
{
    PLK_LOCKED(&storage->lock);
    PlkPool **pools = g_new(PlkPool *, storage->pools->len + 1);
    size_t n = 0;

    for (guint i = 0; i < storage->pools->len; i++)
        if (matches(storage->pools->pdata[i], flags))
            pools[n++] = plk_pool_ref(storage->pools->pdata[i]);
    *ret = pools;
    *ret_n = n;
    return 0;
}

void plk_pools_free(PlkPool **pools, size_t n)
{
    for (size_t i = 0; i < n; i++)
        plk_pool_unref(pools[i]);
    g_free(pools);
}

void plk_storage_active_pools(PlkStorage *storage, PlkPool ***ret, size_t *ret_n)
{
    plk_storage_pools(storage, PLK_LIST_ACTIVE, ret, ret_n, NULL);
}
