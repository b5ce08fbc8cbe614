/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of one image, and merging of bare ones: no descriptor has a say in it. */
#include "crash-walk.h"

#include "base/cleanup.h"

#define BIG (20000ull * CLUSTER_SECTORS) /* its table needs the first data clusters' place */

static const ImageKind expanded = {PLK_FORMAT_EXPANDED, 2}, version_1 = {PLK_FORMAT_EXPANDED, 1},
                       raw = {PLK_FORMAT_RAW, 2};

typedef int Change(PlkImage *img, uint64_t sectors);

static int grow(PlkImage *img, uint64_t sectors)
{
    return plk_image_grow(img, sectors, NULL, &must_error);
}

static int shrink(PlkImage *img, uint64_t sectors)
{
    return plk_image_shrink(img, sectors, NULL, &must_error);
}

static int pack(PlkImage *img, uint64_t sectors)
{
    uint64_t freed;

    return plk_image_compact(img, &freed, NULL, &must_error);
}

static void change(World *w, Change *how, uint64_t sectors)
{
    const PlkChainFile *file = &w->files[w->n_files - 1];
    PlkImage *img;

    if (sectors != w->sizes[w->newest_size].sectors)
        world_resized(w, sectors);
    MUST(plk_chain_open_image(w->dir, file->path, PLK_IMAGE_WRITE | (file->raw ? PLK_IMAGE_IS_RAW : 0), false,
                              CLUSTER_SECTORS, &img, &must_error));
    MUST(how(img, sectors));
    MUST(plk_image_close(img, &must_error));
    world_acknowledge(w);
}

static void grow_and_back(World *w, ImageKind kind)
{
    uint64_t small;

    world_bare(w, kind, 4);
    small = w->sectors;
    world_session(w, 10);
    change(w, grow, BIG);
    world_session(w, 4);
    change(w, shrink, small);
    world_session(w, 4);
}

static void grow_far(World *w)
{
    grow_and_back(w, expanded);
}

static void grow_far_version_1(World *w)
{
    grow_and_back(w, version_1);
}

static void grow_far_raw(World *w)
{
    grow_and_back(w, raw);
}

static void grow_near(World *w)
{
    world_bare(w, expanded, 4);
    world_session(w, 8);
    change(w, grow, 5 * CLUSTER_SECTORS);
    change(w, grow, 6 * CLUSTER_SECTORS);
    world_session(w, 4);
}

/* A growth that is stopped in the middle, and then done. */
static void grow_cancelled(World *w)
{
    PlkImage *img;
    PlkError err;

    world_bare(w, expanded, 4);
    world_session(w, 10);
    MUST(plk_chain_open_image(w->dir, "root.hds", PLK_IMAGE_WRITE, false, CLUSTER_SECTORS, &img,
                              &must_error));
    world_resized(w, BIG); /* it is done if nothing is in the way */
    if (plk_image_grow(img, BIG, &impatient, &err) < 0)
        world_resized(w, w->sizes[0].sectors);
    MUST(plk_image_close(img, &must_error));
    world_acknowledge(w);
    world_session(w, 4);
    change(w, grow, BIG);
}

/* What is cut off does not come back when the disk grows again. */
static void shrink_cuts(World *w, ImageKind kind)
{
    world_bare(w, kind, 5);
    world_session(w, 12);
    world_forget(w, 2, 3);
    change(w, shrink, 2 * CLUSTER_SECTORS);
    change(w, grow, 5 * CLUSTER_SECTORS);
    world_session(w, 4);
}

static void shrink_expanded(World *w)
{
    shrink_cuts(w, expanded);
}

static void shrink_version_1(World *w)
{
    shrink_cuts(w, version_1);
}

static void shrink_raw(World *w)
{
    shrink_cuts(w, raw);
}

static void pack_kind(World *w, ImageKind kind)
{
    world_bare(w, kind, 6);
    world_open(w);
    for (unsigned i = 0; i < 6; i++)
        world_put(w, i * CLUSTER_SECTORS + chance(8), 8);
    world_flush(w);
    world_discard(w, chance(3), 1 + chance(3));
    world_close(w);
    world_ready(w);
    change(w, pack, w->sectors);
    world_session(w, 4);
}

static void pack_expanded(World *w)
{
    pack_kind(w, expanded);
}

static void pack_version_1(World *w)
{
    pack_kind(w, version_1);
}

static void pack_cancelled(World *w)
{
    uint64_t freed;
    PlkImage *img;
    PlkError err;

    world_bare(w, expanded, 6);
    world_open(w);
    for (unsigned i = 0; i < 6; i++)
        world_put(w, i * CLUSTER_SECTORS + chance(8), 8);
    world_discard(w, chance(3), 1 + chance(3));
    world_close(w);
    world_ready(w);
    MUST(plk_chain_open_image(w->dir, "root.hds", PLK_IMAGE_WRITE, false, CLUSTER_SECTORS, &img,
                              &must_error));
    MUST_BE(plk_image_compact(img, &freed, &impatient, &err) < 0);
    MUST(plk_image_close(img, &must_error));
    world_session(w, 4);
    change(w, pack, w->sectors);
}

/* ---- merging of files ---- */

static char upper[] = "/disk/one.hds", lower[] = "/disk/root.hds";
static char *const paths[] = {upper, lower};

static void merge_down(World *w, ImageKind base)
{
    world_bare(w, base, 4);
    world_session(w, 8);
    world_stack(w, base.version);
    world_session(w, 10);
    world_ready(w);
    MUST(plk_dir_merge_files(w->dir, paths, 2, base.format == PLK_FORMAT_RAW, NULL, NULL, NULL, &must_error));
    w->collapse = world_now(w);
    w->n_after = 1;
}

static void merge_files(World *w)
{
    merge_down(w, expanded);
}

static void merge_files_version_1(World *w)
{
    merge_down(w, version_1);
}

static void merge_files_raw(World *w)
{
    merge_down(w, raw);
}

/* Which of them the file is depends on when: the judge looks at both. */
static bool exam_merged(Exam *x)
{
    World *w = x->w;
    bool there = plk_dir_exists(x->dir, "new.hds") == 1, good;
    PlkChainFile kept = w->files[0];
    size_t n = w->n_files;

    if (!there && x->position >= w->done)
        return exam_wrong(x, "the new file is lost");
    if (!exam_disk(x))
        return false;
    if (!there)
        return true;
    w->files[0] = (PlkChainFile){"new.hds", false};
    w->n_files = 1;
    x->probed = false;
    good = exam_disk(x);
    w->files[0] = kept;
    w->n_files = n;
    return good;
}

static void merge_to_new_file(World *w)
{
    plk_cleanup(plk_store_closep) PlkStore *where = NULL;

    world_bare(w, expanded, 4);
    world_session(w, 8);
    world_stack(w, 2);
    world_session(w, 10);
    world_ready(w);
    w->leaves = LEAVES_NEW | LEAVES_OLD;
    w->judge = exam_merged;
    MUST(plk_store_open_dir(world_dir(w), "none.xml", &where, &must_error));
    MUST(plk_dir_merge_files(w->dir, paths, 2, false, where, "/disk/new.hds", NULL, &must_error));
    w->done = world_now(w);
}

const ScenarioGroup image_scenarios = {"image", (const Scenario[]){
    {"grow-far", grow_far, 3},
    {"grow-far-version-1", grow_far_version_1, 2},
    {"grow-far-raw", grow_far_raw, 1},
    {"grow-near", grow_near, 2},
    {"grow-cancelled", grow_cancelled, 2},
    {"shrink-expanded", shrink_expanded, 3},
    {"shrink-version-1", shrink_version_1, 1},
    {"shrink-raw", shrink_raw, 1},
    {"pack-expanded", pack_expanded, 3},
    {"pack-version-1", pack_version_1, 1},
    {"pack-cancelled", pack_cancelled, 2},
    {"merge-files", merge_files, 2},
    {"merge-files-version-1", merge_files_version_1, 1},
    {"merge-files-raw", merge_files_raw, 1},
    {"merge-to-new-file", merge_to_new_file, 1},
    {0},
}};
