/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scope-bound ownership: declare with an initialiser, hand on with PLK_TAKE. Files that own a type
 * define its cleanup beside its prototypes with PLK_DEFINE_CLEANUP.
 */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define plk_cleanup(f) __attribute__((cleanup(f)))

/* Defines f##p(T **): calls f on a non-NULL pointer going out of scope. */
#define PLK_DEFINE_CLEANUP(T, f) \
    static inline void f##p(T **p) \
    { \
        if (*p) \
            f(*p); \
    }

#define PLK_TAKE(p) \
    ({ \
        __typeof__(p) taken_ = (p); \
        (p) = NULL; \
        taken_; \
    })

#define PLK_TAKE_FD(fd) \
    ({ \
        int taken_ = (fd); \
        (fd) = -1; \
        taken_; \
    })

static inline void plk_freep(void *p)
{
    free(*(void **)p);
}

static inline void plk_closep(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}

static inline void plk_unlockp(pthread_mutex_t **m)
{
    pthread_mutex_unlock(*m);
}

#define PLK_FREE plk_cleanup(plk_freep)
#define PLK_CLOSE plk_cleanup(plk_closep)

/* Hold a mutex to the end of the scope. */
#define PLK_CONCAT_(a, b) a##b
#define PLK_CONCAT(a, b) PLK_CONCAT_(a, b)
#define PLK_LOCKED(mutex) \
    plk_cleanup(plk_unlockp) pthread_mutex_t *PLK_CONCAT(held_, __LINE__) = (mutex); \
    pthread_mutex_lock(PLK_CONCAT(held_, __LINE__))
