/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stand-in between the engine and the kernel. Linked with kernel_wraps (meson.build), every system call about files
 * passes here; a test lets one fail, or takes away what older kernels and poorer filesystems do not have. Syncs go
 * nowhere: nothing here is about what a crash leaves.
 */
#pragma once

#include <stdbool.h>

typedef struct Kernel {
    bool armed;
    const char *lacks;   /* words: these calls fail, all of them, with lacks_errno; NULL: there is all */
    int lacks_errno;
    unsigned long fails; /* the how-many-th of the calls fails, 1 = the first; 0: none does */
    int fails_errno;
    const char *only;    /* words: others are not counted; NULL: all are */
    unsigned long seen;  /* calls so far */
    const char *struck;  /* the call that has failed */
} Kernel;

extern Kernel kernel;
