/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The promises of a repair, held against images damaged at random. An oracle that knows nothing of the engine
 * reads the file's bytes: a slot whose entry names a cluster of data that the file holds has a reading, all
 * others have none. Whatever the damage,
 *
 *  - looking changes nothing, and a dry run tells what the repair then does;
 *  - a repair changes no reading, forced or not; what had none reads as zeros afterwards;
 *  - one that is not allowed everything it needs changes nothing at all;
 *  - the second repair finds nothing and leaves every byte as it was;
 *  - the engine takes writes again, which show in no other slot;
 *  - a repair that fails half way, at any call, is ended by the next one with the same readings.
 *
 * IMAGES=100000 in the environment makes more of them, SEED=n others. A failure prints what repeats it.
 */
#include <errno.h>

#include "format/extension.h"
#include "format/md5.h"
#include "image/check.h"
#include "io/fault.h"
#include "image.h"

#define CLUSTER 32768u
#define SECTORS 64u
#define SLOTS 24u
#define FORCE (PLK_REPAIR_LOSSLESS | PLK_REPAIR_LOSSY | PLK_REPAIR_IN_USE)

static PlkError err;

/* ---- chance ---- */

static uint64_t state;

static uint32_t chance(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % below;
}

static uint64_t number(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);

    return text ? strtoull(text, NULL, 0) : otherwise;
}

/* ---- the oracle ---- */

/* What a guest gets from a slot: the marks at both ends of its cluster, which tell all clusters apart. */
typedef struct Reading {
    bool named; /* by an entry that makes sense */
    uint64_t head, tail;
} Reading;

typedef struct Readings {
    Reading slot[SLOTS];
} Readings;

static uint64_t mark_at(PlkDir *dir, uint64_t offset)
{
    PlkIo *io = open_io(dir, false);
    PlkLe64 le;

    CHECK_INT(plk_io_read(io, &le, sizeof le, offset, PLK_POINT_DATA_READ), 0);
    plk_io_close(io);
    return plk_le64(le);
}

/* The entries as the geometry of the sound image reads them. */
static Readings read_all(PlkDir *dir, int version, uint32_t first)
{
    uint64_t clusters = (get_length(dir) + CLUSTER - 1) / CLUSTER;
    Readings all = {0};

    for (uint32_t i = 0; i < SLOTS; i++) {
        uint32_t entry = peek(dir, plk_bat_offset(i));
        uint64_t cluster = version == 1 ? entry / SECTORS : entry;

        if ((version == 1 && entry % SECTORS) || cluster < first || cluster >= clusters)
            continue;
        all.slot[i].named = true;
        all.slot[i].head = mark_at(dir, cluster * CLUSTER);
        all.slot[i].tail = mark_at(dir, cluster * CLUSTER + CLUSTER - 512);
    }
    return all;
}

static void check_same(const Readings *before, const Readings *after)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        CHECK_INT(after->slot[i].head, before->slot[i].head);
        CHECK_INT(after->slot[i].tail, before->slot[i].tail);
    }
}

/* ---- making and damaging images ---- */

typedef struct Subject {
    PlkDir *dir;
    int version;
    uint32_t first; /* cluster of data */
    uint32_t data;  /* clusters of data */
} Subject;

static void fill(PlkDir *dir, uint64_t cluster)
{
    uint64_t value = 0x1000 + cluster;
    PlkLe64 le = plk_to_le64(value);

    put(dir, cluster * CLUSTER, &le, sizeof le);
    put(dir, cluster * CLUSTER + CLUSTER - 512, &le, sizeof le);
}

/* Some slots have data, in any order; the file holds nothing else. */
static Subject make(int version)
{
    uint8_t header[PLK_HEADER_BYTES];
    uint32_t unit = version == 1 ? SECTORS : 1;
    Subject s = {.version = version};
    PlkHeader h;

    CHECK_OK(plk_header_make(version, SLOTS * SECTORS, SECTORS, &h, &err), err);
    s.dir = make_empty_file();
    s.first = h.first_block_sectors / SECTORS;
    set_length(s.dir, (uint64_t)s.first * CLUSTER);
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (chance(2))
            continue;
        set_length(s.dir, (uint64_t)(s.first + s.data + 1) * CLUSTER);
        fill(s.dir, s.first + s.data);
        poke(s.dir, plk_bat_offset(i), (s.first + s.data++) * unit);
    }
    h.flags = s.data ? 0 : PLK_FLAG_EMPTY;
    plk_header_encode(&h, header);
    put(s.dir, 0, header, sizeof header);
    return s;
}

/* A sound extension with a dirty bitmap behind the data; what is damaged later may well be it. */
static void add_extension(Subject *s)
{
    uint32_t at = s->first + s->data;
    uint8_t bytes[CLUSTER] = {0};
    const struct { unsigned offset, size; uint64_t value; } fields[] = {
        {0, 8, PLK_EXT_MAGIC}, {24, 8, PLK_EXT_DIRTY_BITMAP}, {40, 4, 40}, {48, 8, SLOTS * SECTORS},
        {72, 4, 128}, {76, 4, 1}, {80, 8, (uint64_t)(at + 1) * SECTORS},
    };

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        PlkLe64 le = plk_to_le64(fields[i].value);

        memcpy(bytes + fields[i].offset, &le, fields[i].size);
    }
    plk_md5(bytes + 24, sizeof bytes - 24, bytes + 8);
    set_length(s->dir, (uint64_t)(at + 2) * CLUSTER);
    put(s->dir, (uint64_t)at * CLUSTER, bytes, sizeof bytes);
    fill(s->dir, at + 1);
    poke(s->dir, 56, at * SECTORS);
    poke(s->dir, 44, PLK_IN_USE_CLOSED21);
    s->data += 2;
}

/* An entry as damage leaves it: near what is right more often than far away. */
static uint32_t odd_entry(const Subject *s)
{
    uint32_t unit = s->version == 1 ? SECTORS : 1;

    switch (chance(6)) {
    case 0:
        return chance(s->first + 1) * unit;
    case 1:
        return (s->first + s->data + chance(3)) * unit;
    case 2:
        return chance(UINT32_MAX);
    case 3:
        return (s->first + chance(s->data + 1)) * unit + (s->version == 1 ? chance(SECTORS) : 0);
    case 4:
        return 0;
    default:
        return (s->first + chance(s->data + 1)) * unit;
    }
}

/* Anything outside the fields that say how the rest is to be read. */
static void damage(const Subject *s)
{
    uint64_t length = get_length(s->dir), kept = (uint64_t)s->first * CLUSTER;
    static const uint32_t marks[] = {0, PLK_IN_USE_OPEN, PLK_IN_USE_CLOSED21, 0x12345678};

    switch (chance(8)) {
    case 0:
        set_length(s->dir, kept + chance((uint32_t)(length - kept + 1)));
        break;
    case 1:
        set_length(s->dir, length + chance(4 * CLUSTER));
        break;
    case 2:
        poke(s->dir, 44, marks[chance(4)]);
        break;
    case 3:
        poke(s->dir, 52, chance(4));
        break;
    case 4:
        poke(s->dir, plk_bat_offset(SLOTS + chance(8)), odd_entry(s));
        break;
    default:
        poke(s->dir, plk_bat_offset(chance(SLOTS)), odd_entry(s));
        break;
    }
}

static Subject make_damaged(void)
{
    Subject s = make(1 + (int)chance(2));

    if (chance(4) == 0)
        add_extension(&s);
    for (uint32_t n = 1 + chance(5); n > 0; n--)
        damage(&s);
    return s;
}

/* One that is exactly like it. */
static Subject copy_of(const Subject *s)
{
    Subject copy = *s;
    uint8_t *bytes = malloc(get_length(s->dir) + 1);
    PlkIo *io = open_io(s->dir, false);

    CHECK(bytes);
    copy.dir = make_empty_file();
    set_length(copy.dir, get_length(s->dir));
    for (uint64_t start = 0, end = 0, size = get_length(s->dir); start < size; start = end) {
        CHECK_INT(plk_io_next_data(io, start, &start, &end), 0);
        if (start >= size)
            break;
        CHECK_INT(plk_io_read(io, bytes, end - start, start, PLK_POINT_DATA_READ), 0);
        put(copy.dir, start, bytes, end - start);
    }
    plk_io_close(io);
    free(bytes);
    return copy;
}

/* ---- the promises ---- */

typedef struct Account {
    uint64_t n, hash, fixed; /* findings, all that was said of them, and how many faults are mended */
    bool tidied;             /* what was only odd: maybe what the repair before emptied */
} Account;

static int tell(void *arg, const PlkFinding *f)
{
    Account *a = arg;
    const uint64_t said[] = {f->kind, f->rank, f->slot, f->other, f->offset, f->value, f->becomes, f->count, f->fixed};

    CHECK(f->meaning && (f->rank == PLK_FINDING_INFO || f->proposal));
    CHECK(f->rank != PLK_FINDING_LOSSY || f->loss);
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        a->hash = (a->hash ^ said[i]) * 1099511628211ull;
    a->n++;
    a->fixed += f->fixed && f->rank != PLK_FINDING_INFO;
    a->tidied |= f->fixed && f->rank == PLK_FINDING_INFO;
    return 0;
}

static PlkCheckResult run_check(PlkDir *dir, unsigned repair, bool dry_run, Account *ret)
{
    PlkCheckOptions options = {.struct_size = sizeof options, .repair = repair, .dry_run = dry_run};
    PlkIo *io = open_io(dir, repair && !dry_run);
    PlkCheckResult result = {0};

    *ret = (Account){0};
    CHECK_OK(plk_image_check(io, 0, &options, tell, ret, NULL, &result, NULL, &err), err);
    plk_io_close(io);
    return result;
}

static bool needs_force(const PlkCheckResult *r)
{
    return r->found[PLK_FINDING_LOSSY] + r->found[PLK_FINDING_FATAL] > 0;
}

/* By looks, dry runs, and a repair without force; the last changes nothing unless it may mend everything. */
static void check_careful(const Subject *s, const Readings *before)
{
    Subject copy = copy_of(s);
    uint64_t print = fingerprint(s->dir);
    PlkCheckResult result;
    Account look, dry, done;
    Readings after;

    run_check(s->dir, 0, false, &look);
    run_check(s->dir, PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE, true, &dry);
    CHECK(fingerprint(s->dir) == print);
    result = run_check(copy.dir, PLK_REPAIR_LOSSLESS | PLK_REPAIR_IN_USE, false, &done);
    CHECK(done.n == dry.n && done.hash == dry.hash);
    if (needs_force(&result))
        CHECK(fingerprint(copy.dir) == print);
    after = read_all(copy.dir, s->version, s->first);
    check_same(before, &after);
    plk_dir_close(copy.dir);
}

/* A cluster of data in the first slot that has none. */
static void write_somewhere(const Subject *s)
{
    uint32_t slots[PLK_BAT_PAGE_SLOTS], cluster, slot = 0;
    PlkImage *img;

    CHECK_OK(plk_image_open(open_io(s->dir, true), PLK_IMAGE_WRITE, 0, &img, &err), err);
    CHECK_INT(plk_image_prepare_write(img), 0);
    CHECK_INT(plk_image_read_page(img, 0, slots), 0);
    while (slot < SLOTS && slots[plk_bat_index(slot)])
        slot++;
    if (slot < SLOTS) {
        PlkLe64 le = plk_to_le64(0x777);

        CHECK_INT(plk_image_alloc_cluster(img, &cluster), 0);
        CHECK_INT(plk_io_write(img->io, &le, sizeof le, plk_image_offset(img, cluster), PLK_POINT_DATA_WRITE), 0);
        slots[plk_bat_index(slot)] = cluster;
        CHECK_INT(plk_image_write_page(img, 0, slots), 0);
    }
    CHECK_OK(plk_image_close(img, &err), err);
}

static void check_forced(const Subject *s, const Readings *before)
{
    Account dry, done, again;
    PlkCheckResult result;
    Readings after;
    uint64_t print;

    run_check(s->dir, FORCE, true, &dry);
    result = run_check(s->dir, FORCE, false, &done);
    CHECK(done.n == dry.n && done.hash == dry.hash);
    after = read_all(s->dir, s->version, s->first);
    check_same(before, &after);

    print = fingerprint(s->dir);
    CHECK_INT(run_check(s->dir, FORCE, false, &again).left, result.left);
    CHECK_INT(again.fixed, 0);
    CHECK(fingerprint(s->dir) == print);
    if (result.left)
        return;
    write_somewhere(s);
    after = read_all(s->dir, s->version, s->first);
    for (uint32_t i = 0; i < SLOTS; i++)
        if (after.slot[i].head != 0x777)
            CHECK_INT(after.slot[i].head, before->slot[i].head);
    run_check(s->dir, 0, false, &again);
    CHECK_INT(run_check(s->dir, 0, false, &again).left, 0);
}

/* The n-th call fails, once or from then on; the next repair ends it. */
static void check_interrupted(const Subject *s, const Readings *before)
{
    PlkCheckOptions options = {.struct_size = sizeof options, .repair = FORCE};
    Subject copy = copy_of(s);
    PlkFault fault = {.nth = 1 + chance(40), .sticky = chance(2), .errnum = chance(2) ? EIO : ENOSPC};
    PlkCheckResult result = {0};
    Readings after;
    Account last;
    PlkDir *failing;
    PlkIo *io;

    CHECK_INT(plk_dir_borrow_fault(copy.dir, &fault, &failing), 0);
    if (plk_dir_open_file(failing, "x.hds", PLK_OPEN_WRITE, 0, &io) == 0) {
        if (plk_image_check(io, 0, &options, NULL, NULL, NULL, &result, NULL, &err) < 0)
            CHECK(err.message[0]);
        plk_io_close(io);
    }
    plk_dir_close(failing);
    run_check(copy.dir, FORCE, false, &last);
    after = read_all(copy.dir, s->version, s->first);
    check_same(before, &after);
    run_check(copy.dir, FORCE, false, &last);
    CHECK_INT(last.fixed, 0);
    plk_dir_close(copy.dir);
}

/* Runs `one` on that many images, each from a seed of its own. */
static void run_images(uint64_t base, uint64_t n, void (*one)(void))
{
    static uint64_t seed, end; /* they live across longjmp */
    jmp_buf outer;

    memcpy(outer, test_escape, sizeof outer);
    seed = number("SEED", base);
    end = seed + n;
    if (setjmp(test_escape)) {
        fprintf(stderr, "once more with SEED=%" PRIu64 " IMAGES=1\n", seed);
        memcpy(test_escape, outer, sizeof outer);
        longjmp(test_escape, 1);
    }
    for (; seed < end; seed++) {
        state = seed * 0x9e3779b97f4a7c15ull | 1;
        for (int warm = 0; warm < 4; warm++)
            chance(2);
        one();
    }
    memcpy(test_escape, outer, sizeof outer);
}

static void one_damaged_table(void)
{
    Subject s = make_damaged();
    Readings before = read_all(s.dir, s.version, s.first);

    check_careful(&s, &before);
    check_interrupted(&s, &before);
    check_forced(&s, &before);
    plk_dir_close(s.dir);
}

TEST(damaged_tables_keep_every_reading)
{
    run_images(1, number("IMAGES", 2000), one_damaged_table);
}

/*
 * Bits of the header turn as well. What the image was is not in the file any more, so the readings count only
 * where the repair came back to the geometry of before; but it never says two things, and never half.
 */
static void one_damaged_header(void)
{
    Subject s = make_damaged();
    Readings before = read_all(s.dir, s.version, s.first), after;
    uint64_t print;
    uint32_t field, was[PLK_HEADER_BYTES / 4];
    PlkCheckResult result;
    Account look, dry, done, again;
    bool same = true;

    for (field = 0; field < PLK_HEADER_BYTES / 4; field++)
        was[field] = peek(s.dir, field * 4);
    for (uint32_t n = 1 + chance(3); n > 0; n--) {
        field = chance(PLK_HEADER_BYTES / 4);
        poke(s.dir, field * 4, peek(s.dir, field * 4) ^ 1u << chance(32));
    }
    print = fingerprint(s.dir);
    run_check(s.dir, 0, false, &look);
    run_check(s.dir, FORCE, true, &dry);
    CHECK(fingerprint(s.dir) == print);
    result = run_check(s.dir, FORCE, false, &done);
    CHECK(done.n == dry.n && done.hash == dry.hash);
    print = fingerprint(s.dir);
    CHECK_INT(run_check(s.dir, FORCE, false, &again).left, result.left);
    CHECK_INT(again.fixed, 0);
    CHECK(again.tidied || fingerprint(s.dir) == print);
    for (field = 0; field < 12; field++) /* signature to first block, but for the mark */
        same &= field == 11 || peek(s.dir, field * 4) == was[field];
    same &= peek(s.dir, 48) == was[12];
    if (same) {
        after = read_all(s.dir, s.version, s.first);
        check_same(&before, &after);
    }
    if (result.left == 0)
        write_somewhere(&s);
    plk_dir_close(s.dir);
}

TEST(damaged_headers_are_mended_whole_or_left_alone)
{
    run_images(500000, number("IMAGES", 2000), one_damaged_header);
}

TEST_MAIN()
