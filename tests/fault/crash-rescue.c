/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rescues. A disk is damaged, or an operation on it is cut short at a step that chance picks, and then it is
 * rescued. After a crash of that the same rescue, done again, makes the disk that it would have made
 * undisturbed: it holds what it held, the images below, too; no image has a fault; a survey finds nothing
 * more to do (once the rescue had returned, it did so without another); and of every file that was there before each byte is still there (kept.h).
 */
#include "crash-walk.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "rescue/rescue.h"
#include "kept.h"

#define CLUSTERS 3u
#define FILE_MAX (1u << 24)
#define IN_USE_AT 44
#define UNDOES 1 /* as choice of a world: the rescue puts back what a file was */

static const ImageKind expanded = {PLK_FORMAT_EXPANDED, 2}, raw = {PLK_FORMAT_RAW, 2};

static Kept original;

/* The backups of a version conversion are in the images when it is undone. */
static bool old_files_are_there(Exam *x)
{
    const char *lost = kept_find_lost(&original, x->dir);

    return !lost || x->w->choice == UNDOES || exam_wrong(x, "what '%s' held is lost", lost);
}

/* ---- rescuing ---- */

static bool open_unlocked(Exam *x)
{
    PlkError err;

    return plk_store_open_dir(x->dir, DESCRIPTOR, &x->store, &err) == 0 || exam_wrong(x, "%s", err.message);
}

static bool ask(Exam *x, bool *ret_sound)
{
    PlkRescue *rescue;
    PlkError err;
    bool good;

    if (!open_unlocked(x))
        return false;
    good = plk_store_rescue_survey(x->store, NULL, NULL, &rescue, &err) == 0;
    exam_close_store(x);
    if (!good)
        return exam_wrong(x, "survey: %s", err.message);
    *ret_sound = plk_rescue_is_sound(rescue);
    if (!*ret_sound)
        exam_wrong(x, "still to be rescued: %s", plk_rescue_verdict(rescue));
    plk_rescue_free(rescue);
    return true;
}

static bool apply(Exam *x)
{
    PlkRescueOptions o = {.struct_size = sizeof o, .proposal = 1, .lossy = true};
    bool sound, good;
    PlkError err;

    if (!ask(x, &sound))
        return false;
    if (sound)
        return true;
    if (!open_unlocked(x))
        return false;
    good = plk_store_rescue_apply(x->store, NULL, &o, NULL, &err) == 0;
    exam_close_store(x);
    return good || exam_wrong(x, "apply: %s", err.message);
}

static bool try_it(Exam *x)
{
    PlkRescueOptions o = {.struct_size = sizeof o, .proposal = 1};
    PlkError err;
    bool good;

    if (!open_unlocked(x))
        return false;
    good = plk_store_rescue_try(x->store, NULL, &o, NULL, &err) == 0;
    exam_close_store(x);
    return good || exam_wrong(x, "try: %s", err.message);
}

/* What a person does who finds a try: it is kept; then, if there is more to do, that. */
static bool keep(Exam *x)
{
    PlkRescueOptions o = {.struct_size = sizeof o};
    bool good = true;
    PlkError err;

    if (plk_dir_exists(x->dir, PLK_RESCUE_TRY_NAME) > 0) {
        if (!open_unlocked(x))
            return false;
        good = plk_store_rescue_keep(x->store, &o, NULL, &err) == 0;
        exam_close_store(x);
    }
    return good ? apply(x) : exam_wrong(x, "keep: %s", err.message);
}

static bool drop(Exam *x)
{
    PlkError err;
    bool good;

    if (!open_unlocked(x))
        return false;
    good = plk_store_rescue_drop(x->store, &err) == 0 || err.code == PLK_ERROR_NOT_FOUND;
    exam_close_store(x);
    return good ? apply(x) : exam_wrong(x, "drop: %s", err.message);
}

/* ---- judging ---- */

static bool exam_rescued(Exam *x)
{
    bool sound;

    if (x->position >= x->w->done && !(ask(x, &sound) && sound))
        return false;
    if (!exam_recover(x) || !old_files_are_there(x) || !ask(x, &sound) || !sound)
        return false;
    return exam_disk(x);
}

/* The states that an undisturbed rescue gave: each crash must lead to the same. */
static void adopt_shots(World *w)
{
    const PlkDescriptor *desc;
    PlkGuid at;

    world_open_store(w);
    desc = &w->store->desc;
    at = desc->top;
    for (size_t i = w->n_shots; i-- > 0;) {
        int shot = plk_descriptor_find_shot(desc, &at);

        MUST_BE(shot >= 0);
        at = desc->shots[shot].parent;
        MUST_BE(plk_descriptor_find_shot(desc, &at) >= 0);
        memcpy(w->shots[i].guid, at.text, sizeof at.text);
        w->shots[i].since = w->start;
    }
    world_close_store(w);
}

static void rescue(World *w, Judge *how, Judge *recover)
{
    Exam x = {.w = w, .dir = w->dir};
    bool sound;

    MUST_BE(kept_note(&original, w->dir));
    w->leaves = LEAVES_KEPT;
    w->nest_every = 3;
    w->damaged = true;
    w->judge = exam_rescued;
    w->recover = recover;
    if (!how(&x) || !recover(&x) || !ask(&x, &sound) || !sound || !old_files_are_there(&x))
        must_die(__FILE__, __LINE__, "not rescued: %s", x.what);
    w->done = world_now(w);
    world_acknowledge(w);
    adopt_shots(w);
}

static void rescue_now(World *w)
{
    world_ready(w);
    rescue(w, apply, apply);
}

/* ---- disks ---- */

static void one_image(World *w)
{
    world_describe(w, expanded, CLUSTERS);
    world_session(w, 8);
}

/* The uppermost of three is known by its mark: nobody closed it. */
static void chain(World *w, unsigned n_shots)
{
    one_image(w);
    for (unsigned i = 0; i < n_shots; i++) {
        world_take(w);
        world_session(w, 5);
    }
}

static void top_file(World *w, char *ret, size_t len)
{
    int i;

    world_open_store(w);
    i = plk_descriptor_find_image(&w->store->desc, &w->store->desc.top);
    snprintf(ret, len, "%s", w->store->desc.images[i].file);
    world_close_store(w);
}

/* Bytes that nobody asked for. */
static void scrawl(World *w, const char *file, const void *bytes, size_t n, uint64_t at)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;

    MUST_BE(plk_dir_open_file(w->dir, file, PLK_OPEN_WRITE, 0, &io) == 0);
    MUST_BE(plk_io_write(io, bytes, n, at, PLK_POINT_META_BAT) == 0);
}

static void leave_top_in_use(World *w)
{
    PlkLe32 mark = plk_to_le32(PLK_IN_USE_OPEN);
    char top[100];

    top_file(w, top, sizeof top);
    scrawl(w, top, &mark, sizeof mark, IN_USE_AT);
}

static void lose_descriptor(World *w)
{
    MUST_BE(plk_dir_unlink(w->dir, DESCRIPTOR) == 0);
}

static void garble_descriptor(World *w)
{
    static const char *const texts[] = {"<?xml", "", "<Parallels_disk_image></Parallels_disk_image>"};
    const char *text = texts[chance(3)];

    MUST_BE(plk_dir_publish_file(w->dir, DESCRIPTOR, text, strlen(text), 0600) == 0);
}

static void publish(World *w, const char *name, const char *text)
{
    MUST_BE(plk_dir_publish_file(w->dir, name, text, strlen(text), 0600) == 0);
}

/* ---- descriptors ---- */

static void rescue_image(World *w)
{
    one_image(w);
    lose_descriptor(w);
    rescue_now(w);
}

static void rescue_chain(World *w)
{
    chain(w, 2);
    leave_top_in_use(w);
    lose_descriptor(w);
    rescue_now(w);
}

static void rescue_garbled(World *w)
{
    chain(w, 1);
    garble_descriptor(w);
    rescue_now(w);
}

/* It was renamed, and that was lost; a guest had already written to what only it knows. */
static void rescue_by_successor(World *w)
{
    PLK_FREE char *old = NULL, *after = NULL;
    size_t len;

    chain(w, 1);
    MUST_BE(plk_dir_read_file(w->dir, DESCRIPTOR, FILE_MAX, &old, &len) == 0);
    world_take(w);
    world_open(w);
    world_put(w, 3, 5);
    world_close(w);
    leave_top_in_use(w);
    MUST_BE(plk_dir_read_file(w->dir, DESCRIPTOR, FILE_MAX, &after, &len) == 0);
    publish(w, DESCRIPTOR, old);
    publish(w, DESCRIPTOR ".tmp", after);
    rescue_now(w);
}

static void rescue_orphan(World *w)
{
    chain(w, 1);
    world_make_image(w, "root.hds.{12345678-1234-4123-8123-123456789abc}", expanded, w->sectors);
    rescue_now(w);
}

/* ---- images ---- */

static void put_entry(World *w, const char *file, uint32_t slot, uint32_t cluster)
{
    PlkLe32 entry = plk_to_le32(cluster);

    scrawl(w, file, &entry, sizeof entry, plk_bat_offset(slot));
}

/* A cluster of the top is lost: what is below shows through, here zeros. And a tail, which is kept. */
static void rescue_lossy(World *w)
{
    one_image(w);
    put_entry(w, "root.hds", 1, 1000);
    world_forget(w, 1, 1);
    if (chance(2))
        scrawl(w, "root.hds", "tail", 4, 40 * CLUSTER_BYTES);
    if (chance(2))
        leave_top_in_use(w);
    if (chance(2))
        lose_descriptor(w);
    rescue_now(w);
}

/* All entries that are left, one or more, name nothing. */
static void rescue_cut(World *w)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    char top[100];
    uint64_t size;

    chain(w, 1);
    top_file(w, top, sizeof top);
    world_open(w);
    world_put(w, chance(64), 1 + chance(8));
    world_close(w);
    MUST_BE(plk_dir_open_file(w->dir, top, PLK_OPEN_WRITE, 0, &io) == 0);
    size = plk_bat_offset(1 + chance(CLUSTERS)) + 700 * chance(2);
    MUST_BE(plk_io_truncate(io, size, PLK_POINT_TAIL_TRUNCATE) == 0);
    for (unsigned i = 0; i < w->sectors; i++)
        world_remember(w, i, w->shots[0].stamps[i]);
    if (chance(2)) { /* then nothing speaks for the top, which goes aside */
        lose_descriptor(w);
        w->n_shots = 0;
    }
    rescue_now(w);
}

/* ---- operations that were cut short ---- */

static unsigned by_chance(void *arg, unsigned n)
{
    return chance(n);
}

/* From here on the world is what a crash somewhere in the log left of it. */
static void crash_somewhere(World *w)
{
    plk_cleanup(plk_crash_freep) PlkCrash *crash = NULL;
    size_t at = w->start + chance((uint32_t)(world_now(w) - w->start));
    PlkRecord *record;
    PlkDir *state;

    MUST_BE(plk_crash_new(w->record, &crash) == 0);
    MUST_BE(plk_crash_advance(crash, at) == 0);
    MUST_BE(plk_crash_materialise(crash, chance(2) ? 512 : 4096, by_chance, NULL, &state) == 0);
    MUST_BE(plk_record_new_over(state, &record) == 0);
    plk_crash_free(PLK_TAKE(crash));
    world_free(w);
    w->record = record;
    MUST_BE(plk_record_open(w->record, &w->dir) == 0);
    for (unsigned i = 0; i < SECTORS_MAX; i++)
        MUST_BE(w->history[i][w->newest[i]].from <= w->start);
}

static void rescue_after_version(World *w)
{
    chain(w, 1);
    world_ready(w);
    world_open_store(w);
    MUST(plk_store_convert_version(w->store, 1, NULL, &must_error));
    world_close_store(w);
    crash_somewhere(w);
    w->choice = UNDOES;
    rescue_now(w);
}

static void rescue_after_format(World *w)
{
    bool to_raw = chance(2);

    world_describe(w, to_raw ? expanded : raw, CLUSTERS);
    world_session(w, 8);
    world_ready(w);
    world_open_store(w);
    MUST(plk_store_convert_format(w->store, to_raw ? PLK_FORMAT_RAW : PLK_FORMAT_EXPANDED, false, NULL,
                                  &must_error));
    world_close_store(w);
    crash_somewhere(w);
    rescue_now(w);
}

/* ---- tries ---- */

/* A free cluster's entry names nothing, so that the try needs a copy of the image. */
static void begin_try(World *w)
{
    one_image(w);
    world_open(w);
    world_discard(w, 1, 1);
    world_close(w);
    put_entry(w, "root.hds", 1, 1000);
    world_take(w);
    world_session(w, 5);
    leave_top_in_use(w);
    if (chance(2))
        lose_descriptor(w);
    world_ready(w);
}

static void rescue_tried_and_kept(World *w)
{
    begin_try(w);
    rescue(w, try_it, keep);
}

static bool try_and_drop(Exam *x)
{
    return try_it(x) && drop(x);
}

static void rescue_tried_and_dropped(World *w)
{
    begin_try(w);
    rescue(w, try_and_drop, drop);
}

const ScenarioGroup rescue_scenarios = {"rescue", (const Scenario[]){
    {"rescue-image", rescue_image, 1},
    {"rescue-chain", rescue_chain, 2},
    {"rescue-garbled", rescue_garbled, 2},
    {"rescue-by-successor", rescue_by_successor, 2},
    {"rescue-orphan", rescue_orphan, 1},
    {"rescue-lossy", rescue_lossy, 2},
    {"rescue-cut", rescue_cut, 2},
    {"rescue-after-version", rescue_after_version, 3},
    {"rescue-after-format", rescue_after_format, 2},
    {"rescue-tried-and-kept", rescue_tried_and_kept, 3},
    {"rescue-tried-and-dropped", rescue_tried_and_dropped, 3},
    {0},
}};
