/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Little-endian on-disk integers as types of their own: a struct, so that forgetting a conversion
 * does not compile.
 */
#pragma once

#include <endian.h>
#include <stdint.h>

typedef struct PlkLe32 {
    uint32_t raw;
} PlkLe32;

typedef struct __attribute__((packed)) PlkLe64 {
    uint64_t raw;
} PlkLe64;

static inline uint32_t plk_le32(PlkLe32 v)
{
    return le32toh(v.raw);
}

static inline uint64_t plk_le64(PlkLe64 v)
{
    return le64toh(v.raw);
}

static inline PlkLe32 plk_to_le32(uint32_t v)
{
    return (PlkLe32){htole32(v)};
}

static inline PlkLe64 plk_to_le64(uint64_t v)
{
    return (PlkLe64){htole64(v)};
}
