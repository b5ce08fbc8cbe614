/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The view through FUSE: a filesystem of one file, served by a thread of this process.
 *
 * Root makes the mount with fsmount() and never attaches it. Others need fusermount3 and a directory: it is
 * attached for as long as it takes to open its root, then lazily detached. Either way the mount lives on in
 * that descriptor alone and dies with it.
 *
 * This process never asks the mount anything, not even for the file: the helper does. Were it killed while it waited
 * for its own answer (an open file asks when it is closed), it would hold the device whose end ends the waiting, and
 * so stay for ever, with its locks.
 *
 * The kernel caches reads but writes through, so that when the helper has ended every byte it wrote has
 * been answered by serve(); nothing is lost by stopping then.
 */
#define FUSE_USE_VERSION 312

#include "view/kinds.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/math.h"
#include "host/run.h"

#define FILE_NAME PLK_FUSE_FILE
#define FILE_INO 2
#define TIMEOUT 86400.0 /* nobody but the kernel changes anything */
#define BUFFER_BYTES (1u << 20)

struct PlkFuse {
    PlkWindow window;
    struct fuse_session *session;
    bool by_path;    /* mounted on a directory, by fusermount3 */
    uint64_t size;   /* of the file; serving thread only */
    uint8_t *buffer; /* of replies; serving thread only */
    int failed;      /* first -errno of the disk; read after the thread has ended */
    int stop;        /* eventfd */
    pthread_t thread;
    bool running;
};

/* ---- the file ---- */

static struct stat stat_of(const PlkFuse *f, fuse_ino_t ino)
{
    struct stat st = {.st_ino = ino, .st_uid = geteuid(), .st_gid = getegid()};

    if (ino == FUSE_ROOT_ID) {
        st.st_mode = S_IFDIR | 0700;
        st.st_nlink = 2;
    } else {
        st.st_mode = S_IFREG | (f->window.writable ? 0600 : 0400);
        st.st_nlink = 1;
        st.st_size = (off_t)f->size;
        st.st_blksize = 4096;
        st.st_blocks = (blkcnt_t)(f->size / 512);
    }
    return st;
}

/* An answer without contents; the disk's first failure is remembered. */
static void reply(PlkFuse *f, fuse_req_t req, int rc)
{
    if (rc && !f->failed)
        f->failed = rc;
    fuse_reply_err(req, -rc);
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    PlkFuse *f = fuse_req_userdata(req);
    struct fuse_entry_param entry = {.ino = FILE_INO, .attr_timeout = TIMEOUT, .entry_timeout = TIMEOUT};

    entry.attr = stat_of(f, FILE_INO);
    if (parent == FUSE_ROOT_ID && strcmp(name, FILE_NAME) == 0)
        fuse_reply_entry(req, &entry);
    else
        fuse_reply_err(req, ENOENT);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    struct stat st = stat_of(fuse_req_userdata(req), ino);

    fuse_reply_attr(req, &st, TIMEOUT);
}

/* The file gets longer, within the window: what a truncation once cut off must read as zeros now. */
static int extend(PlkFuse *f, uint64_t to)
{
    int rc = to > f->size ? plk_disk_zero(f->window.disk, f->window.offset + f->size, to - f->size) : 0;

    if (!rc)
        f->size = PLK_MAX(f->size, to);
    return rc;
}

static void on_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int which,
                       struct fuse_file_info *info)
{
    PlkFuse *f = fuse_req_userdata(req);
    struct stat st;
    uint64_t size = (uint64_t)attr->st_size;
    int rc = 0;

    if (which & FUSE_SET_ATTR_SIZE) {
        if (ino != FILE_INO || !f->window.writable || size > f->window.length) {
            fuse_reply_err(req, EFBIG);
            return;
        }
        rc = extend(f, size);
        if (!rc)
            f->size = size;
    }
    if (rc) {
        reply(f, req, rc);
        return;
    }
    st = stat_of(f, ino);
    fuse_reply_attr(req, &st, TIMEOUT);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    const PlkFuse *f = fuse_req_userdata(req);

    if (ino != FILE_INO)
        fuse_reply_err(req, EISDIR);
    else if (!f->window.writable && (info->flags & O_ACCMODE) != O_RDONLY)
        fuse_reply_err(req, EROFS);
    else {
        info->keep_cache = 1;
        fuse_reply_open(req, info);
    }
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t off, struct fuse_file_info *info)
{
    PlkFuse *f = fuse_req_userdata(req);
    uint64_t at = (uint64_t)off;
    int rc;

    len = at >= f->size ? 0 : PLK_MIN(PLK_MIN(len, BUFFER_BYTES), f->size - at);
    rc = len ? plk_disk_read(f->window.disk, f->buffer, len, f->window.offset + at) : 0;
    if (rc)
        reply(f, req, rc);
    else
        fuse_reply_buf(req, (const char *)f->buffer, len);
}

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t len, off_t off,
                     struct fuse_file_info *info)
{
    PlkFuse *f = fuse_req_userdata(req);
    uint64_t at = (uint64_t)off, end;
    int rc;

    if (PLK_ADD_OVERFLOW(at, len, &end) || end > f->window.length) {
        fuse_reply_err(req, EFBIG);
        return;
    }
    rc = extend(f, at);
    if (!rc)
        rc = plk_disk_write(f->window.disk, buf, len, f->window.offset + at);
    if (rc) {
        reply(f, req, rc);
        return;
    }
    f->size = PLK_MAX(f->size, end);
    fuse_reply_write(req, len);
}

static void on_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *info)
{
    PlkFuse *f = fuse_req_userdata(req);

    reply(f, req, f->window.writable ? plk_disk_flush(f->window.disk) : 0);
}

/* Holes: what e2fsprogs asks for when it discards or clears. */
static void on_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                         struct fuse_file_info *info)
{
    PlkFuse *f = fuse_req_userdata(req);
    uint64_t at = (uint64_t)off, end = at + (uint64_t)len;

    if (!(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) || !f->window.writable)
        fuse_reply_err(req, EOPNOTSUPP);
    else if (end > f->size && !(mode & FALLOC_FL_KEEP_SIZE))
        fuse_reply_err(req, EFBIG);
    else {
        end = PLK_MIN(end, f->size);
        reply(f, req, at < end ? plk_disk_zero(f->window.disk, f->window.offset + at, end - at) : 0);
    }
}

static const struct fuse_lowlevel_ops operations = {
    .lookup = on_lookup,
    .getattr = on_getattr,
    .setattr = on_setattr,
    .open = on_open,
    .read = on_read,
    .write = on_write,
    .fsync = on_fsync,
    .fallocate = on_fallocate,
};

/* ---- the serving thread ---- */

static void *serve(void *arg)
{
    PlkFuse *f = arg;
    struct fuse_buf request = {0};
    struct pollfd polled[2] = {
        {.fd = fuse_session_fd(f->session), .events = POLLIN},
        {.fd = f->stop, .events = POLLIN},
    };

    while (!fuse_session_exited(f->session)) {
        if (poll(polled, 2, -1) < 0 && errno != EINTR)
            break;
        if (polled[1].revents)
            break;
        int n = fuse_session_receive_buf(f->session, &request);
        if (n > 0)
            fuse_session_process_buf(f->session, &request);
        else if (n != -EINTR && n != -EAGAIN)
            break;
    }
    free(request.mem);
    return NULL;
}

/* Signals are the program's business, not this thread's. */
static int start_thread(PlkFuse *f, PlkError *err)
{
    sigset_t all, old;
    int fd = fuse_session_fd(f->session), rc;

    f->stop = eventfd(0, EFD_CLOEXEC);
    if (f->stop < 0 || fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
        return plk_fail_errno(err, PLK_ERROR_UNSUPPORTED, errno, "cannot serve a FUSE mount");
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&f->thread, NULL, serve, f);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc)
        return plk_fail_errno(err, PLK_ERROR_UNSUPPORTED, rc, "cannot serve a FUSE mount");
    f->running = true;
    return 0;
}

/* ---- mounting ---- */

/* A mount that is attached nowhere; *ret is its root directory. */
static int mount_detached(int device, int *ret)
{
    PLK_CLOSE int context = fsopen("fuse", FSOPEN_CLOEXEC);
    char fd[16], uid[16], gid[16];

    if (context < 0)
        return -1;
    snprintf(fd, sizeof fd, "%d", device);
    snprintf(uid, sizeof uid, "%u", (unsigned)geteuid());
    snprintf(gid, sizeof gid, "%u", (unsigned)getegid());
    const char *const settings[][2] = {
        {"source", "ploopkit"}, {"fd", fd}, {"rootmode", "40000"}, {"user_id", uid}, {"group_id", gid},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (fsconfig(context, FSCONFIG_SET_STRING, settings[i][0], settings[i][1], 0) < 0)
            return -1;
    if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -1;
    *ret = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    return *ret < 0 ? -1 : 0;
}

/* As root. The session takes the device over through libfuse's notation for an inherited descriptor. */
static int start_detached(PlkFuse *f, int *ret_fd, PlkError *err)
{
    PLK_CLOSE int device = open("/dev/fuse", O_RDWR | O_CLOEXEC), root = -1;
    char inherited[32];

    if (device < 0 || mount_detached(device, &root))
        return plk_fail_errno(err, PLK_ERROR_UNSUPPORTED, errno, "cannot make a FUSE mount");
    snprintf(inherited, sizeof inherited, "/dev/fd/%d", device);
    if (fuse_session_mount(f->session, inherited))
        return plk_fail(err, PLK_ERROR_UNSUPPORTED, "libfuse does not take a mount over");
    PLK_TAKE_FD(device);
    if (start_thread(f, err))
        return -1;
    *ret_fd = PLK_TAKE_FD(root);
    return 0;
}

static void detach(const char *dir)
{
    const char *args[] = {"-u", "-z", "-q", "--", dir, NULL};
    PlkRun run = {.program = "fusermount3", .args = args};

    plk_run_checked(&run, PLK_ERROR_HELPER, NULL);
}

static int start_mounted(PlkFuse *f, const char *dir, int *ret_fd, PlkError *err)
{
    PLK_CLOSE int root = -1;
    int rc;

    if (fuse_session_mount(f->session, dir))
        return plk_fail(err, PLK_ERROR_UNSUPPORTED, "cannot mount FUSE on '%s'", dir);
    f->by_path = true;
    rc = start_thread(f, err);
    if (!rc) {
        root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
            rc = plk_fail_errno(err, PLK_ERROR_UNSUPPORTED, errno, "cannot open a FUSE mount");
    }
    detach(dir);
    if (!rc)
        *ret_fd = PLK_TAKE_FD(root);
    return rc;
}

/* As anybody else. */
static int start_with_helper(PlkFuse *f, int *ret_fd, PlkError *err)
{
    const char *base = getenv("TMPDIR");
    PLK_FREE char *dir = plk_printf("%s/ploopkit-XXXXXX", base && *base == '/' ? base : "/tmp");
    char program[PLK_PROGRAM_PATH_MAX];
    int rc;

    if (access("/dev/fuse", R_OK | W_OK))
        return plk_fail_errno(err, PLK_ERROR_UNSUPPORTED, errno, "cannot use /dev/fuse");
    if (plk_find_program("fusermount3", program, err))
        return -1;
    if (!dir)
        return plk_fail_nomem(err);
    if (!mkdtemp(dir))
        return plk_fail_errno(err, PLK_ERROR_UNSUPPORTED, errno, "cannot create a directory to mount on");
    rc = start_mounted(f, dir, ret_fd, err);
    rmdir(dir);
    return rc;
}

int plk_fuse_start(const PlkWindow *window, PlkFuse **ret, int *ret_fd, PlkError *err)
{
    static char name[] = "ploopkit";
    char *words[] = {name, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, words);
    PlkFuse *f = plk_calloc(1, sizeof *f);
    int rc;

    if (!f)
        return plk_fail_nomem(err);
    f->window = *window;
    f->size = window->length;
    f->stop = -1;
    f->buffer = plk_malloc(BUFFER_BYTES);
    f->session = f->buffer ? fuse_session_new(&args, &operations, sizeof operations, f) : NULL;
    fuse_opt_free_args(&args);
    if (!f->session)
        rc = plk_fail_nomem(err);
    else
        rc = geteuid() == 0 ? start_detached(f, ret_fd, err) : start_with_helper(f, ret_fd, err);
    if (rc)
        plk_fuse_stop(f);
    else
        *ret = f;
    return rc;
}

int plk_fuse_stop(PlkFuse *f)
{
    int failed;

    if (f->running) {
        eventfd_write(f->stop, 1);
        pthread_join(f->thread, NULL);
    }
    failed = f->failed;
    /* Closing the device ends the connection, whoever may still hold the file. */
    if (f->session && f->by_path)
        fuse_session_unmount(f->session);
    if (f->session)
        fuse_session_destroy(f->session);
    plk_closep(&f->stop);
    free(f->buffer);
    free(f);
    return failed;
}
