/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the words of a command line to the pool and the volume they name. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "ctl.h"

void plk_session_end(PlkSession *session)
{
    g_free(session->volume);
    plk_pool_unrefp(&session->pool);
    if (session->storage)
        plk_storage_close(session->storage);
    *session = (PlkSession){0};
}

PlkStorageOptions plk_storage_options(PlkStorageRole role)
{
    return (PlkStorageOptions){
        .config_dir = plk_settings.config_dir,
        .runtime_dir = plk_settings.runtime_dir,
        .role = role,
    };
}

int plk_need_storage(PlkStorageRole role, PlkSession *ret)
{
    PlkStorageOptions options = plk_storage_options(role);
    PlkError err;

    return plk_storage_open(&options, &ret->storage, &err) < 0 ? plk_cli_fail(&err) : 0;
}

int plk_need_pool(const PlkArgs *args, PlkStorageRole role, PlkSession *ret)
{
    PlkError err;
    int rc = plk_need_storage(role, ret);

    if (rc)
        return rc;
    ret->pool = plk_find_pool(ret->storage, plk_arg(args, OPT_POOL), &err);
    return ret->pool ? 0 : plk_cli_fail(&err);
}

int plk_need_volume(const PlkArgs *args, PlkStorageRole role, PlkSession *ret)
{
    PlkError err;
    int rc = plk_need_storage(role, ret);

    if (rc)
        return rc;
    if (plk_find_volume(ret->storage, plk_arg_if_any(args, OPT_POOL), plk_arg(args, OPT_VOL), &ret->pool,
                        &ret->volume, &err) < 0)
        return plk_cli_fail(&err);
    return 0;
}

PlkPool *plk_find_pool(PlkStorage *storage, const char *name_or_uuid, PlkError *err)
{
    unsigned char uuid[PLK_UUID_BYTES];
    PlkPool *pool = NULL;

    if (strlen(name_or_uuid) == PLK_UUID_CHARS && plk_uuid_parse(name_or_uuid, uuid))
        pool = plk_storage_pool_by_uuid(storage, uuid, NULL);
    return pool ? pool : plk_storage_pool_by_name(storage, name_or_uuid, err);
}

static int find_by_path(PlkStorage *storage, const char *pool, const char *path, PlkPool **ret_pool,
                        char **ret_name, PlkError *err)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = NULL;
    plk_cleanup(plk_pool_unrefp) PlkPool *found = NULL, *wanted = NULL;

    if (plk_storage_volume_by_path(storage, path, &found, &volume, err) < 0)
        return -1;
    if (pool) {
        wanted = plk_find_pool(storage, pool, err);
        if (!wanted)
            return -1;
        if (wanted != found)
            return plk_fail(err, PLK_ERROR_NO_VOLUME, "'%s' is in pool '%s', not in '%s'", path,
                            plk_pool_name(found), pool);
    }
    *ret_name = g_strdup(volume->name);
    *ret_pool = PLK_TAKE(found);
    return 0;
}

int plk_find_volume(PlkStorage *storage, const char *pool, const char *volume, PlkPool **ret_pool,
                    char **ret_name, PlkError *err)
{
    const char *slash = strchr(volume, '/');
    g_autofree char *before = NULL;
    PlkPool *found;

    if (slash == volume)
        return find_by_path(storage, pool, volume, ret_pool, ret_name, err);
    if (!pool && !slash)
        return plk_fail(err, PLK_ERROR_NO_VOLUME,
                        "volume '%s': its pool is not named; write POOL/%s or --pool POOL", volume, volume);
    if (!pool) {
        pool = before = g_strndup(volume, (size_t)(slash - volume));
        volume = slash + 1;
    }
    found = plk_find_pool(storage, pool, err);
    if (!found)
        return -1;
    *ret_pool = found;
    *ret_name = g_strdup(volume);
    return 0;
}

/* ---- values ---- */

int plk_arg_size(const PlkArgs *args, int id, uint64_t *ret)
{
    const char *text = plk_arg(args, id);
    g_autofree char *number = NULL;
    size_t digits;
    PlkError err;

    if (!text)
        return 0;
    digits = strspn(text, "0123456789");
    if (!digits)
        return plk_arg_bad(args, id,
                           "a size is NUMBER[UNIT], for example 10G; without a unit it counts bytes");
    number = g_strndup(text, digits);
    if (plk_scale_size(number, text[digits] ? text + digits : NULL, ret, &err) < 0)
        return plk_arg_bad(args, id, err.message);
    return 0;
}

const char *plk_pretty_size(uint64_t bytes, char buf[PLK_SIZE_ROOM])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    for (; value >= 1024 && unit + 1 < G_N_ELEMENTS(units); unit++)
        value /= 1024;
    snprintf(buf, PLK_SIZE_ROOM, "%.2f %s", value, units[unit]);
    return buf;
}

const char *plk_show_size(uint64_t bytes, bool exact, char buf[PLK_SIZE_ROOM])
{
    if (!exact)
        return plk_pretty_size(bytes, buf);
    snprintf(buf, PLK_SIZE_ROOM, "%" G_GUINT64_FORMAT " bytes", bytes);
    return buf;
}

#define TEXT_MAX (1u << 20)

int plk_read_text(const char *file, char **ret, PlkError *err)
{
    PLK_CLOSE int opened = -1;
    g_autofree char *text = g_malloc(TEXT_MAX + 1);
    size_t len = 0;
    ssize_t n;
    int fd = STDIN_FILENO;

    if (strcmp(file, "-") != 0) {
        fd = opened = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
            return plk_fail_errno(err, PLK_ERROR_NOT_FOUND, errno, "cannot open '%s'", file);
    }
    do {
        n = read(fd, text + len, TEXT_MAX + 1 - len);
        if (n < 0 && errno != EINTR)
            return plk_fail_errno(err, PLK_ERROR_READ, errno, "cannot read '%s'", file);
        len += n > 0 ? (size_t)n : 0;
    } while (n && len <= TEXT_MAX && !plk_cancelled());
    if (len > TEXT_MAX)
        return plk_fail(err, PLK_ERROR_XML_SYNTAX, "'%s': a definition has at most 1 MiB", file);
    if (memchr(text, '\0', len))
        return plk_fail(err, PLK_ERROR_XML_SYNTAX, "'%s' is not text", file);
    text[len] = '\0';
    *ret = g_steal_pointer(&text);
    return 0;
}

static unsigned flag_if(const PlkArgs *args, int id, unsigned flag)
{
    return plk_arg_if_any(args, id) ? flag : 0;
}

/* As in virsh, --overwrite and --no-overwrite say by themselves that there is something to build. */
unsigned plk_start_flags(const PlkArgs *args)
{
    return flag_if(args, OPT_BUILD, PLK_START_BUILD) |
           flag_if(args, OPT_OVERWRITE, PLK_START_BUILD_OVERWRITE) |
           flag_if(args, OPT_NO_OVERWRITE, PLK_START_BUILD_NO_OVERWRITE);
}

unsigned plk_create_flags(const PlkArgs *args)
{
    return flag_if(args, OPT_PREALLOC, PLK_CREATE_PREALLOC_METADATA) |
           flag_if(args, OPT_REFLINK, PLK_CREATE_REFLINK) | flag_if(args, OPT_VALIDATE, PLK_CREATE_VALIDATE);
}
