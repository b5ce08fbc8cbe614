/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The model's beginning, and the names of what happens to it. */
#include "model.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const char *act_name(Act act)
{
    static const char *const names[] = {
        [ACT_INIT] = "init",
        [ACT_WRITING] = "writing",
        [ACT_CLOSING] = "closing",
        [ACT_ONLINE_SNAPSHOT] = "snapshot of the open disk",
        [ACT_SNAPSHOT] = "snapshot",
        [ACT_DELETE] = "delete",
        [ACT_MERGE] = "merge",
        [ACT_SWITCH] = "switch",
        [ACT_GROW] = "grow",
        [ACT_SHRINK] = "shrink",
        [ACT_COMPACT] = "compact",
        [ACT_FORMAT] = "convert the format",
        [ACT_VERSION] = "convert the version",
        [ACT_CHECK] = "check",
        [ACT_EXPORT] = "export",
    };

    return names[act];
}

bool model_make_disk(Model *m, const char *top, int version, PlkFormat format)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec,
                          .size_sectors = (CLUSTERS_MIN + 8) * CLUSTER_SECTORS,
                          .cluster_sectors = CLUSTER_SECTORS,
                          .version = version,
                          .format = format};
    char base[96];
    PlkError err;

    snprintf(m->top, sizeof m->top, "%s", top);
    snprintf(m->vol, sizeof m->vol, "%s/vol", top);
    snprintf(m->xml, sizeof m->xml, "%s/DiskDescriptor.xml", m->vol);
    snprintf(m->out, sizeof m->out, "%s/out.raw", top);
    snprintf(base, sizeof base, "%s/root.hds", m->vol);
    m->acked.sectors = (uint32_t)spec.size_sectors;
    m->act = ACT_INIT;
    if (mkdir(m->vol, 0755) < 0 || plk_disk_create(base, &spec, NULL, NULL, "none", NULL, &err) < 0) {
        printf("cannot make a disk: %s\n", err.message);
        return false;
    }
    sync();
    return true;
}
