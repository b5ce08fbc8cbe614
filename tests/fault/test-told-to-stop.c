/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every operation of inject-scenarios.c is told to stop each time it tells how far it is. It stops with
 * CANCELLED, and the disk is as before, or it was past the point of no return, and the disk is as after; done
 * again without a word, it succeeds. No memory is left.
 */
#include "inject.h"
#include "test.h"

static World start;
static unsigned updates, stop_at; /* 0: never */

static int count_or_stop(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)arg;
    CHECK(what && *what && done <= total);
    return ++updates == stop_at;
}

static const PlkProgress progress = {.update = count_or_stop};

static int run(const Scenario *s, unsigned at, PlkError *err)
{
    updates = 0;
    stop_at = at;
    return s->run(err);
}

static void look(const Scenario *s, Picture *ret)
{
    char why[400] = "";

    if (!take_picture(ret, why, sizeof why))
        test_fail(__FILE__, __LINE__, "%s, stopped at %u: %s", s->name, stop_at, why);
}

static bool same(const Scenario *s, const Picture *a, const Picture *b)
{
    return a->exists == b->exists && (s->flags & STEPS || strcmp(a->shape, b->shape) == 0) &&
           memcmp(a->active, b->active, sizeof a->active) == 0;
}

static void stop(const Scenario *s, unsigned at, const Picture *before, const Picture *after)
{
    PlkError err = {0};
    Picture p;
    int r;

    world_clone(&start);
    r = run(s, at, &err);
    if (r < 0)
        CHECK_STR(err.code == PLK_ERROR_CANCELLED ? "cancelled" : err.message, "cancelled");
    if (s->flags & BARE) {
        if (r < 0)
            CHECK_OK(run(s, 0, &err), err);
        return;
    }
    look(s, &p);
    if (!same(s, &p, r < 0 ? before : after) && !same(s, &p, after))
        test_fail(__FILE__, __LINE__, "%s, stopped at %u: is '%s'", s->name, at, p.shape);
    if (r < 0 && !same(s, &p, after))
        CHECK_OK(run(s, 0, &err), err);
    look(s, &p);
    if (!same(s, &p, after))
        test_fail(__FILE__, __LINE__, "%s, stopped at %u and done again: is '%s'", s->name, at, p.shape);
}

static void begin(const Scenario *s, Picture *before, Picture *after, unsigned *ret_updates)
{
    PlkError err;

    memset(before, 0, sizeof *before);
    memset(after, 0, sizeof *after);
    s->start();
    world.progress = &progress;
    start = world;
    world.mem = NULL;
    world_clone(&start);
    if (!(s->flags & BARE))
        look(s, before);
    world_clone(&start);
    CHECK_OK(run(s, 0, &err), err);
    *ret_updates = updates;
    if (!(s->flags & BARE))
        look(s, after);
    world_clear(&world);
}

TEST(an_operation_that_is_told_to_stop)
{
    static Picture before, after;
    unsigned n, all = 0;

    for (unsigned i = 0; i < n_scenarios; i++) {
        begin(&scenarios[i], &before, &after, &n);
        all += n;
        for (unsigned at = 1; at <= n; at++) {
            long live = live_allocations();

            stop(&scenarios[i], at, &before, &after);
            world_clear(&world);
            if (live_allocations() != live)
                test_fail(__FILE__, __LINE__, "%s, stopped at %u: memory is left", scenarios[i].name, at);
        }
        world_clear(&start);
    }
    CHECK(all > 30); /* they do tell */
}

TEST_MAIN()
