/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* .ploopkit */
#include "pool/private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define TRIES 100 /* somebody may remove it each time just before we open it; not for ever */

static int open_in(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static int make_in(int dir, const char *name)
{
    return mkdirat(dir, name, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int try_open(int pool_dir, const char *which, bool make)
{
    PLK_CLOSE int private = -1;
    int r = make ? make_in(pool_dir, PLK_PRIVATE_DIR) : 0;

    if (r < 0)
        return r;
    private = open_in(pool_dir, PLK_PRIVATE_DIR);
    if (private < 0)
        return private;
    r = make ? make_in(private, which) : 0;
    return r < 0 ? r : open_in(private, which);
}

int plk_private_open(int pool_dir, const char *which, bool make)
{
    int r = -ENOENT;

    for (int i = 0; i < TRIES && r == -ENOENT && (make || i == 0); i++)
        r = try_open(pool_dir, which, make);
    return r;
}

int plk_private_open_file(int dir, const char *name, int flags)
{
    PLK_CLOSE int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -ENXIO;
    return st.st_nlink > 1 ? -EMLINK : PLK_TAKE_FD(fd);
}

void plk_private_tidy(int pool_dir, const char *which)
{
    PLK_CLOSE int private = open_in(pool_dir, PLK_PRIVATE_DIR);

    if (private < 0)
        return;
    if (unlinkat(private, which, AT_REMOVEDIR) == 0 || errno == ENOENT)
        unlinkat(pool_dir, PLK_PRIVATE_DIR, AT_REMOVEDIR);
}
