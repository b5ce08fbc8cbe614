/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MD5 (RFC 1321). The format extension carries one as a checksum; nothing is trusted because of it, so a
 * cryptographic library would only add weight to the engine.
 */
#include "format/md5.h"

#include <stdio.h>
#include <string.h>

#include "base/endian.h"

#define BLOCK 64u

static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};
static const uint8_t turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static uint32_t rotate(uint32_t v, unsigned n)
{
    return v << n | v >> (32 - n);
}

/* One of the four rounds' mixing functions, and through *word which word of the block step i takes. */
static uint32_t mix(unsigned i, uint32_t b, uint32_t c, uint32_t d, unsigned *word)
{
    switch (i / 16) {
    case 0:
        *word = i;
        return (b & c) | (~b & d);
    case 1:
        *word = (5 * i + 1) % 16;
        return (d & b) | (~d & c);
    case 2:
        *word = (3 * i + 5) % 16;
        return b ^ c ^ d;
    default:
        *word = 7 * i % 16;
        return c ^ (b | ~d);
    }
}

static void add_block(uint32_t state[4], const uint8_t *block)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    PlkLe32 words[16];

    memcpy(words, block, sizeof words);
#pragma GCC unroll 64
    for (unsigned i = 0; i < 64; i++) {
        unsigned w;
        uint32_t f = mix(i, b, c, d, &w);
        uint32_t turned = rotate(a + f + sines[i] + plk_le32(words[w]), turns[i / 16][i % 4]);

        a = d;
        d = c;
        c = b;
        b += turned;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

void plk_md5(const void *data, size_t len, uint8_t ret[16])
{
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    uint8_t tail[2 * BLOCK] = {0};
    const uint8_t *p = data;
    size_t rest = len % BLOCK, tail_len = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;
    PlkLe64 bits = plk_to_le64((uint64_t)len * 8);

    for (size_t i = 0; i < len - rest; i += BLOCK)
        add_block(state, p + i);
    if (rest)
        memcpy(tail, p + len - rest, rest);
    tail[rest] = 0x80;
    memcpy(tail + tail_len - 8, &bits, 8);
    for (size_t i = 0; i < tail_len; i += BLOCK)
        add_block(state, tail + i);
    for (int i = 0; i < 4; i++) {
        PlkLe32 word = plk_to_le32(state[i]);

        memcpy(ret + 4 * i, &word, 4);
    }
}

void plk_digest_text(const void *data, size_t len, char ret[PLK_DIGEST_CHARS + 1])
{
    uint8_t digest[PLK_DIGEST_CHARS / 2];

    plk_md5(data, len, digest);
    for (unsigned i = 0; i < sizeof digest; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}
