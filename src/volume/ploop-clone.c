/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies of ploop volumes. Where the files can be taken as they are they are copied one by one, sharing blocks
 * if the filesystem can; else the disk is copied: one without its snapshots, of one snapshot, or from and to
 * other formats.
 *
 * What is read is held against writers meanwhile, so a copy is of one moment.
 */
#include "volume/ploop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include <ploopkit/create.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "format/descriptor.h"
#include "volume/plain.h"
#include "volume/qemu.h"
#include "volume/transfer.h"

#define BUFFER (1u << 20)
#define NOTE PLK_PLOOP_DESCRIPTOR ".lck"

/* ---- a disk out ---- */

static int open_disk(const PlkPloopDir *dir, const char *snapshot, PlkDisk **ret, PlkError *err)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .snapshot = snapshot};

    return plk_disk_open(dir->path, &options, ret, err);
}

int plk_ploop_export(const PlkVolumeOrigin *from, int fd, const PlkProgress *progress, PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;
    PlkDisk *disk;
    int r;

    if (plk_ploop_open_dir(&from->place, from->facts, &dir, err) < 0 ||
        open_disk(&dir, from->snapshot, &disk, err) < 0)
        return -1;
    r = plk_disk_to_file(disk, fd, "the copy", progress, err);
    plk_disk_close(disk, NULL);
    return r;
}

/* ---- a disk in ---- */

/* What a new disk is filled with: another disk, or a file. */
typedef struct Content {
    PlkDisk *disk;
    int fd;
    const char *name;
} Content;

static int copy_extent(PlkDisk *from, PlkDisk *to, uint64_t at, uint64_t len, void *buf, PlkPace *pace, PlkError *err)
{
    while (len) {
        size_t step = PLK_MIN(len, BUFFER);
        int r = plk_disk_read(from, buf, step, at);

        if (r < 0) {
            plk_disk_explain(from, r, err);
            return -1;
        }
        r = plk_disk_write(to, buf, step, at);
        if (r < 0) {
            plk_disk_explain(to, r, err);
            return -1;
        }
        if (plk_pace(pace, step) < 0)
            return plk_fail(err, PLK_ERROR_CANCELLED, "copying the disk was stopped");
        at += step;
        len -= step;
    }
    return 0;
}

static int copy_disk(PlkDisk *from, PlkDisk *to, const PlkProgress *progress, PlkError *err)
{
    PLK_FREE void *buf = plk_malloc(BUFFER);
    PlkPace pace = {.progress = progress, .what = "copying", .total = plk_disk_size(from)};
    PlkExtent extent;

    if (!buf)
        return plk_fail_nomem(err);
    for (uint64_t at = 0; at < pace.total; at += extent.length) {
        int r = plk_disk_status(from, at, pace.total - at, &extent);

        if (r < 0) {
            plk_disk_explain(from, r, err);
            return -1;
        }
        if (extent.kind != PLK_EXTENT_DATA)
            pace.done += extent.length;
        else if (copy_extent(from, to, at, extent.length, buf, &pace, err) < 0)
            return -1;
    }
    return 0;
}

static int fill(PlkDisk *disk, void *arg, const PlkProgress *progress, PlkError *err)
{
    const Content *content = arg;

    return content->disk ? copy_disk(content->disk, disk, progress, err)
                         : plk_file_to_disk(content->fd, content->name, disk, progress, err);
}

static int make_disk(const PlkPloopDir *dir, PlkCreateSpec *spec, Content *content, const PlkProgress *progress,
                     PlkError *err)
{
    spec->struct_size = sizeof *spec;
    /* What is inside is the source's, and not looked into. */
    return plk_disk_create(dir->base_path, spec, fill, content, "none", progress, err);
}

/* The disk of a ploop volume as one image. */
static int flatten(const PlkPloopDir *dir, const PlkVolumeDef *def, const PlkVolumeOrigin *from,
                   const PlkProgress *progress, PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir source = PLK_PLOOP_DIR_INIT;
    Content content = {.fd = -1};
    PlkDiskInfo info;
    PlkCreateSpec spec;
    int r;

    if (plk_ploop_open_dir(&from->place, from->facts, &source, err) < 0 ||
        open_disk(&source, from->snapshot, &content.disk, err) < 0)
        return -1;
    r = plk_disk_info(content.disk, &info, err);
    spec = (PlkCreateSpec){.size_sectors = info.size / PLK_SECTOR,
                           .cluster_sectors = info.cluster / PLK_SECTOR,
                           .version = info.version};
    if (r == 0)
        r = make_disk(dir, &spec, &content, progress, err);
    plk_disk_close(content.disk, NULL);
    if (r == 0 && def->capacity > info.size)
        r = plk_ploop_set_capacity(dir, def->capacity, false, progress, err);
    return r;
}

/* ---- other formats ---- */

/* The disk of any other volume as a raw file; what has to be converted first goes into one without a name. */
static int open_foreign(const PlkPloopDir *dir, const PlkVolumeOrigin *from, const PlkProgress *progress, int *ret_fd,
                        PlkError *err)
{
    const PlkVolumeDriver *driver = plk_volume_driver_of(from->facts);
    PLK_CLOSE int fd = -1;

    if (driver == &plk_driver_raw)
        return plk_plain_open(&from->place, O_RDONLY, PLK_IO_LOCK_SHARED, ret_fd, err);
    if (driver != &plk_driver_qemu)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "'%s/%s' holds no disk that could be cloned",
                        from->place.dir_path, from->place.name);
    fd = openat(dir->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, -errno, "cannot make a file in '%s'", dir->real);
    if (plk_qemu_convert_to_raw(from, fd, progress, err) < 0)
        return -1;
    *ret_fd = PLK_TAKE_FD(fd);
    return 0;
}

static int import(const PlkPloopDir *dir, const PlkVolumeDef *def, const PlkVolumeOrigin *from,
                  const PlkProgress *progress, PlkError *err)
{
    PLK_CLOSE int fd = -1;
    g_autofree char *name = plk_place_path(&from->place);
    Content content = {.name = name};
    PlkCreateSpec spec = {0};
    struct stat st;

    if (open_foreign(dir, from, progress, &fd, err) < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, -errno, "'%s'", name);
    if (st.st_size == 0)
        return plk_fail(err, PLK_ERROR_FORMAT, "'%s' is empty: there is no disk to clone", name);
    content.fd = fd;
    spec.size_sectors = plk_div_up(PLK_MAX(def->capacity, (uint64_t)st.st_size), PLK_SECTOR);
    return make_disk(dir, &spec, &content, progress, err);
}

/* ---- file by file ---- */

/*
 * The images of a source, all opened and locked before the first is copied: nobody writes to one or takes it
 * away meanwhile. A descriptor that reads the same with all locks held is theirs.
 */
typedef struct Chain {
    PlkPloopDir source;
    const PlkPlace *place; /* of it */
    PlkDescriptor desc;
    int *fds; /* desc.n_images */
    bool reflink;
    const PlkProgress *progress;
} Chain;

static void chain_clear(Chain *chain)
{
    for (size_t i = 0; chain->fds && i < chain->desc.n_images; i++)
        plk_closep(&chain->fds[i]);
    g_free(chain->fds);
    plk_descriptor_clear(&chain->desc);
    plk_ploop_close_dir(&chain->source);
}

static char *read_descriptor(const Chain *chain, size_t *ret_len, PlkError *err)
{
    int error;
    char *text = plk_ploop_read_text(chain->source.fd, PLK_PLOOP_DESCRIPTOR, ret_len, &error);

    if (!text)
        plk_fail_io(err, error == -ENOENT ? PLK_ERROR_NOT_FOUND : PLK_ERROR_READ, error, "cannot read '%s/%s'",
                    chain->source.real, PLK_PLOOP_DESCRIPTOR);
    return text;
}

static int write_small(const PlkPloopDir *dir, const char *name, const char *text, size_t len, PlkError *err)
{
    PlkPlace place = {.dir = dir->fd, .dir_path = dir->real, .name = name};
    PLK_CLOSE int fd = -1;

    if (plk_plain_create(&place, &fd, err) < 0)
        return -1;
    for (ssize_t n; len; text += n, len -= (size_t)n) {
        n = write(fd, text, len);
        if (n < 0)
            return plk_fail_io(err, PLK_ERROR_WRITE, -errno, "cannot write '%s/%s'", dir->real, name);
    }
    return 0;
}

/* All images of the copy stand in its directory. */
static int open_image(Chain *chain, size_t i, PlkError *err)
{
    const char *file = chain->desc.images[i].file, *name = plk_ploop_image_name(chain->place, file);
    PlkPlace place = {.dir = chain->source.fd, .dir_path = chain->source.real, .name = name};
    char *own;

    if (!name || !plk_name_is_component(name))
        return plk_fail(err, PLK_ERROR_UNSUPPORTED,
                        "'%s' names the image '%s', which is not in its directory: only its disk can be cloned, "
                        "without snapshots", chain->source.real, file);
    if (plk_plain_open(&place, O_RDONLY, PLK_IO_LOCK_SHARED, &chain->fds[i], err) < 0)
        return -1;
    own = plk_strdup(name);
    if (!own)
        return plk_fail_nomem(err);
    free(chain->desc.images[i].file);
    chain->desc.images[i].file = own;
    return 0;
}

static int open_chain(Chain *chain, const PlkVolumeOrigin *from, PlkError *err)
{
    g_autofree char *text = NULL, *again = NULL;
    size_t len, len_again;

    if (plk_ploop_open_dir(&from->place, from->facts, &chain->source, err) < 0)
        return -1;
    text = read_descriptor(chain, &len, err);
    if (!text || plk_descriptor_parse(text, len, chain->source.real, &chain->desc, err) < 0)
        return -1;
    chain->fds = g_new(int, chain->desc.n_images + 1);
    memset(chain->fds, 0xff, chain->desc.n_images * sizeof(int)); /* -1 */
    for (size_t i = 0; i < chain->desc.n_images; i++)
        if (open_image(chain, i, err) < 0)
            return -1;
    again = read_descriptor(chain, &len_again, err);
    if (!again)
        return -1;
    return len == len_again && memcmp(text, again, len) == 0
               ? 0
               : plk_fail(err, PLK_ERROR_STATE, "the snapshots of '%s' were changed meanwhile; try again",
                          chain->source.real);
}

static int copy_image(const Chain *chain, size_t i, const PlkPloopDir *dir, PlkError *err)
{
    PlkPlace place = {.dir = dir->fd, .dir_path = dir->real, .name = chain->desc.images[i].file};
    PLK_CLOSE int out = -1;
    struct stat st;

    if (fstat(chain->fds[i], &st) < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, -errno, "'%s/%s'", chain->source.real, place.name);
    if (plk_plain_create(&place, &out, err) < 0)
        return -1;
    return plk_plain_copy(&place, chain->fds[i], out, (uint64_t)st.st_size, chain->reflink, chain->progress, err);
}

static int copy_text(Chain *chain, const PlkPloopDir *dir, PlkError *err)
{
    PLK_FREE char *text = NULL;
    g_autofree char *note = NULL;
    size_t len;
    int error;

    if (plk_descriptor_print(&chain->desc, &text, &len, err) < 0 ||
        write_small(dir, PLK_PLOOP_DESCRIPTOR, text, len, err) < 0)
        return -1;
    note = plk_ploop_read_text(chain->source.fd, NOTE, &len, &error); /* only a help, where there is one */
    return note ? write_small(dir, NOTE, note, len, err) : 0;
}

static int copy_chain(Chain *chain, const PlkVolumeOrigin *from, const PlkPloopDir *dir, PlkError *err)
{
    if (open_chain(chain, from, err) < 0)
        return -1;
    for (size_t i = 0; i < chain->desc.n_images; i++)
        if (copy_image(chain, i, dir, err) < 0)
            return -1;
    return copy_text(chain, dir, err);
}

static int copy_files(const PlkPloopDir *dir, const PlkVolumeDef *def, const PlkVolumeOrigin *from, unsigned flags,
                      const PlkProgress *progress, PlkError *err)
{
    Chain chain = {.source = PLK_PLOOP_DIR_INIT,
                   .place = &from->place,
                   .reflink = flags & PLK_CREATE_REFLINK,
                   .progress = progress};
    int r = copy_chain(&chain, from, dir, err);

    chain_clear(&chain);
    if (r == 0 && def->capacity > from->facts->capacity)
        r = plk_ploop_set_capacity(dir, def->capacity, false, progress, err);
    return r;
}

/* ---- the clone ---- */

/* Without snapshots there is nothing to be flattened. */
static bool is_copied_by_file(const PlkVolumeOrigin *from, unsigned flags)
{
    return !from->snapshot && (from->facts->snapshots == 0 || flags & PLK_CREATE_KEEP_SNAPSHOTS);
}

static int build(const PlkPlace *at, const PlkPloopDir *dir, const PlkVolumeDef *def, const PlkVolumeOrigin *from,
                 unsigned flags, const PlkProgress *progress, PlkError *err)
{
    bool is_ploop = from->facts->type == PLK_VOLUME_PLOOP;

    if (is_ploop && is_copied_by_file(from, flags))
        return copy_files(dir, def, from, flags, progress, err);
    if (flags & PLK_CREATE_REFLINK)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s/%s' can share blocks only with a ploop volume%s",
                        at->dir_path, at->name, is_ploop ? " that is copied with its snapshots" : "");
    return is_ploop ? flatten(dir, def, from, progress, err) : import(dir, def, from, progress, err);
}

int plk_ploop_clone(const PlkPlace *at, const PlkVolumeDef *def, const PlkVolumeOrigin *from, unsigned flags,
                    const PlkProgress *progress, PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;
    int r;

    if (plk_driver_ploop.check(def, flags | PLK_CREATE_EMPTY, err) < 0 || plk_ploop_make_dir(at, &dir, err) < 0)
        return -1;
    r = build(at, &dir, def, from, flags, progress, err);
    if (r == 0)
        r = plk_ploop_finish(at, &dir, &def->target.permissions, err);
    if (r < 0)
        plk_ploop_undo(at);
    return r;
}
