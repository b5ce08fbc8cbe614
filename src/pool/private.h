/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * .ploopkit, the directory in a pool's directory that holds what is not a volume: names/ (reservations), incomplete/
 * (marks of uploads), stage/ (where volumes are born). Made when something is to be put there, and removed with the
 * last thing in it, so that a pool that nobody works on is as libvirt would leave it.
 */
#pragma once

#include <stdbool.h>

#include <ploopkit/error.h>

#define PLK_PRIVATE_DIR ".ploopkit"
#define PLK_PRIVATE_NAMES "names"

/* `which` in it, opened for reading; make: or made. -errno; -ENOENT: it is not there. */
int plk_private_open(int pool_dir, const char *which, bool make);
/* A file in one of them, made if O_CREAT is among the flags; -errno. Who can write to the pool's directory may have planted
 * what he likes: links are not followed, nobody waits for a fifo, and a second name of some other file is -EMLINK. */
int plk_private_open_file(int dir, const char *name, int flags);
/* Removes `which` and .ploopkit itself if they are empty. Harmless at any time: openers that make try again. */
void plk_private_tidy(int pool_dir, const char *which);
