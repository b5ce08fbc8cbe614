/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stream of `ploop copy`: records of a 16-byte little-endian header and its data; the last one has no data. A
 * record of 4 bytes asks for a sync, which is answered with SUCCESS on the receiver's feedback descriptor.
 *
 * Ours ends with a sync record whose 4 bytes are the check mark and whose position, which nobody else looks at, is the
 * CRC-64 of all records before it, headers included. ploop 1.15 takes it for a sync.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/endian.h"
#include "cli.h"

#define PLK_STREAM_MARK 0x4cc0ac3du
#define PLK_STREAM_CHECK 0x6b6c5001u /* "\1Plk" */
#define PLK_STREAM_SYNC 4u /* bytes of data of a record that asks for a sync */
#define PLK_STREAM_ANSWER "SUCCESS\n"

typedef struct __attribute__((packed)) PlkStreamRecord {
    PlkLe32 mark, size;
    PlkLe64 position;
} PlkStreamRecord;
_Static_assert(sizeof(PlkStreamRecord) == 16, "header of a record");

/* Waits in poll(), so that a signal ends the wait for a peer that has gone quiet. */
int plk_copy_read(int fd, void *buf, size_t len, PlkError *err);

/* The file `in` to `out`, its holes left out; waits for the answer to the check unless feedback is -1. */
int plk_copy_send(int in, const char *name, int out, int feedback, PlkError *err);

/* The `len` bytes at `at` are on the disk as in `buf`: synced, dropped from the cache and read again. */
int plk_verify_piece(int fd, const char *name, const void *buf, size_t len, uint64_t at, PlkError *err);
/* Two files are the same on the disk. */
int plk_verify_files(int a, const char *a_name, int b, const char *b_name, PlkError *err);
