/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Carrying a proposal out. The order keeps what the next survey goes by until it is not needed any more:
 *
 *   1  a copy of the old descriptor is kept, then the new one takes its place: from then on it says which images
 *      belong together, and in which order, for what they say themselves (left in use) goes with the repairs
 *   2  images are repaired, each by steps that survive a crash; header and table as they were are kept before
 *   3  a version conversion is rolled back, or made, which needs the descriptor
 *   4  what is in the way is renamed; what the lock file says about an operation is forgotten
 *
 * After a crash between two of these the survey finds the rest to be done; only a second copy of what was
 * kept can be there then.
 */
#include "rescue/rescue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "change/operation.h"
#include "disk/note.h"
#include "disk/version.h"
#include "image/check.h"

#define DESCRIPTOR_MODE 0666
#define TABLE_MODE 0600
#define KEPT_MAX 10000
#define COPY_BYTES (1u << 20)

/* ---- keeping what was ---- */

/* NAME.rescued-N that is not there yet. */
static int find_kept_name(PlkStore *store, const char *name, char **ret, PlkError *err)
{
    for (int n = 1; n < KEPT_MAX; n++) {
        PLK_FREE char *kept = plk_printf("%s.rescued-%d", name, n);
        int r = kept ? plk_dir_exists(store->dir, kept) : -ENOMEM;

        if (r < 0)
            return plk_fail_io(err, PLK_ERROR_RENAME, r, "cannot keep '%s' of '%s'", name, store->dir->path);
        if (r == 0) {
            *ret = PLK_TAKE(kept);
            return 0;
        }
    }
    return plk_fail(err, PLK_ERROR_EXISTS, "'%s/%s.rescued-1' to -%d are all there; move some of them away",
                    store->dir->path, name, KEPT_MAX - 1);
}

int plk_rescue_set_aside(PlkStore *store, const char *name, char **ret_kept, PlkError *err)
{
    PLK_FREE char *kept = NULL;
    int r;

    if (find_kept_name(store, name, &kept, err) < 0)
        return -1;
    r = plk_dir_rename(store->dir, name, kept, false);
    if (r == 0)
        r = plk_dir_sync(store->dir);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_RENAME, r, "cannot rename '%s/%s' to '%s'", store->dir->path, name,
                           kept);
    *ret_kept = PLK_TAKE(kept);
    return 0;
}

/* What is kept of a file: its first bytes, and those from `tail` on, at their places. */
typedef struct Parts {
    uint64_t head, tail;
} Parts;

static const Parts whole = {.head = UINT64_MAX, .tail = UINT64_MAX};

static int copy_parts(PlkIo *to, PlkIo *from, uint64_t size, Parts parts, void *bounce)
{
    uint64_t head = PLK_MIN(parts.head, size), tail = PLK_MIN(PLK_MAX(parts.tail, head), size);
    int r = head ? plk_io_copy(to, 0, from, 0, head, NULL, bounce, COPY_BYTES, PLK_POINT_FILE_WRITE) : 0;

    if (r == 0 && tail < size)
        r = plk_io_copy(to, tail, from, tail, size - tail, NULL, bounce, COPY_BYTES, PLK_POINT_FILE_WRITE);
    return r;
}

/* A copy under a name of its own, durable. */
static int keep_copy(PlkStore *store, const char *name, const char *kept, Parts parts)
{
    plk_cleanup(plk_io_closep) PlkIo *from = NULL, *to = NULL;
    PLK_FREE void *bounce = plk_malloc(COPY_BYTES);
    int r = bounce ? plk_dir_open_file(store->dir, name, 0, 0, &from) : -ENOMEM;
    uint64_t size;

    if (r == 0)
        r = plk_io_size(from, &size);
    if (r == 0)
        r = plk_dir_create_unnamed(store->dir, TABLE_MODE, &to);
    if (r == 0)
        r = copy_parts(to, from, size, parts, bounce);
    if (r == 0)
        r = plk_io_sync(to, PLK_POINT_FILE_SYNC);
    if (r == 0)
        r = plk_dir_link(store->dir, to, kept);
    return r < 0 ? r : plk_dir_sync(store->dir);
}

static int keep(PlkStore *store, const char *name, const char *as, Parts parts, char **ret_kept,
                PlkError *err)
{
    PLK_FREE char *kept = NULL;
    int r;

    if (find_kept_name(store, as, &kept, err) < 0)
        return -1;
    r = keep_copy(store, name, kept, parts);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot keep a copy of '%s/%s' as '%s'",
                           store->dir->path, name, kept);
    *ret_kept = PLK_TAKE(kept);
    return 0;
}

/* Up to the first block; of a header that cannot be read, as much as the smallest cluster. */
static uint64_t table_bytes(PlkStore *store, const char *name)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader header;
    size_t got;

    if (plk_dir_open_file(store->dir, name, 0, 0, &io) < 0 ||
        plk_io_read_upto(io, buf, sizeof buf, 0, &got, PLK_POINT_OPEN_READ) < 0 ||
        plk_header_decode(buf, got, name, PLK_HEADER_STRICT, &header, NULL) < 0)
        return (uint64_t)PLK_CLUSTER_SECTORS_MIN * PLK_SECTOR;
    return (uint64_t)header.first_block_sectors * PLK_SECTOR;
}

static int note_tail(void *arg, const PlkFinding *finding)
{
    if (finding->kind == PLK_FOUND_TAIL)
        *(uint64_t *)arg = finding->offset;
    return 0;
}

static unsigned repairs(bool lossy)
{
    return PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE | (lossy ? PLK_REPAIR_LOSSY : 0);
}

int plk_rescue_keep_table(PlkStore *store, const char *name, bool lossy, char **ret_kept, PlkError *err)
{
    PlkCheckOptions look = {.struct_size = sizeof look, .repair = repairs(lossy), .dry_run = true};
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    Parts parts = {.head = table_bytes(store, name), .tail = UINT64_MAX};
    PLK_FREE char *as = plk_printf("%s.table", name);
    PlkCheckResult result = {0};
    int r = plk_dir_open_file(store->dir, name, 0, 0, &io);

    if (!as)
        return plk_fail_nomem(err);
    if (r < 0)
        return plk_chain_fail_open(store->dir, name, r, err);
    if (plk_image_check(io, 0, &look, note_tail, &parts.tail, NULL, &result, NULL, err) < 0)
        return -1;
    return lossy || result.fixed ? keep(store, name, as, parts, ret_kept, err) : 0;
}

/* ---- writing ---- */

/* In one step, by way of a file that has no name until it is whole. */
static int publish(PlkStore *store, const char *name, const char *text)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    int r = plk_dir_create_unnamed(store->dir, DESCRIPTOR_MODE, &io);

    if (r == 0)
        r = plk_io_write(io, text, strlen(text), 0, PLK_POINT_FILE_WRITE);
    if (r == 0)
        r = plk_io_sync(io, PLK_POINT_FILE_SYNC);
    if (r == 0)
        r = plk_dir_unlink(store->dir, PLK_RESCUE_TEMPORARY); /* of a rescue that was cut short here */
    if (r == 0 || r == -ENOENT)
        r = plk_dir_link(store->dir, io, PLK_RESCUE_TEMPORARY);
    if (r == 0)
        r = plk_dir_rename(store->dir, PLK_RESCUE_TEMPORARY, name, true);
    return r < 0 ? r : plk_dir_sync(store->dir);
}

int plk_rescue_publish(PlkStore *store, const char *name, const char *text, PlkError *err)
{
    int r = publish(store, name, text);

    return r < 0 ? plk_fail_io(err, PLK_ERROR_CREATE, r, "cannot write descriptor '%s/%s'", store->dir->path,
                               name)
                 : 0;
}

/* As a copy, so that there is one at any time; a link, which is not followed, itself. */
static int keep_descriptor(PlkStore *store, char **ret_kept, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    int r = plk_dir_open_file(store->dir, store->name, 0, 0, &io);

    if (r == -ENOENT)
        return 0;
    if (r == -ELOOP || r == -EINVAL)
        return plk_rescue_set_aside(store, store->name, ret_kept, err);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_OPEN, r, "'%s'", store->path);
    return keep(store, store->name, store->name, whole, ret_kept, err);
}

int plk_rescue_replace_descriptor(PlkStore *store, const char *text, const PlkRescueOptions *options,
                                  PlkError *err)
{
    PlkRescueAction action = {.kind = PLK_RESCUE_WRITE, .file = store->name, .what = "write the descriptor"};
    PLK_FREE char *kept = NULL;

    if (keep_descriptor(store, &kept, err) < 0)
        return -1;
    if (plk_rescue_publish(store, store->name, text, err) < 0)
        return -1;
    if (options->done)
        options->done(options->arg, &action, kept);
    return 0;
}

/* ---- images ---- */

/* Long enough for its table: the part that was cut off reads as zeros, and so as "not allocated". */
static int extend(PlkIo *io, PlkError *err)
{
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader header;
    uint64_t size;
    int r = plk_io_read(io, buf, sizeof buf, 0, PLK_POINT_OPEN_READ);

    if (r == 0)
        r = plk_io_size(io, &size);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_READ, r, "image '%s'", io->name);
    if (plk_header_decode(buf, sizeof buf, io->name, PLK_HEADER_STRICT, &header, NULL) < 0 ||
        size >= (uint64_t)header.first_block_sectors * PLK_SECTOR)
        return 0;
    r = plk_io_truncate(io, (uint64_t)header.first_block_sectors * PLK_SECTOR, PLK_POINT_META_INIT);
    if (r == 0)
        r = plk_io_sync(io, PLK_POINT_META_SYNC);
    return r < 0 ? plk_fail_io(err, PLK_ERROR_TRUNCATE, r, "cannot extend image '%s'", io->name) : 0;
}

static int note_version(void *arg, const PlkFinding *finding)
{
    *(bool *)arg |= finding->kind == PLK_FOUND_VERSION;
    return 0;
}

/* Every entry makes sense in the other version alone: it is the header that is wrong. */
static int correct_version(PlkIo *io, const PlkProgress *progress, PlkError *err)
{
    PlkCheckOptions look = {.struct_size = sizeof look};
    uint8_t buf[PLK_HEADER_BYTES];
    PlkCheckResult result = {0};
    bool wrong = false;
    PlkHeader header;
    int r;

    if (plk_image_check(io, 0, &look, note_version, &wrong, progress, &result, NULL, err) < 0)
        return -1;
    r = wrong ? plk_io_read(io, buf, sizeof buf, 0, PLK_POINT_OPEN_READ) : 0;
    if (!wrong ||
        (r == 0 && plk_header_decode(buf, sizeof buf, io->name, PLK_HEADER_STRICT, &header, NULL) < 0))
        return 0;
    header.version = header.version == 1 ? 2 : 1;
    header.in_use = PLK_IN_USE_OPEN; /* what the check that follows takes off */
    plk_header_encode(&header, buf);
    if (r == 0)
        r = plk_io_write(io, buf, sizeof buf, 0, PLK_POINT_META_HEADER);
    if (r == 0)
        r = plk_io_sync(io, PLK_POINT_META_SYNC);
    return r < 0 ? plk_fail_io(err, PLK_ERROR_WRITE, r, "cannot write the header of image '%s'", io->name)
                 : 0;
}

static int ignore_finding(void *arg, const PlkFinding *finding)
{
    return 0;
}

int plk_rescue_repair(PlkStore *store, const char *name, bool lossy, const PlkProgress *progress,
                      PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    PlkCheckOptions options = {
        .struct_size = sizeof options,
        .repair = repairs(lossy),
    };
    PlkCheckResult result = {0};
    int r = plk_dir_open_file(store->dir, name, PLK_OPEN_WRITE, 0, &io);

    if (r < 0)
        return plk_chain_fail_open(store->dir, name, r, err);
    r = plk_io_lock(io, PLK_IO_LOCK_EXCLUSIVE);
    if (r < 0)
        return plk_fail_locked(err, io, r);
    if (lossy && (extend(io, err) < 0 || correct_version(io, progress, err) < 0))
        return -1;
    if (plk_image_check(io, 0, &options, ignore_finding, NULL, progress, &result, NULL, err) < 0)
        return -1;
    if (result.left)
        return plk_fail(err, PLK_ERROR_FORMAT, "image '%s': %llu faults are left that can not be repaired",
                        io->name, (unsigned long long)result.left);
    return 0;
}

/* ---- choosing ---- */

int plk_rescue_choose(PlkRescue *r, const PlkRescueOptions *options, PlkRescuePlan **ret, PlkError *err)
{
    unsigned n = options->proposal ? options->proposal : 1;

    if (r->n_plans == 0)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "%s", r->verdict);
    if (n > r->n_plans)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "there are only %zu proposals, no number %u", r->n_plans, n);
    if (options->proposal == 0 && r->plans[0].shown.confidence == PLK_RESCUE_GUESS)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "proposal 1 (%s) is only a guess: look at it (--try=1), and name it by "
                        "its number if it is right; nothing was changed",
                        r->plans[0].shown.title);
    *ret = &r->plans[n - 1];
    return 0;
}

static int refuse(const PlkRescuePlan *plan, const PlkRescueOptions *options, PlkError *err)
{
    for (size_t i = 0; i < plan->shown.n_actions; i++) {
        const PlkRescueAction *a = &plan->shown.actions[i];

        if (a->kind == PLK_RESCUE_CANNOT)
            return plk_fail(err, PLK_ERROR_ARGUMENT, "%s; nothing was changed", a->what);
        if (a->kind == PLK_RESCUE_REPAIR_LOSSY && !options->lossy)
            return plk_fail(err, PLK_ERROR_ARGUMENT,
                            "%s; this loses %s: allow it (-F), or look first (--try); nothing "
                            "was changed",
                            a->what, a->loss);
    }
    return 0;
}

/* ---- the actions ---- */

typedef struct Applying {
    PlkStore *store;
    const PlkRescuePlan *plan;
    const PlkRescueOptions *options;
    const PlkProgress *progress;
} Applying;

static int roll_back(const Applying *a, PlkError *err)
{
    if (plk_store_load(a->store, err) < 0)
        return -1;
    return plk_version_recover(a->store, err);
}

static int convert(const Applying *a, PlkError *err)
{
    if (plk_store_load(a->store, err) < 0)
        return -1;
    return plk_store_convert_version(a->store, 2, a->progress, err);
}

static int carry_out(const Applying *a, const PlkRescueAction *action, char **ret_kept, PlkError *err)
{
    bool lossy = action->kind == PLK_RESCUE_REPAIR_LOSSY;

    switch (action->kind) {
    case PLK_RESCUE_WRITE:
        return plk_rescue_replace_descriptor(a->store, a->plan->shown.descriptor, a->options, err);
    case PLK_RESCUE_REPAIR:
    case PLK_RESCUE_REPAIR_LOSSY:
        if (plk_rescue_keep_table(a->store, action->file, lossy, ret_kept, err) < 0)
            return -1;
        return plk_rescue_repair(a->store, action->file, lossy, a->progress, err);
    case PLK_RESCUE_ROLL_BACK:
        return roll_back(a, err);
    case PLK_RESCUE_CONVERT:
        return convert(a, err);
    case PLK_RESCUE_ASIDE:
        return plk_rescue_set_aside(a->store, action->file, ret_kept, err);
    default:
        return 0;
    }
}

static int carry_out_all(const Applying *a, unsigned kinds, PlkError *err)
{
    for (size_t i = 0; i < a->plan->shown.n_actions; i++) {
        const PlkRescueAction *action = &a->plan->shown.actions[i];
        PLK_FREE char *kept = NULL;

        if (!(kinds & 1u << action->kind))
            continue;
        if (carry_out(a, action, &kept, err) < 0)
            return -1;
        if (a->options->done && action->kind != PLK_RESCUE_WRITE)
            a->options->done(a->options->arg, action, kept);
    }
    return 0;
}

/* Nothing that an operation said before it was cut short holds any more. */
static int forget_intent(PlkStore *store, PlkError *err)
{
    int r = plk_note_write_behind(store, "", true);

    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_WRITE, r, "cannot write to '%s.lck'", store->path);
    if (plk_store_load(store, NULL) == 0)
        plk_note_write(store);
    return 0;
}

static int apply(const Applying *a, PlkError *err)
{
    if (carry_out_all(a, 1u << PLK_RESCUE_WRITE, err) < 0 ||
        carry_out_all(a, 1u << PLK_RESCUE_REPAIR | 1u << PLK_RESCUE_REPAIR_LOSSY, err) < 0 ||
        carry_out_all(a, 1u << PLK_RESCUE_ROLL_BACK | 1u << PLK_RESCUE_CONVERT, err) < 0 ||
        carry_out_all(a, 1u << PLK_RESCUE_ASIDE, err) < 0)
        return -1;
    return forget_intent(a->store, err);
}

int plk_store_rescue_apply(PlkStore *store, const PlkRescueEvidence *evidence,
                           const PlkRescueOptions *options, const PlkProgress *progress, PlkError *err)
{
    Applying a = {.store = store, .options = options, .progress = progress};
    PlkRescuePlan *plan;
    PlkRescue *r;
    int failed;

    if (plk_store_lock_only(store, err) < 0 ||
        plk_store_rescue_survey(store, evidence, progress, &r, err) < 0)
        return -1;
    if (plk_rescue_is_sound(r) && options->proposal == 0) {
        plk_rescue_free(r);
        return 0;
    }
    if (r->trying) {
        plk_rescue_free(r);
        return plk_fail(err, PLK_ERROR_BUSY, "'%s/%s' is there: keep that try or drop it first",
                        store->dir->path, PLK_RESCUE_TRY_NAME);
    }
    failed = plk_rescue_choose(r, options, &plan, err) < 0 || refuse(plan, options, err) < 0;
    if (!failed) {
        a.plan = plan;
        failed = apply(&a, err) < 0;
    }
    plk_rescue_free(r);
    return failed ? -1 : 0;
}

int plk_rescue_clear_up(PlkStore *store, const PlkRescueOptions *options, const PlkProgress *progress,
                        PlkError *err)
{
    Applying a = {.store = store, .options = options, .progress = progress};
    PlkRescue *r;
    int failed = 0;

    if (plk_store_rescue_survey(store, NULL, progress, &r, err) < 0)
        return -1;
    for (size_t i = 0; !failed && i < r->n_plans; i++) {
        a.plan = &r->plans[i];
        failed = !a.plan->writes && carry_out_all(&a, 1u << PLK_RESCUE_ASIDE, err) < 0;
    }
    plk_rescue_free(r);
    return failed ? -1 : forget_intent(store, err);
}
