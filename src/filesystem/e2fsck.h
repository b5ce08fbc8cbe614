/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* e2fsck and resize2fs on a partition of an open disk, through a view. */
#pragma once

#include <ploopkit/disk.h>

#include "filesystem/partition.h"

typedef enum PlkFsckMode {
    PLK_FSCK_LOOK,   /* -n: read-only */
    PLK_FSCK_REPAIR, /* -p: what can be repaired without asking; replays the journal */
} PlkFsckMode;

/* FSCK error, with e2fsck's own last words, if errors are left. The disk must be writable for REPAIR. */
int plk_e2fsck(PlkDisk *disk, const PlkPartition *part, PlkFsckMode mode, const PlkProgress *progress,
               PlkError *err);

/* To so many KiB, or to the end of the partition if 0. RESIZE_FS error if resize2fs refuses. */
int plk_resize2fs(PlkDisk *disk, const PlkPartition *part, uint64_t kib, const PlkProgress *progress,
                  PlkError *err);
