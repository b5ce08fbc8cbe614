/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine's allocator: malloc that returns NULL, never aborts, and can be made to fail on demand
 * (plk_alloc_fail_at) so that tests walk every out-of-memory path. Free with free().
 */
#pragma once

#include <stddef.h>

void *plk_malloc(size_t size);
void *plk_calloc(size_t n, size_t size);           /* NULL on overflow too */
void *plk_realloc(void *p, size_t n, size_t size); /* n elements; p stays valid on failure */
void *plk_aligned_alloc(size_t alignment, size_t size); /* size: a multiple of alignment */
char *plk_strdup(const char *s);
char *plk_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Zeroed memory; if it is much, it costs nothing until touched (an anonymous mapping). */
void *plk_map_zeroed(size_t size);
void plk_unmap_zeroed(void *p, size_t size);

/*
 * Fail the n-th allocation from now (1 = the next), once or from then on; 0 switches it off. Returns what was left
 * of the n before: 0 = it has failed.
 */
unsigned long plk_alloc_fail_at(unsigned long n, int sticky);
