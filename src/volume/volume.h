/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A volume: a file, or for ploop a directory, by the name of `name` in an open directory. One driver a format;
 * what is the same for all stands in volume.c.
 *
 * Drivers know nothing of pools, indexes, stages or reservations: create and clone build at the place they are
 * given, which nobody else looks at yet; the caller publishes it and holds the name against others.
 *
 * Everything is opened beneath `dir`, following no link (plk_place_open); what is found is checked with fstat
 * before it is used. Files named inside images are never opened by a probe.
 *
 * A driver that fails leaves nothing at its place that was not there before. What it made is synced when it
 * returns 0: file and, for a directory, the directory. Names are synced by who publishes them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include <ploopkit/progress.h>
#include <ploopkit/snapshot.h>

#include "conf/volume-def.h"

/* Borrowed; plain data. */
typedef struct PlkPlace {
    int dir;              /* of the directory, readable */
    const char *dir_path; /* its absolute path, for messages and XML */
    const char *name;     /* one component, never "." or ".." */
} PlkPlace;

/* "DIR_PATH/NAME"; g_free */
char *plk_place_path(const PlkPlace *place);
/*
 * openat2: beneath, no links, no magic links, O_NONBLOCK | O_CLOEXEC | O_NOCTTY. Only regular files and directories come
 * back, others are -ELOOP (a link), -ENXIO (fifo, socket, device). -EMLINK: for writing, and another user's
 * file by a hard link. Or any -errno of open.
 */
int plk_place_open(const PlkPlace *place, int flags);

/*
 * What tells that nothing changed: of the file, or of a ploop volume's directory, descriptor, base and top image. One
 * whose youngest time was less than 20 ms before the probe is not trusted.
 */
typedef struct PlkFingerprint {
    uint64_t digest[2]; /* of dev, ino, size, mtime, ctime of each */
    bool trusted;
} PlkFingerprint;

/* What a probe found. Strings are g_free'd by plk_volume_facts_clear(). */
typedef struct PlkVolumeFacts {
    PlkVolumeType type;
    PlkFileFormat format;
    uint64_t capacity, allocation, physical; /* bytes; allocation: blocks of all its files */
    uint32_t mode, uid, gid;
    struct timespec atime, mtime, ctime, btime;
    uint64_t dev, ino;     /* of the file or directory */
    char *label;           /* security.selinux, or NULL */
    char *backing;         /* as libvirt prints it: absolute path, or a URI as it stands; NULL */
    PlkFileFormat backing_format; /* as the image says; AUTO if it does not */
    PlkEncryption encryption;
    uint32_t cluster;      /* 0 = does not apply; qcow2's cluster size, ploop's too */
    bool compat_1_1, lazy_refcounts, extended_l2;
    char *reason;          /* why it cannot be used as it is, one sentence; NULL = healthy */
    uint32_t snapshots;    /* ploop: states below the active one */
    char *base;            /* ploop: name of the base image when it is not root.hds */
    char **deltas;         /* ploop: names of all other images, NULL-terminated; NULL = there are none */
    PlkFingerprint fingerprint;
} PlkVolumeFacts;

void plk_volume_facts_clear(PlkVolumeFacts *facts);

/*
 * Look at what is there. 0 with *ret filled, also for damaged volumes (reason); 1: not a volume (fifo, socket, device, link to
 * nowhere, something that vanished, `.ploopkit`, a name with control characters); -1 only for NO_MEMORY and the like.
 * Costs: raw and foreign: open, fstat, one pread of 33280 bytes, close. Never blocks, never opens a second
 * file but a ploop volume's own.
 * A symbolic link is a volume with a reason, never followed.
 */
int plk_volume_probe(const PlkPlace *place, PlkVolumeFacts *ret, PlkError *err);
/* statx alone: the fingerprint, sizes, owner and times; 1 when it is gone or no volume any more. The rest of *facts is kept. */
int plk_volume_stat(const PlkPlace *place, PlkVolumeFacts *facts, PlkError *err);
/* How an existing volume would be described. name: in the pool at dir_path. */
PlkVolumeDef *plk_volume_describe(const PlkPlace *place, const PlkVolumeFacts *facts);

/* ---- doing things ---- */

#define PLK_CREATE_PREALLOC_METADATA 1u /* libvirt's numbers */
#define PLK_CREATE_REFLINK 2u           /* fail rather than copy */
#define PLK_CREATE_VALIDATE 4u
#define PLK_CREATE_COMPAT_0_10 8u       /* qcow2 without compat in its definition is 0.10, as libvirt 9.0 has it; else 1.1 */
#define PLK_CREATE_EMPTY 16u            /* ploop: no partition table, no filesystem */
#define PLK_CREATE_KEEP_SNAPSHOTS 32u   /* clone of ploop as ploop: the chain, not the flattened disk */

#define PLK_RESIZE_ALLOCATE 1u /* libvirt's numbers */
#define PLK_RESIZE_DELTA 2u    /* resolved by pool/; drivers see absolute sizes */
#define PLK_RESIZE_SHRINK 4u

typedef enum PlkWipe { /* libvirt's numbers */
    PLK_WIPE_ZERO, PLK_WIPE_NNSA, PLK_WIPE_DOD, PLK_WIPE_BSI, PLK_WIPE_GUTMANN, PLK_WIPE_SCHNEIER,
    PLK_WIPE_PFITZNER7, PLK_WIPE_PFITZNER33, PLK_WIPE_RANDOM, PLK_WIPE_TRIM, PLK_WIPE_ALGORITHMS
} PlkWipe;
extern const char *const plk_wipe_names[];

/* The bytes of a volume in motion; see stream.h. */
typedef struct PlkStream PlkStream;

/* What to open a stream on. */
typedef enum PlkStreamWhat {
    PLK_STREAM_CONTAINER, /* the file itself; ploop: its base image, refused (STATE) while snapshots exist */
    PLK_STREAM_DISK,      /* ploop: the flattened disk, as a raw image */
} PlkStreamWhat;

/* Where a clone comes from. */
typedef struct PlkVolumeOrigin {
    PlkPlace place;
    const PlkVolumeFacts *facts;
    const char *snapshot; /* ploop: this state instead of the active one; NULL */
} PlkVolumeOrigin;

/*
 * A driver. NULL members: NO_SUPPORT. def carries name, capacity, allocation, permissions (with what the pool
 * gives already filled in), format and features. All long ones report progress and stop on demand.
 */
typedef struct PlkVolumeDriver {
    const char *name;
    PlkVolumeType type;
    /* Everything that can be refused without touching the disk: sizes, options, missing helper programs. */
    int (*check)(const PlkVolumeDef *def, unsigned flags, PlkError *err);
    int (*create)(const PlkPlace *at, const PlkVolumeDef *def, unsigned flags, const PlkProgress *progress,
                  PlkError *err);
    int (*clone)(const PlkPlace *at, const PlkVolumeDef *def, const PlkVolumeOrigin *from, unsigned flags,
                 const PlkProgress *progress, PlkError *err);
    int (*remove)(const PlkPlace *at, const PlkVolumeFacts *facts, PlkError *err);
    int (*resize)(const PlkPlace *at, const PlkVolumeFacts *facts, uint64_t capacity, unsigned flags,
                  const PlkProgress *progress, PlkError *err);
    /* Afterwards an empty volume of the same format, capacity and identity. */
    int (*wipe)(const PlkPlace *at, const PlkVolumeFacts *facts, PlkWipe how, const PlkProgress *progress,
                PlkError *err);
    /* length 0 = to the end (reading), without limit (writing). */
    int (*open)(const PlkPlace *at, const PlkVolumeFacts *facts, PlkStreamWhat what, bool writing, uint64_t offset,
                uint64_t length, PlkStream **ret, PlkError *err);
} PlkVolumeDriver;

/* Never NULL: formats that we only list have the driver that hands all to qemu-img, or refuses. */
const PlkVolumeDriver *plk_volume_driver(PlkFileFormat format);
/* For a volume that is there: a bare ploop image, without a directory, is in the hands of the raw driver. */
const PlkVolumeDriver *plk_volume_driver_of(const PlkVolumeFacts *facts);
extern const PlkVolumeDriver plk_driver_raw, plk_driver_dir, plk_driver_qemu, plk_driver_ploop;

/* mode, owner and label of a new file or directory. -1 in permissions: 0600 (directories 0711), our own ids. */
int plk_volume_own(int fd, const PlkPermissions *permissions, bool is_dir, PlkError *err);

/* ---- snapshots: ploop only (ploop-snapshot.c) ---- */

int plk_volume_snapshots(const PlkPlace *at, const PlkVolumeFacts *facts, PlkSnapshotList *ret, PlkError *err);
int plk_volume_snapshot_create(const PlkPlace *at, const PlkVolumeFacts *facts, const char *guid, char *ret_guid,
                               PlkError *err);
int plk_volume_snapshot_switch(const PlkPlace *at, const PlkVolumeFacts *facts, const char *guid, PlkError *err);
int plk_volume_snapshot_delete(const PlkPlace *at, const PlkVolumeFacts *facts, const char *guid,
                               const PlkProgress *progress, PlkError *err);
int plk_volume_snapshot_merge(const PlkPlace *at, const PlkVolumeFacts *facts, const char *guid,
                              const PlkProgress *progress, PlkError *err);
/* Where data lies (map.c): calls each for every run, in order. NO_SUPPORT for formats that are neither ploop nor raw. */
typedef int PlkVolumeMapEach(void *arg, uint64_t offset, uint64_t length, bool data, const char *file,
                             uint64_t file_offset);
int plk_volume_map(const PlkPlace *at, const PlkVolumeFacts *facts, PlkVolumeMapEach *each, void *arg,
                   PlkError *err);
