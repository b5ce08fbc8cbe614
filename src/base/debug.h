/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Debug output, never compiled out: PLK_DEBUG=image,io,... (or "all") in the environment prints to
 * stderr. The test is one load, so it may stand on warm paths, but not on the data path proper.
 */
#pragma once

#include <stdatomic.h>

typedef enum PlkDebugArea {
    PLK_DEBUG_CORRUPT = 1 << 0,
    PLK_DEBUG_IO = 1 << 1,
    PLK_DEBUG_IMAGE = 1 << 2,
    PLK_DEBUG_DISK = 1 << 3,
    PLK_DEBUG_LOCK = 1 << 4,
    PLK_DEBUG_HELPER = 1 << 5,
    PLK_DEBUG_FS = 1 << 6,
    PLK_DEBUG_RPC = 1 << 7,
    PLK_DEBUG_READY = 1 << 30, /* the environment was read */
} PlkDebugArea;

extern _Atomic unsigned plk_debug_mask;

unsigned plk_debug_init(void);
void plk_debug_print(PlkDebugArea area, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline int plk_debug_on(PlkDebugArea area)
{
    unsigned m = atomic_load_explicit(&plk_debug_mask, memory_order_relaxed);

    if (!(m & PLK_DEBUG_READY))
        m = plk_debug_init();
    return (m & (unsigned)area) != 0;
}

#define plk_debug(area, ...) \
    do { \
        if (plk_debug_on(area)) \
            plk_debug_print((area), __VA_ARGS__); \
    } while (0)
