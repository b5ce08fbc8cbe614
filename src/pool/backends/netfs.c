/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pool on a network filesystem: nfs, glusterfs, cifs. */
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

static int need_source(const PlkPoolDef *def, PlkError *err)
{
    if (def->source.n_hosts != 1)
        return plk_fail(err, PLK_ERROR_CONFIG, "pool '%s' needs exactly one source host", def->name);
    if (!def->source.hosts[0].name || !def->source.dir)
        return plk_fail(err, PLK_ERROR_INTERNAL, "pool '%s' has no source %s", def->name,
                        def->source.dir ? "host" : "directory");
    /* A host that starts like an option would be taken for one by a mount helper. */
    if (def->source.hosts[0].name[0] == '-')
        return plk_fail(err, PLK_ERROR_CONFIG, "'%s' is no name of a host", def->source.hosts[0].name);
    return 0;
}

static char *source_text(const PlkPoolDef *def)
{
    const char *host = def->source.hosts[0].name, *dir = def->source.dir;

    if (strcmp(format_name(def), "cifs") == 0)
        return g_strdup_printf("//%s/%s", host, dir);
    return strchr(host, ':') ? g_strdup_printf("[%s]:%s", host, dir) : g_strdup_printf("%s:%s", host, dir);
}

static int check(const PlkPoolDef *def, bool *ret_up, PlkError *err)
{
    g_autofree char *source = NULL;
    PlkMount mount;
    bool found;

    if (need_source(def, err) != 0 || plk_mount_find(def->target, &found, &mount, err) != 0)
        return -1;
    *ret_up = false;
    if (!found)
        return 0;
    source = source_text(def);
    *ret_up = strcmp(mount.source, source) == 0;
    plk_mount_clear(&mount);
    return 0;
}

/* Without it the kernel says no more than "no such device". "auto" is what HOST:DIR says, which is nfs. */
static int need_helper(const char *format, PlkError *err)
{
    g_autofree char *program = g_strdup_printf("mount.%s", strcmp(format, "auto") == 0 ? "nfs" : format);
    char path[PLK_PROGRAM_PATH_MAX];

    return plk_find_program(program, path, err);
}

static int start(const PlkPoolDef *def, PlkError *err)
{
    g_autoptr(GString) options = g_string_new("nodev,nosuid,noexec");
    const char *format = format_name(def);
    g_autofree char *source = NULL;

    if (need_source(def, err) != 0 || need_helper(format, err) != 0)
        return -1;
    source = source_text(def);
    if (def->source.protocol_ver)
        g_string_append_printf(options, ",nfsvers=%s", def->source.protocol_ver);
    for (size_t i = 0; i < def->n_options; i++)
        g_string_append_printf(options, ",%s", def->options[i].name);
    if (strcmp(format, "glusterfs") == 0)
        g_string_append(options, ",direct-io-mode=1");
    if (strcmp(format, "cifs") == 0)
        g_string_append(options, ",guest");
    return plk_mount(source, def->target, strcmp(format, "auto") == 0 ? NULL : format, options->str, err);
}

static int stop(const PlkPoolDef *def, PlkError *err)
{
    return plk_target_unmount(def, err);
}

static int build(const PlkPoolDef *def, unsigned flags, PlkError *err)
{
    return plk_target_check_flags(def, flags, err) == 0 ? plk_target_build(def, err) : -1;
}

const PlkBackend plk_backend_netfs = {
    .type = PLK_POOL_NETFS, .check = check, .start = start, .stop = stop, .build = build,
    .remove = plk_target_remove, .find_sources = plk_netfs_find,
};
