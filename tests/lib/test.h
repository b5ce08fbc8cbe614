/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The unit test frame: TEST(name) { ... } defines and registers, CHECK... fail the test and go on
 * with the next one, TEST_MAIN() runs all (or those whose name contains argv[1]) and prints one line each.
 */
#pragma once

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct TestCase {
    const char *name;
    void (*run)(void);
    struct TestCase *next;
} TestCase;

static TestCase *test_first, **test_last __attribute__((unused)) = &test_first;
static jmp_buf test_escape;

#define TEST(name) \
    static void test_##name(void); \
    __attribute__((constructor)) static void register_##name(void) \
    { \
        static TestCase c = {#name, test_##name, NULL}; \
        *test_last = &c; \
        test_last = &c.next; \
    } \
    static void test_##name(void)

__attribute__((noreturn, format(printf, 3, 4), unused)) static void
test_fail(const char *file, int line, const char *fmt, ...)
{
    __builtin_va_list ap;

    fprintf(stderr, "%s:%d: ", file, line);
    __builtin_va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    __builtin_va_end(ap);
    fputc('\n', stderr);
    longjmp(test_escape, 1);
}

#define CHECK(cond) ((cond) ? (void)0 : test_fail(__FILE__, __LINE__, "not true: %s", #cond))
#define CHECK_INT(a, b) \
    do { \
        long long a_ = (long long)(a), b_ = (long long)(b); \
        if (a_ != b_) \
            test_fail(__FILE__, __LINE__, "%s is %lld, expected %lld", #a, a_, b_); \
    } while (0)
#define CHECK_STR(a, b) \
    do { \
        const char *a_ = (a), *b_ = (b); \
        if (!a_ || strcmp(a_, b_)) \
            test_fail(__FILE__, __LINE__, "%s is '%s', expected '%s'", #a, a_ ? a_ : "(null)", b_); \
    } while (0)
/* A control-path call that must succeed; prints its error otherwise. `err` names a PlkError. */
#define CHECK_OK(call, err) \
    do { \
        if ((call) != 0) \
            test_fail(__FILE__, __LINE__, "%s: %s", #call, (err).message); \
    } while (0)
/* ... that must fail with this code. */
#define CHECK_FAILS(call, err, wanted) \
    do { \
        if ((call) == 0) \
            test_fail(__FILE__, __LINE__, "%s succeeded", #call); \
        if ((err).code != (wanted)) \
            test_fail(__FILE__, __LINE__, "%s: wrong error %d: %s", #call, (err).code, (err).message); \
    } while (0)

#define TEST_MAIN() \
    int main(int argc, char **argv) \
    { \
        static int failed, passed; /* static: they live across longjmp */ \
        static TestCase *c; \
        for (c = test_first; c; c = c->next) { \
            if (argc > 1 && !strstr(c->name, argv[1])) \
                continue; \
            if (setjmp(test_escape) == 0) { \
                c->run(); \
                printf("ok %s\n", c->name); \
                passed++; \
            } else { \
                printf("FAILED %s\n", c->name); \
                failed++; \
            } \
            fflush(stdout); \
        } \
        printf("%d passed, %d failed\n", passed, failed); \
        return failed != 0; \
    }
