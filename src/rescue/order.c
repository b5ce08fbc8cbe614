/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which image lies upon which. No image says so itself; what there is to go by, in this order:
 *
 *   - one version, one cluster size, sizes that do not shrink upwards: else they do not open as a chain at all
 *   - only the uppermost is written to, so only it can have been left in use
 *   - what the filesystem says about itself when it is read through the chain: an order that mixes old with new
 *     contradicts its own checksums, and the right one shows the latest of its superblocks
 *   - the uppermost was changed last; copying loses that, so it only orders what is otherwise alike
 */
#include "rescue/rescue.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"

#define ORDERS_MAX 24
#define SHOWN_MAX 3 /* orders of the same images that are proposed */
#define IMAGES_MAX PLK_CHAIN_SLOTS

/* One chain that may be meant. */
typedef struct Order {
    const PlkRescueFile *files[IMAGES_MAX]; /* base first */
    PlkRescueContent content;
    unsigned in_use_below, inversions;
} Order;

typedef struct Orders {
    PlkRescue *r;
    const PlkRescueFile *pool[IMAGES_MAX]; /* to be put in order */
    size_t n_fixed, n_pool;                /* the first images of each order are given */
    Order draft;
    Order *items;
    size_t n;
} Orders;

/* ---- comparing ---- */

/* No filesystem is found: where another order shows one, this one has torn it apart. */
static bool says_nothing(const PlkRescueContent *content)
{
    return *content->type == '\0';
}

/* Below 0: x is the better one. *ret_weak: only by the times of files, or not at all. */
static int compare_orders(const Order *x, const Order *y, bool *ret_weak)
{
    *ret_weak = false;
    if (says_nothing(&x->content) != says_nothing(&y->content))
        return says_nothing(&x->content) ? 1 : -1;
    if (x->content.faults != y->content.faults)
        return x->content.faults < y->content.faults ? -1 : 1;
    if (x->in_use_below != y->in_use_below)
        return x->in_use_below < y->in_use_below ? -1 : 1;
    if (x->content.written != y->content.written)
        return x->content.written > y->content.written ? -1 : 1;
    *ret_weak = true;
    return (x->inversions > y->inversions) - (x->inversions < y->inversions);
}

static void sort_orders(Orders *o)
{
    bool weak;

    for (size_t i = 1; i < o->n; i++)
        for (size_t j = i; j > 0 && compare_orders(&o->items[j - 1], &o->items[j], &weak) > 0; j--) {
            Order order = o->items[j];

            o->items[j] = o->items[j - 1];
            o->items[j - 1] = order;
        }
}

/* ---- trying them out ---- */

static void try_order(Orders *o)
{
    size_t n = o->n_fixed + o->n_pool;
    const char *names[IMAGES_MAX];
    Order *order = &o->draft;

    order->in_use_below = order->inversions = 0;
    for (size_t i = 0; i < n; i++) {
        names[i] = order->files[i]->name;
        order->in_use_below += i + 1 < n && order->files[i]->in_use;
        order->inversions += i > 0 && order->files[i]->changed < order->files[i - 1]->changed;
    }
    if (o->n < ORDERS_MAX && plk_rescue_look_inside(o->r, names, n, &order->content, NULL))
        o->items[o->n++] = *order;
}

static void permute(Orders *o, size_t at)
{
    if (at == o->n_pool) {
        for (size_t i = 0; i < at; i++)
            o->draft.files[o->n_fixed + i] = o->pool[i];
        try_order(o);
        return;
    }
    for (size_t i = at; i < o->n_pool; i++) {
        const PlkRescueFile *f = o->pool[i];

        memmove(&o->pool[at + 1], &o->pool[at], (i - at) * sizeof f);
        o->pool[at] = f;
        permute(o, at + 1);
        memmove(&o->pool[at], &o->pool[at + 1], (i - at) * sizeof f);
        o->pool[i] = f;
    }
}

static int compare_files(const void *a, const void *b)
{
    const PlkRescueFile *x = *(PlkRescueFile *const *)a, *y = *(PlkRescueFile *const *)b;

    if (x->size_sectors != y->size_sectors)
        return x->size_sectors < y->size_sectors ? -1 : 1;
    if (x->in_use != y->in_use)
        return x->in_use ? 1 : -1;
    if (x->changed != y->changed)
        return x->changed < y->changed ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Best first. False when out of memory, which is noted. */
static bool find_orders(Orders *o)
{
    o->items = plk_calloc(ORDERS_MAX, sizeof *o->items);
    if (!o->items) {
        o->r->starved = true;
        return false;
    }
    if (o->n_pool)
        qsort(o->pool, o->n_pool, sizeof o->pool[0], compare_files);
    if (o->n_pool <= PLK_RESCUE_PERMUTED_MAX) {
        permute(o, 0);
    } else {
        memcpy(&o->draft.files[o->n_fixed], o->pool, o->n_pool * sizeof o->pool[0]);
        try_order(o);
    }
    sort_orders(o);
    return true;
}

/* ---- an order as a descriptor ---- */

static int describe(const Order *order, size_t n, PlkDescriptor *ret)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
    const PlkRescueFile *base = order->files[0];

    if (plk_descriptor_new(order->files[n - 1]->size_sectors, base->cluster_sectors, false,
                           base->role == PLK_RESCUE_RAW, base->name, &desc, NULL) < 0)
        return -1;
    for (size_t i = 1; i < n; i++) {
        PlkGuid state;

        plk_rescue_guid(order->files[i - 1]->name, &state);
        plk_descriptor_rename(&desc, &PLK_GUID_TOP, &state);
        if (plk_descriptor_add(&desc, &PLK_GUID_TOP, &state, order->files[i]->name, NULL) < 0)
            return -1;
        desc.top = PLK_GUID_TOP;
    }
    *ret = desc;
    desc = (PlkDescriptor){0};
    return 0;
}

/* The descriptor with the ordered images above its active state. */
static int describe_above(const PlkDescriptor *below, const Order *order, size_t n_fixed, size_t n,
                          PlkDescriptor *ret)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
    PlkGuid state, top = below->top;

    if (plk_descriptor_copy(below, &desc, NULL) < 0)
        return -1;
    for (size_t i = n_fixed; i < n; i++) {
        plk_rescue_guid(order->files[i - 1]->name, &state);
        plk_descriptor_rename(&desc, &top, &state);
        if (plk_descriptor_add(&desc, &PLK_GUID_TOP, &state, order->files[i]->name, NULL) < 0)
            return -1;
        desc.top = top = PLK_GUID_TOP;
    }
    plk_descriptor_set_size(&desc, order->files[n - 1]->size_sectors);
    *ret = desc;
    desc = (PlkDescriptor){0};
    return 0;
}

/* ---- why this order ---- */

static void explain_best(Orders *o, PlkRescuePlan *plan)
{
    const Order *best = &o->items[0], *next = o->n > 1 ? &o->items[1] : NULL;
    PlkRescue *r = o->r;
    size_t n = o->n_fixed + o->n_pool;
    bool weak;

    plk_rescue_because_of(r, plan, &best->content);
    if (n > 1 && best->files[n - 1]->in_use && best->in_use_below == 0)
        plk_rescue_because(r, plan,
                           plk_rescue_text(r, "'%s' was left in use, as only the uppermost can be",
                                           best->files[n - 1]->name));
    if (o->n_pool > PLK_RESCUE_PERMUTED_MAX)
        plk_rescue_because(r, plan,
                           plk_rescue_text(r,
                                           "%zu images without a place are too many to try every order: this "
                                           "one follows their sizes and the times of their files",
                                           o->n_pool));
    if (!next)
        return;
    compare_orders(best, next, &weak);
    plk_rescue_because(r, plan,
                       weak
                           ? "other orders open as well; only the times of the files speak for this one, and "
                             "copying loses those"
                           : "other orders open as well, but what is in them is older or contradicts itself");
}

/* How sure one may be of the best order. */
static PlkRescueConfidence confidence_of(const Orders *o)
{
    bool weak = false;

    if (o->n_pool > PLK_RESCUE_PERMUTED_MAX)
        return PLK_RESCUE_GUESS;
    if (o->n > 1)
        compare_orders(&o->items[0], &o->items[1], &weak);
    return weak || o->items[0].content.faults ? PLK_RESCUE_GUESS : PLK_RESCUE_LIKELY;
}

static const char *title_of(Orders *o, const Order *order)
{
    size_t n = o->n_fixed + o->n_pool;
    const char *text = plk_rescue_text(o->r, "%s", order->files[0]->name);

    if (n > 6)
        return plk_rescue_text(o->r, "a chain of %zu images, '%s' above all", n, order->files[n - 1]->name);
    for (size_t i = 1; i < n; i++)
        text = plk_rescue_text(o->r, "%s < %s", text, order->files[i]->name);
    return text;
}

/* ---- images above a descriptor that is good by itself ---- */

static bool fits(const PlkRescueFile *f, const PlkRescueFile *below)
{
    return f->role == PLK_RESCUE_IMAGE && f->cluster_sectors == below->cluster_sectors &&
           (below->version == 0 || f->version == below->version) && f->size_sectors >= below->size_sectors;
}

static bool start_above(Orders *o, const PlkDescriptor *desc, const char *const *orphans, size_t n)
{
    PLK_FREE int *chain = NULL;
    size_t depth;

    PlkError why = {0};

    if (plk_descriptor_chain(desc, &desc->top, o->r->store->name, &chain, &depth, &why) < 0)
        return plk_rescue_note_words(o->r, &why) == 0;
    for (o->n_fixed = 0; o->n_fixed < depth; o->n_fixed++) {
        o->draft.files[o->n_fixed] = plk_rescue_find(o->r, desc->images[chain[o->n_fixed]].file);
        if (!o->draft.files[o->n_fixed])
            return false;
    }
    for (size_t i = 0; i < n && depth + o->n_pool < PLK_CHAIN_MAX; i++) {
        const PlkRescueFile *f = plk_rescue_find(o->r, orphans[i]);

        if (f && fits(f, o->draft.files[depth - 1]))
            o->pool[o->n_pool++] = f;
    }
    return o->n_pool > 0;
}

void plk_rescue_order_above(PlkRescue *r, const PlkDescriptor *desc, const char *const *orphans, size_t n)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor stacked = {0};
    PlkRescueContent below = {0};
    Orders o = {.r = r};
    PlkRescuePlan *plan;
    bool newer;

    if (!start_above(&o, desc, orphans, n) || !find_orders(&o) || o.n == 0 ||
        !plk_rescue_look_into(r, desc, &below, NULL)) {
        free(o.items);
        return;
    }
    newer = o.items[0].content.written > below.written && o.items[0].content.faults <= below.faults;
    if (describe_above(desc, &o.items[0], o.n_fixed, o.n_fixed + o.n_pool, &stacked) < 0)
        r->starved = true;
    plan = plk_rescue_plan(r, &stacked, newer ? confidence_of(&o) : PLK_RESCUE_GUESS,
                           plk_rescue_text(r, "what the descriptor does not know of lies above it: %s",
                                           title_of(&o, &o.items[0])));
    explain_best(&o, plan);
    plk_rescue_because(
        r, plan,
        newer ? "the filesystem was written to later in this chain than in the one that the "
                "descriptor names"
              : "nothing but names, sizes and times of the files says that these images belong on top; "
                "they can as well be left over");
    free(o.items);
}

bool plk_rescue_is_later(PlkRescue *r, const PlkDescriptor *desc, const char *orphan)
{
    int top = plk_descriptor_find_image(desc, &desc->top);
    const PlkRescueFile *f = plk_rescue_find(r, orphan);
    const PlkRescueFile *active = top >= 0 ? plk_rescue_find(r, desc->images[top].file) : NULL;

    return f && active && f->changed > active->changed;
}

/* ---- no descriptor to go by ---- */

static bool is_delta_of(const PlkRescueFile *f, const PlkRescueFile *base)
{
    size_t stem = plk_rescue_stem(f->name);

    return stem == strlen(base->name) && strncmp(f->name, base->name, stem) == 0;
}

/* Deltas of `base` by their names; *ret_n_odd: those that cannot lie above it. */
static void gather(Orders *o, const PlkRescueFile *base, bool any_name, const char **ret_odd)
{
    PlkRescue *r = o->r;

    o->draft.files[0] = base;
    o->n_fixed = 1;
    for (size_t i = 0; i < r->n_files && o->n_pool + 1 < PLK_CHAIN_MAX; i++) {
        const PlkRescueFile *f = &r->files[i];

        if (!plk_rescue_is_image(f) || f == base ||
            !(any_name ? plk_rescue_stem(f->name) > 0 : is_delta_of(f, base)))
            continue;
        if (fits(f, base))
            o->pool[o->n_pool++] = f;
        else
            *ret_odd = f->name;
    }
}

static void propose_alone(PlkRescue *r, const PlkRescueFile *base, PlkRescueConfidence confidence,
                          bool has_deltas)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
    Order order = {.files = {base}};
    PlkRescuePlan *plan;

    if (describe(&order, 1, &desc) < 0)
        r->starved = true;
    plan = plk_rescue_plan(r, &desc, confidence, plk_rescue_text(r, "%s alone", base->name));
    if (has_deltas)
        plk_rescue_because(r, plan, "the oldest state: what the deltas above it hold is left out");
    else
        plk_rescue_because(r, plan,
                           base->role == PLK_RESCUE_RAW
                               ? "what it holds reads as a disk without a header"
                               : "its header says all that a descriptor of one image says, "
                                 "and there is no other image");
}

/* A base by itself is what its header says; a raw one has none. */
static PlkRescueConfidence confidence_alone(const PlkRescueFile *base, bool chief)
{
    if (!chief)
        return PLK_RESCUE_GUESS;
    return base->role == PLK_RESCUE_RAW ? PLK_RESCUE_LIKELY : PLK_RESCUE_CERTAIN;
}

/* chief: the base that the disk most probably has. only: there is no other. */
static void propose_base(PlkRescue *r, const PlkRescueFile *base, bool chief, bool only)
{
    Orders o = {.r = r};
    const char *odd = NULL;

    gather(&o, base, only, &odd);
    if (o.n_pool && find_orders(&o))
        for (size_t i = 0; i < PLK_MIN(o.n, SHOWN_MAX); i++) {
            plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
            PlkRescuePlan *plan;

            if (describe(&o.items[i], 1 + o.n_pool, &desc) < 0)
                r->starved = true;
            plan = plk_rescue_plan(r, &desc, i == 0 && chief ? confidence_of(&o) : PLK_RESCUE_GUESS,
                                   title_of(&o, &o.items[i]));
            plk_rescue_because(r, plan,
                               "the names say that these images belong together, and version, cluster and "
                               "sizes allow it");
            if (odd)
                plk_rescue_because(
                    r, plan, plk_rescue_text(r, "'%s' is left out: version, cluster or size differ", odd));
            if (i == 0)
                explain_best(&o, plan);
            else
                plk_rescue_because_of(r, plan, &o.items[i].content);
        }
    propose_alone(r, base, o.n_pool || odd ? PLK_RESCUE_GUESS : confidence_alone(base, chief),
                  o.n_pool || odd);
    free(o.items);
}

void plk_rescue_order_all(PlkRescue *r)
{
    const PlkRescueFile *root = plk_rescue_find(r, "root.hds");
    size_t n_bases = 0;

    for (size_t i = 0; i < r->n_files; i++)
        n_bases += plk_rescue_is_image(&r->files[i]) && plk_rescue_stem(r->files[i].name) == 0;
    if (root && plk_rescue_is_image(root))
        propose_base(r, root, true, n_bases == 1);
    for (size_t i = 0; i < r->n_files; i++) {
        const PlkRescueFile *f = &r->files[i];

        if (f != root && plk_rescue_is_image(f) && plk_rescue_stem(f->name) == 0)
            propose_base(r, f, n_bases == 1, n_bases == 1);
    }
}
