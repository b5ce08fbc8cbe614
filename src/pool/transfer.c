/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Uploads and downloads: the driver's stream, with the name reserved and a job from open to close. An upload is marked
 * before its first byte, durably, and the mark goes when it ends well and covered all that the mark speaks of: what
 * a crash or a client leaves half-written is never taken for whole.
 */
#include <errno.h>
#include <time.h>

#include "base/error.h"
#include "pool/incomplete.h"
#include "pool/work.h"

typedef struct Transfer {
    PlkStream stream; /* first */
    PlkStream *inner; /* the driver's; NULL when closed */
    PlkWork work;
    PlkPool *pool; /* a reference */
    bool writing;
    bool finished;
    uint64_t from, to; /* what was asked for; to: UINT64_MAX = all there is */
    PlkIncomplete mark;
    uint64_t moved; /* bytes */
} Transfer;

static Transfer *transfer_of(PlkStream *s)
{
    return (Transfer *)s;
}

/* ---- bytes ---- */

static void copy_position(Transfer *t)
{
    t->stream.position = t->inner->position;
    t->stream.failed = t->stream.failed ? t->stream.failed : t->inner->failed;
}

/* -ECANCELED once somebody wants it stopped. */
static int go_on(Transfer *t)
{
    if (!t->stream.failed && plk_job_cancelled(t->work.job))
        t->stream.failed = -ECANCELED;
    return t->stream.failed;
}

static void moved(Transfer *t, uint64_t bytes)
{
    uint64_t size = t->writing ? t->stream.end : t->stream.size;

    t->moved += bytes;
    plk_job_report(t->work.job, t->moved, size == UINT64_MAX ? 0 : size - MIN(size, t->from));
    copy_position(t);
}

static ssize_t read_on(PlkStream *s, void *buf, size_t len)
{
    Transfer *t = transfer_of(s);
    ssize_t n = go_on(t);

    if (n == 0) {
        n = plk_stream_read(t->inner, buf, len);
        moved(t, n > 0 ? (uint64_t)n : 0);
    }
    return n;
}

static int next(PlkStream *s, bool *ret_data, uint64_t *ret_len)
{
    Transfer *t = transfer_of(s);
    int r = go_on(t);

    if (r == 0) {
        r = plk_stream_next(t->inner, ret_data, ret_len);
        copy_position(t);
    }
    return r;
}

static int skip(PlkStream *s, uint64_t len)
{
    Transfer *t = transfer_of(s);
    int r = go_on(t);

    if (r == 0) {
        r = plk_stream_skip(t->inner, len);
        moved(t, len);
    }
    return r;
}

static int write_on(PlkStream *s, const void *buf, size_t len)
{
    Transfer *t = transfer_of(s);
    int r = go_on(t);

    if (r == 0) {
        r = plk_stream_write(t->inner, buf, len);
        moved(t, len);
    }
    return r;
}

static int hole(PlkStream *s, uint64_t len)
{
    Transfer *t = transfer_of(s);
    int r = go_on(t);

    if (r == 0) {
        r = plk_stream_hole(t->inner, len);
        moved(t, len);
    }
    return r;
}

/* ---- the end ---- */

/* What an older upload had begun beyond this one's range is still not whole. */
static int take_mark_off(Transfer *t, PlkError *err)
{
    if (t->from > t->mark.from || t->to < t->mark.to)
        return 0;
    return plk_incomplete_clear(t->work.live->dir, t->work.name, err);
}

static int finish(PlkStream *s, PlkError *err)
{
    Transfer *t = transfer_of(s);

    if (t->finished)
        return 0;
    if (t->stream.failed == -ECANCELED)
        return plk_fail(err, PLK_ERROR_CANCELLED, "%s of volume '%s' was stopped", t->writing ? "the upload" : "the download",
                        t->work.name);
    if (plk_stream_finish(t->inner, err) < 0)
        return -1;
    if (t->writing && take_mark_off(t, err) < 0)
        return -1;
    t->finished = true;
    return 0;
}

/* The index hears of what there is now before the name is free again. */
static void close_transfer(PlkStream *s)
{
    Transfer *t = transfer_of(s);

    plk_stream_close(t->inner);
    if (t->writing)
        plk_work_done(&t->work, NULL, NULL);
    plk_work_end(&t->work);
    if (t->writing)
        plk_pool_emit(t->pool, PLK_EVENT_REFRESHED);
    plk_pool_unref(t->pool);
    g_free(t);
}

static const PlkStreamOps ops = {.read = read_on, .next = next, .skip = skip, .write = write_on, .hole = hole,
                                 .finish = finish, .close = close_transfer};

/* ---- opening ---- */

static int open_inner(Transfer *t, PlkVolume *volume, PlkStreamWhat what, uint64_t offset, uint64_t length, PlkError *err)
{
    const PlkVolumeDriver *driver = plk_volume_driver_of(&volume->facts);
    const PlkPlace place = plk_work_place(&t->work);

    if (!driver->open)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "volume '%s' has no bytes to be transferred", t->work.name);
    return driver->open(&place, &volume->facts, what, t->writing, offset, length, &t->inner, err);
}

static int set_mark(Transfer *t, const PlkVolumeFacts *facts, PlkError *err)
{
    PlkIncomplete mark = plk_incomplete_now("upload", facts->dev, facts->ino);

    mark.from = t->from;
    mark.to = t->to;
    return plk_incomplete_set(t->work.live->dir, t->work.name, &mark, &t->mark, err);
}

static int open_transfer(Transfer *t, PlkStreamWhat what, uint64_t offset, uint64_t length, PlkError *err)
{
    PlkVolume *volume;
    int r;

    if (length > UINT64_MAX - 1 - offset)
        return plk_fail(err, PLK_ERROR_OVERFLOW, "bytes %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT " more of volume '%s'",
                        offset, length, t->work.name);
    if (plk_work_look(&t->work, &volume, err) < 0)
        return -1;
    if (!t->writing && volume->state == PLK_STATE_INCOMPLETE)
        r = plk_fail(err, PLK_ERROR_STATE, "volume '%s' is not whole: %s; upload it again, or take it as it is with "
                     "'ploopctl vol accept'", t->work.name, volume->reason);
    else
        r = open_inner(t, volume, what, offset, length, err);
    if (r == 0 && t->writing && (r = set_mark(t, &volume->facts, err)) < 0)
        plk_stream_close(t->inner);
    plk_volume_unref(volume);
    return r;
}

static int start(PlkPool *pool, const char *name, PlkStreamWhat what, bool writing, uint64_t offset, uint64_t length,
                 PlkStream **ret, PlkError *err)
{
    Transfer *t = g_new0(Transfer, 1);

    t->writing = writing;
    t->from = offset;
    t->to = length ? offset + length : UINT64_MAX;
    if (plk_work_begin(pool, name, writing ? "upload" : "download", writing, NULL, &t->work, err) < 0) {
        g_free(t);
        return -1;
    }
    if (open_transfer(t, what, offset, length, err) < 0) {
        plk_work_end(&t->work);
        g_free(t);
        return -1;
    }
    t->pool = plk_pool_ref(pool);
    t->stream = (PlkStream){.ops = &ops, .fd = t->inner->fd, .position = t->inner->position, .end = t->inner->end,
                            .size = t->inner->size};
    *ret = &t->stream;
    return 0;
}

int plk_pool_upload(PlkPool *pool, const char *name, PlkStreamWhat what, uint64_t offset, uint64_t length,
                    PlkStream **ret, PlkError *err)
{
    return start(pool, name, what, true, offset, length, ret, err);
}

int plk_pool_download(PlkPool *pool, const char *name, PlkStreamWhat what, uint64_t offset, uint64_t length,
                      PlkStream **ret, PlkError *err)
{
    return start(pool, name, what, false, offset, length, ret, err);
}
