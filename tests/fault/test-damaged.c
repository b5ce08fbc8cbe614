/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every operation of inject-scenarios.c on disks with an entry that cannot be, in one image after the other:
 * it is done, or it says in one line which image it is and leaves the disk as it was. What can be read then
 * is what it held.
 */
#include <errno.h>

#include "base/cleanup.h"
#include "base/endian.h"
#include "disk/disk.h"
#include "format/header.h"
#include "inject.h"
#include "test.h"

#define IMAGES_MAX 4u

typedef struct Damage {
    const char *name;
    int version;
    uint32_t entry;
} Damage;

static const Damage damages[] = {
    {"an entry beyond the file", 2, 0xffff},
    {"an entry beyond the file", 1, 0xffff * CLUSTER_SECTORS},
    {"an entry between clusters", 1, 7},
};
static const uint32_t slots[] = {0, 2, 5};

typedef struct Images {
    char names[IMAGES_MAX][100];
    size_t n;
} Images;

static int add_image(void *arg, const char *name)
{
    Images *images = arg;

    if (strncmp(name, "root.hds", 8) == 0 && images->n < IMAGES_MAX)
        snprintf(images->names[images->n++], sizeof images->names[0], "%s", name);
    return 0;
}

/* False: the image has no entries of this kind. */
static bool damage(const char *name, const Damage *d, uint32_t slot)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    PlkLe32 entry = plk_to_le32(d->entry);
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader header;

    CHECK_INT(plk_dir_open_file(world.mem, name, PLK_OPEN_WRITE, 0, &io), 0);
    CHECK_INT(plk_io_read(io, buf, sizeof buf, 0, PLK_POINT_OPEN_READ), 0);
    if (plk_header_decode(buf, sizeof buf, name, PLK_HEADER_LOOSE, &header, NULL) < 0 ||
        header.version != d->version)
        return false;
    CHECK_INT(plk_io_write(io, &entry, sizeof entry, plk_bat_offset(slot), PLK_POINT_META_BAT), 0);
    return true;
}

/* Cluster by cluster; one that cannot be read is 'x', one with nothing '.'. */
static void read_clusters(char ret[CLUSTERS + 1])
{
    PlkDiskOptions o = {.struct_size = sizeof o};
    uint32_t buf[CLUSTER_SECTORS * 128];
    PlkDisk *disk;
    PlkError err;

    memset(ret, 'x', CLUSTERS);
    ret[CLUSTERS] = '\0';
    CHECK_OK(plk_disk_open(XML, &o, &disk, &err), err);
    for (unsigned i = 0; i < CLUSTERS; i++)
        if (plk_disk_read(disk, buf, sizeof buf, i * (uint64_t)CLUSTER_BYTES) == 0) {
            uint32_t sum = 0;

            for (unsigned k = 0; k < sizeof buf / sizeof buf[0]; k++)
                sum = sum * 31 + buf[k];
            ret[i] = sum ? (char)('A' + sum % 26) : '.';
        }
    plk_disk_drop(disk);
}

static void judge(const Scenario *s, const Damage *d, const char *image, int r, const PlkError *err,
                  const char before[CLUSTERS + 1])
{
    char after[CLUSTERS + 1];

    if (r == 0)
        return;
    if (!err->message[0] || strchr(err->message, '\n') || !strstr(err->message, "root.hds"))
        test_fail(__FILE__, __LINE__, "%s, %s in %s: names no image in one line: '%s'", s->name, d->name,
                  image, err->message);
    if (s->flags & (DATA | BARE) || strstr(err->message, "the change is made"))
        return;
    read_clusters(after);
    if (strcmp(before, after) != 0)
        test_fail(__FILE__, __LINE__, "%s, %s in %s: failed, but the disk is %s, not %s: %s", s->name,
                  d->name, image, after, before, err->message);
}

static void run(const Scenario *s, const World *start, const Damage *d, const char *image, uint32_t slot)
{
    char before[CLUSTERS + 1] = "";
    long live = live_allocations();
    PlkError err = {0};
    int r;

    world_clone(start);
    if (damage(image, d, slot)) {
        if (!(s->flags & BARE))
            read_clusters(before);
        r = s->run(&err);
        judge(s, d, image, r, &err, before);
    }
    world_clear(&world);
    if (live_allocations() != live)
        test_fail(__FILE__, __LINE__, "%s, %s in %s: memory is left", s->name, d->name, image);
}

static void run_from(const Scenario *s, void (*begin)(void))
{
    static World start;
    Images images = {0};

    begin();
    start = world;
    world.mem = NULL;
    CHECK_INT(plk_dir_list(start.mem, add_image, &images), 0);
    for (size_t i = 0; i < images.n; i++)
        for (size_t d = 0; d < sizeof damages / sizeof damages[0]; d++)
            for (size_t k = 0; k < sizeof slots / sizeof slots[0]; k++)
                run(s, &start, &damages[d], images.names[i], slots[k]);
    world_clear(&start);
}

TEST(every_operation_on_a_damaged_image)
{
    for (unsigned i = 0; i < n_scenarios; i++) {
        const Scenario *s = &scenarios[i];

        if (s->flags & MAKES)
            continue;
        run_from(s, s->start);
        if (s->start == start_one_image && !strstr(s->name, "version"))
            run_from(s, start_one_image_v1);
        if (s->start == start_three_states && !strstr(s->name, "version"))
            run_from(s, start_three_states_v1);
    }
}

TEST_MAIN()
