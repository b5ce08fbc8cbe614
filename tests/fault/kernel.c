/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The calls of kernel.h. */
#include "kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/openat2.h>

Kernel kernel;

static bool is_word(const char *words, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = words; at && (at = strstr(at, word)); at += len)
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
            return true;
    return false;
}

static bool strikes(const char *call)
{
    if (!kernel.armed)
        return false;
    if (is_word(kernel.lacks, call)) {
        errno = kernel.lacks_errno;
        return true;
    }
    if ((kernel.only && !is_word(kernel.only, call)) || ++kernel.seen != kernel.fails)
        return false;
    kernel.struck = call;
    errno = kernel.fails_errno;
    return true;
}

/* ---- calls ---- */

#define WRAP(type, name, params, args, failed)                                                               \
    type __real_##name params;                                                                               \
    type __wrap_##name params;                                                                               \
    type __wrap_##name params                                                                                \
    {                                                                                                        \
        return strikes(#name) ? failed : __real_##name args;                                                 \
    }

WRAP(ssize_t, pread64, (int fd, void *buf, size_t len, off_t off), (fd, buf, len, off), -1)
WRAP(ssize_t, pwrite64, (int fd, const void *buf, size_t len, off_t off), (fd, buf, len, off), -1)
WRAP(ssize_t, read, (int fd, void *buf, size_t len), (fd, buf, len), -1)
WRAP(int, ftruncate64, (int fd, off_t size), (fd, size), -1)
WRAP(int, fallocate64, (int fd, int mode, off_t off, off_t len), (fd, mode, off, len), -1)
WRAP(int, fstat64, (int fd, struct stat *st), (fd, st), -1)
WRAP(int, stat64, (const char *path, struct stat *st), (path, st), -1)
WRAP(int, fstatat64, (int at, const char *path, struct stat *st, int flags), (at, path, st, flags), -1)
WRAP(int, fstatvfs64, (int fd, struct statvfs *st), (fd, st), -1)
WRAP(int, statx, (int at, const char *path, int flags, unsigned mask, struct statx *st),
     (at, path, flags, mask, st), -1)
WRAP(int, flock, (int fd, int how), (fd, how), -1)
WRAP(int, renameat, (int from_dir, const char *from, int to_dir, const char *to),
     (from_dir, from, to_dir, to), -1)
WRAP(int, renameat2, (int from_dir, const char *from, int to_dir, const char *to, unsigned flags),
     (from_dir, from, to_dir, to, flags), -1)
WRAP(int, unlinkat, (int at, const char *path, int flags), (at, path, flags), -1)
WRAP(ssize_t, copy_file_range, (int from, off_t *from_off, int to, off_t *to_off, size_t len, unsigned flags),
     (from, from_off, to, to_off, len, flags), -1)
WRAP(ssize_t, getrandom, (void *buf, size_t len, unsigned flags), (buf, len, flags), -1)
WRAP(char *, realpath, (const char *path, char *resolved), (path, resolved), NULL)
WRAP(DIR *, opendir, (const char *path), (path), NULL)
WRAP(DIR *, fdopendir, (int fd), (fd), NULL)
WRAP(struct dirent *, readdir64, (DIR * d), (d), NULL)

off_t __real_lseek64(int fd, off_t off, int whence);
off_t __wrap_lseek64(int fd, off_t off, int whence);
off_t __wrap_lseek64(int fd, off_t off, int whence)
{
    return strikes(whence == SEEK_DATA ? "SEEK_DATA" : "lseek") ? -1 : __real_lseek64(fd, off, whence);
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    return strikes("fsync") ? -1 : 0;
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    return strikes("fdatasync") ? -1 : 0;
}

int __real_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
int __wrap_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
int __wrap_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    if (strikes(flags & AT_EMPTY_PATH ? "AT_EMPTY_PATH" : "linkat"))
        return -1;
    return __real_linkat(from_dir, from, to_dir, to, flags);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    mode_t mode;
    va_list ap;

    va_start(ap, flags);
    mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return strikes("open") ? -1 : __real_open64(path, flags, mode);
}

int __real_openat64(int at, const char *path, int flags, ...);
int __wrap_openat64(int at, const char *path, int flags, ...);
int __wrap_openat64(int at, const char *path, int flags, ...)
{
    bool unnamed = (flags & O_TMPFILE) == O_TMPFILE;
    mode_t mode;
    va_list ap;

    va_start(ap, flags);
    mode = flags & O_CREAT || unnamed ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return strikes(unnamed ? "O_TMPFILE" : "openat") ? -1 : __real_openat64(at, path, flags, mode);
}

int __real_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...)
{
    void *arg;
    va_list ap;

    va_start(ap, cmd);
    arg = va_arg(ap, void *);
    va_end(ap);
    return strikes("fcntl") ? -1 : __real_fcntl64(fd, cmd, arg);
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    void *arg;
    va_list ap;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    return strikes(request == FICLONERANGE ? "FICLONERANGE" : "ioctl") ? -1 : __real_ioctl(fd, request, arg);
}

/* A kernel that lacks only O_TMPFILE has openat2 all the same. */
static const char *name_of(long number, const long args[5])
{
    if (number != SYS_openat2)
        return "kcmp";
    return (((const struct open_how *)args[2])->flags & O_TMPFILE) == O_TMPFILE &&
                   is_word(kernel.lacks, "O_TMPFILE")
               ? "O_TMPFILE"
               : "openat2";
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long args[5];
    va_list ap;

    va_start(ap, number);
    for (unsigned i = 0; i < 5; i++)
        args[i] = va_arg(ap, long);
    va_end(ap);
    if (kernel.armed && strikes(name_of(number, args)))
        return -1;
    return __real_syscall(number, args[0], args[1], args[2], args[3], args[4]);
}
