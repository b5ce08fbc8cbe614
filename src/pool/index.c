/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The index: chunks of records. */
#include "pool/index.h"

#include <glib.h>
#include <string.h>

#define CHUNK_FILL 256  /* of chunks that are made */
#define CHUNK_SPLIT 512 /* a chunk never has more */

typedef struct Chunk {
    int refs;
    unsigned n;
    unsigned bad; /* of them; counted when it joins a list */
    PlkVolume *items[];
} Chunk;

/* A chunk, and how many records stand before it. */
typedef struct Slot {
    Chunk *chunk;
    size_t before;
} Slot;

struct PlkVolumeList {
    int refs;
    size_t n, n_slots, bad;
    Slot slots[];
};

/* ---- records ---- */

PlkVolume *plk_volume_new(char *name, PlkVolumeState state, char *reason, PlkVolumeFacts *facts)
{
    PlkVolume *volume = g_new0(PlkVolume, 1);

    volume->name = name;
    volume->state = state;
    volume->reason = reason;
    volume->facts = *facts;
    volume->refs = 1;
    return volume;
}

PlkVolume *plk_volume_in_state(const PlkVolume *volume, PlkVolumeState state, char *reason)
{
    PlkVolumeFacts facts = volume->facts;

    facts.label = g_strdup(facts.label);
    facts.backing = g_strdup(facts.backing);
    facts.reason = g_strdup(facts.reason);
    facts.base = g_strdup(facts.base);
    facts.deltas = g_strdupv(facts.deltas);
    return plk_volume_new(g_strdup(volume->name), state, reason, &facts);
}

PlkVolume *plk_volume_ref(PlkVolume *volume)
{
    g_atomic_int_inc(&volume->refs);
    return volume;
}

void plk_volume_unref(PlkVolume *volume)
{
    if (!g_atomic_int_dec_and_test(&volume->refs))
        return;
    plk_volume_facts_clear(&volume->facts);
    g_free(volume->reason);
    g_free(volume->name);
    g_free(volume);
}

/* ---- chunks ---- */

/* Room for n records; the caller fills them in. */
static Chunk *new_chunk(unsigned n)
{
    Chunk *chunk = g_malloc(sizeof *chunk + n * sizeof chunk->items[0]);

    chunk->refs = 1;
    chunk->n = n;
    return chunk;
}

static void unref_chunk(Chunk *chunk)
{
    if (!g_atomic_int_dec_and_test(&chunk->refs))
        return;
    for (unsigned i = 0; i < chunk->n; i++)
        plk_volume_unref(chunk->items[i]);
    g_free(chunk);
}

static void copy_items(Chunk *to, unsigned at, const Chunk *from, unsigned first, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        to->items[at + i] = plk_volume_ref(from->items[first + i]);
}

/* It is filled. */
static Chunk *finish_chunk(Chunk *chunk)
{
    chunk->bad = 0;
    for (unsigned i = 0; i < chunk->n; i++)
        chunk->bad += chunk->items[i]->state == PLK_STATE_BROKEN || chunk->items[i]->state == PLK_STATE_INCOMPLETE;
    return chunk;
}

/* The first record in it whose name is not smaller. */
static unsigned seek_in_chunk(const Chunk *chunk, const char *name)
{
    unsigned low = 0, high = chunk->n;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (strcmp(chunk->items[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- lists ---- */

static PlkVolumeList *new_list(size_t n_slots)
{
    PlkVolumeList *list = g_malloc0(sizeof *list + n_slots * sizeof list->slots[0]);

    list->refs = 1;
    list->n_slots = n_slots;
    return list;
}

static void count(PlkVolumeList *list)
{
    list->n = list->bad = 0;
    for (size_t i = 0; i < list->n_slots; i++) {
        list->slots[i].before = list->n;
        list->n += list->slots[i].chunk->n;
        list->bad += list->slots[i].chunk->bad;
    }
}

PlkVolumeList *plk_volume_list_ref(PlkVolumeList *list)
{
    g_atomic_int_inc(&list->refs);
    return list;
}

void plk_volume_list_unref(PlkVolumeList *list)
{
    if (!list || !g_atomic_int_dec_and_test(&list->refs))
        return;
    for (size_t i = 0; i < list->n_slots; i++)
        unref_chunk(list->slots[i].chunk);
    g_free(list);
}

size_t plk_volume_list_count(const PlkVolumeList *list)
{
    return list->n;
}

size_t plk_index_count_bad(const PlkVolumeList *list)
{
    return list->bad;
}

PlkVolume *plk_volume_list_at(const PlkVolumeList *list, size_t i)
{
    size_t low = 0, high = list->n_slots;

    while (high - low > 1) {
        size_t middle = (low + high) / 2;

        if (list->slots[middle].before <= i)
            low = middle;
        else
            high = middle;
    }
    return list->slots[low].chunk->items[i - list->slots[low].before];
}

PlkVolumeList *plk_index_build(PlkVolume **sorted, size_t n)
{
    PlkVolumeList *list = new_list((n + CHUNK_FILL - 1) / CHUNK_FILL);

    for (size_t i = 0; i < list->n_slots; i++) {
        size_t first = i * CHUNK_FILL, here = MIN(n - first, (size_t)CHUNK_FILL);

        list->slots[i].chunk = new_chunk((unsigned)here);
        memcpy(list->slots[i].chunk->items, sorted + first, here * sizeof sorted[0]);
        finish_chunk(list->slots[i].chunk);
    }
    count(list);
    return list;
}

/* The last chunk that does not begin behind this name; 0 if there is none. */
static size_t seek_slot(const PlkVolumeList *list, const char *name)
{
    size_t low = 0, high = list->n_slots;

    while (high > low + 1) {
        size_t middle = (low + high) / 2;

        if (strcmp(list->slots[middle].chunk->items[0]->name, name) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

size_t plk_index_seek(const PlkVolumeList *list, const char *name)
{
    size_t slot = seek_slot(list, name);

    return list->n == 0 ? 0 : list->slots[slot].before + seek_in_chunk(list->slots[slot].chunk, name);
}

PlkVolume *plk_index_find(const PlkVolumeList *list, const char *name)
{
    const Chunk *chunk = list->n ? list->slots[seek_slot(list, name)].chunk : NULL;
    unsigned i = chunk ? seek_in_chunk(chunk, name) : 0;

    return chunk && i < chunk->n && strcmp(chunk->items[i]->name, name) == 0 ? chunk->items[i] : NULL;
}

/* The list with these chunks (taken over) in the place of one; NULLs are left out. */
static PlkVolumeList *with_chunks(const PlkVolumeList *list, size_t slot, Chunk *a, Chunk *b)
{
    size_t n = list->n_slots - (list->n_slots > 0) + (a != NULL) + (b != NULL), to = 0;
    PlkVolumeList *copy = new_list(n);

    for (size_t i = 0; i < MAX(list->n_slots, (size_t)1); i++) {
        if (i == slot) {
            if (a)
                copy->slots[to++].chunk = finish_chunk(a);
            if (b)
                copy->slots[to++].chunk = finish_chunk(b);
        } else {
            g_atomic_int_inc(&list->slots[i].chunk->refs);
            copy->slots[to++].chunk = list->slots[i].chunk;
        }
    }
    count(copy);
    return copy;
}

/* Two halves of it. */
static void split(Chunk *chunk, Chunk **ret_a, Chunk **ret_b)
{
    unsigned half = chunk->n / 2;

    *ret_a = new_chunk(half);
    *ret_b = new_chunk(chunk->n - half);
    copy_items(*ret_a, 0, chunk, 0, half);
    copy_items(*ret_b, 0, chunk, half, chunk->n - half);
    unref_chunk(chunk);
}

PlkVolumeList *plk_index_with(const PlkVolumeList *list, PlkVolume *volume)
{
    size_t slot = seek_slot(list, volume->name);
    const Chunk *old = list->n ? list->slots[slot].chunk : NULL;
    unsigned n = old ? old->n : 0, at = old ? seek_in_chunk(old, volume->name) : 0;
    bool replaces = at < n && strcmp(old->items[at]->name, volume->name) == 0;
    Chunk *chunk = new_chunk(n + !replaces), *a = chunk, *b = NULL;

    if (old)
        copy_items(chunk, 0, old, 0, at);
    chunk->items[at] = volume;
    if (old)
        copy_items(chunk, at + 1, old, at + replaces, n - at - replaces);
    if (chunk->n > CHUNK_SPLIT)
        split(chunk, &a, &b);
    return with_chunks(list, slot, a, b);
}

PlkVolumeList *plk_index_without(const PlkVolumeList *list, const char *name)
{
    size_t slot = seek_slot(list, name);
    const Chunk *old = list->n ? list->slots[slot].chunk : NULL;
    unsigned at = old ? seek_in_chunk(old, name) : 0;
    Chunk *chunk = NULL;

    if (!old || at == old->n || strcmp(old->items[at]->name, name))
        return plk_volume_list_ref((PlkVolumeList *)list);
    if (old->n > 1) {
        chunk = new_chunk(old->n - 1);
        copy_items(chunk, 0, old, 0, at);
        copy_items(chunk, at, old, at + 1, old->n - at - 1);
    }
    return with_chunks(list, slot, chunk, NULL);
}
