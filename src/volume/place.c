/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening what stands in a pool directory. The directory may belong to somebody who wishes us ill: a name may
 * be a link, a fifo that never answers, a device, a second name of somebody else's file. So a name is opened
 * beneath its directory only, without waiting, and judged by statx of what was opened; nothing is looked up
 * twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <glib.h>

#include "base/cleanup.h"
#include "volume/plain.h"

char *plk_place_path(const PlkPlace *place)
{
    const char *slash = g_str_has_suffix(place->dir_path, "/") ? "" : "/";

    return g_strconcat(place->dir_path, slash, place->name, NULL);
}

/* openat2, or what comes closest for one component where a kernel or sandbox does not have it. */
static int open_beneath(int dir, const char *name, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)flags,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, dir, name, &how, sizeof how);

    if (fd < 0 && (errno == ENOSYS || errno == EPERM) && plk_name_is_component(name))
        fd = openat(dir, name, flags | O_NOFOLLOW);
    return fd < 0 ? -errno : (int)fd;
}

static int judge(const struct statx *stx, int flags)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY;

    if (!S_ISREG(stx->stx_mode) && !S_ISDIR(stx->stx_mode))
        return -ENXIO;
    if (writes && S_ISREG(stx->stx_mode) && stx->stx_nlink > 1 && stx->stx_uid != geteuid())
        return -EMLINK;
    return 0;
}

int plk_open_seen(int dir, const char *name, const struct statx *seen, int flags, struct statx *ret)
{
    PLK_CLOSE int fd = -1;
    int r;

    /* Opening alone may have effects (a watchdog device): what is no file already is not even opened. */
    if (S_ISLNK(seen->stx_mode))
        return -ELOOP;
    r = judge(seen, O_RDONLY);
    if (r < 0)
        return r;
    fd = open_beneath(dir, name, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fd;
    if (statx(fd, "", AT_EMPTY_PATH, PLK_STATX_MASK, ret) < 0)
        return -errno;
    r = judge(ret, flags);
    return r < 0 ? r : PLK_TAKE_FD(fd);
}

int plk_open_judged(int dir, const char *name, int flags)
{
    struct statx stx;

    if (statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_MODE, &stx) < 0)
        return -errno;
    return plk_open_seen(dir, name, &stx, flags, &stx);
}

int plk_place_open(const PlkPlace *place, int flags)
{
    return plk_name_is_component(place->name) ? plk_open_judged(place->dir, place->name, flags) : -EINVAL;
}
