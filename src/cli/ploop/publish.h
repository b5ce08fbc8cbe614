/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file that appears only when it is whole: written under a random name beside its target, synced, then
 * renamed. Until plk_publish_commit() returns 0 whatever was at the target is still there.
 */
#pragma once

#include <stdbool.h>

#include <ploopkit/error.h>

typedef struct PlkPublish {
    int fd; /* read and write, mode 0600 */
    char *path, *temp;
    bool force;
} PlkPublish;

/* EXISTS if there is something at `path` and not force; ARGUMENT if it is anything but a regular file. */
int plk_publish_begin(const char *path, bool force, PlkPublish *ret, PlkError *err);
int plk_publish_commit(PlkPublish *p, PlkError *err);
/* Removes the unfinished file; harmless after a commit. */
void plk_publish_end(PlkPublish *p);
#define PLK_PUBLISH_AUTO __attribute__((cleanup(plk_publish_end)))
#define PLK_PUBLISH_INIT                                                                                     \
    {                                                                                                        \
        .fd = -1                                                                                             \
    }
