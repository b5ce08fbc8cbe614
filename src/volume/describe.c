/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts of a probe as the definition that clients are shown. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "base/cleanup.h"
#include "volume/probe.h"
#include "volume/volume.h"

/* The time of birth stays zero: libvirt prints it so on Linux, and clients compare. */
static void set_times(PlkVolumeTarget *target, const struct timespec *atime, const struct timespec *mtime,
                      const struct timespec *ctime)
{
    target->has_times = true;
    target->atime = *atime;
    target->mtime = *mtime;
    target->ctime = *ctime;
}

static void describe_target(PlkVolumeTarget *target, const PlkVolumeFacts *facts)
{
    target->format = facts->format;
    target->permissions.mode = (int)facts->mode;
    target->permissions.uid = facts->uid;
    target->permissions.gid = facts->gid;
    target->permissions.label = g_strdup(facts->label);
    set_times(target, &facts->atime, &facts->mtime, &facts->ctime);
    if (facts->encryption != PLK_ENCRYPTION_NONE) {
        target->encryption = g_new0(PlkEncryptionDef, 1);
        target->encryption->format = facts->encryption;
    }
    target->cluster = facts->cluster;
    if (facts->format == PLK_FILE_PLOOP)
        target->cluster = 0; /* no element of libvirt's for it */
    target->compat = facts->compat_1_1 ? g_strdup("1.1") : NULL;
    target->has_features = facts->compat_1_1;
    target->lazy_refcounts = facts->lazy_refcounts;
    target->extended_l2 = facts->extended_l2;
}

/* Its name in the same directory, or NULL: only there a look is as safe as at the volume itself. */
static const char *neighbour(const PlkPlace *place, const char *backing)
{
    size_t n = strlen(place->dir_path);

    if (strncmp(backing, place->dir_path, n) || backing[n] != '/' || strchr(backing + n + 1, '/'))
        return NULL;
    return backing + n + 1;
}

/* Of a neighbour nobody wrote the format of down: what its header says. Raw when there is nothing to read. */
static PlkFileFormat neighbour_format(const PlkPlace *place, const char *name)
{
    const PlkPlace at = {.dir = place->dir, .dir_path = place->dir_path, .name = name};
    PLK_CLOSE int fd = plk_place_open(&at, O_RDONLY);
    unsigned char header[PLK_PROBE_BYTES];
    ssize_t n = fd < 0 ? -1 : pread(fd, header, sizeof header, 0);
    PlkProbe probe;

    if (n < 0)
        return PLK_FILE_RAW;
    plk_probe_header(header, (size_t)n, (uint64_t)n, &probe);
    return probe.format;
}

static PlkVolumeTarget *describe_backing(const PlkPlace *place, const PlkVolumeFacts *facts)
{
    PlkVolumeTarget *backing = g_new0(PlkVolumeTarget, 1);
    const char *name = neighbour(place, facts->backing);
    struct stat st;

    backing->path = g_strdup(facts->backing);
    backing->format = facts->backing_format;
    if (backing->format == PLK_FILE_AUTO)
        backing->format = name ? neighbour_format(place, name) : PLK_FILE_RAW;
    backing->permissions = (PlkPermissions){.mode = -1, .uid = -1, .gid = -1};
    if (!name || fstatat(place->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return backing;
    backing->permissions.mode = st.st_mode & 0777;
    backing->permissions.uid = st.st_uid;
    backing->permissions.gid = st.st_gid;
    set_times(backing, &st.st_atim, &st.st_mtim, &st.st_ctim);
    return backing;
}

PlkVolumeDef *plk_volume_describe(const PlkPlace *place, const PlkVolumeFacts *facts)
{
    PlkVolumeDef *def = plk_volume_def_new(place->name, facts->format, facts->capacity);

    def->type = facts->type;
    def->allocation = facts->allocation;
    def->has_capacity = def->has_allocation = true;
    def->physical = facts->physical;
    g_free(def->key);
    def->key = plk_place_path(place);
    g_free(def->target.path);
    def->target.path = g_strdup(def->key);
    plk_permissions_clear(&def->target.permissions);
    describe_target(&def->target, facts);
    if (facts->backing)
        def->backing = describe_backing(place, facts);
    return def;
}
