/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A few descriptors, the youngest in the place of the oldest. */
#include "volume/descriptor-cache.h"

#include <pthread.h>
#include <string.h>

#include <glib.h>

#define ENTRIES 32
#define TEXT_MAX 4096 /* longer ones have snapshots of their own: nobody has the same */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static PlkKnownDescriptor *entries[ENTRIES]; /* under the lock, with a reference each */
static unsigned oldest;

/* Only to find it: the texts are compared in any case. */
static uint64_t hash_of(const char *text, size_t len)
{
    uint64_t hash = len, word;

    for (; len >= sizeof word; text += sizeof word, len -= sizeof word) {
        memcpy(&word, text, sizeof word);
        hash = (hash ^ word) * 0x9fb21c651e98df25u;
        hash ^= hash >> 32;
    }
    for (; len; text++, len--)
        hash = (hash ^ (unsigned char)*text) * 0x9fb21c651e98df25u;
    return hash ^ hash >> 32;
}

static PlkKnownDescriptor *find(uint64_t hash, const char *text, size_t len)
{
    PlkKnownDescriptor *found = NULL;

    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < ENTRIES && !found; i++)
        if (entries[i] && entries[i]->hash == hash)
            found = entries[i];
    if (found)
        g_atomic_int_inc(&found->refs);
    pthread_mutex_unlock(&lock);
    if (found && (found->len != len || memcmp(found->text, text, len))) {
        plk_known_descriptor_unref(found);
        found = NULL;
    }
    return found;
}

static void remember(PlkKnownDescriptor *known)
{
    PlkKnownDescriptor *old;

    g_atomic_int_inc(&known->refs);
    pthread_mutex_lock(&lock);
    old = entries[oldest];
    entries[oldest] = known;
    oldest = (oldest + 1) % ENTRIES;
    pthread_mutex_unlock(&lock);
    if (old)
        plk_known_descriptor_unref(old);
}

PlkKnownDescriptor *plk_known_descriptor(const char *text, size_t len, const char *name, PlkError *err)
{
    uint64_t hash = hash_of(text, len);
    PlkKnownDescriptor *known = len <= TEXT_MAX ? find(hash, text, len) : NULL;
    PlkDescriptor desc;

    if (known)
        return known;
    if (plk_descriptor_parse(text, len, name, &desc, err) < 0)
        return NULL;
    plk_descriptor_drop_tree(&desc);
    known = g_new(PlkKnownDescriptor, 1);
    *known = (PlkKnownDescriptor){.desc = desc, .refs = 1, .hash = hash, .len = len};
    if (len > TEXT_MAX)
        return known;
    known->text = g_memdup2(text, len);
    remember(known);
    return known;
}

void plk_known_descriptor_unref(PlkKnownDescriptor *known)
{
    if (!g_atomic_int_dec_and_test(&known->refs))
        return;
    plk_descriptor_clear(&known->desc);
    g_free(known->text);
    g_free(known);
}
