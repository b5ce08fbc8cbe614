/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files in shared sectors; content.h says what for. */
#include "io/content.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define CHUNK_BYTES (PLK_CHUNK_SECTORS * (uint64_t)PLK_SECTOR)
#define BLOCK_SECTORS 8u /* of the holes that next_data() shows */
#define BLOCK_BYTES (BLOCK_SECTORS * (uint64_t)PLK_SECTOR)
#define CHUNK_BLOCKS (PLK_CHUNK_SECTORS / BLOCK_SECTORS)
#define PRINT_OF_ZEROS 1u

/* ---- sectors ---- */

static PlkSectorData *sector_new(void)
{
    PlkSectorData *s = plk_malloc(sizeof *s);

    if (s) {
        atomic_init(&s->refs, 1);
        atomic_init(&s->print, 0);
    }
    return s;
}

PlkSectorData *plk_sector_ref(PlkSectorData *s)
{
    if (s)
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

static bool is_shared(_Atomic unsigned *refs)
{
    return atomic_load_explicit(refs, memory_order_acquire) > 1;
}

/* The last reference is dropped without a locked instruction. */
static bool drop_ref(_Atomic unsigned *refs)
{
    return !is_shared(refs) || atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

void plk_sector_unref(PlkSectorData *s)
{
    if (s && drop_ref(&s->refs))
        free(s);
}

PlkSectorData *plk_sector_cut(const PlkSectorData *s, size_t len)
{
    PlkSectorData *cut = sector_new();

    if (!cut)
        return NULL;
    memcpy(cut->bytes, s->bytes, len);
    memset(cut->bytes + len, 0, PLK_SECTOR - len);
    return cut;
}

static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
    return h ^ h >> 32;
}

/* Four lanes, so that the multiplications overlap. */
static uint64_t print_bytes(const unsigned char *bytes)
{
    static const uint64_t odd[4] = {0x9e3779b97f4a7c15ull, 0xbf58476d1ce4e5b9ull, 0x94d049bb133111ebull,
                                    0xd6e8feb86659fd93ull};
    uint64_t h[4] = {1, 2, 3, 4}, words[4];

    if (plk_is_zero(bytes, PLK_SECTOR))
        return PRINT_OF_ZEROS;
    for (size_t at = 0; at < PLK_SECTOR; at += sizeof words) {
        memcpy(words, bytes + at, sizeof words);
        for (unsigned i = 0; i < 4; i++) {
            h[i] = (h[i] ^ words[i]) * odd[i];
            h[i] ^= h[i] >> 29;
        }
    }
    return mix(mix(mix(mix(h[0]) + h[1]) + h[2]) + h[3]) | PRINT_OF_ZEROS << 1;
}

uint64_t plk_sector_print(PlkSectorData *s, uint64_t sector)
{
    uint64_t print;

    if (!s)
        return 0;
    print = atomic_load_explicit(&s->print, memory_order_relaxed);
    if (print == 0) {
        print = print_bytes(s->bytes);
        atomic_store_explicit(&s->print, print, memory_order_relaxed);
    }
    return print == PRINT_OF_ZEROS ? 0 : mix(print + sector * 0x9e3779b97f4a7c15ull);
}

/* ---- chunks ---- */

static void chunk_unref(PlkChunk *chunk)
{
    if (!drop_ref(&chunk->refs))
        return;
    for (uint64_t left = chunk->present; left; left &= left - 1)
        plk_sector_unref(chunk->sectors[__builtin_ctzll(left)]);
    free(chunk);
}

/* Its own copy for whoever wants to change one that is shared; NULL when out of memory. */
static PlkChunk *chunk_copy(const PlkChunk *chunk)
{
    PlkChunk *copy = plk_malloc(sizeof *copy);

    if (!copy)
        return NULL;
    atomic_init(&copy->refs, 1);
    copy->present = chunk->present;
    memcpy(copy->sectors, chunk->sectors, sizeof copy->sectors);
    for (uint64_t left = copy->present; left; left &= left - 1)
        plk_sector_ref(copy->sectors[__builtin_ctzll(left)]);
    return copy;
}

/* Position of the first chunk whose index is `index` or more. */
static size_t slot_position(const PlkContent *c, uint64_t index)
{
    size_t low = 0, high = c->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (c->slots[mid].index < index)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static PlkChunk *find_chunk(const PlkContent *c, uint64_t index)
{
    size_t at = slot_position(c, index);

    return at < c->n && c->slots[at].index == index ? c->slots[at].chunk : NULL;
}

static PlkChunk *insert_chunk(PlkContent *c, size_t at, uint64_t index)
{
    PlkChunk *chunk;

    if (c->n == c->room) {
        size_t room = c->room ? c->room * 2 : 8;
        PlkChunkSlot *grown = plk_realloc(c->slots, room, sizeof *grown);

        if (!grown)
            return NULL;
        c->slots = grown;
        c->room = room;
    }
    chunk = plk_calloc(1, sizeof *chunk);
    if (!chunk)
        return NULL;
    atomic_init(&chunk->refs, 1);
    memmove(c->slots + at + 1, c->slots + at, (c->n - at) * sizeof *c->slots);
    c->slots[at] = (PlkChunkSlot){index, chunk};
    c->n++;
    return chunk;
}

/* For changing the chunk at this position; NULL when out of memory. */
static PlkChunk *own_slot(PlkContent *c, size_t at)
{
    PlkChunk *old = c->slots[at].chunk, *copy;

    if (!is_shared(&old->refs))
        return old;
    copy = chunk_copy(old);
    if (!copy)
        return NULL;
    c->slots[at].chunk = copy;
    chunk_unref(old);
    return copy;
}

/* For changing; made if absent. */
static PlkChunk *own_chunk(PlkContent *c, uint64_t index)
{
    size_t at = slot_position(c, index);

    return at < c->n && c->slots[at].index == index ? own_slot(c, at) : insert_chunk(c, at, index);
}

/* For writing into a chunk of one's own. `whole`: what it holds does not matter. NULL when out of memory. */
static PlkSectorData *own_sector(PlkChunk *chunk, unsigned i, bool whole)
{
    PlkSectorData *old = chunk->sectors[i], *s;

    if (old && !is_shared(&old->refs)) {
        atomic_store_explicit(&old->print, 0, memory_order_relaxed);
        return old;
    }
    s = sector_new();
    if (!s)
        return NULL;
    if (!whole && old)
        memcpy(s->bytes, old->bytes, PLK_SECTOR);
    else if (!whole)
        memset(s->bytes, 0, PLK_SECTOR);
    chunk->sectors[i] = s;
    chunk->present |= 1ull << i;
    plk_sector_unref(old);
    return s;
}

/* ---- the whole ---- */

void plk_content_clear(PlkContent *c)
{
    for (size_t i = 0; i < c->n; i++)
        chunk_unref(c->slots[i].chunk);
    free(c->slots);
    *c = (PlkContent){0};
}

int plk_content_share(const PlkContent *c, PlkContent *ret)
{
    PlkContent copy = {.n = c->n, .room = c->n};

    if (c->n > 0) {
        copy.slots = plk_malloc(c->n * sizeof *copy.slots);
        if (!copy.slots)
            return -ENOMEM;
        memcpy(copy.slots, c->slots, c->n * sizeof *copy.slots);
    }
    for (size_t i = 0; i < c->n; i++)
        atomic_fetch_add_explicit(&c->slots[i].chunk->refs, 1, memory_order_relaxed);
    *ret = copy;
    return 0;
}

PlkSectorData *plk_content_get(const PlkContent *c, uint64_t sector)
{
    const PlkChunk *chunk = find_chunk(c, sector / PLK_CHUNK_SECTORS);

    return chunk ? chunk->sectors[sector % PLK_CHUNK_SECTORS] : NULL;
}

int plk_content_set(PlkContent *c, uint64_t sector, PlkSectorData *s)
{
    uint64_t index = sector / PLK_CHUNK_SECTORS;
    unsigned i = sector % PLK_CHUNK_SECTORS;
    PlkSectorData *old;
    PlkChunk *chunk;

    if (!s && !find_chunk(c, index))
        return 0;
    chunk = own_chunk(c, index);
    if (!chunk)
        return -ENOMEM;
    old = chunk->sectors[i];
    chunk->sectors[i] = plk_sector_ref(s);
    if (s)
        chunk->present |= 1ull << i;
    else
        chunk->present &= ~(1ull << i);
    plk_sector_unref(old);
    return 0;
}

static void read_chunk(const PlkChunk *chunk, unsigned char *buf, size_t len, size_t at)
{
    for (size_t n; len > 0; buf += n, at += n, len -= n) {
        const PlkSectorData *s = chunk->sectors[at / PLK_SECTOR];

        n = PLK_MIN(len, PLK_SECTOR - at % PLK_SECTOR);
        if (s)
            memcpy(buf, s->bytes + at % PLK_SECTOR, n);
        else
            memset(buf, 0, n);
    }
}

void plk_content_read(const PlkContent *c, void *buf, size_t len, uint64_t off)
{
    unsigned char *to = buf;

    for (size_t n; len > 0; to += n, off += n, len -= n) {
        const PlkChunk *chunk = find_chunk(c, off / CHUNK_BYTES);

        n = PLK_MIN(len, CHUNK_BYTES - off % CHUNK_BYTES);
        if (chunk && chunk->present)
            read_chunk(chunk, to, n, off % CHUNK_BYTES);
        else
            memset(to, 0, n);
    }
}

static size_t write_chunk(PlkChunk *chunk, const unsigned char *buf, size_t len, size_t at)
{
    size_t done = 0;

    for (size_t n; done < len; done += n, at += n) {
        PlkSectorData *s;

        n = PLK_MIN(len - done, PLK_SECTOR - at % PLK_SECTOR);
        s = own_sector(chunk, (unsigned)(at / PLK_SECTOR), n == PLK_SECTOR);
        if (!s)
            break;
        memcpy(s->bytes + at % PLK_SECTOR, buf + done, n);
    }
    return done;
}

size_t plk_content_write(PlkContent *c, const void *buf, size_t len, uint64_t off)
{
    const unsigned char *from = buf;
    size_t done = 0, n = 0, wrote = 0;

    for (; done < len && wrote == n; done += wrote) {
        PlkChunk *chunk = own_chunk(c, (off + done) / CHUNK_BYTES);

        n = PLK_MIN(len - done, CHUNK_BYTES - (off + done) % CHUNK_BYTES);
        wrote = chunk ? write_chunk(chunk, from + done, n, (off + done) % CHUNK_BYTES) : 0;
    }
    return done;
}

/* ---- holes ---- */

static int punch_sector(PlkChunk *chunk, unsigned i, size_t from, size_t to)
{
    PlkSectorData *s;

    if (from == 0 && to == PLK_SECTOR) {
        plk_sector_unref(chunk->sectors[i]);
        chunk->sectors[i] = NULL;
        chunk->present &= ~(1ull << i);
        return 0;
    }
    if (!chunk->sectors[i])
        return 0;
    s = own_sector(chunk, i, false);
    if (!s)
        return -ENOMEM;
    memset(s->bytes + from, 0, to - from);
    return 0;
}

static int punch_chunk(PlkChunk *chunk, size_t from, size_t to)
{
    int r = 0;

    for (size_t at = from, n; r == 0 && at < to; at += n) {
        n = PLK_MIN(to - at, PLK_SECTOR - at % PLK_SECTOR);
        r = punch_sector(chunk, (unsigned)(at / PLK_SECTOR), at % PLK_SECTOR, at % PLK_SECTOR + n);
    }
    return r;
}

/* Whole chunks go, parts of chunks are punched. */
int plk_content_punch(PlkContent *c, uint64_t off, uint64_t end)
{
    size_t kept = slot_position(c, off / CHUNK_BYTES);
    int r = 0;

    for (size_t i = kept; i < c->n; i++) {
        PlkChunkSlot slot = c->slots[i];
        uint64_t start = slot.index * CHUNK_BYTES;
        uint64_t from = PLK_MAX(off, start), to = PLK_MIN(end, start + CHUNK_BYTES);

        if (r == 0 && from == start && to == start + CHUNK_BYTES) {
            chunk_unref(slot.chunk);
            continue;
        }
        if (r == 0 && from < to) {
            PlkChunk *own = own_slot(c, i);

            r = own ? punch_chunk(own, (size_t)(from - start), (size_t)(to - start)) : -ENOMEM;
        }
        c->slots[kept++] = c->slots[i];
    }
    c->n = kept;
    return r;
}

int plk_content_reserve(PlkContent *c, uint64_t off, uint64_t end)
{
    for (uint64_t sector = off / PLK_SECTOR; sector < plk_div_up(end, PLK_SECTOR);) {
        uint64_t index = sector / PLK_CHUNK_SECTORS;
        PlkChunk *chunk = own_chunk(c, index);

        if (!chunk)
            return -ENOMEM;
        for (; sector < plk_div_up(end, PLK_SECTOR) && sector / PLK_CHUNK_SECTORS == index; sector++)
            chunk->present |= 1ull << sector % PLK_CHUNK_SECTORS;
    }
    return 0;
}

static bool has_block(const PlkChunk *chunk, unsigned block)
{
    return chunk->present >> block * BLOCK_SECTORS & ((1u << BLOCK_SECTORS) - 1);
}

/* The first block at or after *block, in the chunks from `at` on, that takes room, or does not. */
static bool find_block(const PlkContent *c, size_t at, bool takes_room, uint64_t *block)
{
    for (; at < c->n; at++) {
        uint64_t start = c->slots[at].index * CHUNK_BLOCKS;

        if (!takes_room && start > *block)
            return true;
        for (*block = PLK_MAX(*block, start); *block < start + CHUNK_BLOCKS; ++*block)
            if (has_block(c->slots[at].chunk, *block % CHUNK_BLOCKS) == takes_room)
                return true;
    }
    return !takes_room;
}

bool plk_content_next_data(const PlkContent *c, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
    uint64_t start = off / BLOCK_BYTES, end;

    if (!find_block(c, slot_position(c, off / CHUNK_BYTES), true, &start))
        return false;
    end = start;
    find_block(c, slot_position(c, start / CHUNK_BLOCKS), false, &end);
    *ret_start = PLK_MAX(start * BLOCK_BYTES, off);
    *ret_end = end * BLOCK_BYTES;
    return true;
}

uint64_t plk_content_print(const PlkContent *c, uint64_t sector)
{
    uint64_t print = 0;

    for (size_t at = slot_position(c, sector / PLK_CHUNK_SECTORS); at < c->n; at++) {
        const PlkChunk *chunk = c->slots[at].chunk;
        uint64_t start = c->slots[at].index * PLK_CHUNK_SECTORS;
        uint64_t left = chunk->present;

        if (sector > start)
            left &= ~0ull << (sector - start);
        for (; left; left &= left - 1) {
            unsigned i = (unsigned)__builtin_ctzll(left);

            print ^= plk_sector_print(chunk->sectors[i], start + i);
        }
    }
    return print;
}
