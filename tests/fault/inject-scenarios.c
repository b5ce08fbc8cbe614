/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The operations that are run with a fault in them, each through its public function. What a scenario makes of its
 * world when nothing fails is what "after" means.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ploopkit/check.h>
#include <ploopkit/create.h>
#include <ploopkit/resize.h>
#include <ploopkit/snapshot.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "change/scratch.h"
#include "inject.h"

/* ---- data ---- */

static int finish(PlkError *err)
{
    flush();
    world_close();
    return world.n_failed ? -1 : 0;
}

/* New clusters, whole and partial; over what is there; across borders; discards and what comes after them. */
static int write_about(PlkError *err)
{
    if (!world_try_open(err))
        return -1;
    put(4 * CLUSTER_SECTORS, CLUSTER_SECTORS);
    put(6 * CLUSTER_SECTORS + 3, 9);
    flush();
    put(5, 7);
    put(2 * CLUSTER_SECTORS - 4, 8);
    put(7 * CLUSTER_SECTORS - 9, 30);
    discard(4, 2);
    flush();
    discard(0, 1);
    put(4 * CLUSTER_SECTORS + 30, 3);
    put(3 * CLUSTER_SECTORS - 1, 2);
    flush();
    put(4 * CLUSTER_SECTORS + 8, 8);
    return finish(err);
}

static int snapshot_while_open(PlkError *err)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = GUID_NEW};
    PlkError first;
    int r;

    if (!world_try_open(err))
        return -1;
    put(4 * CLUSTER_SECTORS + 3, 9);
    r = plk_disk_snapshot(world.disk, &spec, NULL, &first);
    put(4 * CLUSTER_SECTORS, 5);
    put(0, 2);
    if (finish(err) < 0 && r == 0)
        return -1;
    if (r < 0)
        *err = first;
    return r;
}

/* ---- making disks ---- */

static int fill_new(PlkDisk *disk, void *arg, const PlkProgress *progress, PlkError *err)
{
    static const char words[5000] = "some";
    int r = plk_disk_write(disk, words, sizeof words, CLUSTER_BYTES - 100);

    if (r == 0)
        r = plk_disk_discard(disk, 0, CLUSTER_BYTES);
    if (r < 0) {
        plk_disk_explain(disk, r, err);
        return -1;
    }
    return 0;
}

static int create(PlkFormat format, bool full, PlkCreateFill *with, PlkError *err)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec,
                          .size_sectors = SECTORS,
                          .cluster_sectors = CLUSTER_SECTORS,
                          .format = format,
                          .alloc_full = full};

    return plk_disk_create(BASE, &spec, with, NULL, "none", world.progress, err);
}

static int create_empty(PlkError *err)
{
    return create(PLK_FORMAT_EXPANDED, false, NULL, err);
}

static int create_filled(PlkError *err)
{
    return create(PLK_FORMAT_EXPANDED, false, fill_new, err);
}

static int create_full(PlkError *err)
{
    return create(PLK_FORMAT_PREALLOCATED, true, fill_new, err);
}

static int create_raw(PlkError *err)
{
    return create(PLK_FORMAT_RAW, false, fill_new, err);
}

static int restore(PlkError *err)
{
    unsigned orphans;

    return plk_descriptor_restore(DIR_PATH, BASE, false, 0, &orphans, err);
}

/* ---- states ---- */

static int take(PlkError *err)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = GUID_NEW};

    return plk_snapshot_create(XML, NULL, &spec, NULL, err);
}

static int delete_active(PlkError *err)
{
    return plk_snapshot_delete(XML, NULL, "{5fbaabe3-6958-40ff-92a7-860e329aab41}", NULL, world.progress, err);
}

static int delete_middle(PlkError *err)
{
    return plk_snapshot_delete(XML, NULL, GUID_2, NULL, world.progress, err);
}

static int delete_base(PlkError *err)
{
    return plk_snapshot_delete(XML, NULL, GUID_1, NULL, world.progress, err);
}

static int merge(PlkMergeSpec spec, PlkError *err)
{
    spec.struct_size = sizeof spec;
    return plk_snapshot_merge(XML, NULL, &spec, world.progress, err);
}

static int merge_all(PlkError *err)
{
    return merge((PlkMergeSpec){.all = true}, err);
}

static int merge_one(PlkError *err)
{
    return merge((PlkMergeSpec){.guid = GUID_2}, err);
}

static int merge_new(PlkError *err)
{
    return merge((PlkMergeSpec){.all = true, .new_file = DIR_PATH "/new.hds"}, err);
}

static int merge_temporary(PlkError *err)
{
    size_t n;

    return plk_snapshot_merge_temporary(XML, NULL, &n, world.progress, err);
}

static int switch_away(PlkError *err)
{
    return plk_snapshot_switch(XML, NULL, GUID_1, false, err);
}

static int switch_keeping(PlkError *err)
{
    return plk_snapshot_switch(XML, NULL, GUID_1, true, err);
}

static int replace(PlkReplaceSpec spec, PlkError *err)
{
    spec.struct_size = sizeof spec;
    spec.new_file = DIR_PATH "/copy.hds";
    return plk_image_replace(XML, NULL, &spec, err);
}

static int replace_by_name(PlkError *err)
{
    return replace((PlkReplaceSpec){.guid = GUID_1}, err);
}

static int replace_in_place(PlkError *err)
{
    return replace((PlkReplaceSpec){.level = 0, .keep_name = true}, err);
}

/* What the descriptor named its deltas is random: the files are found by their order in the directory. */
typedef struct Found {
    char paths[4][100];
    size_t n;
} Found;

static int find_images(void *arg, const char *name)
{
    Found *f = arg;

    if (strncmp(name, "root.hds", 8) == 0 && f->n < 4)
        snprintf(f->paths[f->n++], sizeof f->paths[0], DIR_PATH "/%s", name);
    return 0;
}

static int merge_bare(const char *new_file, PlkError *err)
{
    const char *paths[2] = {NULL, BASE};
    Found f = {0};

    plk_dir_list(world.mem, find_images, &f);
    for (size_t i = 0; i < f.n; i++)
        if (strcmp(f.paths[i], BASE) != 0)
            paths[0] = f.paths[i];
    if (!paths[0]) /* the directory in memory had none for the list */
        return plk_fail_nomem(err);
    return plk_merge_files(paths, 2, false, new_file, world.progress, err);
}

static int merge_files(PlkError *err)
{
    return merge_bare(NULL, err);
}

static int merge_files_new(PlkError *err)
{
    return merge_bare(DIR_PATH "/new.hds", err);
}

/* ---- size and form ---- */

static int grow(PlkError *err)
{
    return plk_disk_grow(XML, NULL, 2 * SECTORS, world.progress, err);
}

/* The table takes the place of data clusters. */
static int grow_table(PlkError *err)
{
    return plk_disk_grow(XML, NULL, 20000ull * CLUSTER_SECTORS, world.progress, err);
}

static int shrink(PlkError *err)
{
    return plk_disk_shrink(XML, NULL, 6 * CLUSTER_SECTORS, world.progress, err);
}

static int compact(PlkError *err)
{
    uint64_t freed;

    return plk_disk_compact(XML, NULL, &freed, world.progress, err);
}

static int to_raw(PlkError *err)
{
    return plk_convert_format(XML, NULL, PLK_FORMAT_RAW, false, world.progress, err);
}

static int to_expanded(PlkError *err)
{
    return plk_convert_format(XML, NULL, PLK_FORMAT_EXPANDED, false, world.progress, err);
}

static int to_preallocated(PlkError *err)
{
    return plk_convert_format(XML, NULL, PLK_FORMAT_PREALLOCATED, true, world.progress, err);
}

static int to_version_1(PlkError *err)
{
    return plk_convert_version(XML, NULL, 1, world.progress, err);
}

static int to_version_2(PlkError *err)
{
    return plk_convert_version(XML, NULL, 2, world.progress, err);
}

/* ---- scratch ---- */

static int change_scratch(PlkScratch *scratch)
{
    static const char words[3000] = "changed";

    return plk_disk_write(plk_scratch_disk(scratch), words, sizeof words, 2 * CLUSTER_BYTES - 1000);
}

static int scratch(bool commit, PlkError *err)
{
    PlkScratch *s;
    int r;

    if (plk_scratch_begin(XML, NULL, commit ? 2 * SECTORS : 0, &s, err) < 0)
        return -1;
    r = change_scratch(s);
    if (r < 0)
        plk_disk_explain(plk_scratch_disk(s), r, err);
    if (r == 0 && commit)
        return plk_scratch_commit(s, world.progress, err);
    plk_scratch_drop(s);
    return r < 0 ? -1 : 0;
}

static int scratch_kept(PlkError *err)
{
    return scratch(true, err);
}

static int scratch_dropped(PlkError *err)
{
    return scratch(false, err);
}

/* ---- checks ---- */

static int count_finding(void *arg, const PlkFinding *f)
{
    return 0;
}

static int check(unsigned repair, bool sparse, PlkError *err)
{
    PlkCheckOptions o = {.struct_size = sizeof o, .repair = repair, .sparse = sparse};
    PlkCheckResult result;

    return plk_check_disk(XML, &o, count_finding, NULL, world.progress, &result, err);
}

static int mend(PlkError *err)
{
    return check(PLK_REPAIR_LOSSLESS | PLK_REPAIR_LOSSY | PLK_REPAIR_IN_USE, false, err);
}

static int mend_sparse(PlkError *err)
{
    return check(PLK_REPAIR_LOSSLESS | PLK_REPAIR_LOSSY | PLK_REPAIR_IN_USE | PLK_REPAIR_SPARSE, true, err);
}

static int look(PlkError *err)
{
    return check(0, true, err);
}

static int look_at_image(PlkError *err)
{
    PlkCheckOptions o = {.struct_size = sizeof o};
    PlkCheckResult result;

    return plk_check_image(BASE, &o, count_finding, NULL, world.progress, &result, err);
}

/* ---- reading ---- */

static int read_all(PlkError *err)
{
    static char buf[SECTORS * 512];
    PlkDiskOptions o = {.struct_size = sizeof o};
    PlkDisk *disk;
    int r;

    if (plk_disk_open(XML, &o, &disk, err) < 0)
        return -1;
    r = plk_disk_read(disk, buf, sizeof buf, 0);
    if (r < 0)
        plk_disk_explain(disk, r, err);
    if (plk_disk_close(disk, r < 0 ? NULL : err) < 0)
        r = -1;
    return r < 0 ? -1 : 0;
}

static int map_all(PlkError *err)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .snapshot = GUID_2};
    PlkDiskInfo info;
    PlkExtent extent;
    PlkDisk *disk;
    int r;

    if (plk_disk_open(XML, &o, &disk, err) < 0)
        return -1;
    r = plk_disk_info(disk, &info, err);
    for (uint64_t at = 0; r == 0 && at < info.size; at += extent.length) {
        r = plk_disk_status(disk, at, info.size - at, &extent);
        if (r < 0)
            plk_disk_explain(disk, r, err);
    }
    plk_disk_drop(disk);
    return r < 0 ? -1 : 0;
}

static int list(PlkError *err)
{
    PlkSnapshotList found;

    if (plk_snapshot_list(XML, NULL, &found, err) < 0)
        return -1;
    plk_snapshot_list_clear(&found);
    return plk_snapshot_writer(XML, NULL, err);
}

const Scenario scenarios[] = {
    {"write into an image", start_one_image, write_about, DATA, NULL},
    {"write into an image of version 1", start_one_image_v1, write_about, DATA, NULL},
    {"write into a preallocated image", start_preallocated, write_about, DATA, NULL},
    {"write into a raw image", start_raw, write_about, DATA, NULL},
    {"write above snapshots", start_three_states, write_about, DATA, NULL},
    {"write above a raw base", start_three_states_on_raw, write_about, DATA, NULL},
    {"write to a disk left open", start_left_open, write_about, DATA, NULL},
    {"snapshot while open", start_three_states, snapshot_while_open, DATA, NULL},
    {"create", world_empty, create_empty, MAKES, NULL},
    {"create and fill", world_empty, create_filled, MAKES, NULL},
    {"create preallocated and fill", world_empty, create_full, MAKES, NULL},
    {"create raw and fill", world_empty, create_raw, MAKES, NULL},
    {"restore-descriptor", start_without_descriptor, restore, MAKES, "root.hds"},
    {"snapshot", start_three_states, take, 0, NULL},
    {"snapshot of a disk left open", start_left_open, take, 0, NULL},
    {"snapshot above a temporary one", start_temporary_below, take, STEPS, NULL, GUID_2},
    {"delete the active state", start_three_states, delete_active, 0, NULL},
    {"delete in the middle", start_three_states, delete_middle, 0, NULL, GUID_2},
    {"delete at the base", start_three_states, delete_base, 0, NULL, GUID_1},
    {"delete one with two children", start_forked, delete_base, 0, NULL},
    {"delete a sibling", start_forked, delete_middle, 0, NULL, GUID_1 GUID_2},
    {"merge all", start_three_states, merge_all, 0, NULL, GUID_1 GUID_2},
    {"merge all, version 1", start_three_states_v1, merge_all, 0, NULL, GUID_1 GUID_2},
    {"merge all into raw", start_three_states_on_raw, merge_all, 0, NULL, GUID_1 GUID_2},
    {"merge one", start_three_states, merge_one, 0, NULL, GUID_1},
    {"merge into a new file", start_three_states, merge_new, 0, NULL},
    {"merge what is temporary", start_temporary_below, merge_temporary, STEPS, NULL, GUID_2},
    {"merge bare files", start_bare_files, merge_files, BARE, "root.hds*"},
    {"merge bare files into a new one", start_bare_files, merge_files_new, BARE, "root.hds* new.hds"},
    {"switch", start_three_states, switch_away, 0, NULL},
    {"switch and keep", start_three_states, switch_keeping, 0, NULL},
    {"grow", start_one_image, grow, STEPS, NULL},
    {"grow a raw image", start_raw, grow, STEPS, NULL},
    {"grow above snapshots", start_three_states, grow, STEPS, NULL},
    {"grow the table", start_one_image, grow_table, STEPS, NULL},
    {"shrink", start_one_image, shrink, STEPS, NULL},
    {"shrink a raw image", start_raw, shrink, STEPS, NULL},
    {"compact", start_one_image, compact, 0, NULL},
    {"compact above snapshots", start_three_states, compact, 0, NULL},
    {"convert to raw", start_one_image, to_raw, STEPS, NULL},
    {"convert from raw", start_raw, to_expanded, STEPS, NULL},
    {"convert to preallocated", start_one_image, to_preallocated, 0, NULL},
    {"convert to expanded", start_preallocated, to_expanded, 0, NULL},
    {"convert to version 1", start_three_states, to_version_1, 0, NULL},
    {"convert to version 2", start_three_states_v1, to_version_2, 0, NULL},
    {"replace", start_with_a_copy, replace_by_name, 0, "copy.hds root.hds"},
    {"replace in place", start_with_a_copy, replace_in_place, 0, "copy.hds"},
    {"scratch, kept", start_three_states, scratch_kept, STEPS, NULL},
    {"scratch, dropped", start_three_states, scratch_dropped, 0, NULL},
    {"check and mend", start_damaged, mend, 0, NULL},
    {"check and mend what was left open", start_left_open, mend, 0, NULL},
    {"check and fill holes", start_damaged, mend_sparse, 0, NULL},
    {"check", start_damaged, look, READS, NULL},
    {"check an image", start_left_open, look_at_image, READS, NULL},
    {"read", start_three_states, read_all, READS, NULL},
    {"read what was left open", start_left_open, read_all, READS, NULL},
    {"map a snapshot", start_three_states_on_raw, map_all, READS, NULL},
    {"list", start_three_states, list, READS, NULL},
};
const unsigned n_scenarios = sizeof scenarios / sizeof scenarios[0];
