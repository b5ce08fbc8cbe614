/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the first bytes of a file say about it. Pure: bytes in, facts out; nothing is opened, and nothing in
 * the bytes is believed beyond what they can show. The formats, their marks and the order are those libvirt
 * goes by.
 */
#pragma once

#include <stddef.h>

#include "conf/volume-def.h"

#define PLK_PROBE_BYTES 33280 /* up to and with the mark of ISO 9660 */

typedef struct PlkProbe {
    PlkFileFormat format; /* RAW when no mark is known */
    uint64_t capacity;    /* 0 = the header does not say, or lies */
    PlkEncryption encryption;
    uint32_t cluster; /* qcow2 */
    bool compat_1_1, lazy_refcounts, extended_l2;
    bool data_file;      /* qcow2, vmdk: its data lies in another file */
    const char *backing; /* in the buffer, not terminated; NULL = none */
    size_t backing_len;
    PlkFileFormat backing_format; /* AUTO = not written down */
    const char *fault;            /* static: what is wrong with the header; NULL = nothing */
} PlkProbe;

/* file_size: of the whole file, of which buf holds the first `len` bytes. */
void plk_probe_header(const void *buf, size_t len, uint64_t file_size, PlkProbe *ret);
