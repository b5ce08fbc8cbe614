/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What may have been meant, each with what has to be done to get there.
 *
 * A descriptor that names what is there comes first. One that was about to follow it when an operation was cut
 * short is believed where the present one cannot be right, or where an image that only it knows holds data:
 * then a writer was at work on it already. What neither says is inferred (rescue-order.c).
 */
#include "disk/rescue.h"

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
    const char **item = plan ? plk_rescue_append(r, &plan->shown.evidence, &plan->shown.n_evidence, sizeof *item) : NULL;

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

static bool has_backup(const PlkRescue *r, const PlkRescueFile *f)
{
    PLK_FREE char *name = plk_printf("%s.idx", f->name);

    return name && plk_rescue_find(r, name);
}

static bool is_converting(const PlkRescue *r, const PlkRescueFile *f)
{
    return f->found[PLK_FINDING_FATAL] && f->kind == PLK_FOUND_CONVERTING && has_backup(r, f);
}

/* Closed, not one entry, and clusters of data all the same: it lost its table, and its data is no tail to cut. */
static bool has_lost_table(const PlkRescueFile *f)
{
    uint64_t cluster = (uint64_t)f->cluster_sectors * PLK_SECTOR, entries, head;

    if (f->role != PLK_RESCUE_IMAGE || f->clusters || f->in_use)
        return false;
    entries = plk_div_up(f->size_sectors, f->cluster_sectors);
    head = plk_bat_area_bytes(entries, f->cluster_sectors);
    return f->bytes >= head + cluster;
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
            plk_rescue_text(r, "'%s' is no image that can be read: %s; look for it in a backup", f->name, fault), NULL);
    else if (is_converting(r, f))
        act(r, plan, PLK_RESCUE_ROLL_BACK, f->name,
            plk_rescue_text(r, "put back header and table of '%s' from before its version conversion was cut short", f->name),
            NULL);
    else if (has_lost_table(f))
        act(r, plan, PLK_RESCUE_CANNOT, f->name,
            plk_rescue_text(r, "the table of '%s' is empty, though clusters of data follow: it was lost, perhaps by a "
                               "copy that made a hole of it; look for another copy of the file", f->name), NULL);
    else if (f->found[PLK_FINDING_FATAL] && f->kind == PLK_FOUND_BAT_SHORT)
        act(r, plan, PLK_RESCUE_REPAIR_LOSSY, f->name,
            plk_rescue_text(r, "make '%s', which was cut inside its table, long enough for it", f->name),
            "what the missing part of the table told where to find");
    else if (f->found[PLK_FINDING_FATAL])
        act(r, plan, PLK_RESCUE_CANNOT, f->name, plk_rescue_text(r, "'%s' can not be repaired: %s", f->name, fault), NULL);
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

static bool names_file(const PlkRescue *r, const PlkDescriptor *desc, const PlkRescueFile *f)
{
    for (size_t i = 0; i < desc->n_images; i++)
        if (plk_rescue_find(r, desc->images[i].file) == f)
            return true;
    return false;
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
static void act_on_leftover(PlkRescue *r, PlkRescuePlan *plan, const PlkRescueFile *f)
{
    const char *why = NULL;

    if (f->role == PLK_RESCUE_FUTURE)
        why = "of an operation that did not finish";
    else if (f->role == PLK_RESCUE_INDEX && !rolls_back(plan))
        why = "of a version conversion that is over";
    else if (is_nameless_image(f) && !names_file(r, &plan->desc, f))
        why = "an image that is no part of this disk";
    if (why)
        act(r, plan, PLK_RESCUE_ASIDE, f->name, plk_rescue_text(r, "put '%s' aside: %s", f->name, why), NULL);
}

static void act_on_descriptor(PlkRescue *r, PlkRescuePlan *plan)
{
    const char *name = r->present.name;

    act(r, plan, PLK_RESCUE_WRITE, name,
        r->present.there ? plk_rescue_text(r, "replace '%s'; the old one is kept", name) : plk_rescue_text(r, "write '%s'", name),
        NULL);
}

/* ---- plans ---- */

static const char *print(PlkRescue *r, const PlkDescriptor *desc)
{
    PLK_FREE char *text = NULL;
    char *copy;
    size_t len, n = 0;

    if (plk_descriptor_print(desc, &text, &len, NULL) < 0 || !(copy = plk_rescue_append(r, &(char *){NULL}, &n, len + 1))) {
        r->starved = true;
        return "";
    }
    memcpy(copy, text, len + 1);
    return copy;
}

static void list_chain(PlkRescue *r, PlkRescuePlan *plan)
{
    PLK_FREE int *chain = NULL;
    size_t n;

    if (plk_descriptor_chain(&plan->desc, &plan->desc.top, r->present.name, &chain, &n, NULL) < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        const char **item = plk_rescue_append(r, &plan->shown.chain, &plan->shown.n_chain, sizeof *item);

        if (item)
            *item = plk_rescue_text(r, "%s", plan->desc.images[chain[i]].file);
    }
}

static void list_actions(PlkRescue *r, PlkRescuePlan *plan)
{
    for (size_t i = 0; i < plan->desc.n_images; i++) {
        const PlkRescueFile *f = plk_rescue_find(r, plan->desc.images[i].file);

        if (f)
            act_on_image(r, plan, f);
        else
            act(r, plan, PLK_RESCUE_CANNOT, plk_rescue_text(r, "%s", plan->desc.images[i].file),
                plk_rescue_text(r, "'%s' is not there; look for it in a backup", plan->desc.images[i].file), NULL);
    }
    if (plan->writes)
        act_on_descriptor(r, plan);
    act_on_versions(r, plan);
    for (size_t i = 0; i < r->n_files; i++)
        act_on_leftover(r, plan, &r->files[i]);
}

/* The same again, for another reason, says nothing new. */
static bool is_planned(const PlkRescue *r, const char *text)
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

static void drop_plan(PlkRescue *r, PlkRescuePlan *plan)
{
    plk_descriptor_clear(&plan->desc);
    r->n_plans--;
}

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
    o->correction = plk_rescue_text(r, "'%s' is %s, whatever Type says", f->name, raw ? "a raw image" : "a ploop image");
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
        o->correction = plk_rescue_text(r, "clusters of '%s' have %u sectors, not %u", f->name, f->cluster_sectors,
                                        o->desc.cluster_sectors);
        o->desc.cluster_sectors = f->cluster_sectors;
    }
    if (f->size_sectors && o->desc.size_sectors && f->size_sectors != o->desc.size_sectors) {
        o->correction = plk_rescue_text(r, "'%s' has %" PRIu64 " sectors, not %" PRIu64, f->name, f->size_sectors,
                                        o->desc.size_sectors);
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
            converting |= is_converting(r, f);
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
    size_t n_new, n_new_with_data, n_missing; /* images that only the future names; that only the present names */
    const char *newer;
} Difference;

static Difference compare(const PlkRescue *r, const Opinion *present, const Opinion *future)
{
    Difference d = {0};

    for (size_t i = 0; i < r->n_files; i++) {
        const PlkRescueFile *f = &r->files[i];
        bool now = names_file(r, &present->desc, f), then = names_file(r, &future->desc, f);

        d.n_missing += now && !then;
        if (now || !then)
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
        plan = plk_rescue_plan(r, &future->desc, PLK_RESCUE_CERTAIN, plk_rescue_text(r, "as '%s' says", name));
        plk_rescue_because(r, plan,
                           plk_rescue_text(r, "it names '%s', which holds data: a snapshot was taken of a disk in use, "
                                              "and what was written since lies there", d.newer));
        plk_rescue_because_of(r, plan, &future->content);
        return true;
    }
    if (d.n_new == 0 && d.n_missing == 0 && present->correction && !future->correction) {
        plan = plk_rescue_plan(r, &future->desc, PLK_RESCUE_CERTAIN, plk_rescue_text(r, "as '%s' says", name));
        plk_rescue_because(r, plan, plk_rescue_text(r, "it describes the images as they are; of what '%s' says, %s",
                                                    r->present.name, present->correction));
        return true;
    }
    if (d.n_missing)
        *ret_says = plk_rescue_text(r, "'%s' is of a merge or switch that did not finish: all that it would have "
                                       "given up is still there, and it can be done again", name);
    else
        *ret_says = plk_rescue_text(r, "'%s' is of an operation that did not finish; nothing was written yet where only "
                                       "it would find it", name);
    return false;
}

/* ---- images that the descriptor does not know ---- */

#define SAMPLES 64

typedef struct Sampling {
    PlkDisk *disk;
    PlkImage *img;
    uint64_t stride, at;
    void *a, *b;
    bool differs;
} Sampling;

/* Every so many clusters one is compared. Non-zero: one differs, or could not be read. */
static int sample_page(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Sampling *s = arg;
    uint32_t bytes = s->img->cluster_bytes;

    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++) {
        uint64_t cluster = (uint64_t)page * PLK_BAT_PAGE_SLOTS + i - PLK_BAT_FIRST_SLOT;

        if (slots[i] == PLK_SLOT_NONE || s->at++ % s->stride)
            continue;
        if ((cluster + 1) * bytes > plk_disk_size(s->disk) || slots[i] >= PLK_SLOT_BEYOND ||
            plk_disk_read(s->disk, s->a, bytes, cluster * bytes) < 0 ||
            plk_io_read(s->img->io, s->b, bytes, plk_image_offset(s->img, slots[i]), PLK_POINT_DATA_READ) < 0 ||
            memcmp(s->a, s->b, bytes) != 0)
            return 1;
    }
    return 0;
}

static bool samples_agree(PlkRescue *r, const PlkRescueFile *orphan, PlkDisk *disk)
{
    plk_cleanup(plk_image_dropp) PlkImage *img = NULL;
    Sampling s = {.disk = disk, .stride = plk_div_up(orphan->clusters, SAMPLES)};
    PLK_FREE void *a = NULL, *b = NULL;

    if (plk_chain_open_image(r->store->dir, orphan->name, 0, false, 0, &img, NULL) < 0 ||
        img->cluster_bytes != plk_disk_cluster(disk))
        return false;
    s.img = img;
    s.a = a = plk_malloc(img->cluster_bytes);
    s.b = b = plk_malloc(img->cluster_bytes);
    return a && b && plk_image_walk_bat(img, sample_page, &s) == 0;
}

/* Is all that the orphan holds in the disk as well? Then it was merged into it. */
static bool is_redundant(PlkRescue *r, const PlkDescriptor *desc, const PlkRescueFile *orphan)
{
    PlkDisk *disk = plk_rescue_open(r, desc);
    bool same = disk && samples_agree(r, orphan, disk);

    plk_disk_drop(disk);
    return same;
}

/* Those that hold something the descriptor's disk does not. */
static size_t gather_orphans(PlkRescue *r, const PlkDescriptor *desc, const char *says[], const char *ret[], size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_files && n < max; i++) {
        const PlkRescueFile *f = &r->files[i];

        if (f->role != PLK_RESCUE_IMAGE || !plk_rescue_stem(f->name) || names_file(r, desc, f))
            continue;
        if (f->clusters == 0)
            *says = plk_rescue_text(r, "'%s' is not described and holds nothing", f->name);
        else if (f->deserted)
            *says = plk_rescue_text(r, "the operation that '%s' belongs to said that it goes if it is cut short", f->name);
        else if (is_redundant(r, desc, f))
            *says = plk_rescue_text(r, "what '%s' holds is in the disk as well: it was merged", f->name);
        else
            ret[n++] = f->name;
    }
    return n;
}

/* ---- the present descriptor ---- */

static void propose_present(PlkRescue *r, const Opinion *present, bool believed, const char *future_says)
{
    const char *orphans[PLK_CHAIN_MAX], *says = NULL;
    size_t n = believed ? 0 : gather_orphans(r, &present->desc, &says, orphans, PLK_CHAIN_MAX);
    PlkRescueConfidence confidence = believed ? PLK_RESCUE_GUESS : n ? PLK_RESCUE_LIKELY : PLK_RESCUE_CERTAIN;
    PlkRescuePlan *plan;

    for (size_t i = 0; i < n; i++)
        if (plk_rescue_is_later(r, &present->desc, orphans[i]))
            confidence = PLK_RESCUE_GUESS; /* a descriptor from before a snapshot looks the same */
    if (n)
        plk_rescue_order_above(r, &present->desc, orphans, n);
    plan = plk_rescue_plan(r, &present->desc, confidence, plk_rescue_text(r, "as '%s' says", r->present.name));
    if (!plan)
        return;
    if (plan->shown.n_actions == 0) {
        r->sound = true;
        drop_plan(r, plan);
        return;
    }
    plk_rescue_because(r, plan, present->desc.n_images == 1 ? "the image that it names is there"
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
        plk_rescue_because(r, plan, plk_rescue_text(r, "'%s' names '%s', which is gone; all that this one names is there",
                                                    r->present.name, present->gone));
    else
        plk_rescue_because(r, plan, plk_rescue_text(r, "'%s' %s; all that this one names is there", r->present.name,
                                                    r->present.there ? "says nothing that can be used" : "is not there"));
    if (future->correction)
        plk_rescue_because(r, plan, plk_rescue_text(r, "corrected: %s", future->correction));
    plk_rescue_because_of(r, plan, &future->content);
}

/* ---- a descriptor whose images are not all there ---- */

/* An image that nobody names in the place of the one that is gone. */
static void propose_substitutes(PlkRescue *r, const Opinion *o)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_files; i++)
        n += plk_rescue_is_image(&r->files[i]) && !names_file(r, &o->desc, &r->files[i]);
    for (size_t i = 0; o->n_gone == 1 && i < r->n_files; i++) {
        plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
        const PlkRescueFile *f = &r->files[i];
        PlkRescueContent content;
        PlkRescuePlan *plan;

        if (!plk_rescue_is_image(f) || names_file(r, &o->desc, f) || plk_descriptor_copy(&o->desc, &desc, NULL) < 0)
            continue;
        for (size_t k = 0; k < desc.n_images; k++)
            if (!plk_rescue_find(r, desc.images[k].file)) {
                free(desc.images[k].file);
                desc.images[k].file = plk_strdup(f->name);
                r->starved |= !desc.images[k].file;
            }
        if (r->starved || !plk_rescue_look_into(r, &desc, &content, NULL))
            continue;
        plan = plk_rescue_plan(r, &desc, n == 1 && content.faults == 0 ? PLK_RESCUE_LIKELY : PLK_RESCUE_GUESS,
                               plk_rescue_text(r, "'%s' in the place of '%s'", f->name, o->gone));
        plk_rescue_because(r, plan, plk_rescue_text(r, "'%s' is gone; '%s' is named by nobody and fits", o->gone, f->name));
        plk_rescue_because_of(r, plan, &content);
    }
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
    if (desc.n_images == 0 || (!active && !lower_top(&o->desc, &desc)) || !plk_rescue_look_into(r, &desc, &content, NULL))
        return;
    plan = plk_rescue_plan(r, &desc, active ? PLK_RESCUE_LIKELY : PLK_RESCUE_GUESS,
                           plk_rescue_text(r, "as '%s' says, without what is gone", r->present.name));
    plk_rescue_because(r, plan, plk_rescue_text(r, "'%s' is gone, and with it all states that stand on it", o->gone));
    plk_rescue_because(r, plan, active ? "the active state does not need it"
                                       : "the active state needed it: what was written since the snapshot below is lost");
    plk_rescue_because_of(r, plan, &content);
}

/* All are there, and do not open: the repairs may change that, or say why not. */
static void propose_unopened(PlkRescue *r, const Opinion *o)
{
    PlkRescuePlan *plan = plk_rescue_plan(r, &o->desc, PLK_RESCUE_LIKELY, plk_rescue_text(r, "as '%s' says", r->present.name));

    if (!plan)
        return;
    if (plan->shown.n_actions == 0) {
        act(r, plan, PLK_RESCUE_CANNOT, r->present.name, "its images do not form a disk", NULL);
        plan->shown.confidence = PLK_RESCUE_GUESS;
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
