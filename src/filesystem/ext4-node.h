/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files, directories and links of an ext4 filesystem as objects to make and take away. One thread; the
 * filesystem is open for writing (plk_ext4_open). Names are single path components.
 */
#pragma once

#include "filesystem/ext4-io.h"

/* ploop's hidden file in the root directory; empty unless an OpenVZ kernel inflated it. */
#define PLK_BALLOON_NAME ".balloon-c3a5ae3d-ce7f-43c4-a1ea-c61e2b4504e8"

/* What every node has. Times are seconds and nanoseconds since 1970. */
typedef struct PlkNodeMeta {
    uint16_t mode; /* with the S_IFMT type */
    uint32_t uid, gid;
    int64_t atime, mtime, ctime;
    uint32_t atime_ns, mtime_ns, ctime_ns;
    uint32_t major, minor; /* device nodes */
} PlkNodeMeta;

/*
 * A new node of meta->mode's type under `parent`; target is a symbolic link's. A regular file is empty. The
 * name must not exist. Returns 0 or a libext2fs code.
 */
errcode_t plk_node_create(ext2_filsys fs, ext2_ino_t parent, const char *name, const PlkNodeMeta *meta,
                          const char *target, ext2_ino_t *ret);
/* Mode, owner and times of a node that exists; its type stays. */
errcode_t plk_node_set_meta(ext2_filsys fs, ext2_ino_t ino, const PlkNodeMeta *meta);
/* Another name for a node that is no directory. EXT2_ET_TOO_MANY_REFS beyond ext4's 65000. */
errcode_t plk_node_link(ext2_filsys fs, ext2_ino_t parent, const char *name, ext2_ino_t ino);
/* Takes the name away, and the node with its last name. EXT2_ET_DIR_EXISTS for a directory that is not empty.
 */
errcode_t plk_node_unlink(ext2_filsys fs, ext2_ino_t parent, const char *name, ext2_ino_t ino);
