/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fault shim. It sits between the gate and a backend and hands every call on to the backend's own
 * operations, so that the gate sees a failure exactly as it would see the kernel's: with its retries,
 * its fallbacks and its memory of a failed sync.
 */
#include "io/fault.h"

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"

typedef struct FaultIo {
    PlkIo io;
    PlkIo *next;
    PlkFault *fault;
} FaultIo;

typedef struct FaultDir {
    PlkDir dir;
    PlkDir *next;
    bool borrowed; /* next is somebody else's to close */
    PlkFault *fault;
} FaultDir;

static const PlkIoOps fault_ops;

static inline FaultIo *fault_of(PlkIo *io)
{
    return (FaultIo *)io;
}

static inline PlkIo *next_of(PlkIo *io)
{
    return fault_of(io)->next;
}

static inline PlkIo *unwrap(PlkIo *io)
{
    return io->ops == &fault_ops ? next_of(io) : io;
}

/* Counts the call; is it one to spoil? */
static bool strikes(PlkFault *fault, PlkPoint point, const char *call, bool opens)
{
    const char *none = NULL;
    unsigned long n;

    if ((fault->point != PLK_POINT_NONE && fault->point != point) || (fault->opens_only && !opens))
        return false;
    n = atomic_fetch_add(&fault->seen, 1) + 1;
    if (!fault->nth || (fault->sticky ? n < fault->nth : n != fault->nth))
        return false;
    if (atomic_compare_exchange_strong(&fault->struck, &none, call))
        fault->struck_point = point;
    return true;
}

int plk_fault_strike(PlkFault *fault, PlkPoint point, const char *call, bool opens)
{
    return strikes(fault, point, call, opens) ? -fault->errnum : 0;
}

/* For calls that cannot be shortened. */
static int verdict(PlkFault *fault, PlkPoint point, const char *call)
{
    return plk_fault_strike(fault, point, call, false);
}

/* For transfers: an error, or how much of len may pass. One byte at least: zero would mean end of file. */
static ssize_t allowance(PlkFault *fault, size_t len, PlkPoint point, const char *call)
{
    if (!strikes(fault, point, call, false))
        return (ssize_t)len;
    if (fault->errnum)
        return -fault->errnum;
    return (ssize_t)PLK_MIN(len, PLK_MAX(fault->max_transfer, (size_t)1));
}

/* ---- files ---- */

static ssize_t fault_read(PlkIo *io, void *buf, size_t len, uint64_t off, PlkPoint point)
{
    ssize_t n = allowance(fault_of(io)->fault, len, point, "read");

    return n < 0 ? n : next_of(io)->ops->read(next_of(io), buf, (size_t)n, off, point);
}

static ssize_t fault_write(PlkIo *io, const void *buf, size_t len, uint64_t off, PlkPoint point)
{
    ssize_t n = allowance(fault_of(io)->fault, len, point, "write");

    return n < 0 ? n : next_of(io)->ops->write(next_of(io), buf, (size_t)n, off, point);
}

static int fault_sync(PlkIo *io, PlkPoint point)
{
    int r = verdict(fault_of(io)->fault, point, "sync");

    return r < 0 ? r : next_of(io)->ops->sync(next_of(io), point);
}

static int fault_size(PlkIo *io, uint64_t *ret)
{
    int r = verdict(fault_of(io)->fault, PLK_POINT_NONE, "size");

    return r < 0 ? r : next_of(io)->ops->size(next_of(io), ret);
}

static int fault_truncate(PlkIo *io, uint64_t size, PlkPoint point)
{
    int r = verdict(fault_of(io)->fault, point, "truncate");

    return r < 0 ? r : next_of(io)->ops->truncate(next_of(io), size, point);
}

static int fault_punch(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    PlkIo *next = next_of(io);
    int r = next->ops->punch ? verdict(fault_of(io)->fault, point, "punch") : -EOPNOTSUPP;

    return r < 0 ? r : next->ops->punch(next, off, len, point);
}

static int fault_allocate(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    PlkIo *next = next_of(io);
    int r = next->ops->allocate ? verdict(fault_of(io)->fault, point, "allocate") : -EOPNOTSUPP;

    return r < 0 ? r : next->ops->allocate(next, off, len, point);
}

static int fault_clone_range(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, uint64_t len,
                             PlkPoint point)
{
    PlkIo *next = next_of(dst);
    int r = next->ops->clone_range ? verdict(fault_of(dst)->fault, point, "clone") : -EOPNOTSUPP;

    return r < 0 ? r : next->ops->clone_range(next, dst_off, unwrap(src), src_off, len, point);
}

static ssize_t fault_copy_range(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, size_t len,
                                PlkPoint point)
{
    PlkIo *next = next_of(dst);
    ssize_t n = next->ops->copy_range ? allowance(fault_of(dst)->fault, len, point, "copy") : -EOPNOTSUPP;

    return n < 0 ? n : next->ops->copy_range(next, dst_off, unwrap(src), src_off, (size_t)n, point);
}

static int fault_next_data(PlkIo *io, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
    PlkIo *next = next_of(io);
    int r = next->ops->next_data ? verdict(fault_of(io)->fault, PLK_POINT_NONE, "next-data") : -EOPNOTSUPP;

    return r < 0 ? r : next->ops->next_data(next, off, ret_start, ret_end);
}

static int fault_lock(PlkIo *io, PlkIoLock mode)
{
    int r = verdict(fault_of(io)->fault, PLK_POINT_NONE, "lock");

    return r < 0 ? r : next_of(io)->ops->lock(next_of(io), mode);
}

static int fault_lock_test(PlkIo *io, PlkIoLock mode)
{
    int r = verdict(fault_of(io)->fault, PLK_POINT_NONE, "lock-test");

    return r < 0 ? r : next_of(io)->ops->lock_test(next_of(io), mode);
}

static int fault_drop_cache(PlkIo *io)
{
    return plk_io_drop_cache(next_of(io));
}

static int fault_fd(PlkIo *io)
{
    return plk_io_fd(next_of(io));
}

static void fault_close(PlkIo *io)
{
    plk_io_close(next_of(io));
    free(io);
}

static const PlkIoOps fault_ops = {
    .struct_size = sizeof(PlkIoOps),
    .name = "fault",
    .read = fault_read,
    .write = fault_write,
    .sync = fault_sync,
    .size = fault_size,
    .truncate = fault_truncate,
    .punch = fault_punch,
    .allocate = fault_allocate,
    .clone_range = fault_clone_range,
    .copy_range = fault_copy_range,
    .next_data = fault_next_data,
    .lock = fault_lock,
    .lock_test = fault_lock_test,
    .drop_cache = fault_drop_cache,
    .fd = fault_fd,
    .close = fault_close,
};

/* ---- directories ---- */

static inline FaultDir *faultdir_of(PlkDir *dir)
{
    return (FaultDir *)dir;
}

/* Takes `next` over, also on failure. */
static int wrap_io(FaultDir *dir, PlkIo *next, PlkIo **ret)
{
    FaultIo *wrapped = plk_calloc(1, sizeof *wrapped);

    if (!wrapped || !plk_io_init(&wrapped->io, &fault_ops, next->name, next->writable)) {
        free(wrapped);
        plk_io_close(next);
        return -ENOMEM;
    }
    wrapped->next = next;
    wrapped->fault = dir->fault;
    *ret = &wrapped->io;
    return 0;
}

static int faultdir_open(PlkDir *dir, const char *path, unsigned flags, mode_t mode, PlkIo **ret)
{
    FaultDir *fd = faultdir_of(dir);
    PlkIo *next;
    int r = plk_fault_strike(fd->fault, flags & PLK_OPEN_CREATE ? PLK_POINT_DIR_CREATE : PLK_POINT_NONE, "open",
                             true);

    if (r == 0)
        r = plk_dir_open_file(fd->next, path, flags, mode, &next);
    return r < 0 ? r : wrap_io(fd, next, ret);
}

static int faultdir_create_unnamed(PlkDir *dir, mode_t mode, PlkIo **ret)
{
    FaultDir *fd = faultdir_of(dir);
    PlkIo *next;
    int r = plk_fault_strike(fd->fault, PLK_POINT_DIR_CREATE, "create", true);

    if (r == 0)
        r = plk_dir_create_unnamed(fd->next, mode, &next);
    return r < 0 ? r : wrap_io(fd, next, ret);
}

static int faultdir_link(PlkDir *dir, PlkIo *unnamed, const char *path)
{
    int r = verdict(faultdir_of(dir)->fault, PLK_POINT_DIR_CREATE, "link");

    return r < 0 ? r : plk_dir_link(faultdir_of(dir)->next, unwrap(unnamed), path);
}

static int faultdir_rename(PlkDir *dir, const char *from, const char *to, bool replace)
{
    int r = verdict(faultdir_of(dir)->fault, PLK_POINT_DIR_RENAME, "rename");

    return r < 0 ? r : plk_dir_rename(faultdir_of(dir)->next, from, to, replace);
}

static int faultdir_unlink(PlkDir *dir, const char *path)
{
    int r = verdict(faultdir_of(dir)->fault, PLK_POINT_DIR_UNLINK, "unlink");

    return r < 0 ? r : plk_dir_unlink(faultdir_of(dir)->next, path);
}

static int faultdir_exists(PlkDir *dir, const char *path)
{
    int r = verdict(faultdir_of(dir)->fault, PLK_POINT_NONE, "exists");

    return r < 0 ? r : plk_dir_exists(faultdir_of(dir)->next, path);
}

static int faultdir_include(PlkDir *dir, const char *path)
{
    int r = verdict(faultdir_of(dir)->fault, PLK_POINT_NONE, "include");

    return r < 0 ? r : plk_dir_include(faultdir_of(dir)->next, path);
}

static int faultdir_sync(PlkDir *dir)
{
    int r = verdict(faultdir_of(dir)->fault, PLK_POINT_DIR_SYNC, "sync-dir");

    return r < 0 ? r : plk_dir_sync(faultdir_of(dir)->next);
}

static int faultdir_list(PlkDir *dir, int (*each)(void *arg, const char *name), void *arg)
{
    int r = plk_fault_strike(faultdir_of(dir)->fault, PLK_POINT_NONE, "list", true);

    return r < 0 ? r : plk_dir_list(faultdir_of(dir)->next, each, arg);
}

static int faultdir_free_space(PlkDir *dir, uint64_t *ret)
{
    int r = verdict(faultdir_of(dir)->fault, PLK_POINT_NONE, "free-space");

    return r < 0 ? r : plk_dir_free_space(faultdir_of(dir)->next, ret);
}

static int faultdir_flock(PlkDir *dir, const char *path, int timeout_ms, PlkIo **ret_held)
{
    FaultDir *fd = faultdir_of(dir);
    PlkIo *next;
    int r = plk_fault_strike(fd->fault, PLK_POINT_NONE, "flock", true);

    if (r == 0)
        r = plk_dir_flock(fd->next, path, timeout_ms, &next);
    return r < 0 ? r : wrap_io(fd, next, ret_held);
}

static void faultdir_close(PlkDir *dir)
{
    if (!faultdir_of(dir)->borrowed)
        plk_dir_close(faultdir_of(dir)->next);
    free(dir);
}

static const PlkDirOps faultdir_ops = {
    .struct_size = sizeof(PlkDirOps),
    .name = "fault",
    .open = faultdir_open,
    .create_unnamed = faultdir_create_unnamed,
    .link = faultdir_link,
    .rename = faultdir_rename,
    .unlink = faultdir_unlink,
    .exists = faultdir_exists,
    .include = faultdir_include,
    .sync = faultdir_sync,
    .list = faultdir_list,
    .free_space = faultdir_free_space,
    .flock = faultdir_flock,
    .close = faultdir_close,
};

static int wrap_dir(PlkDir *next, bool borrowed, PlkFault *fault, PlkDir **ret)
{
    FaultDir *fd = plk_calloc(1, sizeof *fd);

    if (!fd)
        return -ENOMEM;
    fd->dir.ops = &faultdir_ops;
    fd->dir.path = plk_strdup(next->path);
    fd->dir.root = plk_strdup(next->root);
    if (!fd->dir.path || !fd->dir.root) {
        free(fd->dir.path);
        free(fd->dir.root);
        free(fd);
        return -ENOMEM;
    }
    fd->next = next;
    fd->borrowed = borrowed;
    fd->fault = fault;
    *ret = &fd->dir;
    return 0;
}

int plk_dir_wrap_fault(PlkDir *next, PlkFault *fault, PlkDir **ret)
{
    return wrap_dir(next, false, fault, ret);
}

int plk_dir_borrow_fault(PlkDir *next, PlkFault *fault, PlkDir **ret)
{
    return wrap_dir(next, true, fault, ret);
}
