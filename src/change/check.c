/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checking image files by path and whole chains; the passes over one file are image/check.c.
 *
 * The state below a snapshot is what it was, and nobody repairs it in passing: lower images are opened read-only
 * unless options.lower asks for them.
 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "change/operation.h"
#include "disk/bare.h"
#include "disk/store.h"
#include "image/check.h"

/* A clean image that need not be looked into is not worth an exclusive lock. */
static int open_to_check(const char *path, const PlkCheckOptions *options, PlkIo **ret, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;

    if (!options->repair || options->dry_run)
        return plk_bare_open_locked(path, false, ret, err);
    if (!options->skip_clean || options->raw)
        return plk_bare_open_locked(path, true, ret, err);
    if (plk_bare_open(path, false, &io, err) < 0)
        return -1;
    if (plk_image_is_closed(io) != 1 || options->repair & PLK_REPAIR_SPARSE)
        return plk_bare_open_locked(path, true, ret, err);
    *ret = PLK_TAKE(io);
    return 0;
}

int plk_check_image(const char *path, const PlkCheckOptions *options, PlkFindingFn *report, void *arg,
                    const PlkProgress *progress, PlkCheckResult *ret, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    PlkCheckResult result = {0};

    if (options->raw && !plk_cluster_is_valid(options->cluster_sectors))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "image '%s': a raw image is checked with its cluster size",
                        path);
    if (open_to_check(path, options, &io, err) < 0)
        return -1;
    if (plk_image_check(io, 0, options, report, arg, progress, &result, NULL, err) < 0)
        return -1;
    *ret = result;
    return 0;
}

/* ---- chains ---- */

/* Where the fields stand that must fit the image below. */
enum { OFFSET_VERSION = 0, OFFSET_CLUSTER = 28, OFFSET_SIZE = 36 };

typedef struct ChainCheck {
    PlkStore *store;
    const PlkCheckOptions *options;
    PlkFindingFn *report;
    void *arg;
    const PlkProgress *progress;
    PlkCheckResult *result;
    PlkHeader below; /* cluster_sectors 0: unknown, or there is none */
} ChainCheck;

typedef struct Misfit {
    PlkFindingKind kind;
    PlkFindingRank rank;
    uint64_t offset, value, becomes;
} Misfit;

static int report_misfit(ChainCheck *k, const char *image, unsigned level, Misfit m, PlkError *err)
{
    PlkChecker c = {.name = image, .level = level, .report = k->report, .arg = k->arg, .result = k->result};
    int r = plk_checker_report(&c, &(PlkFinding){.kind = m.kind,
                                                 .rank = m.rank,
                                                 .slot = PLK_NO_SLOT,
                                                 .offset = m.offset,
                                                 .value = m.value,
                                                 .becomes = m.becomes});

    return r < 0 ? plk_fail_io(err, PLK_ERROR_READ, r, "cannot check image '%s'", image) : 0;
}

/* Does the image fit the one below and the descriptor? */
static int check_fit(ChainCheck *k, const char *image, unsigned level, bool top, const PlkHeader *h, PlkError *err)
{
    const PlkHeader *b = &k->below;
    const PlkDescriptor *desc = &k->store->desc;
    Misfit version = {PLK_FOUND_CHAIN_VERSION, PLK_FINDING_FATAL, OFFSET_VERSION, (uint64_t)h->version, 0};
    Misfit cluster = {PLK_FOUND_CHAIN_CLUSTER, PLK_FINDING_FATAL, OFFSET_CLUSTER, h->cluster_sectors, 0};
    Misfit size = {PLK_FOUND_CHAIN_SIZE, PLK_FINDING_FATAL, OFFSET_SIZE, h->size_sectors, b->size_sectors};
    Misfit described = {PLK_FOUND_DESCRIPTOR_SIZE, PLK_FINDING_INFO, OFFSET_SIZE, h->size_sectors, 0};
    int r = 0;

    if (h->cluster_sectors != desc->cluster_sectors ||
        (b->cluster_sectors && h->cluster_sectors != b->cluster_sectors))
        r = report_misfit(k, image, level, cluster, err);
    if (r == 0 && b->version && h->version && h->version != b->version)
        r = report_misfit(k, image, level, version, err);
    if (r == 0 && b->cluster_sectors && h->size_sectors < b->size_sectors)
        r = report_misfit(k, image, level, size, err);
    if (r == 0 && top && !k->options->snapshot && desc->size_sectors && h->size_sectors != desc->size_sectors)
        r = report_misfit(k, image, level, described, err);
    return r;
}

static int open_level(ChainCheck *k, const char *file, bool write, PlkIo **ret, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    int r = plk_dir_open_file(k->store->dir, file, write ? PLK_OPEN_WRITE : 0, 0, &io);

    if (r < 0)
        return plk_chain_fail_open(k->store->dir, file, r, err);
    r = plk_io_lock(io, write ? PLK_IO_LOCK_EXCLUSIVE : PLK_IO_LOCK_SHARED);
    if (r < 0)
        return plk_fail_locked(err, io, r);
    *ret = PLK_TAKE(io);
    return 0;
}

static int check_level(ChainCheck *k, int index, unsigned level, bool top, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    const PlkDescImage *image = &k->store->desc.images[index];
    PlkCheckOptions options = *k->options;
    PlkHeader header = {0};

    options.raw = plk_store_is_raw(&k->store->desc, index);
    options.cluster_sectors = k->store->desc.cluster_sectors;
    options.lower = !top || plk_descriptor_count_children(&k->store->desc, &image->guid) > 0;
    if (options.lower && !k->options->lower)
        options.repair = 0;
    if (open_level(k, image->file, options.repair && !options.dry_run, &io, err) < 0)
        return -1;
    if (plk_image_check(io, level, &options, k->report, k->arg, k->progress, k->result, &header, err) < 0)
        return -1;
    if (header.cluster_sectors && check_fit(k, io->name, level, top, &header, err) < 0)
        return -1;
    k->below = header;
    return 0;
}

static int find_state(PlkStore *store, const char *text, PlkGuid *ret, PlkError *err)
{
    *ret = store->desc.top;
    if (!text)
        return 0;
    if (!plk_guid_parse(text, ret))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' is not a GUID", text);
    if (plk_descriptor_find_image(&store->desc, ret) < 0)
        return plk_fail(err, PLK_ERROR_NO_SNAPSHOT, "disk '%s/%s' has no snapshot %s", store->dir->path,
                        store->name, text);
    return 0;
}

static int check_chain(ChainCheck *k, PlkError *err)
{
    PLK_FREE int *chain = NULL;
    PlkGuid state;
    size_t n;

    if (find_state(k->store, k->options->snapshot, &state, err) < 0 ||
        plk_descriptor_chain(&k->store->desc, &state, k->store->path, &chain, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (check_level(k, chain[i], (unsigned)i, i == n - 1, err) < 0)
            return -1;
    return 0;
}

int plk_store_check(PlkStore *store, const PlkCheckOptions *options, PlkFindingFn *report, void *arg,
                    const PlkProgress *progress, PlkCheckResult *ret, PlkError *err)
{
    PlkCheckResult result = {0};
    ChainCheck k = {.store = store,
                    .options = options,
                    .report = report,
                    .arg = arg,
                    .progress = progress,
                    .result = &result};

    if (check_chain(&k, err) < 0)
        return -1;
    *ret = result;
    return 0;
}

int plk_check_disk(const char *path, const PlkCheckOptions *options, PlkFindingFn *report, void *arg,
                   const PlkProgress *progress, PlkCheckResult *ret, PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open(path, options->root, &store, err) < 0)
        return -1;
    if ((options->repair && !options->dry_run ? plk_store_lock(store, err) : plk_store_load(store, err)) < 0)
        return -1;
    return plk_store_check(store, options, report, arg, progress, ret, err);
}
