/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packing the active image of a disk; the work is image/compact.c. The descriptor does not change. */
#include <ploopkit/resize.h>

#include "base/cleanup.h"
#include "change/operation.h"

int plk_store_compact(PlkStore *store, uint64_t *ret_freed, const PlkProgress *progress, PlkError *err)
{
    uint64_t freed = 0;
    PlkImage *img;
    int index, r;

    index = plk_descriptor_find_image(&store->desc, &store->desc.top);
    if (index < 0)
        return plk_fail(err, PLK_ERROR_DESCRIPTOR, "descriptor '%s/%s': the active state has no image",
                        store->dir->path, store->name);
    if (plk_store_open_image(store, index, PLK_IMAGE_WRITE, &img, err) < 0)
        return -1;
    r = plk_image_compact(img, &freed, progress, err);
    if (plk_image_close(img, r < 0 ? NULL : err) < 0)
        r = -1;
    if (r == 0 && ret_freed)
        *ret_freed = freed;
    return r;
}

int plk_disk_compact(const char *path, const char *root, uint64_t *ret_freed, const PlkProgress *progress,
                     PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_locked(path, root, &store, err) < 0)
        return -1;
    return plk_store_compact(store, ret_freed, progress, err);
}
