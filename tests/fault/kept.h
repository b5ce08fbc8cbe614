/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a rescue must not lose: the bytes of every file that was there before. Afterwards each of them is found
 *
 *   - whole, in NAME or NAME.rescued-N; or
 *   - in parts: NAME.table.rescued-N, laid over NAME, is the file as it was.
 *
 * Lock files, and those of a try, are the engine's own and do not count.
 */
#pragma once

#include "io/dir.h"

#define KEPT_FILES_MAX 8u

typedef struct Kept {
    struct KeptFile {
        char *name, *bytes;
        size_t len;
    } files[KEPT_FILES_MAX];
    size_t n;
} Kept;

/* What is in the directory; in the place of what was noted before. False: it can not be read. */
bool kept_note(Kept *k, PlkDir *dir);
void kept_clear(Kept *k);
/* The name of a file whose bytes are not all in the directory any more; NULL: all are there. */
const char *kept_find_lost(const Kept *k, PlkDir *dir);
