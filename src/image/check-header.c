/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The header in a check. Three of its fields say one thing twice: the disk size needs so many BAT entries, and
 * data starts where these end. When they contradict each other, one of them is replaced only if the other two
 * agree exactly, the entries in the file do not speak against it, and no other field could as well be the wrong
 * one. In any other case the fault is fatal: a wrong guess would show a disk that never was.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/math.h"
#include "image/check.h"

#define BAT_ENTRIES_MAX (UINT32_MAX - PLK_BAT_FIRST_SLOT)
#define KNOWN_FLAGS (PLK_FLAG_EMPTY | PLK_FLAG_CONVERT)
#define SCAN_BYTES 65536u

enum {
    OFFSET_TYPE = 16,
    OFFSET_CLUSTER = 28,
    OFFSET_ENTRIES = 32,
    OFFSET_SIZE = 36,
    OFFSET_SIZE_HIGH = 40,
    OFFSET_FIRST_BLOCK = 48,
    OFFSET_FLAGS = 52,
};

static int found(PlkChecker *c, PlkFindingKind kind, PlkFindingRank rank, uint64_t offset, uint64_t value)
{
    return plk_checker_report(
        c, &(PlkFinding){.kind = kind, .rank = rank, .slot = PLK_NO_SLOT, .offset = offset, .value = value});
}

static int fatal(PlkChecker *c, PlkFindingKind kind, uint64_t offset, uint64_t value)
{
    return found(c, kind, PLK_FINDING_FATAL, offset, value);
}

static uint64_t area_of(const PlkHeader *h)
{
    return plk_bat_area_bytes(h->bat_entries, h->cluster_sectors);
}

static uint64_t first_byte(const PlkHeader *h)
{
    return (uint64_t)h->first_block_sectors * PLK_SECTOR;
}

/* Entries for a disk of that size. */
static uint64_t entries_for(const PlkHeader *h)
{
    return plk_div_up(h->size_sectors, h->cluster_sectors);
}

/* ---- what the entries in the file say ---- */

typedef bool EntriesFn(const PlkHeader *h, uint64_t file_clusters, const uint8_t *bytes, size_t n);

/* 1 if each piece of the entries [from, to), bytes of the file, passes; 0 or -errno. Holes are not asked about. */
static int all_entries(PlkChecker *c, const PlkHeader *h, uint64_t from, uint64_t to, EntriesFn *pass)
{
    PLK_FREE uint8_t *buf = plk_malloc(to > from ? (size_t)PLK_MIN(SCAN_BYTES, to - from) : 0);
    uint64_t clusters = plk_div_up(c->size, (uint64_t)h->cluster_sectors * PLK_SECTOR), start, end;
    int r = buf ? 0 : -ENOMEM;

    for (uint64_t at = from; r == 0 && at < to;) {
        r = plk_io_next_data(c->io, at, &start, &end);
        at = plk_round_down(PLK_MAX(start, at), 4);
        if (r < 0 || end <= at)
            break;
        for (end = PLK_MIN(end, to); r == 0 && at < end; at += SCAN_BYTES) {
            size_t n = (size_t)PLK_MIN(SCAN_BYTES, to - at);

            r = plk_io_read(c->io, buf, n, at, PLK_POINT_BAT_READ);
            if (r == 0 && !pass(h, clusters, buf, n / 4))
                return 0;
        }
    }
    return r < 0 ? r : 1;
}

static bool are_empty(const PlkHeader *h, uint64_t file_clusters, const uint8_t *bytes, size_t n)
{
    return plk_is_zero(bytes, 4 * n);
}

static bool names_data(const PlkHeader *h, uint64_t file_clusters, const uint8_t *bytes, uint32_t *ret)
{
    plk_bat_decode(h->version, h->cluster_sectors, bytes, ret, 1);
    return *ret != PLK_BAT_MISALIGNED && *ret >= h->first_block_sectors / h->cluster_sectors && *ret < file_clusters;
}

/* Each names a cluster of data inside the file. */
static bool are_sound(const PlkHeader *h, uint64_t file_clusters, const uint8_t *bytes, size_t n)
{
    uint32_t slot;

    if (plk_is_zero(bytes, 4 * n))
        return true;
    for (size_t i = 0; i < n; i++)
        if (!names_data(h, file_clusters, bytes + 4 * i, &slot) && slot != 0)
            return false;
    return true;
}

/* All entries of the disk are sound under this header; 0: not all; -errno. */
static int entries_are_sound(PlkChecker *c, const PlkHeader *h)
{
    return all_entries(c, h, PLK_HEADER_BYTES, PLK_HEADER_BYTES + 4ull * h->bat_entries, are_sound);
}

/* 1 if nothing stands behind the last entry of the disk, as this header counts them. */
static int rest_is_empty(PlkChecker *c, const PlkHeader *h)
{
    return all_entries(c, h, PLK_HEADER_BYTES + 4ull * h->bat_entries, area_of(h), are_empty);
}

/* ---- faults, and what the header was before ---- */

static bool is_sound(const PlkHeader *h)
{
    return h->first_block_sectors != 0 && h->first_block_sectors % h->cluster_sectors == 0 &&
           h->bat_entries <= BAT_ENTRIES_MAX && first_byte(h) >= area_of(h) && h->size_sectors != 0 &&
           h->size_sectors / h->cluster_sectors <= h->bat_entries;
}

/* Size, entries and first block all say the same, and the file is long enough for it. */
static bool all_agree(const PlkChecker *c, const PlkHeader *h)
{
    return h->bat_entries != 0 && is_sound(h) && h->bat_entries == entries_for(h) && first_byte(h) == area_of(h) &&
           first_byte(h) <= c->size;
}

/* Heads and cylinders are those of a disk of that size: nothing if not, since they are not always kept up. */
static bool geometry_confirms(const PlkHeader *h)
{
    uint32_t heads, cylinders, sectors;

    plk_geometry(h->size_sectors, &heads, &cylinders, &sectors);
    return h->heads == heads && h->cylinders == cylinders;
}

static PlkHeader with_first_block(const PlkHeader *h)
{
    PlkHeader was = *h;
    uint64_t sectors = area_of(h) / PLK_SECTOR;

    was.first_block_sectors = sectors <= UINT32_MAX ? (uint32_t)sectors : 0;
    return was;
}

static PlkHeader with_entries(const PlkHeader *h)
{
    PlkHeader was = *h;

    was.bat_entries = entries_for(h) <= BAT_ENTRIES_MAX ? (uint32_t)entries_for(h) : 0;
    return was;
}

static PlkHeader with_size(const PlkHeader *h)
{
    PlkHeader was = *h;

    was.size_sectors = (uint64_t)h->bat_entries * h->cluster_sectors;
    if (h->bat_entries > BAT_ENTRIES_MAX || was.size_sectors > plk_header_max_size(h->version, h->cluster_sectors))
        was.size_sectors = 0;
    return was;
}

static int could_be(PlkChecker *c, const PlkHeader *was, bool strict)
{
    int r = all_agree(c, was);

    if (r == 1 && strict)
        r = entries_are_sound(c, was);
    return r == 1 ? rest_is_empty(c, was) : r;
}

/* Entries and size are both candidates: the one that the geometry stands by stays, if it is only one. */
static void choose_by_geometry(const PlkHeader *h, const PlkHeader *size, int *entries_ok, int *size_ok)
{
    bool size_stays = geometry_confirms(h), entries_stay = geometry_confirms(size);

    if (size_stays == entries_stay)
        *entries_ok = *size_ok = 0;
    else
        *(size_stays ? size_ok : entries_ok) = 0;
}

static void propose(PlkChecker *c, PlkFindingKind kind, uint64_t offset, uint64_t value, uint64_t becomes)
{
    c->fault = (PlkFinding){.kind = kind,
                            .rank = PLK_FINDING_LOSSY,
                            .slot = PLK_NO_SLOT,
                            .offset = offset,
                            .value = value,
                            .becomes = becomes,
                            .count = 1};
}

/* 1 if one reading is left and c->header is it; 0: none, or too many. */
static int reconstruct(PlkChecker *c)
{
    const PlkHeader *h = &c->found;
    PlkHeader first = with_first_block(h), entries = with_entries(h), size = with_size(h);
    int first_ok = could_be(c, &first, true), entries_ok = could_be(c, &entries, false);
    int size_ok = could_be(c, &size, false);

    if (first_ok < 0 || entries_ok < 0 || size_ok < 0)
        return first_ok < 0 ? first_ok : entries_ok < 0 ? entries_ok : size_ok;
    if (entries_ok && size_ok)
        choose_by_geometry(h, &size, &entries_ok, &size_ok);
    if (first_ok + entries_ok + size_ok != 1)
        return 0;
    c->header = first_ok ? first : entries_ok ? entries : size;
    if (entries_ok)
        propose(c, PLK_FOUND_BAT_COUNT, OFFSET_ENTRIES, h->bat_entries, entries.bat_entries);
    else if (size_ok)
        propose(c, PLK_FOUND_DISK_SIZE, OFFSET_SIZE, h->size_sectors, size.size_sectors);
    else
        propose(c, is_sound(h) ? PLK_FOUND_FIRST_BLOCK_OUTSIDE : PLK_FOUND_FIRST_BLOCK, OFFSET_FIRST_BLOCK,
                h->first_block_sectors, first.first_block_sectors);
    return 1;
}

/* The fault by its place, when nobody can tell what stood there. */
static int report_unsound(PlkChecker *c)
{
    const PlkHeader *h = &c->found;

    if (h->first_block_sectors == 0 || h->first_block_sectors % h->cluster_sectors || first_byte(h) < area_of(h))
        return fatal(c, PLK_FOUND_FIRST_BLOCK, OFFSET_FIRST_BLOCK, h->first_block_sectors);
    if (h->bat_entries > BAT_ENTRIES_MAX)
        return fatal(c, PLK_FOUND_BAT_COUNT, OFFSET_ENTRIES, h->bat_entries);
    return fatal(c, PLK_FOUND_DISK_SIZE, OFFSET_SIZE, h->size_sectors);
}

/*
 * The header is sound, the file ends before its first block. The missing part is put back only if it held nothing:
 * it lies behind the entries, or the header says that there never was data.
 */
static int judge_short_file(PlkChecker *c)
{
    const PlkHeader *h = &c->found;
    uint64_t end = PLK_HEADER_BYTES + 4ull * h->bat_entries;
    bool agree = h->bat_entries == entries_for(h) && first_byte(h) == area_of(h);
    int r = agree && (c->size >= end || h->flags & PLK_FLAG_EMPTY);

    if (r == 1)
        r = all_entries(c, h, PLK_HEADER_BYTES, PLK_MIN(end, c->size), are_empty);
    if (r < 0)
        return r;
    if (r == 0)
        return fatal(c, PLK_FOUND_BAT_SHORT, c->size, c->size);
    propose(c, PLK_FOUND_BAT_SHORT, c->size, c->size, first_byte(h));
    c->header_ok = true;
    return 0;
}

/* Room behind the BAT that data could have: it does if entries name it, and then the first block is what is wrong. */
static int judge_late_first_block(PlkChecker *c)
{
    PlkHeader early = with_first_block(&c->found);
    int r = first_byte(&c->found) == area_of(&c->found) ? 1 : entries_are_sound(c, &c->found);

    if (r != 0)
        return r < 0 ? r : 0;
    r = could_be(c, &early, true);
    if (r == 1) {
        c->header = early;
        propose(c, PLK_FOUND_FIRST_BLOCK_LATE, OFFSET_FIRST_BLOCK, c->found.first_block_sectors,
                early.first_block_sectors);
    }
    return r < 0 ? r : 0;
}

static int judge(PlkChecker *c)
{
    bool sound = is_sound(&c->found);
    int r;

    c->header = c->found;
    if (sound && first_byte(&c->found) <= c->size) {
        c->header_ok = true;
        return judge_late_first_block(c);
    }
    r = reconstruct(c);
    if (r == 0)
        return sound ? judge_short_file(c) : report_unsound(c);
    c->header_ok = r == 1;
    return r < 0 ? r : 0;
}

int plk_checker_check_version(PlkChecker *c, bool *ret_wrong)
{
    PlkHeader other = c->header;
    int r;

    other.version = c->header.version == 1 ? 2 : 1;
    r = entries_are_sound(c, &other);
    if (r != 1)
        return r;
    *ret_wrong = true;
    return fatal(c, PLK_FOUND_VERSION, 0, (uint64_t)c->header.version);
}

/* Faults that leave nothing to go on with. *ret: there is none. */
static int check_identity(PlkChecker *c, size_t got, const uint8_t buf[PLK_HEADER_BYTES], bool *ret)
{
    PlkHeader *h = &c->found;

    if (got < PLK_HEADER_BYTES)
        return fatal(c, PLK_FOUND_HEADER_SHORT, got, got);
    if (plk_header_decode(buf, got, c->name, PLK_HEADER_LOOSE, h, NULL) < 0)
        return fatal(c, PLK_FOUND_SIGNATURE, 0, 0);
    if (h->disk_type != 2)
        return fatal(c, PLK_FOUND_TYPE, OFFSET_TYPE, h->disk_type);
    if (!plk_cluster_is_valid(h->cluster_sectors))
        return fatal(c, PLK_FOUND_CLUSTER_SIZE, OFFSET_CLUSTER, h->cluster_sectors);
    /* Its entries may count sectors in one page and clusters in the next: no evidence of anything. */
    if (h->flags & PLK_FLAG_CONVERT && !plk_checker_is_closed(h))
        return fatal(c, PLK_FOUND_CONVERTING, OFFSET_FLAGS, h->flags);
    *ret = true;
    return 0;
}

int plk_checker_read_header(PlkChecker *c)
{
    uint8_t buf[PLK_HEADER_BYTES];
    bool known = false;
    size_t got;
    int r = plk_io_read_upto(c->io, buf, PLK_HEADER_BYTES, 0, &got, PLK_POINT_OPEN_READ);

    if (r == 0)
        r = check_identity(c, got, buf, &known);
    if (r == 0 && known)
        r = judge(c);
    if (r < 0 || !c->header_ok)
        return r;
    memcpy(&c->size_high, buf + OFFSET_SIZE_HIGH, sizeof c->size_high);
    c->cluster_shift = plk_log2(c->header.cluster_sectors * PLK_SECTOR);
    c->first_cluster = c->header.first_block_sectors / c->header.cluster_sectors;
    c->file_clusters = plk_div_up(c->size, 1ull << c->cluster_shift);
    plk_io_set_meta_end(c->io, c->first_cluster << c->cluster_shift);
    return 0;
}

/* ---- oddities ---- */

/* What is tidied up along with a lossy repair. */
static int tidied(PlkChecker *c, PlkFindingKind kind, uint64_t offset, uint64_t value, bool possible)
{
    PlkFinding f = {.kind = kind, .slot = PLK_NO_SLOT, .offset = offset, .value = value};

    f.fixed = possible && c->mending && plk_checker_may(c, PLK_REPAIR_LOSSY);
    c->tidy |= f.fixed;
    return plk_checker_report(c, &f);
}

/* Entries that no size needs go only if they are empty and if data starts where it should without them. */
static int check_surplus(PlkChecker *c)
{
    PlkHeader *h = &c->header;
    PlkHeader fewer = with_entries(h);
    uint64_t surplus = h->bat_entries - entries_for(h);
    int r = all_agree(c, &fewer) ? rest_is_empty(c, &fewer) : 0, tidy = r;

    if (r >= 0)
        r = tidied(c, PLK_FOUND_BAT_EXTRA, OFFSET_ENTRIES, surplus, tidy == 1);
    if (r == 0 && tidy == 1 && c->mending && plk_checker_may(c, PLK_REPAIR_LOSSY))
        *h = fewer;
    return r;
}

int plk_checker_check_oddities(PlkChecker *c)
{
    const PlkHeader *h = &c->header;
    int r = 0;

    if (h->version == 1 && plk_le32(c->size_high) != 0)
        r = tidied(c, PLK_FOUND_SIZE_HIGH, OFFSET_SIZE_HIGH, plk_le32(c->size_high), true);
    if (r == 0 && h->size_sectors % h->cluster_sectors)
        r = found(c, PLK_FOUND_SIZE_PARTIAL, PLK_FINDING_INFO, OFFSET_SIZE, h->size_sectors % h->cluster_sectors);
    if (r == 0 && h->bat_entries > entries_for(h))
        r = check_surplus(c);
    if (r == 0 && first_byte(h) > area_of(h))
        r = found(c, PLK_FOUND_FIRST_BLOCK_LATE, PLK_FINDING_INFO, OFFSET_FIRST_BLOCK, h->first_block_sectors);
    if (r == 0 && h->flags & ~KNOWN_FLAGS)
        r = found(c, PLK_FOUND_UNKNOWN_FLAGS, PLK_FINDING_INFO, OFFSET_FLAGS, h->flags);
    return r;
}
