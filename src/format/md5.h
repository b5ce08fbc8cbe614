/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The checksum of the format extension; also tells one text from another. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PLK_DIGEST_CHARS 32

void plk_md5(const void *data, size_t len, uint8_t ret[16]);
/* The same in hexadecimal, terminated. */
void plk_digest_text(const void *data, size_t len, char ret[PLK_DIGEST_CHARS + 1]);
