/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making a disk and saying so. The lines appear as things happen, so that a refused request prints none. */
#include "fill.h"

#include <inttypes.h>
#include <string.h>

#include "base/guid.h"
#include "base/math.h"

/* Runs when the image is there but not yet named by a descriptor. */
static int announce_and_fill(PlkDisk *disk, void *arg, const PlkProgress *progress, PlkError *err)
{
    const PlkNewDisk *want = arg;
    uint64_t sectors = plk_disk_size(disk) / PLK_SECTOR;
    PlkDiskInfo info;

    if (plk_disk_info(disk, &info, err) < 0)
        return -1;
    if (want->spec.format == PLK_FORMAT_RAW)
        plk_say(0, "Creating raw delta %s size=%" PRIu64 " sectors", want->base, sectors);
    else
        plk_say(0, "Creating %sdelta %s bs=%u size=%" PRIu64 " sectors v%d",
                want->spec.format == PLK_FORMAT_PREALLOCATED ? "preallocated " : "", want->base,
                info.cluster / PLK_SECTOR, sectors, info.version);
    fflush(stdout);
    return want->fill ? want->fill(disk, want->fill_arg, progress, err) : 0;
}

int plk_new_disk(const PlkNewDisk *want)
{
    const char *slash = strrchr(want->base, '/');
    PlkError err;

    if (plk_disk_create(want->base, &want->spec, announce_and_fill, (void *)want, want->filesystem,
                        plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    plk_say(0, "Adding snapshot %s", PLK_GUID_TOP.text);
    plk_say(0, "Storing %.*sDiskDescriptor.xml", slash ? (int)(slash - want->base + 1) : 0, want->base);
    return PLK_EXIT_OK;
}

int plk_arg_format(const PlkArgs *args, int id, PlkFormat *ret)
{
    static const struct {
        const char *name;
        PlkFormat format;
    } formats[] = {
        {"expanded", PLK_FORMAT_EXPANDED},
        {"ploop1", PLK_FORMAT_EXPANDED},
        {"preallocated", PLK_FORMAT_PREALLOCATED},
        {"raw", PLK_FORMAT_RAW},
    };
    const char *text = plk_arg(args, id);

    if (!text)
        return 0;
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        if (strcmp(formats[i].name, text) != 0)
            continue;
        *ret = formats[i].format;
        return 0;
    }
    return plk_cli_param("Incorrect format specified: %s (expanded, preallocated or raw)", text);
}

int plk_arg_alloc(const PlkArgs *args, int id, bool *ret_full)
{
    const char *text = plk_arg(args, id);

    if (!text)
        return 0;
    if (strcmp(text, "full") != 0 && strcmp(text, "sparse") != 0)
        return plk_cli_param("Invalid argument for option --alloc: %s (full or sparse)", text);
    *ret_full = text[0] == 'f';
    return 0;
}
