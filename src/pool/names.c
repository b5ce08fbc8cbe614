/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reservations: open file description locks, which hold between threads too, can be asked about without being taken,
 * and grow from shared to exclusive in one step. One counts only if the name still leads to the file that is locked.
 */
#include "pool/names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "pool/private.h"

#define HOLDER_BYTES 128
#define TRIES 1000

struct PlkReservation {
    int fd;       /* -1: there is no file */
    int pool_dir; /* borrowed */
    char *name;
};

/* Whose words these are; control characters would end up in messages. */
static void read_holder(int fd, char *ret, size_t size)
{
    ssize_t n = pread(fd, ret, size - 1, 0);

    ret[n > 0 ? n : 0] = '\0';
    g_strchomp(ret);
    g_strdelimit(ret, "\n\r\t", ' ');
    if (!*ret)
        g_strlcpy(ret, "somebody who just came", size);
}

static void write_holder(int fd, const char *kind)
{
    char text[HOLDER_BYTES];
    int n = snprintf(text, sizeof text, "%s by %s (pid %d)\n", kind, program_invocation_short_name, (int)getpid());

    /* Only a courtesy to those who find it locked. */
    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)MIN(n, (int)sizeof text - 1), 0) < 0)
        return;
}

static bool still_named(int dir, const char *name, int fd)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && fstatat(dir, name, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

/* 0, or -EBUSY: somebody holds one that excludes it. */
static int set_lock(int fd, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET};

    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

/* The locked file; -ESTALE when it is to be tried again. */
static int try_lock(int dir, const char *name, bool exclusive, char holder[HOLDER_BYTES])
{
    PLK_CLOSE int fd = plk_private_open_file(dir, name, O_RDWR | O_CREAT);
    int r;

    if (fd < 0)
        return fd == -ENOENT ? -ESTALE : fd;
    r = set_lock(fd, exclusive ? F_WRLCK : F_RDLCK);
    if (r == -EBUSY)
        read_holder(fd, holder, HOLDER_BYTES);
    if (r < 0)
        return r;
    return still_named(dir, name, fd) ? PLK_TAKE_FD(fd) : -ESTALE;
}

static int lock_name(int pool_dir, const char *name, bool exclusive, char holder[HOLDER_BYTES])
{
    int r = -ESTALE;

    for (int i = 0; i < TRIES && r == -ESTALE; i++) {
        PLK_CLOSE int dir = plk_private_open(pool_dir, PLK_PRIVATE_NAMES, true);

        r = dir < 0 ? dir : try_lock(dir, name, exclusive, holder);
    }
    return r;
}

/*
 * On a full disk there is no room for the reservation either. What makes room goes on without one: who has the name
 * already is found by his file, and nobody else can get one.
 */
static bool can_do_without(int error, const char *kind, bool exclusive)
{
    if (exclusive)
        return (error == -ENOSPC || error == -EDQUOT) && strcmp(kind, "delete") == 0;
    return error == -EROFS || error == -EACCES || error == -EPERM || error == -ENOSPC || error == -EDQUOT;
}

int plk_name_reserve(int pool_dir, const char *name, const char *kind, bool exclusive, PlkReservation **ret,
                     PlkError *err)
{
    char holder[HOLDER_BYTES] = "";
    int fd = lock_name(pool_dir, name, exclusive, holder);

    if (fd == -EBUSY)
        return plk_fail(err, PLK_ERROR_STATE, "volume '%s' is in use: %s", name, holder);
    if (fd < 0 && !can_do_without(fd, kind, exclusive))
        return plk_fail_io(err, PLK_ERROR_SYSTEM, fd, "cannot reserve the name '%s'", name);
    if (fd >= 0)
        write_holder(fd, kind);
    *ret = g_new0(PlkReservation, 1);
    **ret = (PlkReservation){.fd = MAX(fd, -1), .pool_dir = pool_dir, .name = g_strdup(name)};
    return 0;
}

/* The last one out removes the file: only who has it alone may. */
void plk_name_release(PlkReservation *reservation, bool tidy)
{
    PLK_CLOSE int dir = -1;

    if (!reservation)
        return;
    if (reservation->fd >= 0) {
        dir = plk_private_open(reservation->pool_dir, PLK_PRIVATE_NAMES, false);
        if (dir >= 0 && set_lock(reservation->fd, F_WRLCK) == 0 &&
            still_named(dir, reservation->name, reservation->fd))
            unlinkat(dir, reservation->name, 0);
        close(reservation->fd);
        if (tidy)
            plk_private_tidy(reservation->pool_dir, PLK_PRIVATE_NAMES);
    }
    g_free(reservation->name);
    g_free(reservation);
}

/* ---- looking ---- */

static bool is_held(int dir, const char *name, char *ret, size_t size)
{
    PLK_CLOSE int fd = plk_private_open_file(dir, name, O_RDONLY);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return false;
    read_holder(fd, ret, size);
    return true;
}

bool plk_name_holder(int pool_dir, const char *name, char *ret, size_t size)
{
    PLK_CLOSE int dir = plk_private_open(pool_dir, PLK_PRIVATE_NAMES, false);

    return dir >= 0 && is_held(dir, name, ret, size);
}

void plk_names_each(int pool_dir, void (*each)(void *arg, const char *name, const char *holder), void *arg)
{
    int dir = plk_private_open(pool_dir, PLK_PRIVATE_NAMES, false);
    char holder[HOLDER_BYTES];
    struct dirent *e;
    DIR *d;

    if (dir < 0)
        return;
    d = fdopendir(dir);
    if (!d) {
        close(dir);
        return;
    }
    while ((e = readdir(d)))
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && is_held(dirfd(d), e->d_name, holder, sizeof holder))
            each(arg, e->d_name, holder);
    closedir(d);
}
