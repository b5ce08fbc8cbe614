/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log between its writer, record.c, and its reader, crash.c. */
#pragma once

#include <pthread.h>

#include "io/record.h"

typedef enum PlkChangeKind {
    PLK_CHANGE_WRITE,  /* `bytes` of whole blocks at `offset`; also what a punch left */
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
    uint64_t offset, size;
    size_t len;
    uint8_t *bytes;
    char *path, *to; /* canonical */
} PlkChange;

struct PlkRecord {
    pthread_mutex_t mutex;
    PlkDir *memory;
    PlkChange *log;
    size_t n, room;
    unsigned n_files;
    PlkRecordBug bug;
};
