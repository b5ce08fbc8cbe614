/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A proposal to look at. rescue-try.xml describes the images of the proposal with one more above them:
 *
 *   rescue-try.{guid}   takes all writes; what lies below is opened read-only
 *   rescue-try.NAME     a repaired copy in the place of NAME, where a repair decides or loses something
 *
 * Nothing else in the directory changes before the try is kept. All its files begin with "rescue-try.", and
 * files that are made in it (snapshots of it) do, too, since new images are named after the first one of the
 * descriptor: so dropping it takes exactly these.
 *
 * Keeping is a series of renames, after which rescue-try.xml goes; as long as it is there, keeping goes on
 * where it stopped.
 */
#include "rescue/rescue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "change/operation.h"
#include "disk/note.h"

#define PREFIX "rescue-try."
#define COPY_BYTES (1u << 20)
#define COPY_MODE 0600
#define DROPPED PREFIX "dropped"

static bool is_of_try(const char *file)
{
    return strncmp(file, PREFIX, strlen(PREFIX)) == 0;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int exists(PlkStore *store, const char *name, PlkError *err)
{
    int r = plk_dir_exists(store->dir, name);

    return r < 0 ? plk_fail_io(err, PLK_ERROR_OPEN, r, "'%s/%s'", store->dir->path, name) : r;
}

/* ---- dropping ---- */

typedef struct Names {
    char **items;
    size_t n;
} Names;

static void names_clear(Names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->items[i]);
    free(names->items);
}

static int take_name(void *arg, const char *name)
{
    Names *names = arg;
    char **longer;

    if (!is_of_try(name))
        return 0;
    longer = plk_realloc(names->items, names->n + 1, sizeof *longer);
    if (!longer)
        return -ENOMEM;
    names->items = longer;
    names->items[names->n] = plk_strdup(name);
    return names->items[names->n] ? (names->n++, 0) : -ENOMEM;
}

/* The descriptor first, and by another name: what it names is no try any more, but left over. */
static int remove_files(PlkStore *store, PlkError *err)
{
    plk_cleanup(names_clear) Names names = {0};
    int r = plk_dir_rename(store->dir, PLK_RESCUE_TRY_NAME, DROPPED, true);

    if (r == 0)
        r = plk_dir_sync(store->dir);
    if (r == 0 || r == -ENOENT)
        r = plk_dir_list(store->dir, take_name, &names);
    for (size_t i = 0; r == 0 && i < names.n; i++)
        r = plk_dir_unlink(store->dir, names.items[i]);
    if (r == 0)
        r = plk_dir_sync(store->dir);
    return r < 0 ? plk_fail_io(err, PLK_ERROR_UNLINK, r, "cannot remove the try in '%s'", store->dir->path)
                 : 0;
}

static int load_try(PlkStore *store, PlkDescriptor *ret, PlkError *err)
{
    PLK_FREE char *text = NULL;
    size_t len;
    int r = plk_dir_read_file(store->dir, PLK_RESCUE_TRY_NAME, PLK_DESC_TEXT_MAX, &text, &len);

    if (r == -ENOENT)
        return plk_fail(err, PLK_ERROR_NOT_FOUND, "'%s' holds no try of a rescue", store->dir->path);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_OPEN, r, "cannot read '%s/%s'", store->dir->path,
                           PLK_RESCUE_TRY_NAME);
    return plk_descriptor_parse(text, len, PLK_RESCUE_TRY_NAME, ret, err);
}

/* Nobody has its images open for writing. */
static int refuse_busy(PlkStore *store, const PlkDescriptor *desc, PlkError *err)
{
    for (size_t i = 0; i < desc->n_images; i++) {
        plk_cleanup(plk_io_closep) PlkIo *io = NULL;
        const char *file = desc->images[i].file;
        int r = is_of_try(file) ? plk_dir_open_file(store->dir, file, 0, 0, &io) : -ENOENT;

        if (r == -ENOENT)
            continue;
        if (r < 0)
            return plk_fail_io(err, PLK_ERROR_OPEN, r, "'%s/%s'", store->dir->path, file);
        r = plk_io_lock_test(io, PLK_IO_LOCK_EXCLUSIVE);
        if (r < 0)
            return plk_fail_locked(err, io, r);
    }
    return 0;
}

static int refuse_half_kept(PlkStore *store, const PlkDescriptor *desc, PlkError *err)
{
    for (size_t i = 0; i < desc->n_images; i++)
        if (is_of_try(desc->images[i].file) && plk_dir_exists(store->dir, desc->images[i].file) == 0)
            return plk_fail(err, PLK_ERROR_BUSY,
                            "the try in '%s' is being kept; 'ploop rescue --keep' goes on with it",
                            store->dir->path);
    return 0;
}

/* It was being dropped already. */
static bool is_half_dropped(PlkStore *store)
{
    plk_cleanup(names_clear) Names names = {0};

    return plk_dir_exists(store->dir, PLK_RESCUE_TRY_NAME) == 0 &&
           plk_dir_list(store->dir, take_name, &names) == 0 && names.n > 0;
}

int plk_store_rescue_drop(PlkStore *store, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};

    if (plk_store_lock_only(store, err) < 0)
        return -1;
    if (is_half_dropped(store))
        return remove_files(store, err);
    if (load_try(store, &desc, err) < 0 || refuse_busy(store, &desc, err) < 0 ||
        refuse_half_kept(store, &desc, err) < 0)
        return -1;
    return remove_files(store, err);
}

/* ---- making ---- */

/* Shares its blocks with the file if the filesystem can. */
static int copy_image(PlkStore *store, const char *name, const char *copy, const PlkProgress *progress,
                      PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *from = NULL, *to = NULL;
    PLK_FREE void *bounce = plk_malloc(COPY_BYTES);
    _Atomic int method = PLK_COPY_CLONE;
    uint64_t size = 0;
    int r = bounce ? plk_dir_open_file(store->dir, name, 0, 0, &from) : -ENOMEM;

    if (r == 0)
        r = plk_io_lock(from, PLK_IO_LOCK_SHARED);
    if (r == 0)
        r = plk_io_size(from, &size);
    if (r == 0)
        r = plk_dir_create_unnamed(store->dir, COPY_MODE, &to);
    for (uint64_t at = 0, n; r == 0 && at < size; at += n) {
        n = size - at < 64u * COPY_BYTES ? size - at : 64u * COPY_BYTES;
        if (progress && progress->update(progress->arg, "Copying", at, size))
            return plk_fail(err, PLK_ERROR_CANCELLED, "'%s': copying was stopped; nothing was changed",
                            from->name);
        r = plk_io_copy(to, at, from, at, n, &method, bounce, COPY_BYTES, PLK_POINT_DATA_COPY);
    }
    if (r == 0)
        r = plk_dir_link(store->dir, to, copy);
    return r < 0 ? plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot copy image '%s' of '%s' to '%s'", name,
                               store->dir->path, copy)
                 : 0;
}

/* 1, 0 or -errno: it is named by a repair that decides something. */
static int needs_copy(const PlkRescuePlan *plan, const char *file, PlkDir *dir)
{
    PLK_FREE char *wanted = plk_path_canonical(dir->path, file);

    if (!wanted)
        return -errno;
    for (size_t i = 0; i < plan->shown.n_actions; i++) {
        const PlkRescueAction *a = &plan->shown.actions[i];
        PLK_FREE char *path = plk_path_canonical(dir->path, a->file);

        if (!path)
            return -errno;
        if (a->kind == PLK_RESCUE_REPAIR_LOSSY && strcmp(path, wanted) == 0)
            return 1;
    }
    return 0;
}

/* Images whose repair decides something are replaced by repaired copies. */
static int copy_damaged(PlkStore *store, const PlkRescuePlan *plan, PlkDescriptor *desc,
                        const PlkProgress *progress, PlkError *err)
{
    for (size_t i = 0; i < desc->n_images; i++) {
        PlkDescImage *image = &desc->images[i];
        int r = needs_copy(plan, image->file, store->dir);
        char *copy;

        if (r < 0)
            return plk_fail_io(err, PLK_ERROR_OPEN, r, "image '%s' of '%s'", image->file, store->dir->path);
        if (r == 0)
            continue;
        copy = plk_printf(PREFIX "%s", last_part(image->file));
        if (!copy)
            return plk_fail_nomem(err);
        if (copy_image(store, image->file, copy, progress, err) < 0 ||
            plk_rescue_repair(store, copy, true, progress, err) < 0) {
            free(copy);
            return -1;
        }
        free(image->file);
        image->file = copy;
    }
    return 0;
}

static int open_image(PlkStore *store, const PlkDescriptor *desc, int index, PlkImage **ret, PlkError *err)
{
    unsigned flags = plk_store_is_raw(desc, index) ? PLK_IMAGE_IS_RAW : 0;

    return plk_chain_open_image(store->dir, desc->images[index].file, flags, false, desc->cluster_sectors,
                                ret, err);
}

/* An empty image above the active state; the first of the descriptor, so that others are named after it. */
static int add_top(PlkStore *store, PlkDescriptor *desc, PlkError *err)
{
    plk_cleanup(plk_image_dropp) PlkImage *below = NULL;
    int active = plk_descriptor_find_image(desc, &desc->top);
    PLK_FREE char *file = NULL;
    PlkGuid name, state, top = desc->top;
    PlkDescImage first;

    plk_guid_random(&name);
    plk_guid_random(&state);
    file = plk_printf(PREFIX "%s", name.text);
    if (!file)
        return plk_fail_nomem(err);
    if (open_image(store, desc, active, &below, err) < 0 ||
        plk_store_create_delta(store, file, below, below->header.size_sectors, false, err) < 0)
        return -1;
    plk_descriptor_rename(desc, &top, &state);
    if (plk_descriptor_add(desc, &PLK_GUID_TOP, &state, file, err) < 0)
        return -1;
    desc->top = PLK_GUID_TOP;
    first = desc->images[desc->n_images - 1];
    memmove(&desc->images[1], &desc->images[0], (desc->n_images - 1) * sizeof first);
    desc->images[0] = first;
    return 0;
}

/* Does it open? Else there is nothing to look at. */
static int prove(PlkStore *store, const PlkDescriptor *desc, PlkError *err)
{
    PlkDiskOptions options = {.struct_size = sizeof options};
    PlkChainFile files[PLK_CHAIN_SLOTS];
    PLK_FREE int *chain = NULL;
    PlkDisk *disk;
    size_t n;

    if (plk_descriptor_chain(desc, &desc->top, PLK_RESCUE_TRY_NAME, &chain, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        files[i] =
            (PlkChainFile){.path = desc->images[chain[i]].file, .raw = plk_store_is_raw(desc, chain[i])};
    if (plk_disk_open_chain(store->dir, files, n, desc->cluster_sectors, &options, &disk, err) < 0)
        return -1;
    plk_disk_drop(disk);
    return 0;
}

static int make(PlkStore *store, const PlkRescuePlan *plan, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
    PLK_FREE char *text = NULL;
    size_t len;

    if (plk_descriptor_copy(&plan->desc, &desc, err) < 0)
        return -1;
    if (copy_damaged(store, plan, &desc, progress, err) < 0 || add_top(store, &desc, err) < 0 ||
        prove(store, &desc, err) < 0 || plk_descriptor_print(&desc, &text, &len, err) < 0 ||
        plk_rescue_publish(store, PLK_RESCUE_TRY_NAME, text, err) < 0) {
        (void)remove_files(store, NULL);
        return -1;
    }
    return 0;
}

int plk_store_rescue_try(PlkStore *store, const PlkRescueEvidence *evidence, const PlkRescueOptions *options,
                         const PlkProgress *progress, PlkError *err)
{
    PlkRescueOptions chosen = *options;
    PlkRescuePlan *plan;
    PlkRescue *r;
    int there, failed;

    if (plk_store_lock_only(store, err) < 0)
        return -1;
    there = exists(store, PLK_RESCUE_TRY_NAME, err);
    if (there > 0)
        return plk_fail(err, PLK_ERROR_EXISTS, "'%s/%s' is there: keep that try or drop it first",
                        store->dir->path, PLK_RESCUE_TRY_NAME);
    if (there < 0 || remove_files(store, err) < 0 ||
        plk_store_rescue_survey(store, evidence, progress, &r, err) < 0)
        return -1;
    chosen.proposal = chosen.proposal ? chosen.proposal : 1;
    failed = plk_rescue_choose(r, &chosen, &plan, err) < 0 || make(store, plan, progress, err) < 0;
    plk_rescue_free(r);
    return failed ? -1 : 0;
}

/* ---- keeping ---- */

static const char *base_name(const PlkDescriptor *desc)
{
    for (size_t i = 0; i < desc->n_images; i++) {
        int shot = plk_descriptor_find_shot(desc, &desc->images[i].guid);

        if (shot >= 0 && plk_guid_equal(&desc->shots[shot].parent, &PLK_GUID_NONE))
            return desc->images[i].file;
    }
    return PREFIX "root.hds";
}

/* The name a file of the try has in the disk: a copy that of its original, a delta one after the base. */
static char *kept_as(const PlkDescriptor *desc, const char *file)
{
    const char *base = base_name(desc), *rest = file + strlen(PREFIX);

    if (is_of_try(base))
        base += strlen(PREFIX);
    return *rest == '{' ? plk_printf("%s.%s", last_part(base), strrchr(file, '{')) : plk_strdup(rest);
}

/* The uppermost image of the try holds nothing: the state below is the active one again. */
static int drop_empty_top(PlkStore *store, PlkDescriptor *desc, char **ret_file, PlkError *err)
{
    int i = plk_descriptor_find_image(desc, &desc->top), shot = plk_descriptor_find_shot(desc, &desc->top);
    plk_cleanup(plk_image_dropp) PlkImage *img = NULL;
    bool empty = true;
    PlkGuid parent, top = desc->top;

    if (i < 0 || shot < 0 || !is_of_try(desc->images[i].file) ||
        plk_dir_exists(store->dir, desc->images[i].file) <= 0)
        return 0;
    if (open_image(store, desc, i, &img, err) < 0)
        return -1;
    for (uint32_t c = 0; empty && c < plk_image_slots(img); c++) {
        uint32_t slot;
        bool present;
        int r = plk_image_read_slot(img, c, &slot, &present);

        if (r < 0)
            return plk_fail_io(err, PLK_ERROR_READ, r, "image '%s'", img->io->name);
        empty = !present;
    }
    parent = desc->shots[shot].parent;
    if (!empty || plk_descriptor_count_children(desc, &parent) != 1)
        return 0;
    *ret_file = plk_strdup(desc->images[i].file);
    plk_descriptor_remove(desc, &top);
    plk_descriptor_rename(desc, &parent, &PLK_GUID_TOP);
    desc->top = PLK_GUID_TOP;
    return *ret_file ? 0 : plk_fail_nomem(err);
}

static int move_in(PlkStore *store, const char *file, const char *name, const PlkRescueOptions *options,
                   PlkError *err)
{
    PLK_FREE char *kept = NULL;
    PlkRescueAction action = {.kind = PLK_RESCUE_ASIDE, .file = name, .what = "put the original aside"};
    int there = exists(store, file, err), r;

    if (there <= 0)
        return there; /* it was moved before this was cut short */
    there = exists(store, name, err);
    if (there < 0 || (there > 0 && plk_rescue_set_aside(store, name, &kept, err) < 0))
        return -1;
    r = plk_dir_rename(store->dir, file, name, false);
    if (r == 0)
        r = plk_dir_sync(store->dir);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_RENAME, r, "cannot rename '%s/%s' to '%s'", store->dir->path, file,
                           name);
    if (kept && options->done)
        options->done(options->arg, &action, kept);
    return 0;
}

/* Names as they will be; the files follow. */
static int move_all(PlkStore *store, PlkDescriptor *desc, const PlkRescueOptions *options, PlkError *err)
{
    PlkDescriptor before;

    if (plk_descriptor_copy(desc, &before, err) < 0)
        return -1;
    for (size_t i = 0; i < desc->n_images; i++) {
        PlkDescImage *image = &desc->images[i];
        char *name = is_of_try(image->file) ? kept_as(&before, image->file) : plk_strdup(image->file);
        int r = name ? 0 : plk_fail_nomem(err);

        if (r == 0 && is_of_try(image->file))
            r = move_in(store, image->file, name, options, err);
        if (r < 0) {
            free(name);
            plk_descriptor_clear(&before);
            return -1;
        }
        free(image->file);
        image->file = name;
    }
    plk_descriptor_clear(&before);
    return 0;
}

/* What was only looked at in the try is mended now: marks, lengths, flags. */
static int mend_originals(PlkStore *store, const PlkDescriptor *desc, const PlkProgress *progress,
                          PlkError *err)
{
    for (size_t i = 0; i < desc->n_images; i++) {
        const char *file = desc->images[i].file;
        PLK_FREE char *kept = NULL;

        if (plk_store_is_raw(desc, (int)i) || is_of_try(file))
            continue;
        if (plk_rescue_keep_table(store, file, false, &kept, err) < 0 ||
            plk_rescue_repair(store, file, false, progress, err) < 0)
            return -1;
    }
    return 0;
}

/* The base comes first again. */
static void restore_order(PlkDescriptor *desc)
{
    const char *base = base_name(desc);

    for (size_t i = 1; i < desc->n_images; i++)
        if (strcmp(desc->images[i].file, base) == 0) {
            PlkDescImage image = desc->images[i];

            memmove(&desc->images[1], &desc->images[0], i * sizeof image);
            desc->images[0] = image;
            return;
        }
}

int plk_store_rescue_keep(PlkStore *store, const PlkRescueOptions *options, const PlkProgress *progress,
                          PlkError *err)
{
    plk_cleanup(plk_descriptor_clear) PlkDescriptor desc = {0};
    PLK_FREE char *text = NULL, *empty = NULL;
    size_t len;

    if (plk_store_lock_only(store, err) < 0 || load_try(store, &desc, err) < 0 ||
        refuse_busy(store, &desc, err) < 0 || drop_empty_top(store, &desc, &empty, err) < 0 ||
        mend_originals(store, &desc, progress, err) < 0 || move_all(store, &desc, options, err) < 0)
        return -1;
    restore_order(&desc);
    /* As the descriptor of the try, too, which names none of its files then: they may go, in any order. */
    if (plk_descriptor_print(&desc, &text, &len, err) < 0 ||
        plk_rescue_replace_descriptor(store, text, options, err) < 0 ||
        plk_rescue_publish(store, PLK_RESCUE_TRY_NAME, text, err) < 0 || remove_files(store, err) < 0)
        return -1;
    return plk_rescue_clear_up(store, options, progress, err);
}
