/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A descriptor as it should be, why, and all that has to be done to get there. */
#include "rescue/rescue.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"

/* ---- evidence ---- */

void plk_rescue_because(PlkRescue *r, PlkRescuePlan *plan, const char *text)
{
    const char **item =
        plan ? plk_rescue_append(r, &plan->shown.evidence, &plan->shown.n_evidence, sizeof *item) : NULL;

    if (item)
        *item = text;
}

void plk_rescue_because_of(PlkRescue *r, PlkRescuePlan *plan, const PlkRescueContent *content)
{
    char when[32] = "at an unknown time";
    time_t t = (time_t)content->written;
    struct tm tm;

    if (content->written && gmtime_r(&t, &tm))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &tm);
    if (*content->type)
        plk_rescue_because(
            r, plan,
            plk_rescue_text(r, "read through this chain: %s%s, written %s, mounted %" PRIu64 " times, %s",
                            content->table ? "a partition table, " : "", content->type, when, content->mounts,
                            content->faults ? "which contradicts itself" : "without a contradiction"));
    else if (content->table)
        plk_rescue_because(r, plan, "read through this chain: a partition table whose checksums are right");
}

/* ---- what has to be done ---- */

static PlkRescueAction *act(PlkRescue *r, PlkRescuePlan *plan, PlkRescueActionKind kind, const char *file,
                            const char *what, const char *loss)
{
    PlkRescueAction *a = plk_rescue_append(r, &plan->shown.actions, &plan->shown.n_actions, sizeof *a);

    if (!a)
        return NULL;
    *a = (PlkRescueAction){.kind = kind, .file = file, .what = what, .loss = loss};
    plan->shown.lossy |= kind == PLK_RESCUE_REPAIR_LOSSY;
    plan->shown.can_apply &= kind != PLK_RESCUE_CANNOT;
    return a;
}

static bool has_backup(PlkRescue *r, const PlkRescueFile *f)
{
    PLK_FREE char *name = plk_printf("%s.idx", f->name);

    r->starved |= !name;
    return name && plk_rescue_find(r, name);
}

bool plk_rescue_is_converting(PlkRescue *r, const PlkRescueFile *f)
{
    return f->found[PLK_FINDING_FATAL] && f->kind == PLK_FOUND_CONVERTING && has_backup(r, f);
}

/* Readers ignore the Empty flag, and the next writer puts it right. */
static bool is_trifle(const PlkRescueFile *f)
{
    return f->found[PLK_FINDING_LOSSLESS] == 1 && f->kind == PLK_FOUND_EMPTY_FLAG;
}

static void act_on_image(PlkRescue *r, PlkRescuePlan *plan, const PlkRescueFile *f)
{
    const char *fault = f->fault ? f->fault : "";

    if (f->role != PLK_RESCUE_IMAGE && f->role != PLK_RESCUE_RAW)
        act(r, plan, PLK_RESCUE_CANNOT, f->name,
            plk_rescue_text(r, "'%s' is no image that can be read: %s; look for it in a backup", f->name,
                            fault),
            NULL);
    else if (plk_rescue_is_converting(r, f))
        act(r, plan, PLK_RESCUE_ROLL_BACK, f->name,
            plk_rescue_text(
                r, "put back header and table of '%s' from before its version conversion was cut short",
                f->name),
            NULL);
    else if (f->emptied)
        act(r, plan, PLK_RESCUE_CANNOT, f->name,
            plk_rescue_text(
                r,
                "the table of '%s' is empty, though clusters of data follow: it was lost, perhaps by a "
                "copy that made a hole of it; look for another copy of the file",
                f->name),
            NULL);
    else if (f->found[PLK_FINDING_FATAL] && f->kind == PLK_FOUND_BAT_SHORT)
        act(r, plan, PLK_RESCUE_REPAIR_LOSSY, f->name,
            plk_rescue_text(r, "make '%s', which was cut inside its table, long enough for it", f->name),
            "what the missing part of the table told where to find");
    else if (f->found[PLK_FINDING_FATAL] && f->kind == PLK_FOUND_VERSION)
        act(r, plan, PLK_RESCUE_REPAIR_LOSSY, f->name,
            plk_rescue_text(r, "write into the header of '%s' that it is of version %d: %s", f->name,
                            3 - f->version, fault),
            "nothing, if that is right; a decision is made that nobody can check");
    else if (f->found[PLK_FINDING_FATAL])
        act(r, plan, PLK_RESCUE_CANNOT, f->name,
            plk_rescue_text(r, "'%s' can not be repaired: %s", f->name, fault), NULL);
    else if (f->found[PLK_FINDING_LOSSY])
        act(r, plan, PLK_RESCUE_REPAIR_LOSSY, f->name,
            plk_rescue_text(r, "repair '%s' (%" PRIu64 " faults): %s", f->name,
                            f->found[PLK_FINDING_LOSSY] + f->found[PLK_FINDING_LOSSLESS], fault),
            f->loss ? f->loss : "a decision is made that nobody can check");
    else if (f->found[PLK_FINDING_LOSSLESS] && !is_trifle(f))
        act(r, plan, PLK_RESCUE_REPAIR, f->name, plk_rescue_text(r, "repair '%s': %s", f->name, fault), NULL);
}

/* Images of both versions, none of them damaged: some were converted without the others. */
static bool is_mixed(PlkRescue *r, const PlkDescriptor *desc, const char **ret_first, const char **ret_other)
{
    const PlkRescueFile *first = NULL;

    for (size_t i = 0; i < desc->n_images; i++) {
        const PlkRescueFile *f = plk_rescue_find(r, desc->images[i].file);

        if (!f || f->role != PLK_RESCUE_IMAGE || f->found[PLK_FINDING_FATAL])
            return false;
        if (!first)
            first = f;
        if (f->version == first->version)
            continue;
        *ret_first = first->name;
        *ret_other = f->name;
        return true;
    }
    return false;
}

static void act_on_versions(PlkRescue *r, PlkRescuePlan *plan)
{
    const char *first, *other;

    if (is_mixed(r, &plan->desc, &first, &other))
        act(r, plan, PLK_RESCUE_CONVERT, other,
            plk_rescue_text(r, "convert all images to version 2: '%s' and '%s' differ", first, other), NULL);
}

static bool rolls_back(const PlkRescuePlan *plan)
{
    for (size_t i = 0; i < plan->shown.n_actions; i++)
        if (plan->shown.actions[i].kind == PLK_RESCUE_ROLL_BACK)
            return true;
    return false;
}

/* An image with a name that ploop gives; others people have chosen, who may have a use for them. */
static bool is_nameless_image(const PlkRescueFile *f)
{
    return (plk_rescue_is_image(f) || f->role == PLK_RESCUE_DAMAGED) &&
           (plk_rescue_stem(f->name) || strcmp(f->name, "root.hds") == 0);
}

/* The backups that a roll back uses are gone when it is done. */
static void act_on_leftover(PlkRescue *r, PlkRescuePlan *plan, const PlkRescueFile *f, bool named)
{
    const char *why = NULL;

    if (f->role == PLK_RESCUE_FUTURE)
        why = "of an operation that did not finish";
    else if (f->role == PLK_RESCUE_INDEX && !rolls_back(plan))
        why = "of a version conversion that is over";
    else if (f->role == PLK_RESCUE_TRY && !r->trying && strcmp(f->name, PLK_RESCUE_TEMPORARY) != 0)
        why = "of a try that was not finished";
    else if (is_nameless_image(f) && !named)
        why = "an image that is no part of this disk";
    if (why)
        act(r, plan, PLK_RESCUE_ASIDE, f->name, plk_rescue_text(r, "put '%s' aside: %s", f->name, why), NULL);
}

static void act_on_descriptor(PlkRescue *r, PlkRescuePlan *plan)
{
    const char *name = r->present.name;

    act(r, plan, PLK_RESCUE_WRITE, name,
        r->present.there ? plk_rescue_text(r, "replace '%s'; the old one is kept", name)
                         : plk_rescue_text(r, "write '%s'", name),
        NULL);
}

/* ---- plans ---- */

static const char *print(PlkRescue *r, const PlkDescriptor *desc)
{
    PLK_FREE char *text = NULL;
    char *copy;
    size_t len, n = 0;

    if (plk_descriptor_print(desc, &text, &len, NULL) < 0 ||
        !(copy = plk_rescue_append(r, &(char *){NULL}, &n, len + 1))) {
        r->starved = true;
        return "";
    }
    memcpy(copy, text, len + 1);
    return copy;
}

static void list_chain(PlkRescue *r, PlkRescuePlan *plan)
{
    PLK_FREE int *chain = NULL;
    PlkError why = {0};
    size_t n;

    if (plk_descriptor_chain(&plan->desc, &plan->desc.top, r->present.name, &chain, &n, &why) < 0) {
        plk_rescue_note_words(r, &why);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const char **item = plk_rescue_append(r, &plan->shown.chain, &plan->shown.n_chain, sizeof *item);

        if (item)
            *item = plk_rescue_text(r, "%s", plan->desc.images[chain[i]].file);
    }
}

static void list_actions(PlkRescue *r, PlkRescuePlan *plan)
{
    PLK_FREE bool *named = plk_rescue_mark_named(r, &plan->desc);

    if (plan->writes)
        act_on_descriptor(r, plan);
    for (size_t i = 0; i < plan->desc.n_images; i++) {
        const PlkRescueFile *f = plk_rescue_find(r, plan->desc.images[i].file);

        if (f)
            act_on_image(r, plan, f);
        else
            act(r, plan, PLK_RESCUE_CANNOT, plk_rescue_text(r, "%s", plan->desc.images[i].file),
                plk_rescue_text(r, "'%s' is not there; look for it in a backup", plan->desc.images[i].file),
                NULL);
    }
    act_on_versions(r, plan);
    for (size_t i = 0; named && i < r->n_files; i++)
        act_on_leftover(r, plan, &r->files[i], named[i]);
}

/* The same again, for another reason, says nothing new. */
static bool is_planned(PlkRescue *r, const char *text)
{
    for (size_t i = 0; i < r->n_plans; i++)
        if (r->plans[i].shown.descriptor && strcmp(r->plans[i].shown.descriptor, text) == 0)
            return true;
    return false;
}

PlkRescuePlan *plk_rescue_plan(PlkRescue *r, const PlkDescriptor *desc, PlkRescueConfidence confidence,
                               const char *title)
{
    PlkRescuePlan *plan = &r->plans[r->n_plans];
    const char *text = desc->n_images ? print(r, desc) : "";

    if (r->n_plans == PLK_RESCUE_PLANS_MAX || r->starved || !*text || is_planned(r, text))
        return NULL;
    *plan = (PlkRescuePlan){.shown = {.confidence = confidence, .title = title, .can_apply = true}};
    if (plk_descriptor_copy(desc, &plan->desc, NULL) < 0) {
        r->starved = true;
        return NULL;
    }
    r->n_plans++;
    plan->writes = !r->present.parsed || strcmp(text, print(r, &r->present.desc)) != 0;
    plan->shown.descriptor = plan->writes ? text : NULL;
    list_chain(r, plan);
    list_actions(r, plan);
    if (!plan->shown.can_apply)
        plan->shown.confidence = PLK_RESCUE_GUESS;
    return plan;
}

void plk_rescue_cannot(PlkRescue *r, PlkRescuePlan *plan, const char *file, const char *what)
{
    act(r, plan, PLK_RESCUE_CANNOT, file, what, NULL);
    plan->shown.confidence = PLK_RESCUE_GUESS;
}

void plk_rescue_drop_plan(PlkRescue *r, PlkRescuePlan *plan)
{
    plk_descriptor_clear(&plan->desc);
    r->n_plans--;
}
