/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New volumes, made or cloned. Everything that can be refused is refused before anything is made; then the volume is
 * born in a stage, gets its name in one rename, and is in the index before the caller hears of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "pool/incomplete.h"
#include "pool/watch.h"
#include "pool/work.h"

typedef struct Birth {
    PlkWork work;
    const PlkVolumeDriver *driver;
    PlkVolumeDef *def; /* with what the pool gives */
    unsigned flags;
    const PlkVolumeOrigin *origin; /* NULL: made from nothing */
} Birth;

/* ---- before ---- */

/* What the pool says of new volumes, where their own definition does not. */
static void inherit(PlkPermissions *to, const PlkPermissions *from)
{
    if (to->mode < 0)
        to->mode = from->mode;
    if (to->uid < 0)
        to->uid = from->uid;
    if (to->gid < 0)
        to->gid = from->gid;
    if (!to->label)
        to->label = g_strdup(from->label);
}

static PlkVolumeDef *complete_definition(PlkPool *pool, const PlkVolumeDef *def)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *pool_def = plk_pool_definition(pool, false);
    PlkVolumeDef *copy = plk_volume_def_copy(def);

    inherit(&copy->target.permissions, &pool_def->volume_defaults);
    if (!copy->has_allocation)
        copy->allocation = copy->capacity;
    return copy;
}

/* A volume of that name, or something that is none but has the name. */
static int check_is_free(const PlkWork *work, PlkError *err)
{
    PlkVolume *volume = NULL;
    struct stat st;
    int r = plk_live_look(work->live, work->name, NULL, &volume, err);

    if (volume)
        plk_volume_unref(volume);
    if (r > 0)
        return plk_fail(err, PLK_ERROR_VOLUME_EXISTS, "'%s' in pool '%s'; delete it first, or choose another name",
                        work->name, work->live->pool->name);
    if (r == 0 && fstatat(work->live->dir, work->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return plk_fail(err, PLK_ERROR_STATE, "'%s/%s' is in the way, and no volume", work->live->path, work->name);
    return r;
}

/* ---- the birth ---- */

/* So that it can be seen and asked about while it is being made. */
static void announce(const Birth *birth)
{
    PlkVolumeFacts facts = {.format = birth->def->target.format, .capacity = birth->def->capacity,
                            .encryption = PLK_ENCRYPTION_NONE, .backing_format = PLK_FILE_AUTO};
    const char *name = birth->work.name;

    facts.type = facts.format == PLK_FILE_DIR ? PLK_VOLUME_DIR
                 : facts.format == PLK_FILE_PLOOP ? PLK_VOLUME_PLOOP : PLK_VOLUME_FILE;
    plk_live_put(birth->work.live, name,
                 plk_volume_new(g_strdup(name), PLK_STATE_BUILDING, g_strdup("in the making"), &facts));
}

static int build(const Birth *birth, const PlkPlace *at, PlkError *err)
{
    const PlkProgress *progress = plk_job_progress(birth->work.job);

    return birth->origin ? birth->driver->clone(at, birth->def, birth->origin, birth->flags, progress, err)
                         : birth->driver->create(at, birth->def, birth->flags, progress, err);
}

static int bear(const Birth *birth, PlkError *err)
{
    PlkPoolVolumes *live = birth->work.live;
    PlkPlace place;
    int r = plk_stage_enter(&live->stage, birth->work.name, &place, err);

    if (r < 0)
        return -1;
    if (r > 0)
        plk_watch_tidy(live->storage);
    r = build(birth, &place, err);
    if (r == 0 && plk_job_cancelled(birth->work.job))
        r = plk_fail(err, PLK_ERROR_CANCELLED, "making volume '%s' was stopped; nothing is left of it", birth->work.name);
    if (r == 0) /* a mark of an earlier volume of this name speaks of another file, but the name is free to lie */
        r = plk_incomplete_clear(live->dir, birth->work.name, err);
    if (r == 0)
        r = plk_stage_publish(&live->stage, &place, err);
    plk_stage_leave(&live->stage, &place, live->storage->watch != NULL);
    return r;
}

/* The name is reserved. */
static int make(Birth *birth, PlkVolume **ret, PlkError *err)
{
    int r = check_is_free(&birth->work, err);

    if (r < 0)
        return r;
    announce(birth);
    r = bear(birth, err);
    if (r == 0)
        return plk_work_done(&birth->work, ret, err);
    /* Nothing, or what came into being under that name from elsewhere. */
    plk_live_renew(birth->work.live, birth->work.name, NULL, NULL);
    return r;
}

static int check(const Birth *birth, PlkError *err)
{
    if (!(birth->origin ? (void *)birth->driver->clone : (void *)birth->driver->create))
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "volumes of format '%s' cannot be %s",
                        plk_file_format_names[birth->def->target.format], birth->origin ? "cloned" : "made");
    return birth->driver->check ? birth->driver->check(birth->def, birth->flags, err) : 0;
}

static int run(PlkPool *pool, Birth *birth, const char *kind, const PlkProgress *progress, PlkVolume **ret, PlkError *err)
{
    int r;

    if (plk_volume_name_check(birth->def->name, err) < 0 || check(birth, err) < 0 ||
        plk_work_begin(pool, birth->def->name, kind, true, progress, &birth->work, err) < 0)
        return -1;
    r = make(birth, ret, err);
    plk_work_end(&birth->work);
    return r;
}

/* ---- made from nothing ---- */

static int need_format(const PlkVolumeDef *def, PlkError *err)
{
    return def->target.format >= 0 && def->target.format < PLK_FILE_FORMATS
               ? 0
               : plk_fail(err, PLK_ERROR_CONFIG, "volume '%s' is to have no known format", def->name);
}

int plk_pool_create_volume(PlkPool *pool, const PlkVolumeDef *def, unsigned flags, const PlkProgress *progress,
                           PlkVolume **ret, PlkError *err)
{
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *whole = NULL;
    Birth birth = {.flags = flags};

    if (plk_pool_need_active(pool, err) < 0 || need_format(def, err) < 0)
        return -1;
    whole = complete_definition(pool, def);
    birth.def = whole;
    birth.driver = plk_volume_driver(whole->target.format);
    if (pool->storage->qcow2_compat_0_10)
        birth.flags |= PLK_CREATE_COMPAT_0_10;
    return run(pool, &birth, "create", progress, ret, err);
}

/* ---- cloned ---- */

/* The source, held for reading and looked at. */
typedef struct Source {
    PlkWork work;
    PlkVolume *volume;
} Source;

static int open_source(PlkPool *pool, const char *name, Source *ret, PlkError *err)
{
    if (plk_work_begin(pool, name, "read", false, NULL, &ret->work, err) < 0)
        return -1;
    if (plk_work_look(&ret->work, &ret->volume, err) == 0) {
        if (ret->volume->state == PLK_STATE_GOOD)
            return 0;
        plk_fail(err, PLK_ERROR_STATE, "volume '%s' cannot be cloned: %s", name, ret->volume->reason);
        plk_volume_unref(ret->volume);
    }
    plk_work_end(&ret->work);
    return -1;
}

static void close_source(Source *source)
{
    plk_volume_unref(source->volume);
    plk_work_end(&source->work);
}

/* Never smaller than what it is a copy of. */
static void fit(PlkVolumeDef *def, const PlkVolumeFacts *source)
{
    bool has_allocation = def->has_allocation;

    if (def->capacity < source->capacity)
        def->capacity = source->capacity;
    if (!has_allocation)
        def->allocation = def->capacity;
}

int plk_pool_clone_volume(PlkPool *pool, const PlkVolumeDef *def, PlkPool *from_pool, const char *from,
                          const char *snapshot, unsigned flags, const PlkProgress *progress, PlkVolume **ret,
                          PlkError *err)
{
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *whole = NULL;
    PlkVolumeOrigin origin;
    Birth birth = {.flags = flags, .origin = &origin};
    Source source;
    int r;

    if (plk_pool_need_active(pool, err) < 0 || plk_pool_need_active(from_pool, err) < 0 || need_format(def, err) < 0 ||
        plk_volume_name_check(def->name, err) < 0)
        return -1;
    if (pool == from_pool && strcmp(def->name, from) == 0)
        return plk_fail(err, PLK_ERROR_VOLUME_EXISTS, "'%s' in pool '%s' cannot be a clone of itself", from, pool->name);
    if (open_source(from_pool, from, &source, err) < 0)
        return -1;
    whole = complete_definition(pool, def);
    fit(whole, &source.volume->facts);
    origin = (PlkVolumeOrigin){.place = plk_work_place(&source.work), .facts = &source.volume->facts, .snapshot = snapshot};
    birth.def = whole;
    birth.driver = plk_volume_driver(whole->target.format);
    if (pool->storage->qcow2_compat_0_10)
        birth.flags |= PLK_CREATE_COMPAT_0_10;
    r = run(pool, &birth, "clone", progress, ret, err);
    close_source(&source);
    return r;
}
