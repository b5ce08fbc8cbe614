/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moving clusters inside one file, crash-proof and in bounded memory. Used by grow and compact on a prepared
 * image.
 *
 * Moves are gathered in a batch: the copies are made at once, the BAT pages that name the new places wait in
 * memory. plk_batch_publish() then makes the copies durable (invariant a), writes the pages and makes those
 * durable: only after it may the old places be zeroed, reused or cut off (invariant b). A crash at any point
 * leaves every slot naming an old or a new place, and the same bytes at either.
 */
#pragma once

#include "image/image.h"

#define PLK_BATCH_PAGES 256u           /* BAT pages that wait: 1 MiB */
#define PLK_BATCH_BYTES (256ull << 20) /* copied between two syncs */

typedef struct PlkBatch {
    PlkImage *img;
    const char *what; /* for progress */
    const PlkProgress *progress;
    uint64_t done, total; /* bytes moved, and to move in all */
    uint64_t waiting;     /* bytes copied since the last publish */
    uint64_t told;        /* bytes at the last progress call */
    uint32_t (*slots)[PLK_BAT_PAGE_SLOTS];
    uint32_t pages[PLK_BATCH_PAGES];
    unsigned n_pages;
    void *bounce;
    _Atomic int method;
} PlkBatch;

int plk_batch_init(PlkBatch *b, PlkImage *img, const char *what, uint64_t total_bytes,
                   const PlkProgress *progress); /* 0 or -ENOMEM */
void plk_batch_clear(PlkBatch *b);

/* The page's slots to edit, as they will be published; a full batch is published first. */
int plk_batch_page(PlkBatch *b, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS], uint32_t **ret);
/*
 * Copies cluster *slot to `to` and lets *slot, a word of an edited page, name it. -ECANCELED when the
 * progress callback says stop: what is not published then counts for nothing.
 */
int plk_batch_move(PlkBatch *b, uint32_t *slot, uint32_t to);
/* Everything moved so far is durable, slots and data. */
int plk_batch_publish(PlkBatch *b);

/*
 * After clusters moved or the BAT changed size: learn anew which are unnamed and where the file ends. Also
 * after a failure half-way; if this fails too, nothing of the file is cut off any more.
 */
int plk_image_relearn(PlkImage *img);

/* "cannot grow image 'X': ...", or what prepare_write found. Returns -1. */
int plk_image_fail(const PlkImage *img, int neg_errno, const char *act, PlkError *err);
