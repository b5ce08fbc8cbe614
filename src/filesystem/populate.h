/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Filling a fresh filesystem from a directory or a tar archive (plain, gzip, bzip2, xz, zstd): owners, modes,
 * times, devices, fifos, hard and symbolic links, extended attributes, ACLs and holes. Needs no privilege for
 * reading a tar.
 *
 * Names are taken apart here: a leading "/" and "." are dropped, ".." is refused, no link is followed inside
 * the filesystem. A directory that the archive only implies is made with mode 0755; a name that comes twice
 * means the later one.
 */
#pragma once

#include "filesystem/ext4-io.h"

#include <ploopkit/progress.h>

/* fs is open for writing; on failure it is good for nothing but plk_ext4_drop(). */
int plk_populate(ext2_filsys fs, const char *source, const PlkProgress *progress, PlkError *err);
