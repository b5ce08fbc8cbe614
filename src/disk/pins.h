/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pins: who may do what with a virtual cluster right now.
 *
 * A request that reads or overwrites in place shares its cluster; one that changes where the cluster lies
 * (allocation, copy-up, discard, relocation) owns it alone. Both hold the pin for the whole I/O, so a cluster is
 * never moved or reused under a request that has looked it up. quiesce owns all clusters at once.
 *
 * Clusters share a fixed number of reader-writer locks; two clusters on one lock wait for each other needlessly,
 * never wrongly. A thread holds at most one pin. While any pin is held, resolved map pages stay in memory.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

#define PLK_PIN_LOCKS 32 /* ThreadSanitizer follows at most 64 locks a thread holds */

typedef struct PlkPin {
    pthread_rwlock_t lock;
} __attribute__((aligned(64))) PlkPin;

typedef struct PlkPins {
    PlkPin *locks;
} PlkPins;

int plk_pins_init(PlkPins *pins); /* 0 or -ENOMEM */
void plk_pins_clear(PlkPins *pins);

static inline pthread_rwlock_t *plk_pins_lock(PlkPins *pins, uint32_t cluster)
{
    return &pins->locks[cluster % PLK_PIN_LOCKS].lock;
}
static inline pthread_rwlock_t *plk_pins_share(PlkPins *pins, uint32_t cluster)
{
    pthread_rwlock_t *l = plk_pins_lock(pins, cluster);
    pthread_rwlock_rdlock(l);
    return l;
}
static inline pthread_rwlock_t *plk_pins_own(PlkPins *pins, uint32_t cluster)
{
    pthread_rwlock_t *l = plk_pins_lock(pins, cluster);
    pthread_rwlock_wrlock(l);
    return l;
}
static inline void plk_pins_release(pthread_rwlock_t *held)
{
    pthread_rwlock_unlock(held);
}

void plk_pins_own_all(PlkPins *pins);
void plk_pins_release_all(PlkPins *pins);
