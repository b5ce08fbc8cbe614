/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owning the definition of a volume. */
#include "conf/volume-def.h"

#include "conf/encryption.h"
#include "conf/permissions.h"

static PlkVolumeTarget copy_target(const PlkVolumeTarget *target)
{
    PlkVolumeTarget copy = *target;

    copy.path = g_strdup(target->path);
    copy.permissions = plk_permissions_copy(&target->permissions);
    copy.encryption = plk_encryption_copy(target->encryption);
    copy.compat = g_strdup(target->compat);
    return copy;
}

static void clear_target(PlkVolumeTarget *target)
{
    g_free(target->path);
    plk_permissions_clear(&target->permissions);
    plk_encryption_free(target->encryption);
    g_free(target->compat);
}

PlkVolumeDef *plk_volume_def_new(const char *name, PlkFileFormat format, uint64_t capacity)
{
    PlkVolumeDef *def = g_new0(PlkVolumeDef, 1);

    def->name = g_strdup(name);
    def->type = format == PLK_FILE_PLOOP ? PLK_VOLUME_PLOOP : format == PLK_FILE_DIR ? PLK_VOLUME_DIR : PLK_VOLUME_FILE;
    def->has_capacity = true;
    def->capacity = def->allocation = capacity;
    def->target.format = format;
    def->target.permissions = PLK_PERMISSIONS_NONE;
    return def;
}

PlkVolumeDef *plk_volume_def_copy(const PlkVolumeDef *def)
{
    PlkVolumeDef *copy = g_memdup2(def, sizeof(*def));

    copy->name = g_strdup(def->name);
    copy->key = g_strdup(def->key);
    copy->target = copy_target(&def->target);
    if (def->backing) {
        copy->backing = g_new(PlkVolumeTarget, 1);
        *copy->backing = copy_target(def->backing);
    }
    return copy;
}

void plk_volume_def_free(PlkVolumeDef *def)
{
    if (!def)
        return;
    g_free(def->name);
    g_free(def->key);
    clear_target(&def->target);
    if (def->backing)
        clear_target(def->backing);
    g_free(def->backing);
    g_free(def);
}
