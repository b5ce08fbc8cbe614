/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One image file with any header, BAT and extension: opened, read, checked, repaired, written to.
 *
 * An input is a recipe, so that a BAT of 64 KiB is a few bytes to mutate: 2 bytes of choices, the header, the
 * file's length, then patches (see apply_patch). With MODE_RAW the rest of the input is the file itself.
 *
 * What must hold, whatever the file says:
 *  - looking writes nothing, and so does a check after a repair, which finds nothing it would repair;
 *  - what a guest reads is the same after a repair, but for clusters that a finding called lossy;
 *  - an image that is refused for writing is left alone; one that is not refused checks clean after a write;
 *  - memory is bounded by constants, the cluster size and what the file really holds of its BAT.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/math.h"
#include "format/extension.h"
#include "format/md5.h"
#include "fuzz.h"
#include "image/check.h"
#include "image/image.h"
#include "io/memory.h"

#define PATCHES_MAX 24
#define OFFSET_MASK 0xfffffffffull /* bitmaps over longer files take milliseconds, and are no different */
#define RAW_MAX 4096u
#define MEMORY_BOUND (64ull << 20)
#define FILLED_MAX (1u << 17) /* longer files are not given real blocks */
#define SAMPLE 16u /* bytes looked at, at either end of a cluster */
#define CONTENTS_MAX 1024
#define LOSSY_MAX 256

enum {
    MODE_RAW = 1 << 0,
    MODE_SIGNED = 1 << 1,  /* signature, type and cluster are made right ... */
    MODE_V2 = 1 << 2,      /* ... for this version */
    MODE_FITTED = 1 << 3,  /* first block and size are made right for the number of entries */
    MODE_CLOSED = 1 << 4,  /* the mark is "closed", or, if the header names an extension, "v2.1" */
    MODE_AS_IS = 1 << 5,   /* no repair before it is written to */
};

enum {
    CHOICE_SPARSE = 1 << 4,
    CHOICE_SKIP_CLEAN = 1 << 5,
};

/* ---- memory: what the engine asks for, by the linker's --wrap ---- */

static uint64_t asked, mapped; /* since the last step began; now */
static uint64_t bound;

void *__real_plk_malloc(size_t size);
void *__real_plk_calloc(size_t n, size_t size);
void *__real_plk_realloc(void *p, size_t n, size_t size);
void *__real_plk_map_zeroed(size_t size);
void __real_plk_unmap_zeroed(void *p, size_t size);
void *__wrap_plk_malloc(size_t size);
void *__wrap_plk_calloc(size_t n, size_t size);
void *__wrap_plk_realloc(void *p, size_t n, size_t size);
void *__wrap_plk_map_zeroed(size_t size);
void __wrap_plk_unmap_zeroed(void *p, size_t size);

static void count_memory(uint64_t size, bool map)
{
    *(map ? &mapped : &asked) += size;
    FUZZ_CHECK(!bound || asked + mapped <= bound, "asked for %llu bytes of memory, bound is %llu",
               (unsigned long long)(asked + mapped), (unsigned long long)bound);
}

void *__wrap_plk_malloc(size_t size)
{
    count_memory(size, false);
    return __real_plk_malloc(size);
}

void *__wrap_plk_calloc(size_t n, size_t size)
{
    count_memory((uint64_t)n * size, false);
    return __real_plk_calloc(n, size);
}

void *__wrap_plk_realloc(void *p, size_t n, size_t size)
{
    count_memory((uint64_t)n * size, false);
    return __real_plk_realloc(p, n, size);
}

void *__wrap_plk_map_zeroed(size_t size)
{
    count_memory(size, true);
    return __real_plk_map_zeroed(size);
}

void __wrap_plk_unmap_zeroed(void *p, size_t size)
{
    if (p)
        mapped -= size;
    __real_plk_unmap_zeroed(p, size);
}

/* What is called next has the bound for itself. */
static void begin_step(uint64_t limit)
{
    asked = 0;
    bound = limit;
}

/* ---- the file: one in memory, whose changes are counted ---- */

typedef struct Case {
    PlkMemoryNode *node;
    PlkHeader header;      /* as put into the file; of MODE_RAW too, if it has one */
    uint64_t limit;        /* of memory a step may ask for */
    uint64_t length;
    uint32_t mode, choices;
    uint32_t slot;         /* to write to in the end */
} Case;

static const PlkIoOps *memory;
static PlkIoOps watched; /* memory's, counting */
static unsigned n_changes;

static ssize_t watched_write(PlkIo *io, const void *buf, size_t len, uint64_t off, PlkPoint point)
{
    n_changes++;
    return memory->write(io, buf, len, off, point);
}

static int watched_truncate(PlkIo *io, uint64_t size, PlkPoint point)
{
    n_changes++;
    return memory->truncate(io, size, point);
}

static int watched_punch(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    n_changes++;
    return memory->punch(io, off, len, point);
}

static int watched_allocate(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point)
{
    n_changes++;
    return memory->allocate(io, off, len, point);
}

static PlkIo *open_file(const Case *k, bool writable)
{
    PlkIo *io;

    bound = 0;
    FUZZ_CHECK(plk_memory_open(k->node, "image", writable, &io) == 0, "out of memory");
    if (!memory) {
        memory = io->ops;
        watched = *memory;
        watched.write = watched_write;
        watched.truncate = watched_truncate;
        watched.punch = watched_punch;
        watched.allocate = watched_allocate;
    }
    io->ops = &watched;
    return io;
}

static void put(PlkIo *io, const void *bytes, size_t len, uint64_t off)
{
    FUZZ_CHECK(plk_io_write(io, bytes, len, off, PLK_POINT_META_INIT) == 0, "cannot make the image");
}

/* ---- from the input to a file ---- */

static uint64_t cluster_bytes(const PlkHeader *h)
{
    return plk_cluster_is_valid(h->cluster_sectors) ? (uint64_t)h->cluster_sectors * PLK_SECTOR : 32768;
}

static void fit_header(PlkHeader *h, uint32_t mode)
{
    if (mode & MODE_FITTED) {
        h->bat_entries %= 1u << 20;
        h->size_sectors = (uint64_t)h->bat_entries * h->cluster_sectors;
        h->first_block_sectors =
            (uint32_t)(plk_bat_area_bytes(h->bat_entries, h->cluster_sectors) / PLK_SECTOR);
    }
    if (mode & MODE_CLOSED)
        h->in_use = h->ext_sector ? PLK_IN_USE_CLOSED21 : PLK_IN_USE_CLOSED;
}

static void put_header(PlkIo *io, FuzzInput *in, Case *k)
{
    static const uint8_t signature[2][17] = {"WithoutFreeSpace", "WithouFreSpacExt"};
    uint8_t bytes[PLK_HEADER_BYTES];
    PlkHeader h;

    fuzz_take(in, bytes, sizeof bytes);
    if (k->mode & MODE_SIGNED) {
        memcpy(bytes, signature[k->mode & MODE_V2 ? 1 : 0], 16);
        memcpy(bytes + 16, (const uint8_t[4]){2}, 4);
        memcpy(bytes + 28, (const uint8_t[4]){64}, 4);
    }
    if (plk_header_decode(bytes, sizeof bytes, "input", PLK_HEADER_LOOSE, &h, NULL) == 0) {
        if (k->mode & MODE_SIGNED)
            fit_header(&h, k->mode);
        plk_header_encode(&h, bytes);
        k->header = h;
    }
    put(io, bytes, sizeof bytes, 0);
}

/* n entries from `slot` on, counting up by `step` clusters. */
static void put_entries(PlkIo *io, FuzzInput *in, const Case *k, uint32_t n)
{
    uint64_t slot = fuzz_number(in, 2);
    uint32_t cluster = (uint32_t)fuzz_number(in, 2), step = n > 1 ? fuzz_byte(in) : 0;

    for (uint32_t i = 0; i < n; i++, cluster += step) {
        PlkLe32 entry = plk_to_le32(k->header.version == 1 ? cluster * k->header.cluster_sectors : cluster);

        put(io, &entry, sizeof entry, PLK_HEADER_BYTES + 4 * (slot + i));
    }
}

static void put_bytes(PlkIo *io, FuzzInput *in)
{
    uint64_t offset = fuzz_number(in, 5) & OFFSET_MASK;
    uint8_t bytes[64];
    size_t n = fuzz_byte(in) % sizeof bytes + 1;

    fuzz_take(in, bytes, n);
    put(io, bytes, n, offset);
}

/* Bytes at either end of a cluster that tell it from others. */
static void put_tag(PlkIo *io, FuzzInput *in, const Case *k)
{
    uint64_t start = fuzz_number(in, 2) * cluster_bytes(&k->header);
    uint8_t tag[SAMPLE];

    memset(tag, (int)fuzz_byte(in), sizeof tag);
    put(io, tag, sizeof tag, start);
    put(io, tag, sizeof tag, start + cluster_bytes(&k->header) - sizeof tag);
}

/* A format extension with elements from the input, sealed with its checksum. */
static void put_extension(PlkIo *io, FuzzInput *in, const Case *k)
{
    static uint8_t cluster[32768];
    uint64_t start = fuzz_number(in, 2) * cluster_bytes(&k->header);
    size_t n = fuzz_byte(in);
    PlkLe64 magic = plk_to_le64(PLK_EXT_MAGIC);

    if (cluster_bytes(&k->header) != sizeof cluster)
        return;
    memset(cluster, 0, sizeof cluster);
    memcpy(cluster, &magic, sizeof magic);
    fuzz_take(in, cluster + 24, n);
    plk_md5(cluster + 24, sizeof cluster - 24, cluster + 8);
    put(io, cluster, 24 + n, start);
}

static void apply_patch(PlkIo *io, FuzzInput *in, const Case *k)
{
    switch (fuzz_byte(in) % 5) {
    case 0:
        put_entries(io, in, k, 1);
        break;
    case 1:
        put_entries(io, in, k, fuzz_byte(in) % 16 + 1);
        break;
    case 2:
        put_bytes(io, in);
        break;
    case 3:
        put_tag(io, in, k);
        break;
    default:
        put_extension(io, in, k);
    }
}

static void follow_recipe(PlkIo *io, FuzzInput *in, Case *k)
{
    put_header(io, in, k);
    k->length = fuzz_number(in, 6) & OFFSET_MASK;
    for (int i = 0; i < PATCHES_MAX && fuzz_left(in) > 0; i++)
        apply_patch(io, in, k);
    FUZZ_CHECK(plk_io_truncate(io, k->length, PLK_POINT_META_INIT) == 0, "cannot make the image");
}

static void make_file(FuzzInput *in, Case *k)
{
    PlkIo *io;

    k->mode = fuzz_byte(in);
    k->choices = fuzz_byte(in);
    k->slot = fuzz_byte(in);
    k->node = plk_memory_new();
    FUZZ_CHECK(k->node, "out of memory");
    io = open_file(k, true);
    if (k->mode & MODE_RAW) {
        put(io, in->at, PLK_MIN(fuzz_left(in), RAW_MAX), 0);
        plk_header_decode(in->at, fuzz_left(in), "input", PLK_HEADER_LOOSE, &k->header, NULL);
    } else {
        follow_recipe(io, in, k);
    }
    plk_io_close(io);
    k->limit = MEMORY_BOUND + 2 * cluster_bytes(&k->header);
}

/* The checksum of an extension in a big cluster takes its time, and shows nothing new. */
static bool is_slow(const Case *k)
{
    return k->header.in_use == PLK_IN_USE_CLOSED21 && k->header.ext_sector &&
           cluster_bytes(&k->header) > 128u << 10;
}

/* ---- what a guest reads ---- */

typedef struct Contents {
    bool readable; /* it can be opened */
    bool too_many;
    size_t n;
    struct {
        uint32_t slot;
        bool bad; /* cannot be read */
        uint8_t sample[2 * SAMPLE];
    } items[CONTENTS_MAX]; /* clusters that do not look like zeros, by slot */
    PlkImage *img;
} Contents;

static int read_page_items(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Contents *c = arg;
    uint64_t last = c->img->cluster_bytes - SAMPLE;

    for (uint32_t i = 0; i < PLK_BAT_PAGE_SLOTS; i++) {
        uint64_t at = (uint64_t)slots[i] << c->img->cluster_shift;

        if (slots[i] == PLK_SLOT_NONE || slots[i] == PLK_SLOT_BEYOND)
            continue;
        if (c->n == CONTENTS_MAX) {
            c->too_many = true;
            return 1;
        }
        memset(&c->items[c->n], 0, sizeof c->items[c->n]);
        c->items[c->n].slot = page * PLK_BAT_PAGE_SLOTS + i - PLK_BAT_FIRST_SLOT;
        c->items[c->n].bad = slots[i] == PLK_SLOT_BAD;
        if (slots[i] == PLK_SLOT_BAD) {
            c->n++;
            continue;
        }
        FUZZ_CHECK(plk_io_read(c->img->io, c->items[c->n].sample, SAMPLE, at, PLK_POINT_DATA_READ) == 0 &&
                       plk_io_read(c->img->io, c->items[c->n].sample + SAMPLE, SAMPLE, at + last,
                                   PLK_POINT_DATA_READ) == 0,
                   "slot %u cannot be read", c->items[c->n].slot);
        c->n += !plk_is_zero(c->items[c->n].sample, 2 * SAMPLE);
    }
    return 0;
}

static void read_contents(const Case *k, Contents *ret)
{
    PlkIo *io = open_file(k, false);
    PlkError err = {0};

    ret->n = 0;
    ret->too_many = false;
    begin_step(k->limit);
    ret->readable = plk_image_open(io, 0, 0, &ret->img, &err) == 0;
    if (!ret->readable) {
        FUZZ_CHECK(err.code && err.message[0], "refused without a word");
        plk_io_close(io);
        return;
    }
    FUZZ_CHECK(plk_image_walk_bat(ret->img, read_page_items, ret) >= 0, "the BAT cannot be read");
    plk_image_drop(ret->img);
}

/* ---- checks ---- */

static bool talking; /* with FUZZ_TALK in the environment: what is found */

typedef struct Findings {
    const char *last; /* fault */
    unsigned mended;  /* faults */
    uint64_t last_slot, last_value;
    unsigned n_faults; /* but for entries that no disk has, which writers never look at */
    bool repairing;
    unsigned n, fixed, n_lossy_slots;
    unsigned n_sparse, fixed_sparse; /* a repair of the file's length makes one more or less */
    uint64_t lossy_slots[LOSSY_MAX];
    bool lossy_elsewhere; /* about no slot, or too many */
} Findings;

static int take_finding(void *arg, const PlkFinding *f)
{
    Findings *all = arg;

    all->n++;
    if (talking)
        fprintf(stderr, "%s%s at %llu, value %llu\n", f->fixed ? "fixed " : "", plk_finding_name(f->kind),
                (unsigned long long)f->offset, (unsigned long long)f->value);
    if (f->kind == PLK_FOUND_SPARSE) {
        all->n_sparse++;
        all->fixed_sparse += f->fixed;
    }
    FUZZ_CHECK(f->meaning && f->meaning[0] && f->rank <= PLK_FINDING_FATAL, "a finding without words");
    FUZZ_CHECK(!f->fixed || all->repairing, "%s is repaired though nobody asked", plk_finding_name(f->kind));
    FUZZ_CHECK(!f->fixed || f->proposal, "%s is repaired without a proposal", plk_finding_name(f->kind));
    all->fixed += f->fixed;
    all->mended += f->fixed && f->rank > PLK_FINDING_INFO;
    if (f->rank > PLK_FINDING_INFO && f->kind != PLK_FOUND_BEYOND_DEVICE) {
        all->n_faults++;
        all->last = plk_finding_name(f->kind);
        all->last_slot = f->slot;
        all->last_value = f->value;
    }
    if (f->rank < PLK_FINDING_LOSSY)
        return 0;
    if (f->slot == PLK_NO_SLOT || f->count > 1 || all->n_lossy_slots == LOSSY_MAX)
        all->lossy_elsewhere = true;
    else
        all->lossy_slots[all->n_lossy_slots++] = f->slot;
    return 0;
}

static PlkCheckResult check(const Case *k, unsigned repair, bool dry, Findings *ret)
{
    PlkCheckOptions options = {.struct_size = sizeof options,
                               .repair = repair,
                               .dry_run = dry,
                               .sparse = k->choices & CHOICE_SPARSE,
                               .skip_clean = k->choices & CHOICE_SKIP_CLEAN};
    PlkIo *io = open_file(k, repair && !dry);
    PlkCheckResult result = {0};
    PlkError err;

    *ret = (Findings){.repairing = repair != 0};
    n_changes = 0;
    if (talking)
        fprintf(stderr, "check, %s, repair %u\n", dry ? "dry" : "wet", repair);
    begin_step(k->limit);
    FUZZ_CHECK(plk_image_check(io, 0, &options, take_finding, ret, NULL, &result, NULL, &err) == 0,
               "the check failed: %s", err.message);
    plk_io_close(io);
    FUZZ_CHECK(n_changes == 0 || (repair && !dry), "a look made %u changes", n_changes);
    FUZZ_CHECK(ret->fixed == result.fixed, "%u findings fixed, result says %llu", ret->fixed,
               (unsigned long long)result.fixed);
    return result;
}

static bool is_lossy(const Findings *f, uint32_t slot)
{
    for (unsigned i = 0; i < f->n_lossy_slots; i++)
        if (f->lossy_slots[i] == slot)
            return true;
    return f->lossy_elsewhere;
}

/* Both are sorted by slot: what stands in one alone, or differs, must have been called lossy. */
static void compare_contents(const Contents *a, const Contents *b, const Findings *f)
{
    size_t i = 0, j = 0;

    if (!a->readable || a->too_many)
        return;
    FUZZ_CHECK(b->readable, "a repair made the image unreadable");
    while (i < a->n || j < b->n) {
        uint32_t first = i == a->n                             ? b->items[j].slot
                         : j == b->n                           ? a->items[i].slot
                         : a->items[i].slot < b->items[j].slot ? a->items[i].slot
                                                               : b->items[j].slot;
        bool in_a = i < a->n && a->items[i].slot == first, in_b = j < b->n && b->items[j].slot == first;

        FUZZ_CHECK((in_a && in_b && memcmp(&a->items[i], &b->items[j], sizeof a->items[i]) == 0) ||
                       is_lossy(f, first),
                   "cluster %u reads differently after a repair that called it sound", first);
        i += in_a;
        j += in_b;
    }
}

/* A short file grows to the end of its BAT when it is repaired, before its holes are filled. */
static bool is_long(const Case *k)
{
    return PLK_MAX(k->length, (uint64_t)k->header.first_block_sectors * PLK_SECTOR) > FILLED_MAX;
}

/* What is read afterwards: `before`, or `after` filled in. */
static const Contents *repair(const Case *k, const Contents *before, Contents *after)
{
    unsigned bits = k->choices & (is_long(k) ? 7u : 15u);
    static Findings looked, planned, done, again;
    PlkCheckResult first, second;

    if (!bits) {
        check(k, 0, false, &looked);
        return before;
    }
    check(k, bits, true, &planned);
    first = check(k, bits, false, &done);
    FUZZ_CHECK(planned.n - planned.n_sparse == done.n - done.n_sparse &&
                   planned.fixed - planned.fixed_sparse == done.fixed - done.fixed_sparse,
               "the dry run spoke of %u findings, %u to repair; the repair of %u, %u", planned.n,
               planned.fixed, done.n, done.fixed);
    second = check(k, bits, false, &again);
    FUZZ_CHECK(again.mended == 0, "a second repair mends %u faults, the last of them %s", again.mended,
               again.last);
    if (second.fixed > 0) /* what is odd may be tidied once nothing speaks against it any more */
        second = check(k, bits, false, &again);
    FUZZ_CHECK(n_changes == 0 && second.fixed == 0, "a repair of what was repaired made %u changes, %llu repairs",
               n_changes, (unsigned long long)second.fixed);
    FUZZ_CHECK(second.left == first.left, "%llu faults were left, now there are %llu",
               (unsigned long long)first.left, (unsigned long long)second.left);
    read_contents(k, after);
    compare_contents(before, after, &done);
    return after;
}

/* ---- writing ---- */

/* A new cluster for the slot, in place of the one it had. */
static void write_slot(PlkImage *img, uint32_t slot)
{
    uint32_t page = plk_bat_page(slot), slots[PLK_BAT_PAGE_SLOTS], cluster, old;
    static const uint8_t mark[SAMPLE] = "written by fuzz";

    if (plk_image_alloc_cluster(img, &cluster) < 0)
        return;
    FUZZ_CHECK(plk_io_write(img->io, mark, sizeof mark, plk_image_offset(img, cluster),
                            PLK_POINT_DATA_WRITE) == 0 &&
                   plk_image_read_page(img, page, slots) == 0,
               "cannot write");
    old = slots[plk_bat_index(slot)];
    slots[plk_bat_index(slot)] = cluster;
    if (old)
        FUZZ_CHECK(plk_image_free_cluster(img, old) == 0, "cannot free cluster %u", old);
    plk_image_seal_frees(img);
    FUZZ_CHECK(plk_image_may_name(img, slots), "the BAT page would name what it may not");
    FUZZ_CHECK(plk_image_write_page(img, page, slots) == 0, "cannot write a page");
    plk_image_release_frees(img);
}

static void check_clean(const Case *k)
{
    Case plain = *k;
    static Findings f;

    plain.choices = 0;
    check(&plain, 0, false, &f);
    FUZZ_CHECK(f.n_faults == 0, "%u faults after a write, one of them %s, slot %lld, value %llu",
               f.n_faults, f.last, (long long)f.last_slot,
               (unsigned long long)f.last_value);
}

static void write_to(const Case *k, const Contents *before)
{
    static Contents after;
    static Findings written;
    PlkImage *img;
    PlkError err;
    PlkIo *io = open_file(k, true);

    if (plk_image_open(io, PLK_IMAGE_WRITE, 0, &img, NULL) < 0) {
        plk_io_close(io);
        return;
    }
    n_changes = 0;
    begin_step(k->limit);
    if (plk_image_prepare_write(img) < 0) {
        FUZZ_CHECK(n_changes == 0, "an image refused for writing was changed");
        plk_image_drop(img);
        return;
    }
    written = (Findings){.n_lossy_slots = 1, .lossy_slots = {k->slot % PLK_MAX(1, plk_image_slots(img))}};
    if (plk_image_slots(img) > 0)
        write_slot(img, (uint32_t)written.lossy_slots[0]);
    FUZZ_CHECK(plk_image_close(img, &err) == 0, "cannot close: %s", err.message);
    check_clean(k);
    read_contents(k, &after);
    compare_contents(before, &after, &written);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    talking = getenv("FUZZ_TALK") != NULL;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Contents before, after;
    FuzzInput in = {data, data + size};
    Case k = {0};

    make_file(&in, &k);
    if (!is_slow(&k)) {
        read_contents(&k, &before);
        write_to(&k, k.mode & MODE_AS_IS ? &before : repair(&k, &before, &after));
    }
    bound = 0;
    plk_memory_unref(k.node);
    return 0;
}
