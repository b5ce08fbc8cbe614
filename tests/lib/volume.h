/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Volumes in a directory of their own, for tests of what is done to a whole disk. Every state's content is
 * kept as one byte a cluster, so that "as before" and "as after" are comparisons of short strings.
 */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ploopkit/create.h>
#include <ploopkit/snapshot.h>

#include "test.h"

#define VOLUME_CLUSTERS 64u
#define VOLUME_CLUSTER_SECTORS 64u
#define VOLUME_CLUSTER_BYTES (VOLUME_CLUSTER_SECTORS * 512u)
#define VOLUME_SECTORS (VOLUME_CLUSTERS * VOLUME_CLUSTER_SECTORS)

#define GUID_1 "{11111111-1111-4111-8111-111111111111}"
#define GUID_2 "{22222222-2222-4222-8222-222222222222}"
#define GUID_3 "{33333333-3333-4333-8333-333333333333}"
#define GUID_TOP "{5fbaabe3-6958-40ff-92a7-860e329aab41}"

typedef struct Volume {
    char dir[256], xml[300], base[300];
} Volume;

/* One character a cluster: '.' for zeros, else its byte. */
typedef char Content[4 * VOLUME_CLUSTERS + 1];

static inline void volume_remove(Volume *v)
{
    DIR *d = opendir(v->dir);
    char path[600];

    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", v->dir, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(v->dir);
}

static inline void volume_place(Volume *v)
{
    const char *shm = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    snprintf(v->dir, sizeof v->dir, "%s/ploopkit-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : shm);
    CHECK(mkdtemp(v->dir));
    snprintf(v->xml, sizeof v->xml, "%s/DiskDescriptor.xml", v->dir);
    snprintf(v->base, sizeof v->base, "%s/root.hds", v->dir);
}

static inline void volume_new(Volume *v, PlkFormat format, int version)
{
    PlkCreateSpec spec = {.struct_size = sizeof spec,
                          .size_sectors = VOLUME_SECTORS,
                          .cluster_sectors = VOLUME_CLUSTER_SECTORS,
                          .version = version,
                          .format = format};
    PlkError err;

    volume_place(v);
    CHECK_OK(plk_disk_create(v->base, &spec, NULL, NULL, "none", NULL, &err), err);
}

static inline PlkDisk *volume_open(Volume *v, bool writable, const char *guid)
{
    PlkDiskOptions o = {.struct_size = sizeof o, .writable = writable, .snapshot = guid};
    PlkDisk *disk;
    PlkError err;

    CHECK_OK(plk_disk_open(v->xml, &o, &disk, &err), err);
    return disk;
}

static inline void disk_tag(PlkDisk *disk, unsigned cluster, char tag)
{
    static char buf[VOLUME_CLUSTER_BYTES];

    memset(buf, tag == '.' ? 0 : tag, sizeof buf);
    CHECK_INT(plk_disk_write(disk, buf, sizeof buf, (uint64_t)cluster * VOLUME_CLUSTER_BYTES), 0);
}

/* "0a 5b": cluster 0 becomes a's, cluster 5 b's. */
static inline void volume_write(Volume *v, const char *tags)
{
    PlkDisk *disk = volume_open(v, true, NULL);
    PlkError err;
    unsigned cluster;
    char tag;
    int used;

    while (sscanf(tags, " %u%c%n", &cluster, &tag, &used) == 2) {
        disk_tag(disk, cluster, tag);
        tags += used;
    }
    CHECK_OK(plk_disk_close(disk, &err), err);
}

static inline void disk_content(PlkDisk *disk, Content out)
{
    static char buf[VOLUME_CLUSTER_BYTES];
    unsigned n = (unsigned)(plk_disk_size(disk) / sizeof buf);

    CHECK(n < sizeof(Content));
    for (unsigned i = 0; i < n; i++) {
        CHECK_INT(plk_disk_read(disk, buf, sizeof buf, (uint64_t)i * sizeof buf), 0);
        CHECK(memcmp(buf, buf + 1, sizeof buf - 1) == 0);
        out[i] = buf[0] ? buf[0] : '.';
    }
    out[n] = '\0';
}

static inline void volume_content(Volume *v, const char *guid, Content out)
{
    PlkDisk *disk = volume_open(v, false, guid);
    PlkError err;

    disk_content(disk, out);
    CHECK_OK(plk_disk_close(disk, &err), err);
}

/* The state reads like `head` followed by zeros. */
static inline void volume_expect(Volume *v, const char *guid, const char *head)
{
    Content content;

    volume_content(v, guid, content);
    if (strncmp(content, head, strlen(head)) != 0 ||
        strspn(content + strlen(head), ".") != strlen(content + strlen(head)))
        test_fail(__FILE__, __LINE__, "state %s reads '%s', expected '%s' and zeros",
                  guid ? guid : "(active)", content, head);
}

static inline void volume_snapshot(Volume *v, const char *guid)
{
    PlkSnapshotSpec spec = {.struct_size = sizeof spec, .guid = guid};
    PlkError err;

    CHECK_OK(plk_snapshot_create(v->xml, NULL, &spec, NULL, &err), err);
}

/* Files in the directory, the lock file not counted. */
static inline unsigned volume_files(Volume *v)
{
    DIR *d = opendir(v->dir);
    unsigned n = 0;

    CHECK(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.' && !strstr(e->d_name, ".lck");
    closedir(d);
    return n;
}

static inline uint64_t volume_header(Volume *v, const char *file, unsigned offset)
{
    char path[600];
    uint32_t value;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", v->dir, file);
    f = fopen(path, "r");
    CHECK(f);
    CHECK(fseek(f, offset, SEEK_SET) == 0 && fread(&value, 1, 4, f) == 4);
    fclose(f);
    return value;
}
