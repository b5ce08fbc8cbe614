/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/debug.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Atomic unsigned plk_debug_mask;

static const struct {
    const char *name;
    unsigned bit;
} areas[] = {
    {"corrupt", PLK_DEBUG_CORRUPT}, {"io", PLK_DEBUG_IO},     {"image", PLK_DEBUG_IMAGE},
    {"disk", PLK_DEBUG_DISK},       {"lock", PLK_DEBUG_LOCK}, {"helper", PLK_DEBUG_HELPER},
    {"fs", PLK_DEBUG_FS},           {"rpc", PLK_DEBUG_RPC},   {"all", ~0u >> 2},
};

unsigned plk_debug_init(void)
{
    unsigned mask = PLK_DEBUG_READY;
    const char *s = getenv("PLK_DEBUG");

    while (s && *s) {
        size_t n = strcspn(s, ",");
        for (size_t i = 0; i < sizeof areas / sizeof areas[0]; i++)
            if (strlen(areas[i].name) == n && memcmp(areas[i].name, s, n) == 0)
                mask |= areas[i].bit;
        s += n;
        s += *s == ',';
    }
    atomic_store(&plk_debug_mask, mask);
    return mask;
}

void plk_debug_print(PlkDebugArea area, const char *fmt, ...)
{
    char line[1200];
    const char *name = "?";
    va_list ap;

    for (size_t i = 0; i < sizeof areas / sizeof areas[0]; i++)
        if (areas[i].bit == (unsigned)area)
            name = areas[i].name;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    fprintf(stderr, "ploopkit: %s: %s\n", name, line);
}
