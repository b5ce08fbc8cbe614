/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rescue of a disk, on an open directory: the private half of <ploopkit/rescue.h>, which is the manual.
 *
 *   rescue.c  the object: its strings, names of files and what they mean
 *   survey.c  looks at every file
 *   order.c   puts images without a descriptor in order
 *   orphan.c  images that a good descriptor does not name
 *   judge.c   descriptors that may be meant
 *   plan.c    what it takes to get to one
 *   apply.c   carries a proposal out
 *   try.c     shows one above untouched images
 *
 * What is inside a disk is not this folder's business: whoever knows filesystems plugs in a PlkRescueLook.
 * The entry points are plk_store_rescue_*(), for stores that are open and neither locked nor loaded.
 */
#pragma once

#include <ploopkit/rescue.h>

#include "disk/store.h"

/* What the contents of a chain say; all zero: nothing. */
typedef struct PlkRescueContent {
    bool table;       /* a partition table whose checksums are right */
    char type[16];    /* of the filesystem; "" = none is found */
    uint64_t faults;  /* of its checksums and counts that contradict one another */
    uint64_t written; /* when it was last written to, by its own account */
    uint64_t mounts;
} PlkRescueContent;

/* disk is open read-only. Fills *ret as far as it can tell. */
typedef void PlkRescueLook(void *arg, PlkDisk *disk, PlkRescueContent *ret);

typedef struct PlkRescueEvidence {
    PlkRescueLook *look; /* NULL: nobody knows */
    void *arg;
} PlkRescueEvidence;

/* As <ploopkit/rescue.h> says of the functions without "store". */
int plk_store_rescue_survey(PlkStore *store, const PlkRescueEvidence *evidence, const PlkProgress *progress,
                            PlkRescue **ret, PlkError *err);
int plk_store_rescue_apply(PlkStore *store, const PlkRescueEvidence *evidence,
                           const PlkRescueOptions *options, const PlkProgress *progress, PlkError *err);
int plk_store_rescue_try(PlkStore *store, const PlkRescueEvidence *evidence, const PlkRescueOptions *options,
                         const PlkProgress *progress, PlkError *err);
int plk_store_rescue_keep(PlkStore *store, const PlkRescueOptions *options, const PlkProgress *progress,
                          PlkError *err);
int plk_store_rescue_drop(PlkStore *store, PlkError *err);

/* ---- between the files of the rescue ---- */

#define PLK_RESCUE_PLANS_MAX 8
#define PLK_RESCUE_PERMUTED_MAX 4 /* images without a place that are put in every order: 24 of them */

/* A descriptor on its way to its name; the next one that is written takes its place. */
#define PLK_RESCUE_TEMPORARY "rescue-try.new"

/* A descriptor that was found: the present one, or one that was to follow it. */
typedef struct PlkRescueDocument {
    const char *name;
    bool there, parsed;
    PlkDescriptor desc;
    const char *fault; /* why it was not parsed */
    char digest[PLK_DIGEST_CHARS + 1];
} PlkRescueDocument;

/* A proposal, with what it takes to carry it out. */
typedef struct PlkRescuePlan {
    PlkRescueProposal shown;
    PlkDescriptor desc;
    bool writes; /* desc is not what the present descriptor says */
} PlkRescuePlan;

/*
 * Strings and lists are made on the way in great number and freed together. Running out of memory is noted in
 * `starved` and told once, at the end of the survey, so that the words for evidence need no handling each.
 */
struct PlkRescue {
    PlkStore *store; /* during the survey */
    const PlkRescueEvidence *evidence;
    const PlkProgress *progress;
    PlkRescueFile *files;
    size_t n_files;
    PlkRescueDocument present, future;
    char *intent; /* the text of the lock file */
    bool trying;  /* there is a try */
    PlkRescuePlan plans[PLK_RESCUE_PLANS_MAX];
    size_t n_plans;
    PlkRescueProposal shown[PLK_RESCUE_PLANS_MAX];
    bool sound;
    const char *verdict;
    void **owned;
    size_t n_owned;
    bool starved;
};

/* Never NULL: "" when out of memory. Lives as long as the rescue. */
const char *plk_rescue_text(PlkRescue *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One more zeroed item of `size` behind the n of a list, which may move; NULL when out of memory. */
void *plk_rescue_append(PlkRescue *r, void *list, size_t *n, size_t size);

/* -ENOMEM is noted; other errors are evidence, or told elsewhere. Returns what it got. */
int plk_rescue_note(PlkRescue *r, int neg_errno);
/* The same for what has words: -1. */
int plk_rescue_note_words(PlkRescue *r, const PlkError *why);
/* A File entry as files are called here: beneath the directory, else absolute. *ret_path is to be freed after
 * it. */
const char *plk_rescue_name(PlkRescue *r, const char *entry, char **ret_path);
/* By the name of a file, or by a File entry of a descriptor, however it is spelled; NULL: not there. */
PlkRescueFile *plk_rescue_find(PlkRescue *r, const char *entry);
/* For each file: does the descriptor name it? malloc'd; NULL when out of memory. */
bool *plk_rescue_mark_named(PlkRescue *r, const PlkDescriptor *desc);
/* "root.hds" of "root.hds.{guid}": the length of the part in front, 0 if the name is no delta's. */
size_t plk_rescue_stem(const char *name);
bool plk_rescue_is_image(const PlkRescueFile *f); /* a disk can be made of it */
/* A GUID for the state that a file holds, always the same one. */
void plk_rescue_guid(const char *file, PlkGuid *ret);

int plk_rescue_look_at_files(PlkRescue *r, PlkError *err);
/* What these files as a chain say. False if they do not form one; *ret_why, unless NULL, says why. */
bool plk_rescue_look_inside(PlkRescue *r, const char *const *files, size_t n, PlkRescueContent *ret,
                            const char **ret_why);
/* The same for the active state of a descriptor. */
bool plk_rescue_look_into(PlkRescue *r, const PlkDescriptor *desc, PlkRescueContent *ret,
                          const char **ret_why);

/* That state, open to be read; NULL if it does not open. */
PlkDisk *plk_rescue_open(PlkRescue *r, const PlkDescriptor *desc);

/* A copy of desc as a plan; NULL when there are enough of them, or out of memory. */
PlkRescuePlan *plk_rescue_plan(PlkRescue *r, const PlkDescriptor *desc, PlkRescueConfidence confidence,
                               const char *title);
/* The one that was made last is nothing to propose. */
void plk_rescue_drop_plan(PlkRescue *r, PlkRescuePlan *plan);
void plk_rescue_cannot(PlkRescue *r, PlkRescuePlan *plan, const char *file, const char *what);
/* In the middle of a version conversion that its backup can undo. */
bool plk_rescue_is_converting(PlkRescue *r, const PlkRescueFile *f);
void plk_rescue_because(PlkRescue *r, PlkRescuePlan *plan, const char *text); /* plan may be NULL */
void plk_rescue_because_of(PlkRescue *r, PlkRescuePlan *plan, const PlkRescueContent *content);

/* Unnamed deltas that hold something the descriptor's disk does not; *says gets a sentence on one that does
 * not. */
size_t plk_rescue_orphans(PlkRescue *r, const PlkDescriptor *desc, const char **says, const char *ret[],
                          size_t max);
/* Chains of the images that are there, as if no descriptor were. */
void plk_rescue_order_all(PlkRescue *r);
/* Orders of images without a place above the active state of a descriptor that is good by itself. */
void plk_rescue_order_above(PlkRescue *r, const PlkDescriptor *desc, const char *const *orphans, size_t n);
/* The file was changed later than that of the active state. */
bool plk_rescue_is_later(PlkRescue *r, const PlkDescriptor *desc, const char *orphan);
void plk_rescue_propose(PlkRescue *r);

/* Which plan the options mean. */
int plk_rescue_choose(PlkRescue *r, const PlkRescueOptions *options, PlkRescuePlan **ret, PlkError *err);
/* Renames NAME to NAME.rescued-N. */
int plk_rescue_set_aside(PlkStore *store, const char *name, char **ret_kept, PlkError *err);
/* The text as NAME, in the place of what is there, durable. */
int plk_rescue_publish(PlkStore *store, const char *name, const char *text, PlkError *err);
/*
 * What such a repair would overwrite or cut off, at its place in NAME.table.rescued-N: header, table, and the
 * tail that no entry names. *ret_kept is left alone if nothing would be repaired.
 */
int plk_rescue_keep_table(PlkStore *store, const char *name, bool lossy, char **ret_kept, PlkError *err);
/* Repairs that lose something only if `lossy`. */
int plk_rescue_repair(PlkStore *store, const char *name, bool lossy, const PlkProgress *progress,
                      PlkError *err);
/* The old one is kept. */
int plk_rescue_replace_descriptor(PlkStore *store, const char *text, const PlkRescueOptions *options,
                                  PlkError *err);
/* What the present descriptor does not need goes aside. */
int plk_rescue_clear_up(PlkStore *store, const PlkRescueOptions *options, const PlkProgress *progress,
                        PlkError *err);
