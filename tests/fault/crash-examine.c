/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Examining one state; crash-examine.h lists what must hold. */
#include "crash-examine.h"

#include <stdarg.h>

#include "base/cleanup.h"
#include "base/math.h"
#include "image/check.h"
#include "io/memory.h"
#include "rescue/rescue.h"

#define PROBE 0xffffu
#define PROBE_SECTOR 3u /* of each cluster */
#define HOT_SECTORS 16u /* at both ends of a cluster: where most writes go */

bool exam_wrong(Exam *x, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(x->what, sizeof x->what, fmt, ap);
    va_end(ap);
    return false;
}

void exam_at(Exam *x, World *w, size_t position)
{
    x->w = w;
    x->position = position;
    x->probed = false;
    x->ack = &w->acks[0];
    for (size_t i = 1; i < w->n_acks && w->acks[i].position <= position; i++)
        x->ack = &w->acks[i];
}

/* ---- contents ---- */

static bool holds(const uint32_t *words, unsigned sector, Stamp stamp)
{
    uint32_t expected = stamp ? sector << 16 | stamp : 0;

    return words[0] == expected && memcmp(words, words + 1, 127 * sizeof *words) == 0;
}

/* What the last flush promised, or anything newer. */
static bool active_holds(const Exam *x, const uint32_t *words, unsigned sector)
{
    const World *w = x->w;

    if (x->probed && sector % CLUSTER_SECTORS == PROBE_SECTOR)
        return holds(words, sector, PROBE);
    if (w->alias[sector / CLUSTER_SECTORS])
        sector = (w->alias[sector / CLUSTER_SECTORS] - 1u) * CLUSTER_SECTORS + sector % CLUSTER_SECTORS;
    for (unsigned i = x->ack->newest[sector]; i <= w->newest[sector]; i++)
        if ((i == x->ack->newest[sector] || w->history[sector][i].from < x->position) &&
            holds(words, sector, w->history[sector][i].stamp))
            return true;
    return false;
}

/* Sectors whose last writes are to appear together. */
static void note_joint(Exam *x, const uint32_t *words, unsigned sector)
{
    const World *w = x->w;

    for (unsigned i = w->newest[sector]; i > 0; i--)
        if (w->history[sector][i].stamp == w->joint)
            x->joint[holds(words, sector, w->joint)]++;
}

static bool read_range(Exam *x, PlkDisk *disk, const Shot *shot, unsigned from, unsigned n)
{
    uint32_t buf[CLUSTER_SECTORS * 128], *words = buf;
    bool joint = !shot && !x->probed && x->w->joint && x->position < x->w->joint_until;
    int r = plk_disk_read(disk, buf, n * 512, from * 512ull);

    if (r < 0)
        return exam_wrong(x, "sector %u does not read: %s", from, strerror(-r));
    for (unsigned i = from; i < from + n; i++, words += 128) {
        if (joint)
            note_joint(x, words, i);
        if (shot ? !holds(words, i, shot->stamps[i]) : !active_holds(x, words, i))
            return exam_wrong(x, "%s: sector %u reads %08x %08x", shot ? shot->guid : "active state", i,
                              words[0], words[127]);
    }
    return true;
}

static bool read_cluster(Exam *x, PlkDisk *disk, const Shot *shot, unsigned first)
{
    if (x->thorough)
        return read_range(x, disk, shot, first, CLUSTER_SECTORS);
    return read_range(x, disk, shot, first, HOT_SECTORS) &&
           read_range(x, disk, shot, first + CLUSTER_SECTORS - HOT_SECTORS, HOT_SECTORS);
}

/* Behind what the oracle watches nobody wrote. */
static bool read_end(Exam *x, PlkDisk *disk, uint64_t size)
{
    uint32_t words[128];
    int r = size > x->w->sectors ? plk_disk_read(disk, words, 512, (size - 1) * 512) : 1;

    if (r < 0)
        return exam_wrong(x, "the last sector does not read: %s", strerror(-r));
    return r > 0 || holds(words, 0, 0) || exam_wrong(x, "the last sector reads %08x", words[0]);
}

static bool size_is_right(Exam *x, uint64_t size)
{
    const World *w = x->w;

    for (unsigned i = x->ack->size; i <= w->newest_size; i++)
        if (w->sizes[i].sectors == size && (i == x->ack->size || w->sizes[i].from < x->position))
            return true;
    return exam_wrong(x, "the disk has %llu sectors", (unsigned long long)size);
}

bool exam_read(Exam *x, PlkDisk *disk, const Shot *shot)
{
    uint64_t size = plk_disk_size(disk) / 512;

    memset(x->joint, 0, sizeof x->joint);
    if (!shot && !size_is_right(x, size))
        return false;
    for (unsigned first = 0; first < PLK_MIN(x->w->sectors, size); first += CLUSTER_SECTORS)
        if (!read_cluster(x, disk, shot, first))
            return false;
    if (x->joint[0] && x->joint[1])
        return exam_wrong(x, "%u sectors of the change are there, %u are not", x->joint[1], x->joint[0]);
    return read_end(x, disk, size);
}

/* ---- opening ---- */

static size_t bare_files(const Exam *x)
{
    const World *w = x->w;

    return w->collapse && x->position >= w->collapse ? w->n_after : w->n_files;
}

static int open_disk(Exam *x, const PlkGuid *guid, bool writable, PlkDisk **ret, PlkError *err)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = writable};

    if (x->w->bare)
        return plk_disk_open_chain(x->dir, x->w->files, bare_files(x), CLUSTER_SECTORS, &o, ret, err);
    return plk_store_open_state(x->store, guid, &o, ret, err);
}

static bool read_state(Exam *x, const Shot *shot)
{
    PlkGuid guid;
    PlkDisk *disk;
    PlkError err;
    bool good;

    if (shot)
        guid = world_guid(shot);
    if (open_disk(x, shot ? &guid : NULL, false, &disk, &err) < 0)
        return exam_wrong(x, "does not open: %s", err.message);
    good = exam_read(x, disk, shot);
    plk_disk_drop(disk);
    return good;
}

static bool read_shots(Exam *x)
{
    for (size_t i = 0; i < x->w->n_shots; i++) {
        const Shot *s = &x->w->shots[i];
        PlkGuid guid;

        bool listed =
            plk_guid_parse(s->guid, &guid) && plk_descriptor_find_shot(&x->store->desc, &guid) >= 0;

        if (!listed && x->position >= s->since && x->position < s->doomed)
            return exam_wrong(x, "snapshot %s is lost", s->guid);
        if (listed && x->position >= s->gone)
            return exam_wrong(x, "snapshot %s is still there", s->guid);
        if (listed && x->position < s->doomed && !read_state(x, s))
            return false;
    }
    return true;
}

bool exam_open_store(Exam *x)
{
    PlkError err;

    if (plk_store_open_dir(x->dir, DESCRIPTOR, &x->store, &err) < 0)
        return exam_wrong(x, "%s", err.message);
    if (plk_store_lock(x->store, &err) == 0)
        return true;
    exam_wrong(x, "descriptor: %s", err.message);
    exam_close_store(x);
    return false;
}

void exam_close_store(Exam *x)
{
    plk_store_abort(x->store);
    x->store->dir = NULL; /* it is not the store's own, and stays open */
    plk_store_close(PLK_TAKE(x->store));
}

/* ---- recovery ---- */

static bool settle_file(Exam *x, const PlkChainFile *file)
{
    unsigned flags = PLK_IMAGE_WRITE | (file->raw ? PLK_IMAGE_IS_RAW : 0);
    PlkImage *img;
    PlkError err;
    int r = 0;

    if (plk_chain_open_image(x->dir, file->path, flags, false, CLUSTER_SECTORS, &img, &err) < 0)
        return exam_wrong(x, "does not open for writing: %s", err.message);
    if (img->was_dirty)
        r = plk_image_prepare_write(img);
    if (r < 0) {
        exam_wrong(x, "'%s' does not recover: %s", file->path, img->damage.message);
        plk_image_drop(img);
        return false;
    }
    return plk_image_close(img, &err) == 0 || exam_wrong(x, "does not close: %s", err.message);
}

static bool settle_all(Exam *x)
{
    PlkError err;

    for (size_t i = 0; i < x->store->desc.n_images; i++)
        if (plk_store_settle(x->store, (int)i, &err) < 0)
            return exam_wrong(x, "does not recover: %s", err.message);
    return true;
}

bool exam_open_and_close(Exam *x)
{
    bool good = true;

    if (!x->w->bare) {
        good = exam_open_store(x);
        if (!good)
            return false;
        good = settle_all(x);
        exam_close_store(x);
        return good;
    }
    for (size_t i = 0; good && i < bare_files(x); i++)
        good = settle_file(x, &x->w->files[i]);
    return good;
}

bool exam_recover(Exam *x)
{
    return x->w->recover ? x->w->recover(x) : exam_open_and_close(x);
}

/* ---- soundness ---- */

int exam_note_finding(void *arg, const PlkFinding *f)
{
    Exam *x = arg;

    if (f->rank != PLK_FINDING_INFO)
        exam_wrong(x, "check finds %s in %s (slot %lld, value %llu)", plk_finding_name(f->kind), f->image,
                   (long long)f->slot, (unsigned long long)f->value);
    return 0;
}

bool exam_image_is_sound(Exam *x, const char *file, bool raw)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .cluster_sectors = CLUSTER_SECTORS, .raw = raw};
    PlkCheckResult result = {0};
    PlkError err;
    PlkIo *io;
    int r;

    if (plk_dir_open_file(x->dir, file, 0, 0, &io) < 0)
        return exam_wrong(x, "image '%s' is gone", file);
    r = plk_image_check(io, 0, &o, exam_note_finding, x, NULL, &result, NULL, &err);
    plk_io_close(io);
    if (r < 0)
        return exam_wrong(x, "check: %s", err.message);
    return result.left == 0;
}

static bool images_are_sound(Exam *x)
{
    bool good = true;

    if (x->w->bare) {
        for (size_t i = 0; good && i < bare_files(x); i++)
            good = exam_image_is_sound(x, x->w->files[i].path, x->w->files[i].raw);
        return good;
    }
    for (size_t i = 0; good && i < x->store->desc.n_images; i++)
        good = exam_image_is_sound(x, x->store->desc.images[i].file,
                                   plk_store_is_raw(&x->store->desc, (int)i));
    return good;
}

/* ---- files ---- */

static bool is_named(const Exam *x, const char *name)
{
    if (strcmp(name, DESCRIPTOR) == 0 || strcmp(name, DESCRIPTOR ".lck") == 0)
        return true;
    for (size_t i = 0; x->store && i < x->store->desc.n_images; i++)
        if (strcmp(x->store->desc.images[i].file, name) == 0)
            return true;
    for (size_t i = 0; i < x->w->n_files; i++)
        if (strcmp(x->w->files[i].path, name) == 0)
            return true;
    return false;
}

static bool is_allowed(const Exam *x, const char *name)
{
    static const char delta[] = "root.hds.{", backup[] = ".idx";
    unsigned leaves = x->w->leaves;
    size_t len = strlen(name);

    if (strstr(name, ".rescued-") || strcmp(name, PLK_RESCUE_TEMPORARY) == 0)
        return leaves & LEAVES_KEPT;
    if (strcmp(name, DESCRIPTOR ".tmp") == 0)
        return leaves & LEAVES_TMP;
    if (len > sizeof backup && strcmp(name + len + 1 - sizeof backup, backup) == 0)
        return leaves & LEAVES_BACKUP;
    if (strncmp(name, delta, sizeof delta - 1) == 0)
        return leaves & LEAVES_ORPHAN;
    if (strcmp(name, "root.hds") == 0)
        return leaves & (LEAVES_BASE | LEAVES_OLD);
    if (strcmp(name, "one.hds") == 0)
        return leaves & LEAVES_OLD;
    return strncmp(name, "new.", 4) == 0 && leaves & LEAVES_NEW;
}

static int note_name(void *arg, const char *name)
{
    Exam *x = arg;

    if (is_named(x, name) || is_allowed(x, name))
        return 0;
    exam_wrong(x, "'%s' is left behind", name);
    return 1;
}

bool exam_names(Exam *x)
{
    return plk_dir_list(x->dir, note_name, x) == 0;
}

/* ---- life goes on ---- */

/* One sector of each cluster is written anew, which copies up and allocates wherever it can. */
static bool write_again(Exam *x)
{
    uint32_t words[128];
    PlkDisk *disk;
    PlkError err;
    int r = 0;

    if (open_disk(x, NULL, true, &disk, &err) < 0)
        return exam_wrong(x, "does not open for writing: %s", err.message);
    for (unsigned i = PROBE_SECTOR; r == 0 && i < PLK_MIN(x->w->sectors, plk_disk_size(disk) / 512);
         i += CLUSTER_SECTORS) {
        render(words, i, PROBE);
        r = plk_disk_write(disk, words, sizeof words, i * 512ull);
    }
    if (r < 0) {
        plk_disk_explain(disk, r, &err);
        plk_disk_drop(disk);
        return exam_wrong(x, "can not be written to: %s", err.message);
    }
    x->probed = true;
    return plk_disk_close(disk, &err) == 0 || exam_wrong(x, "does not close: %s", err.message);
}

static bool recover_again(Exam *x)
{
    uint64_t before = plk_memdir_print(x->dir);

    if (!exam_recover(x))
        return false;
    return before == plk_memdir_print(x->dir) || exam_wrong(x, "a second recovery changes something");
}

/* Before anything is mended. A conversion of versions that was cut short is to be undone first. */
static bool read_as_is(Exam *x)
{
    PlkError err;
    PlkDisk *disk;
    bool good;

    if (open_disk(x, NULL, false, &disk, &err) < 0)
        return err.code == PLK_ERROR_DIRTY || exam_wrong(x, "does not open: %s", err.message);
    good = exam_read(x, disk, NULL);
    plk_disk_drop(disk);
    return good;
}

static bool look_before(Exam *x)
{
    PlkError err;
    bool good;

    if (x->w->bare)
        return read_as_is(x);
    if (plk_store_open_dir(x->dir, DESCRIPTOR, &x->store, &err) < 0)
        return exam_wrong(x, "%s", err.message);
    good = plk_store_load(x->store, &err) < 0 ? exam_wrong(x, "%s", err.message) : read_as_is(x);
    exam_close_store(x);
    return good;
}

static bool is_well(Exam *x)
{
    return images_are_sound(x) && read_state(x, NULL) && read_shots(x) && exam_names(x);
}

static bool live_on(Exam *x)
{
    if (!write_again(x))
        return false;
    return !x->hasty || (x->w->bare ? exam_open_and_close(x) : settle_all(x));
}

static bool look_after(Exam *x)
{
    bool good;

    if (!x->w->bare && !exam_open_store(x))
        return false;
    good = (x->hasty || is_well(x)) && (!(x->hasty || x->thorough) || (live_on(x) && is_well(x)));
    if (!x->w->bare)
        exam_close_store(x);
    return good;
}

bool exam_disk(Exam *x)
{
    if (x->thorough && !x->w->damaged && !look_before(x))
        return false;
    if (x->hasty && !x->w->damaged)
        return look_after(x);
    x->hasty = false;
    return exam_recover(x) && (!x->thorough || recover_again(x)) && look_after(x);
}

bool examine(Exam *x)
{
    x->probed = false;
    x->what[0] = '\0';
    return x->w->judge ? x->w->judge(x) : exam_disk(x);
}
