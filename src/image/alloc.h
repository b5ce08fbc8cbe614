/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The allocator's side of opening and closing; clusters themselves come and go through image.h. */
#pragma once

#include "image/image.h"

void plk_allocator_init(PlkAllocator *a);
void plk_allocator_clear(PlkAllocator *a);

/*
 * Read the whole BAT once (its holes cost nothing): prove that every name lies inside the file and, below the
 * window, that none stands twice; learn the append position and which clusters are unnamed. -EUCLEAN with
 * img->damage set when the image lies.
 */
int plk_allocator_scan(PlkImage *img);

/* What must be true of the allocator of a prepared image at any time; for assert(), and not there without it. */
bool plk_allocator_holds(const PlkImage *img);

/* Make the file end where the last name does, in whole clusters. */
int plk_allocator_cut_tail(PlkImage *img);
