/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-crashes GROUP [SCENARIO]: what crashes leave, replayed until STATES (of the environment) states were
 * covered. SEED begins the rounds elsewhere; ROUNDS ends them. A failure names what is needed to see it
 * again.
 */
#include <malloc.h>
#include <time.h>

#include "crash-walk.h"

#define STATES 300000

static World world;

/* Of this process, whoever else is running. */
static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void report(const char *name, const PlkCrashTally *t, double seconds)
{
    seconds += seconds <= 0;
    printf("%-30s %9llu states %8llu examined %8llu of recoveries %7.1f s %7.0f/s\n", name,
           (unsigned long long)t->covered, (unsigned long long)t->examined, (unsigned long long)t->nested,
           seconds, (double)t->covered / seconds);
    fflush(stdout);
}

static bool run(const Scenario *s, uint64_t states, PlkCrashTally *total)
{
    uint64_t first = setting("SEED", 1), rounds = setting("ROUNDS", UINT32_MAX), seed = first;
    double start = now();
    PlkCrashTally t = {0};
    bool good = true;
    Exam x;

    for (; good && t.covered < states && seed - first < rounds; seed++)
        good = walk(&world, s, (uint32_t)seed, &t, &x);
    report(s->name, &t, now() - start);
    if (!good)
        printf("FAILED %s, SEED=%llu, crash at %zu: %s\n", s->name, (unsigned long long)seed - 1, x.position,
               x.what);
    total->covered += t.covered;
    total->examined += t.examined;
    total->nested += t.nested;
    return good;
}

static int run_group(const ScenarioGroup *group, const char *only)
{
    uint64_t states = setting("STATES", STATES), shares = 0;
    double start = now();
    PlkCrashTally total = {0};
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
        &change_scenarios, &repair_scenarios, &whole_scenarios, &rescue_scenarios,
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
