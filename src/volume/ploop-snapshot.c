/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots of ploop volumes, and where their data lies: the engine's answers, by the place of a volume. */
#include <ploopkit/disk.h>
#include <ploopkit/snapshot.h>

#include "base/error.h"
#include "volume/ploop.h"

int plk_volume_snapshots(const PlkPlace *at, const PlkVolumeFacts *facts, PlkSnapshotList *ret, PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;

    return plk_ploop_open_dir(at, facts, &dir, err) < 0 ? -1 : plk_snapshot_list(dir.path, NULL, ret, err);
}

int plk_volume_snapshot_create(const PlkPlace *at, const PlkVolumeFacts *facts, const char *guid, char *ret_guid,
                               PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = guid};

    return plk_ploop_open_dir(at, facts, &dir, err) < 0 ? -1
                                                        : plk_snapshot_create(dir.path, NULL, &spec, ret_guid, err);
}

int plk_volume_snapshot_switch(const PlkPlace *at, const PlkVolumeFacts *facts, const char *guid, PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;

    return plk_ploop_open_dir(at, facts, &dir, err) < 0 ? -1
                                                        : plk_snapshot_switch(dir.path, NULL, guid, false, err);
}

int plk_volume_snapshot_delete(const PlkPlace *at, const PlkVolumeFacts *facts, const char *guid,
                               const PlkProgress *progress, PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;
    PlkDeleteResult how;

    return plk_ploop_open_dir(at, facts, &dir, err) < 0
               ? -1
               : plk_snapshot_delete(dir.path, NULL, guid, &how, progress, err);
}

int plk_volume_snapshot_merge(const PlkPlace *at, const PlkVolumeFacts *facts, const char *guid,
                              const PlkProgress *progress, PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;
    PlkMergeSpec spec = {.struct_size = sizeof spec, .guid = guid};

    return plk_ploop_open_dir(at, facts, &dir, err) < 0 ? -1
                                                        : plk_snapshot_merge(dir.path, NULL, &spec, progress, err);
}

static int map_disk(PlkDisk *disk, PlkVolumeMapEach *each, void *arg, PlkError *err)
{
    uint64_t size = plk_disk_size(disk);
    PlkExtent extent;

    for (uint64_t at = 0; at < size; at += extent.length) {
        int r = plk_disk_status(disk, at, size - at, &extent);
        const char *file;

        if (r < 0) {
            plk_disk_explain(disk, r, err);
            return -1;
        }
        file = extent.level < 0 ? NULL : plk_disk_image_path(disk, (unsigned)extent.level);
        if (each(arg, at, extent.length, extent.kind == PLK_EXTENT_DATA, file, extent.file_offset))
            return plk_fail(err, PLK_ERROR_CANCELLED, "the map was not wanted to its end");
    }
    return 0;
}

int plk_volume_map(const PlkPlace *at, const PlkVolumeFacts *facts, PlkVolumeMapEach *each, void *arg, PlkError *err)
{
    PLK_PLOOP_DIR_AUTO PlkPloopDir dir = PLK_PLOOP_DIR_INIT;
    PlkDiskOptions options = {.struct_size = sizeof options};
    PlkDisk *disk;
    int r;

    if (plk_ploop_open_dir(at, facts, &dir, err) < 0 || plk_disk_open(dir.path, &options, &disk, err) < 0)
        return -1;
    r = map_disk(disk, each, arg, err);
    plk_disk_close(disk, NULL);
    return r;
}
