/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptor as a transaction: every operation on a disk is run once for each call it makes to files and
 * directory, and that call fails. Afterwards the disk is as before or as it should be, nothing lies about,
 * and the operation can be repeated.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/alloc.h"
#include "change/operation.h"
#include "io/fault.h"
#include "volume.h"

/* ---- copies of a volume ---- */

static void copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    char from[600], to[600], buf[65536];
    int in, out;
    ssize_t n;

    snprintf(from, sizeof from, "%s/%s", from_dir, name);
    snprintf(to, sizeof to, "%s/%s", to_dir, name);
    in = open(from, O_RDONLY);
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(in >= 0 && out >= 0);
    while ((n = read(in, buf, sizeof buf)) > 0)
        CHECK_INT(write(out, buf, (size_t)n), n);
    close(in);
    close(out);
}

static void copy_volume(const Volume *from, Volume *to)
{
    DIR *d = opendir(from->dir);

    volume_place(to);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            copy_file(from->dir, to->dir, e->d_name);
    closedir(d);
}

/* ---- what a disk is, in one line ---- */

typedef struct Picture {
    Content active;
    size_t states;
    unsigned files;
    uint64_t version;
} Picture;

static void take_picture(Volume *v, Picture *p)
{
    PlkSnapshotList list;
    PlkError err;

    volume_content(v, NULL, p->active);
    CHECK_OK(plk_snapshot_list(v->xml, NULL, &list, &err), err);
    p->states = list.n;
    plk_snapshot_list_clear(&list);
    p->files = volume_files(v);
}

/* ---- an operation under faults ---- */

typedef int Operation(PlkStore *store, PlkError *err);

static unsigned long starve_at; /* the allocation that fails, 0 = none */

static int run_operation(Volume *v, PlkFault *fault, Operation *op, PlkError *err)
{
    PlkDir *real, *dir;
    PlkStore *store;
    int r;

    CHECK_INT(plk_dir_open_fs(v->dir, NULL, &real), 0);
    CHECK_INT(plk_dir_wrap_fault(real, fault, &dir), 0);
    CHECK_OK(plk_store_open_dir(dir, "DiskDescriptor.xml", &store, err), *err);
    plk_alloc_fail_at(starve_at, 0);
    r = plk_store_lock(store, err);
    if (r == 0)
        r = op(store, err);
    plk_alloc_fail_at(0, 0);
    plk_store_close(store);
    return r;
}

static void check_outcome(Volume *v, const Picture *before, const Picture *after, const PlkFault *fault,
                          int r, const PlkError *err)
{
    Picture p;
    bool is_before, is_after;

    take_picture(v, &p);
    is_before = p.states == before->states && strcmp(p.active, before->active) == 0;
    is_after = p.states == after->states && strcmp(p.active, after->active) == 0;
    if (!is_before && !is_after)
        test_fail(__FILE__, __LINE__, "call %lu failed (%s): neither before nor after: %zu states, '%s'",
                  fault->nth, r < 0 ? err->message : "done", p.states, p.active);
    if (r == 0 && !is_after)
        test_fail(__FILE__, __LINE__, "call %lu failed: said done, but is as before", fault->nth);
    if (is_before && !is_after && p.files != before->files)
        test_fail(__FILE__, __LINE__, "call %lu failed (%s): %u files lie there, %u before", fault->nth,
                  err->message, p.files, before->files);
}

static void repeat(Volume *v, const Picture *after, Operation *op, unsigned long nth)
{
    PlkFault none = {0};
    PlkError err;
    Picture p;

    take_picture(v, &p);
    if (p.states != after->states)
        CHECK_OK(run_operation(v, &none, op, &err), err);
    take_picture(v, &p);
    if (p.states != after->states || strcmp(p.active, after->active) != 0)
        test_fail(__FILE__, __LINE__, "call %lu failed: repeated, it reads '%s', expected '%s'", nth,
                  p.active, after->active);
}

static void survive(Volume *original, Operation *op, int errnum)
{
    Picture before, after;
    PlkFault fault = {0};
    unsigned long calls;
    PlkError err;
    Volume v;

    take_picture(original, &before);
    copy_volume(original, &v);
    CHECK_OK(run_operation(&v, &fault, op, &err), err);
    take_picture(&v, &after);
    volume_remove(&v);
    calls = fault.seen;
    for (unsigned long nth = 1; nth <= calls; nth++) {
        int r;

        fault = (PlkFault){.nth = nth, .errnum = errnum};
        copy_volume(original, &v);
        r = run_operation(&v, &fault, op, &err);
        check_outcome(&v, &before, &after, &fault, r, &err);
        repeat(&v, &after, op, nth);
        volume_remove(&v);
    }
    volume_remove(original);
}

/* ---- the operations ---- */

static int do_snapshot(PlkStore *store, PlkError *err)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = GUID_3};
    PlkGuid guid;

    return plk_store_snapshot(store, &spec, &guid, err);
}

static int do_delete(PlkStore *store, PlkError *err)
{
    PlkGuid guid;

    return plk_store_find_guid(store, GUID_2, &guid, err) < 0
               ? -1
               : plk_store_delete(store, &guid, NULL, NULL, err);
}

static int do_delete_active(PlkStore *store, PlkError *err)
{
    return plk_store_delete(store, &PLK_GUID_TOP, NULL, NULL, err);
}

static int do_switch(PlkStore *store, PlkError *err)
{
    PlkGuid guid;

    return plk_store_find_guid(store, GUID_1, &guid, err) < 0 ? -1
                                                              : plk_store_switch(store, &guid, true, err);
}

static int do_merge_all(PlkStore *store, PlkError *err)
{
    PlkMergeSpec spec = {.struct_size = sizeof spec, .all = true};

    return plk_store_merge(store, &spec, NULL, err);
}

static int do_merge_new(PlkStore *store, PlkError *err)
{
    char path[400];
    PlkMergeSpec spec = {.struct_size = sizeof spec, .all = true, .new_file = path};

    snprintf(path, sizeof path, "%s/new.hds", store->dir->path);
    return plk_store_merge(store, &spec, NULL, err);
}

static void three_states(Volume *v, int version)
{
    volume_new(v, PLK_FORMAT_EXPANDED, version);
    volume_write(v, "0a 1a 2a 9a");
    volume_snapshot(v, GUID_1);
    volume_write(v, "1b 3b");
    volume_snapshot(v, GUID_2);
    volume_write(v, "2c 3c 5c");
}

#define SURVIVES(name, op)                                                                                   \
    TEST(name)                                                                                               \
    {                                                                                                        \
        Volume v;                                                                                            \
                                                                                                             \
        three_states(&v, 2);                                                                                 \
        survive(&v, op, EIO);                                                                                \
        three_states(&v, 1);                                                                                 \
        survive(&v, op, ENOSPC);                                                                             \
    }

SURVIVES(taking_a_snapshot_survives_any_failure, do_snapshot)
SURVIVES(deleting_a_snapshot_survives_any_failure, do_delete)
SURVIVES(deleting_the_active_state_survives_any_failure, do_delete_active)
SURVIVES(switching_survives_any_failure, do_switch)
SURVIVES(merging_everything_survives_any_failure, do_merge_all)
SURVIVES(merging_into_a_new_file_survives_any_failure, do_merge_new)

/* ---- out of memory ---- */

static void starve(Operation *op)
{
    Picture before, after;
    Volume original, v;
    unsigned long nth;
    int r = -1;

    three_states(&original, 2);
    take_picture(&original, &before);
    for (nth = 1; r < 0; nth++) {
        PlkFault none = {0};
        PlkError err;

        copy_volume(&original, &v);
        starve_at = nth;
        r = run_operation(&v, &none, op, &err);
        starve_at = 0;
        take_picture(&v, &after);
        if (strcmp(before.active, after.active) != 0 || (r < 0 && after.files != before.files))
            test_fail(__FILE__, __LINE__, "allocation %lu failed: %u files, '%s'", nth, after.files,
                      after.active);
        volume_remove(&v);
    }
    CHECK(nth > 10);
    volume_remove(&original);
}

TEST(memory_may_run_out_anywhere)
{
    starve(do_snapshot);
    starve(do_delete);
    starve(do_merge_all);
    starve(do_merge_new);
}

/* ---- a snapshot of an open disk, and a scratch ---- */

typedef struct OpenDisk {
    PlkStore *store;
    PlkDisk *disk;
} OpenDisk;

static void open_faulty(Volume *v, PlkFault *fault, OpenDisk *o)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .writable = true};
    PlkDir *real, *dir;
    PlkError err;

    CHECK_INT(plk_dir_open_fs(v->dir, NULL, &real), 0);
    CHECK_INT(plk_dir_wrap_fault(real, fault, &dir), 0);
    CHECK_OK(plk_store_open_dir(dir, "DiskDescriptor.xml", &o->store, &err), err);
    CHECK_OK(plk_store_load(o->store, &err), err);
    CHECK_OK(plk_store_open_state(o->store, NULL, &options, &o->disk, &err), err);
}

/* What was flushed is there afterwards, and so is what was written later if its flush said so. */
TEST(a_snapshot_of_an_open_disk_survives_any_failure)
{
    static char buf[VOLUME_CLUSTER_BYTES];
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = GUID_3};
    unsigned long calls = 1;
    unsigned done = 0, usable = 0;

    memset(buf, 'q', sizeof buf);
    for (unsigned long nth = 0; nth <= calls; nth++) {
        PlkFault fault = {0};
        OpenDisk o;
        Volume v;
        PlkError err;
        Picture p;
        bool flushed;
        int r;

        three_states(&v, 2);
        open_faulty(&v, &fault, &o);
        disk_tag(o.disk, 6, 'f');
        CHECK_INT(plk_disk_flush(o.disk), 0);
        fault = (PlkFault){.nth = nth, .errnum = EIO};
        r = plk_disk_snapshot(o.disk, &spec, NULL, &err);
        if (nth == 0)
            calls = fault.seen;
        fault = (PlkFault){0};
        flushed = plk_disk_write(o.disk, buf, sizeof buf, 9 * sizeof buf) == 0 && plk_disk_flush(o.disk) == 0;
        plk_disk_drop(o.disk);
        plk_store_close(o.store);
        take_picture(&v, &p);
        p.active[9] = p.active[9] == 'q' && !flushed ? 'a' : p.active[9];
        if (strncmp(p.active, flushed ? "abcc.cf..q." : "abcc.cf..a.", 11) != 0)
            test_fail(__FILE__, __LINE__, "call %lu of %lu failed: reads '%s'", nth, calls, p.active);
        CHECK(r < 0 || p.states == 4);
        if (r < 0 && p.states == 3)
            CHECK_INT(p.files, 4);
        done += r == 0;
        usable += r < 0 && flushed;
        volume_remove(&v);
    }
    CHECK(calls > 10 && done > 0 && usable > 0);
}

/* ---- the lock and the file ---- */

TEST(a_linked_descriptor_is_not_followed)
{
    char moved[400];
    PlkStore *store;
    PlkError err;
    Volume v;

    volume_new(&v, PLK_FORMAT_EXPANDED, 2);
    snprintf(moved, sizeof moved, "%s/moved", v.dir);
    CHECK_INT(rename(v.xml, moved), 0);
    CHECK_INT(symlink("moved", v.xml), 0);
    CHECK_OK(plk_store_open(v.xml, NULL, &store, &err), err);
    CHECK_FAILS(plk_store_load(store, &err), err, PLK_ERROR_DESCRIPTOR);
    plk_store_close(store);
    volume_remove(&v);
}

TEST(an_image_outside_the_volume_is_not_opened)
{
    PlkDiskOptions o = {.struct_size = sizeof o};
    char text[4096], *name;
    PlkDisk *disk;
    PlkError err;
    FILE *f;
    size_t n;
    Volume v, w;

    volume_new(&v, PLK_FORMAT_EXPANDED, 2);
    volume_new(&w, PLK_FORMAT_EXPANDED, 2);
    f = fopen(v.xml, "r+");
    n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    rewind(f);
    name = strstr(text, "root.hds");
    fprintf(f, "%.*s%s%s", (int)(name - text), text, w.base, name + strlen("root.hds"));
    fclose(f);
    CHECK_FAILS(plk_disk_open(v.xml, &o, &disk, &err), err, PLK_ERROR_DESCRIPTOR);
    volume_remove(&v);
    volume_remove(&w);
}

TEST(a_missing_descriptor_is_said_to_be_missing)
{
    PlkStore *store;
    PlkError err;

    CHECK_FAILS(plk_store_open("/dev/shm/none/DiskDescriptor.xml", NULL, &store, &err), err,
                PLK_ERROR_DESCRIPTOR);
    CHECK_FAILS(plk_store_open("/dev/shm", NULL, &store, &err), err, PLK_ERROR_DESCRIPTOR);
    CHECK_FAILS(plk_store_open("/etc/passwd", NULL, &store, &err), err, PLK_ERROR_DESCRIPTOR);
}

/* A new delta is not synced while nobody can see it; from the snapshot on it must be. */
TEST(after_a_snapshot_under_an_open_disk_flushes_reach_the_file)
{
    PlkDiskOptions options = {.struct_size = sizeof options, .writable = true};
    PlkSnapshotSpec spec = {.struct_size = sizeof spec};
    PlkFault fault = {.point = PLK_POINT_DATA_SYNC};
    unsigned long before;
    PlkDir *real, *dir;
    PlkStore *store;
    PlkDisk *disk;
    PlkError err;
    Volume v;

    three_states(&v, 2);
    CHECK_INT(plk_dir_open_fs(v.dir, NULL, &real), 0);
    CHECK_INT(plk_dir_wrap_fault(real, &fault, &dir), 0);
    CHECK_OK(plk_store_open_dir(dir, "DiskDescriptor.xml", &store, &err), err);
    CHECK_OK(plk_store_lock(store, &err), err);
    CHECK_OK(plk_store_open_state(store, NULL, &options, &disk, &err), err);
    CHECK_OK(plk_disk_snapshot(disk, &spec, NULL, &err), err);
    CHECK_INT(plk_disk_write(disk, "x", 1, 0), 0);
    before = atomic_load(&fault.seen);
    CHECK_INT(plk_disk_flush(disk), 0);
    CHECK(atomic_load(&fault.seen) > before);
    CHECK_OK(plk_disk_close(disk, &err), err);
    plk_store_close(store);
    volume_remove(&v);
}

TEST_MAIN()
