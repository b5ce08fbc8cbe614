/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a crash may leave: the plan of a position, and states made from it. crash.h says how they hang
 * together.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "io/crash.h"

/* ---- the plan: pieces, and the sites they share ---- */

void plk_crash_drop_plan(PlkCrash *crash)
{
    for (size_t i = 0; i < crash->n_slots; i++)
        plk_sector_unref(crash->slots[i].shown);
    for (size_t i = 0; i < crash->n_sites; i++)
        plk_sector_unref(crash->sites[i].base);
    crash->n_pieces = crash->n_slots = crash->n_sites = crash->n_chains = crash->n_live = 0;
    crash->unit = 0;
}

static const PlkChange *change_at(const PlkCrash *crash, size_t position)
{
    return &crash->record->log[position];
}

/* Only what a name may lead to can be seen after the crash. */
static void find_reachable(PlkCrash *crash)
{
    for (unsigned i = 0; i < crash->n_files; i++)
        crash->files[i].reachable = false;
    for (size_t i = 0; i < crash->durable.n; i++)
        crash->files[crash->durable.items[i].file].reachable = true;
    for (size_t i = 0; i < crash->pending.n; i++)
        if (change_at(crash, crash->pending.items[i])->kind == PLK_CHANGE_LINK)
            crash->files[change_at(crash, crash->pending.items[i])->file].reachable = true;
}

static int clear_table(PlkCrash *crash)
{
    size_t n = 0, size = 64;
    uint32_t *table;

    for (unsigned f = 0; f < crash->n_files; f++)
        for (size_t i = 0; crash->files[f].reachable && i < crash->files[f].pending.n; i++)
            n += change_at(crash, crash->files[f].pending.items[i])->n;
    while (size < 2 * n)
        size *= 2;
    table = plk_grown(crash->table, &crash->table_room, size, sizeof *table);
    if (!table)
        return -ENOMEM;
    memset(table, 0, size * sizeof *table);
    crash->table = table;
    crash->table_size = size;
    return 0;
}

/* The sector's entry in the table; free if it has no site yet. */
static uint32_t *find_site(PlkCrash *crash, unsigned file, uint64_t sector)
{
    size_t mask = crash->table_size - 1, at;

    at = (size_t)((sector * 64 + file) * 0x9e3779b97f4a7c15ull >> 32) & mask;
    for (; crash->table[at]; at = (at + 1) & mask) {
        const PlkSite *site = &crash->sites[crash->table[at] - 1];

        if (site->sector == sector && site->file == file)
            break;
    }
    return &crash->table[at];
}

static int add_site(PlkCrash *crash, unsigned file, uint64_t sector, uint32_t *entry)
{
    PlkSite *sites = plk_grown(crash->sites, &crash->sites_room, crash->n_sites + 1, sizeof *sites);

    if (!sites)
        return -ENOMEM;
    crash->sites = sites;
    sites[crash->n_sites] = (PlkSite){.sector = sector, .file = file, .top = PLK_NO_SLOT, .idle = true};
    *entry = (uint32_t)++crash->n_sites;
    return 0;
}

static int add_slot(PlkCrash *crash, unsigned file, uint64_t sector, PlkSectorData *written)
{
    PlkSlot *slots = plk_grown(crash->slots, &crash->slots_room, crash->n_slots + 1, sizeof *slots);
    PlkSectorData *durable = plk_content_get(&crash->files[file].durable.content, sector);
    uint32_t *entry = find_site(crash, file, sector);
    PlkSite *site;
    int r = slots ? 0 : -ENOMEM;

    if (r == 0) {
        crash->slots = slots;
        r = *entry ? 0 : add_site(crash, file, sector, entry);
    }
    if (r < 0)
        return r;
    site = &crash->sites[*entry - 1];
    site->idle = site->idle && plk_sector_print(written, sector) == plk_sector_print(durable, sector);
    slots[crash->n_slots] = (PlkSlot){.written = written, .piece = (uint32_t)crash->n_pieces - 1,
                                      .site = *entry - 1, .below = site->top};
    site->top = (uint32_t)crash->n_slots++;
    return 0;
}

static int add_piece(PlkCrash *crash, const PlkChange *c, size_t position, size_t at, size_t n)
{
    PlkPiece *pieces = plk_grown(crash->pieces, &crash->pieces_room, crash->n_pieces + 1, sizeof *pieces);
    int r = 0;

    if (!pieces)
        return -ENOMEM;
    crash->pieces = pieces;
    pieces[crash->n_pieces++] = (PlkPiece){.position = position, .file = c->file,
                                           .first_slot = (uint32_t)crash->n_slots, .n_slots = (uint32_t)n};
    for (size_t i = at; r == 0 && i < at + n; i++)
        r = add_slot(crash, c->file, c->sector + i, plk_change_sector(c, i));
    return r;
}

static int add_write(PlkCrash *crash, size_t position)
{
    const PlkChange *c = change_at(crash, position);
    size_t unit = crash->unit / PLK_SECTOR, n;
    int r = 0;

    for (size_t at = 0; r == 0 && at < c->n; at += n) {
        n = PLK_MIN(c->n - at, unit - (c->sector + at) % unit);
        r = add_piece(crash, c, position, at, n);
    }
    return r;
}

static int add_length(PlkCrashFile *file, size_t position, uint64_t size)
{
    PlkLength *lengths = plk_grown(file->lengths, &file->lengths_room, file->n_lengths + 1, sizeof *lengths);
    uint64_t before = file->size;

    if (!lengths)
        return -ENOMEM;
    if (file->n_lengths > 0)
        before = lengths[file->n_lengths - 1].size;
    file->lengths = lengths;
    lengths[file->n_lengths++] = (PlkLength){position, size, size < before};
    return 0;
}

static int add_chain(PlkCrash *crash, unsigned file, size_t n)
{
    PlkChain *chains = plk_grown(crash->chains, &crash->chains_room, crash->n_chains + 1, sizeof *chains);

    if (!chains)
        return -ENOMEM;
    crash->chains = chains;
    chains[crash->n_chains++] = (PlkChain){file, n};
    return 0;
}

/* Pieces that make no difference, whatever else is kept, are kept once and for all. */
static bool is_idle(const PlkCrash *crash, const PlkCrashFile *file, const PlkPiece *piece)
{
    for (size_t i = 0; i < file->n_lengths; i++)
        if (file->lengths[i].cuts)
            return false;
    for (uint32_t i = 0; i < piece->n_slots; i++)
        if (!crash->sites[crash->slots[piece->first_slot + i].site].idle)
            return false;
    return true;
}

static int find_live(PlkCrash *crash, PlkCrashFile *file, size_t first_piece)
{
    uint32_t *live = plk_grown(crash->live, &crash->live_room, crash->n_pieces, sizeof *live);

    if (!live && crash->n_pieces > 0)
        return -ENOMEM;
    crash->live = live;
    file->first_live = crash->n_live;
    for (size_t i = first_piece; i < crash->n_pieces; i++) {
        crash->pieces[i].kept = is_idle(crash, file, &crash->pieces[i]);
        if (!crash->pieces[i].kept)
            live[crash->n_live++] = (uint32_t)i;
    }
    file->end_live = crash->n_live;
    return 0;
}

static int plan_file(PlkCrash *crash, unsigned number)
{
    PlkCrashFile *file = &crash->files[number];
    size_t first_piece = crash->n_pieces;
    int r = 0;

    file->n_lengths = file->kept_lengths = 0;
    file->first_slot = crash->n_slots;
    file->first_site = crash->n_sites;
    for (size_t i = 0; r == 0 && i < file->pending.n; i++) {
        size_t position = file->pending.items[i];
        const PlkChange *c = change_at(crash, position);

        r = c->kind == PLK_CHANGE_WRITE ? add_write(crash, position) : add_length(file, position, c->size);
    }
    file->end_slot = crash->n_slots;
    file->end_site = crash->n_sites;
    if (r == 0)
        r = find_live(crash, file, first_piece);
    return r == 0 && file->n_lengths ? add_chain(crash, number, file->n_lengths) : r;
}

/* ---- a file in the state ---- */

/* What the site's newest kept piece put there comes to the top. */
static int refresh(PlkCrash *crash, PlkSite *site)
{
    PlkSectorData *now = site->base;
    int r;

    for (uint32_t i = site->top; i != PLK_NO_SLOT; i = crash->slots[i].below)
        if (crash->pieces[crash->slots[i].piece].kept) {
            now = crash->slots[i].shown;
            break;
        }
    if (now == site->current)
        return 0;
    r = plk_printed_set(&crash->files[site->file].state, site->sector, now);
    if (r == 0)
        site->current = now;
    return r;
}

static int show_slot(const PlkCrash *crash, PlkSlot *slot, uint64_t limit)
{
    uint64_t start = crash->sites[slot->site].sector * PLK_SECTOR;

    plk_sector_unref(slot->shown);
    slot->shown = NULL;
    if (!slot->written || limit <= start)
        return 0;
    slot->shown = limit - start >= PLK_SECTOR ? plk_sector_ref(slot->written)
                                              : plk_sector_cut(slot->written, (size_t)(limit - start));
    return slot->shown ? 0 : -ENOMEM;
}

/* Each as far as the kept lengths that came after it let it be seen: newest first. */
static int show_slots(PlkCrash *crash, PlkCrashFile *file)
{
    size_t later = file->kept_lengths;
    uint64_t limit = file->state_size;
    int r = 0;

    for (size_t i = file->end_slot; r == 0 && i-- > file->first_slot;) {
        PlkSlot *slot = &crash->slots[i];

        for (; later > 0 && file->lengths[later - 1].position > crash->pieces[slot->piece].position; later--)
            if (file->lengths[later - 1].cuts)
                limit = PLK_MIN(limit, file->lengths[later - 1].size);
        r = show_slot(crash, slot, limit);
    }
    return r;
}

/* What is durable, as long as the kept lengths make it. */
static int show_base(PlkCrashFile *file)
{
    int r;

    plk_content_clear(&file->state.content);
    r = plk_content_share(&file->durable.content, &file->state.content);
    file->state.print = file->durable.print;
    file->state_size = file->size;
    for (size_t i = 0; r == 0 && i < file->kept_lengths; i++) {
        file->state_size = file->lengths[i].size;
        if (file->lengths[i].cuts)
            r = plk_printed_cut(&file->state, file->state_size);
    }
    return r < 0 ? r : plk_printed_cut(&file->state, file->state_size);
}

static int show_file(PlkCrash *crash, PlkCrashFile *file)
{
    int r = show_base(file);

    if (r == 0)
        r = show_slots(crash, file);
    for (size_t i = file->first_site; r == 0 && i < file->end_site; i++) {
        PlkSite *site = &crash->sites[i];

        plk_sector_unref(site->base);
        site->base = site->current = plk_sector_ref(plk_content_get(&file->state.content, site->sector));
        r = refresh(crash, site);
    }
    return r;
}

/* ---- states ---- */

static int show_names(PlkCrash *crash, size_t kept)
{
    int r = plk_names_copy(&crash->durable, &crash->names);

    for (size_t i = 0; r == 0 && i < kept; i++)
        r = plk_names_apply(&crash->names, change_at(crash, crash->pending.items[i]));
    return r;
}

int plk_crash_plan(PlkCrash *crash, unsigned sector)
{
    int r;

    assert(sector == 512 || sector == 4096);
    if (crash->unit == sector)
        return 0;
    plk_crash_drop_plan(crash);
    crash->unit = sector;
    find_reachable(crash);
    r = clear_table(crash);
    if (r == 0 && crash->pending.n)
        r = add_chain(crash, PLK_NAMES, crash->pending.n);
    for (unsigned i = 0; r == 0 && i < crash->n_files; i++)
        if (crash->files[i].reachable)
            r = plan_file(crash, i);
    for (unsigned i = 0; r == 0 && i < crash->n_files; i++)
        if (crash->files[i].reachable)
            r = show_file(crash, &crash->files[i]);
    if (r == 0)
        r = show_names(crash, 0);
    if (r < 0)
        plk_crash_drop_plan(crash);
    return r;
}

size_t plk_crash_pieces(const PlkCrash *crash)
{
    return crash->n_live;
}

int plk_crash_keep(PlkCrash *crash, size_t number, bool keep)
{
    PlkPiece *piece = &crash->pieces[crash->live[number]];
    int r = 0;

    if (piece->kept == keep)
        return 0;
    piece->kept = keep;
    for (uint32_t i = 0; r == 0 && i < piece->n_slots; i++)
        r = refresh(crash, &crash->sites[crash->slots[piece->first_slot + i].site]);
    return r;
}

bool plk_crash_keeps(const PlkCrash *crash, size_t number)
{
    return crash->pieces[crash->live[number]].kept;
}

size_t plk_crash_chains(const PlkCrash *crash)
{
    return crash->n_chains;
}

size_t plk_crash_chain_length(const PlkCrash *crash, size_t chain)
{
    return crash->chains[chain].n;
}

int plk_crash_keep_first(PlkCrash *crash, size_t chain, size_t n)
{
    const PlkChain *c = &crash->chains[chain];
    PlkCrashFile *file;

    assert(n <= c->n);
    if (c->file == PLK_NAMES)
        return show_names(crash, n);
    file = &crash->files[c->file];
    if (file->kept_lengths == n)
        return 0;
    file->kept_lengths = n;
    return show_file(crash, file);
}

/* Files without a name do not count, nor which number a file has; that two names mean one file does. */
uint64_t plk_crash_print(const PlkCrash *crash)
{
    const PlkNames *names = &crash->names;
    uint64_t print = names->n;

    for (size_t i = 0; i < names->n; i++) {
        const PlkCrashFile *file = &crash->files[names->items[i].file];
        uint64_t h = (file->state.print ^ names->items[i].print) * 0x9e3779b97f4a7c15ull;

        h = (h ^ h >> 32 ^ file->state_size) * 0xd6e8feb86659fd93ull;
        for (size_t k = 0; k < names->n; k++)
            if (k != i && names->items[k].file == names->items[i].file)
                h += names->items[k].print;
        print += h ^ h >> 29;
    }
    return print;
}

static int add_file(const PlkCrash *crash, size_t first, PlkDir *dir)
{
    const PlkName *names = crash->names.items;
    const PlkCrashFile *file = &crash->files[names[first].file];
    plk_cleanup(plk_memory_unrefp) PlkMemoryNode *node =
        plk_memory_new_of(&file->state.content, file->state_size);
    int r = node ? 0 : -ENOMEM;

    for (size_t i = first; r == 0 && i < crash->names.n; i++)
        if (names[i].file == names[first].file)
            r = plk_memdir_add(dir, names[i].path, node);
    return r;
}

static bool is_first_name(const PlkNames *names, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (names->items[i].file == names->items[at].file)
            return false;
    return true;
}

int plk_crash_state(const PlkCrash *crash, PlkDir **ret)
{
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    int r = plk_dir_open_memory(crash->record->memory->path, &dir);

    for (size_t i = 0; r == 0 && i < crash->names.n; i++)
        if (is_first_name(&crash->names, i))
            r = add_file(crash, i, dir);
    if (r == 0)
        *ret = PLK_TAKE(dir);
    return r;
}

/* ---- a state of somebody's choice ---- */

typedef struct Choice {
    PlkChooseFn *choose;
    void *arg;
} Choice;

/* Nothing of a write, all of it, or some of its pieces: live ones from..end. */
static int choose_write(PlkCrash *crash, size_t from, size_t end, const Choice *o)
{
    unsigned how = o->choose(o->arg, end - from > 1 ? 3 : 2);
    int r = 0;

    for (size_t i = from; r == 0 && i < end; i++)
        r = plk_crash_keep(crash, i, how < 2 ? how : o->choose(o->arg, 2));
    return r;
}

static size_t end_of_write(const PlkCrash *crash, size_t from, size_t end)
{
    size_t i = from + 1;

    while (i < end && crash->pieces[crash->live[i]].position == crash->pieces[crash->live[from]].position)
        i++;
    return i;
}

static int choose_file(PlkCrash *crash, unsigned number, const Choice *o)
{
    const PlkCrashFile *file = &crash->files[number];
    int r = 0;

    for (size_t i = 0; i < crash->n_chains; i++)
        if (crash->chains[i].file == number)
            r = plk_crash_keep_first(crash, i, o->choose(o->arg, (unsigned)crash->chains[i].n + 1));
    for (size_t i = file->first_live, end; r == 0 && i < file->end_live; i = end) {
        end = end_of_write(crash, i, file->end_live);
        r = choose_write(crash, i, end, o);
    }
    return r;
}

int plk_crash_materialise(PlkCrash *crash, unsigned sector, PlkChooseFn *choose, void *arg, PlkDir **ret)
{
    Choice o = {choose, arg};
    int r = plk_crash_plan(crash, sector);

    if (r == 0)
        r = show_names(crash, crash->pending.n ? choose(arg, (unsigned)crash->pending.n + 1) : 0);
    for (size_t i = 0; r == 0 && i < crash->names.n; i++)
        if (is_first_name(&crash->names, i))
            r = choose_file(crash, crash->names.items[i].file, &o);
    return r < 0 ? r : plk_crash_state(crash, ret);
}
