/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which driver for which format, and what is the same for all of them. */
#include "volume/volume.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"

#define FILE_MODE 0600
#define DIR_MODE 0711

const char *const plk_wipe_names[] = {
    "zero", "nnsa", "dod", "bsi", "gutmann", "schneier", "pfitzner7", "pfitzner33", "random", "trim", NULL,
};

const PlkVolumeDriver *plk_volume_driver(PlkFileFormat format)
{
    switch (format) {
    case PLK_FILE_AUTO:
    case PLK_FILE_NONE:
    case PLK_FILE_RAW:
    case PLK_FILE_ISO: /* nothing distinguishes a new one from a raw file, and nothing need to */
        return &plk_driver_raw;
    case PLK_FILE_DIR:
        return &plk_driver_dir;
    case PLK_FILE_PLOOP:
        return &plk_driver_ploop;
    default:
        return &plk_driver_qemu;
    }
}

const PlkVolumeDriver *plk_volume_driver_of(const PlkVolumeFacts *facts)
{
    if (facts->format == PLK_FILE_PLOOP && facts->type == PLK_VOLUME_FILE)
        return &plk_driver_raw; /* a stray image: bytes, until it has a directory */
    return plk_volume_driver(facts->format);
}

static int set_label(int fd, const char *label, PlkError *err)
{
    /* Where a filesystem has no labels, the one of its mount counts. */
    if (label && fsetxattr(fd, "security.selinux", label, strlen(label) + 1, 0) < 0 && errno != EOPNOTSUPP)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot set the security label '%s'", label);
    return 0;
}

int plk_volume_own(int fd, const PlkPermissions *permissions, bool is_dir, PlkError *err)
{
    mode_t mode = is_dir ? DIR_MODE : FILE_MODE;

    if (permissions->mode >= 0)
        mode = (mode_t)permissions->mode;
    if ((permissions->uid >= 0 || permissions->gid >= 0) &&
        fchown(fd, (uid_t)permissions->uid, (gid_t)permissions->gid) < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot give it to user %lld, group %lld",
                              (long long)permissions->uid, (long long)permissions->gid);
    if (fchmod(fd, mode) < 0) /* after the owner: that takes bits away */
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot set its mode to 0%o", mode);
    return set_label(fd, permissions->label, err);
}
