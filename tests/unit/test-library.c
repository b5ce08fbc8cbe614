/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program of somebody else's: public headers and libploopkit.so, nothing of the house. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ploopkit/check.h>
#include <ploopkit/create.h>
#include <ploopkit/disk.h>
#include <ploopkit/filesystem.h>
#include <ploopkit/resize.h>
#include <ploopkit/snapshot.h>

static PlkError err;

static void must(int r, const char *what)
{
    if (r == 0)
        return;
    fprintf(stderr, "%s: %s (%s)\n", what, err.message, plk_error_name(err.code));
    exit(1);
}

int main(void)
{
    char dir[] = "/tmp/plk-library-XXXXXX", base[64], delta[4096];
    PlkCreateSpec create = {.struct_size = sizeof create, .size_sectors = 1 << 16};
    PlkMkfsSpec mkfs = {.struct_size = sizeof mkfs, .type = "ext4"};
    PlkDiskOptions open = {.struct_size = sizeof open, .writable = true};
    PlkSnapshotSpec snapshot = {.struct_size = sizeof snapshot};
    PlkFsUsage usage;
    PlkDisk *disk;
    char buf[512];

    if (!mkdtemp(dir))
        return 1;
    snprintf(base, sizeof base, "%s/root.hds", dir);
    must(plk_disk_create(base, &create, plk_mkfs_fill, &mkfs, "ext4", NULL, &err), "create");
    must(plk_snapshot_create(dir, NULL, &snapshot, NULL, &err), "snapshot");
    must(plk_disk_open(dir, &open, &disk, &err), "open");
    must(plk_disk_write(disk, memset(buf, 7, sizeof buf), sizeof buf, 0), "write");
    must(plk_disk_read(disk, buf, sizeof buf, 0), "read");
    must(plk_filesystem_usage(disk, &usage, &err), "usage");
    snprintf(delta, sizeof delta, "%s", plk_disk_image_path(disk, 1));
    must(plk_disk_close(disk, &err), "close");
    must(usage.block_bytes == 4096 && buf[511] == 7 ? 0 : -1, "what was read");
    unlink(delta);
    unlink(base);
    chdir(dir);
    unlink("DiskDescriptor.xml");
    unlink("DiskDescriptor.xml.lck");
    rmdir(dir);
    printf("ok a_program_links_the_library\n1 passed, 0 failed\n");
    return 0;
}
