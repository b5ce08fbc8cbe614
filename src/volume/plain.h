/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the drivers share about volumes that are one plain file. Nothing outside of volume/ needs it. */
#pragma once

#include <sys/stat.h>
#include <time.h>

#include "io/io.h"
#include "volume/volume.h"

/* One component of a path, and no step up or on the spot. */
bool plk_name_is_component(const char *name);
/* plk_place_open() for a path of any number of components beneath `dir`. */
int plk_open_judged(int dir, const char *name, int flags);
/* What everybody here asks statx for. */
#define PLK_STATX_MASK (STATX_BASIC_STATS | STATX_BTIME)
/*
 * The same for a name that was just looked at, with statx and without following links: the place to decide whether it is
 * opened at all. *ret: of what was opened then.
 */
int plk_open_seen(int dir, const char *name, const struct statx *seen, int flags, struct statx *ret);

/* ---- facts.c ---- */

/* Sizes, owner, times and identity; and the fingerprint anew, of this file alone. */
void plk_facts_set_stat(PlkVolumeFacts *facts, const struct statx *stx);
/* One more file that belongs to the volume goes into its fingerprint (not into its sizes). */
void plk_fingerprint_add(PlkFingerprint *fingerprint, const struct statx *stx);
/* security.selinux, g_free; NULL where there is none. */
char *plk_facts_label(int fd);

/* ---- plain.c: errors name place_path ---- */

/*
 * The existing file, held against other users of its image: QEMU and we see each other's locks (io/lock.h).
 * NO_VOLUME, STATE "in use by qemu-img (pid 4711)", REFUSED (link, special file, foreign file).
 */
int plk_plain_open(const PlkPlace *at, int flags, PlkIoLock lock, int *ret_fd, PlkError *err);
/* STATE if somebody is in the way of `lock`; takes nothing. */
int plk_plain_test_lock(const PlkPlace *at, int fd, PlkIoLock lock, PlkError *err);
/* A new one, open for reading and writing, mode 0600. */
int plk_plain_create(const PlkPlace *at, int *ret_fd, PlkError *err);
/* Undo of a create: the name goes, whatever became of it. */
void plk_plain_undo(const PlkPlace *at);
/* The name goes, unless the image is in use; that it is gone already is no error. A link goes itself. */
int plk_plain_remove(const PlkPlace *at, PlkError *err);
/* What fd holds is on stable storage: owner and mode as well. Late failures of writes end here. */
int plk_plain_finish(const PlkPlace *at, int fd, const PlkPermissions *permissions, PlkError *err);
/* fallocate, or zeros where the filesystem has none of that. */
int plk_plain_allocate(const PlkPlace *at, int fd, uint64_t start, uint64_t end, const PlkProgress *progress,
                       PlkError *err);
/*
 * The first `size` bytes of `in` to `out`, a new file with nothing in it; holes stay holes. FICLONE first;
 * with `reflink` only that, SYSTEM (EOPNOTSUPP) otherwise.
 */
int plk_plain_copy(const PlkPlace *at, int in, int out, uint64_t size, bool reflink,
                   const PlkProgress *progress, PlkError *err);
/* The open member of drivers whose volumes are one plain file. */
int plk_plain_stream(const PlkPlace *at, const PlkVolumeFacts *facts, PlkStreamWhat what, bool writing,
                     uint64_t offset, uint64_t length, PlkStream **ret, PlkError *err);
/* Refuses what no driver but ploop's knows: CONFIG for encryption. */
int plk_plain_check(const PlkVolumeDef *def, PlkError *err);

/* ---- progress ---- */

/* Tells a PlkProgress at most about ten times a second. */
typedef struct PlkPace {
    const PlkProgress *progress;
    const char *what;
    uint64_t done, total;
    struct timespec told;
} PlkPace;

/* `add` more bytes are done. 0, or -ECANCELED when it is to stop. */
int plk_pace(PlkPace *pace, uint64_t add);

/* ---- wipe.c ---- */

/*
 * Overwrites the data of a file, all passes, each synced; the last thing read in the file is what the last
 * pass wrote. Holes hold nothing and stay.
 */
int plk_plain_wipe(const PlkPlace *at, int fd, PlkWipe how, const PlkProgress *progress, PlkError *err);
