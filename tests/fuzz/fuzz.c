/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* To the descriptor: a target may have taken stderr away to look at what is printed there. */
void fuzz_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    dprintf(STDERR_FILENO, "%s:%d: ", file, line);
    va_start(ap, fmt);
    vdprintf(STDERR_FILENO, fmt, ap);
    va_end(ap);
    dprintf(STDERR_FILENO, "\n");
    abort();
}

/* Freed pages are touched again soon, which costs less than fresh ones; so does not telling who allocated. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=2:thread_local_quarantine_size_kb=64:malloc_context_size=1:"
           "allocator_release_to_os_interval_ms=-1";
}
