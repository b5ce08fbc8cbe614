/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DiskDescriptor.xml: text <-> struct. Pure: no I/O. Facts: docs/formats/descriptor.md.
 *
 * What is not understood survives: the parsed tree is kept, and printing edits it in place, so unknown
 * elements, attributes and comments come out as they went in. Bounded: 1 MiB of text, no DTD, no
 * entities beyond the predefined ones, no network, depth and counts limited (PLK_DESC_IMAGES_MAX).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"

#define PLK_DESC_TEXT_MAX (1u << 20)
#define PLK_DESC_IMAGES_MAX 1024

typedef struct PlkDescImage {
    PlkGuid guid;
    bool plain;     /* Type is exactly "Plain"; anything else counts as Compressed */
    char *file;     /* as written: relative to the descriptor's directory, or absolute */
    size_t element; /* 1 = it came from the tree's first <Image>; 0 = it is new */
} PlkDescImage;

typedef struct PlkDescShot {
    PlkGuid guid, parent;
    bool temporary;
    size_t element; /* as in PlkDescImage, among <Shot> */
} PlkDescShot;

typedef struct PlkDescriptor {
    uint64_t size_sectors;              /* Disk_size; 0 if missing or unreadable: the image header rules */
    uint32_t cylinders, heads, sectors; /* 0 if missing */
    uint32_t cluster_sectors;
    bool preallocated;
    uint64_t max_delta_size; /* sectors, 0 = none */
    PlkGuid top;             /* the active state; PLK_GUID_TOP unless "old format" */
    PlkDescImage *images;
    size_t n_images;
    PlkDescShot *shots;
    size_t n_shots;
    void *tree; /* the libxml2 document it came from, or NULL */
} PlkDescriptor;

/* An empty descriptor for a new disk of one image: top GUID over the null GUID. */
int plk_descriptor_new(uint64_t size_sectors, uint32_t cluster_sectors, bool preallocated, bool plain,
                       const char *file, PlkDescriptor *ret, PlkError *err);
/* `name` is for messages. DESCRIPTOR error, one line, naming the element. */
int plk_descriptor_parse(const char *text, size_t len, const char *name, PlkDescriptor *ret, PlkError *err);
/* *ret is malloc'd, NUL-terminated. Layout to the byte as ploop writes it. */
int plk_descriptor_print(const PlkDescriptor *desc, char **ret, size_t *ret_len, PlkError *err);
/* Deep copy, tree included. */
int plk_descriptor_copy(const PlkDescriptor *desc, PlkDescriptor *ret, PlkError *err);
/* What only printing needs: gone, for one that is to be looked at. */
void plk_descriptor_drop_tree(PlkDescriptor *desc);
void plk_descriptor_clear(PlkDescriptor *desc); /* frees the contents; a zeroed struct is fine */

/* ---- questions and edits on the struct; indexes are into images/shots, -1 = none ---- */

int plk_descriptor_find_image(const PlkDescriptor *desc, const PlkGuid *guid);
int plk_descriptor_find_shot(const PlkDescriptor *desc, const PlkGuid *guid);
size_t plk_descriptor_count_children(const PlkDescriptor *desc, const PlkGuid *guid);

/*
 * The images from base to `guid`, as indexes into images[]. *ret is malloc'd. NO_SNAPSHOT if there is no such
 * shot; DESCRIPTOR error on a cycle, a missing parent, a missing image or a chain over 128.
 */
int plk_descriptor_chain(const PlkDescriptor *desc, const PlkGuid *guid, const char *name, int **ret,
                         size_t *ret_n, PlkError *err);

/* Appends an image and its shot; its Type is the first image's, as ploop has it. EXISTS error if the GUID
 * is taken. */
int plk_descriptor_add(PlkDescriptor *desc, const PlkGuid *guid, const PlkGuid *parent, const char *file,
                       PlkError *err);
/* Removes image and shot of `guid`; children keep their parent GUID: the caller re-parents. */
void plk_descriptor_remove(PlkDescriptor *desc, const PlkGuid *guid);
/* Everywhere: image, shot, parents, top. */
void plk_descriptor_rename(PlkDescriptor *desc, const PlkGuid *from, const PlkGuid *to);
/* New size after grow or shrink: Disk_size, End, and Sectors = size/(C*H) with C and H kept, or a geometry
 * made from the size if the descriptor had none. */
void plk_descriptor_set_size(PlkDescriptor *desc, uint64_t size_sectors);

/* A number as ploop reads it: decimal, 0x or octal. False when it is none or above max. */
bool plk_descriptor_number(const char *text, uint64_t max, uint64_t *ret);
