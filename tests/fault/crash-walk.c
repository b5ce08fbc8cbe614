/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The walk through the states of a scenario's crashes; see crash-walk.h. */
#include "crash-walk.h"

#include "base/cleanup.h"

#define ALL_OF 24u    /* so many states of one position are all examined, */
#define SOME_OF 14u   /* else so many */
#define NESTED_IN 40u /* of one state in so many the recovery is crashed as well */

typedef struct Chooser {
    unsigned state;    /* which one */
    uint64_t n_states; /* counted as long as it is small */
    uint64_t rest;     /* of the state's number, while counting through */
    bool all;
    unsigned bias;
} Chooser;

typedef struct Walk {
    PlkRecord *record;
    Exam *x;
    Tally *tally;
    bool nested;
} Walk;

static unsigned choose(void *arg, unsigned n)
{
    Chooser *h = arg;
    unsigned answer;

    if (h->n_states <= ALL_OF)
        h->n_states *= n == 3 ? ALL_OF + 1 : n; /* of "some sectors" there are too many to count */
    if (h->all) {
        answer = (unsigned)(h->rest % n);
        h->rest /= n;
        return answer;
    }
    if (chance(8) < h->bias)
        return n == 3 ? 1 : n - 1;
    return chance(2) ? 0 : chance(n);
}

/* ---- a crash of the recovery ---- */

static int copy_file(PlkDir *from, PlkDir *to, const char *name)
{
    plk_cleanup(plk_io_closep) PlkIo *in = NULL, *out = NULL;
    uint64_t size, at = 0, start, end;
    char buf[4096];
    int r = plk_dir_open_file(from, name, 0, 0, &in);

    if (r == 0)
        r = plk_dir_open_file(to, name, PLK_OPEN_CREATE, 0600, &out);
    if (r == 0)
        r = plk_io_size(in, &size);
    if (r == 0)
        r = plk_io_truncate(out, size, PLK_POINT_NONE);
    while (r == 0 && at < size) {
        r = plk_io_next_data(in, at, &start, &end);
        if (r < 0 || start >= end)
            break;
        for (at = start - start % sizeof buf; r == 0 && at < end; at += sizeof buf) {
            size_t n = size - at < sizeof buf ? (size_t)(size - at) : sizeof buf;
            r = plk_io_read(in, buf, n, at, PLK_POINT_NONE);
            if (r == 0)
                r = plk_io_write(out, buf, n, at, PLK_POINT_NONE);
        }
    }
    return r < 0 ? r : plk_io_sync(out, PLK_POINT_FILE_SYNC);
}

typedef struct Copying {
    PlkDir *from, *to;
} Copying;

static int copy_name(void *arg, const char *name)
{
    Copying *c = arg;

    return copy_file(c->from, c->to, name);
}

static bool walk_record(Walk *walk, size_t start);

/* The state in `dir` is recovered under a recorder, and crashes of that are walked through. */
static bool crash_again(Walk *outer, PlkDir *dir)
{
    plk_cleanup(plk_dir_closep) PlkDir *to = NULL;
    PlkRecord *record;
    Walk walk = {.x = outer->x, .tally = outer->tally, .nested = true};
    Copying c = {.from = dir};
    size_t start;
    bool good;

    MUST_BE(plk_record_new("/disk", &record) == 0);
    MUST_BE(plk_record_open(record, &to) == 0);
    c.to = to;
    MUST_BE(plk_dir_list(dir, copy_name, &c) == 0 && plk_dir_sync(to) == 0);
    start = plk_record_length(record);
    plk_record_set_bug(record, (PlkRecordBug){.swallow = outer->x->w->bug.swallow});
    outer->x->dir = to;
    walk.record = record;
    good = exam_recover(outer->x);
    if (good)
        good = walk_record(&walk, start);
    plk_dir_close(PLK_TAKE(to));
    plk_record_free(record);
    return good;
}

/* ---- one state ---- */

static bool examine_one(Walk *walk, PlkCrash *crash, Chooser *h)
{
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    Exam *x = walk->x;

    h->rest = h->state;
    h->bias = h->state == 1 ? 8 : chance(8); /* 8: everything is kept */
    MUST_BE(plk_crash_materialise(crash, chance(2) ? 512 : 4096, choose, h, &dir) == 0);
    walk->tally->states++;
    walk->tally->nested += walk->nested;
    x->thorough = chance(4) == 0;
    x->hasty = !x->thorough && chance(3) == 0;
    if (!walk->nested && chance(NESTED_IN) == 0 && !crash_again(walk, dir))
        return false;
    x->dir = dir;
    return examine(x);
}

static bool walk_position(Walk *walk, PlkCrash *crash)
{
    Chooser h = {.n_states = 1, .all = true};
    unsigned some = walk->nested ? 3 : SOME_OF;
    uint64_t n;

    if (!examine_one(walk, crash, &h)) /* the least that may be left; counts the states */
        return false;
    n = h.n_states;
    h.all = n <= (walk->nested ? 4 : ALL_OF);
    for (h.state = 1; h.state < (h.all ? n : some); h.state++)
        if (!examine_one(walk, crash, &h))
            return false;
    return true;
}

/* In a nested walk the position that counts is the outer one's. */
static bool walk_record(Walk *walk, size_t start)
{
    World *w = walk->x->w;
    PlkCrash *crash;
    bool good = true;

    MUST_BE(plk_crash_new(walk->record, &crash) == 0);
    for (size_t at = start; good && at <= plk_record_length(walk->record); at++) {
        MUST_BE(plk_crash_advance(crash, at) == 0);
        if (!walk->nested)
            exam_at(walk->x, w, at);
        good = walk_position(walk, crash);
    }
    plk_crash_free(crash);
    return good;
}

bool walk(World *w, const Scenario *scenario, uint32_t seed, Tally *tally, Exam *x)
{
    Walk outer = {.x = x, .tally = tally};
    bool good;

    chance_seed(seed);
    scenario->run(w);
    *x = (Exam){.w = w};
    outer.record = w->record;
    good = walk_record(&outer, w->start);
    world_free(w);
    tally->rounds++;
    return good;
}

const Scenario *find_scenario(const ScenarioGroup *const *groups, size_t n, const char *group, const char *name)
{
    for (size_t i = 0; i < n; i++)
        for (const Scenario *s = groups[i]->items; s->name; s++)
            if (strcmp(groups[i]->name, group) == 0 && strcmp(s->name, name) == 0)
                return s;
    must_die(__FILE__, __LINE__, "there is no scenario %s %s", group, name);
}
