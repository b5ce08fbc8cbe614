/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making a disk and saying so: what init and import have in common. */
#pragma once

#include <ploopkit/create.h>

#include "cli.h"

typedef struct PlkNewDisk {
    const char *base; /* image to be */
    PlkCreateSpec spec;
    PlkCreateFill *fill; /* NULL = leave it empty */
    void *fill_arg;
    const char *filesystem; /* word for the geometry note */
} PlkNewDisk;

/* Makes it, printing the original's lines; returns the exit code. */
int plk_new_disk(const PlkNewDisk *want);

/* 0 or PLK_EXIT_PARAM; an option that was not given leaves *ret alone. */
int plk_arg_format(const PlkArgs *args, int id, PlkFormat *ret);
int plk_arg_alloc(const PlkArgs *args, int id, bool *ret_full);
