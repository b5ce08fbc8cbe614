/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every call an operation makes to files and directory fails in turn, in every way it may, once and from then
 * on; so does every allocation, the engine's own and libxml2's. Each time:
 *
 *  - the operation fails with one line that names the disk and has the errno, or it was done all the same;
 *    what a signal interrupted or the kernel cut short is done in any case;
 *  - the disk is as before or as after, and snapshots are as they were taken. Of data, every sector holds what
 *    the last good flush promised, or something newer; after a failed sync nothing is promised any more;
 *  - it opens again and can be written to, all its images are sound, and the operation, repeated, succeeds;
 *  - nothing lies in the directory that was not there, but what could not be removed or was not allowed to be;
 *  - no memory and no open file is left.
 */
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/xmlmemory.h>
#include <time.h>

#include <ploopkit/check.h>
#include <ploopkit/create.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "disk/store.h"
#include "image/check.h"
#include "inject.h"
#include "test.h"

#ifdef __SANITIZE_ADDRESS__
#define THIN 1 /* they are some twenty times as slow, and look at memory */
/* Of a tree it had no memory to copy, libxml2 forgets the beginning. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return "leak:libxml2.so";
}
#else
#define THIN 0
#endif

/* ---- faults ---- */

typedef enum FaultKind { IN_CALLS, IN_OPENS, IN_ENGINE_MEMORY, IN_XML_MEMORY } FaultKind;

typedef struct FaultType {
    const char *name;
    FaultKind kind;
    int errnum;          /* 0: a short transfer */
    size_t max_transfer;
    bool absorbed;       /* nobody is to notice */
    bool in_thin;
    unsigned stride;     /* every so many-th occasion is enough, but in soak; each scenario begins with another */
} FaultType;

static const FaultType fault_types[] = {
    {"EIO", IN_CALLS, EIO, 0, false, true, 1},
    {"ENOSPC", IN_CALLS, ENOSPC, 0, false, false, 2},
    {"EDQUOT", IN_CALLS, EDQUOT, 0, false, false, 6},
    {"EAGAIN", IN_CALLS, EAGAIN, 0, false, false, 4},
    {"EROFS", IN_CALLS, EROFS, 0, false, false, 6},
    {"ESTALE", IN_CALLS, ESTALE, 0, false, false, 6},
    {"EINTR", IN_CALLS, EINTR, 0, true, false, 2},
    {"1 byte", IN_CALLS, 0, 1, true, false, 2},
    {"511 bytes", IN_CALLS, 0, 511, true, true, 2},
    {"EMFILE", IN_OPENS, EMFILE, 0, false, false, 2},
    {"ENOMEM", IN_OPENS, ENOMEM, 0, false, false, 2},
    {"no memory", IN_ENGINE_MEMORY, ENOMEM, 0, false, true, 2},
    {"no memory for XML", IN_XML_MEMORY, ENOMEM, 0, false, true, 12},
};
#define N_TYPES (sizeof fault_types / sizeof fault_types[0])

/* One run: this fault at the n-th occasion. */
typedef struct Case {
    const Scenario *scenario;
    const FaultType *type;
    bool sticky;
    unsigned long nth;
} Case;

static bool all_of_them; /* $ALL: no call is left out */
static unsigned long n_runs, n_sites, n_noticed;

/* ---- libxml2's allocations ---- */

static long xml_left;     /* until the one that fails; 0 = none does */
static bool xml_sticky, xml_failed;

static bool xml_starves(void)
{
    if (xml_left == 0 || --xml_left > 0)
        return false;
    xml_left = xml_sticky;
    xml_failed = true;
    return true;
}

static void *xml_malloc(size_t size)
{
    return xml_starves() ? NULL : malloc(size);
}

static void *xml_realloc(void *p, size_t size)
{
    return xml_starves() ? NULL : realloc(p, size);
}

static char *xml_strdup(const char *s)
{
    return xml_starves() ? NULL : strdup(s);
}

static void xml_quiet(void *arg, const char *fmt, ...) {}

__attribute__((constructor)) static void take_over_xml(void)
{
    xmlMemSetup(free, xml_malloc, xml_realloc, xml_strdup);
    xmlInitParser();
    xmlSetGenericErrorFunc(NULL, xml_quiet);
}

/* ---- one run ---- */

static void arm(const Case *c)
{
    const FaultType *t = c->type;

    if (t->kind == IN_ENGINE_MEMORY) {
        plk_alloc_fail_at(c->nth, c->sticky);
    } else if (t->kind == IN_XML_MEMORY) {
        xml_failed = false;
        xml_sticky = c->sticky;
        xml_left = (long)c->nth;
    } else {
        world.fault = (PlkFault){.nth = c->nth,
                                 .sticky = c->sticky,
                                 .errnum = t->errnum,
                                 .max_transfer = t->max_transfer,
                                 .opens_only = t->kind == IN_OPENS};
    }
}

/* Did it strike? */
static bool disarm(const Case *c)
{
    unsigned long left = plk_alloc_fail_at(0, 0);

    xml_left = 0;
    world.fault.nth = 0;
    if (c->type->kind == IN_ENGINE_MEMORY)
        return c->nth && (left == 0 || (c->sticky && left == 1));
    return c->type->kind == IN_XML_MEMORY ? xml_failed : world.fault.struck != NULL;
}

__attribute__((noreturn, format(printf, 2, 3))) static void wrong(const Case *c, const char *fmt, ...)
{
    char what[600];
    __builtin_va_list ap;

    __builtin_va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    __builtin_va_end(ap);
    test_fail(__FILE__, __LINE__, "%s, %s %s at %lu (%s %s): %s", c->scenario->name, c->type->name,
              c->sticky ? "for good" : "once", c->nth, world.fault.struck ? world.fault.struck : "",
              plk_point_name(world.fault.struck_point), what);
}

/* ---- judging ---- */

static void judge_words(const Case *c, const PlkError *err)
{
    bool locked = err->code == PLK_ERROR_LOCKED && c->type->errnum == EAGAIN;
    bool poisoned = err->errnum == EIO && world.fault.struck && strcmp(world.fault.struck, "sync") == 0;

    if (!err->message[0] || strchr(err->message, '\n'))
        wrong(c, "not one line: '%s'", err->message);
    if (err->code == PLK_ERROR_NO_MEMORY && (c->type->kind > IN_OPENS || c->type->errnum == ENOMEM))
        return;
    if (c->type->kind == IN_XML_MEMORY) /* libxml2 does not always say what it lacked */
        return;
    if (c->type->kind > IN_OPENS)
        wrong(c, "not told to be want of memory: %s", err->message);
    if (!strstr(err->message, "/disk") && !strstr(err->message, "root.hds"))
        wrong(c, "names nothing: %s", err->message);
    if (!locked && !poisoned && err->errnum != c->type->errnum)
        wrong(c, "errno is %d: %s", err->errnum, err->message);
}

/* Of a failure that stays, names may stay that the engine knows; the next operation that can removes them. */
static void judge_leftovers(const Case *c, int r)
{
    char name[256];

    if (find_stray(c->scenario->also, name, sizeof name) && !strstr(name, ".tmp") && !strstr(name, ".idx") &&
        !strstr(name, ".intent") && strncmp(name, "root.hds", 8) != 0 && strcmp(name, "new.hds") != 0)
        wrong(c, "%s, and left '%s', which nobody would know", r < 0 ? "failed" : "done", name);
}

/*
 * What an unlink once failed to remove is gone by now. Not so where no sync said what is durable, where another change
 * came after, and a name that people choose.
 */
static void judge_clean(const Case *c)
{
    bool excused = c->sticky || c->type->kind > IN_OPENS || c->scenario->flags & STEPS ||
                   (world.fault.struck && strcmp(world.fault.struck, "sync-dir") == 0);
    char name[256];

    if (!excused && find_stray(c->scenario->also, name, sizeof name) && strcmp(name, "root.hds") != 0)
        wrong(c, "still has '%s'", name);
}

/* Clusters that were freed with no memory to note them are cut off by the next writer. */
static bool is_want_of_memory(const Case *c, const PlkFinding *f)
{
    return c->type->kind == IN_ENGINE_MEMORY && (f->kind == PLK_FOUND_TAIL || f->kind == PLK_FOUND_EMPTY_FLAG);
}

static int note_finding(void *arg, const PlkFinding *f)
{
    const Case *c = arg;

    if (f->rank != PLK_FINDING_INFO && !is_want_of_memory(c, f))
        wrong(arg, "check finds %s in %s (slot %llu, value %llu)", plk_finding_name(f->kind), f->image,
              (unsigned long long)f->slot, (unsigned long long)f->value);
    return 0;
}

static void judge_image(const Case *c, PlkStore *store, int i)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .cluster_sectors = CLUSTER_SECTORS};
    PlkCheckResult result = {0};
    PlkError err;
    PlkIo *io;
    int r;

    o.raw = plk_store_is_raw(&store->desc, i);
    if (plk_store_settle(store, i, &err) < 0)
        wrong(c, "afterwards: does not settle: %s", err.message);
    if (plk_dir_open_file(store->dir, store->desc.images[i].file, 0, 0, &io) < 0)
        wrong(c, "afterwards: image '%s' is gone", store->desc.images[i].file);
    r = plk_image_check(io, 0, &o, note_finding, (void *)(uintptr_t)c, NULL, &result, NULL, &err);
    plk_io_close(io);
    if (r < 0)
        wrong(c, "afterwards: check: %s", err.message);
}

static int ignore_finding(void *arg, const PlkFinding *f)
{
    return 0;
}

static void mend(const Case *c)
{
    PlkCheckOptions o = {.struct_size = sizeof o,
                         .repair = PLK_REPAIR_LOSSLESS | PLK_REPAIR_LOSSY | PLK_REPAIR_IN_USE};
    PlkCheckResult result;
    PlkError err;

    if (plk_check_disk(XML, &o, ignore_finding, NULL, NULL, &result, &err) < 0)
        wrong(c, "afterwards: cannot be mended: %s", err.message);
}

static void judge_images(const Case *c)
{
    PlkStore *store;
    PlkError err;

    if (plk_store_open_locked(XML, NULL, &store, &err) < 0)
        wrong(c, "afterwards: %s", err.message);
    for (size_t i = 0; i < store->desc.n_images; i++)
        judge_image(c, store, (int)i);
    plk_store_close(store);
}

static void judge_known(const Case *c)
{
    Stamp stamps[SECTORS];
    char why[400];

    for (unsigned i = 0; i < world.n_known; i++) {
        const Known *k = &world.known[i];
        plk_cleanup(plk_store_closep) PlkStore *store = NULL;
        PlkGuid guid;

        if (c->scenario->doomed && strstr(c->scenario->doomed, k->guid))
            continue;
        if (plk_store_open(XML, NULL, &store, NULL) < 0 || plk_store_load(store, NULL) < 0 ||
            !plk_guid_parse(k->guid, &guid) || plk_descriptor_find_shot(&store->desc, &guid) < 0)
            continue;
        if (!read_stamps(k->guid, stamps, why, sizeof why))
            wrong(c, "snapshot %s %s", k->guid, why);
        if (memcmp(stamps, k->stamps, sizeof stamps) != 0)
            wrong(c, "snapshot %s is not as it was taken", k->guid);
    }
}

static void judge_writable(const Case *c)
{
    PlkError err;

    if (!world_try_open(&err))
        wrong(c, "afterwards: does not open for writing: %s", err.message);
    for (unsigned i = 0; i < plk_disk_size(world.disk) / CLUSTER_BYTES && i < CLUSTERS; i++)
        put(i * CLUSTER_SECTORS + 11, 1);
    world_close();
    if (world.n_failed)
        wrong(c, "afterwards: cannot be written to: %s", err.message);
}

static void judge_data(const Case *c, const Picture *p, const uint64_t safe[SECTORS])
{
    for (unsigned i = 0; i < SECTORS; i++)
        if (p->active[i] == STAMP_BAD || !(safe[i] >> p->active[i] & 1))
            wrong(c, "sector %u holds stamp %u, promised were %llx", i, p->active[i],
                  (unsigned long long)safe[i]);
}

static bool same_picture(const Picture *a, const Picture *b)
{
    return a->exists == b->exists && strcmp(a->shape, b->shape) == 0 &&
           memcmp(a->active, b->active, sizeof a->active) == 0;
}

static void see(const Case *c, Picture *p)
{
    char why[400] = "";

    if (!take_picture(p, why, sizeof why))
        wrong(c, "afterwards: %s", why);
}

/* Either all or nothing; where there are several steps, the contents at least. */
static void judge_picture(const Case *c, int r, const Picture *p, const Picture *before,
                          const Picture *after)
{
    unsigned flags = c->scenario->flags;

    if (flags & DATA) {
        judge_data(c, p, world.safe);
        return;
    }
    if (r == 0 && !same_picture(p, after) && !(flags & STEPS && c->type->errnum == EAGAIN)) /* in use: for later */
        wrong(c, "said to be done, but is '%s'", p->shape);
    if (same_picture(p, before) || same_picture(p, after))
        return;
    if (!(flags & STEPS) || (memcmp(p->active, before->active, sizeof p->active) != 0 &&
                             memcmp(p->active, after->active, sizeof p->active) != 0))
        wrong(c, "%s: is '%s', before '%s', after '%s'", r < 0 ? "failed" : "done", p->shape, before->shape,
              after->shape);
}

static void reveal(const Case *c)
{
    bool is_new = plk_dir_exists(world.mem, "new.hds") == 1;
    unsigned orphans;
    PlkError err;

    if (plk_descriptor_restore(DIR_PATH, is_new ? DIR_PATH "/new.hds" : BASE, false, 0, &orphans, &err) < 0)
        wrong(c, "afterwards: %s", err.message);
}

/* What could not be removed is in the way of a new file: that is the user's to decide. */
static bool is_in_the_way(const Case *c, const PlkError *err)
{
    return c->sticky && err->code == PLK_ERROR_EXISTS;
}

static void repeat(const Case *c, const Picture *after)
{
    PlkError err;
    Picture p;

    see(c, &p);
    if (same_picture(&p, after))
        return;
    if (c->scenario->run(&err) < 0) {
        if (!is_in_the_way(c, &err))
            wrong(c, "does not succeed when repeated: %s", err.message);
        return;
    }
    see(c, &p);
    if (!same_picture(&p, after))
        wrong(c, "repeated, it makes '%s', not '%s'", p.shape, after->shape);
}

static void judge(const Case *c, int r, const Picture *before, const Picture *after)
{
    Picture p;

    judge_leftovers(c, r);
    see(c, &p);
    judge_picture(c, r, &p, before, after);
    if (!p.exists && !after->exists)
        return;
    if (p.exists)
        judge_known(c);
    if (r < 0 && !(c->scenario->flags & DATA))
        repeat(c, after);
    if (plk_dir_exists(world.mem, "DiskDescriptor.xml") != 1)
        return;
    if (strstr(c->scenario->name, "check"))
        mend(c);
    judge_images(c);
    judge_clean(c);
    judge_writable(c);
    judge_images(c);
}

/* There is no descriptor: one is made to look through. A merge that stopped is to be finished by another. */
static void judge_bare(const Case *c, int r, const Picture *after)
{
    PlkError err;
    Picture p;

    if (r < 0 && c->scenario->run(&err) < 0) {
        if (!is_in_the_way(c, &err))
            wrong(c, "does not succeed when repeated: %s", err.message);
        return;
    }
    reveal(c);
    see(c, &p);
    if (!same_picture(&p, after))
        wrong(c, "is '%s', not '%s'", p.shape, after->shape);
    judge_images(c);
}

/* ---- all runs of a scenario ---- */

typedef struct Course {
    World start; /* the world each run begins with */
    Picture before, after;
    uint64_t fingerprint;
} Course;

static Course course;

static bool run_and_judge(const Case *c)
{
    const Scenario *s = c->scenario;
    bool struck;
    PlkError err = {0};
    int r;

    world_clone(&course.start);
    arm(c);
    r = s->run(&err);
    struck = disarm(c);
    if (!struck)
        return false;
    n_runs++;
    n_noticed += r < 0;
    if (world.broken)
        wrong(c, "%s", world.broken);
    if (r < 0)
        judge_words(c, &err);
    if (r < 0 && c->type->absorbed)
        wrong(c, "not absorbed: %s", err.message);
    if (s->flags & READS) {
        if (world_fingerprint() != course.fingerprint)
            wrong(c, "changed a file");
        return true;
    }
    if (s->flags & BARE)
        judge_bare(c, r, &course.after);
    else
        judge(c, r, &course.before, &course.after);
    return true;
}

/* libxml2 leaks when it starves; that is its own affair. */
static bool run_case(const Case *c)
{
    long live;
    bool struck;

    world_clear(&world);
    live = live_allocations();
    struck = run_and_judge(c);
    world_clear(&world);
    if (c->type->kind != IN_XML_MEMORY && live_allocations() != live)
        wrong(c, "%ld allocations are left", live_allocations() - live);
    return struck;
}

static void begin(const Scenario *s)
{
    Case none = {.scenario = s, .type = &fault_types[0]};
    PlkError err = {0};
    char name[256];

    s->start();
    world_clear(&course.start);
    course.start = world;
    world.mem = NULL;
    world_clone(&course.start);
    see(&none, &course.before);
    world_clone(&course.start);
    course.fingerprint = world_fingerprint();
    if (s->run(&err) < 0)
        wrong(&none, "fails without a fault: %s", err.message);
    if (find_stray(s->also, name, sizeof name))
        wrong(&none, "leaves '%s' without a fault", name);
    if (s->flags & BARE)
        reveal(&none);
    see(&none, &course.after);
}

/* From the n-th call on, and so to the end: where it begins matters little if transfers are just short. */
static bool is_worth_it(const Case *c)
{
    if (THIN && !c->type->in_thin)
        return false;
    if (c->type->absorbed && c->sticky)
        return c->type->errnum == 0 && c->type->max_transfer > 1 && c->nth < 3;
    return true;
}

static void run_scenario(const Scenario *s)
{
    begin(s);
    for (size_t t = 0; t < N_TYPES; t++)
        for (int sticky = 0; sticky < 2; sticky++) {
            Case c = {.scenario = s, .type = &fault_types[t], .sticky = sticky, .nth = 1};
            unsigned stride = all_of_them ? 1 : fault_types[t].stride * (sticky ? 2 : 1) * (THIN ? 8 : 1);

            c.nth += (unsigned)(t + (size_t)(s - scenarios)) % stride;
            while (is_worth_it(&c) && run_case(&c))
                c.nth += stride;
            n_sites += t == 0 && !sticky ? c.nth - 1 : 0; /* about */
        }
    world_clear(&world);
    world_clear(&course.start);
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static unsigned failed, passed, i; /* static: they live across longjmp */
    static double begun;

    begun = seconds();
    all_of_them = getenv("ALL") != NULL;
    for (i = 0; i < n_scenarios; i++) {
        if (argc > 1 && !strstr(scenarios[i].name, argv[1]))
            continue;
        if (setjmp(test_escape) == 0) {
            run_scenario(&scenarios[i]);
            printf("ok %s survives any failure\n", scenarios[i].name);
            passed++;
        } else {
            printf("FAILED %s survives any failure\n", scenarios[i].name);
            failed++;
        }
        fflush(stdout);
    }
    printf("%u operations, %lu calls that can fail, %lu runs with a fault, %lu noticed, %.1f s\n", passed + failed,
           n_sites, n_runs, n_noticed, seconds() - begun);
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
