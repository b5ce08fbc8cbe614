/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What may have been meant.
 *
 * A descriptor that names what is there comes first. One that was about to follow it when an operation was
 * cut short is believed where the present one cannot be right, or where an image that only it knows holds
 * data: then a writer was at work on it already. What neither says is inferred (rescue-order.c).
 */
#include "rescue/rescue.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* ---- how good is a descriptor? ---- */

typedef struct Opinion {
    PlkDescriptor desc; /* as the document says it, corrected by what the images say */
    const char *correction;
    size_t n_gone;
    const char *gone; /* one that is not there */
    bool opens;       /* the active state is a chain */
    const char *why;  /* it is not */
    PlkRescueContent content;
} Opinion;

static void opinion_clear(Opinion *o)
{
    plk_descriptor_clear(&o->desc);
}

static bool is_usable(const Opinion *o)
{
    return o->desc.n_images && o->n_gone == 0 && o->opens;
}

/* A copied directory still names the place that it was copied from. */
static PlkRescueFile *find_moved(PlkRescue *r, Opinion *o, PlkDescImage *image)
{
    const char *slash = strrchr(image->file, '/');
    PlkRescueFile *f = slash ? plk_rescue_find(r, slash + 1) : NULL;
    char *name = f ? plk_strdup(f->name) : NULL;

    if (!name)
        return NULL;
    o->correction = plk_rescue_text(r, "'%s' is not there, but '%s' is", image->file, name);
    free(image->file);
    image->file = name;
    return f;
}

/* Raw or not is what the base looks like, whatever Type says. */
static void correct_type(PlkRescue *r, Opinion *o, size_t index, const PlkRescueFile *f)
{
    bool raw = f->role == PLK_RESCUE_RAW, said = plk_store_is_raw(&o->desc, (int)index);

    if (!plk_rescue_is_image(f) || raw == said)
        return;
    o->correction =
        plk_rescue_text(r, "'%s' is %s, whatever Type says", f->name, raw ? "a raw image" : "a ploop image");
    for (size_t i = 0; i < o->desc.n_images; i++)
        o->desc.images[i].plain = raw;
}

static void correct_sizes(PlkRescue *r, Opinion *o)
{
    int top = plk_descriptor_find_image(&o->desc, &o->desc.top);
    const PlkRescueFile *f = top >= 0 ? plk_rescue_find(r, o->desc.images[top].file) : NULL;

    if (!f || f->role != PLK_RESCUE_IMAGE || f->found[PLK_FINDING_FATAL])
        return;
    if (f->cluster_sectors && f->cluster_sectors != o->desc.cluster_sectors) {
        o->correction = plk_rescue_text(r, "clusters of '%s' have %u sectors, not %u", f->name,
                                        f->cluster_sectors, o->desc.cluster_sectors);
        o->desc.cluster_sectors = f->cluster_sectors;
    }
    if (f->size_sectors && o->desc.size_sectors && f->size_sectors != o->desc.size_sectors) {
        o->correction = plk_rescue_text(r, "'%s' has %" PRIu64 " sectors, not %" PRIu64, f->name,
                                        f->size_sectors, o->desc.size_sectors);
        plk_descriptor_set_size(&o->desc, f->size_sectors);
    }
}

static void form_opinion(PlkRescue *r, const PlkRescueDocument *doc, Opinion *o)
{
    bool converting = false;

    if (!doc->parsed)
        return;
    if (plk_descriptor_copy(&doc->desc, &o->desc, NULL) < 0) {
        r->starved = true;
        return;
    }
    for (size_t i = 0; i < o->desc.n_images; i++) {
        PlkRescueFile *f = plk_rescue_find(r, o->desc.images[i].file);

        if (!f)
            f = find_moved(r, o, &o->desc.images[i]);
        if (f) {
            correct_type(r, o, i, f);
            converting |= plk_rescue_is_converting(r, f);
        } else {
            o->n_gone++;
            o->gone = o->desc.images[i].file;
        }
    }
    correct_sizes(r, o);
    o->opens = o->n_gone == 0 && (converting || plk_rescue_look_into(r, &o->desc, &o->content, &o->why));
}

/* ---- the present descriptor against the one that was to follow ---- */

typedef struct Difference {
    size_t n_new, n_new_with_data,
        n_missing; /* images that only the future names; that only the present names */
    const char *newer;
} Difference;

static Difference compare(PlkRescue *r, const Opinion *present, const Opinion *future)
{
    PLK_FREE bool *now = plk_rescue_mark_named(r, &present->desc),
                  *then = plk_rescue_mark_named(r, &future->desc);
    Difference d = {0};

    for (size_t i = 0; now && then && i < r->n_files; i++) {
        const PlkRescueFile *f = &r->files[i];

        d.n_missing += now[i] && !then[i];
        if (now[i] || !then[i])
            continue;
        d.n_new++;
        if (f->clusters && !f->deserted) {
            d.n_new_with_data++;
            d.newer = f->name;
        }
    }
    return d;
}

/* True: the future is to be believed, and is planned. Else *ret_says what it is. */
static bool believe_future(PlkRescue *r, const Opinion *present, const Opinion *future, const char **ret_says)
{
    Difference d = compare(r, present, future);
    const char *name = r->future.name;
    PlkRescuePlan *plan;

    if (d.n_new_with_data && d.n_missing == 0) {
        plan =
            plk_rescue_plan(r, &future->desc, PLK_RESCUE_CERTAIN, plk_rescue_text(r, "as '%s' says", name));
        plk_rescue_because(
            r, plan,
            plk_rescue_text(r,
                            "it names '%s', which holds data: a snapshot was taken of a disk in use, "
                            "and what was written since lies there",
                            d.newer));
        plk_rescue_because_of(r, plan, &future->content);
        return true;
    }
    if (d.n_new == 0 && d.n_missing == 0 && present->correction && !future->correction) {
        plan =
            plk_rescue_plan(r, &future->desc, PLK_RESCUE_CERTAIN, plk_rescue_text(r, "as '%s' says", name));
        plk_rescue_because(r, plan,
                           plk_rescue_text(r, "it describes the images as they are; of what '%s' says, %s",
                                           r->present.name, present->correction));
        return true;
    }
    if (d.n_missing)
        *ret_says =
            plk_rescue_text(r,
                            "'%s' is of a merge or switch that did not finish: all that it would have "
                            "given up is still there, and it can be done again",
                            name);
    else
        *ret_says =
            plk_rescue_text(r,
                            "'%s' is of an operation that did not finish; nothing was written yet where only "
                            "it would find it",
                            name);
    return false;
}

/* ---- the present descriptor ---- */

static void propose_present(PlkRescue *r, const Opinion *present, bool believed, const char *future_says)
{
    const char *orphans[PLK_CHAIN_MAX], *says = NULL;
    size_t n = believed ? 0 : plk_rescue_orphans(r, &present->desc, &says, orphans, PLK_CHAIN_MAX);
    PlkRescueConfidence confidence = believed ? PLK_RESCUE_GUESS : n ? PLK_RESCUE_LIKELY : PLK_RESCUE_CERTAIN;
    PlkRescuePlan *plan;

    for (size_t i = 0; i < n; i++)
        if (plk_rescue_is_later(r, &present->desc, orphans[i]))
            confidence = PLK_RESCUE_GUESS; /* a descriptor from before a snapshot looks the same */
    if (n)
        plk_rescue_order_above(r, &present->desc, orphans, n);
    plan =
        plk_rescue_plan(r, &present->desc, confidence, plk_rescue_text(r, "as '%s' says", r->present.name));
    if (!plan)
        return;
    if (plan->shown.n_actions == 0) {
        r->sound = true;
        plk_rescue_drop_plan(r, plan);
        return;
    }
    plk_rescue_because(r, plan,
                       present->desc.n_images == 1 ? "the image that it names is there"
                                                   : "all images that it names are there and fit each other");
    if (present->correction)
        plk_rescue_because(r, plan, plk_rescue_text(r, "corrected: %s", present->correction));
    plk_rescue_because_of(r, plan, &present->content);
    if (future_says)
        plk_rescue_because(r, plan, future_says);
    if (says)
        plk_rescue_because(r, plan, says);
    if (n)
        plk_rescue_because(r, plan, plk_rescue_text(r, "'%s' holds data and is not described", orphans[0]));
}

static void propose_future(PlkRescue *r, const Opinion *present, const Opinion *future)
{
    bool gone = present->n_gone && plk_rescue_find(r, present->gone) == NULL;
    PlkRescuePlan *plan = plk_rescue_plan(r, &future->desc, gone ? PLK_RESCUE_CERTAIN : PLK_RESCUE_LIKELY,
                                          plk_rescue_text(r, "as '%s' says", r->future.name));

    if (gone)
        plk_rescue_because(r, plan,
                           plk_rescue_text(r,
                                           "'%s' names '%s', which is gone; all that this one names is there",
                                           r->present.name, present->gone));
    else
        plk_rescue_because(
            r, plan,
            plk_rescue_text(r, "'%s' %s; all that this one names is there", r->present.name,
                            r->present.there ? "says nothing that can be used" : "is not there"));
    if (future->correction)
        plk_rescue_because(r, plan, plk_rescue_text(r, "corrected: %s", future->correction));
    plk_rescue_because_of(r, plan, &future->content);
}

/* ---- a descriptor whose images are not all there ---- */

static bool substitute(PlkRescue *r, PlkDescriptor *desc, const char *name)
{
    for (size_t k = 0; k < desc->n_images; k++)
        if (!plk_rescue_find(r, desc->images[k].file)) {
            free(desc->images[k].file);
            desc->images[k].file = plk_strdup(name);
            r->starved |= !desc->images[k].file;
        }
    return !r->starved;
}

static void propose_substitute(PlkRescue *r, const Opinion *o, const PlkRescueFile *f, bool only)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
    PlkRescueContent content;
    PlkRescuePlan *plan;

    if (plk_descriptor_copy(&o->desc, &desc, NULL) < 0) {
        r->starved = true;
        return;
    }
    if (!substitute(r, &desc, f->name) || !plk_rescue_look_into(r, &desc, &content, NULL))
        return;
    plan = plk_rescue_plan(r, &desc, only && content.faults == 0 ? PLK_RESCUE_LIKELY : PLK_RESCUE_GUESS,
                           plk_rescue_text(r, "'%s' in the place of '%s'", f->name, o->gone));
    plk_rescue_because(
        r, plan, plk_rescue_text(r, "'%s' is gone; '%s' is named by nobody and fits", o->gone, f->name));
    plk_rescue_because_of(r, plan, &content);
}

/* An image that nobody names in the place of the one that is gone. */
static void propose_substitutes(PlkRescue *r, const Opinion *o)
{
    PLK_FREE bool *named = plk_rescue_mark_named(r, &o->desc);
    size_t n = 0;

    for (size_t i = 0; named && i < r->n_files; i++)
        n += plk_rescue_is_image(&r->files[i]) && !named[i];
    for (size_t i = 0; named && o->n_gone == 1 && n <= PLK_RESCUE_PERMUTED_MAX && i < r->n_files; i++)
        if (plk_rescue_is_image(&r->files[i]) && !named[i])
            propose_substitute(r, o, &r->files[i], n == 1);
}

/* The state and all that stand on it. */
static void remove_states(PlkDescriptor *desc, PlkGuid guid)
{
    plk_descriptor_remove(desc, &guid);
    for (size_t i = 0; i < desc->n_shots;) {
        if (plk_guid_equal(&desc->shots[i].parent, &guid)) {
            remove_states(desc, desc->shots[i].guid);
            i = 0;
        } else {
            i++;
        }
    }
}

/* The nearest state below the active one that is still there takes its place. False: there is none. */
static bool lower_top(const PlkDescriptor *before, PlkDescriptor *desc)
{
    PlkGuid at = before->top;

    while (plk_descriptor_find_shot(desc, &at) < 0) {
        int shot = plk_descriptor_find_shot(before, &at);

        if (shot < 0)
            return false;
        at = before->shots[shot].parent;
    }
    if (plk_descriptor_count_children(desc, &at) > 0)
        return false; /* other states stand on it, which writing to it would spoil */
    plk_descriptor_rename(desc, &at, &PLK_GUID_TOP);
    desc->top = PLK_GUID_TOP;
    return true;
}

/* What is left when the states whose images are gone are given up. */
static void propose_rest(PlkRescue *r, const Opinion *o)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
    PlkRescueContent content = {0};
    PlkRescuePlan *plan;
    bool active;

    if (plk_descriptor_copy(&o->desc, &desc, NULL) < 0) {
        r->starved = true;
        return;
    }
    for (size_t i = 0; i < desc.n_images;) {
        if (plk_rescue_find(r, desc.images[i].file)) {
            i++;
        } else {
            remove_states(&desc, desc.images[i].guid);
            i = 0;
        }
    }
    active = plk_descriptor_find_shot(&desc, &desc.top) >= 0;
    if (desc.n_images == 0 || (!active && !lower_top(&o->desc, &desc)) ||
        !plk_rescue_look_into(r, &desc, &content, NULL))
        return;
    plan = plk_rescue_plan(r, &desc, active ? PLK_RESCUE_LIKELY : PLK_RESCUE_GUESS,
                           plk_rescue_text(r, "as '%s' says, without what is gone", r->present.name));
    plk_rescue_because(r, plan,
                       plk_rescue_text(r, "'%s' is gone, and with it all states that stand on it", o->gone));
    plk_rescue_because(r, plan,
                       active
                           ? "the active state does not need it"
                           : "the active state needed it: what was written since the snapshot below is lost");
    plk_rescue_because_of(r, plan, &content);
}

/* All are there, and do not open: the repairs may change that, or say why not. */
static void propose_unopened(PlkRescue *r, const Opinion *o)
{
    PlkRescuePlan *plan =
        plk_rescue_plan(r, &o->desc, PLK_RESCUE_LIKELY, plk_rescue_text(r, "as '%s' says", r->present.name));

    if (!plan)
        return;
    if (plan->shown.n_actions == 0) {
        plk_rescue_cannot(r, plan, r->present.name, "its images do not form a disk");
    }
    if (o->why)
        plk_rescue_because(r, plan, plk_rescue_text(r, "as they are, its images do not open: %s", o->why));
}

/* ---- the whole ---- */

static void propose_without(PlkRescue *r, const Opinion *present, const Opinion *future)
{
    if (is_usable(future))
        propose_future(r, present, future);
    if (present->desc.n_images && present->n_gone) {
        propose_substitutes(r, present);
        propose_rest(r, present);
    } else if (present->desc.n_images) {
        propose_unopened(r, present);
    }
    if (!is_usable(future))
        plk_rescue_order_all(r);
}

void plk_rescue_propose(PlkRescue *r)
{
    plk_cleanup(opinion_clear) Opinion present = {0}, future = {0};
    const char *says = NULL;
    bool believed;

    form_opinion(r, &r->present, &present);
    form_opinion(r, &r->future, &future);
    if (!is_usable(&present)) {
        propose_without(r, &present, &future);
        return;
    }
    believed = is_usable(&future) && believe_future(r, &present, &future, &says);
    propose_present(r, &present, believed, says);
}
