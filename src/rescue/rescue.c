/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The object of a rescue: what it owns, and the words for what it holds. */
#include "rescue/rescue.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* ---- ownership ---- */

static bool own(PlkRescue *r, void *p)
{
    void **longer = p ? plk_realloc(r->owned, r->n_owned + 1, sizeof *longer) : NULL;

    if (!longer) {
        free(p);
        r->starved = true;
        return false;
    }
    r->owned = longer;
    r->owned[r->n_owned++] = p;
    return true;
}

const char *plk_rescue_text(PlkRescue *r, const char *fmt, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    text = plk_malloc((size_t)len + 1);
    if (!own(r, text))
        return "";
    va_start(args, fmt);
    vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}

int plk_rescue_note(PlkRescue *r, int neg_errno)
{
    r->starved |= neg_errno == -ENOMEM;
    return neg_errno;
}

int plk_rescue_note_words(PlkRescue *r, const PlkError *why)
{
    r->starved |= why->code == PLK_ERROR_NO_MEMORY;
    return -1;
}

/* At powers of two it moves to twice the room; the old room goes with the rest. */
void *plk_rescue_append(PlkRescue *r, void *list, size_t *n, size_t size)
{
    char **at = list, *item;

    if ((*n & (*n - 1)) == 0) {
        char *longer = plk_calloc(*n ? 2 * *n : 1, size);

        if (!own(r, longer))
            return NULL;
        if (*n)
            memcpy(longer, *at, *n * size);
        *at = longer;
    }
    item = *at + *n * size;
    ++*n;
    return item;
}

void plk_rescue_free(PlkRescue *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_plans; i++)
        plk_descriptor_clear(&r->plans[i].desc);
    plk_descriptor_clear(&r->present.desc);
    plk_descriptor_clear(&r->future.desc);
    for (size_t i = 0; i < r->n_owned; i++)
        free(r->owned[i]);
    free(r->owned);
    free(r->intent);
    free(r);
}

/* ---- names ---- */

size_t plk_rescue_stem(const char *name)
{
    const char *brace = strrchr(name, '{');
    PlkGuid guid;

    if (!brace || brace < name + 2 || brace[-1] != '.' || !plk_guid_parse(brace, &guid))
        return 0;
    return (size_t)(brace - name) - 1;
}

const char *plk_rescue_name(PlkRescue *r, const char *entry, char **ret_path)
{
    const char *beneath;

    *ret_path = NULL;
    if (!strchr(entry, '/'))
        return entry;
    *ret_path = plk_path_canonical(r->store->dir->path, entry);
    r->starved |= !*ret_path && errno == ENOMEM;
    beneath = *ret_path ? plk_path_beneath(r->store->dir->path, *ret_path) : NULL;
    return beneath ? beneath : *ret_path ? *ret_path : entry;
}

PlkRescueFile *plk_rescue_find(PlkRescue *r, const char *entry)
{
    PLK_FREE char *path = NULL;
    const char *name = plk_rescue_name(r, entry, &path);

    for (size_t i = 0; i < r->n_files; i++)
        if (strcmp(r->files[i].name, name) == 0)
            return &r->files[i];
    return NULL;
}

bool *plk_rescue_mark_named(PlkRescue *r, const PlkDescriptor *desc)
{
    bool *named = plk_calloc(r->n_files + 1, sizeof *named);

    if (!named)
        r->starved = true;
    for (size_t i = 0; named && i < desc->n_images; i++) {
        const PlkRescueFile *f = plk_rescue_find(r, desc->images[i].file);

        if (f)
            named[f - r->files] = true;
    }
    return named;
}

bool plk_rescue_is_image(const PlkRescueFile *f)
{
    return f->role == PLK_RESCUE_IMAGE || f->role == PLK_RESCUE_RAW;
}

void plk_rescue_guid(const char *file, PlkGuid *ret)
{
    char hex[PLK_DIGEST_CHARS + 1], text[PLK_GUID_LEN + 1];

    plk_digest_text(file, strlen(file), hex);
    snprintf(text, sizeof text, "{%.8s-%.4s-4%.3s-8%.3s-%.12s}", hex, hex + 8, hex + 13, hex + 17, hex + 20);
    if (!plk_guid_parse(text, ret))
        plk_guid_random(ret);
}

/* ---- the survey as a whole ---- */

static int compare_plans(const void *a, const void *b)
{
    const PlkRescuePlan *x = a, *y = b;

    return (int)x->shown.confidence - (int)y->shown.confidence;
}

/* Best first; those alike stay in the order in which they were thought of. */
static void sort_plans(PlkRescue *r)
{
    for (size_t i = 1; i < r->n_plans; i++)
        for (size_t j = i; j > 0 && compare_plans(&r->plans[j - 1], &r->plans[j]) > 0; j--) {
            PlkRescuePlan plan = r->plans[j];

            r->plans[j] = r->plans[j - 1];
            r->plans[j - 1] = plan;
        }
    for (size_t i = 0; i < r->n_plans; i++)
        r->shown[i] = r->plans[i].shown;
}

static void judge(PlkRescue *r)
{
    const char *dir = r->store->dir->path;

    if (r->trying)
        r->verdict =
            plk_rescue_text(r, "%s: a try is there; keep it or drop it before anything else is done", dir);
    else if (r->n_plans)
        r->verdict = plk_rescue_text(r, "%s: %zu proposal%s", dir, r->n_plans, r->n_plans == 1 ? "" : "s");
    else if (r->sound)
        r->verdict =
            plk_rescue_text(r, "%s: the disk is sound and nothing lies about; there is nothing to do", dir);
    else
        r->verdict = plk_rescue_text(
            r, "%s: no image is left that a disk could be made of; look for one in a backup", dir);
}

int plk_store_rescue_survey(PlkStore *store, const PlkRescueEvidence *evidence, const PlkProgress *progress,
                            PlkRescue **ret, PlkError *err)
{
    PlkRescue *r = plk_calloc(1, sizeof *r);

    if (!r)
        return plk_fail_nomem(err);
    r->store = store;
    r->evidence = evidence;
    r->progress = progress;
    if (plk_rescue_look_at_files(r, err) < 0) {
        plk_rescue_free(r);
        return -1;
    }
    plk_rescue_propose(r);
    sort_plans(r);
    judge(r);
    r->store = NULL;
    if (r->starved) {
        plk_rescue_free(r);
        return plk_fail_nomem(err);
    }
    *ret = r;
    return 0;
}

const PlkRescueFile *plk_rescue_files(const PlkRescue *r, size_t *ret_n)
{
    *ret_n = r->n_files;
    return r->files;
}

const PlkRescueProposal *plk_rescue_proposals(const PlkRescue *r, size_t *ret_n)
{
    *ret_n = r->n_plans;
    return r->shown;
}

const char *plk_rescue_verdict(const PlkRescue *r)
{
    return r->verdict;
}

bool plk_rescue_is_sound(const PlkRescue *r)
{
    return r->sound && r->n_plans == 0;
}

bool plk_rescue_is_trying(const PlkRescue *r)
{
    return r->trying;
}

/* ---- words ---- */

const char *plk_rescue_role_name(PlkRescueRole role)
{
    static const char *const names[] = {
        [PLK_RESCUE_IMAGE] = "image",     [PLK_RESCUE_RAW] = "raw",
        [PLK_RESCUE_DAMAGED] = "damaged", [PLK_RESCUE_DESCRIPTOR] = "descriptor",
        [PLK_RESCUE_FUTURE] = "future",   [PLK_RESCUE_INDEX] = "index",
        [PLK_RESCUE_LOCK] = "lock",       [PLK_RESCUE_KEPT] = "kept",
        [PLK_RESCUE_TRY] = "try",         [PLK_RESCUE_OTHER] = "other",
    };

    return (size_t)role < sizeof names / sizeof names[0] ? names[role] : "other";
}

const char *plk_rescue_confidence_name(PlkRescueConfidence confidence)
{
    return confidence == PLK_RESCUE_CERTAIN  ? "certain"
           : confidence == PLK_RESCUE_LIKELY ? "likely"
                                             : "guess";
}

const char *plk_rescue_action_name(PlkRescueActionKind kind)
{
    static const char *const names[] = {
        [PLK_RESCUE_WRITE] = "write",
        [PLK_RESCUE_REPAIR] = "repair",
        [PLK_RESCUE_REPAIR_LOSSY] = "repair-lossy",
        [PLK_RESCUE_EXTEND] = "extend",
        [PLK_RESCUE_ROLL_BACK] = "roll-back",
        [PLK_RESCUE_ASIDE] = "aside",
        [PLK_RESCUE_CONVERT] = "convert",
        [PLK_RESCUE_CANNOT] = "cannot",
    };

    return (size_t)kind < sizeof names / sizeof names[0] ? names[kind] : "cannot";
}
