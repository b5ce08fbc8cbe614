/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a storage driver can do, as libvirt words it. */
#include "conf/pool-def.h"
#include "conf/pool-type.h"
#include "conf/writer.h"

static void write_choice(PlkWriter *writer, const char *section, const char *list, const PlkFormatChoice *choice)
{
    if (!choice->names)
        return;
    plk_write_section(writer, section);
    plk_write_typed(writer, "defaultFormat", choice->names[choice->by_default]);
    plk_write_start(writer, "enum");
    plk_write_attribute(writer, "name", list);
    plk_write_open(writer);
    for (int i = 0; !choice->unlisted && choice->names[i]; i++)
        plk_write_text(writer, "value", choice->names[i]);
    plk_write_close(writer, "enum");
    plk_write_close(writer, section);
}

char *plk_pool_capabilities_format(const bool supported[PLK_POOL_TYPES])
{
    PlkWriter writer = plk_writer_begin();

    plk_write_section(&writer, "storagepoolCapabilities");
    for (int type = 0; type < PLK_POOL_TYPES; type++) {
        const PlkPoolTraits *traits = plk_pool_traits(type);
        plk_write_start(&writer, "pool");
        plk_write_attribute(&writer, "type", plk_pool_type_names[type]);
        plk_write_attribute(&writer, "supported", supported[type] ? "yes" : "no");
        plk_write_open(&writer);
        write_choice(&writer, "poolOptions", "sourceFormatType", &traits->source_format);
        write_choice(&writer, "volOptions", "targetFormatType", &traits->volume_format);
        plk_write_close(&writer, "pool");
    }
    plk_write_close(&writer, "storagepoolCapabilities");
    return plk_writer_finish(&writer);
}

/* libvirt lists its types in the order in which it loads what serves them, and leaves blank lines around. */
char *plk_capabilities_format(const bool supported[PLK_POOL_TYPES])
{
    static const PlkPoolType order[PLK_POOL_TYPES] = {
        PLK_POOL_DIR, PLK_POOL_FS, PLK_POOL_NETFS, PLK_POOL_LOGICAL, PLK_POOL_ISCSI, PLK_POOL_ISCSI_DIRECT,
        PLK_POOL_SCSI, PLK_POOL_MPATH, PLK_POOL_DISK, PLK_POOL_RBD, PLK_POOL_SHEEPDOG, PLK_POOL_GLUSTER,
        PLK_POOL_ZFS, PLK_POOL_VSTORAGE};
    PlkWriter writer = plk_writer_begin();

    plk_write_section(&writer, "capabilities");
    g_string_append_c(writer.text, '\n');
    plk_write_section(&writer, "pool");
    plk_write_start(&writer, "enum");
    plk_write_attribute(&writer, "name", "type");
    plk_write_open(&writer);
    for (int i = 0; i < PLK_POOL_TYPES; i++)
        if (supported[order[i]])
            plk_write_text(&writer, "value", plk_pool_type_names[order[i]]);
    plk_write_close(&writer, "enum");
    plk_write_close(&writer, "pool");
    g_string_append_c(writer.text, '\n');
    plk_write_close(&writer, "capabilities");
    return plk_writer_finish(&writer);
}
