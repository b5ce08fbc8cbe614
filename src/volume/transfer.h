/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moving bytes between a disk and plain files. Holes stay holes both ways, and the kernel copies where it can
 * (reflink, copy in the filesystem) before bytes come through this process.
 */
#pragma once

#include <stdint.h>

#include <ploopkit/disk.h>

/* The disk's contents to fd, which is empty. The file gets the disk's length. */
int plk_disk_to_file(PlkDisk *disk, int fd, const char *name, const PlkProgress *progress, PlkError *err);

/* A file's bytes into the disk, from its start; runs of zeros stay unallocated. */
int plk_file_to_disk(int fd, const char *name, PlkDisk *disk, const PlkProgress *progress, PlkError *err);

/* One file to another, byte by byte the same, holes kept. */
int plk_file_to_file(int in, const char *in_name, int out, const char *out_name, const PlkProgress *progress,
                     PlkError *err);

/* NO_SPACE unless the filesystem of `fd` has that much room. */
int plk_need_space(int fd, const char *name, uint64_t bytes, PlkError *err);
