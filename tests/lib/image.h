/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One image file, "x.hds", in a directory in memory, and its bytes: for tests that damage images. */
#pragma once

#include "base/endian.h"
#include "image/image.h"
#include "test.h"

static __attribute__((unused)) PlkIo *open_io(PlkDir *dir, bool write)
{
    PlkIo *io;

    CHECK_INT(plk_dir_open_file(dir, "x.hds", write ? PLK_OPEN_WRITE : 0, 0, &io), 0);
    return io;
}

static __attribute__((unused)) PlkDir *make_empty_file(void)
{
    PlkDir *dir;
    PlkIo *io;

    CHECK_INT(plk_dir_open_memory("/d", &dir), 0);
    CHECK_INT(plk_dir_open_file(dir, "x.hds", PLK_OPEN_CREATE, 0600, &io), 0);
    plk_io_close(io);
    return dir;
}

static __attribute__((unused)) void put(PlkDir *dir, uint64_t offset, const void *bytes, size_t len)
{
    PlkIo *io = open_io(dir, true);

    CHECK_INT(plk_io_write(io, bytes, len, offset, PLK_POINT_META_INIT), 0);
    plk_io_close(io);
}

static __attribute__((unused)) void poke(PlkDir *dir, uint64_t offset, uint32_t value)
{
    PlkLe32 le = plk_to_le32(value);

    put(dir, offset, &le, sizeof le);
}

static __attribute__((unused)) uint32_t peek(PlkDir *dir, uint64_t offset)
{
    PlkIo *io = open_io(dir, false);
    PlkLe32 le;

    CHECK_INT(plk_io_read(io, &le, sizeof le, offset, PLK_POINT_OPEN_READ), 0);
    plk_io_close(io);
    return plk_le32(le);
}

static __attribute__((unused)) void set_length(PlkDir *dir, uint64_t bytes)
{
    PlkIo *io = open_io(dir, true);

    CHECK_INT(plk_io_truncate(io, bytes, PLK_POINT_META_INIT), 0);
    plk_io_close(io);
}

static __attribute__((unused)) uint64_t get_length(PlkDir *dir)
{
    PlkIo *io = open_io(dir, false);
    uint64_t bytes;

    CHECK_INT(plk_io_size(io, &bytes), 0);
    plk_io_close(io);
    return bytes;
}

/* Length and contents; what a hole and what zeros are is no difference. */
static __attribute__((unused)) uint64_t fingerprint(PlkDir *dir)
{
    static uint8_t block[65536];
    PlkIo *io = open_io(dir, false);
    uint64_t size, hash = 14695981039346656037ull, start, end;

    CHECK_INT(plk_io_size(io, &size), 0);
    hash = (hash ^ size) * 1099511628211ull;
    for (uint64_t at = 0; at < size; at += sizeof block) {
        CHECK_INT(plk_io_next_data(io, at, &start, &end), 0);
        if (start >= size)
            break;
        if (start > at)
            at = start / sizeof block * sizeof block;
        CHECK_INT(plk_io_read(io, block, sizeof block, at, PLK_POINT_OPEN_READ), 0);
        for (size_t i = 0; i < sizeof block; i++)
            if (block[i])
                hash = (hash ^ (at + i) ^ (uint64_t)block[i] << 56) * 1099511628211ull;
    }
    plk_io_close(io);
    return hash;
}
