/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A directory in memory: a list of canonical paths. Directories below it exist by themselves, as soon as
 * a name mentions them.
 *
 * Lock order: directory, file. Files count their references atomically, since they may outlive the directory.
 */
#include "io/dir.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "io/memory.h"
#include "io/path.h"

typedef struct Entry {
    struct Entry *next;
    PlkMemoryNode *node;
    char path[]; /* canonical */
} Entry;

typedef struct MemoryDir {
    PlkDir dir;
    pthread_mutex_t mutex;
    Entry *entries;
} MemoryDir;

static inline MemoryDir *memdir_of(PlkDir *dir)
{
    return (MemoryDir *)dir;
}

/* ---- the directory; helpers are called with its mutex held ---- */

/* Where the entry hangs, or where it would; *result is NULL when absent. */
static Entry **entry_find(MemoryDir *md, const char *path)
{
    Entry **at = &md->entries;

    while (*at && strcmp((*at)->path, path) != 0)
        at = &(*at)->next;
    return at;
}

static int entry_add(Entry **at, PlkMemoryNode *node, const char *path)
{
    size_t size = strlen(path) + 1;
    Entry *entry = plk_malloc(sizeof *entry + size);

    assert(!*at);
    if (!entry)
        return -ENOMEM;
    *entry = (Entry){.node = plk_memory_ref(node)};
    memcpy(entry->path, path, size);
    *at = entry;
    return 0;
}

static void entry_remove(Entry **at)
{
    Entry *entry = *at;

    *at = entry->next;
    plk_memory_unref(entry->node);
    free(entry);
}

/* ---- operations on the directory ---- */

static int memdir_open(PlkDir *dir, const char *name, unsigned flags, mode_t mode, PlkIo **ret)
{
    MemoryDir *md = memdir_of(dir);
    PLK_FREE char *path = NULL;
    plk_cleanup(plk_memory_unrefp) PlkMemoryNode *made = NULL;
    PLK_LOCKED(&md->mutex);
    Entry **at;
    int r = plk_path_resolve(dir, name, &path);

    if (r < 0)
        return r;
    at = entry_find(md, path);
    if (*at)
        return flags & PLK_OPEN_EXCLUSIVE ? -EEXIST
                                          : plk_memory_open((*at)->node, path, flags & PLK_OPEN_WRITE, ret);
    if (!(flags & PLK_OPEN_CREATE))
        return -ENOENT;
    made = plk_memory_new();
    if (!made)
        return -ENOMEM;
    r = entry_add(at, made, path);
    if (r < 0)
        return r;
    r = plk_memory_open(made, path, true, ret);
    if (r < 0)
        entry_remove(at);
    return r;
}

static int memdir_create_unnamed(PlkDir *dir, mode_t mode, PlkIo **ret)
{
    plk_cleanup(plk_memory_unrefp) PlkMemoryNode *node = plk_memory_new();

    return node ? plk_memory_open(node, dir->path, true, ret) : -ENOMEM;
}

static int memdir_link(PlkDir *dir, PlkIo *unnamed, const char *name)
{
    MemoryDir *md = memdir_of(dir);
    PLK_FREE char *path = NULL;
    PLK_LOCKED(&md->mutex);
    Entry **at;
    int r = plk_path_resolve(dir, name, &path);

    if (r < 0)
        return r;
    if (!plk_memory_node(unnamed))
        return -EXDEV;
    at = entry_find(md, path);
    return *at ? -EEXIST : entry_add(at, plk_memory_node(unnamed), path);
}

static int memdir_rename(PlkDir *dir, const char *from, const char *to, bool replace)
{
    MemoryDir *md = memdir_of(dir);
    PLK_FREE char *old_path = NULL, *new_path = NULL;
    PLK_LOCKED(&md->mutex);
    Entry **source, **target;
    int r = plk_path_resolve(dir, from, &old_path);

    if (r == 0)
        r = plk_path_resolve(dir, to, &new_path);
    if (r < 0)
        return r;
    source = entry_find(md, old_path);
    target = entry_find(md, new_path);
    if (!*source)
        return -ENOENT;
    if (*target && !replace)
        return -EEXIST;
    if (*target == *source)
        return 0;
    if (!*target) {
        r = entry_add(target, (*source)->node, new_path);
        if (r < 0)
            return r;
    } else {
        plk_memory_unref((*target)->node);
        (*target)->node = plk_memory_ref((*source)->node);
    }
    entry_remove(entry_find(md, old_path));
    return 0;
}

static int memdir_unlink(PlkDir *dir, const char *name)
{
    MemoryDir *md = memdir_of(dir);
    PLK_FREE char *path = NULL;
    PLK_LOCKED(&md->mutex);
    Entry **at;
    int r = plk_path_resolve(dir, name, &path);

    if (r < 0)
        return r;
    at = entry_find(md, path);
    if (!*at)
        return -ENOENT;
    entry_remove(at);
    return 0;
}

static int memdir_exists(PlkDir *dir, const char *name)
{
    MemoryDir *md = memdir_of(dir);
    PLK_FREE char *path = NULL;
    PLK_LOCKED(&md->mutex);
    int r = plk_path_resolve(dir, name, &path);

    return r < 0 ? r : *entry_find(md, path) != NULL;
}

static int memdir_sync(PlkDir *dir)
{
    return 0;
}

/* Copies of the names in the directory itself, NUL-terminated one after the other, an empty one last. */
static char *copy_names(MemoryDir *md)
{
    PLK_LOCKED(&md->mutex);
    size_t size = 1, len = 0;
    char *names;

    for (const Entry *e = md->entries; e; e = e->next)
        size += strlen(e->path);
    names = plk_calloc(1, size);
    if (!names)
        return NULL;
    for (const Entry *e = md->entries; e; e = e->next) {
        const char *name = plk_path_beneath(md->dir.path, e->path);

        if (name && !strchr(name, '/'))
            len += strlen(strcpy(names + len, name)) + 1;
    }
    return names;
}

/* Works on copies, since each() may change the directory. */
static int memdir_list(PlkDir *dir, int (*each)(void *arg, const char *name), void *arg)
{
    PLK_FREE char *names = copy_names(memdir_of(dir));
    int r = 0;

    if (!names)
        return -ENOMEM;
    for (const char *name = names; *name && r == 0; name += strlen(name) + 1)
        r = each(arg, name);
    return r;
}

static int memdir_free_space(PlkDir *dir, uint64_t *ret)
{
    *ret = (uint64_t)1 << 50;
    return 0;
}

static int memdir_flock(PlkDir *dir, const char *name, int timeout_ms, PlkIo **ret_held)
{
    PlkIo *io;
    int r = memdir_open(dir, name, PLK_OPEN_WRITE | PLK_OPEN_CREATE, 0600, &io);

    if (r < 0)
        return r;
    r = plk_memory_flock(io, timeout_ms);
    if (r < 0)
        plk_io_close(io);
    else
        *ret_held = io;
    return r;
}

static void memdir_close(PlkDir *dir)
{
    MemoryDir *md = memdir_of(dir);

    while (md->entries)
        entry_remove(&md->entries);
    pthread_mutex_destroy(&md->mutex);
    free(md);
}

static const PlkDirOps memdir_ops = {
    .struct_size = sizeof(PlkDirOps),
    .name = "memory",
    .open = memdir_open,
    .create_unnamed = memdir_create_unnamed,
    .link = memdir_link,
    .rename = memdir_rename,
    .unlink = memdir_unlink,
    .exists = memdir_exists,
    .sync = memdir_sync,
    .list = memdir_list,
    .free_space = memdir_free_space,
    .flock = memdir_flock,
    .close = memdir_close,
};

int plk_memdir_add(PlkDir *dir, const char *path, PlkMemoryNode *node)
{
    MemoryDir *md = memdir_of(dir);
    PLK_LOCKED(&md->mutex);

    assert(dir->ops == &memdir_ops);
    return entry_add(entry_find(md, path), node, path);
}

int plk_memdir_each(PlkDir *dir, int (*each)(void *arg, const char *path, PlkMemoryNode *node), void *arg)
{
    MemoryDir *md = memdir_of(dir);
    PLK_LOCKED(&md->mutex);
    int r = 0;

    assert(dir->ops == &memdir_ops);
    for (const Entry *e = md->entries; e && r == 0; e = e->next)
        r = each(arg, e->path, e->node);
    return r;
}

/* Names may come in any order. */
static int add_print(void *arg, const char *path, PlkMemoryNode *node)
{
    uint64_t *sum = arg, h = plk_memory_print(node);

    for (; *path; path++)
        h = (h ^ h >> 32 ^ (unsigned char)*path) * 0xd6e8feb86659fd93ull;
    *sum += h ^ h >> 29;
    return 0;
}

uint64_t plk_memdir_print(PlkDir *dir)
{
    uint64_t sum = 0;

    plk_memdir_each(dir, add_print, &sum);
    return sum;
}

int plk_dir_open_memory(const char *path, PlkDir **ret)
{
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    MemoryDir *md = plk_calloc(1, sizeof *md);

    if (!md)
        return -ENOMEM;
    dir = &md->dir;
    dir->ops = &memdir_ops;
    pthread_mutex_init(&md->mutex, NULL);
    dir->path = plk_path_canonical(NULL, path);
    if (!dir->path)
        return -errno;
    dir->root = plk_strdup(dir->path);
    if (!dir->root)
        return -ENOMEM;
    *ret = PLK_TAKE(dir);
    return 0;
}
