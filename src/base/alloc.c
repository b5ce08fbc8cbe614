/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/alloc.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Atomic long fail_countdown; /* 0 off; >0 allocations left before the failing one */
static _Atomic int fail_sticky;

unsigned long plk_alloc_fail_at(unsigned long n, int sticky)
{
    atomic_store(&fail_sticky, sticky);
    return (unsigned long)atomic_exchange(&fail_countdown, (long)n);
}

static int must_fail(void)
{
    long left;

    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) == 0)
        return 0;
    left = atomic_fetch_sub(&fail_countdown, 1);
    if (left > 1)
        return 0;
    atomic_store(&fail_countdown, atomic_load(&fail_sticky) ? 1 : 0);
    return 1;
}

void *plk_malloc(size_t size)
{
    return must_fail() ? NULL : malloc(size ? size : 1);
}

void *plk_calloc(size_t n, size_t size)
{
    return must_fail() ? NULL : calloc(n ? n : 1, size ? size : 1);
}

void *plk_realloc(void *p, size_t n, size_t size)
{
    return must_fail() ? NULL : reallocarray(p, n ? n : 1, size ? size : 1);
}

void *plk_aligned_alloc(size_t alignment, size_t size)
{
    return must_fail() ? NULL : aligned_alloc(alignment, size);
}

char *plk_strdup(const char *s)
{
    return must_fail() ? NULL : strdup(s);
}

char *plk_printf(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    int n;

    if (must_fail())
        return NULL;
    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    return n < 0 ? NULL : text;
}

/* A mapping costs several page faults, so what is small comes from the heap. */
#define MAP_MIN 65536u

void *plk_map_zeroed(size_t size)
{
    void *p;

    if (size < MAP_MIN)
        return plk_calloc(1, size ? size : 1);
    if (must_fail())
        return NULL;
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void plk_unmap_zeroed(void *p, size_t size)
{
    if (p && size < MAP_MIN)
        free(p);
    else if (p)
        munmap(p, size);
}
