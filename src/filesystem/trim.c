/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "filesystem/trim.h"

#include "base/error.h"
#include "base/math.h"

static int discard(PlkDisk *disk, uint64_t start, uint64_t end, uint64_t *discarded, PlkError *err)
{
    int rc = plk_disk_discard(disk, start, end - start);

    if (rc) {
        plk_disk_explain(disk, rc, err);
        return -1;
    }
    *discarded += end - start;
    return 0;
}

int plk_trim(PlkDisk *disk, uint64_t start, uint64_t end, uint64_t *discarded, PlkError *err)
{
    uint32_t cluster = plk_disk_cluster(disk);
    PlkDiskInfo info;

    if (plk_disk_info(disk, &info, err))
        return -1;
    end = plk_round_down(end, cluster);
    for (uint64_t at = plk_round_up(start, cluster); at < end;) {
        PlkExtent extent;
        uint64_t next;
        int rc = plk_disk_status(disk, at, end - at, &extent);
        if (rc) {
            plk_disk_explain(disk, rc, err);
            return -1;
        }
        /* Holes inside a cluster make extents shorter than it; the cluster counts as a whole. */
        next = plk_round_up(at + extent.length, cluster);
        if (extent.kind != PLK_EXTENT_UNALLOCATED && extent.level == (int)info.levels - 1 &&
            discard(disk, at, next, discarded, err))
            return -1;
        at = next;
    }
    return 0;
}
