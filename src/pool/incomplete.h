/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Marks of volumes whose content is not whole: .ploopkit/incomplete/NAME. Put there, durably, before the first byte of an
 * upload is written, a wipe begins or a directory is taken apart; taken off when that has ended and covered all
 * that the mark speaks of. A mark is about one file, not one name: if the name leads to another file by now, it means
 * nothing.
 */
#pragma once

#include <glib.h>

#include <ploopkit/error.h>

#include <stdbool.h>
#include <stdint.h>

typedef struct PlkIncomplete {
    uint64_t dev, ino;
    uint64_t from, to; /* bytes; UINT64_MAX = the end */
    int64_t since;     /* seconds since the epoch */
    char what[16];     /* "upload", "wipe", "deletion": one word */
    char who[64];
} PlkIncomplete;

/* Of the whole volume, begun now by this process. */
PlkIncomplete plk_incomplete_now(const char *what, uint64_t dev, uint64_t ino);

/* False: there is no mark, or it is about another file. */
bool plk_incomplete_get(int pool_dir, const char *name, uint64_t dev, uint64_t ino, PlkIncomplete *ret);
/* One sentence for people; g_free */
char *plk_incomplete_reason(const PlkIncomplete *mark);
/* Durable when it returns. Together with what an older mark of the same file says. *ret may be NULL. */
int plk_incomplete_set(int pool_dir, const char *name, const PlkIncomplete *mark, PlkIncomplete *ret, PlkError *err);
int plk_incomplete_clear(int pool_dir, const char *name, PlkError *err); /* also when there is none */
/* The names that have marks, as a set; NULL: none has. g_hash_table_unref(). */
GHashTable *plk_incomplete_names(int pool_dir);
