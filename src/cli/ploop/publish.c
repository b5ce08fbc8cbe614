/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that appear whole; see the header. */
#include "publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "fill.h"

static int check_target(const char *path, bool force, PlkError *err)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : plk_fail_errno(err, PLK_ERROR_CREATE, errno, "cannot create '%s'", path);
    if (!S_ISREG(st.st_mode)) /* a rename would replace the device or the link itself */
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' exists and is no regular file", path);
    if (!force)
        return plk_fail(err, PLK_ERROR_EXISTS, "'%s' exists; --force replaces it", path);
    return 0;
}

int plk_publish_begin(const char *path, bool force, PlkPublish *ret, PlkError *err)
{
    PlkPublish p = {.fd = -1, .force = force};

    if (check_target(path, force, err) < 0)
        return -1;
    p.path = plk_strdup(path);
    p.temp = plk_printf("%s.XXXXXX", path);
    if (!p.path || !p.temp) {
        free(p.path);
        free(p.temp);
        return plk_fail_nomem(err);
    }
    p.fd = mkostemp(p.temp, O_CLOEXEC);
    if (p.fd < 0) {
        plk_fail_errno(err, PLK_ERROR_CREATE, errno, "cannot create '%s'", p.temp);
        free(p.path);
        free(p.temp);
        return -1;
    }
    *ret = p;
    return 0;
}

/* rename that replaces nothing; where the filesystem has no such call, link() refuses just as well. */
static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (link(from, to) < 0)
        return -1;
    unlink(from);
    return 0;
}

static int sync_directory_of(const char *path, PlkError *err)
{
    PLK_FREE char *dir = plk_directory_of(path);
    PLK_CLOSE int fd = -1;

    if (!dir)
        return plk_fail_nomem(err);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return plk_fail_errno(err, PLK_ERROR_SYNC, errno, "cannot sync the directory of '%s'", path);
    return 0;
}

int plk_publish_commit(PlkPublish *p, PlkError *err)
{
    if (fsync(p->fd) < 0)
        return plk_fail_errno(err, PLK_ERROR_SYNC, errno, "cannot sync '%s'", p->temp);
    if ((p->force ? rename(p->temp, p->path) : rename_new(p->temp, p->path)) < 0)
        return plk_fail_errno(err, errno == EEXIST ? PLK_ERROR_EXISTS : PLK_ERROR_RENAME, errno,
                              "cannot rename '%s' to '%s'", p->temp, p->path);
    free(PLK_TAKE(p->temp));
    return sync_directory_of(p->path, err);
}

void plk_publish_end(PlkPublish *p)
{
    if (p->temp)
        unlink(p->temp);
    if (p->fd >= 0)
        close(p->fd);
    free(p->temp);
    free(p->path);
    *p = (PlkPublish)PLK_PUBLISH_INIT;
}
