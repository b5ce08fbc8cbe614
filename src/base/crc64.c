/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Eight bytes a step; tables[k][b] is the CRC of byte b with k zero bytes behind it. */
#include "base/crc64.h"

#include <pthread.h>

#define POLYNOMIAL 0xc96c5795d7870f42u

static uint64_t tables[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_tables(void)
{
    for (unsigned b = 0; b < 256; b++) {
        uint64_t crc = b;

        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        tables[0][b] = crc;
    }
    for (unsigned k = 1; k < 8; k++)
        for (unsigned b = 0; b < 256; b++)
            tables[k][b] = tables[k - 1][b] >> 8 ^ tables[0][tables[k - 1][b] & 0xff];
}

static uint64_t load(const unsigned char *p)
{
    uint64_t word = 0;

    for (unsigned i = 8; i-- > 0;)
        word = word << 8 | p[i];
    return word;
}

uint64_t plk_crc64(uint64_t crc, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;

    pthread_once(&once, fill_tables);
    crc = ~crc;
    for (; len >= 8; len -= 8, p += 8) {
        crc ^= load(p);
        crc = tables[7][crc & 0xff] ^ tables[6][crc >> 8 & 0xff] ^ tables[5][crc >> 16 & 0xff] ^
              tables[4][crc >> 24 & 0xff] ^ tables[3][crc >> 32 & 0xff] ^ tables[2][crc >> 40 & 0xff] ^
              tables[1][crc >> 48 & 0xff] ^ tables[0][crc >> 56];
    }
    for (; len > 0; len--, p++)
        crc = crc >> 8 ^ tables[0][(crc ^ *p) & 0xff];
    return ~crc;
}
