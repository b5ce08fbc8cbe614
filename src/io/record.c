/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The writing half of the recorder: every change is made in memory first, then logged as what it left
 * there, so that a logged sector is whole whatever the call changed of it. The log shares these sectors
 * with the file.
 */
#include "io/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/math.h"
#include "io/path.h"
#include "io/record-log.h"

typedef struct RecordIo {
    PlkIo io;
    PlkIo *next;
    PlkRecord *record;
    unsigned file;
} RecordIo;

typedef struct RecordDir {
    PlkDir dir;
    PlkRecord *record;
} RecordDir;

static const PlkIoOps record_ops;

static inline RecordIo *record_of(PlkIo *io)
{
    return (RecordIo *)io;
}

static inline PlkIo *next_of(PlkIo *io)
{
    return record_of(io)->next;
}

static inline PlkMemoryNode *node_of(PlkIo *io)
{
    return plk_memory_node(next_of(io));
}

/* ---- the log ---- */

static void change_clear(PlkChange *c)
{
    for (size_t i = 0; c->sectors && i < c->n; i++)
        plk_sector_unref(c->sectors[i]);
    free(c->sectors);
    free(c->path);
    free(c->to);
}

/* Is the mistake to be made at this point? */
static bool is_at(PlkPoint wrong, PlkPoint point)
{
    return point != PLK_POINT_NONE && point == wrong;
}

/* Where a change goes: at the end, or before the file's last sync. */
static size_t position_of(const PlkRecord *record, const PlkChange *c, PlkPoint point)
{
    if (is_at(record->bug.hasten, point))
        for (size_t i = record->n; i-- > 0;)
            if (record->log[i].kind == PLK_CHANGE_SYNC && record->log[i].file == c->file)
                return i;
    return record->n;
}

/* Takes the contents of *c over, also on failure. */
static int append(PlkRecord *record, PlkChange *c, PlkPoint point)
{
    PLK_LOCKED(&record->mutex);
    size_t at;

    if (record->n == record->room) {
        size_t room = record->room ? record->room * 2 : 64;
        PlkChange *grown = plk_realloc(record->log, room, sizeof *grown);

        if (!grown) {
            change_clear(c);
            return -ENOMEM;
        }
        record->log = grown;
        record->room = room;
    }
    at = position_of(record, c, point);
    memmove(record->log + at + 1, record->log + at, (record->n - at) * sizeof *record->log);
    record->log[at] = *c;
    record->n++;
    return 0;
}

/* Sectors as they are in a file: room for them, then what they hold. Zeros are holes to the log. */
static int take_sectors(PlkChange *c, PlkMemoryNode *node, uint64_t first)
{
    bool any = false;

    c->sectors = plk_malloc(c->n * sizeof(PlkSectorData *));
    if (!c->sectors)
        return -ENOMEM;
    plk_memory_get(node, first, c->n, c->sectors);
    for (size_t i = 0; i < c->n; i++) {
        if (c->sectors[i] && plk_sector_print(c->sectors[i], 0) == 0) {
            plk_sector_unref(c->sectors[i]);
            c->sectors[i] = NULL;
        }
        any = any || c->sectors[i];
    }
    if (!any) {
        free(c->sectors);
        c->sectors = NULL;
    }
    return 0;
}

/* The sectors that hold [off, off + len), as they are now. */
static int log_sectors(RecordIo *rio, uint64_t off, uint64_t len, PlkPoint point)
{
    uint64_t first = off / PLK_SECTOR;
    PlkChange c = {.kind = PLK_CHANGE_WRITE, .file = rio->file, .sector = first,
                   .n = (size_t)(plk_div_up(off + len, PLK_SECTOR) - first)};
    int r = take_sectors(&c, node_of(&rio->io), first);

    return r < 0 ? r : append(rio->record, &c, point);
}

static int log_size(RecordIo *rio, uint64_t before, PlkPoint point)
{
    PlkChange c = {.kind = PLK_CHANGE_SIZE, .file = rio->file};
    int r = plk_io_size(rio->next, &c.size);

    return r < 0 || c.size == before ? r : append(rio->record, &c, point);
}

static int log_name(PlkRecord *record, PlkChangeKind kind, unsigned file, const char *path, const char *to)
{
    PlkChange c = {.kind = kind, .file = file};
    int r = plk_path_resolve(record->memory, path, &c.path);

    if (r == 0 && to)
        r = plk_path_resolve(record->memory, to, &c.to);
    if (r < 0) {
        change_clear(&c);
        return r;
    }
    return append(record, &c, PLK_POINT_NONE);
}

/* ---- files ---- */

static ssize_t record_read(PlkIo *io, void *buf, size_t len, uint64_t off, PlkPoint point)
{
    return next_of(io)->ops->read(next_of(io), buf, len, off, point);
}

static ssize_t record_write(PlkIo *io, const void *buf, size_t len, uint64_t off, PlkPoint point)
{
    RecordIo *rio = record_of(io);
    uint64_t before;
    int r = plk_io_size(rio->next, &before);

    if (r == 0)
        r = plk_io_write(rio->next, buf, len, off, point);
    if (r == 0)
        r = log_sectors(rio, off, len, point);
    if (r == 0)
        r = log_size(rio, before, point);
    return r < 0 ? r : (ssize_t)len;
}

static int record_sync(PlkIo *io, PlkPoint point)
{
    RecordIo *rio = record_of(io);
    PlkChange c = {.kind = PLK_CHANGE_SYNC, .file = rio->file};

    return is_at(rio->record->bug.swallow, point) ? 0 : append(rio->record, &c, PLK_POINT_NONE);
}

static int record_size(PlkIo *io, uint64_t *ret)
{
    return plk_io_size(next_of(io), ret);
}

static int record_truncate(PlkIo *io, uint64_t size, PlkPoint point)
{
    RecordIo *rio = record_of(io);
    uint64_t before;
    int r = plk_io_size(rio->next, &before);

    if (r == 0)
        r = plk_io_truncate(rio->next, size, point);
    return r < 0 ? r : log_size(rio, before, point);
}

/* Beyond the end there is nothing to tear. */
static int record_punch(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    uint64_t size;
    int r = plk_io_size(next_of(io), &size);

    if (r == 0)
        r = plk_io_punch(next_of(io), off, len, point);
    if (r < 0 || off >= size)
        return r;
    return log_sectors(record_of(io), off, PLK_MIN(len, size - off), point);
}

static int record_allocate(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    RecordIo *rio = record_of(io);
    uint64_t before;
    int r = plk_io_size(rio->next, &before);

    if (r == 0)
        r = plk_io_allocate(rio->next, off, len, point);
    return r < 0 ? r : log_size(rio, before, point);
}

/* What the source holds now; whatever happens to it later. */
static int record_clone_range(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, uint64_t len,
                              PlkPoint point)
{
    RecordIo *rio = record_of(dst);
    PlkChange c = {.kind = PLK_CHANGE_WRITE, .file = rio->file, .sector = dst_off / PLK_SECTOR,
                   .n = (size_t)(len / PLK_SECTOR)};
    uint64_t before;
    int r;

    if (src->ops != &record_ops || rio->record->refuses_clones)
        return -EXDEV;
    if ((dst_off | src_off | len) % PLK_SECTOR != 0)
        return -EINVAL;
    r = plk_io_size(rio->next, &before);
    if (r == 0)
        r = take_sectors(&c, node_of(src), src_off / PLK_SECTOR);
    if (r == 0)
        r = plk_memory_put(node_of(dst), c.sector, c.n, c.sectors);
    if (r < 0) {
        change_clear(&c);
        return r;
    }
    r = append(rio->record, &c, point);
    return r < 0 ? r : log_size(rio, before, point);
}

static int record_next_data(PlkIo *io, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
    return plk_io_next_data(next_of(io), off, ret_start, ret_end);
}

static int record_lock(PlkIo *io, PlkIoLock mode)
{
    return plk_io_lock(next_of(io), mode);
}

static int record_lock_test(PlkIo *io, PlkIoLock mode)
{
    return plk_io_lock_test(next_of(io), mode);
}

static void record_close(PlkIo *io)
{
    plk_io_close(next_of(io));
    free(io);
}

static const PlkIoOps record_ops = {
    .struct_size = sizeof(PlkIoOps),
    .name = "record",
    .read = record_read,
    .write = record_write,
    .sync = record_sync,
    .size = record_size,
    .truncate = record_truncate,
    .punch = record_punch,
    .allocate = record_allocate,
    .clone_range = record_clone_range,
    .next_data = record_next_data,
    .lock = record_lock,
    .lock_test = record_lock_test,
    .close = record_close,
};

/* ---- the directory ---- */

static inline PlkRecord *record_of_dir(PlkDir *dir)
{
    return ((RecordDir *)dir)->record;
}

static inline PlkDir *memory_of(PlkDir *dir)
{
    return record_of_dir(dir)->memory;
}

/* Files are numbered once; the number stays with the node in memory. */
static unsigned number_of(PlkRecord *record, PlkIo *next)
{
    PlkMemoryNode *node = plk_memory_node(next);
    PLK_LOCKED(&record->mutex);
    unsigned *number = plk_memory_tag(node);

    if (*number == 0)
        *number = ++record->n_files;
    return *number - 1;
}

/* Takes `next` over, also on failure. */
static int wrap_io(PlkRecord *record, PlkIo *next, RecordIo **ret)
{
    RecordIo *rio = plk_calloc(1, sizeof *rio);

    if (!rio || !plk_io_init(&rio->io, &record_ops, next->name, next->writable)) {
        free(rio);
        plk_io_close(next);
        return -ENOMEM;
    }
    rio->next = next;
    rio->record = record;
    rio->file = number_of(record, next);
    *ret = rio;
    return 0;
}

static int wrap_opened(PlkDir *dir, PlkIo *next, bool is_new, const char *path, PlkIo **ret)
{
    RecordIo *rio;
    int r = wrap_io(record_of_dir(dir), next, &rio);

    if (r < 0)
        return r;
    if (is_new)
        r = log_name(rio->record, PLK_CHANGE_LINK, rio->file, path, NULL);
    if (r < 0)
        plk_io_close(&rio->io);
    else
        *ret = &rio->io;
    return r;
}

static int recorddir_open(PlkDir *dir, const char *path, unsigned flags, mode_t mode, PlkIo **ret)
{
    int there = plk_dir_exists(memory_of(dir), path);
    PlkIo *next;
    int r = there < 0 ? there : plk_dir_open_file(memory_of(dir), path, flags, mode, &next);

    return r < 0 ? r : wrap_opened(dir, next, !there, path, ret);
}

static int recorddir_create_unnamed(PlkDir *dir, mode_t mode, PlkIo **ret)
{
    PlkIo *next;
    int r = plk_dir_create_unnamed(memory_of(dir), mode, &next);

    return r < 0 ? r : wrap_opened(dir, next, false, NULL, ret);
}

static int recorddir_link(PlkDir *dir, PlkIo *unnamed, const char *path)
{
    int r = unnamed->ops == &record_ops ? plk_dir_link(memory_of(dir), next_of(unnamed), path) : -EXDEV;

    return r < 0 ? r : log_name(record_of_dir(dir), PLK_CHANGE_LINK, record_of(unnamed)->file, path, NULL);
}

static int recorddir_rename(PlkDir *dir, const char *from, const char *to, bool replace)
{
    int r = plk_dir_rename(memory_of(dir), from, to, replace);

    return r < 0 ? r : log_name(record_of_dir(dir), PLK_CHANGE_RENAME, 0, from, to);
}

static int recorddir_unlink(PlkDir *dir, const char *path)
{
    int r = plk_dir_unlink(memory_of(dir), path);

    return r < 0 ? r : log_name(record_of_dir(dir), PLK_CHANGE_UNLINK, 0, path, NULL);
}

static int recorddir_exists(PlkDir *dir, const char *path)
{
    return plk_dir_exists(memory_of(dir), path);
}

static int recorddir_sync(PlkDir *dir)
{
    PlkRecord *record = record_of_dir(dir);
    PlkChange c = {.kind = PLK_CHANGE_DIR_SYNC};

    return is_at(record->bug.swallow, PLK_POINT_DIR_SYNC) ? 0 : append(record, &c, PLK_POINT_NONE);
}

static int recorddir_list(PlkDir *dir, int (*each)(void *arg, const char *name), void *arg)
{
    return plk_dir_list(memory_of(dir), each, arg);
}

static int recorddir_free_space(PlkDir *dir, uint64_t *ret)
{
    return plk_dir_free_space(memory_of(dir), ret);
}

static int recorddir_flock(PlkDir *dir, const char *path, int timeout_ms, PlkIo **ret_held)
{
    int there = plk_dir_exists(memory_of(dir), path);
    PlkIo *next;
    int r = there < 0 ? there : plk_dir_flock(memory_of(dir), path, timeout_ms, &next);

    return r < 0 ? r : wrap_opened(dir, next, !there, path, ret_held);
}

static void recorddir_close(PlkDir *dir)
{
    free(dir);
}

static const PlkDirOps recorddir_ops = {
    .struct_size = sizeof(PlkDirOps),
    .name = "record",
    .open = recorddir_open,
    .create_unnamed = recorddir_create_unnamed,
    .link = recorddir_link,
    .rename = recorddir_rename,
    .unlink = recorddir_unlink,
    .exists = recorddir_exists,
    .sync = recorddir_sync,
    .list = recorddir_list,
    .free_space = recorddir_free_space,
    .flock = recorddir_flock,
    .close = recorddir_close,
};

int plk_record_open(PlkRecord *record, PlkDir **ret)
{
    RecordDir *rd = plk_calloc(1, sizeof *rd);

    if (!rd)
        return -ENOMEM;
    rd->dir.ops = &recorddir_ops;
    rd->dir.path = plk_strdup(record->memory->path);
    rd->dir.root = plk_strdup(record->memory->root);
    rd->record = record;
    if (!rd->dir.path || !rd->dir.root) {
        plk_dir_close(&rd->dir);
        return -ENOMEM;
    }
    *ret = &rd->dir;
    return 0;
}

/* ---- the record ---- */

static int record_over(PlkDir *memory, PlkRecord **ret)
{
    PlkRecord *record = plk_calloc(1, sizeof *record);

    if (!record)
        return -ENOMEM;
    pthread_mutex_init(&record->mutex, NULL);
    record->memory = memory;
    *ret = record;
    return 0;
}

int plk_record_new(const char *path, PlkRecord **ret)
{
    plk_cleanup(plk_dir_closep) PlkDir *memory = NULL;
    int r = plk_dir_open_memory(path, &memory);

    if (r == 0)
        r = record_over(memory, ret);
    if (r == 0)
        PLK_TAKE(memory);
    return r;
}

/* ---- a record that begins with something ---- */

static int forget_tag(void *arg, const char *path, PlkMemoryNode *node)
{
    *plk_memory_tag(node) = 0;
    return 0;
}

static int add_base_file(PlkRecord *record, PlkMemoryNode *node)
{
    PlkRecordFile *base = plk_realloc(record->base, record->n_base + 1, sizeof *base);
    int r;

    if (!base)
        return -ENOMEM;
    record->base = base;
    r = plk_memory_share(node, &base[record->n_base].content, &base[record->n_base].size);
    if (r == 0)
        *plk_memory_tag(node) = record->n_files = ++record->n_base;
    return r;
}

static int add_base_name(void *arg, const char *path, PlkMemoryNode *node)
{
    PlkRecord *record = arg;
    PlkRecordName *names = plk_realloc(record->names, record->n_names + 1, sizeof *names);
    int r = 0;

    if (!names)
        return -ENOMEM;
    record->names = names;
    if (*plk_memory_tag(node) == 0)
        r = add_base_file(record, node);
    if (r < 0)
        return r;
    names[record->n_names] = (PlkRecordName){plk_strdup(path), *plk_memory_tag(node) - 1};
    return names[record->n_names++].path ? 0 : -ENOMEM;
}

int plk_record_new_over(PlkDir *state, PlkRecord **ret)
{
    PlkRecord *record;
    int r = record_over(state, &record);

    if (r < 0)
        return r;
    plk_memdir_each(state, forget_tag, NULL);
    r = plk_memdir_each(state, add_base_name, record);
    if (r < 0) {
        record->memory = NULL; /* stays the caller's */
        plk_record_free(record);
        return r;
    }
    *ret = record;
    return 0;
}

void plk_record_free(PlkRecord *record)
{
    if (!record)
        return;
    for (size_t i = 0; i < record->n; i++)
        change_clear(&record->log[i]);
    for (unsigned i = 0; i < record->n_base; i++)
        plk_content_clear(&record->base[i].content);
    for (size_t i = 0; i < record->n_names; i++)
        free(record->names[i].path);
    free(record->log);
    free(record->base);
    free(record->names);
    plk_dir_close(record->memory);
    pthread_mutex_destroy(&record->mutex);
    free(record);
}

void plk_record_set_bug(PlkRecord *record, PlkRecordBug bug)
{
    record->bug = bug;
}

void plk_record_refuse_clones(PlkRecord *record)
{
    record->refuses_clones = true;
}

size_t plk_record_length(PlkRecord *record)
{
    PLK_LOCKED(&record->mutex);

    return record->n;
}
