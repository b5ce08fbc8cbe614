/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scenarios, and the walk through the states that crashes of one could have left (io/crash-walk.h): every
 * position of its log, at each one all states if they are few, else some; with sectors of 512 bytes and of
 * 4096. Of some states the recovery is recorded too, and crashes of that are examined likewise.
 */
#pragma once

#include "io/crash-walk.h"

#include "crash-examine.h"

typedef void Run(World *w);

typedef struct Scenario {
    const char *name;
    Run *run;
    unsigned share; /* of its group's states */
} Scenario;

typedef struct ScenarioGroup {
    const char *name;
    const Scenario *items; /* ends with a name of NULL */
} ScenarioGroup;

extern const ScenarioGroup data_scenarios, image_scenarios, chain_scenarios, merge_scenarios,
    change_scenarios, repair_scenarios, whole_scenarios, rescue_scenarios;

/* One round: false with *x saying what is wrong, and where. Adds to *tally. */
bool walk(World *w, const Scenario *scenario, uint32_t seed, PlkCrashTally *tally, Exam *x);

/* Dies when there is none. */
const Scenario *find_scenario(const ScenarioGroup *const *groups, size_t n, const char *group,
                              const char *name);

/* The seeded mistakes, each against the scenario that must notice it. Returns an exit code. */
int find_seeded_mistakes(World *w, const ScenarioGroup *const *groups, size_t n_groups);
