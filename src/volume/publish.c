/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that appear whole; see the header. */
#include "volume/publish.h"

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
#include "base/guid.h"

char *plk_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return plk_strdup(".");
    return plk_printf("%.*s", slash == path ? 1 : (int)(slash - path), path);
}

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

/* In the target's directory. -1 where there are no such files. */
static int open_unnamed(const char *path)
{
    PLK_FREE char *dir = plk_directory_of(path);

    return dir ? open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
}

static int open_named(PlkPublish *p, PlkError *err)
{
    p->temp = plk_printf("%s.XXXXXX", p->path);
    if (!p->temp)
        return plk_fail_nomem(err);
    p->fd = mkostemp(p->temp, O_CLOEXEC);
    if (p->fd >= 0)
        return 0;
    plk_fail_errno(err, PLK_ERROR_CREATE, errno, "cannot create '%s'", p->temp);
    free(PLK_TAKE(p->temp));
    return -1;
}

static int begin(const char *path, bool force, bool named, PlkPublish *ret, PlkError *err)
{
    PLK_PUBLISH_AUTO PlkPublish p = {.fd = -1, .force = force};

    if (check_target(path, force, err) < 0)
        return -1;
    p.path = plk_strdup(path);
    if (!p.path)
        return plk_fail_nomem(err);
    p.fd = named ? -1 : open_unnamed(path);
    if (p.fd < 0 && open_named(&p, err) < 0)
        return -1;
    *ret = p;
    p = (PlkPublish)PLK_PUBLISH_INIT;
    return 0;
}

int plk_publish_begin(const char *path, bool force, PlkPublish *ret, PlkError *err)
{
    return begin(path, force, false, ret, err);
}

int plk_publish_begin_named(const char *path, bool force, PlkPublish *ret, PlkError *err)
{
    return begin(path, force, true, ret, err);
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

static int link_fd(int fd, const char *path)
{
    char from[40];

    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

/* A rename replaces; only what has a name can be renamed. */
static int name_unnamed(PlkPublish *p, PlkError *err)
{
    for (unsigned tries = 0; tries < 100; tries++) {
        PlkGuid random;

        plk_guid_random(&random);
        free(p->temp);
        p->temp = plk_printf("%s.%.6s", p->path, random.text + 1);
        if (!p->temp)
            return plk_fail_nomem(err);
        if (link_fd(p->fd, p->temp) == 0)
            return 0;
        if (errno != EEXIST)
            break;
    }
    plk_fail_errno(err, PLK_ERROR_CREATE, errno, "cannot create '%s'", p->temp);
    free(PLK_TAKE(p->temp));
    return -1;
}

/* 0 or -1 with errno. */
static int take_name(PlkPublish *p)
{
    if (!p->temp)
        return link_fd(p->fd, p->path);
    return p->force ? rename(p->temp, p->path) : rename_new(p->temp, p->path);
}

int plk_publish_commit(PlkPublish *p, PlkError *err)
{
    if (fsync(p->fd) < 0)
        return plk_fail_errno(err, PLK_ERROR_SYNC, errno, "cannot sync '%s'", p->temp ? p->temp : p->path);
    if (!p->temp && p->force && name_unnamed(p, err) < 0)
        return -1;
    if (take_name(p) < 0)
        return plk_fail_errno(err, errno == EEXIST ? PLK_ERROR_EXISTS : PLK_ERROR_RENAME, errno, "cannot create '%s'",
                              p->path);
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
