/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a look at a volume brings: facts from statx, and from the header of the file. Whatever is wrong with
 * one volume becomes its reason; only trouble of our own (memory, descriptors) is an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <glib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "base/text.h"
#include "volume/plain.h"
#include "volume/ploop.h"
#include "volume/probe.h"

#define TRUST_AFTER_MS 20
#define LABEL_MAX 4096

void plk_volume_facts_clear(PlkVolumeFacts *facts)
{
    g_free(facts->label);
    g_free(facts->backing);
    g_free(facts->reason);
    g_free(facts->base);
    g_strfreev(facts->deltas);
    *facts = (PlkVolumeFacts){0};
}

bool plk_name_is_component(const char *name)
{
    return *name && strcmp(name, ".") && strcmp(name, "..") && !strchr(name, '/');
}

/* What can stand in XML and on a terminal, and is none of ours. */
static bool is_volume_name(const char *name)
{
    size_t n;

    if (!plk_name_is_component(name) || strcmp(name, ".ploopkit") == 0)
        return false;
    for (; *name; name += n) {
        n = plk_utf8_length(name);
        if (n == 0 || (unsigned char)*name < ' ' || *name == 0x7f)
            return false;
    }
    return true;
}

/* ---- statx ---- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9fb21c651e98df25u;
    return hash ^ hash >> 32;
}

/* The change time cannot be set by anybody. A change in the same tick of its clock would not show. */
static bool is_settled(const struct statx_timestamp *ctime)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (now.tv_sec - ctime->tv_sec) * 1000 + (now.tv_nsec - (long)ctime->tv_nsec) / 1000000 >=
           TRUST_AFTER_MS;
}

void plk_fingerprint_add(PlkFingerprint *fingerprint, const struct statx *stx)
{
    const uint64_t values[] = {
        makedev(stx->stx_dev_major, stx->stx_dev_minor),
        stx->stx_ino,
        stx->stx_size,
        (uint64_t)stx->stx_mtime.tv_sec,
        stx->stx_mtime.tv_nsec,
        (uint64_t)stx->stx_ctime.tv_sec,
        stx->stx_ctime.tv_nsec,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
        fingerprint->digest[0] = mix(fingerprint->digest[0], values[i]);
        fingerprint->digest[1] = mix(fingerprint->digest[1], values[i] + fingerprint->digest[0]);
    }
    fingerprint->trusted = fingerprint->trusted && is_settled(&stx->stx_ctime);
}

static struct timespec time_of(const struct statx_timestamp *t)
{
    return (struct timespec){.tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec};
}

void plk_facts_set_stat(PlkVolumeFacts *facts, const struct statx *stx)
{
    bool is_file = S_ISREG(stx->stx_mode);

    facts->allocation = is_file ? stx->stx_blocks * 512 : 0;
    facts->physical = is_file ? stx->stx_size : 0;
    facts->mode = stx->stx_mode & (S_IRWXU | S_IRWXG | S_IRWXO);
    facts->uid = stx->stx_uid;
    facts->gid = stx->stx_gid;
    facts->atime = time_of(&stx->stx_atime);
    facts->mtime = time_of(&stx->stx_mtime);
    facts->ctime = time_of(&stx->stx_ctime);
    facts->btime = time_of(&stx->stx_btime);
    facts->dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
    facts->ino = stx->stx_ino;
    facts->fingerprint = (PlkFingerprint){.digest = {1, 2}, .trusted = true};
    plk_fingerprint_add(&facts->fingerprint, stx);
}

char *plk_facts_label(int fd)
{
    char label[LABEL_MAX];
    ssize_t n = fgetxattr(fd, "security.selinux", label, sizeof label);

    return n > 0 ? g_strndup(label, (gsize)n) : NULL;
}

/* A link is judged by its own words: leaving the directory, it is a volume nobody can use; to nowhere, it is
 * none. */
static bool leads_somewhere(const PlkPlace *place)
{
    struct open_how how = {
        .flags = O_PATH | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };
    PLK_CLOSE int fd = (int)syscall(SYS_openat2, place->dir, place->name, &how, sizeof how);

    return fd >= 0 || (errno != ENOENT && errno != ELOOP && errno != ENOTDIR);
}

static bool is_volume_kind(const PlkPlace *place, const struct statx *stx)
{
    if (S_ISLNK(stx->stx_mode))
        return leads_somewhere(place);
    return S_ISREG(stx->stx_mode) || S_ISDIR(stx->stx_mode);
}

/* 0; 1 when there is no volume of that name. */
static int look(const PlkPlace *place, struct statx *ret)
{
    if (!is_volume_name(place->name) ||
        statx(place->dir, place->name, AT_SYMLINK_NOFOLLOW, PLK_STATX_MASK, ret) < 0 ||
        !is_volume_kind(place, ret))
        return 1;
    return 0;
}

int plk_volume_stat(const PlkPlace *place, PlkVolumeFacts *facts, PlkError *err)
{
    struct statx stx;

    if (look(place, &stx))
        return 1;
    if (facts->type == PLK_VOLUME_PLOOP)
        return plk_ploop_stat(place, &stx, facts);
    plk_facts_set_stat(facts, &stx);
    if (facts->format == PLK_FILE_RAW && facts->encryption == PLK_ENCRYPTION_NONE)
        facts->capacity = facts->physical;
    return 0;
}

/* ---- the header ---- */

/* libvirt's rule: a colon before any slash makes it a protocol. */
static bool is_file_name(const char *backing)
{
    const char *colon = strchr(backing, ':'), *slash = strchr(backing, '/');

    return !colon || (slash && slash < colon);
}

/* Relative names count from the image's directory; no link is resolved, nothing is looked at. */
static char *backing_path(const PlkPlace *place, const PlkProbe *probe)
{
    g_autofree char *text = g_strndup(probe->backing, probe->backing_len);

    if (*text == '/' || !is_file_name(text) || !g_utf8_validate(text, -1, NULL))
        return g_utf8_make_valid(text, -1);
    return plk_place_path(&(PlkPlace){.dir_path = place->dir_path, .name = text});
}

static void set_probe(PlkVolumeFacts *facts, const PlkPlace *place, const PlkProbe *probe)
{
    facts->format = probe->format;
    facts->capacity = probe->capacity ? probe->capacity : facts->physical;
    facts->encryption = probe->encryption;
    facts->cluster = probe->cluster;
    facts->compat_1_1 = probe->compat_1_1;
    facts->lazy_refcounts = probe->lazy_refcounts;
    facts->extended_l2 = probe->extended_l2;
    facts->reason = g_strdup(probe->fault);
    if (probe->backing_len) {
        facts->backing = backing_path(place, probe);
        facts->backing_format = *facts->backing == '/' ? probe->backing_format : PLK_FILE_RAW;
    }
}

static void probe_file(const PlkPlace *place, int fd, PlkVolumeFacts *facts)
{
    unsigned char header[PLK_PROBE_BYTES];
    ssize_t n;
    PlkProbe probe;

    do
        n = pread(fd, header, sizeof header, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        facts->reason = g_strdup_printf("its header cannot be read: %s", g_strerror(errno));
        facts->capacity = facts->physical;
        return;
    }
    plk_probe_header(header, (size_t)n, facts->physical, &probe);
    set_probe(facts, place, &probe);
}

/* What cannot be opened is still there. */
static void set_unopened(PlkVolumeFacts *facts, const struct statx *stx, int error)
{
    plk_facts_set_stat(facts, stx);
    if (S_ISDIR(stx->stx_mode)) {
        facts->type = PLK_VOLUME_DIR;
        facts->format = PLK_FILE_DIR;
    }
    facts->capacity = facts->physical;
    if (error == -ELOOP)
        facts->reason =
            g_strdup("it is a symbolic link, and links are never followed; put the file itself here");
    else
        facts->reason = g_strdup_printf("it cannot be opened: %s", g_strerror(-error));
}

static int probe_opened(const PlkPlace *place, int fd, const struct statx *stx, PlkVolumeFacts *facts, PlkError *err)
{
    int r;

    if (S_ISDIR(stx->stx_mode)) {
        r = plk_ploop_probe(fd, place, stx, facts, err);
        if (r <= 0)
            return r;
        facts->type = PLK_VOLUME_DIR;
        facts->format = PLK_FILE_DIR;
    }
    plk_facts_set_stat(facts, stx);
    facts->label = plk_facts_label(fd);
    if (S_ISREG(stx->stx_mode))
        probe_file(place, fd, facts);
    return 0;
}

/* Not of this volume, but of this process. */
static bool is_our_trouble(int error)
{
    return error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

int plk_volume_probe(const PlkPlace *place, PlkVolumeFacts *ret, PlkError *err)
{
    PlkVolumeFacts facts = {
        .format = PLK_FILE_RAW, .encryption = PLK_ENCRYPTION_NONE, .backing_format = PLK_FILE_AUTO};
    PLK_CLOSE int fd = -1;
    struct statx seen, stx;
    int r = 0;

    if (!is_volume_name(place->name))
        return 1;
    if (statx(place->dir, place->name, AT_SYMLINK_NOFOLLOW, PLK_STATX_MASK, &seen) < 0)
        fd = -errno;
    else
        fd = plk_open_seen(place->dir, place->name, &seen, O_RDONLY, &stx);
    if (is_our_trouble(fd))
        return plk_fail_io(err, PLK_ERROR_OPEN, fd, "cannot look at '%s/%s'", place->dir_path, place->name);
    if (fd >= 0)
        r = probe_opened(place, fd, &stx, &facts, err);
    else if (fd == -ENXIO || look(place, &stx))
        r = 1;
    else
        set_unopened(&facts, &stx, fd);
    if (r != 0) {
        plk_volume_facts_clear(&facts);
        return r;
    }
    *ret = facts;
    return 0;
}
