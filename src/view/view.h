/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A part of a disk shown as a file to a helper program (e2fsck, resize2fs).
 *
 * The file has no name anybody else could find: the helper inherits a descriptor (PlkRun.fds), through which alone it
 * is reached. Behind it is a FUSE mount that is never, or only for the
 * moment of opening, attached to the directory tree, so that nothing stays behind however this process ends.
 * Where there is no FUSE it is a sparse copy beside the image, its space checked first, written back at close
 * where it differs.
 *
 * The file starts out with the part's length and may be truncated (resize2fs does) but not grow beyond it.
 * What a truncation cut off keeps its bytes in the disk until somebody writes there.
 *
 * PLK_VIEW=copy in the environment asks for the copy.
 */
#pragma once

#include <ploopkit/disk.h>

typedef struct PlkView PlkView;

/* Bytes [offset, offset + length) of the disk, which must outlive the view and be used through nothing else
 * meanwhile. */
int plk_view_open(PlkDisk *disk, uint64_t offset, uint64_t length, bool writable, PlkView **ret,
                  PlkError *err);

/* For PlkRun.fds: the helper has to inherit it. Owned by the view. */
const int *plk_view_fd(const PlkView *view);
/* What to pass to the helper; valid until close. */
const char *plk_view_path(const PlkView *view);
bool plk_view_is_copy(const PlkView *view);

/*
 * After the helper has ended. Everything it wrote is in the disk, flushed; or -1 with the first thing that
 * went wrong since open. Frees in any case.
 */
int plk_view_close(PlkView *view, PlkError *err);
/* Frees; changes not yet in the disk are lost, so this is for disks that are thrown away. NULL is fine. */
void plk_view_drop(PlkView *view);
/*
 * The same after the helper has failed. Where the disk had refused it something, *err becomes that reason:
 * the helper's own words seldom tell. Returns -1.
 */
int plk_view_fail(PlkView *view, PlkError *err);
