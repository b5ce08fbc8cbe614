/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who owns the state. runtime/driver.pid carries the record lock on byte 0 that libvirt's daemons take: exclusive of a daemon,
 * shared of commands. Open file description locks collide with libvirt's and, unlike those, do not vanish when
 * somebody in this process closes another descriptor of the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/error.h"
#include "pool/pool.h"

static struct flock first_byte(short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
}

/* The pid in the file, written by the daemon that owns it; 0 = it has not written yet, or commands are at work. */
static pid_t written_pid(int fd)
{
    char text[16] = "";

    return pread(fd, text, sizeof(text) - 1, 0) > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

/* Whose exclusive lock it is; 0 = nobody's. -1 = there is one, of an unknown process. libvirt's daemons lock as a process does,
 * which shows its pid; ours by a description of the file, which does not. */
static pid_t find_owner(int fd, bool *ret_libvirt)
{
    struct flock lock = first_byte(F_RDLCK);
    pid_t pid;

    *ret_libvirt = false;
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK)
        return 0;
    *ret_libvirt = lock.l_pid > 0;
    pid = *ret_libvirt ? lock.l_pid : written_pid(fd);
    return pid > 0 ? pid : -1;
}

static int note_owner(PlkStorage *storage, const char *path, PlkError *err)
{
    PLK_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot open '%s'", path);
    storage->foreign_owner = find_owner(fd, &storage->owner_is_libvirt);
    return 0;
}

static bool still_named(int fd, const char *path)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* A daemon that ends unlinks its file: a lock on a file without a name is worth nothing, so look again. */
static int open_locked(const char *path, short type, int *ret_fd)
{
    for (;;) {
        PLK_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        struct flock lock = first_byte(type);

        if (fd < 0)
            return -errno;
        if (fcntl(fd, F_OFD_SETLK, &lock) != 0)
            return -errno;
        if (!still_named(fd, path))
            continue;
        *ret_fd = PLK_TAKE_FD(fd);
        return 0;
    }
}

static int fail_owned(pid_t pid, const char *dir, PlkError *err)
{
    if (pid > 0)
        return plk_fail(err, PLK_ERROR_READ_ONLY, "the storage state in '%s' belongs to the process with pid %d", dir,
                        (int)pid);
    return plk_fail(err, PLK_ERROR_READ_ONLY, "the storage state in '%s' is in use by another process", dir);
}

static int write_pid(int fd, PlkError *err)
{
    char text[16];
    int length = snprintf(text, sizeof(text), "%d", (int)getpid());

    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, length, 0) != length)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot write driver.pid");
    return 0;
}

int plk_owner_take(PlkStorage *storage, PlkError *err)
{
    g_autofree char *path = g_build_filename(storage->runtime_dir, "driver.pid", NULL);
    bool daemon = storage->role == PLK_STORAGE_DAEMON;
    int result;

    if (storage->role == PLK_STORAGE_LOOK) {
        (void)note_owner(storage, path, NULL); /* no such file: nobody's */
        return 0;
    }
    result = open_locked(path, daemon ? F_WRLCK : F_RDLCK, &storage->owner_fd);
    if (result == -EAGAIN || result == -EACCES) {
        if (note_owner(storage, path, err) != 0)
            return -1;
        /* A command still looks; a daemon that cannot own has no business here. */
        return daemon ? fail_owned(storage->foreign_owner, storage->runtime_dir, err) : 0;
    }
    if (result != 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, -result, "cannot lock '%s'", path);
    return daemon ? write_pid(storage->owner_fd, err) : 0;
}

static char *announcement(PlkStorage *storage)
{
    return g_build_filename(storage->private_dir, "socket", NULL);
}

void plk_owner_release(PlkStorage *storage)
{
    g_autofree char *path = g_build_filename(storage->runtime_dir, "driver.pid", NULL);

    if (storage->owner_fd < 0)
        return;
    if (storage->role == PLK_STORAGE_DAEMON) {
        g_autofree char *socket = announcement(storage);

        unlink(socket);
        unlink(path);
    }
    close(PLK_TAKE_FD(storage->owner_fd));
}

int plk_storage_need_write(PlkStorage *storage, PlkError *err)
{
    if (storage->owner_fd >= 0)
        return 0;
    if (storage->role == PLK_STORAGE_LOOK)
        return plk_fail(err, PLK_ERROR_READ_ONLY, "the storage was opened for looking only");
    return fail_owned(storage->foreign_owner, storage->runtime_dir, err);
}

int plk_storage_need_volume_write(PlkStorage *storage, PlkError *err)
{
    bool beside = storage->role == PLK_STORAGE_COMMAND && storage->foreign_owner && !storage->owner_is_libvirt;

    return beside ? 0 : plk_storage_need_write(storage, err);
}

/* ---- where the owner is to be asked ---- */

int plk_storage_announce(PlkStorage *storage, const char *socket_path, PlkError *err)
{
    g_autofree char *path = announcement(storage), *absolute = g_canonicalize_filename(socket_path, NULL);
    g_autoptr(GError) why = NULL;

    if (g_file_set_contents(path, absolute, -1, &why))
        return 0;
    return plk_fail(err, PLK_ERROR_SYSTEM, "%s", why->message);
}

char *plk_storage_daemon_socket(PlkStorage *storage)
{
    g_autofree char *path = announcement(storage);
    char *socket = NULL;

    if (storage->owner_fd >= 0 || !storage->foreign_owner || storage->owner_is_libvirt)
        return NULL;
    return g_file_get_contents(path, &socket, NULL, NULL) ? socket : NULL;
}

/* ---- locks between commands ---- */

static int open_lock_file(const char *path, int *ret_fd, PlkError *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot open '%s'", path);
    *ret_fd = fd;
    return 0;
}

static int flock_state(PlkStorage *storage, PlkError *err)
{
    g_autofree char *path = g_build_filename(storage->private_dir, "state.lock", NULL);
    PLK_CLOSE int fd = -1;

    if (open_lock_file(path, &fd, err) != 0)
        return -1;
    while (flock(fd, LOCK_EX) != 0)
        if (errno != EINTR)
            return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot lock '%s'", path);
    storage->change_fd = PLK_TAKE_FD(fd);
    return 0;
}

int plk_state_lock(PlkStorage *storage, PlkError *err)
{
    pthread_mutex_lock(&storage->change_lock);
    /* A daemon has no other processes beside it. */
    if (storage->change_depth == 0 && storage->role == PLK_STORAGE_COMMAND && flock_state(storage, err) != 0) {
        pthread_mutex_unlock(&storage->change_lock);
        return -1;
    }
    storage->change_depth++;
    return 0;
}

void plk_state_unlock(PlkStorage *storage)
{
    if (--storage->change_depth == 0 && storage->change_fd >= 0)
        close(PLK_TAKE_FD(storage->change_fd));
    pthread_mutex_unlock(&storage->change_lock);
}

/* ---- turns of commands: one byte of one file a name, so that there is nothing to clear away ---- */

static struct flock turn_byte(const char *name, short type)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a: stable between programs, 62 bits of it */

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return (struct flock){
        .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)(hash & 0x3fffffffffffffffu), .l_len = 1};
}

int plk_owner_lock_turn(PlkPool *pool, const char *what, int *ret_fd, PlkError *err)
{
    g_autofree char *path = g_build_filename(pool->storage->private_dir, "turns", NULL);
    struct flock lock = turn_byte(pool->name, F_WRLCK);
    PLK_CLOSE int fd = -1;

    *ret_fd = -1;
    if (pool->storage->role == PLK_STORAGE_DAEMON)
        return 0;
    if (open_lock_file(path, &fd, err) != 0)
        return -1;
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        if (errno == EAGAIN || errno == EACCES)
            return plk_fail(err, PLK_ERROR_STATE, "cannot %s pool '%s': another command is changing it", what,
                            pool->name);
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno, "cannot lock '%s'", path);
    }
    *ret_fd = PLK_TAKE_FD(fd);
    return 0;
}

bool plk_owner_turn_taken(PlkStorage *storage, const char *name)
{
    g_autofree char *path = g_build_filename(storage->private_dir, "turns", NULL);
    PLK_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct flock lock = turn_byte(name, F_RDLCK);

    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}
