/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owning the definition of a pool. */
#include "conf/pool-def.h"


#include "conf/permissions.h"
#include "conf/source.h"

PlkPoolDef *plk_pool_def_copy(const PlkPoolDef *def)
{
    PlkPoolDef *copy = g_memdup2(def, sizeof(*def));

    copy->name = g_strdup(def->name);
    copy->source = plk_source_copy(&def->source);
    copy->target = g_strdup(def->target);
    copy->permissions = plk_permissions_copy(&def->permissions);
    copy->refresh_allocation = g_strdup(def->refresh_allocation);
    copy->options = g_memdup2(def->options, def->n_options * sizeof(*def->options));
    for (size_t i = 0; i < copy->n_options; i++) {
        copy->options[i].name = g_strdup(def->options[i].name);
        copy->options[i].value = g_strdup(def->options[i].value);
    }
    copy->volume_defaults = plk_permissions_copy(&def->volume_defaults);
    return copy;
}

void plk_pool_def_free(PlkPoolDef *def)
{
    if (!def)
        return;
    for (size_t i = 0; i < def->n_options; i++) {
        g_free(def->options[i].name);
        g_free(def->options[i].value);
    }
    g_free(def->options);
    g_free(def->name);
    plk_pool_source_clear(&def->source);
    g_free(def->target);
    plk_permissions_clear(&def->permissions);
    g_free(def->refresh_allocation);
    plk_permissions_clear(&def->volume_defaults);
    g_free(def);
}
