/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The size of a disk, and giving space back. Offline: the images are locked exclusively meanwhile. These
 * know nothing of partitions or filesystems; see <ploopkit/filesystem.h> for those that do.
 */
#ifndef PLOOPKIT_RESIZE_H
#define PLOOPKIT_RESIZE_H

#include <ploopkit/disk.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grow the active image and the descriptor. Equal size: nothing. Smaller: ARGUMENT. */
PLK_API int plk_disk_grow(const char *path, const char *root, uint64_t size_sectors,
                          const PlkProgress *progress, PlkError *err);

/* Grow one image file; no descriptor is touched. Size must be whole clusters (ARGUMENT). Dirty: DIRTY. raw: rounded up to 8 sectors. */
PLK_API int plk_image_file_grow(const char *image_path, bool raw, uint64_t size_sectors,
                                const PlkProgress *progress, PlkError *err);

/* Cut the disk: what lies beyond is lost. Refused (BUSY) while snapshots exist. */
PLK_API int plk_disk_shrink(const char *path, const char *root, uint64_t size_sectors,
                            const PlkProgress *progress, PlkError *err);

/* Pack the active image: unnamed clusters inside it are filled from its end and the file is cut.
 * *ret_freed (may be NULL): bytes the file got shorter. */
PLK_API int plk_disk_compact(const char *path, const char *root, uint64_t *ret_freed,
                             const PlkProgress *progress, PlkError *err);

#ifdef __cplusplus
}
#endif
#endif
