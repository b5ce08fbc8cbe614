/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the bytes of a volume lie: of a ploop volume by its images, of a raw one by its holes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include <ploopkit/disk.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "volume/plain.h"
#include "volume/ploop.h"

typedef struct Map {
    PlkVolumeMapEach *each;
    void *arg;
    PlkError *err;
} Map;

static int tell(const Map *map, uint64_t at, uint64_t length, bool data, const char *file, uint64_t file_offset)
{
    return map->each(map->arg, at, length, data, file, file_offset)
               ? plk_fail(map->err, PLK_ERROR_CANCELLED, "the map was not wanted to its end")
               : 0;
}

static int map_disk(const Map *map, PlkDisk *disk)
{
    uint64_t size = plk_disk_size(disk);
    PlkExtent extent;
    const char *file;
    int r = 0;

    for (uint64_t at = 0; r == 0 && at < size; at += extent.length) {
        r = plk_disk_status(disk, at, size - at, &extent);
        if (r < 0) {
            plk_disk_explain(disk, r, map->err);
            return -1;
        }
        file = extent.level < 0 ? NULL : plk_disk_image_path(disk, (unsigned)extent.level);
        r = tell(map, at, extent.length, extent.kind == PLK_EXTENT_DATA, file, extent.file_offset);
    }
    return r;
}

static int map_ploop(const Map *map, const PlkPlace *at, const PlkVolumeFacts *facts)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;
    PlkDiskOptions options = {.struct_size = sizeof options};
    PlkDisk *disk;
    int r;

    if (plk_ploop_open_dir(at, facts, &dir, map->err) < 0 || plk_disk_open(dir.path, &options, &disk, map->err) < 0)
        return -1;
    r = map_disk(map, disk);
    plk_disk_close(disk, NULL);
    return r;
}

/* The end of the run at `at`; all is data where a filesystem cannot tell. */
static uint64_t run_end(int fd, uint64_t at, uint64_t size, bool *ret_data)
{
    off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;

    *ret_data = data < 0 ? errno != ENXIO : (uint64_t)data == at;
    if (data < 0)
        return size;
    if (!*ret_data)
        return PLK_MIN((uint64_t)data, size);
    hole = lseek(fd, data, SEEK_HOLE);
    return hole < 0 ? size : PLK_MIN((uint64_t)hole, size);
}

static int map_raw(const Map *map, const PlkPlace *at)
{
    g_autofree char *path = plk_place_path(at);
    PLK_CLOSE int fd = -1;
    struct stat st;
    uint64_t end;
    int r = 0;

    if (plk_plain_open(at, O_RDONLY, PLK_IO_LOCK_NONE, &fd, map->err) < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        return plk_fail_io(map->err, PLK_ERROR_STAT, -errno, "'%s'", path);
    for (uint64_t from = 0; r == 0 && from < (uint64_t)st.st_size; from = end) {
        bool data;

        end = run_end(fd, from, (uint64_t)st.st_size, &data);
        r = tell(map, from, end - from, data, data ? path : NULL, data ? from : 0);
    }
    return r;
}

int plk_volume_map(const PlkPlace *at, const PlkVolumeFacts *facts, PlkVolumeMapEach *each, void *arg, PlkError *err)
{
    const PlkVolumeDriver *driver = plk_volume_driver_of(facts);
    const Map map = {.each = each, .arg = arg, .err = err};

    if (driver == &plk_driver_ploop)
        return map_ploop(&map, at, facts);
    if (driver == &plk_driver_raw)
        return map_raw(&map, at);
    return plk_fail(err, PLK_ERROR_NO_SUPPORT, "'%s/%s' is neither a ploop nor a raw volume: ask 'qemu-img map'",
                    at->dir_path, at->name);
}
