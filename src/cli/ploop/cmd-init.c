/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop init: a new disk with one image and, unless -t none, a filesystem in it. Nothing that exists is
 * touched, and a failure leaves nothing behind: the library builds first and names the result last.
 */
#include <string.h>

#include <ploopkit/create.h>
#include <ploopkit/filesystem.h>

#include "base/cleanup.h"
#include "cli.h"
#include "fill.h"
#include "look.h"
#include "volume/publish.h"

enum { OPT_POPULATE = PLK_LONG_ONLY, OPT_ALLOC };

typedef struct InitRequest {
    PlkNewDisk disk;
    PlkMkfsSpec mkfs;
    char filesystem[16];
} InitRequest;

static int parse_version(const PlkArgs *args, int *ret)
{
    uint64_t v = (uint64_t)*ret;

    if (plk_arg_uint(args, 'v', 2, &v))
        return PLK_EXIT_PARAM;
    if (v == 0 && plk_arg_given(args, 'v'))
        return plk_cli_param("Unknown ploop image version: 0");
    *ret = (int)v;
    return 0;
}

/* What stock libvirt asks for after a wipe, when it believes the size to be 0: the disk that was there. */
static int recall_geometry(const char *base, InitRequest *req)
{
    PLK_FREE char *dir = plk_directory_of(base);
    PlkGeometryNote note;
    PlkError err;

    if (!dir)
        return plk_cli_param("out of memory");
    if (plk_geometry_note_read(dir, plk_last_name(base), &note, &err) < 0)
        return plk_cli_param("the size must be above 0: %s", err.message);
    req->disk.spec.size_sectors = note.size_sectors;
    req->disk.spec.cluster_sectors = note.cluster_sectors;
    req->disk.spec.version = note.version;
    req->disk.spec.format = note.format;
    memcpy(req->filesystem, note.filesystem, sizeof(req->filesystem));
    return 0;
}

static int parse_geometry(const PlkArgs *args, InitRequest *req)
{
    PlkCreateSpec *spec = &req->disk.spec;
    uint64_t cluster, block = 0;

    if (plk_arg_sectors(args, 's', &spec->size_sectors))
        return PLK_EXIT_PARAM;
    if (spec->size_sectors == 0 && recall_geometry(args->operands[0], req))
        return PLK_EXIT_PARAM;
    cluster = spec->cluster_sectors;
    if (plk_arg_uint(args, 'b', UINT32_MAX, &cluster) || plk_arg_uint(args, 'B', 65536, &block) ||
        parse_version(args, &spec->version) || plk_arg_format(args, 'f', &spec->format) ||
        plk_arg_alloc(args, OPT_ALLOC, &spec->alloc_full))
        return PLK_EXIT_PARAM;
    if (plk_arg_given(args, 'b') && cluster == 0)
        return plk_cli_param("Incorrect blocksize specified: 0");
    spec->cluster_sectors = (uint32_t)cluster;
    req->mkfs.block_bytes = (uint32_t)block;
    return 0;
}

static int parse_filesystem(const PlkArgs *args, InitRequest *req)
{
    if (plk_arg_given(args, 't'))
        snprintf(req->filesystem, sizeof(req->filesystem), "%s", plk_arg(args, 't'));
    req->mkfs.type = req->filesystem;
    req->mkfs.no_lazy = plk_arg_given(args, 'n');
    req->mkfs.populate = plk_arg(args, OPT_POPULATE);
    if (strcmp(req->filesystem, "none") == 0) {
        if (req->mkfs.populate)
            return plk_cli_param("--populate needs a filesystem: use -t ext4 or -t ext3");
        return 0;
    }
    if (strcmp(req->filesystem, "ext4") != 0 && strcmp(req->filesystem, "ext3") != 0)
        return plk_cli_param("Incorrect file system type specified: %s (none, ext3 or ext4)",
                             req->filesystem);
    req->disk.fill = plk_mkfs_fill;
    req->disk.fill_arg = &req->mkfs;
    return 0;
}

static int run(const PlkArgs *args)
{
    InitRequest req = {
        .disk = {.base = args->operands[0], .spec = {.struct_size = sizeof(PlkCreateSpec)}},
        .mkfs = {.struct_size = sizeof(PlkMkfsSpec)},
        .filesystem = "ext4",
    };

    if (parse_geometry(args, &req) || parse_filesystem(args, &req))
        return PLK_EXIT_PARAM;
    req.disk.filesystem = req.filesystem;
    return plk_new_disk(&req.disk);
}

static const PlkOption options[] = {
    {'s', NULL, "SIZE", "size of the disk: NUMBER[KMGT], without a letter in sectors", true},
    {'f', NULL, "FORMAT", "expanded (= ploop1, the default), preallocated or raw"},
    {'v', NULL, "VERSION", "image version 2 (default) or 1"},
    {'t', NULL, "FSTYPE", "filesystem: ext4 (default), ext3 or none"},
    {'b', NULL, "SECTORS", "cluster size (2048; below 16 MiB of disk 64)"},
    {'B', NULL, "BYTES", "block size of the filesystem (4096)"},
    {'n', "nolazy", NULL, "initialise the inode tables now"},
    {OPT_POPULATE, "populate", "DIR|TAR", "fill the filesystem from a directory or a tar archive"},
    {OPT_ALLOC, "alloc", "full|sparse",
     "real blocks for every cluster, as old OpenVZ tools want them, or holes (default)"},
    {0},
};

static const char *const notes[] = {
    "DELTA is the image to be; DiskDescriptor.xml is made beside it.",
    "-s 0 makes the disk again that was wiped from this directory.",
    NULL,
};

const PlkVerb plk_verb_init = {
    .name = "init",
    .min = 1,
    .max = 1,
    .operands = "DELTA",
    .options = options,
    .run = run,
    .help = "make a new disk with a filesystem",
    .notes = notes,
};
