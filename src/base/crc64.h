/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CRC-64/XZ (ECMA-182, reflected): finds what chance does to bytes, not what malice does. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Start with 0 and give back what came of the bytes before. */
uint64_t plk_crc64(uint64_t crc, const void *bytes, size_t len);
