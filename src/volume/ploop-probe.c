/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is this directory a ploop volume, and which: told by its descriptor and by the headers of its base and its
 * active image. A directory without descriptor, or whose base image is missing, is an ordinary one. Whatever else is
 * wrong becomes the reason. No lock is taken and nothing outside the directory is opened, whatever the
 * descriptor says.
 */
#include "volume/ploop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "disk/store.h"
#include "format/header.h"
#include "volume/descriptor-cache.h"
#include "volume/plain.h"

#define TEXT_AT_ONCE 4096

/*
 * Everything is looked at with statx before it is opened, and that goes into the fingerprint: what changes while it is read,
 * or later, shows the next time.
 */
typedef struct Look {
    int dir;
    const PlkPlace *place;
    PlkVolumeFacts *facts;
    PlkKnownDescriptor *known; /* NULL: it is not described */
    struct statx *seen;        /* of each of its images; no mode: it is not there */
    struct statx seen_one;     /* that, if there is but one */
} Look;

/* The first one counts: it names what is to be mended first. */
static void blame(Look *look, char *reason)
{
    if (look->facts->reason)
        g_free(reason);
    else
        look->facts->reason = reason;
}

/* ---- sizes and times ---- */

/* Of directory and descriptor; images are added. */
static void begin_stats(const struct statx *dir, const struct statx *descriptor, PlkVolumeFacts *facts)
{
    plk_facts_set_stat(facts, dir);
    plk_fingerprint_add(&facts->fingerprint, descriptor);
    facts->allocation = descriptor->stx_blocks * 512;
    facts->physical = 0;
}

/* What is missing has neither size nor part in the fingerprint, which shows it. */
static bool add_stat(int dir, const char *name, struct statx *ret, PlkVolumeFacts *facts)
{
    if (statx(dir, name, AT_SYMLINK_NOFOLLOW, PLK_STATX_MASK, ret) < 0) {
        ret->stx_mode = 0;
        return false;
    }
    plk_fingerprint_add(&facts->fingerprint, ret);
    facts->allocation += ret->stx_blocks * 512;
    facts->physical += ret->stx_size;
    return true;
}

/* PLACE/name; what is too long for a path is not there. */
static const char *path_inside(const PlkPlace *place, const char *name, char ret[PATH_MAX])
{
    size_t n = strlen(place->name), len = strlen(name);

    if (n + 1 + len >= PATH_MAX)
        return "";
    memcpy(ret, place->name, n);
    ret[n] = '/';
    memcpy(ret + n + 1, name, len + 1);
    return ret;
}

int plk_ploop_stat(const PlkPlace *place, const struct statx *dir, PlkVolumeFacts *facts)
{
    char path[PATH_MAX];
    struct statx stx;

    if (!S_ISDIR(dir->stx_mode) || statx(place->dir, path_inside(place, PLK_PLOOP_DESCRIPTOR, path), AT_SYMLINK_NOFOLLOW,
                                         PLK_STATX_MASK, &stx) < 0)
        return 1;
    begin_stats(dir, &stx, facts);
    add_stat(place->dir, path_inside(place, facts->base ? facts->base : PLK_PLOOP_BASE, path), &stx, facts);
    for (char **delta = facts->deltas; delta && *delta; delta++)
        add_stat(place->dir, path_inside(place, *delta, path), &stx, facts);
    return 0;
}

/* ---- the descriptor ---- */

/* As many bytes as there are of `size`, and a NUL behind them; -errno. */
static ssize_t read_whole(int fd, char *text, size_t size)
{
    size_t have = 0;
    ssize_t n = 1;

    while (have < size && n) {
        n = pread(fd, text + have, size - have, (off_t)have);
        if (n < 0 && errno != EINTR)
            return -errno;
        have += n > 0 ? (size_t)n : 0;
    }
    text[have] = '\0';
    return (ssize_t)have;
}

/* Into `at_once` if it fits there, else *ret_long, g_free. -errno. */
static ssize_t read_text(int dir, const char *name, const struct statx *seen, char at_once[TEXT_AT_ONCE], char **ret_long)
{
    struct statx stx;
    PLK_CLOSE int fd = plk_open_seen(dir, name, seen, O_RDONLY, &stx);

    *ret_long = NULL;
    if (fd < 0)
        return fd;
    if (!S_ISREG(stx.stx_mode) || stx.stx_size > PLK_DESC_TEXT_MAX)
        return -EFBIG;
    if (stx.stx_size >= TEXT_AT_ONCE)
        *ret_long = g_malloc((size_t)stx.stx_size + 1);
    return read_whole(fd, *ret_long ? *ret_long : at_once, (size_t)stx.stx_size);
}

char *plk_ploop_read_text(int dir, const char *name, size_t *ret_len, int *ret_error)
{
    char at_once[TEXT_AT_ONCE];
    g_autofree char *text = NULL;
    struct statx stx;
    ssize_t n;

    if (statx(dir, name, AT_SYMLINK_NOFOLLOW, PLK_STATX_MASK, &stx) < 0)
        n = -errno;
    else
        n = read_text(dir, name, &stx, at_once, &text);
    if (n < 0) {
        *ret_error = (int)n;
        return NULL;
    }
    *ret_len = (size_t)n;
    return text ? g_steal_pointer(&text) : g_memdup2(at_once, (size_t)n + 1);
}

static bool is_our_trouble(const PlkError *err)
{
    return err->code == PLK_ERROR_NO_MEMORY || err->errnum == EMFILE || err->errnum == ENFILE;
}

/* 0 with `known`, or with a reason; -1. */
static int read_descriptor(Look *look, const struct statx *seen, PlkError *err)
{
    g_autofree char *text = NULL;
    char at_once[TEXT_AT_ONCE];
    ssize_t n = read_text(look->dir, PLK_PLOOP_DESCRIPTOR, seen, at_once, &text);
    PlkError why;

    if (n == -EMFILE || n == -ENFILE || n == -ENOMEM)
        return plk_fail_io(err, PLK_ERROR_OPEN, (int)n, "cannot look at '%s/%s'", look->place->dir_path,
                           look->place->name);
    if (n < 0) {
        blame(look, g_strdup_printf("its descriptor cannot be read: %s", g_strerror((int)-n)));
        return 0;
    }
    look->known = plk_known_descriptor(text ? text : at_once, (size_t)n, PLK_PLOOP_DESCRIPTOR, &why);
    if (!look->known && is_our_trouble(&why)) {
        *err = why;
        return -1;
    }
    if (!look->known)
        blame(look, g_strdup(why.message));
    return 0;
}

/* ---- the images ---- */

const char *plk_ploop_image_name(const PlkPlace *place, const char *file)
{
    g_autofree char *own = NULL;
    size_t n;

    if (*file != '/')
        return file;
    own = plk_place_path(place);
    n = strlen(own);
    return strncmp(file, own, n) == 0 && file[n] == '/' ? file + n + 1 : NULL;
}

/* NULL with a reason. */
static const char *name_of(Look *look, int image)
{
    const char *file = look->known->desc.images[image].file, *name = plk_ploop_image_name(look->place, file);

    if (!name)
        blame(look, g_strdup_printf("its image '%s' lies outside of the volume", file));
    return name;
}

static int read_header(Look *look, const char *name, const struct statx *seen, PlkHeader *ret)
{
    uint8_t buf[PLK_HEADER_BYTES];
    struct statx stx;
    PLK_CLOSE int fd = seen->stx_mode ? plk_open_seen(look->dir, name, seen, O_RDONLY, &stx) : -ENOENT;
    ssize_t n;
    PlkError why;

    if (fd < 0) {
        blame(look, fd == -ENOENT ? g_strdup_printf("its image '%s' is missing", name)
                                  : g_strdup_printf("its image '%s' cannot be opened: %s", name, g_strerror(-fd)));
        return -1;
    }
    n = pread(fd, buf, sizeof buf, 0);
    if (n < 0) {
        blame(look, g_strdup_printf("its image '%s' cannot be read: %s", name, g_strerror(errno)));
        return -1;
    }
    if (plk_header_decode(buf, (size_t)n, name, PLK_HEADER_STRICT, ret, &why) == 0 &&
        plk_header_check_length(ret, stx.stx_size, name, &why) == 0)
        return 0;
    blame(look, g_strdup(why.message));
    return -1;
}

static bool is_there(Look *look, int image, const char *name)
{
    if (!look->seen[image].stx_mode)
        blame(look, g_strdup_printf("its image '%s' is missing", name));
    return look->seen[image].stx_mode;
}

/* The size of the disk, as the active image has it; of a raw base alone the descriptor knows. */
static void take_capacity(Look *look, int top)
{
    const PlkDescriptor *desc = &look->known->desc;
    PlkVolumeFacts *facts = look->facts;
    const char *name = name_of(look, top);
    PlkHeader header;

    facts->capacity = desc->size_sectors * PLK_SECTOR;
    facts->cluster = desc->cluster_sectors * PLK_SECTOR;
    if (!name)
        return;
    if (plk_store_is_raw(desc, top)) {
        is_there(look, top, name);
        return;
    }
    if (read_header(look, name, &look->seen[top], &header) < 0)
        return;
    facts->capacity = header.size_sectors * PLK_SECTOR;
    facts->cluster = header.cluster_sectors * PLK_SECTOR;
}

/* What the base, and each image between, has to be: there. */
static void check_chain(Look *look, const int *chain, size_t n)
{
    PlkHeader header;

    for (size_t i = 0; i + 1 < n; i++) {
        const char *name = name_of(look, chain[i]);

        if (name && i == 0 && !plk_store_is_raw(&look->known->desc, chain[0]))
            (void)read_header(look, name, &look->seen[chain[0]], &header);
        else if (name)
            is_there(look, chain[i], name);
    }
}

/* All images that stand in the directory, but the base. */
static void take_deltas(Look *look, int base)
{
    const PlkDescriptor *desc = &look->known->desc;
    GPtrArray *names;

    if (desc->n_images < 2)
        return;
    names = g_ptr_array_new();
    for (size_t i = 0; i < desc->n_images; i++) {
        const char *name = plk_ploop_image_name(look->place, desc->images[i].file);

        if ((int)i == base || !name)
            continue;
        g_ptr_array_add(names, g_strdup(name));
        add_stat(look->dir, name, &look->seen[i], look->facts);
    }
    if (names->len == 0) {
        g_ptr_array_free(names, TRUE);
        return;
    }
    g_ptr_array_add(names, NULL);
    look->facts->deltas = (char **)g_ptr_array_free(names, FALSE);
}

/* False: no base image, so this is no ploop volume. */
static bool take_base(Look *look, int base)
{
    const PlkDescriptor *desc = &look->known->desc;
    const char *name = desc->n_images ? plk_ploop_image_name(look->place, desc->images[base].file) : NULL;
    struct statx other;

    if (!name || !add_stat(look->dir, name, &look->seen[base], look->facts)) /* then at least root.hds, */
        return add_stat(look->dir, PLK_PLOOP_BASE, &other, look->facts);     /* whatever the descriptor means */
    if (strcmp(name, PLK_PLOOP_BASE))
        look->facts->base = g_strdup(name);
    return true;
}

/* 0, 1 when there is no base image, -1. */
static int take_chain(Look *look, PlkError *err)
{
    const PlkDescriptor *desc = &look->known->desc;
    PLK_FREE int *chain = NULL;
    size_t n = 0;
    PlkError why;
    int base = 0;

    look->seen = desc->n_images < 2 ? &look->seen_one : g_new0(struct statx, desc->n_images);
    if (plk_descriptor_chain(desc, &desc->top, PLK_PLOOP_DESCRIPTOR, &chain, &n, &why) == 0)
        base = chain[0];
    else if (is_our_trouble(&why)) {
        *err = why;
        return -1;
    }
    if (!take_base(look, base))
        return 1;
    take_deltas(look, base);
    look->facts->snapshots = desc->n_shots ? (uint32_t)desc->n_shots - 1 : 0;
    if (n == 0) {
        look->facts->capacity = desc->size_sectors * PLK_SECTOR;
        blame(look, g_strdup(why.message));
        return 0;
    }
    check_chain(look, chain, n);
    take_capacity(look, chain[n - 1]);
    return 0;
}

static int take_undescribed(Look *look)
{
    PlkHeader header;

    if (!add_stat(look->dir, PLK_PLOOP_BASE, &look->seen_one, look->facts))
        return 1;
    if (read_header(look, PLK_PLOOP_BASE, &look->seen_one, &header) == 0) {
        look->facts->capacity = header.size_sectors * PLK_SECTOR;
        look->facts->cluster = header.cluster_sectors * PLK_SECTOR;
    }
    return 0;
}

static void end_look(Look *look)
{
    if (look->seen != &look->seen_one)
        g_free(look->seen);
    if (look->known)
        plk_known_descriptor_unref(look->known);
}

/* A directory without a descriptor is not looked at any further: 1. */
static int take_all(Look *look, const struct statx *dir, PlkError *err)
{
    struct statx descriptor;
    int r;

    if (statx(look->dir, PLK_PLOOP_DESCRIPTOR, AT_SYMLINK_NOFOLLOW, PLK_STATX_MASK, &descriptor) < 0)
        return errno == ENOMEM ? plk_fail_nomem(err) : 1;
    begin_stats(dir, &descriptor, look->facts);
    r = read_descriptor(look, &descriptor, err);
    if (r == 0)
        r = look->known ? take_chain(look, err) : take_undescribed(look);
    return r;
}

int plk_ploop_probe(int dir_fd, const PlkPlace *place, const struct statx *stx, PlkVolumeFacts *ret, PlkError *err)
{
    Look look = {.dir = dir_fd, .place = place, .facts = ret};
    int r = take_all(&look, stx, err);

    end_look(&look);
    if (r == 0) {
        ret->type = PLK_VOLUME_PLOOP;
        ret->format = PLK_FILE_PLOOP;
        ret->label = plk_facts_label(dir_fd);
        return 0;
    }
    plk_volume_facts_clear(ret);
    *ret = (PlkVolumeFacts){
        .format = PLK_FILE_RAW, .encryption = PLK_ENCRYPTION_NONE, .backing_format = PLK_FILE_AUTO};
    return r;
}
