/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A crash walks along the log; behind it everything is either durable, and applied here, or pending, and up
 * to crash-state.c.
 */
#include "io/crash.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

void *plk_grown(void *items, size_t *room, size_t n, size_t size)
{
    size_t wanted = *room ? *room : 16;
    void *grown;

    if (n <= *room)
        return items;
    while (wanted < n)
        wanted *= 2;
    grown = plk_realloc(items, wanted, size);
    if (grown)
        *room = wanted;
    return grown;
}

static int push(PlkPending *p, size_t position)
{
    size_t *items = plk_grown(p->items, &p->room, p->n + 1, sizeof *items);

    if (!items)
        return -ENOMEM;
    p->items = items;
    p->items[p->n++] = position;
    return 0;
}

/* ---- contents ---- */

int plk_printed_set(PlkPrinted *p, uint64_t sector, PlkSectorData *s)
{
    PlkSectorData *old = plk_content_get(&p->content, sector);
    uint64_t print;
    int r;

    if (old == s)
        return 0;
    print = plk_sector_print(old, sector) ^ plk_sector_print(s, sector);
    r = plk_content_set(&p->content, sector, s);
    if (r == 0)
        p->print ^= print;
    return r;
}

int plk_printed_cut(PlkPrinted *p, uint64_t bytes)
{
    uint64_t sector = bytes / PLK_SECTOR, before = plk_content_print(&p->content, sector);
    int r = plk_content_punch(&p->content, bytes, UINT64_MAX);

    p->print ^= before ^ plk_content_print(&p->content, sector);
    return r;
}

/* A write, or a change of length, is durable. */
static int apply(PlkCrashFile *file, const PlkChange *c)
{
    int r = 0;

    if (c->kind == PLK_CHANGE_WRITE) {
        for (size_t i = 0; r == 0 && i < c->n; i++)
            r = plk_printed_set(&file->durable, c->sector + i, plk_change_sector(c, i));
        return r;
    }
    if (c->size < file->size)
        r = plk_printed_cut(&file->durable, c->size);
    file->size = c->size;
    return r;
}

/* ---- names ---- */

static PlkName *find_name(const PlkNames *names, const char *path)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->items[i].path, path) == 0)
            return &names->items[i];
    return NULL;
}

static uint64_t print_path(const char *path)
{
    uint64_t h = 0xcbf29ce484222325ull;

    for (; *path; path++)
        h = (h ^ (unsigned char)*path) * 0x100000001b3ull;
    return h;
}

static int set_name(PlkNames *names, const char *path, unsigned file)
{
    PlkName *name = find_name(names, path);

    if (!name) {
        PlkName *items = plk_grown(names->items, &names->room, names->n + 1, sizeof *items);

        if (!items)
            return -ENOMEM;
        names->items = items;
        name = &items[names->n++];
    }
    *name = (PlkName){path, print_path(path), file};
    return 0;
}

static void drop_name(PlkNames *names, const char *path)
{
    PlkName *name = find_name(names, path);

    if (name)
        *name = names->items[--names->n];
}

int plk_names_copy(const PlkNames *from, PlkNames *to)
{
    PlkName *items = plk_grown(to->items, &to->room, from->n, sizeof *items);

    if (!items && from->n > 0)
        return -ENOMEM;
    to->items = items;
    to->n = from->n;
    if (from->n > 0)
        memcpy(items, from->items, from->n * sizeof *items);
    return 0;
}

int plk_names_apply(PlkNames *names, const PlkChange *change)
{
    const PlkName *from = find_name(names, change->path);
    unsigned file = from ? from->file : 0;

    if (change->kind == PLK_CHANGE_LINK)
        return set_name(names, change->path, change->file);
    drop_name(names, change->path);
    return change->kind == PLK_CHANGE_RENAME && from ? set_name(names, change->to, file) : 0;
}

/* ---- walking along the log ---- */

static int make_durable(PlkCrash *crash, PlkCrashFile *file)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < file->pending.n; i++)
        r = apply(file, &crash->record->log[file->pending.items[i]]);
    file->pending.n = 0;
    return r;
}

static int make_names_durable(PlkCrash *crash)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < crash->pending.n; i++)
        r = plk_names_apply(&crash->durable, &crash->record->log[crash->pending.items[i]]);
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

static int add_base(PlkCrashFile *file, const PlkRecordFile *base)
{
    file->size = base->size;
    file->durable.print = plk_content_print(&base->content, 0);
    return plk_content_share(&base->content, &file->durable.content);
}

static int add_files(PlkCrash *crash)
{
    const PlkRecord *record = crash->record;
    PlkCrashFile *files;
    int r = 0;

    if (record->n_files <= crash->n_files)
        return 0;
    files = plk_realloc(crash->files, record->n_files, sizeof *files);
    if (!files)
        return -ENOMEM;
    memset(files + crash->n_files, 0, (record->n_files - crash->n_files) * sizeof *files);
    crash->files = files;
    for (unsigned i = crash->n_files; r == 0 && i < record->n_base; i++)
        r = add_base(&files[i], &record->base[i]);
    crash->n_files = record->n_files;
    return r;
}

int plk_crash_advance(PlkCrash *crash, size_t position)
{
    int r;

    assert(position <= crash->record->n);
    if (position > crash->position)
        plk_crash_drop_plan(crash);
    r = add_files(crash);
    while (r == 0 && crash->position < position)
        r = advance_one(crash, crash->position++);
    return r;
}

int plk_crash_new(const PlkRecord *record, PlkCrash **ret)
{
    PlkCrash *crash = plk_calloc(1, sizeof *crash);
    int r = 0;

    if (!crash)
        return -ENOMEM;
    crash->record = record;
    for (size_t i = 0; r == 0 && i < record->n_names; i++)
        r = set_name(&crash->durable, record->names[i].path, record->names[i].file);
    if (r == 0)
        r = add_files(crash);
    if (r < 0)
        plk_crash_free(crash);
    else
        *ret = crash;
    return r;
}

static void file_clear(PlkCrashFile *file)
{
    plk_content_clear(&file->durable.content);
    plk_content_clear(&file->state.content);
    free(file->pending.items);
    free(file->lengths);
}

void plk_crash_free(PlkCrash *crash)
{
    if (!crash)
        return;
    plk_crash_drop_plan(crash);
    for (unsigned i = 0; i < crash->n_files; i++)
        file_clear(&crash->files[i]);
    free(crash->files);
    free(crash->durable.items);
    free(crash->pending.items);
    free(crash->pieces);
    free(crash->slots);
    free(crash->sites);
    free(crash->chains);
    free(crash->live);
    free(crash->table);
    free(crash->names.items);
    free(crash);
}
