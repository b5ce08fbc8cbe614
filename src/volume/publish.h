/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file that appears only when it is whole: written without a name, synced, then given one. Until
 * plk_publish_commit() returns 0 whatever was at the target is still there; a crash or a kill leaves nothing.
 *
 * A program that wants a path, and a filesystem that has no unnamed files, get a random name beside the target.
 */
#pragma once

#include <stdbool.h>

#include <ploopkit/error.h>

typedef struct PlkPublish {
    int fd; /* read and write, mode 0600 */
    char *path;
    char *temp; /* its random name; NULL: it has none */
    bool force;
} PlkPublish;

char *plk_directory_of(const char *path); /* "." where it has no slash; NULL when out of memory */

/* EXISTS if there is something at `path` and not force; ARGUMENT if it is anything but a regular file. */
int plk_publish_begin(const char *path, bool force, PlkPublish *ret, PlkError *err);
/* The same with `temp` set, for a program that opens it by name. */
int plk_publish_begin_named(const char *path, bool force, PlkPublish *ret, PlkError *err);
int plk_publish_commit(PlkPublish *p, PlkError *err);
/* Removes the unfinished file; harmless after a commit. */
void plk_publish_end(PlkPublish *p);
#define PLK_PUBLISH_AUTO __attribute__((cleanup(plk_publish_end)))
#define PLK_PUBLISH_INIT                                                                                     \
    {                                                                                                        \
        .fd = -1                                                                                             \
    }
