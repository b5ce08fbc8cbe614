/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots of ploop volumes: the engine's, by the place of a volume. */
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
