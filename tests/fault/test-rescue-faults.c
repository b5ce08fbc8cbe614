/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rescues in which calls and allocations fail, on disks that are broken in several ways. Each time:
 *
 *  - what fails says so in one line, and want of memory by its name;
 *  - a survey writes nothing; of everything else no byte of any file is lost (kept.h);
 *  - once nothing fails any more, the rescue done again makes a sound disk of it, after want of memory the
 * same that it makes undisturbed. (A file that could not be read is evidence too: after that it may be
 * another.)
 *  - no memory and no open file is left.
 */
#include <errno.h>
#include <time.h>

#include <ploopkit/create.h>
#include <ploopkit/snapshot.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "disk/disk.h"
#include "format/header.h"
#include "rescue/rescue.h"
#include "inject.h"
#include "kept.h"
#include "test.h"

#define TOP_MAX 100

#ifdef __SANITIZE_ADDRESS__
#define THIN 7u /* it is as many times as slow */
#else
#define THIN 1u
#endif

/* ---- broken disks ---- */

static PlkIo *change(const char *name)
{
    PlkIo *io;

    CHECK_INT(plk_dir_open_file(world.mem, name, PLK_OPEN_WRITE, 0, &io), 0);
    return io;
}

static void scrawl(const char *name, const void *bytes, size_t n, uint64_t at)
{
    PlkIo *io = change(name);

    CHECK_INT(plk_io_write(io, bytes, n, at, PLK_POINT_META_BAT), 0);
    plk_io_close(io);
}

static void cut(const char *name, uint64_t size)
{
    PlkIo *io = change(name);

    CHECK_INT(plk_io_truncate(io, size, PLK_POINT_META_BAT), 0);
    plk_io_close(io);
}

static void lose_descriptor(void)
{
    CHECK_INT(plk_dir_unlink(world.mem, "DiskDescriptor.xml"), 0);
}

static char *read_descriptor(size_t *ret_len)
{
    char *text;

    CHECK_INT(plk_dir_read_file(world.mem, "DiskDescriptor.xml", 1 << 20, &text, ret_len), 0);
    return text;
}

static void top_file(char ret[TOP_MAX])
{
    PlkDiskOptions o = {.struct_size = sizeof o};
    PlkDisk *disk;
    PlkDiskInfo info;
    PlkError err;

    CHECK_OK(plk_disk_open(XML, &o, &disk, &err), err);
    CHECK_OK(plk_disk_info(disk, &info, &err), err);
    snprintf(ret, TOP_MAX, "%s", plk_disk_image_path(disk, info.levels - 1));
    plk_disk_drop(disk);
}

/* The uppermost is known by its mark. */
static void three_states_in_use(void)
{
    char top[TOP_MAX];

    start_three_states();
    top_file(top);
    scrawl(top, "Ynot", 4, 44);
}

static void begin_without_descriptor(void)
{
    three_states_in_use();
    lose_descriptor();
}

static void begin_without_any_order(void)
{
    start_three_states();
    lose_descriptor();
}

static void begin_garbled_descriptor(void)
{
    three_states_in_use();
    CHECK_INT(plk_dir_publish_file(world.mem, "DiskDescriptor.xml", "<?xml", 5, 0644), 0);
}

/* The newest descriptor was never renamed; what it alone knows has been written to. */
static void begin_unfinished_descriptor(void)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = GUID_3};
    PLK_FREE char *old = NULL, *new = NULL;
    size_t old_len, new_len;
    char top[TOP_MAX];
    PlkError err;

    start_three_states();
    old = read_descriptor(&old_len);
    CHECK_OK(plk_snapshot_create(XML, NULL, &spec, NULL, &err), err);
    world_open();
    put(5, 9);
    world_close();
    new = read_descriptor(&new_len);
    top_file(top);
    scrawl(top, "Ynot", 4, 44);
    CHECK_INT(plk_dir_publish_file(world.mem, "DiskDescriptor.xml", old, old_len, 0644), 0);
    CHECK_INT(plk_dir_publish_file(world.mem, "DiskDescriptor.xml.tmp", new, new_len, 0644), 0);
}

/* The same without its words: an image without a place, above what the descriptor knows. */
static void begin_image_without_place(void)
{
    begin_unfinished_descriptor();
    CHECK_INT(plk_dir_unlink(world.mem, "DiskDescriptor.xml.tmp"), 0);
}

static void begin_missing_middle(void)
{
    char top[TOP_MAX];

    start_three_states();
    top_file(top);
    CHECK_INT(plk_dir_unlink(world.mem, top), 0);
}

/* An entry outside the file, a tail. */
static void begin_damaged_base(void)
{
    three_states_in_use();
    scrawl("root.hds", "\xff\xff\0\0", 4, plk_bat_offset(7));
    scrawl("root.hds", "tail", 4, 20 * CLUSTER_BYTES);
}

static void begin_cut_in_the_table(void)
{
    char top[TOP_MAX];

    start_three_states();
    top_file(top);
    cut(top, plk_bat_offset(3) + 2);
}

static void begin_raw_base(void)
{
    char top[TOP_MAX];

    start_three_states_on_raw();
    top_file(top);
    scrawl(top, "Ynot", 4, 44);
    lose_descriptor();
}

static void begin_converting(void)
{
    PlkError err;

    start_three_states();
    world.fault = (PlkFault){.nth = 60, .sticky = true, .errnum = EIO};
    CHECK_INT(plk_convert_version(XML, NULL, 1, NULL, &err), -1);
    world.fault.nth = 0;
}

/* ---- what is done about it ---- */

static bool blind; /* it could not look, and nobody is told */

/* The test's idea of a filesystem: it was written to when its newest stamp was, and sectors of nobody's are
 * faults. */
static void look(void *arg, PlkDisk *disk, PlkRescueContent *ret)
{
    static uint32_t buf[SECTORS * 128];
    uint64_t size = PLK_MIN(sizeof buf, plk_disk_size(disk));

    if (plk_disk_read(disk, buf, size, 0) < 0) {
        blind = true;
        return;
    }
    strcpy(ret->type, "stamps");
    for (unsigned i = 0; i < size / 512; i++) {
        const uint32_t *words = buf + i * 128;

        ret->written = PLK_MAX(ret->written, words[0] & 0x3f);
        ret->faults += words[0] != words[127] || (words[0] && words[0] >> 16 != i);
    }
}

static const PlkRescueEvidence evidence = {.look = look};
static const PlkRescueOptions options = {.struct_size = sizeof options, .proposal = 1, .lossy = true};

static int ask(bool *ret_trying, bool *ret_sound, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;
    PlkRescue *rescue;

    if (plk_store_open_any(XML, NULL, &store, err) < 0 ||
        plk_store_rescue_survey(store, &evidence, NULL, &rescue, err) < 0)
        return -1;
    *ret_trying = plk_rescue_is_trying(rescue);
    *ret_sound = plk_rescue_is_sound(rescue);
    plk_rescue_free(rescue);
    return 0;
}

static int survey(PlkError *err)
{
    bool trying, sound;

    return ask(&trying, &sound, err);
}

static int apply(PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    return plk_store_open_any(XML, NULL, &store, err) < 0
               ? -1
               : plk_store_rescue_apply(store, &evidence, &options, NULL, err);
}

static int try_it(PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    return plk_store_open_any(XML, NULL, &store, err) < 0
               ? -1
               : plk_store_rescue_try(store, &evidence, &options, NULL, err);
}

static int keep(PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    return plk_store_open_any(XML, NULL, &store, err) < 0 ? -1
                                                          : plk_store_rescue_keep(store, &options, NULL, err);
}

static int drop(PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    return plk_store_open_any(XML, NULL, &store, err) < 0 ? -1 : plk_store_rescue_drop(store, err);
}

static int try_and_keep(PlkError *err)
{
    return try_it(err) < 0 ? -1 : keep(err);
}

static int try_and_drop(PlkError *err)
{
    return try_it(err) < 0 ? -1 : drop(err);
}

/*
 * As people would: a try that is there is kept, or dropped if what it stands on can only be repaired with
 * losses; then what is proposed first is done until there is nothing more.
 */
static int finish(PlkError *err)
{
    bool trying, sound;

    for (int i = 0; i < 4; i++) {
        if (ask(&trying, &sound, err) < 0)
            return -1;
        if (sound)
            return 0;
        if (trying ? keep(err) < 0 && drop(err) < 0 : apply(err) < 0)
            return -1;
    }
    return plk_fail(err, PLK_ERROR_INTERNAL, "is never done");
}

/* ---- faults ---- */

typedef struct Fault {
    const char *name;
    int errnum; /* 0: no memory */
    bool for_good;
    unsigned stride;
} Fault;

static const Fault faults[] = {
    {"EIO once", EIO, false, 13},     {"EIO for good", EIO, true, 41},     {"EMFILE once", EMFILE, false, 53},
    {"no memory once", 0, false, 17}, {"no memory for good", 0, true, 83},
};

static void arm(const Fault *f, unsigned long nth)
{
    if (f->errnum)
        world.fault = (PlkFault){.nth = nth, .sticky = f->for_good, .errnum = f->errnum};
    else
        plk_alloc_fail_at(nth, f->for_good);
}

/* Did it strike? */
static bool disarm(const Fault *f)
{
    unsigned long left = plk_alloc_fail_at(0, 0);

    world.fault.nth = 0;
    return f->errnum ? world.fault.struck != NULL : left == 0 || (f->for_good && left == 1);
}

typedef struct Course {
    const char *name;
    int (*run)(PlkError *err);
    World start;
    Picture after;
    Kept before;
    uint64_t print;
} Course;

static Course course;

#define WRONG(f, nth, ...) wrong(__LINE__, f, nth, __VA_ARGS__)
__attribute__((format(printf, 4, 5))) static void wrong(int line, const Fault *f, unsigned long nth,
                                                        const char *fmt, ...)
{
    char what[600];
    __builtin_va_list ap;

    __builtin_va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    __builtin_va_end(ap);
    test_fail(__FILE__, line, "%s, %s at %lu (%s %s): %s", course.name, f->name, nth,
              world.fault.struck ? world.fault.struck : "", plk_point_name(world.fault.struck_point), what);
}

static void judge(const Fault *f, unsigned long nth, int r, const PlkError *err)
{
    char why[400] = "";
    const char *lost;
    PlkError later;
    Picture p;

    if (r < 0 && (!err->message[0] || strchr(err->message, '\n')))
        WRONG(f, nth, "not one line: '%s'", err->message);
    if (r < 0 && !f->errnum && !blind && err->code != PLK_ERROR_NO_MEMORY)
        WRONG(f, nth, "not told to be want of memory: %s", err->message);
    if (course.run == survey && world_fingerprint() != course.print)
        WRONG(f, nth, "a survey changed a file");
    lost = kept_find_lost(&course.before, world.mem);
    if (lost)
        WRONG(f, nth, "what '%s' held is lost", lost);
    if (finish(&later) < 0)
        WRONG(f, nth, "cannot be finished: %s", later.message);
    if (!take_picture(&p, why, sizeof why))
        WRONG(f, nth, "afterwards: %s", why);
    if (!f->errnum && !blind && memcmp(p.active, course.after.active, sizeof p.active) != 0)
        WRONG(f, nth, "afterwards it holds something else: '%s', not '%s'", p.shape, course.after.shape);
    lost = kept_find_lost(&course.before, world.mem);
    if (lost)
        WRONG(f, nth, "what '%s' held is lost at last", lost);
}

static bool run_once(const Fault *f, unsigned long nth)
{
    PlkError err = {0};
    long live;
    bool struck;
    int r;

    world_clear(&world);
    live = live_allocations();
    world_clone(&course.start);
    blind = false;
    arm(f, nth);
    r = course.run(&err);
    struck = disarm(f);
    if (struck)
        judge(f, nth, r, &err);
    world_clear(&world);
    if (live_allocations() != live)
        WRONG(f, nth, "%ld allocations are left", live_allocations() - live);
    return struck;
}

/* Every so many-th occasion is enough; each walk begins with another. */
static void walk(const char *name, int (*run)(PlkError *err))
{
    static unsigned turn;

    course.name = name;
    course.run = run;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        for (unsigned long nth = 1 + turn++ % faults[i].stride; run_once(&faults[i], nth);
             nth += faults[i].stride * THIN)
            ;
}

static void begin(void (*start)(void))
{
    char why[400] = "";
    PlkError err;

    gmtime(&(time_t){0}); /* which allocates what it keeps */
    start();
    world_clear(&course.start);
    course.start = world;
    world.mem = NULL;
    world_clone(&course.start);
    CHECK(kept_note(&course.before, world.mem));
    course.print = world_fingerprint();
    CHECK_OK(finish(&err), err);
    if (!take_picture(&course.after, why, sizeof why))
        test_fail(__FILE__, __LINE__, "%s", why);
}

static void walk_all(void (*start)(void))
{
    begin(start);
    walk("survey", survey);
    walk("apply", apply);
    walk("try and keep", try_and_keep);
    walk("try and drop", try_and_drop);
    kept_clear(&course.before);
    world_clear(&course.start);
}

#define BROKEN(what)                                                                                         \
    TEST(what)                                                                                               \
    {                                                                                                        \
        walk_all(begin_##what);                                                                              \
    }

BROKEN(without_descriptor)
BROKEN(without_any_order)
BROKEN(garbled_descriptor)
BROKEN(unfinished_descriptor)
BROKEN(image_without_place)
BROKEN(missing_middle)
BROKEN(damaged_base)
BROKEN(cut_in_the_table)
BROKEN(raw_base)
BROKEN(converting)

TEST_MAIN()
