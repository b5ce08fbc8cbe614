/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pool that is a filesystem on a block device of this machine. */
#include <string.h>

#include "base/error.h"
#include "host/mount.h"
#include "host/run.h"
#include "pool/pool.h"

static const char *format_name(const PlkPoolDef *def)
{
    int fallback;

    return plk_pool_source_formats(def->type, &fallback)[def->source.format];
}

static int need_device(const PlkPoolDef *def, PlkError *err)
{
    if (def->source.n_devices != 1)
        return plk_fail(err, PLK_ERROR_STATE, "pool '%s' needs exactly one source device", def->name);
    return 0;
}

static int check(const PlkPoolDef *def, bool *ret_up, PlkError *err)
{
    PlkMount mount;
    bool found;

    if (need_device(def, err) != 0 || plk_mount_find(def->target, &found, &mount, err) != 0)
        return -1;
    *ret_up = false;
    if (!found)
        return 0;
    *ret_up = strcmp(mount.source, def->source.devices[0].path) == 0;
    plk_mount_clear(&mount);
    return 0;
}

static int start(const PlkPoolDef *def, PlkError *err)
{
    g_autoptr(GString) options = g_string_new("nodev,nosuid,noexec");
    const char *format = format_name(def);

    if (need_device(def, err) != 0)
        return -1;
    for (size_t i = 0; i < def->n_options; i++)
        g_string_append_printf(options, ",%s", def->options[i].name);
    return plk_mount(def->source.devices[0].path, def->target, strcmp(format, "auto") == 0 ? NULL : format, options->str,
                     err);
}

static int stop(const PlkPoolDef *def, PlkError *err)
{
    return plk_umount(def->target, err);
}

/* NO_OVERWRITE writes on a device only where nothing is known to be. */
static int check_empty(const char *device, PlkError *err)
{
    char type[64];

    if (plk_blkid_probe(device, type, sizeof(type), err) != 0)
        return -1;
    return type[0] ? plk_fail(err, PLK_ERROR_BUILT, "'%s' holds %s already", device, type) : 0;
}

static int make_filesystem(const PlkPoolDef *def, PlkError *err)
{
    const char *format = format_name(def), *device = def->source.devices[0].path;
    const char *force = strncmp(format, "ext", 3) == 0    ? "-F"
                        : strcmp(format, "vfat") == 0     ? "-I"
                        : strcmp(format, "xfs") == 0 || strcmp(format, "btrfs") == 0 ? "-f"
                                                          : NULL;
    g_autofree char *program = g_strdup_printf("mkfs.%s", format);
    const char *args[] = {force ? force : device, force ? device : NULL, NULL};

    return plk_run_checked(&(PlkRun){.program = program, .args = args}, PLK_ERROR_MKFS, err);
}

static int build(const PlkPoolDef *def, unsigned flags, PlkError *err)
{
    if (flags == (PLK_BUILD_NO_OVERWRITE | PLK_BUILD_OVERWRITE))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "to overwrite and not to overwrite exclude each other");
    if (need_device(def, err) != 0 || plk_target_build(def, 0711, err) != 0)
        return -1;
    if (flags == 0)
        return 0;
    if (flags & PLK_BUILD_NO_OVERWRITE && check_empty(def->source.devices[0].path, err) != 0)
        return -1;
    return make_filesystem(def, err);
}

const PlkBackend plk_backend_fs = {
    .type = PLK_POOL_FS, .check = check, .start = start, .stop = stop, .build = build, .remove = plk_target_remove,
};
