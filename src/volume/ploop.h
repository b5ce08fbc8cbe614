/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop volumes: a directory that holds DiskDescriptor.xml and the base image it names (root.hds as a rule).
 *
 *   ploop-probe.c     what a directory holds, by descriptor and headers alone
 *   ploop.c           the driver: make, remove, resize, wipe
 *   ploop-clone.c     copies of one, and disks that come from and go to other formats
 *   ploop-stream.c    its bytes in motion: of the base image, or of the disk
 *   ploop-snapshot.c  its snapshots
 *
 * The engine opens a volume by its path. Here that is /proc/self/fd/N of the directory that was opened beneath
 * the pool, so that whoever swaps names meanwhile changes nothing; errors and logs name the real place.
 */
#pragma once

#include "volume/volume.h"

#define PLK_PLOOP_DESCRIPTOR "DiskDescriptor.xml"
#define PLK_PLOOP_BASE "root.hds"

/* ---- ploop-probe.c ---- */

/*
 * dir_fd: an opened directory, stx: of it, place: where it stands. 0 with *ret filled in when it is a ploop volume,
 * however damaged (reason); 1 when it is an ordinary directory; -1 for NO_MEMORY and the like.
 */
int plk_ploop_probe(int dir_fd, const PlkPlace *place, const struct statx *stx, PlkVolumeFacts *ret, PlkError *err);
/* plk_volume_stat() for these: fingerprint, sizes, owner and times anew; stx: of the directory; 1 when it is gone. */
int plk_ploop_stat(const PlkPlace *place, const struct statx *stx, PlkVolumeFacts *facts);
/* The name of an image beneath the volume's directory, in `file` as the descriptor has it; NULL: it lies outside. */
const char *plk_ploop_image_name(const PlkPlace *place, const char *file);

/* A small file (descriptor, note) in the volume's directory: its text, g_free, NUL-terminated; NULL with -errno in *ret_error. */
char *plk_ploop_read_text(int dir, const char *name, size_t *ret_len, int *ret_error);

/* ---- ploop.c ---- */

/* The volume's directory, open. */
typedef struct PlkPloopDir {
    int fd;
    char path[32];        /* of the directory, for the engine */
    char *real;           /* for people */
    const char *base;     /* name of its base image */
    char base_path[4160]; /* of that, for the engine */
} PlkPloopDir;

int plk_ploop_open_dir(const PlkPlace *at, const PlkVolumeFacts *facts, PlkPloopDir *ret, PlkError *err);
void plk_ploop_close_dir(PlkPloopDir *dir);
#define PLK_PLOOP_DIR_AUTO __attribute__((cleanup(plk_ploop_close_dir)))
#define PLK_PLOOP_DIR_INIT                                                                                   \
    {                                                                                                        \
        .fd = -1                                                                                             \
    }

/* A new directory at its place, mode 0700 until plk_ploop_finish(). */
int plk_ploop_make_dir(const PlkPlace *at, PlkPloopDir *ret, PlkError *err);
/* Owner, mode and label of the directory and its files; all synced. */
int plk_ploop_finish(const PlkPlace *at, const PlkPloopDir *dir, const PlkPermissions *permissions, PlkError *err);
/* Undo of a make: the directory goes, with all that is in it. */
void plk_ploop_undo(const PlkPlace *at);
/* The disk becomes this large, its partition and filesystem too if it has any. */
int plk_ploop_set_capacity(const PlkPloopDir *dir, uint64_t capacity, bool shrink, const PlkProgress *progress,
                           PlkError *err);

/* ---- ploop-clone.c ---- */

int plk_ploop_clone(const PlkPlace *at, const PlkVolumeDef *def, const PlkVolumeOrigin *from, unsigned flags,
                    const PlkProgress *progress, PlkError *err);
/* The disk (of from->snapshot, if given) into the new, empty file fd, which becomes as long as the disk;
 * sparse. */
int plk_ploop_export(const PlkVolumeOrigin *from, int fd, const PlkProgress *progress, PlkError *err);

/* ---- ploop-stream.c ---- */

int plk_ploop_open(const PlkPlace *at, const PlkVolumeFacts *facts, PlkStreamWhat what, bool writing,
                   uint64_t offset, uint64_t length, PlkStream **ret, PlkError *err);
