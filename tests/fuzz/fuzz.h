/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the fuzz targets share: taking an input apart, and saying what is wrong.
 *
 * A target is one file with LLVMFuzzerTestOneInput(). libFuzzer drives it in build-fuzz; everywhere else
 * replay.c does, over the committed inputs. It keeps nothing from one input to the next, so that an input that
 * fails once fails alone, and it does the same work whatever the time or the address of things.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Once, before the first input; every target has one. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Says so and aborts: libFuzzer keeps the input then. */
void fuzz_fail(const char *file, int line, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));

#define FUZZ_CHECK(cond, ...) ((cond) ? (void)0 : fuzz_fail(__FILE__, __LINE__, __VA_ARGS__))

/* The rest of an input. What is asked for beyond its end is zero. */
typedef struct FuzzInput {
    const uint8_t *at, *end;
} FuzzInput;

static inline size_t fuzz_left(const FuzzInput *in)
{
    return (size_t)(in->end - in->at);
}

static inline void fuzz_take(FuzzInput *in, void *buf, size_t n)
{
    size_t have = fuzz_left(in) < n ? fuzz_left(in) : n;

    memset(buf, 0, n);
    memcpy(buf, in->at, have);
    in->at += have;
}

/* Little-endian, of n bytes. */
static inline uint64_t fuzz_number(FuzzInput *in, size_t n)
{
    uint8_t bytes[8];
    uint64_t v = 0;

    fuzz_take(in, bytes, n);
    while (n-- > 0)
        v = v << 8 | bytes[n];
    return v;
}

static inline uint32_t fuzz_byte(FuzzInput *in)
{
    return (uint32_t)fuzz_number(in, 1);
}
