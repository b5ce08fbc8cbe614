/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploop volumes, as the rest of volume/ sees them. */
#pragma once

#include "volume/volume.h"

/*
 * dir_fd: an opened directory, place: where it stands. 0 with *ret filled in when it is a ploop volume,
 * however damaged (reason); 1 when it is an ordinary directory; -1 for NO_MEMORY and the like.
 */
int plk_ploop_probe(int dir_fd, const PlkPlace *place, PlkVolumeFacts *ret, PlkError *err);
/* plk_volume_stat() for these: fingerprint, sizes, owner and times anew; 1 when it is gone. */
int plk_ploop_stat(const PlkPlace *place, PlkVolumeFacts *facts, PlkError *err);
/* The disk (of from->snapshot, if given) into the new, empty file fd, which becomes as long as the disk;
 * sparse. */
int plk_ploop_export(const PlkVolumeOrigin *from, int fd, const PlkProgress *progress, PlkError *err);
