/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A scenario between the recorder's walk and the examination; see crash-walk.h. */
#include "crash-walk.h"

#define BUDGET 64u /* states of one position, for each size of sector */
#define NEST_EVERY 25u
#define NEST_BUDGET 8u

static int examine_state(void *arg, PlkDir *dir, size_t position)
{
    Exam *x = arg;

    exam_at(x, x->w, position);
    x->dir = dir;
    x->thorough = chance(4) == 0;
    x->hasty = !x->thorough && chance(2) == 0;
    return examine(x) ? 0 : 1;
}

static int recover_state(void *arg, PlkDir *dir, size_t position)
{
    Exam *x = arg;

    exam_at(x, x->w, position);
    x->dir = dir;
    return exam_recover(x) ? 0 : 1;
}

/* Grows with everything that must hold from a position on; what need not hold any more does not count. */
static uint64_t promise(void *arg, size_t position)
{
    const World *w = ((Exam *)arg)->w;
    uint64_t n = (w->done && position >= w->done) + (w->collapse && position >= w->collapse);

    for (size_t i = 0; i < w->n_acks; i++)
        n += position >= w->acks[i].position;
    for (size_t i = 0; i < w->n_shots; i++)
        n += (position >= w->shots[i].since) + (position >= w->shots[i].gone);
    return n;
}

bool walk(World *w, const Scenario *scenario, uint32_t seed, PlkCrashTally *tally, Exam *x)
{
    PlkCrashWalk how = {.budget = BUDGET, .seed = seed, .nest_budget = NEST_BUDGET,
                        .recover = recover_state, .examine = examine_state, .promise = promise, .arg = x};
    int r;

    chance_seed(seed);
    scenario->run(w);
    *x = (Exam){.w = w};
    how.from = w->start;
    how.nest_every = w->nest_every ? w->nest_every : NEST_EVERY;
    r = plk_crash_walk(w->record, &how, tally);
    MUST_BE(r >= 0);
    world_free(w);
    return r == 0;
}

const Scenario *find_scenario(const ScenarioGroup *const *groups, size_t n, const char *group,
                              const char *name)
{
    for (size_t i = 0; i < n; i++)
        for (const Scenario *s = groups[i]->items; s->name; s++)
            if (strcmp(groups[i]->name, group) == 0 && strcmp(s->name, name) == 0)
                return s;
    must_die(__FILE__, __LINE__, "there is no scenario %s %s", group, name);
}
