/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files and what a rescue keeps of them; see kept.h. */
#include "kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/math.h"

#define BYTES_MAX (1u << 24)
#define NUMBERS_MAX 9u
#define SECTOR 512u

typedef struct KeptFile KeptFile;

typedef struct Noting {
    Kept *kept;
    PlkDir *dir;
} Noting;

static int note_file(void *arg, const char *name)
{
    Noting *n = arg;
    KeptFile *f = &n->kept->files[n->kept->n];

    if (strstr(name, ".lck") || strncmp(name, "rescue-try.", 11) == 0)
        return 0;
    if (n->kept->n == KEPT_FILES_MAX || plk_dir_read_file(n->dir, name, BYTES_MAX, &f->bytes, &f->len) < 0)
        return 1;
    f->name = strdup(name);
    n->kept->n++;
    return !f->name;
}

bool kept_note(Kept *k, PlkDir *dir)
{
    Noting n = {k, dir};

    kept_clear(k);
    return plk_dir_list(dir, note_file, &n) == 0;
}

void kept_clear(Kept *k)
{
    for (size_t i = 0; i < k->n; i++) {
        free(k->files[i].name);
        free(k->files[i].bytes);
    }
    memset(k, 0, sizeof *k);
}

/* Number 0 is the file itself. NULL: there is none. */
static char *read_number(PlkDir *dir, const char *name, const char *what, unsigned number, size_t *ret_len)
{
    char *bytes = NULL, path[300];

    if (number)
        snprintf(path, sizeof path, "%s%s.rescued-%u", name, what, number);
    else
        snprintf(path, sizeof path, "%s", name);
    return plk_dir_read_file(dir, path, BYTES_MAX, &bytes, ret_len) == 0 ? bytes : NULL;
}

static bool is_whole(PlkDir *dir, const KeptFile *f)
{
    bool whole = false;

    for (unsigned n = 0; !whole && n <= NUMBERS_MAX; n++) {
        PLK_FREE char *bytes = NULL;
        size_t len;

        bytes = read_number(dir, f->name, "", n, &len);
        whole = bytes && len == f->len && memcmp(bytes, f->bytes, len) == 0;
    }
    return whole;
}

static bool holds(const char *bytes, size_t len, const KeptFile *f, size_t at, size_t n)
{
    return at + n <= len && memcmp(bytes + at, f->bytes + at, n) == 0;
}

static bool restores(const KeptFile *f, const char *image, size_t image_len, const char *parts,
                     size_t parts_len)
{
    for (size_t at = 0; at < f->len; at += SECTOR) {
        size_t n = PLK_MIN(f->len - at, SECTOR);

        if (!holds(parts, parts_len, f, at, n) && !holds(image, image_len, f, at, n))
            return false;
    }
    return true;
}

static bool is_in_parts(PlkDir *dir, const KeptFile *f)
{
    PLK_FREE char *image = NULL;
    size_t image_len, len;
    bool good = false;

    image = read_number(dir, f->name, "", 0, &image_len);
    for (unsigned n = 1; image && !good && n <= NUMBERS_MAX; n++) {
        PLK_FREE char *parts = read_number(dir, f->name, ".table", n, &len);

        good = parts && restores(f, image, image_len, parts, len);
    }
    return good;
}

const char *kept_find_lost(const Kept *k, PlkDir *dir)
{
    for (size_t i = 0; i < k->n; i++)
        if (!is_whole(dir, &k->files[i]) && !is_in_parts(dir, &k->files[i]))
            return k->files[i].name;
    return NULL;
}
