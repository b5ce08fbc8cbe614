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
    if (def->source.n_devices == 0)
        return plk_fail(err, PLK_ERROR_INTERNAL, "pool '%s' has no source device", def->name);
    if (def->source.n_devices > 1)
        return plk_fail(err, PLK_ERROR_CONFIG, "pool '%s' has more than one source device", def->name);
    /* Another thing could be an option to mount or mkfs. */
    if (def->source.devices[0].path[0] != '/')
        return plk_fail(err, PLK_ERROR_CONFIG, "the source device '%s' of pool '%s' is no absolute path",
                        def->source.devices[0].path, def->name);
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
    return plk_target_unmount(def, err);
}

/* NO_OVERWRITE writes on a device only where nothing is known to be. */
static int check_empty(const char *device, PlkError *err)
{
    char type[64];

    if (plk_blkid_probe(device, type, sizeof(type), err) != 0)
        return -1;
    return type[0] ? plk_fail(err, PLK_ERROR_BUILT, "'%s' holds %s already", device, type) : 0;
}

/* What makes mkfs of this kind go on without asking. */
static const char *force_option(const char *format)
{
    if (g_str_has_prefix(format, "ext"))
        return "-F";
    if (strcmp(format, "vfat") == 0)
        return "-I";
    return strcmp(format, "xfs") == 0 || strcmp(format, "btrfs") == 0 ? "-f" : NULL;
}

static int make_filesystem(const PlkPoolDef *def, const char *program, PlkError *err)
{
    const char *force = force_option(format_name(def)), *device = def->source.devices[0].path;
    const char *args[] = {force ? force : device, force ? device : NULL, NULL};

    return plk_run_checked(&(PlkRun){.program = program, .args = args}, PLK_ERROR_MKFS, err);
}

/* All that can be known to stand against it is looked at before anything is made. */
static int build(const PlkPoolDef *def, unsigned flags, PlkError *err)
{
    g_autofree char *program = g_strdup_printf("mkfs.%s", format_name(def));
    char path[PLK_PROGRAM_PATH_MAX];

    if (need_device(def, err) != 0)
        return -1;
    if (flags == 0)
        return plk_target_build(def, err);
    if (strcmp(format_name(def), "auto") == 0)
        return plk_fail(err, PLK_ERROR_MKFS, "pool '%s' does not say which filesystem is to be made", def->name);
    if (plk_find_program(program, path, err) != 0 ||
        (flags & PLK_BUILD_NO_OVERWRITE && check_empty(def->source.devices[0].path, err) != 0) ||
        plk_target_build(def, err) != 0)
        return -1;
    return make_filesystem(def, program, err);
}

const PlkBackend plk_backend_fs = {
    .type = PLK_POOL_FS, .check = check, .start = start, .stop = stop, .build = build, .remove = plk_target_remove,
};
