/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checked and rounding arithmetic. Anything computed from bytes of a file goes through these. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLK_SECTOR_SHIFT 9
#define PLK_SECTOR 512u

/* True (and *ret meaningless) when the result does not fit. */
#define PLK_ADD_OVERFLOW(a, b, ret) __builtin_add_overflow((a), (b), (ret))
#define PLK_MUL_OVERFLOW(a, b, ret) __builtin_mul_overflow((a), (b), (ret))

#define PLK_MIN(a, b) ((a) < (b) ? (a) : (b))
#define PLK_MAX(a, b) ((a) > (b) ? (a) : (b))

static inline bool plk_is_pow2(uint64_t v)
{
    return v && !(v & (v - 1));
}

static inline unsigned plk_log2(uint64_t pow2)
{
    return (unsigned)__builtin_ctzll(pow2);
}

/* Unchecked: callers know that v + unit fits. unit need not be a power of two. */
static inline uint64_t plk_div_up(uint64_t v, uint64_t unit)
{
    return v / unit + (v % unit != 0);
}

static inline uint64_t plk_round_down(uint64_t v, uint64_t unit)
{
    return v - v % unit;
}

static inline uint64_t plk_round_up(uint64_t v, uint64_t unit)
{
    return plk_div_up(v, unit) * unit;
}

/* All bytes zero? Compares the buffer with itself one byte on, so memcmp's vector code does it. */
static inline bool plk_is_zero(const void *buf, size_t len)
{
    const unsigned char *p = buf;

    return len == 0 || (p[0] == 0 && __builtin_memcmp(p, p + 1, len - 1) == 0);
}
