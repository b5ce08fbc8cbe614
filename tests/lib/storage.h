/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A state directory for tests of pools, fresh for each test: config/ and run/ in `base`, which goes at the end of the
 * process. Several storages on it stand for several processes: all locks are of open files.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "conf/libvirt-error.h"
#include "pool/storage.h"
#include "test.h"

#define UUID_A "11111111-1111-4111-8111-111111111111"
#define UUID_B "22222222-2222-4222-8222-222222222222"
#define POOL plk_cleanup(plk_pool_unrefp) PlkPool *
#define STORAGE plk_cleanup(plk_storage_closep) PlkStorage *

static char base[64];
static PlkError err;

static inline int base_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static inline void base_remove(void)
{
    if (*base)
        nftw(base, base_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void base_make(void)
{
    static bool registered;

    if (!registered)
        registered = atexit(base_remove) == 0;
    base_remove();
    strcpy(base, "/tmp/plk-storage-XXXXXX");
    CHECK(mkdtemp(base) && chdir(base) == 0);
}

static inline int open_as(PlkStorageRole role, PlkStorage **ret)
{
    g_autofree char *config = g_strconcat(base, "/config", NULL), *run = g_strconcat(base, "/run", NULL);
    PlkStorageOptions options = {.config_dir = config, .runtime_dir = run, .role = role};

    return plk_storage_open(&options, ret, &err);
}

static inline PlkStorage *must_open(PlkStorageRole role)
{
    PlkStorage *storage;

    CHECK_OK(open_as(role, &storage), err);
    return storage;
}

static inline PlkPoolDef *parse_pool(const char *xml)
{
    PlkPoolDef *def;

    CHECK_OK(plk_pool_def_parse(xml, 0, &def, &err), err);
    return def;
}

/* A dir pool of this name on base/DIR; uuid NULL: some. */
static inline PlkPoolDef *dir_pool(const char *name, const char *uuid, const char *dir)
{
    g_autofree char *id = uuid ? g_strdup_printf("<uuid>%s</uuid>", uuid) : g_strdup("");
    g_autofree char *xml = g_strdup_printf("<pool type='dir'><name>%s</name>%s<target><path>%s/%s</path></target></pool>",
                                           name, id, base, dir);

    return parse_pool(xml);
}

static inline PlkPool *find(PlkStorage *storage, const char *name)
{
    PlkPool *pool = plk_storage_pool_by_name(storage, name, &err);

    if (!pool)
        test_fail(__FILE__, __LINE__, "%s", err.message);
    return pool;
}

/* A path beneath base. g_free */
static inline char *at(const char *name)
{
    return g_build_filename(base, name, NULL);
}

static inline bool there(const char *name)
{
    struct stat st;

    return lstat(name, &st) == 0;
}

static inline void put(const char *name, const char *text)
{
    CHECK(g_file_set_contents(name, text, -1, NULL));
}

static inline char *get(const char *name)
{
    char *text;

    CHECK(g_file_get_contents(name, &text, NULL, NULL));
    return text;
}

static inline unsigned count_pools(PlkStorage *storage, unsigned flags)
{
    PlkPool **pools;
    size_t n;

    CHECK_OK(plk_storage_pools(storage, flags, &pools, &n, &err), err);
    plk_pools_free(pools, n);
    return (unsigned)n;
}

/* Refused with this code of libvirt's. */
#define CHECK_CODE(call, wanted) \
    do { \
        if ((call) == 0) \
            test_fail(__FILE__, __LINE__, "%s succeeded", #call); \
        if (plk_libvirt_error(&err).code != (wanted)) \
            test_fail(__FILE__, __LINE__, "%s: code %d, expected %d: %s", #call, plk_libvirt_error(&err).code, (wanted), \
                      err.message); \
    } while (0)
#define CHECK_SAYS(text) \
    do { \
        if (!strstr(err.message, (text))) \
            test_fail(__FILE__, __LINE__, "'%s' does not say '%s'", err.message, (text)); \
    } while (0)
