/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Folding images into one below them, or into a new one; see fold.c. */
#pragma once

#include "image/image.h"

typedef enum PlkFoldFlags {
    PLK_FOLD_BASE = 1 << 0,  /* nothing lies below the target, so zeros need no cluster */
    PLK_FOLD_FRESH = 1 << 1, /* the target reads as zeros wherever its clusters lie */
} PlkFoldFlags;

/*
 * sources: from the uppermost down, open for reading. target: open for writing; the image below the last
 * source, or a new one. It is grown to the uppermost's size first. After 0 all is on disk, but for the closed
 * mark; after an error the target holds a mix of old and new clusters, harmless since the sources hide it,
 * and can be folded into again.
 */
int plk_images_fold(PlkImage *const *sources, size_t n, PlkImage *target, unsigned flags,
                    const PlkProgress *progress, PlkError *err);
/* Could they be folded so? Looks at sizes alone; plk_images_fold() asks by itself. */
int plk_images_check_fit(PlkImage *const *sources, size_t n, const PlkImage *target, PlkError *err);
