/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Work that may hang, in a thread that can be left behind. Whoever of the two is last, the caller or the thread, frees.
 */
#include <errno.h>
#include <time.h>

#include "base/error.h"
#include "pool/pool.h"

typedef struct Patience {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    PlkPatientWork *work;
    void (*destroy)(void *);
    void *arg;
    bool done, left;
    int result;
    PlkError err;
} Patience;

static void free_patience(Patience *p)
{
    p->destroy(p->arg);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    g_free(p);
}

static void *run(void *arg)
{
    Patience *p = arg;
    PlkError err = {0};
    int result = p->work(p->arg, &err);
    bool left;

    pthread_mutex_lock(&p->lock);
    p->result = result;
    p->err = err;
    p->done = true;
    left = p->left;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (left)
        free_patience(p);
    return NULL;
}

static Patience *new_patience(PlkPatientWork *work, void *arg, void (*destroy)(void *))
{
    Patience *p = g_new0(Patience, 1);
    pthread_condattr_t attributes;

    p->work = work;
    p->arg = arg;
    p->destroy = destroy;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return p;
}

static bool wait_done(Patience *p, int timeout_ms)
{
    struct timespec end;
    bool done;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += timeout_ms / 1000;
    end.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (end.tv_nsec >= 1000000000L) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&p->lock);
    while (!p->done && pthread_cond_timedwait(&p->changed, &p->lock, &end) != ETIMEDOUT)
        ;
    done = p->done;
    p->left = !done;
    pthread_mutex_unlock(&p->lock);
    return done;
}

int plk_with_patience(PlkPatientWork *work, void *arg, void (*destroy)(void *), int timeout_ms, const char *what,
                      PlkError *err)
{
    Patience *p = new_patience(work, arg, destroy);
    pthread_t thread;
    int result = pthread_create(&thread, NULL, run, p);

    if (result != 0) {
        free_patience(p);
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, result, "cannot start a thread");
    }
    pthread_detach(thread);
    if (!wait_done(p, timeout_ms))
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, ETIMEDOUT, "%s does not answer", what);
    result = p->result;
    if (result != 0 && err)
        *err = p->err;
    free_patience(p);
    return result;
}
