/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qemu-img on a short leash: it is told every file it may open, as descriptors that were opened and looked at
 * here, and the format of each. Nothing an image says about other files is followed by it.
 */
#pragma once

#include "volume/volume.h"

/* An image and those it rests on, opened for reading. */
typedef struct PlkQemuChain PlkQemuChain;

/*
 * Follows the names in the images: plain file names only, regular files and block devices, no images whose
 * data lies in yet another file, none that are encrypted. FORMAT, NO_SUPPORT, OPEN, ...
 */
int plk_qemu_chain_open(const PlkPlace *at, PlkFileFormat format, PlkQemuChain **ret, PlkError *err);
/* The same for a file by its absolute path; AUTO: by its header. */
int plk_qemu_chain_open_path(const char *path, PlkFileFormat format, PlkQemuChain **ret, PlkError *err);
/* One raw file, nothing below; fd is borrowed. */
PlkQemuChain *plk_qemu_chain_of_raw(int fd, uint64_t size);
void plk_qemu_chain_free(PlkQemuChain *chain);
static inline void plk_qemu_chain_freep(PlkQemuChain **chain)
{
    if (*chain)
        plk_qemu_chain_free(*chain);
}

uint64_t plk_qemu_chain_capacity(const PlkQemuChain *chain);
int plk_qemu_chain_top(const PlkQemuChain *chain); /* descriptor */
const int *plk_qemu_chain_fds(const PlkQemuChain *chain, size_t *ret_n);
/* All of it, as one argument for qemu-img; g_free. */
char *plk_qemu_chain_json(const PlkQemuChain *chain);

/* qemu's word for a format; NULL: it knows none. */
const char *plk_qemu_format(PlkFileFormat format);
/* Absolute; what an image at `path` means by the name `backing`. NULL: not a file name (a protocol). g_free
 */
char *plk_backing_path(const char *path, const char *backing);

/* The disk of any format qemu-img reads into the new, empty file fd. */
int plk_qemu_convert_to_raw(const PlkVolumeOrigin *from, int fd, const PlkProgress *progress, PlkError *err);
