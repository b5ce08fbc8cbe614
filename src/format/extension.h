/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The format extension: one cluster of tagged elements, of which the dirty bitmap (change tracking) is the
 * only known one. Pure codec. Facts: docs/formats/image.md, "Format extension".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PLK_EXT_MAGIC 0xAB234CEF23DCEA87ull
#define PLK_EXT_DIRTY_BITMAP 0x20385FAE252CB34Aull
#define PLK_EXT_NECESSARY (1u << 0) /* do not modify the image without understanding this element */
#define PLK_EXT_TRANSIT (1u << 1)

typedef struct PlkExtElement {
    uint64_t magic, flags;
    const uint8_t *data; /* borrowed from the cluster */
    uint32_t size;
    uint64_t offset; /* of data in the file, for messages */
} PlkExtElement;

typedef struct PlkDirtyBitmap {
    uint64_t size_sectors;
    uint8_t uuid[16];
    uint32_t granularity; /* sectors, power of two */
    uint32_t l1_count;    /* 0 as ploop writes an empty bitmap */
    const uint8_t *l1;    /* l1_count little-endian u64; borrowed */
} PlkDirtyBitmap;

/* Checks magic, MD5 and that elements stay inside; calls `each` per element (non-zero stops and is
 * returned). FORMAT error otherwise. cluster_offset is for messages. */
int plk_extension_walk(const uint8_t *cluster, size_t cluster_bytes, const char *file,
                       uint64_t cluster_offset,
                       int (*each)(void *arg, const PlkExtElement *element), void *arg, PlkError *err);

/* The head and the extent of the L1 table are checked; where its entries point is the caller's to check. */
int plk_dirty_bitmap_decode(const PlkExtElement *element, uint64_t disk_sectors, uint32_t cluster_bytes,
                            const char *file, PlkDirtyBitmap *ret, PlkError *err);
/* 0 = that slice is all zeros, 1 = all ones, else the sector where the cluster with its bits starts. */
uint64_t plk_dirty_bitmap_l1(const PlkDirtyBitmap *bitmap, uint32_t i);
