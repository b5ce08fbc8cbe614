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
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "disk/store.h"
#include "format/header.h"
#include "volume/plain.h"

#define STATX_MASK (STATX_BASIC_STATS | STATX_BTIME)

typedef struct Look {
    int dir;
    const PlkPlace *place;
    PlkVolumeFacts *facts;
    PlkDescriptor desc;
    bool is_described;
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

/*
 * Of directory, descriptor and all images, by names that begin with `prefix`: what is missing has neither size nor part in
 * the fingerprint, which shows it. 1 when directory or descriptor are gone.
 */
static int take_stats(int dir, const char *prefix, const char *self, PlkVolumeFacts *facts)
{
    g_autofree char *descriptor = g_strconcat(prefix, PLK_PLOOP_DESCRIPTOR, NULL);
    g_autofree char *base = g_strconcat(prefix, facts->base ? facts->base : PLK_PLOOP_BASE, NULL);
    uint64_t physical = 0, allocation = 0;
    struct statx stx;

    if (statx(dir, self, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, STATX_MASK, &stx) < 0 || !S_ISDIR(stx.stx_mode))
        return 1;
    plk_facts_set_stat(facts, &stx);
    if (statx(dir, descriptor, AT_SYMLINK_NOFOLLOW, STATX_MASK, &stx) < 0)
        return 1;
    plk_fingerprint_add(&facts->fingerprint, &stx);
    allocation = stx.stx_blocks * 512;
    for (char **delta = facts->deltas ? facts->deltas : (char *[]){NULL}, *name = base; name;) {
        if (statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_MASK, &stx) == 0) {
            plk_fingerprint_add(&facts->fingerprint, &stx);
            allocation += stx.stx_blocks * 512;
            physical += stx.stx_size;
        }
        if (name != base)
            g_free(name);
        name = *delta ? g_strconcat(prefix, *delta++, NULL) : NULL;
    }
    facts->allocation = allocation;
    facts->physical = physical;
    return 0;
}

int plk_ploop_stat(const PlkPlace *place, PlkVolumeFacts *facts, PlkError *err)
{
    g_autofree char *prefix = g_strconcat(place->name, "/", NULL);

    return take_stats(place->dir, prefix, place->name, facts);
}

/* ---- the descriptor ---- */

static bool exists(int dir, const char *name)
{
    return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

char *plk_ploop_read_text(int dir, const char *name, size_t *ret_len, int *ret_error)
{
    PLK_CLOSE int fd = plk_open_judged(dir, name, O_RDONLY);
    g_autofree char *text = NULL;
    struct stat st;
    size_t have = 0;
    ssize_t n = 1;

    *ret_error = fd < 0 ? fd : -EFBIG;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > PLK_DESC_TEXT_MAX)
        return NULL;
    text = g_malloc((size_t)st.st_size + 1);
    while (have < (size_t)st.st_size && n) {
        n = pread(fd, text + have, (size_t)st.st_size - have, (off_t)have);
        if (n < 0 && errno != EINTR) {
            *ret_error = -errno;
            return NULL;
        }
        have += n > 0 ? (size_t)n : 0;
    }
    text[have] = '\0';
    *ret_len = have;
    return g_steal_pointer(&text);
}

static bool is_our_trouble(const PlkError *err)
{
    return err->code == PLK_ERROR_NO_MEMORY || err->errnum == EMFILE || err->errnum == ENFILE;
}

/* 0 with is_described, or with a reason; 1 when there is none; -1. */
static int read_descriptor(Look *look, PlkError *err)
{
    size_t len;
    int error;
    g_autofree char *text = plk_ploop_read_text(look->dir, PLK_PLOOP_DESCRIPTOR, &len, &error);
    PlkError why;

    if (!text && (error == -ENOENT || error == -ENOTDIR))
        return 1;
    if (!text && (error == -EMFILE || error == -ENFILE || error == -ENOMEM))
        return plk_fail_io(err, PLK_ERROR_OPEN, error, "cannot look at '%s/%s'", look->place->dir_path,
                           look->place->name);
    if (!text) {
        blame(look, g_strdup_printf("its descriptor cannot be read: %s", g_strerror(-error)));
        return 0;
    }
    look->is_described = plk_descriptor_parse(text, len, PLK_PLOOP_DESCRIPTOR, &look->desc, &why) == 0;
    if (!look->is_described && is_our_trouble(&why)) {
        *err = why;
        return -1;
    }
    if (!look->is_described)
        blame(look, g_strdup(why.message));
    return 0;
}

/* ---- the images ---- */

const char *plk_ploop_image_name(const PlkPlace *place, const char *file)
{
    g_autofree char *own = plk_place_path(place);
    size_t n = strlen(own);

    if (*file != '/')
        return file;
    return strncmp(file, own, n) == 0 && file[n] == '/' ? file + n + 1 : NULL;
}

/* NULL with a reason. */
static const char *name_of(Look *look, int image)
{
    const char *file = look->desc.images[image].file, *name = plk_ploop_image_name(look->place, file);

    if (!name)
        blame(look, g_strdup_printf("its image '%s' lies outside of the volume", file));
    return name;
}

static int read_header(Look *look, const char *name, PlkHeader *ret)
{
    PLK_CLOSE int fd = plk_open_judged(look->dir, name, O_RDONLY);
    uint8_t buf[PLK_HEADER_BYTES];
    struct stat st;
    ssize_t n;
    PlkError why;

    if (fd < 0) {
        blame(look, fd == -ENOENT ? g_strdup_printf("its image '%s' is missing", name)
                                  : g_strdup_printf("its image '%s' cannot be opened: %s", name, g_strerror(-fd)));
        return -1;
    }
    n = pread(fd, buf, sizeof buf, 0);
    if (n < 0 || fstat(fd, &st) < 0) {
        blame(look, g_strdup_printf("its image '%s' cannot be read: %s", name, g_strerror(errno)));
        return -1;
    }
    if (plk_header_decode(buf, (size_t)n, name, PLK_HEADER_STRICT, ret, &why) == 0 &&
        plk_header_check_length(ret, (uint64_t)st.st_size, name, &why) == 0)
        return 0;
    blame(look, g_strdup(why.message));
    return -1;
}

/* The size of the disk, as the active image has it; of a raw base alone the descriptor knows. */
static void take_capacity(Look *look, int top)
{
    PlkVolumeFacts *facts = look->facts;
    const char *name = name_of(look, top);
    PlkHeader header;

    facts->capacity = look->desc.size_sectors * PLK_SECTOR;
    facts->cluster = look->desc.cluster_sectors * PLK_SECTOR;
    if (!name)
        return;
    if (plk_store_is_raw(&look->desc, top)) {
        if (!exists(look->dir, name))
            blame(look, g_strdup_printf("its image '%s' is missing", name));
        return;
    }
    if (read_header(look, name, &header) < 0)
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

        if (!name)
            continue;
        if (i == 0 && !plk_store_is_raw(&look->desc, chain[0]))
            (void)read_header(look, name, &header);
        else if (!exists(look->dir, name))
            blame(look, g_strdup_printf("its image '%s' is missing", name));
    }
}

/* All images that stand in the directory, but the base. */
static void take_deltas(Look *look, int base)
{
    GPtrArray *names = g_ptr_array_new();

    for (size_t i = 0; i < look->desc.n_images; i++) {
        const char *name = plk_ploop_image_name(look->place, look->desc.images[i].file);

        if ((int)i != base && name)
            g_ptr_array_add(names, g_strdup(name));
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
    const char *name = look->desc.n_images ? plk_ploop_image_name(look->place, look->desc.images[base].file) : NULL;

    if (!name || !exists(look->dir, name))
        return exists(look->dir, PLK_PLOOP_BASE); /* then at least root.hds, whatever the descriptor means */
    if (strcmp(name, PLK_PLOOP_BASE))
        look->facts->base = g_strdup(name);
    return true;
}

/* 0, 1 when there is no base image, -1. */
static int take_chain(Look *look, PlkError *err)
{
    PLK_FREE int *chain = NULL;
    size_t n = 0;
    PlkError why;
    int base = 0;

    if (plk_descriptor_chain(&look->desc, &look->desc.top, PLK_PLOOP_DESCRIPTOR, &chain, &n, &why) == 0)
        base = chain[0];
    else if (is_our_trouble(&why)) {
        *err = why;
        return -1;
    }
    if (!take_base(look, base))
        return 1;
    take_deltas(look, base);
    look->facts->snapshots = look->desc.n_shots ? (uint32_t)look->desc.n_shots - 1 : 0;
    if (n == 0) {
        look->facts->capacity = look->desc.size_sectors * PLK_SECTOR;
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

    if (!exists(look->dir, PLK_PLOOP_BASE))
        return 1;
    if (read_header(look, PLK_PLOOP_BASE, &header) == 0) {
        look->facts->capacity = header.size_sectors * PLK_SECTOR;
        look->facts->cluster = header.cluster_sectors * PLK_SECTOR;
    }
    return 0;
}

int plk_ploop_probe(int dir_fd, const PlkPlace *place, PlkVolumeFacts *ret, PlkError *err)
{
    Look look = {.dir = dir_fd, .place = place, .facts = ret};
    int r = read_descriptor(&look, err);

    if (r == 0)
        r = look.is_described ? take_chain(&look, err) : take_undescribed(&look);
    plk_descriptor_clear(&look.desc);
    if (r == 0)
        r = take_stats(dir_fd, "", "", ret);
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
