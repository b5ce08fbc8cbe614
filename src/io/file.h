/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A PlkIo on a descriptor: what the directory of real files needs to make one. */
#pragma once

#include "io/io.h"

typedef struct PlkFile {
    PlkIo io;
    int fd;
    PlkIoLock lock; /* mode held; only the owner of the io locks */
    /*
     * A file that should have no name but, for want of O_TMPFILE, has one: unlinked at close. NULL as soon as
     * it was given its real name.
     */
    char *temp_name;
    int temp_dir;
} PlkFile;

/* Takes fd over when it succeeds, and only then. */
int plk_file_new(int fd, const char *name, bool writable, PlkFile **ret);
/* NULL when io is something else. */
PlkFile *plk_file_of(PlkIo *io);
