/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Image locks in QEMU's own terms: open-file-description locks on single bytes, shared mode always,
 * and a test for the opposite byte. Byte 100+n says "I use permission n", byte 200+n says "nobody else
 * may use permission n". n: 0 consistent read, 1 write, 3 resize. So qemu-img, qemu-nbd, QEMU, Virtuozzo
 * 9 and we exclude one another without knowing of each other.
 *
 *   shared     uses 0        and forbids 1, 3
 *   exclusive  uses 0, 1, 3  and forbids 1, 3
 */
#pragma once

#include "io/io.h"

/* From no lock to `mode`, or NONE: drop all. -EAGAIN: somebody is in the way; then nothing is held. */
int plk_lock_fd(int fd, PlkIoLock mode);
/* From one mode to another; after a failure `held` is still held. */
int plk_lock_fd_change(int fd, PlkIoLock held, PlkIoLock mode);
int plk_lock_fd_test(int fd, PlkIoLock mode); /* takes nothing */

/*
 * "qemu-nbd (pid 4711)" into buf: who has the file behind fd open, other than through fd itself. Best effort
 * (needs the right to look into /proc/PID/fd); "another process" when nobody can be named.
 */
const char *plk_lock_owner(int fd, char *buf, size_t len);
