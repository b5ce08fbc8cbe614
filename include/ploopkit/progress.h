/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Progress and cancellation of long operations.
 *
 * Every operation whose time grows with the data takes a `const PlkProgress *`, which may be NULL.
 * update() is called from the thread that runs the operation, at most about ten times a second and
 * once at the end with done == total. A non-zero return asks the operation to stop: it stops at the
 * next point where nothing is half-made, and fails with PLK_ERROR_CANCELLED.
 */
#ifndef PLOOPKIT_PROGRESS_H
#define PLOOPKIT_PROGRESS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct PlkProgress {
    int (*update)(void *arg, const char *what, uint64_t done, uint64_t total); /* bytes */
    void *arg;
} PlkProgress;

#ifdef __cplusplus
}
#endif
#endif
