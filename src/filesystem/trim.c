/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "filesystem/trim.h"

#include "base/error.h"
#include "base/math.h"

static int explain(PlkDisk *disk, int rc, PlkError *err)
{
    if (rc)
        plk_disk_explain(disk, rc, err);
    return rc ? -1 : 0;
}

/*
 * One extent of the top image, at `at`: whole clusters are discarded, which frees their slots; of a cluster that is
 * used in part, the part becomes a hole. Holes inside a cluster make extents shorter than it, but the cluster counts
 * as a whole. Returns where to go on, 0 on failure.
 */
static uint64_t give_back(PlkDisk *disk, uint64_t at, uint64_t end, const PlkExtent *extent, uint64_t *discarded,
                          PlkError *err)
{
    uint32_t cluster = plk_disk_cluster(disk);
    uint64_t next = plk_round_up(at + extent->length, cluster), whole_end = plk_round_down(end, cluster);
    int rc;

    if (at % cluster == 0 && at < whole_end) {
        next = PLK_MIN(next, whole_end);
        rc = plk_disk_discard(disk, at, next - at);
    } else {
        next = PLK_MIN(at + extent->length, plk_round_down(at, cluster) + cluster);
        rc = extent->kind == PLK_EXTENT_DATA ? plk_disk_zero(disk, at, next - at) : 0;
    }
    if (explain(disk, rc, err))
        return 0;
    *discarded += extent->kind == PLK_EXTENT_DATA ? next - at : 0;
    return next;
}

int plk_trim(PlkDisk *disk, uint64_t start, uint64_t end, uint64_t *discarded, PlkError *err)
{
    PlkDiskInfo info;

    if (plk_disk_info(disk, &info, err))
        return -1;
    while (start < end) {
        PlkExtent extent;
        int rc = plk_disk_status(disk, start, end - start, &extent);

        if (explain(disk, rc, err))
            return -1;
        if (extent.kind == PLK_EXTENT_UNALLOCATED || extent.level != (int)info.levels - 1) {
            start += extent.length;
            continue;
        }
        start = give_back(disk, start, end, &extent, discarded, err);
        if (start == 0)
            return -1;
    }
    return 0;
}
