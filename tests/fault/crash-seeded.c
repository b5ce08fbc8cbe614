/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does the proof notice? Each mistake is made in turn, in the engine (base/seeded.h) or by the recorder,
 * which loses syncs and hastens writes at a named point; the scenario beside it must find something wrong.
 */
#include "crash-walk.h"

#include "base/seeded.h"

#ifdef PLK_SEEDED_BUGS

#define SEEDS_MAX 60u /* rounds until a mistake counts as unnoticed */

typedef struct Mistake {
    const char *name;
    const char *group, *scenario; /* that must notice */
    PlkSeed seed;
    PlkRecordBug bug;
} Mistake;

static const Mistake mistakes[] = {
    {"entries before their data", "data", "write-expanded", 0, {0, PLK_POINT_META_BAT}},
    {"no data barrier", "data", "write-expanded", 0, {PLK_POINT_DATA_SYNC, 0}},
    {"no metadata sync", "data", "write-expanded", 0, {PLK_POINT_META_SYNC, 0}},
    {"acknowledged before the last sync", "data", "write-above-expanded", PLK_SEED_ACK_EARLY, {0}},
    {"mark not synced before a change", "data", "write-version-1", PLK_SEED_MARK_LATE, {0}},
    {"tail trusted after a crash", "data", "write-expanded", PLK_SEED_TRUST_TAIL, {0}},
    {"cluster reused too early", "data", "discard-and-reuse", PLK_SEED_EARLY_REUSE, {0}},
    {"old bytes under a partial write", "data", "discard-and-reuse", PLK_SEED_OLD_BYTES, {0}},
    {"moved clusters named too early", "image", "pack-expanded", 0, {0, PLK_POINT_META_BAT}},
    {"file cut before its names are", "image", "pack-expanded", 0, {0, PLK_POINT_TAIL_TRUNCATE}},
    {"new entries cleared over data", "image", "grow-far", 0, {0, PLK_POINT_META_INIT}},
    {"new size before the room for it", "image", "grow-far-version-1", 0, {0, PLK_POINT_META_HEADER}},
    {"shrunk without a sync", "image", "shrink-expanded", 0, {PLK_POINT_META_SYNC, 0}},
    {"merged data named unsynced", "merge", "merge-expanded", PLK_SEED_COPY_UNSYNCED, {0}},
    {"file gone before the commit", "merge", "merge-top", PLK_SEED_UNLINK_FIRST, {0}},
    {"leaf gone before the commit", "chain", "delete-leaf", PLK_SEED_UNLINK_FIRST, {0}},
    {"no sync of the directory", "chain", "snapshot-closed", 0, {PLK_POINT_DIR_SYNC, 0}},
    {"no sync of the descriptor", "chain", "snapshot-closed", 0, {PLK_POINT_FILE_SYNC, 0}},
    {"list of leftovers forgotten early", "chain", "delete-last", PLK_SEED_FORGET_EARLY, {0}},
    {"saved tables not synced", "change", "change-version", 0, {PLK_POINT_FILE_SYNC, 0}},
    {"conversion flagged too late", "change", "change-version", 0, {0, PLK_POINT_META_BAT}},
    {"scratch named unsynced", "change", "scratch-commit", 0, {PLK_POINT_META_SYNC, 0}},
    {"one sync in a repair", "repair", "repair-entries-version-1", PLK_SEED_ONE_SYNC, {0}},
    {"repaired mark before entries", "repair", "repair-entries-version-1", 0, {0, PLK_POINT_META_CLOSE}},
    {"no sync in a repair", "repair", "repair-shared", 0, {PLK_POINT_META_SYNC, 0}},
    {"new image named unsynced", "whole", "create-expanded", PLK_SEED_NAME_UNSYNCED, {0}},
    {"copy put in place unsynced", "whole", "replace-base", 0, {PLK_POINT_DATA_SYNC, 0}},
    {"copy renamed unsynced", "whole", "replace-base-keeping-its-name", 0, {PLK_POINT_DIR_SYNC, 0}},
    {"published unsynced", "whole", "publish", 0, {PLK_POINT_FILE_SYNC, 0}},
    {"repair below a snapshot unsynced", "repair", "repair-below", 0, {PLK_POINT_META_SYNC, 0}},
    {"kept table not synced", "rescue", "rescue-lossy", 0, {PLK_POINT_FILE_SYNC, 0}},
    {"kept table has no durable name", "rescue", "rescue-lossy", 0, {PLK_POINT_DIR_SYNC, 0}},
    {"rescued descriptor not synced", "rescue", "rescue-garbled", 0, {PLK_POINT_FILE_SYNC, 0}},
    {"try kept without a sync", "rescue", "rescue-tried-and-kept", 0, {PLK_POINT_DIR_SYNC, 0}},
    {"repair of a rescue unsynced", "rescue", "rescue-lossy", 0, {PLK_POINT_META_SYNC, 0}},
};

static bool is_noticed(World *w, const Mistake *m, const Scenario *s)
{
    PlkCrashTally tally = {0};
    bool noticed = false;
    Exam x;

    plk_seed = m->seed;
    w->bug = m->bug;
    for (uint32_t seed = 1; !noticed && seed <= SEEDS_MAX; seed++)
        noticed = !walk(w, s, seed, &tally, &x);
    plk_seed = PLK_SEED_NONE;
    w->bug = (PlkRecordBug){0};
    if (noticed)
        printf("noticed: %-34s by %-28s after %6llu states: %.60s\n", m->name, s->name,
               (unsigned long long)tally.examined, x.what);
    else
        printf("FAILED: %s: %s finds nothing wrong\n", m->name, s->name);
    fflush(stdout);
    return noticed;
}

int find_seeded_mistakes(World *w, const ScenarioGroup *const *groups, size_t n_groups)
{
    int failed = 0;

    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++)
        failed += !is_noticed(w, &mistakes[i],
                              find_scenario(groups, n_groups, mistakes[i].group, mistakes[i].scenario));
    printf("%zu mistakes, %d unnoticed\n", sizeof mistakes / sizeof mistakes[0], failed);
    return failed != 0;
}

#else

int find_seeded_mistakes(World *w, const ScenarioGroup *const *groups, size_t n_groups)
{
    printf("skipped: this build has no seeded mistakes (meson configure -Dseeded=true)\n");
    return 77;
}

#endif
