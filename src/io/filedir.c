/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Real directories. Every name is looked up beneath an open descriptor, of the volume directory where
 * the name lies in there and of the root otherwise, without following any link: by openat2() or, where
 * that is missing or forbidden, one component at a time. Since lookups start at descriptors, a volume
 * directory that is renamed while open goes on working.
 *
 * Directories other than the volume's in which names changed, or which were included, are remembered until the
 * next sync.
 */
#include "io/dir.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "io/file.h"
#include "io/path.h"

#define LOCK_POLL_MAX_MS 50

typedef struct FileDir {
    PlkDir dir;
    int root_fd;
    int volume_fd;
    pthread_mutex_t mutex;
    int *touched; /* under mutex: directories to sync beside the volume's */
    size_t touched_count;
} FileDir;

/* The directory a name lives in, and its last component. */
typedef struct Place {
    char *path; /* canonical */
    const char *base;
    int parent;
    bool own_parent; /* parent is not the volume directory and is ours to close */
} Place;

static inline FileDir *filedir_of(PlkDir *dir)
{
    return (FileDir *)dir;
}

/* ---- opening beneath a descriptor ---- */

static int open_component(int at, const char *name, int flags, mode_t mode)
{
    struct stat st;
    int fd = openat(at, name, flags | O_NOFOLLOW | O_CLOEXEC, mode), r = -errno;

    if (fd >= 0)
        return fd;
    /* With O_DIRECTORY the kernel says ENOTDIR even where the reason is a link. */
    if (r == -ENOTDIR && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        r = -ELOOP;
    return r;
}

/* For kernels and sandboxes without openat2. `rel` is canonical: no "..", no empty component. */
static int open_by_component(int at, const char *rel, int flags, mode_t mode)
{
    PLK_CLOSE int owned = -1;
    char name[NAME_MAX + 1];

    for (const char *slash; (slash = strchr(rel, '/')); rel = slash + 1) {
        size_t n = (size_t)(slash - rel);
        int next;

        if (n > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, rel, n);
        name[n] = '\0';
        next = open_component(at, name, O_PATH | O_DIRECTORY, 0);
        if (next < 0)
            return next;
        plk_closep(&owned);
        at = owned = next;
    }
    return open_component(at, rel, flags, mode);
}

/* A descriptor or -errno; "" is the directory itself. */
static int open_beneath(int at, const char *rel, int flags, mode_t mode)
{
    bool creates = flags & ((O_CREAT | O_TMPFILE) & ~O_DIRECTORY);
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC), /* O_NOFOLLOW would turn ELOOP into ENOTDIR */
        .mode = creates ? mode : 0,             /* anything else is an error */
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    if (!*rel)
        rel = ".";
    fd = syscall(SYS_openat2, at, rel, &how, sizeof how);
    if (fd >= 0)
        return (int)fd;
    if (errno == ENOSYS || errno == EPERM)
        return open_by_component(at, rel, flags, mode);
    return -errno;
}

/* Where to start for a canonical path beneath the root; *ret_rel is the rest of the way. */
static int start_of(const FileDir *fd, const char *path, const char **ret_rel)
{
    *ret_rel = plk_path_beneath(fd->dir.path, path);
    if (*ret_rel)
        return fd->volume_fd;
    *ret_rel = plk_path_beneath(fd->dir.root, path);
    assert(*ret_rel);
    return fd->root_fd;
}

static void place_clear(Place *place)
{
    free(place->path);
    if (place->own_parent)
        close(place->parent);
}

static int place_find(FileDir *fd, const char *name, Place *place)
{
    PLK_FREE char *parent = NULL;
    const char *rel;
    int at, r = plk_path_resolve(&fd->dir, name, &place->path);

    if (r < 0)
        return r;
    place->base = strrchr(place->path, '/') + 1;
    parent = plk_printf("%.*s", (int)PLK_MAX(place->base - 1 - place->path, 1), place->path);
    if (!parent)
        return -ENOMEM;
    if (strcmp(parent, fd->dir.path) == 0) {
        place->parent = fd->volume_fd;
        return 0;
    }
    at = start_of(fd, parent, &rel);
    place->parent = open_beneath(at, rel, O_RDONLY | O_DIRECTORY, 0);
    place->own_parent = place->parent >= 0;
    return place->own_parent ? 0 : place->parent;
}

/* ---- which directories need a sync ---- */

static bool is_same_dir(int a, int b)
{
    struct stat sa, sb;

    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* Called before a name changes in the place's directory; one sync too many does no harm. */
static int place_touch(FileDir *fd, const Place *place)
{
    PLK_LOCKED(&fd->mutex);
    int *grown, copy;

    if (!place->own_parent)
        return 0;
    for (size_t i = 0; i < fd->touched_count; i++)
        if (is_same_dir(fd->touched[i], place->parent))
            return 0;
    grown = plk_realloc(fd->touched, fd->touched_count + 1, sizeof *grown);
    if (!grown)
        return -ENOMEM;
    fd->touched = grown;
    copy = fcntl(place->parent, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return -errno;
    grown[fd->touched_count++] = copy;
    return 0;
}

/* As place_find, for a change. */
static int place_find_to_change(FileDir *fd, const char *name, Place *place)
{
    int r = place_find(fd, name, place);

    return r < 0 ? r : place_touch(fd, place);
}

static int filedir_include(PlkDir *dir, const char *name)
{
    plk_cleanup(place_clear) Place place = {.parent = -1};

    return place_find_to_change(filedir_of(dir), name, &place);
}

static int sync_dir(int fd)
{
    if (fsync(fd) == 0 || errno == EINVAL) /* EINVAL: a filesystem that has nothing to sync */
        return 0;
    return -errno;
}

static int filedir_sync(PlkDir *dir)
{
    FileDir *fd = filedir_of(dir);
    PLK_LOCKED(&fd->mutex);
    int r = sync_dir(fd->volume_fd);

    while (r == 0 && fd->touched_count > 0) {
        r = sync_dir(fd->touched[fd->touched_count - 1]);
        if (r == 0)
            close(fd->touched[--fd->touched_count]);
    }
    return r;
}

/* ---- files ---- */

/* Somebody else's file under a second name: whoever may make links here must not get at it through us. */
static bool is_foreign_link(const FileDir *fd, const struct stat *st)
{
    struct stat dir;

    return st->st_nlink > 1 && fstat(fd->volume_fd, &dir) == 0 && st->st_uid != dir.st_uid;
}

/* Takes `file` over, also on failure. */
static int wrap_regular(const FileDir *fd, int file, const char *name, bool writable, PlkFile **ret)
{
    PLK_CLOSE int owned = file;
    struct stat st;
    int r;

    if (fstat(file, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    if (writable && is_foreign_link(fd, &st))
        return -EMLINK;
    r = plk_file_new(file, name, writable, ret);
    if (r == 0)
        owned = -1;
    return r;
}

static int open_regular(FileDir *fd, const char *path, int flags, mode_t mode, PlkFile **ret)
{
    const char *rel;
    int at = start_of(fd, path, &rel);
    int file = open_beneath(at, rel, flags | O_NONBLOCK | O_NOCTTY, mode);

    if (file == -EISDIR || file == -ENXIO || file == -ENODEV) /* directory, socket, device without driver */
        return -EINVAL;
    if (file < 0)
        return file;
    return wrap_regular(fd, file, path, (flags & O_ACCMODE) == O_RDWR, ret);
}

static int filedir_open(PlkDir *dir, const char *name, unsigned flags, mode_t mode, PlkIo **ret)
{
    FileDir *fd = filedir_of(dir);
    plk_cleanup(place_clear) Place place = {.parent = -1};
    int how = flags & PLK_OPEN_WRITE ? O_RDWR : O_RDONLY;
    PLK_FREE char *path = NULL;
    PlkFile *file;
    int r = plk_path_resolve(dir, name, &path);

    if (r < 0)
        return r;
    if (flags & PLK_OPEN_CREATE) {
        how |= O_CREAT | (flags & PLK_OPEN_EXCLUSIVE ? O_EXCL : 0);
        r = place_find_to_change(fd, name, &place);
        if (r < 0)
            return r;
    }
    r = open_regular(fd, path, how, mode, &file);
    if (r == 0)
        *ret = &file->io;
    return r;
}

/* Without O_TMPFILE: a file with a random name that goes at close unless it gets a better one. */
static int create_hidden(FileDir *fd, mode_t mode, PlkFile **ret)
{
    PLK_FREE char *name = NULL;
    PLK_CLOSE int copy = -1;
    uint64_t random;
    int file, r;

    if (getrandom(&random, sizeof random, 0) < 0) /* so few bytes come at once or not at all */
        return -errno;
    name = plk_printf(".ploopkit-%016llx", (unsigned long long)random);
    if (!name)
        return -ENOMEM;
    copy = fcntl(fd->volume_fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return -errno;
    file = open_beneath(fd->volume_fd, name, O_RDWR | O_CREAT | O_EXCL, mode);
    if (file < 0)
        return file;
    r = wrap_regular(fd, file, name, true, ret);
    if (r < 0) {
        unlinkat(fd->volume_fd, name, 0);
        return r;
    }
    (*ret)->temp_dir = PLK_TAKE_FD(copy);
    (*ret)->temp_name = PLK_TAKE(name);
    return 0;
}

static int filedir_create_unnamed(PlkDir *dir, mode_t mode, PlkIo **ret)
{
    FileDir *fd = filedir_of(dir);
    int tmp = open_beneath(fd->volume_fd, "", O_RDWR | O_TMPFILE, mode);
    PlkFile *file;
    int r;

    /* EISDIR, ENOENT: kernels that do not know O_TMPFILE at all. */
    if (tmp == -EOPNOTSUPP || tmp == -EISDIR || tmp == -ENOENT || tmp == -EINVAL)
        r = create_hidden(fd, mode, &file);
    else
        r = tmp < 0 ? tmp : wrap_regular(fd, tmp, dir->path, true, &file);
    if (r == 0)
        *ret = &file->io;
    return r;
}

static int link_unnamed(const PlkFile *file, const Place *place)
{
    char path[40];

    if (linkat(file->fd, "", place->parent, place->base, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno != ENOENT && errno != EPERM && errno != EINVAL) /* these: the way of the unprivileged */
        return -errno;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file->fd);
    return linkat(AT_FDCWD, path, place->parent, place->base, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* Never replaces, also where the filesystem cannot promise that for a rename. */
static int rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
    if (renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    if (linkat(from_dir, from, to_dir, to, 0) < 0)
        return -errno;
    return unlinkat(from_dir, from, 0) < 0 ? -errno : 0;
}

static int filedir_link(PlkDir *dir, PlkIo *unnamed, const char *name)
{
    FileDir *fd = filedir_of(dir);
    PlkFile *file = plk_file_of(unnamed);
    plk_cleanup(place_clear) Place place = {.parent = -1};
    int r;

    if (!file)
        return -EXDEV;
    r = place_find_to_change(fd, name, &place);
    if (r < 0)
        return r;
    if (!file->temp_name)
        return link_unnamed(file, &place);
    r = rename_new(file->temp_dir, file->temp_name, place.parent, place.base);
    if (r == 0) {
        free(file->temp_name);
        file->temp_name = NULL;
    }
    return r;
}

/* ---- names ---- */

static int filedir_rename(PlkDir *dir, const char *from, const char *to, bool replace)
{
    FileDir *fd = filedir_of(dir);
    plk_cleanup(place_clear) Place a = {.parent = -1}, b = {.parent = -1};
    int r = place_find_to_change(fd, from, &a);

    if (r == 0)
        r = place_find_to_change(fd, to, &b);
    if (r < 0)
        return r;
    if (!replace)
        return rename_new(a.parent, a.base, b.parent, b.base);
    return renameat(a.parent, a.base, b.parent, b.base) < 0 ? -errno : 0;
}

static int filedir_unlink(PlkDir *dir, const char *name)
{
    plk_cleanup(place_clear) Place place = {.parent = -1};
    int r = place_find_to_change(filedir_of(dir), name, &place);

    if (r < 0)
        return r;
    return unlinkat(place.parent, place.base, 0) < 0 ? -errno : 0;
}

static int filedir_exists(PlkDir *dir, const char *name)
{
    plk_cleanup(place_clear) Place place = {.parent = -1};
    struct stat st;
    int r = place_find(filedir_of(dir), name, &place);

    if (r == 0 && fstatat(place.parent, place.base, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    if (r == 0)
        r = -errno;
    return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

static int filedir_list(PlkDir *dir, int (*each)(void *arg, const char *name), void *arg)
{
    int fd = open_beneath(filedir_of(dir)->volume_fd, "", O_RDONLY | O_DIRECTORY, 0), r = 0;
    struct dirent *e;
    DIR *d;

    if (fd < 0)
        return fd;
    d = fdopendir(fd);
    if (!d) {
        r = -errno;
        close(fd);
        return r;
    }
    while (r == 0 && (errno = 0, e = readdir(d))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = each(arg, e->d_name);
    }
    if (r == 0)
        r = -errno;
    closedir(d);
    return r;
}

static int filedir_free_space(PlkDir *dir, uint64_t *ret)
{
    struct statvfs st;

    if (fstatvfs(filedir_of(dir)->volume_fd, &st) < 0)
        return -errno;
    *ret = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

/* ---- the lock file ---- */

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* flock() has no time limit of its own, and a signal to end it would be the caller's, not ours. */
static int flock_until(int fd, uint64_t deadline)
{
    unsigned pause = 1;

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        uint64_t now = now_ms();

        if (errno == EINTR)
            continue;
        if (errno != EWOULDBLOCK)
            return -errno;
        if (now >= deadline)
            return -EAGAIN;
        if (pause > deadline - now)
            pause = (unsigned)(deadline - now);
        nanosleep(&(struct timespec){.tv_nsec = pause * 1000000L}, NULL);
        pause = pause * 2 < LOCK_POLL_MAX_MS ? pause * 2 : LOCK_POLL_MAX_MS;
    }
    return 0;
}

static int filedir_flock(PlkDir *dir, const char *name, int timeout_ms, PlkIo **ret_held)
{
    uint64_t deadline = now_ms() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
    struct stat st;
    PlkIo *io = NULL; /* gcc does not see that 0 means set */
    int r;

    for (;;) {
        r = filedir_open(dir, name, PLK_OPEN_WRITE | PLK_OPEN_CREATE, 0600, &io);
        if (r < 0)
            return r;
        r = flock_until(plk_io_fd(io), deadline);
        if (r == 0 && fstat(plk_io_fd(io), &st) < 0)
            r = -errno;
        if (r == 0 && st.st_nlink > 0)
            break;
        plk_io_close(io);
        if (r < 0)
            return r;
        /* The holder before us removed the file: what we have locked excludes nobody. */
    }
    *ret_held = io;
    return 0;
}

/* ---- opening the directory itself ---- */

static void filedir_close(PlkDir *dir)
{
    FileDir *fd = filedir_of(dir);

    for (size_t i = 0; i < fd->touched_count; i++)
        close(fd->touched[i]);
    free(fd->touched);
    plk_closep(&fd->volume_fd);
    plk_closep(&fd->root_fd);
    pthread_mutex_destroy(&fd->mutex);
    free(fd);
}

static const PlkDirOps filedir_ops = {
    .struct_size = sizeof(PlkDirOps),
    .name = "file",
    .open = filedir_open,
    .create_unnamed = filedir_create_unnamed,
    .link = filedir_link,
    .rename = filedir_rename,
    .unlink = filedir_unlink,
    .exists = filedir_exists,
    .include = filedir_include,
    .sync = filedir_sync,
    .list = filedir_list,
    .free_space = filedir_free_space,
    .flock = filedir_flock,
    .close = filedir_close,
};

/* What an open directory is called now. */
static int name_of_fd(int fd, char **ret)
{
    char link[64], name[PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, name, sizeof name - 1);
    if (n < 0)
        return -errno;
    name[n] = '\0';
    if (*name != '/') /* not within our root */
        return -EXDEV;
    *ret = plk_strdup(name);
    return *ret ? 0 : -ENOMEM;
}

/*
 * Opened first, then asked for its name. realpath() and then an open would look names up twice, and those behind
 * "/proc/self/fd/N" too, which the caller has opened already: whoever swaps a link in meanwhile would lead us elsewhere.
 */
static int open_named(const char *path, int *ret_fd, char **ret_name)
{
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? -errno : name_of_fd(*ret_fd, ret_name);
}

static int open_own_root(FileDir *fd)
{
    fd->dir.root = plk_strdup(fd->dir.path);
    if (!fd->dir.root)
        return -ENOMEM;
    fd->root_fd = open_beneath(fd->volume_fd, "", O_RDONLY | O_DIRECTORY, 0);
    return fd->root_fd < 0 ? fd->root_fd : 0;
}

static int open_root(FileDir *fd, const char *root)
{
    int r = open_named(root, &fd->root_fd, &fd->dir.root);

    return r == 0 && !plk_path_beneath(fd->dir.root, fd->dir.path) ? -EXDEV : r;
}

int plk_dir_open_fs(const char *path, const char *root, PlkDir **ret)
{
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    FileDir *fd = plk_calloc(1, sizeof *fd);
    int r;

    if (!fd)
        return -ENOMEM;
    dir = &fd->dir;
    dir->ops = &filedir_ops;
    fd->root_fd = fd->volume_fd = -1;
    pthread_mutex_init(&fd->mutex, NULL);
    r = open_named(path, &fd->volume_fd, &dir->path);
    if (r == 0)
        r = root ? open_root(fd, root) : open_own_root(fd);
    if (r == 0)
        *ret = PLK_TAKE(dir);
    return r;
}
