/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The least a look at all volumes of a directory can cost: the system calls, and nothing done with what they bring. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef enum FloorKind {
    FLOOR_PROBE, /* what a probe of a ploop volume asks for */
    FLOOR_STATX, /* what finding one unchanged asks for */
} FloorKind;

/*
 * All names in `path`, in `threads` threads, in the order of the directory or, as ours, of the names: on a cold disk that order
 * is worth more than all else. The number of volumes looked at; 0: something is missing.
 */
size_t floor_run(const char *path, FloorKind kind, unsigned threads, bool sorted);
