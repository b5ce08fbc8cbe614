/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Giving back clusters of a disk that its filesystem does not use. */
#pragma once

#include <ploopkit/disk.h>

/*
 * Gives back what the top image holds of the bytes [start, end): whole clusters are discarded, of partial ones at the
 * ends the part becomes a hole. What only lower images hold is left too: hiding it would take space instead of giving any. Adds to
 * *discarded.
 */
int plk_trim(PlkDisk *disk, uint64_t start, uint64_t end, uint64_t *discarded, PlkError *err);
