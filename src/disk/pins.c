/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk/pins.h"

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"

int plk_pins_init(PlkPins *pins)
{
    pthread_rwlockattr_t attr;

    pins->locks = plk_aligned_alloc(_Alignof(PlkPin), PLK_PIN_LOCKS * sizeof(PlkPin));
    if (!pins->locks)
        return -ENOMEM;
    pthread_rwlockattr_init(&attr);
    /* A steady stream of readers must not keep an allocation waiting for ever. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    for (int i = 0; i < PLK_PIN_LOCKS; i++)
        pthread_rwlock_init(&pins->locks[i].lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    return 0;
}

void plk_pins_clear(PlkPins *pins)
{
    if (!pins->locks)
        return;
    for (int i = 0; i < PLK_PIN_LOCKS; i++)
        pthread_rwlock_destroy(&pins->locks[i].lock);
    free(pins->locks);
    pins->locks = NULL;
}

void plk_pins_own_all(PlkPins *pins)
{
    for (int i = 0; i < PLK_PIN_LOCKS; i++)
        pthread_rwlock_wrlock(&pins->locks[i].lock);
}

void plk_pins_release_all(PlkPins *pins)
{
    for (int i = PLK_PIN_LOCKS - 1; i >= 0; i--)
        pthread_rwlock_unlock(&pins->locks[i].lock);
}
