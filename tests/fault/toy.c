/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The toy engine; see toy.h. */
#include "toy.h"

#include <errno.h>
#include <string.h>

#include "base/math.h"

#define NAME "root.toy"
#define MAGIC "only a toy engine"
#define TABLE_OFFSET 64u

static int write_header(Toy *toy)
{
    unsigned char cluster[TOY_CLUSTER] = MAGIC;

    memcpy(cluster + TABLE_OFFSET, toy->table, sizeof toy->table);
    return plk_io_write(toy->io, cluster, sizeof cluster, 0, PLK_POINT_META_INIT);
}

int toy_create(Toy *toy, PlkDir *dir, unsigned bugs)
{
    int r;

    *toy = (Toy){.dir = dir, .bugs = bugs};
    r = plk_dir_open_file(dir, NAME ".tmp", PLK_OPEN_CREATE | PLK_OPEN_EXCLUSIVE, 0600, &toy->io);
    if (r < 0)
        return r;
    r = write_header(toy);
    if (r == 0 && !(bugs & TOY_UNSYNCED_FILE))
        r = plk_io_sync(toy->io, PLK_POINT_META_SYNC);
    if (r == 0)
        r = plk_dir_rename(dir, NAME ".tmp", NAME, false);
    if (r == 0 && !(bugs & TOY_UNSYNCED_NAME))
        r = plk_dir_sync(dir);
    if (r < 0)
        toy_close(toy);
    return r;
}

int toy_open(Toy *toy, PlkDir *dir, unsigned flags, unsigned bugs)
{
    unsigned char header[TABLE_OFFSET + sizeof toy->table];
    size_t got;
    int r;

    *toy = (Toy){.dir = dir, .bugs = bugs};
    r = plk_dir_open_file(dir, NAME, flags, 0, &toy->io);
    if (r < 0)
        return r;
    r = plk_io_read_upto(toy->io, header, sizeof header, 0, &got, PLK_POINT_OPEN_READ);
    if (r == 0 && (got < sizeof header || memcmp(header, MAGIC, sizeof MAGIC) != 0))
        r = -EUCLEAN;
    if (r < 0)
        toy_close(toy);
    else
        memcpy(toy->table, header + TABLE_OFFSET, sizeof toy->table);
    return r;
}

void toy_close(Toy *toy)
{
    plk_io_close(toy->io);
    toy->io = NULL;
}

static int write_slot(Toy *toy, unsigned slot)
{
    return plk_io_write(toy->io, &toy->table[slot], 4, TABLE_OFFSET + 4 * slot, PLK_POINT_META_BAT);
}

int toy_write(Toy *toy, unsigned slot, const void *bytes)
{
    uint64_t size;
    bool is_new = toy->table[slot] == 0;
    int r = plk_io_size(toy->io, &size);

    if (r < 0)
        return r;
    if (is_new)
        toy->table[slot] = (uint32_t)PLK_MAX(plk_div_up(size, TOY_CLUSTER), 1);
    if (is_new && toy->bugs & TOY_TABLE_FIRST)
        r = write_slot(toy, slot);
    else if (is_new)
        toy->dirty |= 1ull << slot;
    return r < 0 ? r : plk_io_write(toy->io, bytes, TOY_CLUSTER, (uint64_t)toy->table[slot] * TOY_CLUSTER,
                                    PLK_POINT_DATA_WRITE);
}

int toy_flush(Toy *toy)
{
    int r = 0;

    if (toy->dirty && !(toy->bugs & TOY_NO_BARRIER))
        r = plk_io_sync(toy->io, PLK_POINT_DATA_SYNC);
    for (; r == 0 && toy->dirty; toy->dirty &= toy->dirty - 1)
        r = write_slot(toy, (unsigned)__builtin_ctzll(toy->dirty));
    return r < 0 || toy->bugs & TOY_EARLY_ACK ? r : plk_io_sync(toy->io, PLK_POINT_META_SYNC);
}

int toy_read(Toy *toy, unsigned slot, void *bytes)
{
    if (toy->table[slot])
        return plk_io_read(toy->io, bytes, TOY_CLUSTER, (uint64_t)toy->table[slot] * TOY_CLUSTER,
                           PLK_POINT_DATA_READ);
    memset(bytes, 0, TOY_CLUSTER);
    return 0;
}

int toy_check(Toy *toy)
{
    uint64_t size, used = 0;
    int r = plk_io_size(toy->io, &size);

    for (unsigned i = 0; r == 0 && i < TOY_SLOTS; i++) {
        uint64_t at = toy->table[i];

        if (at == 0)
            continue;
        if ((at + 1) * TOY_CLUSTER > size || at >= 64 || used >> at & 1)
            r = -EUCLEAN;
        else
            used |= 1ull << at;
    }
    return r;
}

int toy_recover(Toy *toy)
{
    static const unsigned char zeros[TOY_CLUSTER];
    uint64_t last = 0;
    int r = 0;

    for (unsigned i = 0; i < TOY_SLOTS; i++)
        last = PLK_MAX(last, toy->table[i]);
    if (toy->bugs & TOY_CARELESS_RECOVERY)
        r = plk_io_write(toy->io, zeros, sizeof zeros, 0, PLK_POINT_META_INIT);
    if (r == 0)
        r = write_header(toy);
    if (r == 0)
        r = plk_io_truncate(toy->io, (last + 1) * TOY_CLUSTER, PLK_POINT_TAIL_TRUNCATE);
    return r < 0 ? r : plk_io_sync(toy->io, PLK_POINT_META_SYNC);
}
