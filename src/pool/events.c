/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events: put into one queue in the turn that made them, told after it by whichever thread finds nobody telling. So they keep
 * the order in which things happened, and the hook is called without a lock and holds up no turn.
 */
#include "pool/pool.h"

typedef struct Event {
    PlkPoolEvent event;
    PlkPool *pool;
} Event;

void plk_storage_on_event(PlkStorage *storage, PlkPoolEventHook *hook, void *arg)
{
    PLK_LOCKED(&storage->event_lock);

    storage->hook = hook;
    storage->hook_arg = arg;
}

static void deliver(PlkStorage *storage)
{
    Event *event;

    while ((event = g_queue_pop_head(&storage->events))) {
        PlkPoolEventHook *hook = storage->hook;
        void *arg = storage->hook_arg;

        pthread_mutex_unlock(&storage->event_lock);
        if (hook)
            hook(arg, event->event, event->pool->name, event->pool->uuid);
        plk_pool_unref(event->pool);
        g_free(event);
        pthread_mutex_lock(&storage->event_lock);
    }
}

void plk_pool_note(PlkPool *pool, PlkPoolEvent what)
{
    PlkStorage *storage = pool->storage;
    Event *event = g_new(Event, 1);
    PLK_LOCKED(&storage->event_lock);

    *event = (Event){what, plk_pool_ref(pool)};
    g_queue_push_tail(&storage->events, event);
}

void plk_storage_tell(PlkStorage *storage)
{
    PLK_LOCKED(&storage->event_lock);

    if (storage->delivering)
        return;
    storage->delivering = true;
    deliver(storage);
    storage->delivering = false;
}

void plk_pool_emit(PlkPool *pool, PlkPoolEvent what)
{
    PlkStorage *storage = pool->storage;

    plk_pool_note(pool, what);
    plk_storage_tell(storage);
}

void plk_pool_end_with(PlkPool *pool, bool happened, PlkPoolEvent what)
{
    if (happened)
        plk_pool_note(pool, what);
    plk_pool_end(pool);
    if (happened)
        plk_storage_tell(pool->storage);
}
