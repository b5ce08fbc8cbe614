/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The checksum of the format extension. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void plk_md5(const void *data, size_t len, uint8_t ret[16]);
