/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the types of pools differ in, as far as their XML shows it. One table, in format.c; private to conf/. */
#pragma once

#include <stdbool.h>

#include "conf/format.h"

/* The parts of <source> a type has. Others are read over, and never printed. */
enum {
    PLK_SOURCE_HOST = 1u,
    PLK_SOURCE_DEVICE = 2u,
    PLK_SOURCE_DIR = 4u,
    PLK_SOURCE_ADAPTER = 8u,
    PLK_SOURCE_NAME = 16u,
    PLK_SOURCE_INITIATOR = 32u,
};

/* A list of names that somebody may choose from; names NULL: there is nothing to choose. */
typedef struct PlkFormatChoice {
    const char *const *names;
    int by_default;
    int first;        /* the first that may be asked for: "none" of files may not */
    bool unlisted;    /* it can be chosen, yet capabilities show no names */
} PlkFormatChoice;

typedef struct PlkPoolTraits {
    unsigned source;
    bool remote;              /* no <target>: nothing of it appears in this machine's filesystem */
    const char *target_in;    /* <target> always lies here, beside source/name */
    bool cow;                 /* may have features/cow */
    const char *options;      /* prefix of the namespace of its options: "fs", "rbd" */
    PlkFormatChoice source_format, volume_format;
} PlkPoolTraits;

const PlkPoolTraits *plk_pool_traits(PlkPoolType type);
