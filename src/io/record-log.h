/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log between its writer, record.c, and its readers, crash.c and crash-state.c. */
#pragma once

#include <pthread.h>

#include "io/memory.h"
#include "io/record.h"

typedef enum PlkChangeKind {
    PLK_CHANGE_WRITE,  /* sectors: what was written, cloned or made zeros */
    PLK_CHANGE_SIZE,   /* the file is `size` bytes long */
    PLK_CHANGE_SYNC,   /* everything above, of this file */
    PLK_CHANGE_LINK,   /* `path` names the file */
    PLK_CHANGE_RENAME, /* `path` is called `to`, whatever that was before */
    PLK_CHANGE_UNLINK, /* `path` is gone */
    PLK_CHANGE_DIR_SYNC,
} PlkChangeKind;

typedef struct PlkChange {
    PlkChangeKind kind;
    unsigned file; /* numbered as they were made */
    uint64_t size;
    uint64_t sector;         /* the first one written */
    size_t n;                /* so many */
    PlkSectorData **sectors; /* as the call left them, NULL for zeros; all zeros if there is no list */
    char *path, *to;         /* canonical */
} PlkChange;

/* A file that was there from the beginning. */
typedef struct PlkRecordFile {
    PlkContent content;
    uint64_t size;
} PlkRecordFile;

typedef struct PlkRecordName {
    char *path;
    unsigned file;
} PlkRecordName;

struct PlkRecord {
    pthread_mutex_t mutex;
    PlkDir *memory;
    PlkChange *log;
    size_t n, room;
    unsigned n_files;
    PlkRecordBug bug;
    bool refuses_clones;
    PlkRecordFile *base; /* numbers 0 to n_base - 1; durable */
    unsigned n_base;
    PlkRecordName *names; /* of these */
    size_t n_names;
};

static inline PlkSectorData *plk_change_sector(const PlkChange *c, size_t i)
{
    return c->sectors ? c->sectors[i] : NULL;
}
