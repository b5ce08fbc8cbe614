/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is wrong in a pool, and what would mend it; leftovers and their removal. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "pool/live.h"
#include "pool/stage.h"
#include "pool/volumes.h"

typedef struct Visit {
    PlkAilmentEach *each;
    void *arg;
    const char *path; /* of the pool */
    int stopped;
} Visit;

/* Takes what and remedy over. */
static void tell(Visit *visit, const char *object, char *what, char *remedy, bool harmless)
{
    PlkAilment ailment = {.object = (char *)object, .what = what, .remedy = remedy, .harmless = harmless};

    if (!visit->stopped)
        visit->stopped = visit->each(visit->arg, &ailment);
    g_free(what);
    g_free(remedy);
}

static char *quoted_path(const Visit *visit, const char *name, const char *inner)
{
    g_autofree char *path = g_strconcat(visit->path, "/", name, inner, NULL);

    return g_shell_quote(path);
}

static char *remedy_of(const Visit *visit, PlkPool *pool, const PlkVolume *volume)
{
    g_autofree char *name = g_shell_quote(volume->name), *pool_name = g_shell_quote(plk_pool_name(pool));
    g_autofree char *path = quoted_path(visit, volume->name, "");

    if (volume->state == PLK_STATE_INCOMPLETE)
        return g_strdup_printf("upload it again, or take it as it is: ploopctl vol accept --pool %s %s", pool_name, name);
    if (volume->facts.type == PLK_VOLUME_PLOOP)
        return g_strdup_printf("ploop rescue %s", path);
    if (volume->facts.format == PLK_FILE_QCOW2)
        return g_strdup_printf("qemu-img check -r leaks %s", path);
    return NULL;
}

/* A directory that has lost its descriptor is an ordinary one to everybody, and hides a disk. */
static void visit_directory(Visit *visit, int dir, const PlkVolume *volume)
{
    g_autofree char *base = g_strconcat(volume->name, "/root.hds", NULL), *path = NULL;

    if (faccessat(dir, base, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    path = quoted_path(visit, volume->name, "");
    tell(visit, volume->name, g_strdup("it holds an image, root.hds, but no DiskDescriptor.xml, so it counts as a directory"),
         g_strdup_printf("ploop rescue %s", path), false);
}

static void visit_volumes(Visit *visit, PlkPool *pool, int dir, const PlkVolumeList *list)
{
    for (size_t i = 0; i < plk_volume_list_count(list); i++) {
        const PlkVolume *volume = plk_volume_list_at(list, i);

        if (volume->state == PLK_STATE_BROKEN || volume->state == PLK_STATE_INCOMPLETE)
            tell(visit, volume->name, g_strdup(volume->reason), remedy_of(visit, pool, volume), false);
        else if (volume->facts.type == PLK_VOLUME_DIR)
            visit_directory(visit, dir, volume);
    }
}

static void visit_foreign_stage(void *arg, const char *stage)
{
    Visit *visit = arg;
    g_autofree char *path = quoted_path(visit, ".ploopkit/stage/", stage);

    tell(visit, ".ploopkit", g_strdup_printf("another host is making a volume here, or died while it did (%s)", stage),
         g_strdup_printf("if that host is gone for good: rm -r %s", path), true);
}

static void visit_pool(Visit *visit, PlkPool *pool)
{
    PlkPoolInfo info;

    if (plk_pool_info(pool, &info, NULL) == 0 && *info.reason)
        tell(visit, "", g_strdup(info.reason), NULL, info.writable);
}

static void visit_state(Visit *visit, PlkStorage *storage)
{
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free), whys = g_ptr_array_new_with_free_func(g_free);

    pthread_mutex_lock(&storage->lock);
    for (guint i = 0; i < storage->broken->len; i++) {
        const PlkBrokenState *b = &g_array_index(storage->broken, PlkBrokenState, i);

        g_ptr_array_add(paths, g_strdup(b->path));
        g_ptr_array_add(whys, g_strdup(b->why));
    }
    pthread_mutex_unlock(&storage->lock);
    for (guint i = 0; i < paths->len; i++)
        tell(visit, g_ptr_array_index(paths, i), g_strdup(g_ptr_array_index(whys, i)),
             g_strdup("mend the file or move it away"), false);
}

int plk_pool_doctor(PlkPool *pool, PlkAilmentEach *each, void *arg, PlkError *err)
{
    PLK_LIVE *live = NULL;
    PlkVolumeList *list;
    Visit visit = {.each = each, .arg = arg};
    unsigned swept = 0;

    if (plk_live_hold(pool, &live, err) < 0 || plk_live_refresh(live, NULL, err) < 0)
        return -1;
    visit.path = live->path;
    visit_state(&visit, pool->storage);
    visit_pool(&visit, pool);
    list = plk_live_list(live);
    visit_volumes(&visit, pool, live->dir, list);
    plk_volume_list_unref(list);
    plk_stages_sweep(live->dir, live->storage->machine_id, &swept, visit_foreign_stage, &visit);
    if (swept)
        tell(&visit, ".ploopkit",
             g_strdup_printf("%u unfinished volume%s of processes that died %s found and removed", swept,
                             swept == 1 ? "" : "s", swept == 1 ? "was" : "were"), NULL, true);
    return visit.stopped ? plk_fail(err, PLK_ERROR_CANCELLED, "the examination of pool '%s' was stopped", pool->name) : 0;
}

int plk_pool_sweep(PlkPool *pool, unsigned *ret_swept, PlkError *err)
{
    PLK_LIVE *live = NULL;

    *ret_swept = 0;
    if (plk_live_hold(pool, &live, err) < 0)
        return -1;
    plk_stages_sweep(live->dir, live->storage->machine_id, ret_swept, NULL, NULL);
    return 0;
}
