/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop info: how full the filesystem is, or with -s what the disk is like. Takes no lock, so that it also
 * answers while a guest runs. Scripts cut these lines up: layout to the byte.
 */
#include <inttypes.h>

#include <ploopkit/filesystem.h>

#include "base/math.h"
#include "cli.h"
#include "cli/common/json.h"
#include "look.h"

enum { OPT_JSON = PLK_LONG_ONLY };

typedef struct InfoFacts {
    const char *path;
    PlkDiskInfo disk;
    PlkFsUsage usage;
    bool has_usage;
} InfoFacts;

static void print_spec(const InfoFacts *f)
{
    printf("size:\t\t%" PRIu64 "\nblocksize:\t%u\nfmt_version:\t%d\n", f->disk.size / PLK_SECTOR,
           f->disk.cluster / PLK_SECTOR, f->disk.version);
}

static void print_usage_row(const char *resource, uint64_t size, uint64_t used)
{
    printf("%11s %14" PRIu64 " %14" PRIu64 "\n", resource, size, used);
}

static void print_usage(const PlkFsUsage *u)
{
    uint64_t k = u->block_bytes / 1024;

    printf("%11s %14s %14s\n", "resource", "Size", "Used");
    print_usage_row("1k-blocks", u->blocks * k, (u->blocks - u->blocks_free) * k);
    print_usage_row("inodes", u->inodes, u->inodes - u->inodes_free);
}

static void print_json(const InfoFacts *f)
{
    PlkJson j = {.out = stdout};
    const PlkFsUsage *u = &f->usage;

    plk_json_open(&j, NULL, '{');
    plk_json_string(&j, "path", f->path);
    plk_json_uint(&j, "size", f->disk.size);
    plk_json_uint(&j, "cluster", f->disk.cluster);
    plk_json_uint(&j, "version", (uint64_t)f->disk.version);
    plk_json_uint(&j, "images", f->disk.levels);
    plk_json_uint(&j, "allocated", f->disk.allocated);
    plk_json_bool(&j, "preallocated", f->disk.preallocated);
    plk_json_bool(&j, "raw", f->disk.raw);
    plk_json_bool(&j, "dirty", f->disk.dirty);
    if (f->has_usage) {
        plk_json_open(&j, "filesystem", '{');
        plk_json_string(&j, "type", u->type);
        plk_json_uint(&j, "block_size", u->block_bytes);
        plk_json_uint(&j, "blocks", u->blocks);
        plk_json_uint(&j, "blocks_free", u->blocks_free);
        plk_json_uint(&j, "inodes", u->inodes);
        plk_json_uint(&j, "inodes_free", u->inodes_free);
        plk_json_close(&j, '}');
    } else {
        plk_json_string(&j, "filesystem", NULL);
    }
    plk_json_close(&j, '}');
}

/* Nobody has it open, yet it was not closed: the size in its header may be about to change by a check. */
static int refuse_dirty(const InfoFacts *f)
{
    if (!f->disk.dirty || plk_snapshot_writer(f->path, plk_root, NULL) < 0)
        return 0;
    plk_complain("%s: Image is in use, or was not closed; 'ploop check %s' mends it", f->path, f->path);
    return PLK_EXIT_OPEN;
}

static int print_facts(const PlkArgs *args, PlkDisk *disk, InfoFacts *f)
{
    bool json = plk_arg_given(args, OPT_JSON), spec = plk_arg_given(args, 's');
    bool device = plk_arg_given(args, 'd');
    PlkError err;

    if (plk_disk_info(disk, &f->disk, &err) < 0)
        return plk_cli_fail(&err);
    if (json || !(spec || device))
        f->has_usage = plk_filesystem_usage(disk, &f->usage, &err) == 0;
    if (json) {
        print_json(f);
        return PLK_EXIT_OK;
    }
    if (!spec && !device && !f->has_usage)
        return plk_cli_fail(&err);
    if (spec && refuse_dirty(f))
        return PLK_EXIT_OPEN;
    if (!spec && !device)
        print_usage(&f->usage);
    if (spec)
        print_spec(f);
    if (device)
        puts("device:\t\t");
    return PLK_EXIT_OK;
}

static int run(const PlkArgs *args)
{
    InfoFacts facts = {.path = args->operands[0]};
    PLK_LOOK_AUTO PlkLook look = {0};
    PlkDisk *disk;
    PlkError err;
    int rc;

    if (plk_need_descriptor(facts.path))
        return PLK_EXIT_PARAM;
    if (plk_look(facts.path, &look, &err) < 0 || plk_cli_open(facts.path, false, &disk, &err) < 0)
        return plk_cli_fail(&err);
    if (plk_arg_given(args, 's') && !plk_arg_given(args, OPT_JSON))
        plk_say_opening(&look);
    rc = print_facts(args, disk, &facts);
    plk_disk_close(disk, NULL);
    return rc;
}

static const PlkOption options[] = {
    {'s', NULL, NULL, "size, cluster size and version of the disk"},
    {'d', NULL, NULL, "its device: always empty, there is no kernel device"},
    {OPT_JSON, "json", NULL, "everything as JSON; sizes in bytes"},
    {0},
};

const PlkVerb plk_verb_info = {
    .name = "info",
    .min = 1,
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = options,
    .run = run,
    .help = "show how full the filesystem is, or the geometry",
};
