/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Format version 1 <-> 2 of all images of a disk, in place: entries count sectors in one and clusters in the
 * other, so every BAT is rewritten while the data stays where it is.
 *
 *   1  FILE.idx beside each image: header and BAT as they were; synced, directory synced
 *   2  header of each image: in use, "conversion in progress"; the base first
 *   3  every BAT rewritten and synced
 *   4  header of each image: new version, closed; the base last: the conversion has happened
 *   5  the FILE.idx go
 *
 * The base's flag is the one that counts: as long as it is set nobody opens the disk, and
 * plk_version_recover() puts every FILE.idx back, the base's last. ploop uses the same names and flag for the
 * same purpose.
 */
#include "disk/version.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "disk/note.h"

#define COPY_BYTES (1u << 20)
#define BACKUP_MODE 0600

/* All images of the descriptor, the base first. */
typedef struct Conversion {
    PlkStore *store;
    PlkImage **images;
    int *indexes; /* into the descriptor's images */
    size_t n;
    int to;
    uint8_t *buffer;
    const PlkProgress *progress;
    bool flagged; /* step 2 has begun */
    size_t at;    /* image that is being saved or rewritten */
} Conversion;

static char *backup_name(PlkStore *store, int index)
{
    return plk_printf("%s.idx", store->desc.images[index].file);
}

/* Every image of the descriptor, the base of the active state in front. */
static int order_images(PlkStore *store, int **ret, PlkError *err)
{
    PLK_FREE int *chain = NULL;
    int *order;
    size_t n, k = 0;

    if (plk_descriptor_chain(&store->desc, &store->desc.top, store->path, &chain, &n, err) < 0)
        return -1;
    order = plk_calloc(store->desc.n_images, sizeof *order);
    if (!order)
        return plk_fail_nomem(err);
    order[k++] = chain[0];
    for (size_t i = 0; i < store->desc.n_images; i++)
        if ((int)i != chain[0])
            order[k++] = (int)i;
    *ret = order;
    return 0;
}

/* ---- rolling back ---- */

static int fail_rollback(PlkStore *store, const char *file, int r, PlkError *err)
{
    return plk_fail_io(err, PLK_ERROR_WRITE, r,
                       "image '%s' of '%s': cannot undo its interrupted version conversion", file,
                       store->dir->path);
}

/* Is this the saved header and BAT of that image? */
static int check_backup(PlkIo *saved, PlkIo *image, uint64_t *ret_len, PlkError *err)
{
    uint8_t a[PLK_HEADER_BYTES], b[PLK_HEADER_BYTES];
    PlkHeader old, now;
    uint64_t len;
    int r = plk_io_read(saved, a, sizeof a, 0, PLK_POINT_OPEN_READ);

    if (r == 0)
        r = plk_io_read(image, b, sizeof b, 0, PLK_POINT_OPEN_READ);
    if (r == 0)
        r = plk_io_size(saved, &len);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_READ, r, "backup '%s'", saved->name);
    if (plk_header_decode(a, sizeof a, saved->name, PLK_HEADER_STRICT, &old, err) < 0 ||
        plk_header_decode(b, sizeof b, image->name, PLK_HEADER_STRICT, &now, err) < 0)
        return -1;
    if (len != (uint64_t)old.first_block_sectors * PLK_SECTOR || old.cluster_sectors != now.cluster_sectors ||
        old.first_block_sectors != now.first_block_sectors || old.bat_entries != now.bat_entries)
        return plk_fail(err, PLK_ERROR_FORMAT,
                        "backup '%s' does not belong to image '%s'; the conversion cannot be undone",
                        saved->name, image->name);
    *ret_len = len;
    return 0;
}

/* BAT first, then the header, whose flag says that this is needed. */
static int put_back(PlkIo *image, PlkIo *saved, uint64_t len)
{
    PLK_FREE uint8_t *buf = plk_malloc(COPY_BYTES);
    uint64_t at = PLK_HEADER_BYTES;
    int r = buf ? 0 : -ENOMEM;

    while (r == 0 && at < len) {
        size_t n = (size_t)PLK_MIN(len - at, COPY_BYTES);
        r = plk_io_read(saved, buf, n, at, PLK_POINT_OPEN_READ);
        if (r == 0)
            r = plk_io_write(image, buf, n, at, PLK_POINT_META_BAT);
        at += n;
    }
    if (r == 0)
        r = plk_io_sync(image, PLK_POINT_META_SYNC);
    if (r == 0)
        r = plk_io_read(saved, buf, PLK_HEADER_BYTES, 0, PLK_POINT_OPEN_READ);
    if (r == 0)
        r = plk_io_write(image, buf, PLK_HEADER_BYTES, 0, PLK_POINT_META_HEADER);
    return r < 0 ? r : plk_io_sync(image, PLK_POINT_META_SYNC);
}

static int restore_image(PlkStore *store, int index, PlkError *err)
{
    plk_cleanup(plk_io_closep) PlkIo *image = NULL, *saved = NULL;
    PLK_FREE char *backup = backup_name(store, index);
    const char *file = store->desc.images[index].file;
    uint64_t len;
    int r;

    if (!backup)
        return plk_fail_nomem(err);
    r = plk_dir_open_file(store->dir, backup, 0, 0, &saved);
    if (r < 0)
        return plk_fail_io(
            err, PLK_ERROR_OPEN, r,
            "image '%s' of '%s': its version conversion was cut short and cannot be undone without '%s'",
            file, store->dir->path, backup);
    r = plk_dir_open_file(store->dir, file, PLK_OPEN_WRITE, 0, &image);
    if (r < 0)
        return fail_rollback(store, file, r, err);
    r = plk_io_lock(image, PLK_IO_LOCK_EXCLUSIVE);
    if (r < 0)
        return plk_fail_locked(err, image, r);
    if (check_backup(saved, image, &len, err) < 0)
        return -1;
    r = put_back(image, saved, len);
    return r < 0 ? fail_rollback(store, file, r, err) : 0;
}

static void remove_backups(PlkStore *store)
{
    for (size_t i = 0; i < store->desc.n_images; i++) {
        PLK_FREE char *backup = backup_name(store, (int)i);
        if (backup)
            plk_dir_unlink(store->dir, backup);
    }
    (void)plk_dir_sync(store->dir);
}

static int roll_back(PlkStore *store, const int *order, PlkError *err)
{
    for (size_t i = store->desc.n_images; i-- > 0;)
        if (restore_image(store, order[i], err) < 0)
            return -1;
    remove_backups(store);
    return 0;
}

static bool is_converting(PlkStore *store, int base)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader header;
    size_t got;

    return !plk_store_is_raw(&store->desc, base) &&
           plk_dir_open_file(store->dir, store->desc.images[base].file, 0, 0, &io) == 0 &&
           plk_io_read_upto(io, buf, sizeof buf, 0, &got, PLK_POINT_OPEN_READ) == 0 &&
           plk_header_decode(buf, got, io->name, PLK_HEADER_LOOSE, &header, NULL) == 0 &&
           header.in_use == PLK_IN_USE_OPEN && (header.flags & PLK_FLAG_CONVERT);
}

static bool has_backup(PlkStore *store)
{
    bool found = false;

    for (size_t i = 0; !found && i < store->desc.n_images; i++) {
        PLK_FREE char *backup = backup_name(store, (int)i);
        found = backup && plk_dir_exists(store->dir, backup) == 1;
    }
    return found;
}

/* Whether the conversion came to its end is what the disk says: the page cache may know of a sync that failed. */
static int reload_base(PlkStore *store, int base, PlkError *err)
{
    const char *file = store->desc.images[base].file;
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    int r = plk_dir_open_file(store->dir, file, 0, 0, &io);

    if (r == 0)
        r = plk_io_reload(io);
    return r < 0 ? fail_rollback(store, file, r, err) : 0;
}

int plk_version_recover(PlkStore *store, PlkError *err)
{
    PLK_FREE int *order = NULL;
    bool backup = has_backup(store);

    /* A descriptor whose chain is broken is for others to complain about. */
    if (order_images(store, &order, NULL) < 0)
        return 0;
    if (backup && reload_base(store, order[0], err) < 0)
        return -1;
    if (is_converting(store, order[0]))
        return roll_back(store, order, err);
    if (backup) /* it came to its end, but for step 5 */
        remove_backups(store);
    return 0;
}

/* ---- converting ---- */

static void conversion_clear(Conversion *c)
{
    for (size_t i = 0; c->images && i < c->n; i++)
        plk_image_drop(c->images[i]);
    free(c->images);
    free(c->indexes);
    free(c->buffer);
}

/* Version 1 counts the sectors of disk and file in 32 bits. */
static int check_fits(const PlkImage *img, int to, PlkError *err)
{
    uint64_t limit = UINT32_MAX / img->header.cluster_sectors;

    if (img->kind == PLK_IMAGE_RAW)
        return plk_fail(err, PLK_ERROR_UNSUPPORTED, "image '%s' is raw: it has no version to convert",
                        img->io->name);
    if (to == 2 || (img->header.size_sectors <= plk_header_max_size(1, img->header.cluster_sectors) &&
                    atomic_load(&img->file_clusters) <= limit))
        return 0;
    return plk_fail(err, PLK_ERROR_UNSUPPORTED, "image '%s' is too big for version 1, which ends at 2 TiB",
                    img->io->name);
}

static int open_all(Conversion *c, PlkError *err)
{
    PlkStore *store = c->store;

    if (order_images(store, &c->indexes, err) < 0)
        return -1;
    c->images = plk_calloc(store->desc.n_images, sizeof *c->images);
    c->buffer = plk_malloc(COPY_BYTES);
    if (!c->images || !c->buffer)
        return plk_fail_nomem(err);
    for (; c->n < store->desc.n_images; c->n++) {
        PlkImage **img = &c->images[c->n];
        if (plk_store_settle(store, c->indexes[c->n], err) < 0 ||
            plk_store_open_image(store, c->indexes[c->n], PLK_IMAGE_WRITE, img, err) < 0)
            return -1;
        if (check_fits(*img, c->to, err) < 0) {
            c->n++;
            return -1;
        }
    }
    return 0;
}

static bool all_converted(const Conversion *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->images[i]->header.version != c->to)
            return false;
    return true;
}

/* Step 1. The saved header is that of the closed image. */
static int write_backup(Conversion *c, PlkImage *img, PlkIo *io)
{
    uint64_t len = plk_image_offset(img, img->first_cluster);
    PlkHeader closed = img->header;
    int r = 0;

    for (uint64_t at = 0; r == 0 && at < len; at += COPY_BYTES) {
        size_t n = (size_t)PLK_MIN(len - at, COPY_BYTES);
        r = plk_io_read(img->io, c->buffer, n, at, PLK_POINT_BAT_READ);
        if (r < 0)
            break;
        if (at == 0) {
            closed.in_use = PLK_IN_USE_CLOSED;
            closed.flags = plk_image_closed_flags(img);
            plk_header_encode(&closed, c->buffer);
        }
        r = plk_io_write(io, c->buffer, n, at, PLK_POINT_FILE_WRITE);
    }
    return r < 0 ? r : plk_io_sync(io, PLK_POINT_FILE_SYNC);
}

static int save_image(Conversion *c, size_t i)
{
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    PLK_FREE char *backup = backup_name(c->store, c->indexes[i]);
    int r =
        backup ? plk_dir_unlink(c->store->dir, backup) : -ENOMEM; /* a stale one of a finished conversion */

    if (r < 0 && r != -ENOENT)
        return r;
    r = plk_dir_open_file(c->store->dir, backup, PLK_OPEN_CREATE | PLK_OPEN_EXCLUSIVE, BACKUP_MODE, &io);
    return r < 0 ? r : write_backup(c, c->images[i], io);
}

static int save_all(Conversion *c)
{
    int r;

    for (c->at = 0; c->at < c->n; c->at++) {
        r = plk_image_prepare_write(c->images[c->at]);
        if (r == 0)
            r = save_image(c, c->at);
        if (r < 0)
            return r;
    }
    return plk_dir_sync(c->store->dir);
}

/* Step 2. */
static int flag_all(Conversion *c)
{
    int r = 0;

    c->flagged = true;
    for (size_t i = 0; r == 0 && i < c->n; i++) {
        c->images[i]->header.flags |= PLK_FLAG_CONVERT;
        r = plk_image_write_header(c->images[i], PLK_IN_USE_OPEN, PLK_POINT_META_HEADER);
        if (r == 0)
            r = plk_io_sync(c->images[i]->io, PLK_POINT_META_SYNC);
    }
    return r;
}

/* Step 3. Entries are cluster indexes in memory whatever the version, so it is only encoding that differs. */
static int rewrite_page(void *arg, uint32_t page, const uint32_t slots[PLK_BAT_PAGE_SLOTS])
{
    Conversion *c = arg;
    PlkImage *img = c->images[c->at];
    uint64_t pages = plk_bat_page_count(plk_image_slots(img));
    int from = img->header.version, r;

    img->header.version = c->to;
    r = plk_image_write_page(img, page, slots);
    img->header.version = from;
    if (r == 0 && c->progress && page % 256 == 0 &&
        c->progress->update(c->progress->arg, "converting", (c->at * pages + page) * PLK_BAT_PAGE_BYTES,
                            c->n * pages * PLK_BAT_PAGE_BYTES))
        r = -ECANCELED;
    return r;
}

static int rewrite_all(Conversion *c)
{
    int r = 0;

    for (c->at = 0; r == 0 && c->at < c->n; c->at++) {
        r = plk_image_walk_bat(c->images[c->at], rewrite_page, c);
        if (r == 0)
            r = plk_io_sync(c->images[c->at]->io, PLK_POINT_META_SYNC);
    }
    return r;
}

/* Step 4. */
static int finish_all(Conversion *c)
{
    int r = 0;

    for (size_t i = c->n; r == 0 && i-- > 0;) {
        PlkImage *img = c->images[i];

        img->header.version = c->to;
        img->header.flags = plk_image_closed_flags(img);
        r = plk_image_write_header(img, PLK_IN_USE_CLOSED, PLK_POINT_META_CLOSE);
        if (r == 0)
            r = plk_io_sync(img->io, PLK_POINT_META_SYNC);
        atomic_store(&img->prepared, false);
    }
    return r;
}

static int convert_all(Conversion *c)
{
    int r = save_all(c);

    if (r == 0)
        r = flag_all(c);
    if (r == 0)
        r = rewrite_all(c);
    return r < 0 ? r : finish_all(c);
}

/* Nothing was changed but the in-use marks. */
static void close_all(Conversion *c)
{
    for (size_t i = 0; i < c->n; i++)
        (void)plk_image_close(PLK_TAKE(c->images[i]), NULL);
    remove_backups(c->store);
}

static int undo(Conversion *c, int r, PlkError *err)
{
    PLK_FREE int *order = NULL;
    PlkStore *store = c->store;
    bool flagged = c->flagged;

    if (r == -EUCLEAN && err)
        *err = c->images[c->at < c->n ? c->at : 0]->damage;
    else
        plk_fail_io(err, PLK_ERROR_WRITE, r, "disk '%s': cannot convert it to version %d", store->dir->path,
                    c->to);
    if (!flagged)
        close_all(c);
    order = PLK_TAKE(c->indexes);
    conversion_clear(c); /* the locks go, so that rolling back can take them */
    *c = (Conversion){0};
    if (flagged && is_converting(store, order[0]))
        (void)roll_back(store, order, NULL); /* else the next operation on the disk does it */
    return -1;
}

int plk_store_convert_version(PlkStore *store, int to, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(conversion_clear) Conversion c = {.store = store, .to = to, .progress = progress};
    int r;

    if (to != 1 && to != 2)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "there is no image version %d", to);
    if (open_all(&c, err) < 0)
        return -1;
    if (all_converted(&c))
        return 0;
    r = convert_all(&c);
    if (r < 0)
        return undo(&c, r, err);
    remove_backups(store);
    plk_note_write(store);
    return 0;
}

int plk_convert_version(const char *path, const char *root, int to, const PlkProgress *progress,
                        PlkError *err)
{
    plk_cleanup(plk_store_closep) PlkStore *store = NULL;

    if (plk_store_open_locked(path, root, &store, err) < 0)
        return -1;
    return plk_store_convert_version(store, to, progress, err);
}
