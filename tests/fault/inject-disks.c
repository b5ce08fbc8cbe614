/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The disks that the scenarios of inject-scenarios.c begin with. */
#include <string.h>

#include <ploopkit/create.h>
#include <ploopkit/snapshot.h>

#include "base/cleanup.h"
#include "disk/disk.h"
#include "format/header.h"
#include "inject.h"

static void must(int r, const PlkError *err)
{
    if (r < 0)
        world_die("a world could not be made: %s", err->message);
}

static void make(PlkFormat format, int version)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec,
                          .size_sectors = SECTORS,
                          .cluster_sectors = CLUSTER_SECTORS,
                          .version = version,
                          .format = format};
    PlkError err;

    world_empty();
    must(plk_disk_create(BASE, &spec, NULL, NULL, "none", NULL, &err), &err);
}

static void snapshot(const char *guid, bool temporary)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = guid, .temporary = temporary};
    PlkError err;

    remember_known(guid);
    must(plk_snapshot_create(XML, NULL, &spec, NULL, &err), &err);
}

/* Clusters 0, 1, 2 and 5, with two freed and one of them used again. */
static void fill(void)
{
    world_open();
    put(0, 3 * CLUSTER_SECTORS);
    put(5 * CLUSTER_SECTORS, CLUSTER_SECTORS);
    put(3 * CLUSTER_SECTORS, CLUSTER_SECTORS);
    flush();
    discard(3, 1);
    discard(1, 1);
    flush();
    put(CLUSTER_SECTORS + 7, 20);
    world_close();
}

void start_one_image(void)
{
    make(PLK_FORMAT_EXPANDED, 2);
    fill();
}

void start_one_image_v1(void)
{
    make(PLK_FORMAT_EXPANDED, 1);
    fill();
}

void start_preallocated(void)
{
    make(PLK_FORMAT_PREALLOCATED, 2);
    fill();
}

void start_raw(void)
{
    make(PLK_FORMAT_RAW, 2);
    fill();
}

static void write_more(void)
{
    world_open();
    put(CLUSTER_SECTORS + 2, 3);
    put(4 * CLUSTER_SECTORS, CLUSTER_SECTORS);
    world_close();
}

static void stack(void)
{
    snapshot(GUID_1, false);
    write_more();
    snapshot(GUID_2, false);
    world_open();
    put(2 * CLUSTER_SECTORS, 9);
    put(6 * CLUSTER_SECTORS + 1, 2);
    world_close();
}

void start_three_states(void)
{
    start_one_image();
    stack();
}

void start_three_states_v1(void)
{
    start_one_image_v1();
    stack();
}

void start_three_states_on_raw(void)
{
    start_raw();
    stack();
}

/* GUID_1 has two children. */
void start_forked(void)
{
    PlkError err;

    start_one_image();
    snapshot(GUID_1, false);
    write_more();
    snapshot(GUID_2, false);
    must(plk_snapshot_switch(XML, NULL, GUID_1, false, &err), &err);
    for (unsigned i = 0; i < SECTORS; i++)
        world.now[i] = world.safe[i] = 1ull << world.known[0].stamps[i];
    write_more();
}

void start_temporary_below(void)
{
    start_one_image();
    snapshot(GUID_1, false);
    write_more();
    snapshot(GUID_2, true);
    write_more();
}

/* Left in use, with clusters behind the last named one. */
void start_left_open(void)
{
    start_three_states();
    world_open();
    put(3 * CLUSTER_SECTORS, CLUSTER_SECTORS + 5);
    flush();
    put(7 * CLUSTER_SECTORS, 4);
    plk_disk_drop(world.disk);
    world.disk = NULL;
    memcpy(world.now, world.safe, sizeof world.now);
}

static void copy_of(const char *name, const char *copy)
{
    plk_cleanup(plk_io_closep) PlkIo *from = NULL, *to = NULL;
    static char buf[65536];
    uint64_t size;

    if (plk_dir_open_file(world.mem, name, 0, 0, &from) < 0 || plk_io_size(from, &size) < 0 ||
        plk_dir_open_file(world.mem, copy, PLK_OPEN_CREATE, 0600, &to) < 0 ||
        plk_io_copy(to, 0, from, 0, size, NULL, buf, sizeof buf, PLK_POINT_DATA_COPY) < 0)
        world_die("cannot copy %s", name);
}

void start_with_a_copy(void)
{
    start_three_states();
    copy_of("root.hds", "copy.hds");
}

void start_without_descriptor(void)
{
    start_one_image();
    if (plk_dir_unlink(world.mem, "DiskDescriptor.xml") < 0)
        world_die("cannot remove the descriptor");
}

/* Left in use, an entry outside the file, an entry behind the disk, a tail. */
void start_damaged(void)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    static const uint8_t far[4] = {0xff, 0xff};
    uint64_t size;

    start_one_image();
    if (plk_dir_open_file(world.mem, "root.hds", PLK_OPEN_WRITE, 0, &io) < 0 || plk_io_size(io, &size) < 0 ||
        plk_io_write(io, far, 4, plk_bat_offset(7), PLK_POINT_META_BAT) < 0 ||
        plk_io_truncate(io, size + CLUSTER_BYTES + 77, PLK_POINT_META_BAT) < 0)
        world_die("cannot damage an image");
}

void start_bare_files(void)
{
    start_three_states();
    if (plk_dir_unlink(world.mem, "DiskDescriptor.xml") < 0)
        world_die("cannot remove the descriptor");
}
