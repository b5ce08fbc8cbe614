/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repairs: an image is damaged on purpose, in several ways at once, and checked with all repairs. After a
 * crash of that the same check, once, makes the image sound, and gives up nothing that the damage had left.
 */
#include "crash-walk.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/math.h"
#include "image/check.h"

#define CLUSTERS 6u
#define BIG (20000ull * CLUSTER_SECTORS) /* so that its header and BAT take three clusters */

static const ImageKind expanded = {PLK_FORMAT_EXPANDED, 2}, version_1 = {PLK_FORMAT_EXPANDED, 1};

/* ---- the file as it stands ---- */

static PlkIo *open_image(World *w)
{
    PlkIo *io;

    MUST_BE(plk_dir_open_file(w->dir, "root.hds", PLK_OPEN_WRITE, 0, &io) == 0);
    return io;
}

static void read_header(PlkIo *io, PlkHeader *ret)
{
    uint8_t buf[PLK_HEADER_BYTES];

    MUST_BE(plk_io_read(io, buf, sizeof buf, 0, PLK_POINT_OPEN_READ) == 0);
    MUST(plk_header_decode(buf, sizeof buf, "root.hds", PLK_HEADER_LOOSE, ret, &must_error));
}

static void write_header(PlkIo *io, const PlkHeader *header)
{
    uint8_t buf[PLK_HEADER_BYTES];

    plk_header_encode(header, buf);
    MUST_BE(plk_io_write(io, buf, sizeof buf, 0, PLK_POINT_META_HEADER) == 0);
}

static uint32_t read_entry(PlkIo *io, const PlkHeader *h, uint32_t slot)
{
    uint32_t cluster;
    uint8_t bytes[4];

    MUST_BE(plk_io_read(io, bytes, sizeof bytes, plk_bat_offset(slot), PLK_POINT_BAT_READ) == 0);
    plk_bat_decode(h->version, h->cluster_sectors, bytes, &cluster, 1);
    return cluster;
}

static void write_entry(PlkIo *io, const PlkHeader *h, uint32_t slot, uint32_t cluster, uint32_t off)
{
    uint32_t value = cluster * (h->version == 1 ? h->cluster_sectors : 1) + off;
    PlkLe32 entry = plk_to_le32(value);

    MUST_BE(plk_io_write(io, &entry, sizeof entry, plk_bat_offset(slot), PLK_POINT_META_BAT) == 0);
}

/* ---- damage: each a function of the file, with a word to the oracle where something is lost ---- */

typedef void Damage(World *w, PlkIo *io, PlkHeader *h);

static void leave_in_use(World *w, PlkIo *io, PlkHeader *h)
{
    h->in_use = PLK_IN_USE_OPEN;
}

static void set_empty(World *w, PlkIo *io, PlkHeader *h)
{
    h->flags ^= PLK_FLAG_EMPTY;
}

static void set_converting(World *w, PlkIo *io, PlkHeader *h)
{
    if (h->in_use == PLK_IN_USE_CLOSED)
        h->flags |= PLK_FLAG_CONVERT;
}

static void name_extension(World *w, PlkIo *io, PlkHeader *h)
{
    h->ext_sector = 5 * CLUSTER_SECTORS;
}

static void add_tail(World *w, PlkIo *io, PlkHeader *h)
{
    static uint32_t words[128 * 8];
    uint64_t size;

    MUST_BE(plk_io_size(io, &size) == 0);
    size = plk_round_up(size, CLUSTER_BYTES) + chance(2) * CLUSTER_BYTES;
    for (unsigned i = 0; i < 8; i++)
        render(words + i * 128, 7 + i, 0xdead);
    MUST_BE(plk_io_write(io, words, sizeof words, size, PLK_POINT_DATA_WRITE) == 0);
}

/* The end of the last cluster is gone, and reads as zeros. */
static void cut_short(World *w, PlkIo *io, PlkHeader *h)
{
    uint64_t size;

    MUST_BE(plk_io_size(io, &size) == 0);
    if (size % CLUSTER_BYTES || size / 512 <= h->first_block_sectors)
        return;
    for (unsigned slot = 0; slot < CLUSTERS; slot++)
        for (unsigned i = CLUSTER_SECTORS - 8;
             read_entry(io, h, slot) == size / CLUSTER_BYTES - 1 && i < CLUSTER_SECTORS; i++)
            world_remember(w, slot * CLUSTER_SECTORS + i, 0);
    MUST_BE(plk_io_truncate(io, size - 4096, PLK_POINT_TAIL_TRUNCATE) == 0);
}

static uint32_t free_slot(World *w, PlkIo *io, const PlkHeader *h)
{
    for (uint32_t slot = chance(CLUSTERS); slot < CLUSTERS; slot++)
        if (read_entry(io, h, slot) == 0)
            return slot;
    return UINT32_MAX;
}

static bool is_shared(const World *w, uint32_t slot)
{
    bool shared = w->alias[slot];

    for (unsigned i = 0; i < CLUSTERS; i++)
        shared |= w->alias[i] == slot + 1;
    return shared;
}

static uint32_t used_slot(World *w, PlkIo *io, const PlkHeader *h)
{
    for (uint32_t slot = chance(CLUSTERS); slot < CLUSTERS; slot++)
        if (read_entry(io, h, slot) != 0 && !is_shared(w, slot))
            return slot;
    return UINT32_MAX;
}

/* Beside the disk's own entries, or in a block of their own. */
static void name_beyond_device(World *w, PlkIo *io, PlkHeader *h)
{
    write_entry(io, h, h->bat_entries + chance(2) * 2000 + chance(3), 1 + chance(9), 0);
}

static void name_beyond_file(World *w, PlkIo *io, PlkHeader *h)
{
    uint32_t slot = free_slot(w, io, h);

    if (slot != UINT32_MAX)
        write_entry(io, h, slot, 1000 + slot, 0);
}

static void name_header(World *w, PlkIo *io, PlkHeader *h)
{
    uint32_t slot = free_slot(w, io, h);

    if (slot != UINT32_MAX && h->first_block_sectors > CLUSTER_SECTORS)
        write_entry(io, h, slot, 1, 0);
}

static void misalign(World *w, PlkIo *io, PlkHeader *h)
{
    uint32_t slot = used_slot(w, io, h);

    if (slot == UINT32_MAX || h->version != 1)
        return;
    write_entry(io, h, slot, read_entry(io, h, slot), 3);
    world_forget(w, slot, 1);
}

/* Two slots, one cluster: each is to have what it reads as now. */
static void share(World *w, PlkIo *io, PlkHeader *h)
{
    uint32_t one = used_slot(w, io, h), other = free_slot(w, io, h);

    if (one == UINT32_MAX || other == UINT32_MAX || read_entry(io, h, one) > 100)
        return;
    write_entry(io, h, other, read_entry(io, h, one), 0);
    w->alias[other] = one + 1;
}

/* One of three numbers that the two others contradict. */
static void lie(World *w, PlkIo *io, PlkHeader *h)
{
    switch (chance(3)) {
    case 0:
        h->first_block_sectors = chance(2) ? 0 : h->first_block_sectors + 1;
        break;
    case 1:
        h->bat_entries = chance(2) ? 0 : 90000;
        break;
    default:
        h->size_sectors = chance(2) ? 0 : 90000ull * CLUSTER_SECTORS;
    }
}

/* ---- the repair ---- */

static bool repair(Exam *x)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .sparse = x->w->fills,
                         .repair = PLK_REPAIR_LOSSLESS | PLK_REPAIR_LOSSY | PLK_REPAIR_IN_USE |
                                   (x->w->fills ? PLK_REPAIR_SPARSE : 0u)};
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    PlkCheckResult result = {0};
    PlkError err;

    if (plk_dir_open_file(x->dir, "root.hds", PLK_OPEN_WRITE, 0, &io) < 0)
        return exam_wrong(x, "the image is gone");
    if (plk_image_check(io, 0, &o, exam_note_finding, x, NULL, &result, NULL, &err) < 0)
        return exam_wrong(x, "the repair fails: %s", err.message);
    return result.left == 0;
}

/* The end of the file is mended after the header says that all else is. */
static int note_unless_length(void *arg, const PlkFinding *f)
{
    bool is_length = f->kind == PLK_FOUND_TAIL || f->kind == PLK_FOUND_FILE_LENGTH;

    return !is_length && f->rank != PLK_FINDING_INFO ? exam_note_finding(arg, f), 1 : 0;
}

/* What was left in use and is closed now has been mended. */
static bool exam_mark(Exam *x)
{
    PlkCheckOptions o = {.struct_size = sizeof o};
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    PlkCheckResult result = {0};

    if (plk_dir_open_file(x->dir, "root.hds", 0, 0, &io) < 0)
        return exam_wrong(x, "the image is gone");
    return plk_image_is_closed(io) != 1 ||
           plk_image_check(io, 0, &o, note_unless_length, x, NULL, &result, NULL, NULL) == 0;
}

static bool exam_repaired(Exam *x)
{
    if (x->w->choice && !exam_mark(x))
        return false;
    if (x->position >= x->w->done && !exam_image_is_sound(x, "root.hds", false))
        return false;
    return exam_disk(x);
}

static void damage(World *w, Damage *const *ways, unsigned n)
{
    PlkIo *io = open_image(w);
    PlkHeader header;

    read_header(io, &header);
    for (unsigned i = 0; i < n; i++)
        if (n == 1 || chance(2))
            ways[i](w, io, &header);
    write_header(io, &header);
    w->choice = header.in_use == PLK_IN_USE_OPEN;
    plk_io_close(io);
}

static void repair_and(bool fills, World *w, ImageKind kind, bool big, Damage *const *ways, unsigned n)
{
    Exam x = {.w = w};
    PlkImage *img;

    world_bare(w, kind, CLUSTERS);
    if (big) {
        world_resized(w, BIG);
        MUST(plk_chain_open_image(w->dir, "root.hds", PLK_IMAGE_WRITE, false, 0, &img, &must_error));
        MUST(plk_image_grow(img, BIG, NULL, &must_error));
        MUST(plk_image_close(img, &must_error));
    }
    world_session(w, 8);
    damage(w, ways, n);
    world_ready(w);
    w->fills = fills;
    w->damaged = true;
    w->recover = repair;
    w->judge = exam_repaired;
    x.dir = w->dir;
    if (!repair(&x))
        must_die(__FILE__, __LINE__, "damage that is not repaired: %s", x.what);
    w->done = world_now(w);
    world_acknowledge(w);
}

static void repair_after(World *w, ImageKind kind, bool big, Damage *const *ways, unsigned n)
{
    repair_and(false, w, kind, big, ways, n);
}

static void repair_header(World *w)
{
    Damage *const ways[] = {leave_in_use, set_empty, set_converting, name_extension};

    repair_after(w, expanded, false, ways, 4);
}

static void repair_geometry(World *w)
{
    Damage *const ways[] = {lie};

    repair_after(w, chance(2) ? version_1 : expanded, chance(2), ways, 1);
}

static void repair_end(World *w)
{
    Damage *const ways[] = {leave_in_use, cut_short, add_tail};

    repair_after(w, expanded, false, ways, 3);
}

static void repair_entries(World *w)
{
    Damage *const ways[] = {leave_in_use, name_beyond_device, name_beyond_file, set_empty, add_tail};

    repair_after(w, expanded, false, ways, 5);
}

static void repair_entries_version_1(World *w)
{
    Damage *const ways[] = {misalign, leave_in_use, name_beyond_device, misalign, cut_short};

    repair_after(w, version_1, false, ways, 5);
}

static void repair_entries_into_header(World *w)
{
    Damage *const ways[] = {name_header, leave_in_use, name_header, name_beyond_file};

    repair_after(w, expanded, true, ways, 4);
}

static void repair_shared(World *w)
{
    Damage *const ways[] = {share, share, share};

    repair_after(w, expanded, false, ways, 3);
}

/* Holes get real blocks; nothing of it may show. */
static void repair_holes(World *w)
{
    Damage *const ways[] = {leave_in_use, name_beyond_file, cut_short};

    repair_and(true, w, expanded, false, ways, 3);
}

static void repair_everything(World *w)
{
    Damage *const ways[] = {cut_short, share, name_header, name_beyond_device, misalign, name_beyond_file,
                            set_empty, name_extension, leave_in_use, share, add_tail};

    repair_after(w, chance(2) ? version_1 : expanded, chance(2), ways, 11);
}

/* ---- below a snapshot ---- */

static bool repair_all(Exam *x)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .lower = true,
                         .repair = PLK_REPAIR_LOSSLESS | PLK_REPAIR_LOSSY | PLK_REPAIR_IN_USE};
    PlkCheckResult result = {0};
    PlkError err;
    bool good;

    if (!exam_open_store(x))
        return false;
    good = plk_store_check(x->store, &o, exam_note_finding, x, NULL, &result, &err) == 0
               ? result.left == 0
               : exam_wrong(x, "the repair fails: %s", err.message);
    exam_close_store(x);
    return good;
}

static bool exam_repaired_below(Exam *x)
{
    if (x->position >= x->w->done && !exam_image_is_sound(x, "root.hds", false))
        return false;
    return exam_disk(x);
}

static void repair_below(World *w)
{
    Damage *const ways[] = {leave_in_use, name_beyond_file, set_empty, name_beyond_device, add_tail};
    Exam x = {.w = w};

    world_describe(w, chance(2) ? version_1 : expanded, CLUSTERS);
    world_session(w, 6);
    world_take(w);
    world_session(w, 4);
    damage(w, ways, 5);
    world_ready(w);
    w->damaged = true;
    w->recover = repair_all;
    w->judge = exam_repaired_below;
    x.dir = w->dir;
    if (!repair_all(&x))
        must_die(__FILE__, __LINE__, "damage that is not repaired: %s", x.what);
    w->done = world_now(w);
    world_acknowledge(w);
}

const ScenarioGroup repair_scenarios = {"repair", (const Scenario[]){
    {"repair-header", repair_header, 1},
    {"repair-geometry", repair_geometry, 1},
    {"repair-below", repair_below, 2},
    {"repair-end", repair_end, 1},
    {"repair-entries", repair_entries, 2},
    {"repair-entries-version-1", repair_entries_version_1, 2},
    {"repair-entries-into-header", repair_entries_into_header, 2},
    {"repair-shared", repair_shared, 3},
    {"repair-holes", repair_holes, 1},
    {"repair-everything", repair_everything, 4},
    {0},
}};
