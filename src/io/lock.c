/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's image locks. First all bytes are locked, shared, which never fails among well-behaved users;
 * then each opposite byte is tested: a byte that somebody else holds there is the conflict. Two openers
 * that come at the same instant may both be refused, but never both be let in.
 *
 * The locks belong to the open file description (F_OFD_*): closing another descriptor of the same file
 * in this process does not drop them, as it would with POSIX record locks.
 */
#include "io/lock.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/debug.h"

#define USE_BASE 100
#define FORBID_BASE 200

/* Bit n = permission n. */
enum { CONSISTENT_READ = 1 << 0, WRITE = 1 << 1, RESIZE = 1 << 3, PERMISSIONS = 4 };

typedef struct Permissions {
    unsigned use, forbid;
} Permissions;

static const Permissions permissions[] = {
    [PLK_IO_LOCK_NONE] = {0, 0},
    [PLK_IO_LOCK_SHARED] = {CONSISTENT_READ, WRITE | RESIZE},
    [PLK_IO_LOCK_EXCLUSIVE] = {CONSISTENT_READ | WRITE | RESIZE, WRITE | RESIZE},
};

static int set_byte(int fd, off_t byte, short type)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

/* Does anybody else hold a lock, of any kind, on the byte? -EAGAIN if so. */
static int test_byte(int fd, off_t byte)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    if (fcntl(fd, F_OFD_GETLK, &fl) < 0)
        return -errno;
    return fl.l_type == F_UNLCK ? 0 : -EAGAIN;
}

/* Set (F_RDLCK) or drop (F_UNLCK) the bytes of a set of permissions; what has been set stays after a failure.
 */
static int set_bytes(int fd, Permissions p, short type)
{
    int r = 0;

    for (unsigned n = 0; n < PERMISSIONS; n++) {
        if (r == 0 && (p.use & 1u << n))
            r = set_byte(fd, USE_BASE + n, type);
        if (r == 0 && (p.forbid & 1u << n))
            r = set_byte(fd, FORBID_BASE + n, type);
    }
    return r;
}

static Permissions without(Permissions a, Permissions b)
{
    return (Permissions){a.use & ~b.use, a.forbid & ~b.forbid};
}

int plk_lock_fd_test(int fd, PlkIoLock mode)
{
    Permissions p = permissions[mode];
    int r = 0;

    for (unsigned n = 0; n < PERMISSIONS && r == 0; n++) {
        if (p.use & 1u << n)
            r = test_byte(fd, FORBID_BASE + n);
        if (r == 0 && (p.forbid & 1u << n))
            r = test_byte(fd, USE_BASE + n);
    }
    return r;
}

int plk_lock_fd_change(int fd, PlkIoLock held, PlkIoLock mode)
{
    Permissions added = without(permissions[mode], permissions[held]);
    Permissions gone = without(permissions[held], permissions[mode]);
    int r = plk_lock_fd_test(fd, mode); /* a lost cause must not disturb others even for a moment */

    if (r == 0) {
        r = set_bytes(fd, added, F_RDLCK);
        if (r == 0)
            r = plk_lock_fd_test(fd, mode);
        if (r < 0)
            set_bytes(fd, added, F_UNLCK);
    }
    if (r == 0)
        r = set_bytes(fd, gone, F_UNLCK);
    plk_debug(PLK_DEBUG_LOCK, "fd %d: mode %d to %d: %s", fd, held, mode, r ? strerror(-r) : "done");
    return r;
}

int plk_lock_fd(int fd, PlkIoLock mode)
{
    if (mode == PLK_IO_LOCK_NONE)
        return plk_lock_fd_change(fd, PLK_IO_LOCK_EXCLUSIVE, PLK_IO_LOCK_NONE);
    return plk_lock_fd_change(fd, PLK_IO_LOCK_NONE, mode);
}

/* ---- who is it? ---- */

/* The search: what is known about the best candidate so far. */
typedef struct Owner {
    int fd;
    struct statx file;
    pid_t pid;     /* 0 = none yet */
    bool has_lock; /* it holds a lock on the file, rather than merely having it open */
} Owner;

static bool is_same_file(const Owner *o, int proc, const char *pid, const char *fd)
{
    char path[64];
    struct statx stx;

    /* DONT_SYNC: somebody else's descriptor may lead to a dead server. */
    if (snprintf(path, sizeof path, "%s/fd/%s", pid, fd) >= (int)sizeof path ||
        statx(proc, path, AT_STATX_DONT_SYNC, STATX_INO, &stx) < 0)
        return false;
    return stx.stx_ino == o->file.stx_ino && stx.stx_dev_major == o->file.stx_dev_major &&
           stx.stx_dev_minor == o->file.stx_dev_minor;
}

/* The kernel lists the locks of an open file description in its fdinfo. */
static bool holds_lock(int proc, const char *pid, const char *fd)
{
    char path[64], text[4096];
    PLK_CLOSE int info = -1;
    ssize_t n;

    snprintf(path, sizeof path, "%.20s/fdinfo/%.20s", pid, fd);
    info = openat(proc, path, O_RDONLY | O_CLOEXEC);
    n = info < 0 ? -1 : read(info, text, sizeof text - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return strstr(text, "lock:") != NULL;
}

/* Does the descriptor share our own open file description? If the kernel does not tell, suppose so. */
static bool is_ourselves(const Owner *o, pid_t pid, const char *fd)
{
    int other = atoi(fd);

    if (pid != getpid())
        return false;
    return other == o->fd || syscall(SYS_kcmp, pid, pid, KCMP_FILE, o->fd, other) <= 0;
}

static void look_into_process(Owner *o, int proc, const char *name)
{
    pid_t pid = (pid_t)atol(name);
    char path[64];
    int fd;
    DIR *fds;

    snprintf(path, sizeof path, "%.20s/fd", name);
    fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fds = fd < 0 ? NULL : fdopendir(fd);
    if (!fds) {
        plk_closep(&fd);
        return;
    }
    for (struct dirent *e; !o->has_lock && (e = readdir(fds));) {
        bool locked;

        if (!isdigit((unsigned char)e->d_name[0]) || !is_same_file(o, proc, name, e->d_name) ||
            is_ourselves(o, pid, e->d_name))
            continue;
        locked = holds_lock(proc, name, e->d_name);
        if (locked || (!o->pid && pid != getpid())) /* of ourselves, what merely has it open is no news */
            o->pid = pid;
        o->has_lock = locked;
    }
    closedir(fds);
}

static void find_owner(Owner *o)
{
    DIR *proc = opendir("/proc");

    if (!proc)
        return;
    for (struct dirent *e; !o->has_lock && (e = readdir(proc));)
        if (isdigit((unsigned char)e->d_name[0]))
            look_into_process(o, dirfd(proc), e->d_name);
    closedir(proc);
}

static void read_command(pid_t pid, char *buf, size_t len)
{
    char path[32];
    PLK_CLOSE int fd = -1;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, buf, len - 1);
    if (n < 0)
        n = 0;
    buf[n] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
}

const char *plk_lock_owner(int fd, char *buf, size_t len)
{
    Owner o = {.fd = fd};
    char command[64];

    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &o.file) == 0)
        find_owner(&o);
    if (o.pid == getpid()) {
        snprintf(buf, len, "this process");
    } else if (o.pid) {
        read_command(o.pid, command, sizeof command);
        snprintf(buf, len, "%s (pid %d)", *command ? command : "process", (int)o.pid);
    } else {
        snprintf(buf, len, "another process");
    }
    return buf;
}
