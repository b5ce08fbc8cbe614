/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Real files: each operation is one system call, as partial as the kernel makes it; the gate in io.c
 * does the rest. The descriptor's file position is never used, so threads need no lock.
 */
#include "io/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "io/lock.h"

static inline PlkFile *file_of(PlkIo *io)
{
    return (PlkFile *)io;
}

static ssize_t file_read(PlkIo *io, void *buf, size_t len, uint64_t off, PlkPoint point)
{
    ssize_t n = pread(file_of(io)->fd, buf, len, (off_t)off);

    return n < 0 ? -errno : n;
}

static ssize_t file_write(PlkIo *io, const void *buf, size_t len, uint64_t off, PlkPoint point)
{
    ssize_t n = pwrite(file_of(io)->fd, buf, len, (off_t)off);

    return n < 0 ? -errno : n;
}

static int file_sync(PlkIo *io, PlkPoint point)
{
    return fdatasync(file_of(io)->fd) < 0 ? -errno : 0;
}

static int file_size(PlkIo *io, uint64_t *ret)
{
    struct stat st;

    if (fstat(file_of(io)->fd, &st) < 0)
        return -errno;
    *ret = (uint64_t)st.st_size;
    return 0;
}

static int file_truncate(PlkIo *io, uint64_t size, PlkPoint point)
{
    return ftruncate(file_of(io)->fd, (off_t)size) < 0 ? -errno : 0;
}

/* Kernels and filesystems have several ways to say that they cannot. */
static int fallocate_result(int r)
{
    if (r == 0)
        return 0;
    if (errno == ENOSYS || errno == ENODEV || errno == EOPNOTSUPP)
        return -EOPNOTSUPP;
    return -errno;
}

static int file_punch(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    return fallocate_result(
        fallocate(file_of(io)->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len));
}

static int file_allocate(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    return fallocate_result(fallocate(file_of(io)->fd, 0, (off_t)off, (off_t)len));
}

static int file_clone_range(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, uint64_t len,
                            PlkPoint point)
{
    struct file_clone_range range = {.src_offset = src_off, .src_length = len, .dest_offset = dst_off};

    if (!plk_file_of(src))
        return -EXDEV;
    range.src_fd = file_of(src)->fd;
    if (ioctl(file_of(dst)->fd, FICLONERANGE, &range) == 0)
        return 0;
    return errno == ENOTTY ? -EOPNOTSUPP : -errno;
}

static ssize_t file_copy_range(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, size_t len,
                               PlkPoint point)
{
    off_t from = (off_t)src_off, to = (off_t)dst_off;
    ssize_t n;

    if (!plk_file_of(src))
        return -EXDEV;
    n = copy_file_range(file_of(src)->fd, &from, file_of(dst)->fd, &to, len, 0);
    return n < 0 ? -errno : n;
}

static int file_next_data(PlkIo *io, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
    int fd = file_of(io)->fd;
    off_t start = lseek(fd, (off_t)off, SEEK_DATA), end;

    if (start < 0 && errno == ENXIO) { /* only a hole from here on */
        uint64_t size;
        int r = file_size(io, &size);

        if (r == 0)
            *ret_start = *ret_end = size;
        return r;
    }
    end = start < 0 ? -1 : lseek(fd, start, SEEK_HOLE);
    if (end < 0)
        return errno == EINVAL ? -EOPNOTSUPP : -errno;
    *ret_start = (uint64_t)start;
    *ret_end = (uint64_t)end;
    return 0;
}

static int file_lock(PlkIo *io, PlkIoLock mode)
{
    PlkFile *file = file_of(io);
    int r = plk_lock_fd_change(file->fd, file->lock, mode);

    if (r == 0)
        file->lock = mode;
    return r;
}

static int file_lock_test(PlkIo *io, PlkIoLock mode)
{
    return plk_lock_fd_test(file_of(io)->fd, mode);
}

static int file_drop_cache(PlkIo *io)
{
    return -posix_fadvise(file_of(io)->fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int file_fd(PlkIo *io)
{
    return file_of(io)->fd;
}

static void file_close(PlkIo *io)
{
    PlkFile *file = file_of(io);

    if (file->temp_name)
        unlinkat(file->temp_dir, file->temp_name, 0);
    free(file->temp_name);
    plk_closep(&file->temp_dir);
    close(file->fd);
    free(file);
}

static const PlkIoOps file_ops = {
    .struct_size = sizeof(PlkIoOps),
    .name = "file",
    .read = file_read,
    .write = file_write,
    .sync = file_sync,
    .size = file_size,
    .truncate = file_truncate,
    .punch = file_punch,
    .allocate = file_allocate,
    .clone_range = file_clone_range,
    .copy_range = file_copy_range,
    .next_data = file_next_data,
    .lock = file_lock,
    .lock_test = file_lock_test,
    .drop_cache = file_drop_cache,
    .fd = file_fd,
    .close = file_close,
};

int plk_file_new(int fd, const char *name, bool writable, PlkFile **ret)
{
    PlkFile *file = plk_calloc(1, sizeof *file);

    assert(fd >= 0);
    if (!file || !plk_io_init(&file->io, &file_ops, name, writable)) {
        free(file);
        return -ENOMEM;
    }
    file->fd = fd;
    file->temp_dir = -1;
    *ret = file;
    return 0;
}

PlkFile *plk_file_of(PlkIo *io)
{
    return io->ops == &file_ops ? file_of(io) : NULL;
}
