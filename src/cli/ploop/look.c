/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking at a disk; see the header. */
#include "look.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/math.h"
#include "cli.h"

const char *plk_root;

int plk_look(const char *path, PlkLook *ret, PlkError *err)
{
    PlkLook look = {.descriptor = realpath(path, NULL)};

    if (!look.descriptor)
        return plk_fail_errno(err, errno == ENOMEM ? PLK_ERROR_NO_MEMORY : PLK_ERROR_DESCRIPTOR, errno,
                              "cannot resolve '%s'", path);
    if (plk_snapshot_list(path, plk_root, &look.list, err) < 0) {
        plk_look_clear(&look);
        return -1;
    }
    *ret = look;
    return 0;
}

void plk_look_clear(PlkLook *look)
{
    free(look->descriptor);
    plk_snapshot_list_clear(&look->list);
    *look = (PlkLook){0};
}

const PlkSnapshot *plk_look_find(const PlkLook *look, const char *guid)
{
    for (size_t i = 0; i < look->list.n; i++)
        if (strcasecmp(look->list.items[i].guid, guid) == 0)
            return &look->list.items[i];
    return NULL;
}

const PlkSnapshot *plk_look_active(const PlkLook *look)
{
    for (size_t i = 0; i < look->list.n; i++)
        if (look->list.items[i].active)
            return &look->list.items[i];
    return NULL;
}

const PlkSnapshot *plk_look_parent(const PlkLook *look, const PlkSnapshot *of)
{
    const PlkSnapshot *parent = plk_look_find(look, of->parent);

    return parent == of ? NULL : parent;
}

/* Images below this one; at most list.n, so that a descriptor going in circles does not keep us. */
static uint64_t depth(const PlkLook *look, const PlkSnapshot *s)
{
    uint64_t n = 0;

    while ((s = plk_look_parent(look, s)) && n < look->list.n)
        n++;
    return n;
}

const PlkSnapshot *plk_look_level(const PlkLook *look, uint64_t level)
{
    const PlkSnapshot *s = plk_look_active(look);
    uint64_t up = s ? depth(look, s) : 0;

    if (!s || level > up)
        return NULL;
    for (; up > level; up--)
        s = plk_look_parent(look, s);
    return s;
}

void plk_say_opening(const PlkLook *look)
{
    const PlkSnapshot *active = plk_look_active(look);

    if (active)
        plk_say(0, "Opening delta %s", active->path);
}

void plk_say_created(const char *descriptor, const char *path)
{
    PlkDisk *disk;
    PlkDiskInfo info;

    if (plk_cli_open(descriptor, false, &disk, NULL) < 0)
        return;
    if (plk_disk_info(disk, &info, NULL) == 0)
        plk_say(0, "Creating delta %s bs=%u size=%" PRIu64 " sectors v%d", path, info.cluster / PLK_SECTOR,
                info.size / PLK_SECTOR, info.version);
    plk_disk_close(disk, NULL);
}

const char *plk_last_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

int plk_cli_open(const char *path, bool locked, PlkDisk **ret, PlkError *err)
{
    PlkDiskOptions options = {
        .struct_size = sizeof(options),
        .root = plk_root,
        .skip_locks = !locked,
    };

    return plk_disk_open(path, &options, ret, err);
}

bool plk_is_descriptor(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot && strcmp(dot, ".xml") == 0;
}

int plk_need_descriptor(const char *path)
{
    if (plk_is_descriptor(path))
        return 0;
    return plk_cli_param("%s: this needs the disk's DiskDescriptor.xml, not an image", path);
}
