/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptors that were understood already. Volumes made alike have the same descriptor to the byte, and a pool has
 * thousands of them: the text is compared, not understood again.
 */
#pragma once

#include "format/descriptor.h"

/* Immutable, shared, without its tree: it can be looked at, not printed. */
typedef struct PlkKnownDescriptor {
    PlkDescriptor desc;
    /* private: */
    int refs;
    uint64_t hash;
    size_t len;
    char *text;
} PlkKnownDescriptor;

/* A reference to what the text says; NULL with *err, as plk_descriptor_parse() has it. Any thread. */
PlkKnownDescriptor *plk_known_descriptor(const char *text, size_t len, const char *name, PlkError *err);
void plk_known_descriptor_unref(PlkKnownDescriptor *known);
