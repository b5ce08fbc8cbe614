/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-crashes GROUP [SCENARIO]: what crashes leave, replayed until STATES (of the environment) states were
 * examined. SEED begins the rounds elsewhere; ROUNDS ends them. A failure names what is needed to see it again.
 */
#include <malloc.h>
#include <time.h>

#include "crash-walk.h"

#define STATES 40000

static World world;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void report(const char *name, const Tally *t, double seconds)
{
    printf("%-28s %5llu rounds %10llu states %9llu of recoveries %8.0f/s\n", name,
           (unsigned long long)t->rounds, (unsigned long long)t->states, (unsigned long long)t->nested,
           (double)t->states / (seconds > 0 ? seconds : 1));
    fflush(stdout);
}

static bool run(const Scenario *s, uint64_t states, Tally *total)
{
    uint64_t seed = setting("SEED", 1), rounds = setting("ROUNDS", UINT32_MAX);
    double start = now();
    Tally t = {0};
    Exam x;

    while (t.states < states && t.rounds < rounds) {
        if (walk(&world, s, (uint32_t)seed, &t, &x)) {
            seed++;
            continue;
        }
        report(s->name, &t, now() - start);
        printf("FAILED %s, SEED=%llu, crash at %zu: %s\n", s->name, (unsigned long long)seed, x.position, x.what);
        return false;
    }
    report(s->name, &t, now() - start);
    total->rounds += t.rounds;
    total->states += t.states;
    total->nested += t.nested;
    return true;
}

static int run_group(const ScenarioGroup *group, const char *only)
{
    uint64_t states = setting("STATES", STATES), shares = 0;
    double start = now();
    Tally total = {0};
    int failed = 0;

    for (const Scenario *s = group->items; s->name; s++)
        shares += s->share;
    for (const Scenario *s = group->items; s->name; s++)
        if (!only || strcmp(only, s->name) == 0)
            failed += !run(s, only ? states : states * s->share / shares, &total);
    report(group->name, &total, now() - start);
    return failed != 0;
}

int main(int argc, char **argv)
{
    static const ScenarioGroup *const groups[] = {
        &data_scenarios,  &image_scenarios,  &chain_scenarios, &merge_scenarios,
        &change_scenarios, &repair_scenarios, &whole_scenarios,
    };
    const size_t n_groups = sizeof groups / sizeof groups[0];

    /* Disks are opened and closed all the time, each with its buffers. */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    if (argc > 1 && strcmp(argv[1], "seeded") == 0)
        return find_seeded_mistakes(&world, groups, n_groups);
    for (size_t i = 0; argc > 1 && i < n_groups; i++)
        if (strcmp(argv[1], groups[i]->name) == 0)
            return run_group(groups[i], argv[2]);
    fprintf(stderr, "which group of crashes?\n");
    return 2;
}
