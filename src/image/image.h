/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One delta file: open it, read and write its BAT a page at a time, allocate and free clusters, mark it
 * in use, close it. It knows nothing of chains: slot 0 is "not here", whatever that means to the caller.
 *
 * Invariants this folder keeps (numbers as in docs/ARCHITECTURE.md, "Ordering"):
 *  a  callers make data durable before the BAT page that names it; plk_image_write_page() is the only
 *     writer of BAT bytes, plk_image_write_header() of header bytes: together the metadata writer.
 *  b  a freed cluster is handed out or punched only after plk_image_release_frees(), which callers
 *     call when the BAT write that dropped its last name is durable.
 *  c  a cluster handed out reads as zeros.
 *  d  plk_image_prepare_write() has proven from the BAT that every name lies inside the file and none is there twice,
 *     and has made the in-use mark durable, before the first change; what lies beyond the highest name is cut off.
 *  e  a failed sync poisons the image (io/): it cannot be closed clean any more.
 *
 * A raw image (a Plain base) has no header: slot i is cluster i, always present up to its end.
 *
 * Data-path functions return 0 or -errno. Threads: everything below may be called concurrently unless
 * it says "alone": then the caller has quiesced the image.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include <ploopkit/progress.h>

#include "base/error.h"
#include "format/header.h"
#include "io/dir.h"

typedef enum PlkImageKind {
    PLK_IMAGE_PLOOP,
    PLK_IMAGE_RAW,
} PlkImageKind;

typedef enum PlkImageFlags {
    PLK_IMAGE_WRITE = 1 << 0,       /* io is writable and exclusively locked */
    PLK_IMAGE_IS_RAW = 1 << 1,      /* no header expected; cluster_sectors tells the cluster */
    PLK_IMAGE_ALLOC_FULL = 1 << 2,  /* new clusters get real blocks at once */
    PLK_IMAGE_REFUSE_DIRTY = 1 << 3, /* DIRTY error if the in-use mark is set */
    PLK_IMAGE_UNPUBLISHED = 1 << 4,  /* no descriptor names it until it is closed: see below */
} PlkImageFlags;

/* Clusters on their way from a slot to reuse; see alloc.c. */
typedef struct PlkClusterList {
    uint32_t *items;
    size_t n;
} PlkClusterList;

typedef struct PlkAllocator {
    pthread_mutex_t lock;
    uint64_t next;          /* append position, in clusters: nothing from here on is named */
    uint64_t end;           /* whole clusters the file holds */
    uint64_t *free_bits;    /* unnamed clusters below `window`, one bit each; NULL until there are some */
    uint64_t window, n_free, cursor;
    PlkClusterList pending; /* freed, their slot's clearing not yet written */
    PlkClusterList sealed;  /* freed, covered by the flush that is running */
} PlkAllocator;

typedef struct PlkImage {
    PlkIo *io;
    PlkImageKind kind;
    PlkHeader header; /* as on disk, but for in_use while marked; raw: size and cluster only */
    uint32_t cluster_bytes;
    unsigned cluster_shift;  /* log2(cluster_bytes) */
    uint32_t first_cluster;  /* where data starts, in clusters; raw: 0 */
    _Atomic uint64_t file_clusters; /* clusters in the file, a partial last one counted */
    uint64_t raw_bytes;      /* raw only: length of the file at open */
    bool writable, alloc_full;
    bool unpublished;        /* a crash makes the file worthless anyway: only the sync that closes it counts */
    bool was_dirty;          /* the in-use mark was found set */
    pthread_mutex_t prepare_lock;
    _Atomic bool prepared;   /* see d */
    PlkError damage;         /* what prepare_write found, when it returned -EUCLEAN */
    PlkAllocator alloc;
} PlkImage;

/* ---- opening and closing ---- */

/*
 * Takes over io on success only. Reads the header (or the length, if raw), nothing else: the cost does
 * not depend on the disk's size. cluster_sectors is used for raw images, else checked if not 0.
 */
int plk_image_open(PlkIo *io, unsigned flags, uint32_t cluster_sectors, PlkImage **ret, PlkError *err);

/*
 * Writable and prepared: sync, mark closed, sync, truncate what is surely unused at the end. The memory
 * is freed in any case; -1 means the image stays marked in use. BAT pages are the caller's to write before.
 */
int plk_image_close(PlkImage *img, PlkError *err);
/* Alone. The steps of closing that touch the file; it stays open, and is not to be written to any more. */
int plk_image_mark_closed(PlkImage *img);
/* The flags a closed header of this image has, prepared as it is: Empty if nothing is named. */
uint32_t plk_image_closed_flags(const PlkImage *img);
/* Frees without touching the file. NULL is fine. */
void plk_image_drop(PlkImage *img);
static inline void plk_image_dropp(PlkImage **img)
{
    plk_image_drop(*img);
}

/* Before any change of the file: invariant d. Cheap when done already. -EUCLEAN: see img->damage. */
int plk_image_prepare_write(PlkImage *img);

/* Makes what was written durable; nothing to do while the image is unpublished. */
int plk_image_sync(PlkImage *img, PlkPoint point);
/* Before an open image gets into a descriptor: from now on every sync is made, beginning with one. */
int plk_image_publish(PlkImage *img);

/* Alone. Cuts or extends the file of a raw image, durably, and takes the new size. */
int plk_image_set_raw_length(PlkImage *img, uint64_t bytes, PlkPoint point);

/* Alone. The header as it stands in img->header, with this in-use mark. META point says why; not synced. */
int plk_image_write_header(PlkImage *img, uint32_t in_use, PlkPoint point);

/* ---- BAT ---- */

/* Entry states beside a plain cluster index. */
#define PLK_SLOT_NONE 0u
#define PLK_SLOT_BAD 0xffffffffu    /* misaligned, or inside header and BAT: -EUCLEAN on access */
#define PLK_SLOT_BEYOND 0xfffffffeu /* outside the file: reads as zeros, never written */

/*
 * All PLK_BAT_PAGE_SLOTS entries of a BAT page, classified. Header room and slots past the end of the
 * disk read as NONE. A page past the end of the BAT is all NONE. Not for raw images: their slot i is cluster i.
 */
int plk_image_read_page(PlkImage *img, uint32_t page, uint32_t slots[PLK_BAT_PAGE_SLOTS]);

/* Words for -EUCLEAN: fills *err with the first BAD entry and where it stands; false if the BAT holds none. */
bool plk_image_explain_bat(PlkImage *img, PlkError *err);

/* One entry, classified; any kind of image; past the end NONE. For a raw image the answer is the cluster itself and *ret_present. */
int plk_image_read_slot(PlkImage *img, uint32_t cluster, uint32_t *ret, bool *ret_present);

/* Writes the page; header bytes in page 0 and bytes past the BAT's end are left alone. Not synced. No BAD/BEYOND inside. */
int plk_image_write_page(PlkImage *img, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS]);

/* Calls each BAT page that may hold names (holes of the BAT are skipped); non-zero stops. Not for raw. */
typedef int PlkPageFn(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS]);
int plk_image_walk_bat(PlkImage *img, PlkPageFn *each, void *arg);

/* Virtual clusters of this image's disk (its BAT entries; raw: length rounded up). */
static inline uint32_t plk_image_slots(const PlkImage *img)
{
    return img->header.bat_entries;
}
static inline uint64_t plk_image_offset(const PlkImage *img, uint32_t cluster)
{
    return (uint64_t)cluster << img->cluster_shift;
}

/* ---- clusters ---- */

/* A cluster of zeros nobody names; the file is long enough for it. -ENOSPC also at the format's limit. */
int plk_image_alloc_cluster(PlkImage *img, uint32_t *ret);
/* An allocated cluster was never published after all: give it back at once. */
void plk_image_unalloc_cluster(PlkImage *img, uint32_t cluster);
/* No slot names it any more in memory. -EAGAIN when too many wait: flush, then call again. */
int plk_image_free_cluster(PlkImage *img, uint32_t cluster);
/* Around a flush: the frees made so far are covered by the BAT writes that follow ... */
void plk_image_seal_frees(PlkImage *img);
/* ... which are durable now: punch and reuse. */
void plk_image_release_frees(PlkImage *img);
/* ... which failed: they stay pending. */
void plk_image_unseal_frees(PlkImage *img);

/*
 * May these entries be written as they stand? Each names a cluster of data inside the file that was handed
 * out, and not taken back since. For assert(), by those who name what plk_image_alloc_cluster() gave them.
 */
bool plk_image_may_name(PlkImage *img, const uint32_t slots[PLK_BAT_PAGE_SLOTS]);

/* ---- making and changing images; offline, alone ---- */

typedef struct PlkImageSpec {
    int version;
    uint64_t size_sectors; /* rounded as plk_header_make() says */
    uint32_t cluster_sectors;
    bool preallocated; /* every slot assigned, space reserved */
    bool alloc_full;
} PlkImageSpec;

/* Fills an empty file and syncs it. Not for raw. */
int plk_image_create(PlkIo *io, const PlkImageSpec *spec, const PlkProgress *progress, PlkError *err);
/* A raw image: sparse, or with real blocks. Synced. */
int plk_image_create_raw(PlkIo *io, uint64_t bytes, bool full, const PlkProgress *progress,
                         PlkError *err);

/*
 * Bigger disk: data clusters in the way of the bigger BAT are copied to the end, their slots rewritten,
 * then the header. Crash at any point leaves the old size with every byte in place, or the new one.
 */
int plk_image_grow(PlkImage *img, uint64_t size_sectors, const PlkProgress *progress, PlkError *err);
/* Smaller disk: slots beyond are cleared and their clusters given back; the caller has asked for it in so many words. */
int plk_image_shrink(PlkImage *img, uint64_t size_sectors, const PlkProgress *progress, PlkError *err);
/* Move the last clusters into unnamed ones further down and cut the file. *ret_freed in bytes. */
int plk_image_compact(PlkImage *img, uint64_t *ret_freed, const PlkProgress *progress, PlkError *err);
