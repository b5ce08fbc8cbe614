/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking for damage in images and whole disks, and mending it.
 *
 * A check calls back once for each thing it finds, in file order within a pass, with what it means and what a
 * repair would do and lose, always before it does it. With options.repair == 0 nothing is written; with
 * options.dry_run nothing is written either, but everything is said as the repair asked for would say it. Each
 * finding has a rank:
 *
 *   INFO      no fault; worth knowing
 *   LOSSLESS  a fault whose repair takes nothing a guest could read
 *   LOSSY     a fault that has cost data, or whose repair takes a decision; the loss says what
 *   FATAL     a fault this check does not repair; the proposal names the way out
 *
 * What is repaired: LOSSLESS faults with PLK_REPAIR_LOSSLESS, as long as there is no graver one; LOSSY ones
 * with PLK_REPAIR_LOSSY, which also means "go on although FATAL ones are left" and tidies what is only odd.
 * The mark of an image left in use is taken off only with PLK_REPAIR_IN_USE. The repair survives a crash: an
 * interrupted one is found again and done by the next check.
 *
 * Memory: at most 16 MiB for the map of used clusters, whatever an image claims, 1 MiB for who shares
 * clusters, and one cluster for a format extension with as much again to mark its clusters.
 */
#ifndef PLOOPKIT_CHECK_H
#define PLOOPKIT_CHECK_H

#include <ploopkit/disk.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum PlkFindingRank {
    PLK_FINDING_INFO,
    PLK_FINDING_LOSSLESS,
    PLK_FINDING_LOSSY,
    PLK_FINDING_FATAL,
} PlkFindingRank;

/* Values are stable; new ones are appended. `value` of a finding is what the comment says. */
typedef enum PlkFindingKind {
    PLK_FOUND_HEADER_SHORT,     /* the file ends inside the header; value: its length */
    PLK_FOUND_SIGNATURE,        /* not a ploop image */
    PLK_FOUND_TYPE,             /* disk type other than 2; value: the type */
    PLK_FOUND_CLUSTER_SIZE,     /* not a power of two in range; value: sectors */
    PLK_FOUND_FIRST_BLOCK,      /* zero, not on a cluster, or inside the BAT; value: sector */
    PLK_FOUND_DISK_SIZE,        /* more than the BAT can hold, or 0; value: sectors */
    PLK_FOUND_BAT_COUNT,        /* too few entries for the disk, or too many for the room; value: entries */
    PLK_FOUND_BAT_SHORT,        /* the file ends before the first block; value: its length */
    PLK_FOUND_CONVERTING,       /* left in the middle of a version conversion */
    PLK_FOUND_CONVERT_FLAG,     /* the conversion flag stands in a closed image */
    PLK_FOUND_IN_USE,           /* not closed; value: the mark */
    PLK_FOUND_EMPTY_FLAG,       /* the Empty flag is wrong; value: the flags */
    PLK_FOUND_UNKNOWN_FLAGS,    /* value: the flags */
    PLK_FOUND_SIZE_HIGH,        /* v1: the unused half of the size is not 0; value: it */
    PLK_FOUND_SIZE_PARTIAL,     /* the size is not whole clusters; value: sectors over */
    PLK_FOUND_BAT_EXTRA,        /* more entries than the size needs; value: how many more */
    PLK_FOUND_FIRST_BLOCK_LATE, /* data starts later than it must; value: sector */
    PLK_FOUND_BEYOND_DEVICE,    /* an entry behind the last one of the disk is set; value: the entry */
    PLK_FOUND_MISALIGNED,       /* an entry between clusters; value: the entry */
    PLK_FOUND_BEYOND_EOF,       /* an entry names a cluster outside the file; value: the cluster */
    PLK_FOUND_INTO_HEADER,      /* an entry names header or BAT; value: the cluster */
    PLK_FOUND_DUPLICATE,   /* an entry names a cluster that something else names too; value: the cluster */
    PLK_FOUND_HOLE,        /* unnamed clusters among named ones; value: the first, count: how many */
    PLK_FOUND_TAIL,        /* the file is longer than its contents; value: bytes too many */
    PLK_FOUND_FILE_LENGTH, /* the file ends inside a cluster; value: bytes missing */
    PLK_FOUND_EXTENSION,   /* the format extension is damaged; value: its sector */
    PLK_FOUND_EXTENSION_STALE, /* it is named, but the mark says that it does not count; value: its sector */
    PLK_FOUND_EXTENSION_LOCK,  /* it forbids changes by programs that do not know it: nothing is repaired;
                                  value: its magic */
    PLK_FOUND_SPARSE,          /* a range without blocks; value: its length */
    PLK_FOUND_CHAIN_VERSION,   /* image and the one below differ in version; value: that of this one */
    PLK_FOUND_CHAIN_CLUSTER,   /* ... in cluster size, or the descriptor says another; value: that of this one
                                */
    PLK_FOUND_CHAIN_SIZE,      /* smaller than the one below; value: sectors */
    PLK_FOUND_DESCRIPTOR_SIZE, /* descriptor and active image differ in size; value: sectors of the image */
    PLK_FOUND_FIRST_BLOCK_OUTSIDE, /* behind the end of a file that holds all of its BAT; value: sector */
    PLK_FOUND_VERSION, /* no entry makes sense, but each would in the other version; value: the one it has */
} PlkFindingKind;

#define PLK_NO_SLOT UINT64_MAX

typedef struct PlkFinding {
    PlkFindingKind kind;
    PlkFindingRank rank;
    const char *image; /* path of the file */
    unsigned level;    /* in the chain, 0 = base; 0 for a single image */
    uint64_t slot;     /* BAT entry = virtual cluster, or PLK_NO_SLOT */
    uint64_t other;    /* duplicates: the slot that had the cluster first; PLK_NO_SLOT: the extension, or unknown */
    uint64_t offset;   /* byte in the file where the wrong thing stands */
    uint64_t value;
    uint64_t becomes; /* LOSSLESS and LOSSY: what a repair puts in the place of value; a length where that is one */
    uint64_t count;   /* 1, or the length of a run */
    /* Sentences, valid during the call. */
    const char *meaning;
    const char *proposal; /* what a repair does; FATAL: the way out; NULL: nothing needs to be done */
    const char *loss;     /* what is gone, or goes with the repair; NULL: nothing */
    bool fixed;           /* done when the check returns 0; dry run: would be */
} PlkFinding;

/* Non-zero stops the check, which fails with CANCELLED. */
typedef int PlkFindingFn(void *arg, const PlkFinding *finding);

typedef enum PlkRepair {
    PLK_REPAIR_LOSSLESS = 1 << 0,
    PLK_REPAIR_LOSSY = 1 << 1,
    PLK_REPAIR_IN_USE = 1 << 2, /* take off the mark of an image left in use */
    PLK_REPAIR_SPARSE = 1 << 3, /* give holes real blocks; wants options.sparse */
} PlkRepair;

typedef struct PlkCheckOptions {
    size_t struct_size;
    const char *root;         /* as in PlkDiskOptions; for disks */
    const char *snapshot;     /* disks: check the chain of this state, NULL = the active one */
    bool raw;                 /* images: there is no header */
    uint32_t cluster_sectors; /* raw images: required */
    unsigned repair;          /* PLK_REPAIR_ bits; 0 = only look */
    bool skip_clean;          /* believe the closed mark: look at the header only */
    bool sparse; /* report ranges without blocks, which old OpenVZ tools call damage; not a fault else */
    bool dry_run; /* say what `repair` would do, and write nothing */
    bool lower;   /* disks: repair the images below snapshots, too */
} PlkCheckOptions;

typedef struct PlkCheckResult {
    bool skipped;      /* an image was clean, and options.skip_clean said to believe that */
    uint64_t found[4]; /* by rank */
    uint64_t fixed;
    uint64_t left; /* faults (not INFO) that are still there */
} PlkCheckResult;

/*
 * One image file. Locks it: exclusively to repair (LOCKED if anybody uses it), shared to look (LOCKED if
 * somebody writes). 0 means that the check was carried out: *ret says what came of it.
 */
PLK_API int plk_check_image(const char *path, const PlkCheckOptions *options, PlkFindingFn *report, void *arg,
                            const PlkProgress *progress, PlkCheckResult *ret, PlkError *err);

/*
 * All images of a state from base to top, and whether they fit each other and the descriptor. Only the top
 * one is repaired, and only if no snapshot stands on it, unless options.lower: what a repair clears in a lower
 * image lets older bytes show through in every state that stands on it, so that has to be asked for.
 */
PLK_API int plk_check_disk(const char *path, const PlkCheckOptions *options, PlkFindingFn *report, void *arg,
                           const PlkProgress *progress, PlkCheckResult *ret, PlkError *err);

/* "beyond-eof": the stable word for a kind; never NULL. */
PLK_API const char *plk_finding_name(PlkFindingKind kind);
PLK_API const char *plk_finding_rank_name(PlkFindingRank rank);

#ifdef __cplusplus
}
#endif
#endif
