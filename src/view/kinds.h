/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two ways to show a disk as a file, as view.c chooses between them. Private to this folder. */
#pragma once

#include "base/error.h"
#include "view/view.h"

typedef struct PlkWindow {
    PlkDisk *disk;
    uint64_t offset, length;
    bool writable;
} PlkWindow;

/* ---- fuse.c ---- */

typedef struct PlkFuse PlkFuse;

#define PLK_FUSE_FILE "disk"

/*
 * *ret_fd is the directory with the file, for the helper to open; the caller closes it before plk_fuse_stop().
 * UNSUPPORTED where FUSE cannot be used.
 */
int plk_fuse_start(const PlkWindow *window, PlkFuse **ret, int *ret_fd, PlkError *err);
/* Ends the service and frees. 0, or what the disk answered to the first request that failed. */
int plk_fuse_stop(PlkFuse *fuse);

/* ---- copy.c ---- */

int plk_copy_make(const PlkWindow *window, int *ret_fd, PlkError *err);
/* Into the disk, where it differs. */
int plk_copy_write_back(const PlkWindow *window, int fd, PlkError *err);
