/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operations on volumes: what is the same for all of them. */
#include "pool/work.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "pool/private.h"

int plk_volume_name_check(const char *name, PlkError *err)
{
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' is no name for a volume", name);
    if (strchr(name, '/'))
        return plk_fail(err, PLK_ERROR_STATE, "the name '%s' of a volume must not contain '/'", name);
    if (strcmp(name, PLK_PRIVATE_DIR) == 0)
        return plk_fail(err, PLK_ERROR_STATE, "the name '%s' is kept for the pool's own use", name);
    if (strlen(name) > NAME_MAX)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "a volume's name of %zu bytes; at most %d are possible", strlen(name),
                        NAME_MAX);
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return plk_fail(err, PLK_ERROR_ARGUMENT, "the name '%s' of a volume has a control character in it", name);
    return g_utf8_validate(name, -1, NULL) ? 0
                                           : plk_fail(err, PLK_ERROR_ARGUMENT, "the name of a volume must be UTF-8");
}

static int need_writable(PlkPool *pool, PlkError *err)
{
    if (plk_storage_need_volume_write(pool->storage, err) < 0)
        return -1;
    PLK_LOCKED(&pool->lock);
    return pool->writable ? 0
                          : plk_fail(err, PLK_ERROR_READ_ONLY, "pool '%s' cannot be written to: %s", pool->name,
                                     pool->reason ? pool->reason : "it is read-only");
}

int plk_work_begin(PlkPool *pool, const char *name, const char *kind, bool changes, const PlkProgress *outer,
                   PlkWork *ret, PlkError *err)
{
    PLK_LIVE *live = NULL;
    PlkReservation *reservation;

    if (!*name || strlen(name) > NAME_MAX || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return plk_fail(err, PLK_ERROR_NO_VOLUME, "no storage volume '%s' in pool '%s'", name, pool->name);
    if (plk_live_hold(pool, &live, err) < 0 || (changes && need_writable(pool, err) < 0))
        return -1;
    g_atomic_int_add(&live->jobs, changes);
    if (plk_name_reserve(live->dir, name, kind, changes, &reservation, err) < 0) {
        g_atomic_int_add(&live->jobs, -(int)changes);
        return -1;
    }
    *ret = (PlkWork){.reservation = reservation, .changes = changes, .name = g_strdup(name)};
    ret->job = plk_job_begin(pool->storage, kind, pool->name, name, outer);
    ret->live = PLK_TAKE(live);
    return 0;
}

void plk_work_end(PlkWork *work)
{
    plk_job_end(work->job);
    plk_name_release(work->reservation, !plk_stage_is_kept(&work->live->stage));
    g_atomic_int_add(&work->live->jobs, -(int)work->changes);
    plk_live_release(work->live);
    g_free(work->name);
}

int plk_work_look(const PlkWork *work, PlkVolume **ret, PlkError *err)
{
    PlkVolumeList *list = plk_live_list(work->live);
    int r = plk_live_look(work->live, work->name, plk_index_find(list, work->name), ret, err);

    plk_volume_list_unref(list);
    if (r == 0)
        return plk_fail(err, PLK_ERROR_NO_VOLUME, "no storage volume '%s' in pool '%s'", work->name,
                        work->live->pool->name);
    return r < 0 ? -1 : 0;
}

/* What happens inside a ploop volume's directory, those who watch the pool's do not see. */
static void tell_watchers(const PlkWork *work)
{
    const PlkPlace place = plk_work_place(work);
    PLK_CLOSE int fd = plk_place_open(&place, O_RDONLY | O_DIRECTORY);
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0 && fchmod(fd, st.st_mode & 07777) < 0)
        return; /* they see it at their next refresh */
}

int plk_work_done(const PlkWork *work, PlkVolume **ret, PlkError *err)
{
    tell_watchers(work);
    return plk_live_renew(work->live, work->name, ret, err);
}
