/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whole files that come and go: a new disk, a restored descriptor, an image swapped for a copy, a file
 * published over an old one.
 */
#include "crash-walk.h"

#include "base/cleanup.h"

static const ImageKind expanded = {PLK_FORMAT_EXPANDED, 2}, version_1 = {PLK_FORMAT_EXPANDED, 1};

static bool has(const Exam *x, const char *name)
{
    return plk_dir_exists(x->dir, name) == 1;
}

/* As long as there is no descriptor, there is nothing to recover. */
static bool recover_later(Exam *x)
{
    return !x->w->bare && !has(x, DESCRIPTOR) ? true : exam_open_and_close(x);
}

/* ---- a new disk ---- */

/* Nothing; a base without a descriptor, whole and closed or not; or the disk. */
static bool exam_new_disk(Exam *x)
{
    static const PlkChainFile base = {"root.hds", false};
    World *w = x->w;
    bool good;

    if (has(x, DESCRIPTOR))
        return exam_disk(x);
    if (x->position >= w->done)
        return exam_wrong(x, "the new disk is lost");
    if (!exam_names(x) || !has(x, "root.hds"))
        return x->what[0] == '\0';
    w->bare = true;
    w->files[0] = base;
    w->files[0].raw = w->choice;
    w->n_files = 1;
    good = exam_disk(x);
    w->bare = false;
    w->n_files = 0;
    return good;
}

/* All of it is acknowledged before the disk has a name. */
static int fill(PlkDisk *disk, void *arg, const PlkProgress *progress, PlkError *err)
{
    World *w = arg;

    w->disk = disk;
    for (unsigned i = 0; i < 4; i++)
        world_put(w, i * w->sectors / 4 + chance(8), 1 + chance(8));
    world_acknowledge(w);
    return 0;
}

static void create(World *w, PlkFormat format, int version, bool alloc_full)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec, .size_sectors = 3 * CLUSTER_SECTORS, .version = version,
                          .cluster_sectors = CLUSTER_SECTORS, .format = format, .alloc_full = alloc_full};
    PlkStore *store;

    world_new(w, 3);
    w->leaves = LEAVES_TMP | LEAVES_BASE;
    w->judge = exam_new_disk;
    w->recover = recover_later;
    w->choice = format == PLK_FORMAT_RAW;
    w->done = SIZE_MAX;
    world_ready(w);
    MUST(plk_store_open_dir(world_dir(w), DESCRIPTOR, &store, &must_error));
    MUST(plk_store_create(store, "root.hds", &spec, fill, w, NULL, &must_error));
    plk_store_close(store);
    w->done = world_now(w);
    world_acknowledge(w);
    world_session(w, 4);
}

static void create_expanded(World *w)
{
    create(w, PLK_FORMAT_EXPANDED, 2, false);
}

static void create_version_1(World *w)
{
    create(w, PLK_FORMAT_EXPANDED, 1, false);
}

static void create_preallocated(World *w)
{
    create(w, PLK_FORMAT_PREALLOCATED, 2, false);
}

static void create_real_blocks(World *w)
{
    create(w, PLK_FORMAT_PREALLOCATED, 2, true);
}

static void create_raw(World *w)
{
    create(w, PLK_FORMAT_RAW, 2, false);
}

/* ---- a descriptor that was lost ---- */

static bool exam_restored(Exam *x)
{
    if (has(x, DESCRIPTOR))
        return exam_disk(x);
    if (x->position >= x->w->done)
        return exam_wrong(x, "the restored descriptor is lost");
    return exam_names(x);
}

static void restore(World *w)
{
    PlkStore *store;

    world_describe(w, expanded, 3);
    world_session(w, 8);
    MUST_BE(plk_dir_unlink(w->dir, DESCRIPTOR) == 0);
    world_ready(w);
    w->leaves = LEAVES_TMP | LEAVES_BASE;
    w->judge = exam_restored;
    w->recover = recover_later;
    w->done = SIZE_MAX;
    MUST(plk_store_open_dir(world_dir(w), DESCRIPTOR, &store, &must_error));
    MUST(plk_store_restore(store, "/disk/root.hds", false, 0, NULL, &must_error));
    plk_store_close(store);
    w->done = world_now(w);
    world_session(w, 4);
}

/* ---- an image and its copy ---- */

/* By somebody who does not wait for the disk. */
static void copy_image(World *w, const char *from, const char *to)
{
    plk_cleanup(plk_io_closep) PlkIo *in = NULL, *out = NULL;
    char bounce[4096];
    uint64_t size;

    MUST_BE(plk_dir_open_file(w->dir, from, 0, 0, &in) == 0);
    MUST_BE(plk_dir_open_file(w->dir, to, PLK_OPEN_CREATE | PLK_OPEN_EXCLUSIVE, 0600, &out) == 0);
    MUST_BE(plk_io_size(in, &size) == 0);
    MUST_BE(plk_io_copy(out, 0, in, 0, size, NULL, bounce, sizeof bounce, PLK_POINT_NONE) == 0);
}

static void replace(World *w, ImageKind kind, int level, bool keep_name)
{
    PlkReplaceSpec spec = {.struct_size = sizeof spec, .new_file = "/disk/new.hds", .keep_name = keep_name};
    int index;

    spec.level = level;
    world_describe(w, kind, 3);
    world_session(w, 8);
    if (level > 0) {
        world_take(w);
        world_session(w, 6);
    }
    world_ready(w);
    w->leaves = LEAVES_TMP | LEAVES_NEW | LEAVES_BASE | (keep_name ? 0 : LEAVES_ORPHAN);
    world_open_store(w);
    index = level > 0 ? plk_descriptor_find_image(&w->store->desc, &w->store->desc.top) : 0;
    copy_image(w, w->store->desc.images[index].file, "new.hds");
    MUST(plk_store_replace(w->store, &spec, &must_error));
    world_acknowledge(w);
    world_close_store(w);
    world_session(w, 6);
}

static void replace_base(World *w)
{
    replace(w, expanded, 0, false);
}

static void replace_base_keeping_its_name(World *w)
{
    replace(w, expanded, 0, true);
}

static void replace_top(World *w)
{
    replace(w, version_1, 1, false);
}

static void replace_top_keeping_its_name(World *w)
{
    replace(w, version_1, 1, true);
}

/* ---- a file over an old one ---- */

static bool exam_published(Exam *x)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    char text[8] = "";
    size_t len;

    if (plk_dir_open_file(x->dir, "new.txt", 0, 0, &io) < 0 ||
        plk_io_read_upto(io, text, sizeof text - 1, 0, &len, PLK_POINT_NONE) < 0)
        return exam_wrong(x, "the file is gone");
    if (strcmp(text, "newer") == 0 || (strcmp(text, "old") == 0 && x->position < x->w->done))
        return true;
    return exam_wrong(x, "the file holds '%s'", text);
}

static void publish(World *w)
{
    world_new(w, 0);
    MUST_BE(plk_dir_publish_file(w->dir, "new.txt", "old", 3, 0600) == 0);
    world_ready(w);
    w->judge = exam_published;
    w->recover = recover_later;
    w->done = SIZE_MAX;
    MUST_BE(plk_dir_publish_file(w->dir, "new.txt", "newer", 5, 0600) == 0);
    w->done = world_now(w);
}

const ScenarioGroup whole_scenarios = {"whole", (const Scenario[]){
    {"create-expanded", create_expanded, 3},
    {"create-version-1", create_version_1, 1},
    {"create-preallocated", create_preallocated, 1},
    {"create-real-blocks", create_real_blocks, 1},
    {"create-raw", create_raw, 1},
    {"restore", restore, 2},
    {"replace-base", replace_base, 2},
    {"replace-base-keeping-its-name", replace_base_keeping_its_name, 2},
    {"replace-top", replace_top, 1},
    {"replace-top-keeping-its-name", replace_top_keeping_its_name, 1},
    {"publish", publish, 1},
    {0},
}};
