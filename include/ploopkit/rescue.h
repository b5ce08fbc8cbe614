/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk that does not open any more, or not as it should: what is there, what it probably was, and the way back.
 *
 *   survey   looks at every file of the directory, under shared locks, and writes nothing. What comes of it are
 *            the files, each with what it is, and proposals: a descriptor as it should be, why, and what has to
 *            be done to get there. No proposal: there is nothing to rescue, or nothing to rescue it from; the
 *            verdict says which.
 *   apply    carries one proposal out. Nothing is deleted: what is replaced or in the way stays in the
 *            directory as NAME.rescued-1, -2, ...; before an image is repaired in place, its header, its
 *            table and what is cut off are kept, at their places, as NAME.table.rescued-1. After a crash the
 *            next survey finds what is left to do, and a survey after apply proposes nothing.
 *   try      shows a proposal without changing a file of the disk: a second descriptor, rescue-try.xml, in which
 *            an empty delta lies above the images found and takes all writes; an image whose table needs
 *            repairs that lose data is replaced by a copy, which shares its blocks where the filesystem can.
 *            Everything that takes a descriptor takes this one. Then it is kept (it becomes the disk) or dropped.
 *
 * Evidence is ranked: what a descriptor or its unfinished successor says goes before what versions, cluster
 * sizes and disk sizes allow, that before what the filesystem inside says when it is read through a chain, and
 * that before names; times of files only tell apart what is otherwise alike. Each proposal carries its evidence
 * as sentences and one of three words:
 *
 *   CERTAIN  a document says so and nothing contradicts, or there is no other way to put it together
 *   LIKELY   the evidence points here, but does not exclude another order
 *   GUESS    possible; look at it (try) before you believe it
 *
 * At most four images without a place are put in every order; of more, one order is proposed.
 */
#ifndef PLOOPKIT_RESCUE_H
#define PLOOPKIT_RESCUE_H

#include <ploopkit/check.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum PlkRescueRole {
    PLK_RESCUE_IMAGE,      /* a ploop image */
    PLK_RESCUE_RAW,        /* a raw image, as far as its contents or a descriptor say */
    PLK_RESCUE_DAMAGED,    /* named as an image, but its header says nothing that makes sense */
    PLK_RESCUE_DESCRIPTOR, /* DiskDescriptor.xml */
    PLK_RESCUE_FUTURE, /* DiskDescriptor.xml.tmp: what an operation that did not finish was about to say */
    PLK_RESCUE_INDEX,  /* NAME.idx: header and table of an image from before a version conversion */
    PLK_RESCUE_LOCK,   /* the lock file */
    PLK_RESCUE_KEPT,   /* put aside by an earlier rescue; not looked into */
    PLK_RESCUE_TRY,    /* of a try that is neither kept nor dropped */
    PLK_RESCUE_OTHER,  /* nothing of a disk, or nothing that can be opened: left alone */
} PlkRescueRole;

/* One file. Strings live as long as the PlkRescue. */
typedef struct PlkRescueFile {
    const char *name; /* in the directory; absolute if it lies elsewhere */
    PlkRescueRole role;
    uint64_t bytes;
    int64_t changed; /* time of its last change, seconds; 0: unknown */
    int version;     /* images: 1, 2; 0 raw or unknown */
    uint32_t cluster_sectors;
    uint64_t size_sectors; /* of the disk it describes */
    bool in_use;           /* it was not closed */
    uint64_t clusters;     /* entries that are set */
    bool emptied;          /* none is, and yet there is data: the table was lost */
    uint64_t found[4];     /* faults by PlkFindingRank */
    const char *fault;     /* the gravest, as a sentence; NULL: none */
    PlkFindingKind kind;   /* of that fault, if found says that there is one */
    const char *way_out;   /* what a repair of it would do */
    const char *loss;      /* what is lost with it; NULL: nothing */
    bool described;        /* the descriptor names it */
    bool in_future;        /* its unfinished successor does */
    bool deserted; /* the operation that made it, or was to remove it, said so before it was cut short */
} PlkRescueFile;

typedef enum PlkRescueConfidence {
    PLK_RESCUE_CERTAIN,
    PLK_RESCUE_LIKELY,
    PLK_RESCUE_GUESS,
} PlkRescueConfidence;

typedef enum PlkRescueActionKind {
    PLK_RESCUE_WRITE,        /* the descriptor is replaced, or made */
    PLK_RESCUE_REPAIR,       /* an image is repaired, losing nothing that could be read */
    PLK_RESCUE_REPAIR_LOSSY, /* the same, losing what `loss` says, or deciding what nobody can know */
    PLK_RESCUE_EXTEND,       /* a file that was cut inside its table is made long enough for it */
    PLK_RESCUE_ROLL_BACK,    /* an interrupted version conversion is undone */
    PLK_RESCUE_CONVERT,      /* all images are brought to one version */
    PLK_RESCUE_ASIDE,        /* the file is renamed out of the way */
    PLK_RESCUE_CANNOT,       /* nothing can be done about this: the proposal can be tried, not applied */
} PlkRescueActionKind;

typedef struct PlkRescueAction {
    PlkRescueActionKind kind;
    const char *file;
    const char *what; /* a sentence */
    const char *loss; /* NULL: nothing */
} PlkRescueAction;

typedef struct PlkRescueProposal {
    PlkRescueConfidence confidence;
    const char *title;
    const char *const *evidence; /* sentences */
    size_t n_evidence;
    const char *const *chain; /* files of the active state, base first */
    size_t n_chain;
    const PlkRescueAction *actions; /* in the order in which they are done */
    size_t n_actions;
    const char *descriptor; /* its text, if it is to be written; NULL: it stays as it is */
    bool lossy;             /* some action is a REPAIR_LOSSY */
    bool can_apply;         /* no action is a CANNOT */
} PlkRescueProposal;

typedef struct PlkRescue PlkRescue;

/*
 * path: the directory of a disk, or a descriptor in it, which need not be there. LOCKED if somebody writes to
 * one of the images. root: as in PlkDiskOptions. To be freed with plk_rescue_free().
 */
PLK_API int plk_rescue_survey(const char *path, const char *root, const PlkProgress *progress,
                              PlkRescue **ret, PlkError *err);
PLK_API void plk_rescue_free(PlkRescue *rescue); /* NULL is fine */

/* In the order of their names; proposals best first. */
PLK_API const PlkRescueFile *plk_rescue_files(const PlkRescue *rescue, size_t *ret_n);
PLK_API const PlkRescueProposal *plk_rescue_proposals(const PlkRescue *rescue, size_t *ret_n);
/* One sentence on the whole; never NULL. */
PLK_API const char *plk_rescue_verdict(const PlkRescue *rescue);
/* Nothing to rescue: the disk is whole and nothing lies about. */
PLK_API bool plk_rescue_is_sound(const PlkRescue *rescue);

/* A try is there: it is to be kept or dropped before anything else is done. */
PLK_API bool plk_rescue_is_trying(const PlkRescue *rescue);

/* An action has been carried out; kept: the name under which what was there before is kept, or NULL. */
typedef void PlkRescueDoneFn(void *arg, const PlkRescueAction *action, const char *kept);

typedef struct PlkRescueOptions {
    size_t struct_size;
    const char *root;
    unsigned proposal;     /* counted from 1; 0: the first, which is refused if it is only a guess */
    bool lossy;            /* repairs may lose what they say they lose; else such a proposal is refused */
    PlkRescueDoneFn *done; /* may be NULL */
    void *arg;
} PlkRescueOptions;

/*
 * Surveys again, under the lock of the descriptor, and does it. Nothing to do is success. ARGUMENT when there
 * is no such proposal, or it was refused; nothing was changed then.
 */
PLK_API int plk_rescue_apply(const char *path, const PlkRescueOptions *options, const PlkProgress *progress,
                             PlkError *err);

/*
 * Makes DIR/rescue-try.xml. EXISTS while there is one. NO_SPACE if a copy is needed and does not fit. Lossy
 * repairs need no leave here: they are made on copies.
 */
PLK_API int plk_rescue_try(const char *path, const PlkRescueOptions *options, const PlkProgress *progress,
                           PlkError *err);
/*
 * The try becomes the disk; what it replaces is kept aside. Called again it goes on after a crash. NOT_FOUND without a
 * try.
 */
PLK_API int plk_rescue_keep(const char *path, const PlkRescueOptions *options, const PlkProgress *progress,
                            PlkError *err);
/* The try goes, and everything that was made for it. */
PLK_API int plk_rescue_drop(const char *path, const char *root, PlkError *err);

/* "image", "certain", "repair": stable words; never NULL. */
PLK_API const char *plk_rescue_role_name(PlkRescueRole role);
PLK_API const char *plk_rescue_confidence_name(PlkRescueConfidence confidence);
PLK_API const char *plk_rescue_action_name(PlkRescueActionKind kind);

#define PLK_RESCUE_TRY_NAME "rescue-try.xml"

#ifdef __cplusplus
}
#endif
#endif
