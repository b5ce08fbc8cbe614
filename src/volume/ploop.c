/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The driver of ploop volumes. What is done to images is the engine's; here stand the directory around them,
 * its owner, and what may not happen to it: only names that belong to a volume are ever removed.
 */
#include "volume/ploop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include <ploopkit/filesystem.h>
#include <ploopkit/resize.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "host/run.h"
#include "volume/plain.h"

/* ---- the directory ---- */

static int set_paths(PlkPloopDir *dir, const PlkPlace *at, const char *base)
{
    int n = snprintf(dir->base_path, sizeof dir->base_path, "/proc/self/fd/%d/%s", dir->fd, base);

    snprintf(dir->path, sizeof dir->path, "/proc/self/fd/%d", dir->fd);
    dir->real = plk_place_path(at);
    dir->base = base;
    return n < (int)sizeof dir->base_path ? 0 : -ENAMETOOLONG;
}

int plk_ploop_open_dir(const PlkPlace *at, const PlkVolumeFacts *facts, PlkPloopDir *ret, PlkError *err)
{
    int r;

    ret->fd = plk_place_open(at, O_RDONLY | O_DIRECTORY);
    if (ret->fd == -ENOENT)
        return plk_fail(err, PLK_ERROR_NO_VOLUME, "there is no '%s/%s'", at->dir_path, at->name);
    r = ret->fd < 0 ? ret->fd : set_paths(ret, at, facts->base ? facts->base : PLK_PLOOP_BASE);
    return r < 0 ? plk_fail_io(err, PLK_ERROR_OPEN, r, "cannot open '%s/%s'", at->dir_path, at->name) : 0;
}

void plk_ploop_close_dir(PlkPloopDir *dir)
{
    if (dir->fd >= 0)
        close(dir->fd);
    g_free(dir->real);
    *dir = (PlkPloopDir)PLK_PLOOP_DIR_INIT;
}

int plk_ploop_make_dir(const PlkPlace *at, PlkPloopDir *ret, PlkError *err)
{
    static const PlkVolumeFacts new_one;

    if (mkdirat(at->dir, at->name, 0700) < 0)
        return plk_fail_io(err, errno == EEXIST ? PLK_ERROR_EXISTS : PLK_ERROR_CREATE, -errno,
                           "cannot make the directory '%s/%s'", at->dir_path, at->name);
    if (plk_ploop_open_dir(at, &new_one, ret, err) == 0)
        return 0;
    unlinkat(at->dir, at->name, AT_REMOVEDIR);
    return -1;
}

/* ---- its files ---- */

/* Of one file; 0, or -1 with *err. */
typedef int EachFile(void *arg, const PlkPloopDir *dir, const char *name, PlkError *err);

static int each_file(const PlkPloopDir *dir, EachFile *each, void *arg, PlkError *err)
{
    int copy = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *list = copy >= 0 ? fdopendir(copy) : NULL;

    if (!list) {
        r = plk_fail_io(err, PLK_ERROR_OPEN, -errno, "cannot list '%s'", dir->real);
        plk_closep(&copy);
        return r;
    }
    for (struct dirent *entry; r == 0 && (entry = readdir(list));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            r = each(arg, dir, entry->d_name, err);
    closedir(list);
    return r;
}

static int drop_file(void *arg, const PlkPloopDir *dir, const char *name, PlkError *err)
{
    if (unlinkat(dir->fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    return plk_fail_io(err, PLK_ERROR_UNLINK, -errno, "cannot delete '%s/%s'", dir->real, name);
}

void plk_ploop_undo(const PlkPlace *at)
{
    static const PlkVolumeFacts new_one;
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;

    if (plk_ploop_open_dir(at, &new_one, &dir, NULL) == 0)
        (void)each_file(&dir, drop_file, NULL, NULL);
    unlinkat(at->dir, at->name, AT_REMOVEDIR);
}

/* A file of the volume gets the same owner and label, and of the mode what makes sense for a file. */
static int own_file(void *arg, const PlkPloopDir *dir, const char *name, PlkError *err)
{
    PlkPermissions permissions = *(const PlkPermissions *)arg;
    PLK_CLOSE int fd = plk_open_judged(dir->fd, name, O_RDONLY);

    if (fd < 0)
        return plk_fail_io(err, PLK_ERROR_OPEN, fd, "cannot open '%s/%s'", dir->real, name);
    if (permissions.mode >= 0)
        permissions.mode &= 0666;
    if (plk_volume_own(fd, &permissions, false, err) < 0) {
        plk_error_prefix(err, "'%s/%s': ", dir->real, name);
        return -1;
    }
    return 0;
}

static int sync_file(void *arg, const PlkPloopDir *dir, const char *name, PlkError *err)
{
    PLK_CLOSE int fd = plk_open_judged(dir->fd, name, O_RDONLY);

    if (fd < 0)
        return plk_fail_io(err, PLK_ERROR_OPEN, fd, "cannot open '%s/%s'", dir->real, name);
    return fsync(fd) < 0 ? plk_fail_io(err, PLK_ERROR_SYNC, -errno, "'%s/%s'", dir->real, name) : 0;
}

/* Synced when all are as they shall be: a journal writes that out once. */
int plk_ploop_finish(const PlkPlace *at, const PlkPloopDir *dir, const PlkPermissions *permissions, PlkError *err)
{
    if (each_file(dir, own_file, (void *)permissions, err) < 0)
        return -1;
    if (plk_volume_own(dir->fd, permissions, true, err) < 0) {
        plk_error_prefix(err, "'%s': ", dir->real);
        return -1;
    }
    if (each_file(dir, sync_file, NULL, err) < 0)
        return -1;
    return fsync(dir->fd) < 0 ? plk_fail_io(err, PLK_ERROR_SYNC, -errno, "'%s'", dir->real) : 0;
}

/* ---- make ---- */

static int ploop_check(const PlkVolumeDef *def, unsigned flags, PlkError *err)
{
    char program[PLK_PROGRAM_PATH_MAX];

    if (def->backing)
        return plk_fail(err, PLK_ERROR_CONFIG, "volume '%s': a ploop volume cannot have a backing store", def->name);
    if (def->target.encryption)
        return plk_fail(err, PLK_ERROR_CONFIG, "volume '%s': a ploop volume cannot be encrypted", def->name);
    if (flags & PLK_CREATE_PREALLOC_METADATA)
        return plk_fail(err, PLK_ERROR_CONFIG, "volume '%s': a ploop image has all of its metadata from the start",
                        def->name);
    return flags & PLK_CREATE_EMPTY ? 0 : plk_find_program("mke2fs", program, err);
}

static int ploop_create(const PlkPlace *at, const PlkVolumeDef *def, unsigned flags, const PlkProgress *progress,
                        PlkError *err)
{
    bool is_empty = flags & PLK_CREATE_EMPTY;
    bool is_whole = def->has_allocation && def->capacity && def->allocation >= def->capacity;
    PlkMkfsSpec mkfs = {.struct_size = sizeof mkfs, .type = "ext4"};
    PlkCreateSpec spec = {
        .struct_size = sizeof spec,
        .size_sectors = plk_div_up(def->capacity, PLK_SECTOR),
        .format = is_whole ? PLK_FORMAT_PREALLOCATED : PLK_FORMAT_EXPANDED,
    };
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;
    int r;

    if (ploop_check(def, flags, err) < 0 || plk_ploop_make_dir(at, &dir, err) < 0)
        return -1;
    r = plk_disk_create(dir.base_path, &spec, is_empty ? NULL : plk_mkfs_fill, &mkfs, is_empty ? "none" : "ext4",
                        progress, err);
    if (r == 0)
        r = plk_ploop_finish(at, &dir, &def->target.permissions, err);
    if (r < 0)
        plk_ploop_undo(at);
    return r;
}

/* ---- remove ---- */

static bool is_named_after(const char *name, const char *file)
{
    size_t n = strlen(file);

    return strncmp(name, file, n) == 0 && (name[n] == '\0' || name[n] == '.');
}

/* Descriptor, lock and images, and what the engine and OpenVZ's tools make beside them. */
static bool is_known_name(const PlkVolumeFacts *facts, const char *name)
{
    char *const *deltas = facts->deltas;

    return is_named_after(name, PLK_PLOOP_DESCRIPTOR) || is_named_after(name, PLK_PLOOP_BASE) ||
           (facts->base && is_named_after(name, facts->base)) || g_str_has_prefix(name, "rescue-try.") ||
           (deltas && g_strv_contains((const char *const *)deltas, name));
}

/* Before anything goes: all of it may go, and nobody is using it. */
static int may_go(void *arg, const PlkPloopDir *dir, const char *name, PlkError *err)
{
    PlkPlace place = {.dir = dir->fd, .dir_path = dir->real, .name = name};
    PLK_CLOSE int fd = -1;

    if (!is_known_name(arg, name))
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, ENOTEMPTY,
                              "'%s/%s' is not part of the volume; move it away, then the volume can be deleted",
                              dir->real, name);
    if (is_named_after(name, PLK_PLOOP_DESCRIPTOR))
        return 0;
    fd = plk_place_open(&place, O_RDONLY);
    return fd < 0 ? 0 : plk_plain_test_lock(&place, fd, PLK_IO_LOCK_EXCLUSIVE, err);
}

/* A name that a descriptor gave: one that leads elsewhere is nothing of the volume's. */
static int drop_named(const PlkPloopDir *dir, const char *name, PlkError *err)
{
    return plk_name_is_component(name) ? drop_file(NULL, dir, name, err) : 0;
}

/*
 * What only the descriptor names, then the descriptor, then what is known by its own name: so whatever a kill leaves
 * can be removed by another call that knows no more than the directory.
 */
static int remove_inside(const PlkPloopDir *dir, const PlkVolumeFacts *facts, PlkError *err)
{
    if (each_file(dir, may_go, (void *)facts, err) < 0)
        return -1;
    for (char **delta = facts->deltas; delta && *delta; delta++)
        if (drop_named(dir, *delta, err) < 0)
            return -1;
    if (facts->base && drop_named(dir, facts->base, err) < 0)
        return -1;
    return drop_file(NULL, dir, PLK_PLOOP_DESCRIPTOR, err) < 0 ? -1 : each_file(dir, drop_file, NULL, err);
}

static int ploop_remove(const PlkPlace *at, const PlkVolumeFacts *facts, PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;
    struct stat st;

    if (fstatat(at->dir, at->name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
        return 0;
    if (plk_ploop_open_dir(at, facts, &dir, err) < 0 || remove_inside(&dir, facts, err) < 0)
        return -1;
    if (unlinkat(at->dir, at->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return plk_fail_io(err, PLK_ERROR_UNLINK, -errno, "cannot delete the directory '%s'", dir.real);
    return 0;
}

/* ---- resize ---- */

/* 1: it has one that can be resized with it. */
static int has_filesystem(const PlkPloopDir *dir, PlkError *err)
{
    PlkDiskOptions options = {.struct_size = sizeof options};
    PlkFsUsage usage;
    PlkDisk *disk;
    PlkError why;
    int r;

    if (plk_disk_open(dir->path, &options, &disk, err) < 0)
        return -1;
    r = plk_filesystem_usage(disk, &usage, &why);
    plk_disk_close(disk, NULL);
    if (r == 0)
        return 1;
    if (why.code == PLK_ERROR_NOT_FOUND)
        return 0;
    if (err)
        *err = why;
    return -1;
}

int plk_ploop_set_capacity(const PlkPloopDir *dir, uint64_t capacity, bool shrink, const PlkProgress *progress,
                           PlkError *err)
{
    uint64_t sectors = plk_div_up(capacity, PLK_SECTOR);
    PlkResizeSpec spec = {.struct_size = sizeof spec, .size_sectors = sectors, .shrink_device = shrink};
    int r = has_filesystem(dir, err);

    if (r > 0)
        r = plk_filesystem_resize(dir->path, NULL, &spec, progress, err);
    else if (r == 0)
        r = shrink ? plk_disk_shrink(dir->path, NULL, sectors, progress, err)
                   : plk_disk_grow(dir->path, NULL, sectors, progress, err);
    return r;
}

static int ploop_resize(const PlkPlace *at, const PlkVolumeFacts *facts, uint64_t capacity, unsigned flags,
                        const PlkProgress *progress, PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;
    bool shrinks = capacity < facts->capacity;

    if (flags & PLK_RESIZE_ALLOCATE)
        return plk_fail(err, PLK_ERROR_NOT_THIS_FORMAT,
                        "'%s/%s' grows with what is written to it: room cannot be reserved by a resize", at->dir_path,
                        at->name);
    if (shrinks && !(flags & PLK_RESIZE_SHRINK))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s/%s' is larger than %llu bytes; shrinking has to be asked for",
                        at->dir_path, at->name, (unsigned long long)capacity);
    if (shrinks && facts->snapshots)
        return plk_fail(err, PLK_ERROR_STATE, "'%s/%s' has snapshots, which need its present size; delete them first",
                        at->dir_path, at->name);
    if (plk_ploop_open_dir(at, facts, &dir, err) < 0)
        return -1;
    return capacity == facts->capacity ? 0 : plk_ploop_set_capacity(&dir, capacity, shrinks, progress, err);
}

/* ---- wipe ---- */

/* What is to be made again; a volume too damaged to tell is known by its note, or by what was seen of it. */
static void recall(const PlkPloopDir *dir, const PlkVolumeFacts *facts, PlkCreateSpec *spec, char filesystem[16])
{
    PlkGeometryNote note;

    *spec = (PlkCreateSpec){.struct_size = sizeof *spec,
                            .size_sectors = facts->capacity / PLK_SECTOR,
                            .cluster_sectors = facts->cluster / PLK_SECTOR};
    g_strlcpy(filesystem, "ext4", 16);
    if (plk_geometry_note_read(dir->path, dir->base, &note, NULL) < 0)
        return;
    if (spec->size_sectors == 0)
        spec->size_sectors = note.size_sectors;
    spec->version = note.version;
    spec->format = note.format;
    if (*note.filesystem)
        g_strlcpy(filesystem, note.filesystem, 16);
}

typedef struct Wiping {
    const PlkVolumeFacts *facts;
    PlkWipe how;
    const PlkProgress *progress;
} Wiping;

/* Every file but the descriptor's holds, or held, bytes of the disk. */
static bool holds_bytes(const Wiping *w, const char *name)
{
    return !is_named_after(name, PLK_PLOOP_DESCRIPTOR) && is_known_name(w->facts, name);
}

static int hold_file(const PlkPloopDir *dir, const char *name, int *ret_fd, PlkError *err)
{
    PlkPlace place = {.dir = dir->fd, .dir_path = dir->real, .name = name};

    return plk_plain_open(&place, O_RDWR, PLK_IO_LOCK_EXCLUSIVE, ret_fd, err);
}

static int test_file(void *arg, const PlkPloopDir *dir, const char *name, PlkError *err)
{
    PLK_CLOSE int fd = -1;

    return holds_bytes(arg, name) ? hold_file(dir, name, &fd, err) : 0;
}

static int wipe_file(void *arg, const PlkPloopDir *dir, const char *name, PlkError *err)
{
    const Wiping *w = arg;
    PlkPlace place = {.dir = dir->fd, .dir_path = dir->real, .name = name};
    PLK_CLOSE int fd = -1;

    if (!holds_bytes(w, name))
        return 0;
    return hold_file(dir, name, &fd, err) < 0 ? -1 : plk_plain_wipe(&place, fd, w->how, w->progress, err);
}

/* The lock file stays: it has the note of what was there. */
static int drop_wiped(void *arg, const PlkPloopDir *dir, const char *name, PlkError *err)
{
    const Wiping *w = arg;

    if (!is_known_name(w->facts, name) || strcmp(name, PLK_PLOOP_DESCRIPTOR ".lck") == 0)
        return 0;
    return drop_file(NULL, dir, name, err);
}

static int make_again(const Wiping *w, const PlkPloopDir *dir, PlkError *err)
{
    PlkMkfsSpec mkfs = {.struct_size = sizeof mkfs};
    PlkCreateSpec spec;
    char filesystem[16];
    bool is_empty;

    recall(dir, w->facts, &spec, filesystem);
    is_empty = strcmp(filesystem, "ext4") && strcmp(filesystem, "ext3");
    mkfs.type = filesystem;
    return plk_disk_create(dir->base_path, &spec, is_empty ? NULL : plk_mkfs_fill, &mkfs, filesystem, w->progress,
                           err);
}

static int ploop_wipe(const PlkPlace *at, const PlkVolumeFacts *facts, PlkWipe how, const PlkProgress *progress,
                      PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;
    Wiping w = {.facts = facts, .how = how, .progress = progress};
    PlkPermissions permissions = {.mode = (int)facts->mode, .uid = facts->uid, .gid = facts->gid, .label = facts->label};

    if (how < 0 || how >= PLK_WIPE_ALGORITHMS)
        return plk_fail(err, PLK_ERROR_NO_ALGORITHM, "there is no wiping algorithm %d", (int)how);
    if (plk_ploop_open_dir(at, facts, &dir, err) < 0 || each_file(&dir, test_file, &w, err) < 0 ||
        each_file(&dir, wipe_file, &w, err) < 0 || each_file(&dir, drop_wiped, &w, err) < 0 ||
        make_again(&w, &dir, err) < 0)
        return -1;
    return plk_ploop_finish(at, &dir, &permissions, err);
}

const PlkVolumeDriver plk_driver_ploop = {
    .name = "ploop",
    .type = PLK_VOLUME_PLOOP,
    .check = ploop_check,
    .create = ploop_create,
    .clone = plk_ploop_clone,
    .remove = ploop_remove,
    .resize = ploop_resize,
    .wipe = ploop_wipe,
    .open = plk_ploop_open,
};
