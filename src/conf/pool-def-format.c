/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the definition of a pool to XML. */
#include "conf/permissions.h"
#include "conf/pool-def.h"
#include "conf/pool-extras.h"
#include "conf/pool-type.h"
#include "conf/source.h"

static void write_features(PlkWriter *writer, const PlkPoolDef *def)
{
    if (def->cow < 0)
        return;
    plk_write_section(writer, "features");
    plk_write_start(writer, "cow");
    plk_write_attribute(writer, "state", plk_switch_name(def->cow));
    plk_write_empty(writer);
    plk_write_close(writer, "features");
}

static void write_target(PlkWriter *writer, const PlkPoolDef *def)
{
    plk_write_section(writer, "target");
    plk_write_text(writer, "path", def->target);
    plk_permissions_write(writer, "permissions", &def->permissions);
    plk_write_close(writer, "target");
}

static void write_refresh(PlkWriter *writer, const PlkPoolDef *def)
{
    if (!def->refresh_allocation)
        return;
    plk_write_section(writer, "refresh");
    plk_write_start(writer, "volume");
    plk_write_attribute(writer, "allocation", def->refresh_allocation);
    plk_write_empty(writer);
    plk_write_close(writer, "refresh");
}

char *plk_pool_def_format(const PlkPoolDef *def)
{
    PlkWriter writer = plk_writer_begin();
    char uuid[PLK_UUID_CHARS + 1];

    plk_uuid_format(def->uuid, uuid);
    plk_write_start(&writer, "pool");
    plk_write_attribute(&writer, "type", plk_pool_type_names[def->type]);
    plk_pool_extras_declare(&writer, def);
    plk_write_open(&writer);
    plk_write_text(&writer, "name", def->name);
    plk_write_text(&writer, "uuid", uuid);
    plk_write_bytes(&writer, "capacity", "bytes", def->capacity);
    plk_write_bytes(&writer, "allocation", "bytes", def->allocation);
    plk_write_bytes(&writer, "available", "bytes", def->available);
    write_features(&writer, def);
    plk_source_write(&writer, def->type, &def->source);
    if (!plk_pool_traits(def->type)->remote)
        write_target(&writer, def);
    write_refresh(&writer, def);
    plk_pool_extras_write(&writer, def);
    plk_write_close(&writer, "pool");
    return plk_writer_finish(&writer);
}
