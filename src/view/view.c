/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "view/view.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "view/kinds.h"

struct PlkView {
    PlkWindow window;
    PlkFuse *fuse; /* NULL: a copy */
    int fd;
    char path[32];
};

static bool copy_wanted(void)
{
    const char *choice = getenv("PLK_VIEW");

    return choice && strcmp(choice, "copy") == 0;
}

static int show(PlkView *view, PlkError *err)
{
    PlkError why = {0};

    if (!copy_wanted() && plk_fuse_start(&view->window, &view->fuse, &view->fd, &why) == 0)
        return 0;
    if (why.code != PLK_OK)
        plk_debug(PLK_DEBUG_FS, "view: no FUSE, a copy instead: %s", why.message);
    return plk_copy_make(&view->window, &view->fd, err);
}

int plk_view_open(PlkDisk *disk, uint64_t offset, uint64_t length, bool writable, PlkView **ret,
                  PlkError *err)
{
    PLK_FREE PlkView *view = plk_calloc(1, sizeof *view);

    assert(offset <= plk_disk_size(disk) && length <= plk_disk_size(disk) - offset);
    if (!view)
        return plk_fail_nomem(err);
    view->fd = -1;
    view->window = (PlkWindow){.disk = disk, .offset = offset, .length = length, .writable = writable};
    if (show(view, err))
        return -1;
    snprintf(view->path, sizeof view->path, "/proc/self/fd/%d%s", view->fd, view->fuse ? "/" PLK_FUSE_FILE : "");
    *ret = PLK_TAKE(view);
    return 0;
}

const int *plk_view_fd(const PlkView *view)
{
    return &view->fd;
}

const char *plk_view_path(const PlkView *view)
{
    return view->path;
}

bool plk_view_is_copy(const PlkView *view)
{
    return !view->fuse;
}

/* 0, or -errno of the disk; a copy's changes are the caller's. */
static int end(PlkView *view)
{
    plk_closep(&view->fd);
    return view->fuse ? plk_fuse_stop(view->fuse) : 0;
}

int plk_view_close(PlkView *view, PlkError *err)
{
    PLK_FREE PlkView *owned = view;
    PlkDisk *disk = view->window.disk;
    bool writable = view->window.writable;
    int failed = 0, rc;

    if (!view->fuse && writable)
        failed = plk_copy_write_back(&view->window, view->fd, err);
    rc = end(view);
    if (!failed && !rc && writable)
        rc = plk_disk_flush(disk);
    if (!failed && rc) {
        plk_disk_explain(disk, rc, err);
        failed = -1;
    }
    return failed;
}

void plk_view_drop(PlkView *view)
{
    if (view)
        end(view);
    free(view);
}

int plk_view_fail(PlkView *view, PlkError *err)
{
    PLK_FREE PlkView *owned = view;
    PlkDisk *disk = view->window.disk;
    int rc = end(view);

    if (rc)
        plk_disk_explain(disk, rc, err);
    return -1;
}
