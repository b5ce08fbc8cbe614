/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files in memory. Bytes of a content beyond the file's size are zero at all times, so that growing needs no
 * clearing.
 */
#include "io/memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"

struct PlkMemoryNode {
    _Atomic unsigned refs; /* one for the name, one each open */
    pthread_mutex_t mutex;
    pthread_cond_t unlocked; /* flock given back */
    uint64_t size;
    PlkContent content;
    unsigned shared, exclusive; /* image locks held */
    bool flocked;
    unsigned tag;
};

typedef struct MemoryIo {
    PlkIo io;
    PlkMemoryNode *node;
    PlkIoLock lock;
    bool holds_flock;
} MemoryIo;

static inline PlkMemoryNode *node_of(PlkIo *io)
{
    return ((MemoryIo *)io)->node;
}

/* ---- the life of a file ---- */

PlkMemoryNode *plk_memory_new(void)
{
    PlkMemoryNode *node = plk_calloc(1, sizeof *node);
    pthread_condattr_t attr;

    if (!node)
        return NULL;
    atomic_init(&node->refs, 1);
    pthread_mutex_init(&node->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&node->unlocked, &attr);
    pthread_condattr_destroy(&attr);
    return node;
}

PlkMemoryNode *plk_memory_ref(PlkMemoryNode *node)
{
    atomic_fetch_add(&node->refs, 1);
    return node;
}

void plk_memory_unref(PlkMemoryNode *node)
{
    if (atomic_fetch_sub(&node->refs, 1) > 1)
        return;
    plk_content_clear(&node->content);
    pthread_cond_destroy(&node->unlocked);
    pthread_mutex_destroy(&node->mutex);
    free(node);
}

PlkMemoryNode *plk_memory_new_of(const PlkContent *content, uint64_t size)
{
    PlkMemoryNode *node = plk_memory_new();

    if (!node)
        return NULL;
    if (plk_content_share(content, &node->content) < 0) {
        plk_memory_unref(node);
        return NULL;
    }
    node->size = size;
    return node;
}

int plk_memory_share(PlkMemoryNode *node, PlkContent *ret, uint64_t *ret_size)
{
    PLK_LOCKED(&node->mutex);

    *ret_size = node->size;
    return plk_content_share(&node->content, ret);
}

uint64_t plk_memory_print(PlkMemoryNode *node)
{
    PLK_LOCKED(&node->mutex);

    return (plk_content_print(&node->content, 0) ^ node->size) * 0x9e3779b97f4a7c15ull;
}

void plk_memory_get(PlkMemoryNode *node, uint64_t sector, size_t n, PlkSectorData **ret)
{
    PLK_LOCKED(&node->mutex);

    for (size_t i = 0; i < n; i++)
        ret[i] = plk_sector_ref(plk_content_get(&node->content, sector + i));
}

int plk_memory_put(PlkMemoryNode *node, uint64_t sector, size_t n, PlkSectorData *const *sectors)
{
    PLK_LOCKED(&node->mutex);
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        r = plk_content_set(&node->content, sector + i, sectors ? sectors[i] : NULL);
    if (r == 0)
        node->size = PLK_MAX(node->size, (sector + n) * PLK_SECTOR);
    return r;
}

/* ---- operations on a file ---- */

static ssize_t memory_read(PlkIo *io, void *buf, size_t len, uint64_t off, PlkPoint point)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);

    if (off >= node->size)
        return 0;
    len = PLK_MIN(len, node->size - off);
    plk_content_read(&node->content, buf, len, off);
    return (ssize_t)len;
}

static ssize_t memory_write(PlkIo *io, const void *buf, size_t len, uint64_t off, PlkPoint point)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);

    len = plk_content_write(&node->content, buf, len, off);
    if (len == 0)
        return -ENOMEM;
    node->size = PLK_MAX(node->size, off + len);
    return (ssize_t)len;
}

static int memory_sync(PlkIo *io, PlkPoint point)
{
    return 0;
}

static int memory_size(PlkIo *io, uint64_t *ret)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);

    *ret = node->size;
    return 0;
}

static int memory_truncate(PlkIo *io, uint64_t size, PlkPoint point)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);
    int r = size < node->size ? plk_content_punch(&node->content, size, UINT64_MAX) : 0;

    if (r == 0)
        node->size = size;
    return r;
}

static int memory_punch(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);

    return plk_content_punch(&node->content, off, off + len);
}

static int memory_allocate(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);
    int r = plk_content_reserve(&node->content, off, off + len);

    if (r == 0)
        node->size = PLK_MAX(node->size, off + len);
    return r;
}

static int memory_next_data(PlkIo *io, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);
    uint64_t start, end;

    if (off >= node->size || !plk_content_next_data(&node->content, off, &start, &end))
        start = end = node->size;
    *ret_start = PLK_MIN(start, node->size);
    *ret_end = PLK_MIN(end, node->size);
    return 0;
}

static void count_lock(PlkMemoryNode *node, PlkIoLock mode, int by)
{
    if (mode == PLK_IO_LOCK_SHARED)
        node->shared += (unsigned)by;
    else if (mode == PLK_IO_LOCK_EXCLUSIVE)
        node->exclusive += (unsigned)by;
}

/* The rule of io/lock.h, seen by an opener whose own lock is not counted. */
static int lock_verdict(const PlkMemoryNode *node, PlkIoLock mode)
{
    if (mode != PLK_IO_LOCK_NONE && node->exclusive > 0)
        return -EAGAIN;
    return mode == PLK_IO_LOCK_EXCLUSIVE && node->shared > 0 ? -EAGAIN : 0;
}

static int memory_lock_test(PlkIo *io, PlkIoLock mode)
{
    MemoryIo *mio = (MemoryIo *)io;
    PLK_LOCKED(&mio->node->mutex);
    int r;

    count_lock(mio->node, mio->lock, -1);
    r = lock_verdict(mio->node, mode);
    count_lock(mio->node, mio->lock, 1);
    return r;
}

static int memory_lock(PlkIo *io, PlkIoLock mode)
{
    MemoryIo *mio = (MemoryIo *)io;
    PLK_LOCKED(&mio->node->mutex);
    int r;

    count_lock(mio->node, mio->lock, -1);
    r = lock_verdict(mio->node, mode);
    if (r == 0)
        mio->lock = mode;
    count_lock(mio->node, mio->lock, 1);
    return r;
}

static void memory_close(PlkIo *io)
{
    MemoryIo *mio = (MemoryIo *)io;

    pthread_mutex_lock(&mio->node->mutex);
    count_lock(mio->node, mio->lock, -1);
    if (mio->holds_flock) {
        mio->node->flocked = false;
        pthread_cond_signal(&mio->node->unlocked);
    }
    pthread_mutex_unlock(&mio->node->mutex);
    plk_memory_unref(mio->node);
    free(mio);
}

static const PlkIoOps memory_ops = {
    .struct_size = sizeof(PlkIoOps),
    .name = "memory",
    .read = memory_read,
    .write = memory_write,
    .sync = memory_sync,
    .size = memory_size,
    .truncate = memory_truncate,
    .punch = memory_punch,
    .allocate = memory_allocate,
    .next_data = memory_next_data,
    .lock = memory_lock,
    .lock_test = memory_lock_test,
    .close = memory_close,
};

int plk_memory_open(PlkMemoryNode *node, const char *name, bool writable, PlkIo **ret)
{
    MemoryIo *mio = plk_calloc(1, sizeof *mio);

    if (!mio || !plk_io_init(&mio->io, &memory_ops, name, writable)) {
        free(mio);
        return -ENOMEM;
    }
    mio->node = plk_memory_ref(node);
    *ret = &mio->io;
    return 0;
}

PlkMemoryNode *plk_memory_node(PlkIo *io)
{
    return io->ops == &memory_ops ? node_of(io) : NULL;
}

unsigned *plk_memory_tag(PlkMemoryNode *node)
{
    return &node->tag;
}

int plk_memory_flock(PlkIo *io, int timeout_ms)
{
    MemoryIo *mio = (MemoryIo *)io;
    PLK_LOCKED(&mio->node->mutex);
    struct timespec until;
    int waited = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    while (mio->node->flocked && waited == 0)
        waited = pthread_cond_timedwait(&mio->node->unlocked, &mio->node->mutex, &until);
    if (mio->node->flocked)
        return -EAGAIN;
    mio->node->flocked = mio->holds_flock = true;
    return 0;
}
