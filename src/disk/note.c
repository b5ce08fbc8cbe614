/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The geometry note: size, cluster, version, format and filesystem as text inside DiskDescriptor.xml.lck.
 *
 * libvirt wipes a ploop volume by removing image and descriptor and asking for a new one of the size it
 * remembers, which is 0. The lock file survives that, and locking does not look at what it holds. A note that
 * was torn by a crash lacks its last line and counts as none. What an operation intends stands behind it: intent.c.
 */
#include "disk/note.h"

#include <ploopkit/create.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"

#define TEXT_MAX 65536 /* what is read of a lock file: the note, and what stands behind it */

static const char *const format_names[] = {
    [PLK_FORMAT_EXPANDED] = "expanded",
    [PLK_FORMAT_PREALLOCATED] = "preallocated",
    [PLK_FORMAT_RAW] = "raw",
};

/* ---- text <-> note ---- */

static bool parse_format(const char *word, PlkFormat *ret)
{
    for (size_t i = 0; i < sizeof format_names / sizeof format_names[0]; i++)
        if (strcmp(word, format_names[i]) == 0) {
            *ret = (PlkFormat)i;
            return true;
        }
    return false;
}

static bool parse_note(const char *text, PlkGeometryNote *ret)
{
    PlkGeometryNote note = {0};
    unsigned long long size;
    char format[16], end;

    if (sscanf(
            text,
            "ploop geometry 1\nsize %20llu\ncluster %10u\nversion %1d\nformat %15s\nfilesystem %15s\nend%c",
            &size, &note.cluster_sectors, &note.version, format, note.filesystem, &end) != 6 ||
        end != '\n' || !parse_format(format, &note.format))
        return false;
    if (size == 0 || !plk_cluster_is_valid(note.cluster_sectors) || note.version < 0 || note.version > 2)
        return false;
    note.size_sectors = size;
    *ret = note;
    return true;
}

static char *print_note(const PlkGeometryNote *note)
{
    return plk_printf("ploop geometry 1\nsize %llu\ncluster %u\nversion %d\nformat %s\nfilesystem %s\nend\n",
                      (unsigned long long)note->size_sectors, note->cluster_sectors, note->version,
                      format_names[note->format], note->filesystem);
}

/* ---- the lock file ---- */

static int read_text(PlkIo *io, char **ret)
{
    PLK_FREE char *text = plk_malloc(TEXT_MAX + 1);
    size_t len;
    int r = text ? plk_io_read_upto(io, text, TEXT_MAX, 0, &len, PLK_POINT_OPEN_READ) : -ENOMEM;

    if (r < 0)
        return r;
    text[len] = '\0';
    *ret = PLK_TAKE(text);
    return 0;
}

/* Behind the note, or the start if there is none. */
static char *end_of_note(char *text)
{
    char *end = strncmp(text, "ploop geometry", 14) == 0 ? strstr(text, "\nend\n") : NULL;

    return end ? end + 5 : text;
}

static int write_text(PlkIo *io, const char *note, size_t note_len, const char *behind, bool durable)
{
    PLK_FREE char *text = plk_printf("%.*s%s", (int)note_len, note, behind);
    size_t len;
    int r;

    if (!text)
        return -ENOMEM;
    len = strlen(text);
    r = plk_io_write(io, text, len, 0, PLK_POINT_FILE_WRITE);
    if (r == 0)
        r = plk_io_truncate(io, len, PLK_POINT_FILE_WRITE);
    return r < 0 || !durable ? r : plk_io_sync(io, PLK_POINT_FILE_SYNC);
}

int plk_note_read_behind(PlkStore *store, char **ret)
{
    PLK_FREE char *text = NULL;
    char *behind;
    int r = read_text(store->lock, &text);

    if (r < 0)
        return r;
    behind = plk_strdup(end_of_note(text));
    if (!behind)
        return -ENOMEM;
    *ret = behind;
    return 0;
}

int plk_note_write_behind(PlkStore *store, const char *behind, bool durable)
{
    PLK_FREE char *text = NULL;
    int r = read_text(store->lock, &text);

    return r < 0 ? r
                 : write_text(store->lock, text, (size_t)(end_of_note(text) - text), behind, durable);
}

/* ---- writing the note ---- */

/* The active image knows size and version; a raw one is as long as the descriptor says. */
static int describe(PlkStore *store, PlkGeometryNote *note)
{
    int i = plk_descriptor_find_image(&store->desc, &store->desc.top);
    plk_cleanup(plk_io_closep) PlkIo *io = NULL;
    uint8_t buf[PLK_HEADER_BYTES];
    PlkHeader header;
    size_t got;

    note->cluster_sectors = store->desc.cluster_sectors;
    note->size_sectors = store->desc.size_sectors;
    note->format = store->desc.images[0].plain ? PLK_FORMAT_RAW
                   : store->desc.preallocated  ? PLK_FORMAT_PREALLOCATED
                                               : PLK_FORMAT_EXPANDED;
    if (plk_store_is_raw(&store->desc, i))
        return 0;
    if (plk_dir_open_file(store->dir, store->desc.images[i].file, 0, 0, &io) < 0 ||
        plk_io_read_upto(io, buf, sizeof buf, 0, &got, PLK_POINT_OPEN_READ) < 0 ||
        plk_header_decode(buf, got, io->name, PLK_HEADER_STRICT, &header, NULL) < 0)
        return -1;
    note->size_sectors = header.size_sectors;
    note->version = header.version;
    return 0;
}

void plk_note_write(PlkStore *store)
{
    PlkGeometryNote note = {0}, old;
    PLK_FREE char *text = NULL, *present = NULL;
    char *behind;

    if (!store->lock || describe(store, &note) < 0 || read_text(store->lock, &present) < 0)
        return;
    behind = end_of_note(present);
    snprintf(note.filesystem, sizeof note.filesystem, "%s",
             store->fs_word              ? store->fs_word
             : parse_note(present, &old) ? old.filesystem
                                         : "none");
    text = print_note(&note);
    if (!text || (strlen(text) == (size_t)(behind - present) && memcmp(text, present, strlen(text)) == 0))
        return;
    (void)write_text(store->lock, text, strlen(text), behind, true);
}

/* ---- reading ---- */

static int read_note(PlkDir *dir, const char *base_name, PlkGeometryNote *ret, PlkError *err)
{
    PLK_FREE char *text = NULL;
    int r;

    if (plk_dir_exists(dir, "DiskDescriptor.xml") != 0 || plk_dir_exists(dir, base_name) != 0)
        return plk_fail(err, PLK_ERROR_NOT_FOUND,
                        "'%s' holds a disk: the size of what was there before is not looked up", dir->path);
    r = plk_dir_read_file(dir, "DiskDescriptor.xml.lck", TEXT_MAX, &text, NULL);
    if (r < 0 || !parse_note(text, ret))
        return plk_fail(err, PLK_ERROR_NOT_FOUND,
                        "'%s' does not remember the size of a disk: a size is needed", dir->path);
    return 0;
}

int plk_geometry_note_read(const char *path, const char *base_name, PlkGeometryNote *ret, PlkError *err)
{
    plk_cleanup(plk_dir_closep) PlkDir *dir = NULL;
    int r = plk_dir_open_fs(path, NULL, &dir);

    if (r < 0)
        return plk_fail_io(err, r == -ENOENT ? PLK_ERROR_NOT_FOUND : PLK_ERROR_OPEN, r,
                           "cannot open directory '%s'", path);
    return read_note(dir, base_name, ret, err);
}
