/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Seconds, and what is in the middle of many of them. */
#pragma once

#include <stdlib.h>
#include <time.h>

static inline double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts v; q: 0 to 1. */
static inline double quantile(double *v, size_t n, double q)
{
    size_t at = (size_t)((double)n * q);

    qsort(v, n, sizeof *v, by_value);
    return v[at < n ? at : n - 1];
}

static inline double median(double *v, size_t n)
{
    return quantile(v, n, 0.5);
}
