/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An ext2/3/4 filesystem inside a disk, opened with libext2fs straight on the PlkDisk: no view, no mount.
 *
 * Everything read from it may lie: libext2fs checks structure and checksums, callers bound what they loop
 * over. One thread.
 */
#pragma once

#include <ext2fs/ext2fs.h>

#include <ploopkit/disk.h>

#include "base/error.h"
#include "filesystem/partition.h"

/*
 * NOT_FOUND when the partition holds no ext filesystem, UNSUPPORTED for features libext2fs does not know,
 * else FORMAT or READ. The disk must outlive it.
 */
int plk_ext4_open(PlkDisk *disk, const PlkPartition *part, bool writable, ext2_filsys *ret, PlkError *err);

/* The driver that would mount it: "ext4" alone knows extents and its later features. */
const char *plk_ext4_type(ext2_filsys fs);

/* Before inodes are made; also_blocks: before they get contents. On a big disk the block bitmaps are most of the work. */
int plk_ext4_read_bitmaps(ext2_filsys fs, bool also_blocks, PlkError *err);

/* Writes what changed (the primary superblock and group descriptors; backups stay as mke2fs or the kernel
 * left them), frees. */
int plk_ext4_close(ext2_filsys fs, PlkError *err);
/* Frees and writes nothing; NULL is fine. */
void plk_ext4_drop(ext2_filsys fs);
static inline void plk_ext4_dropp(ext2_filsys *fs)
{
    plk_ext4_drop(*fs);
}
#define PLK_EXT4_AUTO plk_cleanup(plk_ext4_dropp)

/*
 * The seam from libext2fs: small codes are errno values (as our channel returns them), the others have texts
 * of their own. Lack of blocks or inodes becomes NO_SPACE, lack of memory NO_MEMORY, whatever `code` says.
 */
int plk_fail_ext4(PlkError *err, PlkErrorCode code, errcode_t rc, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
