/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qemu-img for the formats that are not ours. Formats are always named, never guessed from contents that a
 * guest may have written, and a qcow2 file that points to other files is refused before QEMU sees it.
 */
#pragma once

#include <stdint.h>

#include <ploopkit/error.h>
#include <ploopkit/progress.h>

int plk_qemu_img_find(PlkError *err); /* UNSUPPORTED when it is not installed */
int plk_qemu_img_convert(const char *from_format, const char *from, const char *to_format, const char *to,
                         const PlkProgress *progress, PlkError *err);

/* 0 if fd is a qcow2 file that stands alone; *ret_size gets the bytes its guest sees. FORMAT or UNSUPPORTED
 * else. */
int plk_qcow2_check(int fd, const char *name, uint64_t *ret_size, PlkError *err);
