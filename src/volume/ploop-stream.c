/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Streams on ploop volumes. On the container: the base image, which for libvirt's clients is the volume; only
 * while it is the whole disk. When new content has come in, the descriptor is written anew from it. On the
 * disk: what a guest sees.
 */
#include "volume/ploop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ploopkit/create.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "disk/store.h"
#include "volume/plain.h"
#include "volume/stream.h"

/* ---- the base image ---- */

/* A stream on the file, and what comes after it. */
typedef struct ImageStream {
    PlkStream stream; /* ops and failures are ours, the rest mirrors `file` */
    PlkStream *file;
    PlkPloopDir dir;
    bool writing;
} ImageStream;

static ImageStream *image_of(PlkStream *s)
{
    return (ImageStream *)s;
}

/* Callers look at the position, and some move the bytes through fd by themselves. */
static void to_file(ImageStream *image)
{
    image->file->position = image->stream.position;
}

static ssize_t from_file(ImageStream *image, ssize_t r)
{
    image->stream.position = image->file->position;
    image->stream.failed = image->file->failed;
    return r;
}

static ssize_t image_read(PlkStream *s, void *buf, size_t len)
{
    to_file(image_of(s));
    return from_file(image_of(s), plk_stream_read(image_of(s)->file, buf, len));
}

static int image_next(PlkStream *s, bool *ret_data, uint64_t *ret_len)
{
    to_file(image_of(s));
    return (int)from_file(image_of(s), plk_stream_next(image_of(s)->file, ret_data, ret_len));
}

static int image_skip(PlkStream *s, uint64_t len)
{
    to_file(image_of(s));
    return (int)from_file(image_of(s), plk_stream_skip(image_of(s)->file, len));
}

static int image_write(PlkStream *s, const void *buf, size_t len)
{
    to_file(image_of(s));
    return (int)from_file(image_of(s), plk_stream_write(image_of(s)->file, buf, len));
}

static int image_hole(PlkStream *s, uint64_t len)
{
    to_file(image_of(s));
    return (int)from_file(image_of(s), plk_stream_hole(image_of(s)->file, len));
}

/* What the present descriptor says of a raw base; no descriptor, or a broken one: it is a ploop image. */
static void recall_raw(const PlkPloopDir *dir, bool *ret_raw, uint32_t *ret_cluster)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    *ret_raw = false;
    *ret_cluster = 0;
    if (plk_store_open(dir->path, NULL, &store, NULL) < 0 || plk_store_load(store, NULL) < 0)
        return;
    *ret_raw = store->desc.n_images == 1 && plk_store_is_raw(&store->desc, 0);
    *ret_cluster = store->desc.cluster_sectors;
}

static int image_finish(PlkStream *s, PlkError *err)
{
    ImageStream *image = image_of(s);
    uint32_t cluster;
    bool raw;

    if (plk_stream_finish(image->file, err) < 0)
        return -1;
    if (!image->writing)
        return 0;
    recall_raw(&image->dir, &raw, &cluster);
    if (plk_descriptor_renew(image->dir.path, image->dir.base, raw, raw ? cluster : 0, err) == 0)
        return 0;
    plk_error_prefix(err, "volume '%s' has its new content, but no descriptor for it: ", image->dir.real);
    return -1;
}

static void image_close(PlkStream *s)
{
    plk_stream_close(image_of(s)->file);
    plk_ploop_close_dir(&image_of(s)->dir);
    free(s);
}

static const PlkStreamOps image_ops = {
    .read = image_read,
    .next = image_next,
    .skip = image_skip,
    .write = image_write,
    .hole = image_hole,
    .finish = image_finish,
    .close = image_close,
};

static int open_file(const PlkPloopDir *dir, bool writing, uint64_t offset, uint64_t length, PlkStream **ret,
                     PlkError *err)
{
    PlkPlace place = {.dir = dir->fd, .dir_path = dir->real, .name = dir->base};
    PLK_CLOSE int fd = -1;

    if (plk_plain_open(&place, writing ? O_RDWR : O_RDONLY, writing ? PLK_IO_LOCK_EXCLUSIVE : PLK_IO_LOCK_SHARED,
                       &fd, err) < 0)
        return -1;
    if (plk_stream_file(fd, writing, offset, length, ret, err) < 0) {
        plk_error_prefix(err, "'%s/%s': ", dir->real, dir->base);
        return -1;
    }
    fd = -1;
    return 0;
}

static int open_image(PlkPloopDir *dir, bool writing, uint64_t offset, uint64_t length, PlkStream **ret,
                      PlkError *err)
{
    ImageStream *image = plk_calloc(1, sizeof *image);

    if (!image)
        return plk_fail_nomem(err);
    if (open_file(dir, writing, offset, length, &image->file, err) < 0) {
        free(image);
        return -1;
    }
    image->stream = *image->file;
    image->stream.ops = &image_ops;
    image->writing = writing;
    image->dir = *dir;
    image->dir.base = strrchr(image->dir.base_path, '/') + 1; /* the facts may go before we do */
    *dir = (PlkPloopDir)PLK_PLOOP_DIR_INIT;
    *ret = &image->stream;
    return 0;
}

/* ---- the disk ---- */

typedef struct DiskStream {
    PlkStream stream;
    PlkDisk *disk;
} DiskStream;

static DiskStream *disk_of(PlkStream *s)
{
    return (DiskStream *)s;
}

static int keep(PlkStream *s, int error)
{
    if (s->failed == 0)
        s->failed = error;
    return s->failed;
}

/* Runs of data and of zeros, neighbours of a kind taken together. */
static int disk_next(PlkStream *s, bool *ret_data, uint64_t *ret_len)
{
    uint64_t at = s->position;
    PlkExtent extent;

    *ret_len = 0;
    *ret_data = false;
    while (s->failed == 0 && at < s->end) {
        int r = plk_disk_status(disk_of(s)->disk, at, s->end - at, &extent);
        bool data = extent.kind == PLK_EXTENT_DATA;

        if (r < 0)
            return keep(s, r);
        if (at == s->position)
            *ret_data = data;
        else if (data != *ret_data)
            break;
        at += extent.length;
    }
    *ret_len = at - s->position;
    return s->failed;
}

static ssize_t disk_read(PlkStream *s, void *buf, size_t len)
{
    int r;

    if (s->failed)
        return s->failed;
    len = PLK_MIN(len, s->end - PLK_MIN(s->position, s->end));
    r = len ? plk_disk_read(disk_of(s)->disk, buf, len, s->position) : 0;
    if (r < 0)
        return keep(s, r);
    s->position += len;
    return (ssize_t)len;
}

static int disk_skip(PlkStream *s, uint64_t len)
{
    s->position += PLK_MIN(len, s->end - PLK_MIN(s->position, s->end));
    return s->failed;
}

static int check_room(PlkStream *s, uint64_t len)
{
    return s->failed == 0 && len > s->end - PLK_MIN(s->position, s->end) ? keep(s, -EFBIG) : s->failed;
}

static int disk_write(PlkStream *s, const void *buf, size_t len)
{
    int r = check_room(s, len);

    if (r == 0)
        r = plk_disk_write(disk_of(s)->disk, buf, len, s->position);
    if (r < 0)
        return keep(s, r);
    s->position += len;
    return 0;
}

static int disk_hole(PlkStream *s, uint64_t len)
{
    int r = check_room(s, len);

    if (r == 0)
        r = plk_disk_zero(disk_of(s)->disk, s->position, len);
    if (r < 0)
        return keep(s, r);
    s->position += len;
    return 0;
}

static int disk_finish(PlkStream *s, PlkError *err)
{
    int r = s->failed ? s->failed : plk_disk_flush(disk_of(s)->disk);

    if (r == -EFBIG)
        return plk_fail_io(err, PLK_ERROR_WRITE, r, "the disk has %llu bytes; resize it first",
                           (unsigned long long)s->size);
    if (r < 0) {
        plk_disk_explain(disk_of(s)->disk, r, err);
        return -1;
    }
    return 0;
}

static void disk_close(PlkStream *s)
{
    plk_disk_close(disk_of(s)->disk, NULL);
    free(s);
}

static const PlkStreamOps disk_ops = {
    .read = disk_read,
    .next = disk_next,
    .skip = disk_skip,
    .write = disk_write,
    .hole = disk_hole,
    .finish = disk_finish,
    .close = disk_close,
};

static int open_disk(const PlkPloopDir *dir, bool writing, uint64_t offset, uint64_t length, PlkStream **ret,
                     PlkError *err)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .writable = writing};
    DiskStream *s;
    uint64_t size, end;
    PlkDisk *disk;

    if (plk_disk_open(dir->path, &options, &disk, err) < 0)
        return -1;
    size = plk_disk_size(disk);
    end = length && !PLK_ADD_OVERFLOW(offset, length, &end) ? PLK_MIN(end, size) : size;
    s = plk_calloc(1, sizeof *s);
    if (!s) {
        plk_disk_close(disk, NULL);
        return plk_fail_nomem(err);
    }
    *s = (DiskStream){
        .stream = {.ops = &disk_ops, .fd = -1, .position = offset, .end = PLK_MAX(end, offset), .size = size},
        .disk = disk};
    *ret = &s->stream;
    return 0;
}

int plk_ploop_open(const PlkPlace *at, const PlkVolumeFacts *facts, PlkStreamWhat what, bool writing,
                   uint64_t offset, uint64_t length, PlkStream **ret, PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;

    if (what == PLK_STREAM_CONTAINER && facts->snapshots)
        return plk_fail(err, PLK_ERROR_STATE,
                        "'%s/%s' has snapshots, and its base image is not the whole disk; %s", at->dir_path, at->name,
                        writing ? "delete them first" : "delete them first, or ask for the disk");
    if (plk_ploop_open_dir(at, facts, &dir, err) < 0)
        return -1;
    return what == PLK_STREAM_CONTAINER ? open_image(&dir, writing, offset, length, ret, err)
                                        : open_disk(&dir, writing, offset, length, ret, err);
}
