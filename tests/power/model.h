/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the writer was promised, in memory that it shares with the rig and that outlives it.
 *
 * Before the writer changes anything it notes what may be found from then on; after the engine has returned, what
 * must be. The rig reads this only while the writer is stopped, so a plain struct does.
 *
 * A sector's content is one number, its stamp: 0 is zeros, else each of its words tells sector and stamp.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <ploopkit/create.h>

#define CLUSTER_SECTORS 64u
#define CLUSTERS_MIN 24u
#define CLUSTERS_MAX 56u
#define SECTORS_MAX (CLUSTERS_MAX * CLUSTER_SECTORS)
#define PENDING_MAX 12u
#define SHOTS_MAX 4u

typedef struct Content {
    uint32_t sectors;
    uint32_t stamp[SECTORS_MAX];
} Content;

typedef enum ShotState {
    SHOT_NONE,
    SHOT_COMING, /* may be listed, and reads right then */
    SHOT_HERE,   /* must be listed and read right */
    SHOT_GOING,  /* may be listed; a merge may have changed it already */
} ShotState;

typedef struct Shot {
    ShotState state;
    char guid[40];
    Content content;
} Shot;

/* What the writer is doing. A number: the model may be shared with a guest, whose pointers say nothing here. */
typedef enum Act {
    ACT_INIT,
    ACT_WRITING,
    ACT_CLOSING,
    ACT_ONLINE_SNAPSHOT,
    ACT_SNAPSHOT,
    ACT_DELETE,
    ACT_MERGE,
    ACT_SWITCH,
    ACT_GROW,
    ACT_SHRINK,
    ACT_COMPACT,
    ACT_FORMAT,
    ACT_VERSION,
    ACT_CHECK,
    ACT_EXPORT,
} Act;

typedef struct Model {
    char top[48], vol[64], xml[96], out[96], ploop[256];

    Content acked;                              /* at the last acknowledgement */
    uint32_t pending[SECTORS_MAX][PENDING_MAX]; /* stamps written since then, oldest first */
    uint8_t n_pending[SECTORS_MAX];
    uint32_t stamp; /* the last one used */

    bool changing; /* an operation runs: the disk is `acked`, or all of it `other` */
    Content other;
    Shot shots[SHOTS_MAX];

    bool exported, exporting; /* `out` is there; it is being replaced */
    Content out_old, out_new;

    bool helper;      /* programs run on the writer's behalf */
    bool early_acks;  /* calibration: a flush is acknowledged before it is made */
    Act act;
    unsigned long n_acks, n_acts;
    char failed[480]; /* something went wrong although nobody had cut the power */
} Model;

static inline void model_render(uint32_t *words, uint32_t sector, uint32_t stamp)
{
    for (unsigned i = 0; i < 128; i++)
        words[i] = stamp ? stamp * 8192u + sector : 0;
}

static inline void model_note(Model *m, uint32_t sector, uint32_t stamp)
{
    m->pending[sector][m->n_pending[sector]] = stamp;
    m->n_pending[sector]++;
}

/* What a reader finds when nothing is lost. */
static inline uint32_t model_newest(const Model *m, uint32_t sector)
{
    return m->n_pending[sector] ? m->pending[sector][m->n_pending[sector] - 1] : m->acked.stamp[sector];
}

static inline void model_newest_all(const Model *m, Content *ret)
{
    ret->sectors = m->acked.sectors;
    for (uint32_t i = 0; i < SECTORS_MAX; i++)
        ret->stamp[i] = i < ret->sectors ? model_newest(m, i) : 0;
}

static inline void model_acknowledge(Model *m)
{
    for (uint32_t i = 0; i < m->acked.sectors; i++) {
        m->acked.stamp[i] = model_newest(m, i);
        m->n_pending[i] = 0;
    }
    m->n_acks++;
}

#define MODEL_FILE_BYTES (1u << 20)
_Static_assert(sizeof(Model) <= MODEL_FILE_BYTES, "a guest shares this much");

const char *act_name(Act act);

/* An empty disk in the directory `top`, for a model that is all zeros. Prints why not. */
bool model_make_disk(Model *m, const char *top, int version, PlkFormat format);

/* The history; it ends only by being killed. */
_Noreturn void writer_run(Model *m, uint32_t seed);
/* One line at most into m->failed, then waits to be killed. */
_Noreturn __attribute__((format(printf, 2, 3))) void writer_fail(Model *m, const char *fmt, ...);

/*
 * Examines what a cut left, recovers it, and makes the model say what is there now. False: *what tells which
 * promise was broken.
 */
bool examine(Model *m, char *what, size_t what_len);
