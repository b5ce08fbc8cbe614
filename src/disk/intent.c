/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text, behind the note in the lock file:
 *
 *     intent 155 5d41402abc4b2a76b9719d911017c592
 *     before 9e107d9d372bb6826bd81d3542a419d6
 *     after e4d909c290d0fb1ca068ffaddf22cbd0
 *     created root.hds.{2a5d9e0b-...}
 *     doomed root.hds.{...}
 *
 * 155 bytes follow the first line, whose MD5 that is.
 */
#include "disk/intent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "base/seeded.h"
#include "disk/note.h"

#define HEX_FORMAT "%32[0-9a-f]"

/* "NAME.{guid}" in the descriptor's own directory. */
static bool is_ours(const char *file)
{
    const char *brace = strrchr(file, '{');
    PlkGuid guid;

    return brace && brace > file + 1 && brace[-1] == '.' && !strpbrk(file, "/\n") &&
           plk_guid_parse(brace, &guid);
}

/* ---- saying it ---- */

static int append(char **list, const char *word, const char *file)
{
    char *longer = plk_printf("%s%s %s\n", *list, word, file);

    if (!longer)
        return -ENOMEM;
    free(*list);
    *list = longer;
    return 0;
}

static int print_list(PlkStore *store, const char *after, const char *created, char *const *doomed, size_t n,
                      char **ret)
{
    PLK_FREE char *list = plk_printf("before %s\nafter %s\n", store->digest, after);
    char digest[PLK_DIGEST_CHARS + 1];
    int r = list ? 0 : -ENOMEM;

    if (r == 0 && created && is_ours(created))
        r = append(&list, "created", created);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (doomed[i] && is_ours(doomed[i]))
            r = append(&list, "doomed", doomed[i]);
    if (r < 0)
        return r;
    plk_digest_text(list, strlen(list), digest);
    *ret = plk_printf("intent %zu %s\n%s", strlen(list), digest, list);
    return *ret ? 0 : -ENOMEM;
}

int plk_intent_declare(PlkStore *store, PlkDescriptor *future, const char *created, char *const *doomed,
                       size_t n_doomed, PlkError *err)
{
    PLK_FREE char *text = NULL, *list = NULL;
    char after[PLK_DIGEST_CHARS + 1];
    size_t len;
    int r;

    if (plk_store_render(store, future, &text, &len, err) < 0)
        return -1;
    plk_digest_text(text, len, after);
    if (print_list(store, after, created, doomed, n_doomed, &list) < 0)
        return plk_fail_nomem(err);
    r = store->declared ? plk_dir_sync(store->dir) : 0; /* as in clear() */
    if (r == 0)
        r = plk_note_write_behind(store, list, true);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_WRITE, r, "cannot write to '%s.lck'; nothing was changed", store->path);
    store->declared = true;
    return 0;
}

/*
 * The list goes after the files it is about: a crash that keeps only the shorter text must not bring them back.
 * The note, whose length moves the list, waits for that.
 */
static void clear(PlkStore *store)
{
    if ((!PLK_SEEDED(FORGET_EARLY) && plk_dir_sync(store->dir) < 0) ||
        plk_note_write_behind(store, "", false) < 0)
        return;
    if (store->loaded)
        plk_note_write(store);
}

void plk_intent_clear(PlkStore *store)
{
    if (store->declared)
        clear(store);
    store->declared = false;
}

/* ---- reading it ---- */

/* The lines behind the first, or NULL. */
static char *find_list(char *text)
{
    char digest[PLK_DIGEST_CHARS + 1], wanted[PLK_DIGEST_CHARS + 1], *list = strchr(text, '\n');
    size_t len;

    if (sscanf(text, "intent %7zu " HEX_FORMAT, &len, wanted) != 2 || !list || strlen(list + 1) != len)
        return NULL;
    plk_digest_text(list + 1, len, digest);
    return strcmp(digest, wanted) == 0 ? list + 1 : NULL;
}

/* Which lines hold for the descriptor as it is: "created ", "doomed ", or none of them. */
static const char *word_that_holds(const char *digest, const char *list)
{
    char before[PLK_DIGEST_CHARS + 1], after[PLK_DIGEST_CHARS + 1];

    if (sscanf(list, "before " HEX_FORMAT " after " HEX_FORMAT, before, after) != 2)
        return NULL;
    if (strcmp(digest, after) == 0)
        return "doomed ";
    return strcmp(digest, before) == 0 ? "created " : NULL;
}

static void remove_listed(PlkStore *store, char *list)
{
    const char *word = word_that_holds(store->digest, list);
    char *rest, *line = strtok_r(list, "\n", &rest);

    /* The descriptor must be durable before they go: its writer may not have got so far. */
    if (!word || plk_dir_sync(store->dir) < 0)
        return;
    for (; line; line = strtok_r(NULL, "\n", &rest)) {
        const char *file = line + strlen(word);

        if (strncmp(line, word, strlen(word)) != 0 || !is_ours(file))
            continue;
        plk_debug(PLK_DEBUG_DISK, "%s: '%s' goes after an interrupted change", store->path, file);
        plk_store_remove_file(store, file);
    }
}

void plk_intent_sweep(PlkStore *store)
{
    bool uncertain = store->uncertain;
    PLK_FREE char *text = NULL;
    char *list;

    if (plk_note_read_behind(store, &text) < 0 || !*text)
        return;
    list = find_list(text);
    store->uncertain = false;
    if (list)
        remove_listed(store, list);
    if (!store->uncertain) /* else a file could not be removed: the list stays for the next to try */
        clear(store);
    store->uncertain = uncertain;
}

bool plk_intent_leaves(const char *lock_text, const char *digest, const char *file)
{
    const char *at = strstr(lock_text, "intent ");
    PLK_FREE char *text = at ? plk_strdup(at) : NULL, *wanted = NULL;
    const char *word;
    char *list;

    list = text ? find_list(text) : NULL;
    word = list ? word_that_holds(digest, list) : NULL;
    wanted = word && is_ours(file) ? plk_printf("\n%s%s\n", word, file) : NULL;
    return wanted && strstr(list, wanted);
}
