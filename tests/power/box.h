/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A filesystem whose power can be cut: on a loop device over memory, mounted in a mount namespace of this process
 * alone. All of it is gone when the process is, however it ends.
 *
 * A cut is the filesystem's own shutdown call: it stops taking anything, and what it had not sent to its device
 * is lost. What the kernel has cached of the device goes as well. Mounting again replays the journal, as after a
 * power failure. What a real disk's volatile cache would lose is not lost here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct Box {
    const char *fs, *options;
    int memory, loop;
    char device[32], where[32];
} Box;

/* Once, before the first box. False: not root, or no namespaces here. */
bool box_allowed(void);
/* False: not to be had here, errno says why. Makes a filesystem and mounts it. */
bool box_make(Box *b, const char *fs, const char *options);
/* The filesystem anew, empty. */
void box_renew(Box *b, const char *options);
/* Stops the process group of `writer`, cuts the power, kills the group, and mounts again. */
void box_cut(Box *b, pid_t writer, bool helpers);
void box_end(Box *b);
