/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files in memory. Contents are pages of 64 KiB in an array sorted by index; a page that is absent
 * reads as zeros. Bytes of a page beyond the file's size are zero at all times, so that growing needs no
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

#define PAGE_SIZE 65536u

typedef struct Page {
    uint64_t index;
    unsigned char *bytes;
} Page;

struct PlkMemoryNode {
    _Atomic unsigned refs; /* one for the name, one each open */
    pthread_mutex_t mutex;
    pthread_cond_t unlocked; /* flock given back */
    uint64_t size;
    Page *pages;
    size_t page_count, page_room;
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
    for (size_t i = 0; i < node->page_count; i++)
        free(node->pages[i].bytes);
    free(node->pages);
    pthread_cond_destroy(&node->unlocked);
    pthread_mutex_destroy(&node->mutex);
    free(node);
}

/* ---- pages; all under the file's mutex ---- */

/* Position of the first page whose index is `index` or more. */
static size_t page_position(const PlkMemoryNode *node, uint64_t index)
{
    size_t low = 0, high = node->page_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (node->pages[mid].index < index)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static unsigned char *page_find(const PlkMemoryNode *node, uint64_t index)
{
    size_t at = page_position(node, index);

    return at < node->page_count && node->pages[at].index == index ? node->pages[at].bytes : NULL;
}

/* The page, made if absent; NULL when out of memory. */
static unsigned char *page_make(PlkMemoryNode *node, uint64_t index)
{
    unsigned char *bytes = page_find(node, index);
    size_t at;

    if (bytes)
        return bytes;
    if (node->page_count == node->page_room) {
        size_t room = node->page_room ? node->page_room * 2 : 16;
        Page *grown = plk_realloc(node->pages, room, sizeof *grown);

        if (!grown)
            return NULL;
        node->pages = grown;
        node->page_room = room;
    }
    bytes = plk_calloc(1, PAGE_SIZE);
    if (!bytes)
        return NULL;
    at = page_position(node, index);
    memmove(node->pages + at + 1, node->pages + at, (node->page_count - at) * sizeof *node->pages);
    node->pages[at] = (Page){index, bytes};
    node->page_count++;
    return bytes;
}

/* Whole pages go, parts of pages are cleared; the size stays. */
static void pages_clear(PlkMemoryNode *node, uint64_t off, uint64_t end)
{
    size_t kept = page_position(node, off / PAGE_SIZE);

    for (size_t i = kept; i < node->page_count; i++) {
        Page page = node->pages[i];
        uint64_t start = page.index * PAGE_SIZE;
        uint64_t from = PLK_MAX(off, start), to = PLK_MIN(end, start + PAGE_SIZE);

        if (from <= start && to == start + PAGE_SIZE) {
            free(page.bytes);
            continue;
        }
        if (from < to)
            memset(page.bytes + (from - start), 0, to - from);
        node->pages[kept++] = page;
    }
    node->page_count = kept;
}

/* ---- operations on a file ---- */

/* One page at most: the gate asks again. */
static ssize_t memory_read(PlkIo *io, void *buf, size_t len, uint64_t off, PlkPoint point)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);
    const unsigned char *bytes;

    if (off >= node->size)
        return 0;
    len = PLK_MIN(len, PAGE_SIZE - off % PAGE_SIZE);
    len = PLK_MIN(len, node->size - off);
    bytes = page_find(node, off / PAGE_SIZE);
    if (bytes)
        memcpy(buf, bytes + off % PAGE_SIZE, len);
    else
        memset(buf, 0, len);
    return (ssize_t)len;
}

static ssize_t memory_write(PlkIo *io, const void *buf, size_t len, uint64_t off, PlkPoint point)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);
    unsigned char *bytes = page_make(node, off / PAGE_SIZE);

    if (!bytes)
        return -ENOMEM;
    len = PLK_MIN(len, PAGE_SIZE - off % PAGE_SIZE);
    memcpy(bytes + off % PAGE_SIZE, buf, len);
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

    if (size < node->size)
        pages_clear(node, size, plk_round_up(node->size, PAGE_SIZE));
    node->size = size;
    return 0;
}

static int memory_punch(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);

    pages_clear(node, off, off + len);
    return 0;
}

/* Makes the pages, so that a later write cannot fail and next_data sees them. */
static int memory_allocate(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);

    for (uint64_t index = off / PAGE_SIZE; index < plk_div_up(off + len, PAGE_SIZE); index++)
        if (!page_make(node, index))
            return -ENOMEM;
    node->size = PLK_MAX(node->size, off + len);
    return 0;
}

static int memory_next_data(PlkIo *io, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
    PlkMemoryNode *node = node_of(io);
    PLK_LOCKED(&node->mutex);
    size_t at = page_position(node, off / PAGE_SIZE);
    uint64_t index;

    if (off >= node->size || at == node->page_count || node->pages[at].index * PAGE_SIZE >= node->size) {
        *ret_start = *ret_end = node->size;
        return 0;
    }
    index = node->pages[at].index;
    *ret_start = PLK_MAX(off, index * PAGE_SIZE);
    while (at < node->page_count && node->pages[at].index == index) {
        at++;
        index++;
    }
    *ret_end = PLK_MIN(index * PAGE_SIZE, node->size);
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
