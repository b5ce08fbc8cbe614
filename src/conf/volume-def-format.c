/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the definition of a volume to XML. */
#include "conf/encryption.h"
#include "conf/permissions.h"
#include "conf/pool-type.h"

/* A backing file whose format nobody wrote down, nor found out, is read as raw. */
static void write_format(PlkWriter *writer, const PlkVolumeTarget *target, PlkPoolType pool)
{
    const char *const *names = plk_pool_traits(pool)->volume_format.names;

    if (names)
        plk_write_typed(writer, "format", names[target->format == PLK_FILE_AUTO ? PLK_FILE_RAW : target->format]);
}

static void write_time(PlkWriter *writer, const char *element, const struct timespec *time)
{
    if (time->tv_nsec)
        plk_write_format(writer, element, "%lld.%09ld", (long long)time->tv_sec, time->tv_nsec);
    else
        plk_write_format(writer, element, "%lld", (long long)time->tv_sec);
}

static void write_times(PlkWriter *writer, const PlkVolumeTarget *target)
{
    plk_write_section(writer, "timestamps");
    write_time(writer, "atime", &target->atime);
    write_time(writer, "mtime", &target->mtime);
    write_time(writer, "ctime", &target->ctime);
    write_time(writer, "btime", &target->btime);
    plk_write_close(writer, "timestamps");
}

static void write_features(PlkWriter *writer, const PlkVolumeTarget *target)
{
    plk_write_start(writer, "features");
    if (!target->lazy_refcounts && !target->extended_l2) {
        plk_write_empty(writer);
        return;
    }
    plk_write_open(writer);
    if (target->lazy_refcounts) {
        plk_write_start(writer, "lazy_refcounts");
        plk_write_empty(writer);
    }
    if (target->extended_l2) {
        plk_write_start(writer, "extended_l2");
        plk_write_empty(writer);
    }
    plk_write_close(writer, "features");
}

static void write_target(PlkWriter *writer, const char *element, const PlkVolumeTarget *target, PlkPoolType pool)
{
    plk_write_section(writer, element);
    plk_write_text(writer, "path", target->path);
    write_format(writer, target, pool);
    plk_permissions_write(writer, "permissions", &target->permissions);
    if (target->has_times)
        write_times(writer, target);
    if (target->encryption)
        plk_encryption_write(writer, target->encryption);
    plk_write_text(writer, "compat", target->compat);
    if (target->cluster)
        plk_write_bytes(writer, "clusterSize", "B", target->cluster);
    if (target->has_features)
        write_features(writer, target);
    plk_write_close(writer, element);
}

char *plk_volume_def_format(const PlkVolumeDef *def, PlkPoolType pool)
{
    PlkWriter writer = plk_writer_begin();

    plk_write_start(&writer, "volume");
    plk_write_attribute(&writer, "type", plk_volume_type_names[def->type]);
    plk_write_open(&writer);
    plk_write_text(&writer, "name", def->name);
    plk_write_text(&writer, "key", def->key);
    plk_write_bytes(&writer, "capacity", "bytes", def->capacity);
    plk_write_bytes(&writer, "allocation", "bytes", def->allocation);
    if (def->physical)
        plk_write_bytes(&writer, "physical", "bytes", def->physical);
    write_target(&writer, "target", &def->target, pool);
    if (def->backing)
        write_target(&writer, "backingStore", def->backing, pool);
    plk_write_close(&writer, "volume");
    return plk_writer_finish(&writer);
}
