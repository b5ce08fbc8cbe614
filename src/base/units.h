/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes as the ploop command reads and people like to see them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * "SIZE" of the ploop command: a C integer (decimal, 0x, 0 octal) and at most one of K M G T in either
 * case; without a suffix the unit is sectors. 0 on success with *ret_sectors set, -EINVAL for a
 * malformed text, -ERANGE from 2^32-1 times 512 sectors on (about 1 PiB).
 */
int plk_parse_sectors(const char *text, uint64_t *ret_sectors);

/* "1.5 GiB" into buf; returns buf. */
const char *plk_human_size(uint64_t bytes, char *buf, size_t len);
