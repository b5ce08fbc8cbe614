/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The reading half of the recorder. A crash walks along the log; behind it everything is either durable,
 * and applied, or pending, and up to the chooser.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/math.h"
#include "io/record-log.h"

/* Positions in the log. */
typedef struct Pending {
    size_t *items;
    size_t n, room;
} Pending;

typedef struct Content {
    uint8_t *bytes; /* zeros behind what was written, up to room */
    size_t room;
    uint64_t size; /* what lies beyond does not show */
} Content;

typedef struct CrashFile {
    Content durable;
    Pending pending;
} CrashFile;

typedef struct Name {
    const char *path;
    unsigned file;
} Name;

typedef struct Names {
    Name *items;
    size_t n, room;
} Names;

struct PlkCrash {
    const PlkRecord *record;
    size_t position;
    CrashFile *files;
    unsigned n_files;
    Names durable;
    Pending pending; /* changes of names */
};

static int push(Pending *p, size_t position)
{
    if (p->n == p->room) {
        size_t room = p->room ? p->room * 2 : 16;
        size_t *grown = plk_realloc(p->items, room, sizeof *grown);

        if (!grown)
            return -ENOMEM;
        p->items = grown;
        p->room = room;
    }
    p->items[p->n++] = position;
    return 0;
}

/* ---- content ---- */

static int content_reserve(Content *c, size_t end)
{
    uint8_t *grown;

    if (end <= c->room)
        return 0;
    grown = plk_realloc(c->bytes, end, 1);
    if (!grown)
        return -ENOMEM;
    memset(grown + c->room, 0, end - c->room);
    c->bytes = grown;
    c->room = end;
    return 0;
}

static int content_write(Content *c, uint64_t off, const uint8_t *bytes, size_t len)
{
    int r = content_reserve(c, (size_t)off + len);

    if (r == 0)
        memcpy(c->bytes + off, bytes, len);
    return r;
}

static void content_resize(Content *c, uint64_t size)
{
    if (size < c->size && size < c->room)
        memset(c->bytes + size, 0, c->room - (size_t)size);
    c->size = size;
}

static int content_apply(Content *c, const PlkChange *change)
{
    if (change->kind == PLK_CHANGE_WRITE)
        return content_write(c, change->offset, change->bytes, change->len);
    content_resize(c, change->size);
    return 0;
}

/* ---- names ---- */

static Name *find_name(const Names *names, const char *path)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->items[i].path, path) == 0)
            return &names->items[i];
    return NULL;
}

static int set_name(Names *names, const char *path, unsigned file)
{
    Name *name = find_name(names, path);

    if (!name && names->n == names->room) {
        size_t room = names->room ? names->room * 2 : 8;
        Name *grown = plk_realloc(names->items, room, sizeof *grown);

        if (!grown)
            return -ENOMEM;
        names->items = grown;
        names->room = room;
    }
    if (!name)
        name = &names->items[names->n++];
    *name = (Name){path, file};
    return 0;
}

static void drop_name(Names *names, const char *path)
{
    Name *name = find_name(names, path);

    if (name)
        *name = names->items[--names->n];
}

static int names_apply(Names *names, const PlkChange *change)
{
    const Name *from = find_name(names, change->path);
    unsigned file = from ? from->file : 0;

    if (change->kind == PLK_CHANGE_LINK)
        return set_name(names, change->path, change->file);
    drop_name(names, change->path);
    return change->kind == PLK_CHANGE_RENAME && from ? set_name(names, change->to, file) : 0;
}

/* ---- walking along the log ---- */

static int make_durable(PlkCrash *crash, CrashFile *file)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < file->pending.n; i++)
        r = content_apply(&file->durable, &crash->record->log[file->pending.items[i]]);
    file->pending.n = 0;
    return r;
}

static int make_names_durable(PlkCrash *crash)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < crash->pending.n; i++)
        r = names_apply(&crash->durable, &crash->record->log[crash->pending.items[i]]);
    crash->pending.n = 0;
    return r;
}

static int advance_one(PlkCrash *crash, size_t position)
{
    const PlkChange *c = &crash->record->log[position];

    switch (c->kind) {
    case PLK_CHANGE_WRITE:
    case PLK_CHANGE_SIZE:
        return push(&crash->files[c->file].pending, position);
    case PLK_CHANGE_SYNC:
        return make_durable(crash, &crash->files[c->file]);
    case PLK_CHANGE_DIR_SYNC:
        return make_names_durable(crash);
    default:
        return push(&crash->pending, position);
    }
}

static int add_files(PlkCrash *crash)
{
    unsigned n = crash->record->n_files;
    CrashFile *grown;

    if (n <= crash->n_files)
        return 0;
    grown = plk_realloc(crash->files, n, sizeof *grown);
    if (!grown)
        return -ENOMEM;
    memset(grown + crash->n_files, 0, (n - crash->n_files) * sizeof *grown);
    crash->files = grown;
    crash->n_files = n;
    return 0;
}

int plk_crash_advance(PlkCrash *crash, size_t position)
{
    int r = add_files(crash);

    assert(position <= crash->record->n);
    while (r == 0 && crash->position < position)
        r = advance_one(crash, crash->position++);
    return r;
}

int plk_crash_new(const PlkRecord *record, PlkCrash **ret)
{
    PlkCrash *crash = plk_calloc(1, sizeof *crash);

    if (!crash)
        return -ENOMEM;
    crash->record = record;
    *ret = crash;
    return 0;
}

void plk_crash_free(PlkCrash *crash)
{
    if (!crash)
        return;
    for (unsigned i = 0; i < crash->n_files; i++) {
        free(crash->files[i].durable.bytes);
        free(crash->files[i].pending.items);
    }
    free(crash->files);
    free(crash->durable.items);
    free(crash->pending.items);
    free(crash);
}

/* ---- one state ---- */

typedef struct Choice {
    unsigned sector;
    PlkChooseFn *choose;
    void *arg;
} Choice;

/* A number of things out of `n`, in order. */
static size_t choose_prefix(const Choice *o, size_t n)
{
    return n ? o->choose(o->arg, (unsigned)n + 1) : 0;
}

/* Nothing of it, all of it, or some sectors. */
static int keep_write(Content *content, const PlkChange *c, const Choice *o)
{
    unsigned how = o->choose(o->arg, c->len > o->sector ? 3 : 2);
    int r = 0;

    if (how < 2)
        return how ? content_apply(content, c) : 0;
    for (size_t at = 0; r == 0 && at < c->len; at += o->sector)
        if (o->choose(o->arg, 2))
            r = content_write(content, c->offset + at, c->bytes + at, o->sector);
    return r;
}

static int keep_some(PlkCrash *crash, const CrashFile *file, const Choice *o, Content *ret)
{
    const PlkChange *log = crash->record->log;
    size_t n_sizes = 0, sizes;
    int r = content_reserve(ret, file->durable.room);

    if (r == 0 && file->durable.room)
        memcpy(ret->bytes, file->durable.bytes, file->durable.room);
    ret->size = file->durable.size;
    for (size_t i = 0; i < file->pending.n; i++)
        n_sizes += log[file->pending.items[i]].kind == PLK_CHANGE_SIZE;
    sizes = choose_prefix(o, n_sizes);
    for (size_t i = 0; r == 0 && i < file->pending.n; i++) {
        const PlkChange *c = &log[file->pending.items[i]];

        if (c->kind == PLK_CHANGE_WRITE)
            r = keep_write(ret, c, o);
        else if (sizes > 0 && sizes--)
            r = content_apply(ret, c);
    }
    return r;
}

/* Blocks of zeros stay holes. */
static int fill_file(PlkIo *io, const Content *content)
{
    size_t end = (size_t)PLK_MIN(content->room, content->size);
    int r = 0;

    for (size_t at = 0; r == 0 && at < end; at += PLK_RECORD_BLOCK) {
        size_t len = PLK_MIN(PLK_RECORD_BLOCK, end - at);

        if (!plk_is_zero(content->bytes + at, len))
            r = plk_io_write(io, content->bytes + at, len, at, PLK_POINT_NONE);
    }
    return r < 0 ? r : plk_io_truncate(io, content->size, PLK_POINT_NONE);
}

static int make_file(PlkCrash *crash, const Names *names, size_t first, const Choice *o, PlkDir *dir)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    unsigned file = names->items[first].file;
    Content content = {0};
    int r = keep_some(crash, &crash->files[file], o, &content);

    if (r == 0)
        r = plk_dir_open_file(dir, names->items[first].path, PLK_OPEN_CREATE, 0600, &io);
    if (r == 0)
        r = fill_file(io, &content);
    for (size_t i = first + 1; r == 0 && i < names->n; i++)
        if (names->items[i].file == file)
            r = plk_dir_link(dir, io, names->items[i].path);
    free(content.bytes);
    return r;
}

static bool is_first_name(const Names *names, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (names->items[i].file == names->items[at].file)
            return false;
    return true;
}

static int make_files(PlkCrash *crash, const Choice *o, PlkDir *dir)
{
    size_t kept = choose_prefix(o, crash->pending.n);
    Names names = {0};
    int r = 0;

    for (size_t i = 0; r == 0 && i < crash->durable.n; i++)
        r = set_name(&names, crash->durable.items[i].path, crash->durable.items[i].file);
    for (size_t i = 0; r == 0 && i < kept; i++)
        r = names_apply(&names, &crash->record->log[crash->pending.items[i]]);
    for (size_t i = 0; r == 0 && i < names.n; i++)
        if (is_first_name(&names, i))
            r = make_file(crash, &names, i, o, dir);
    free(names.items);
    return r;
}

int plk_crash_materialise(PlkCrash *crash, unsigned sector, PlkChooseFn *choose, void *arg, PlkDir **ret)
{
    Choice o = {.sector = sector, .choose = choose, .arg = arg};
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    int r = plk_dir_open_memory(crash->record->memory->path, &dir);

    assert(sector == 512 || sector == PLK_RECORD_BLOCK);
    if (r == 0)
        r = make_files(crash, &o, dir);
    if (r == 0)
        *ret = PLK_TAKE(dir);
    return r;
}
