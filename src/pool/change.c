/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of volumes that are there: delete, resize, wipe, snapshots. */
#include <string.h>

#include "base/error.h"
#include "pool/incomplete.h"
#include "pool/work.h"

#include <unistd.h>

/* ---- what takes more than one stroke ---- */

/* While it is under way a mark says so: what a kill leaves is known for what it is. */
typedef struct Mark {
    bool was_there; /* it was not whole before */
} Mark;

static int set_mark(const PlkWork *work, const PlkVolume *volume, const char *what, Mark *ret, PlkError *err)
{
    PlkIncomplete mark = plk_incomplete_now(what, volume->facts.dev, volume->facts.ino), old;

    ret->was_there = plk_incomplete_get(work->live->dir, work->name, mark.dev, mark.ino, &old);
    return plk_incomplete_set(work->live->dir, work->name, &mark, NULL, err);
}

/* Refused before anything was touched. */
static bool is_refusal(PlkErrorCode code)
{
    return code == PLK_ERROR_STATE || code == PLK_ERROR_REFUSED || code == PLK_ERROR_NO_ALGORITHM ||
           code == PLK_ERROR_NO_SUPPORT || code == PLK_ERROR_NOT_THIS_FORMAT || code == PLK_ERROR_NO_VOLUME ||
           code == PLK_ERROR_LOCKED;
}

/* r, and *why if that is a failure, are how it went. */
static int take_mark_off(const PlkWork *work, const Mark *mark, int r, const PlkError *why, PlkError *err)
{
    if (r == 0)
        return plk_incomplete_clear(work->live->dir, work->name, err);
    if (is_refusal(why->code) && !mark->was_there)
        plk_incomplete_clear(work->live->dir, work->name, NULL);
    if (err)
        *err = *why;
    return -1;
}

/* A ploop volume that was being wiped or taken apart when that broke off is none any more, but treated as one. */
static const PlkVolumeDriver *driver_of(const PlkWork *work, const PlkVolume *volume)
{
    PlkIncomplete mark;

    if (volume->facts.type == PLK_VOLUME_DIR &&
        plk_incomplete_get(work->live->dir, work->name, volume->facts.dev, volume->facts.ino, &mark) &&
        strcmp(mark.what, "upload"))
        return &plk_driver_ploop;
    return plk_volume_driver_of(&volume->facts);
}

/* ---- delete ---- */

/* Somebody else took it away: what the index knew is what there was to delete. */
static int forget(const PlkWork *work, PlkError *err)
{
    PlkVolumeList *list = plk_live_list(work->live);
    bool known = plk_index_find(list, work->name) != NULL;

    plk_volume_list_unref(list);
    plk_live_put(work->live, work->name, NULL);
    return known ? 0
                 : plk_fail(err, PLK_ERROR_NO_VOLUME, "no storage volume '%s' in pool '%s'", work->name,
                            work->live->pool->name);
}

/* Files go at one stroke, directories do not. */
static int take_away(const PlkWork *work, const PlkVolume *volume, PlkError *err)
{
    const PlkVolumeDriver *driver = driver_of(work, volume);
    const PlkPlace place = plk_work_place(work);
    PlkError why;
    Mark mark;
    int r;

    if (!driver->remove)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "volume '%s' cannot be deleted", work->name);
    if (driver != &plk_driver_ploop)
        return driver->remove(&place, &volume->facts, err);
    /* A full disk has no room for a mark, and only deleting makes some. */
    if (set_mark(work, volume, "deletion", &mark, &why) < 0 && why.code != PLK_ERROR_NO_SPACE) {
        if (err)
            *err = why;
        return -1;
    }
    r = driver->remove(&place, &volume->facts, &why);
    return take_mark_off(work, &mark, r, &why, err);
}

static int delete_volume(const PlkWork *work, PlkError *err)
{
    PlkVolume *volume = NULL;
    PlkError why;
    int r;

    if (plk_work_look(work, &volume, &why) < 0) {
        if (why.code == PLK_ERROR_NO_VOLUME)
            return forget(work, err);
        if (err)
            *err = why;
        return -1;
    }
    r = take_away(work, volume, err);
    plk_volume_unref(volume);
    if (r == 0 && fsync(work->live->dir) < 0)
        r = plk_fail_errno(err, PLK_ERROR_SYNC, errno, "volume '%s' is gone, but a crash may bring it back", work->name);
    if (r == 0)
        r = plk_incomplete_clear(work->live->dir, work->name, err);
    plk_live_renew(work->live, work->name, NULL, NULL);
    return r;
}

int plk_pool_delete_volume(PlkPool *pool, const char *name, unsigned flags, PlkError *err)
{
    PlkWork work;
    int r;

    if (flags)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "unsupported flags (0x%x) for deleting volume '%s'", flags, name);
    if (plk_work_begin(pool, name, "delete", true, NULL, &work, err) < 0)
        return -1;
    r = delete_volume(&work, err);
    plk_work_end(&work);
    return r;
}

/* ---- what needs a whole volume ---- */

/* Work on a volume that is good, and after it the index has what became of it, well or not. */
typedef struct Change {
    PlkWork work;
    PlkVolume *volume;
    const PlkVolumeDriver *driver;
    PlkPlace place;
} Change;

static int begin(PlkPool *pool, const char *name, const char *kind, const PlkProgress *progress, bool broken_too,
                 Change *ret, PlkError *err)
{
    if (plk_work_begin(pool, name, kind, true, progress, &ret->work, err) < 0)
        return -1;
    if (plk_work_look(&ret->work, &ret->volume, err) == 0) {
        if (broken_too || ret->volume->state == PLK_STATE_GOOD) {
            ret->driver = plk_volume_driver_of(&ret->volume->facts);
            ret->place = plk_work_place(&ret->work);
            return 0;
        }
        plk_fail(err, PLK_ERROR_STATE, "volume '%s': %s", name, ret->volume->reason);
        plk_volume_unref(ret->volume);
    }
    plk_work_end(&ret->work);
    return -1;
}

static int end(Change *change, int r, PlkError *err)
{
    PlkError why;

    plk_volume_unref(change->volume);
    if (plk_work_done(&change->work, NULL, &why) < 0 && r == 0) {
        r = -1;
        if (err)
            *err = why;
    }
    plk_work_end(&change->work);
    return r;
}

/* ---- resize ---- */

/* The size that is asked for. ARGUMENT as libvirt has it; a raw volume may shrink below what it has allocated. */
static int new_capacity(const PlkVolume *volume, uint64_t asked, unsigned flags, uint64_t *ret, PlkError *err)
{
    uint64_t now = volume->facts.capacity;

    if (asked == 0 && !(flags & (PLK_RESIZE_DELTA | PLK_RESIZE_SHRINK)))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "a capacity of 0 for volume '%s'", volume->name);
    if (flags & PLK_RESIZE_DELTA && flags & PLK_RESIZE_SHRINK)
        *ret = now - MIN(asked, now);
    else if (flags & PLK_RESIZE_DELTA && asked > INT64_MAX - MIN(now, (uint64_t)INT64_MAX))
        return plk_fail(err, PLK_ERROR_OVERFLOW, "volume '%s' cannot be larger than 2^63-1 bytes", volume->name);
    else
        *ret = flags & PLK_RESIZE_DELTA ? now + asked : asked;
    if (*ret > INT64_MAX)
        return plk_fail(err, PLK_ERROR_OVERFLOW, "volume '%s' cannot be larger than 2^63-1 bytes", volume->name);
    if (*ret < now && !(flags & PLK_RESIZE_SHRINK))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "volume '%s' has %" G_GUINT64_FORMAT " bytes; shrinking it to %" G_GUINT64_FORMAT
                        " loses data and has to be asked for", volume->name, now, *ret);
    return 0;
}

/* Refused before a disk is filled to its brim. */
static int check_room(PlkPool *pool, const PlkVolume *volume, uint64_t capacity, unsigned flags, PlkError *err)
{
    PlkPoolInfo info;
    uint64_t more = capacity - MIN(capacity, volume->facts.allocation);

    if (!(flags & PLK_RESIZE_ALLOCATE))
        return 0;
    if (plk_pool_info(pool, &info, err) < 0)
        return -1;
    return more <= info.available ? 0
                                  : plk_fail(err, PLK_ERROR_REFUSED, "volume '%s' would need %" G_GUINT64_FORMAT
                                             " bytes more, and pool '%s' has %" G_GUINT64_FORMAT " left", volume->name, more,
                                             pool->name, info.available);
}

int plk_pool_resize_volume(PlkPool *pool, const char *name, uint64_t capacity, unsigned flags,
                           const PlkProgress *progress, PlkError *err)
{
    uint64_t size;
    Change c;
    int r;

    if (begin(pool, name, "resize", progress, false, &c, err) < 0)
        return -1;
    r = new_capacity(c.volume, capacity, flags, &size, err);
    if (r == 0)
        r = check_room(pool, c.volume, size, flags, err);
    if (r == 0)
        r = c.driver->resize ? c.driver->resize(&c.place, &c.volume->facts, size, flags & ~PLK_RESIZE_DELTA,
                                                plk_job_progress(c.work.job), err)
                             : plk_fail(err, PLK_ERROR_NO_SUPPORT, "volume '%s' cannot be resized", name);
    return end(&c, r, err);
}

/* ---- wipe ---- */

/* Also of what is broken or incomplete: afterwards it is neither. */
int plk_pool_wipe_volume(PlkPool *pool, const char *name, PlkWipe how, const PlkProgress *progress, PlkError *err)
{
    PlkError why;
    Change c;
    Mark mark;
    int r;

    if (begin(pool, name, "wipe", progress, true, &c, err) < 0)
        return -1;
    c.driver = driver_of(&c.work, c.volume);
    if (!c.driver->wipe)
        return end(&c, plk_fail(err, PLK_ERROR_NO_SUPPORT, "volume '%s' cannot be wiped", name), err);
    r = set_mark(&c.work, c.volume, "wipe", &mark, err);
    if (r == 0) {
        r = c.driver->wipe(&c.place, &c.volume->facts, how, plk_job_progress(c.work.job), &why);
        r = take_mark_off(&c.work, &mark, r, &why, err);
    }
    return end(&c, r, err);
}

/* "I know that it is not whole": the mark goes. */
int plk_pool_accept_volume(PlkPool *pool, const char *name, PlkError *err)
{
    Change c;

    if (begin(pool, name, "accept", NULL, true, &c, err) < 0)
        return -1;
    return end(&c, plk_incomplete_clear(c.work.live->dir, name, err), err);
}

/* ---- snapshots ---- */

static int need_ploop(const PlkVolume *volume, PlkError *err)
{
    return volume->facts.type == PLK_VOLUME_PLOOP
               ? 0
               : plk_fail(err, PLK_ERROR_NO_SUPPORT, "volume '%s' is no ploop volume and has no snapshots", volume->name);
}

/* Reading needs only that nobody changes it meanwhile. */
static int begin_reading(PlkPool *pool, const char *name, PlkWork *work, PlkVolume **ret, PlkError *err)
{
    if (plk_work_begin(pool, name, "read", false, NULL, work, err) < 0)
        return -1;
    if (plk_work_look(work, ret, err) == 0)
        return 0;
    plk_work_end(work);
    return -1;
}

int plk_pool_snapshots(PlkPool *pool, const char *name, PlkSnapshotList *ret, PlkError *err)
{
    PlkVolume *volume;
    PlkPlace place;
    PlkWork work;
    int r;

    if (begin_reading(pool, name, &work, &volume, err) < 0)
        return -1;
    place = plk_work_place(&work);
    r = need_ploop(volume, err) < 0 ? -1 : plk_volume_snapshots(&place, &volume->facts, ret, err);
    plk_volume_unref(volume);
    plk_work_end(&work);
    return r;
}

int plk_pool_volume_map(PlkPool *pool, const char *name, PlkVolumeMapEach *each, void *arg, PlkError *err)
{
    PlkVolume *volume;
    PlkPlace place;
    PlkWork work;
    int r;

    if (begin_reading(pool, name, &work, &volume, err) < 0)
        return -1;
    place = plk_work_place(&work);
    r = plk_volume_map(&place, &volume->facts, each, arg, err);
    plk_volume_unref(volume);
    plk_work_end(&work);
    return r;
}

int plk_pool_snapshot_create(PlkPool *pool, const char *name, const char *guid, char *ret_guid, PlkError *err)
{
    Change c;
    int r;

    if (begin(pool, name, "snapshot", NULL, false, &c, err) < 0)
        return -1;
    r = need_ploop(c.volume, err) < 0 ? -1 : plk_volume_snapshot_create(&c.place, &c.volume->facts, guid, ret_guid, err);
    return end(&c, r, err);
}

int plk_pool_snapshot_switch(PlkPool *pool, const char *name, const char *guid, PlkError *err)
{
    Change c;
    int r;

    if (begin(pool, name, "switch", NULL, false, &c, err) < 0)
        return -1;
    r = need_ploop(c.volume, err) < 0 ? -1 : plk_volume_snapshot_switch(&c.place, &c.volume->facts, guid, err);
    return end(&c, r, err);
}

int plk_pool_snapshot_delete(PlkPool *pool, const char *name, const char *guid, const PlkProgress *progress, PlkError *err)
{
    Change c;
    int r;

    if (begin(pool, name, "snapshot-delete", progress, false, &c, err) < 0)
        return -1;
    r = need_ploop(c.volume, err) < 0 ? -1 : plk_volume_snapshot_delete(&c.place, &c.volume->facts, guid,
                                                                         plk_job_progress(c.work.job), err);
    return end(&c, r, err);
}

int plk_pool_snapshot_merge(PlkPool *pool, const char *name, const char *guid, const PlkProgress *progress, PlkError *err)
{
    Change c;
    int r;

    if (begin(pool, name, "merge", progress, false, &c, err) < 0)
        return -1;
    r = need_ploop(c.volume, err) < 0 ? -1 : plk_volume_snapshot_merge(&c.place, &c.volume->facts, guid,
                                                                        plk_job_progress(c.work.job), err);
    return end(&c, r, err);
}
