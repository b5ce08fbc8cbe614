/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of a disk as a pax archive: libext2fs walks and reads, libarchive writes.
 *
 * The filesystem may lie. A directory is entered once (a second name for one is an error, so loops end),
 * names with
 * '/' in them are refused, depth is bounded. Not exported: the balloon file, an empty lost+found, and
 * sockets, which tar has no word for.
 */
#include <ploopkit/filesystem.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "filesystem/ext4-io.h"
#include "filesystem/ext4-node.h"
#include "filesystem/posix-acl.h"
#include "filesystem/step.h"
#include "filesystem/utf8.h"

#define STEP "exporting files"
#define DEPTH_MAX 512
#define BUFFER_BYTES (1u << 20)
#define LINK_BYTES_MAX 65536u

PLK_DEFINE_CLEANUP(struct archive_entry, archive_entry_free)

/* Inodes with several names: where each was first met. Open addressing, at most half full. */
typedef struct Links {
    struct {
        ext2_ino_t ino;
        char *path;
    } * slots;
    size_t cap, n;
} Links;

typedef struct Export {
    ext2_filsys fs;
    struct archive *archive;
    int out_fd;
    Links links;
    ext2fs_inode_bitmap seen; /* directories */
    uint8_t *buffer;          /* BUFFER_BYTES */
    uint64_t done, total;
    const PlkProgress *progress;
    PlkError *err;
} Export;

static int fail_read(Export *x, const char *path, errcode_t rc)
{
    return plk_fail_ext4(x->err, PLK_ERROR_FORMAT, rc, "cannot read '%s' in the filesystem", path);
}

static int fail_write(Export *x, const char *path)
{
    int e = archive_errno(x->archive);

    if (e > 0) /* libarchive's own words are no more than "Write error" */
        return plk_fail_io(x->err, PLK_ERROR_WRITE, -e, "cannot write '%s' to the archive", path);
    return plk_fail(x->err, PLK_ERROR_WRITE, "cannot write '%s' to the archive: %s", path,
                    archive_error_string(x->archive));
}

/* ---- hard links ---- */

static size_t links_slot(const Links *links, ext2_ino_t ino)
{
    size_t i = (ino * 2654435761u) & (links->cap - 1);

    while (links->slots[i].path && links->slots[i].ino != ino)
        i = (i + 1) & (links->cap - 1);
    return i;
}

static bool links_grow(Links *links)
{
    Links bigger = {.cap = links->cap ? links->cap * 2 : 64, .n = links->n};

    bigger.slots = plk_calloc(bigger.cap, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < links->cap; i++)
        if (links->slots[i].path)
            bigger.slots[links_slot(&bigger, links->slots[i].ino)] = links->slots[i];
    free(links->slots);
    *links = bigger;
    return true;
}

/* The first path of this inode: *ret is NULL when this is it. */
static int links_note(Export *x, ext2_ino_t ino, const char *path, const char **ret)
{
    Links *links = &x->links;
    size_t slot;

    if (links->n * 2 >= links->cap && !links_grow(links))
        return plk_fail_nomem(x->err);
    slot = links_slot(links, ino);
    *ret = links->slots[slot].path;
    if (*ret)
        return 0;
    links->slots[slot].path = plk_strdup(path);
    if (!links->slots[slot].path)
        return plk_fail_nomem(x->err);
    links->slots[slot].ino = ino;
    links->n++;
    return 0;
}

static void links_clear(Links *links)
{
    for (size_t i = 0; i < links->cap; i++)
        free(links->slots[i].path);
    free(links->slots);
}

/* ---- what an inode says ---- */

static int64_t time_of(__u32 low, __u32 extra)
{
    return (int64_t)(int32_t)low + ((int64_t)(extra & 3) << 32);
}

static void put_times(struct archive_entry *entry, const struct ext2_inode_large *inode)
{
    /* Only inodes with room behind the old 128 bytes have more than seconds. */
    bool wide = inode->i_extra_isize >= 24;
    __u32 m = wide ? inode->i_mtime_extra : 0, a = wide ? inode->i_atime_extra : 0;
    __u32 c = wide ? inode->i_ctime_extra : 0;

    archive_entry_set_mtime(entry, time_of(inode->i_mtime, m), m >> 2);
    archive_entry_set_atime(entry, time_of(inode->i_atime, a), a >> 2);
    archive_entry_set_ctime(entry, time_of(inode->i_ctime, c), c >> 2);
}

static void put_device(struct archive_entry *entry, const struct ext2_inode_large *inode)
{
    uint32_t old = inode->i_block[0], new = inode->i_block[1];

    archive_entry_set_rdevmajor(entry, old ? old >> 8 & 0xff : new >> 8 & 0xfff);
    archive_entry_set_rdevminor(entry, old ? old & 0xff : (new & 0xff) | (new >> 12 & 0xfff00));
}

static void put_meta(struct archive_entry *entry, const char *path, struct ext2_inode_large *inode)
{
    archive_entry_copy_pathname(entry, path);
    archive_entry_set_mode(entry, inode->i_mode);
    archive_entry_set_uid(entry, inode_uid(*inode));
    archive_entry_set_gid(entry, inode_gid(*inode));
    archive_entry_set_nlink(entry, inode->i_links_count);
    put_times(entry, inode);
    if (S_ISCHR(inode->i_mode) || S_ISBLK(inode->i_mode))
        put_device(entry, inode);
}

typedef struct Attributes {
    Export *x;
    struct ext2_xattr_handle *handle;
    struct archive_entry *entry;
} Attributes;

/* "system.data" is the contents of a small file kept in its inode, not an attribute. */
static int put_attribute(char *name, char *raw, size_t raw_len, void *arg)
{
    Attributes *a = arg;
    void *value;
    size_t len;
    int rc = 0;

    if (strcmp(name, "system.data") == 0)
        return 0;
    if (ext2fs_xattr_get(a->handle, name, &value, &len))
        return XATTR_ABORT;
    if (strcmp(name, PLK_ACL_ACCESS) == 0)
        rc = plk_acl_decode(a->entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, value, len, a->x->err);
    else if (strcmp(name, PLK_ACL_DEFAULT) == 0)
        rc = plk_acl_decode(a->entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, value, len, a->x->err);
    else
        archive_entry_xattr_add_entry(a->entry, name, value, len);
    ext2fs_free_mem(&value);
    return rc ? XATTR_ABORT : 0;
}

static int put_attributes(Export *x, const char *path, ext2_ino_t ino, struct archive_entry *entry)
{
    Attributes a = {.x = x, .entry = entry};
    PlkError *err = x->err, why = {0};
    errcode_t rc = ext2fs_xattrs_open(x->fs, ino, &a.handle);

    if (rc)
        return fail_read(x, path, rc);
    x->err = &why;
    rc = ext2fs_xattrs_read(a.handle);
    if (!rc)
        rc = ext2fs_xattrs_iterate(a.handle, put_attribute, &a);
    ext2fs_xattrs_close(&a.handle);
    x->err = err;
    if (rc)
        return fail_read(x, path, rc);
    return why.code == PLK_OK ? 0 : plk_fail(err, why.code, "attributes of '%s': %s", path, why.message);
}

/* ---- contents ---- */

/* Where data is, by the block map. Neighbours are joined, so this stays short for ordinary files. */
typedef struct Runs {
    struct archive_entry *entry;
    uint64_t block, start, end; /* bytes; start == end: none yet */
    uint64_t size;
    bool sparse;
} Runs;

static void end_run(Runs *runs)
{
    if (runs->start < runs->end)
        archive_entry_sparse_add_entry(runs->entry, (la_int64_t)runs->start,
                                       (la_int64_t)(PLK_MIN(runs->end, runs->size) - runs->start));
}

static int add_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t count, blk64_t ref, int ref_offset,
                     void *arg)
{
    Runs *runs = arg;
    uint64_t at = (uint64_t)count * runs->block;

    if (count < 0 || at >= runs->size)
        return 0;
    if (at != runs->end || runs->start == runs->end) {
        end_run(runs);
        runs->sparse |= at != runs->end;
        runs->start = at;
    }
    runs->end = at + runs->block;
    return 0;
}

/* Marks holes in the entry, if there are any. */
static int put_holes(Export *x, const char *path, ext2_ino_t ino, struct ext2_inode_large *inode,
                     struct archive_entry *entry, uint64_t size)
{
    Runs runs = {.entry = entry, .block = x->fs->blocksize, .size = size};
    errcode_t rc;

    if (!ext2fs_inode_has_valid_blocks2(x->fs, (struct ext2_inode *)inode))
        return 0;
    rc = ext2fs_block_iterate3(x->fs, ino, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, NULL, add_block,
                               &runs);
    if (rc)
        return fail_read(x, path, rc);
    if (!runs.sparse && runs.end >= size) {
        archive_entry_sparse_clear(entry);
        return 0;
    }
    end_run(&runs);
    if (runs.start == runs.end) /* nothing but a hole: one empty run at its end says so */
        archive_entry_sparse_add_entry(entry, (la_int64_t)size, 0);
    return 0;
}

static int write_data(Export *x, const char *path, ext2_file_t file, uint64_t size)
{
    for (uint64_t at = 0; at < size;) {
        unsigned got = 0, want = (unsigned)PLK_MIN(size - at, BUFFER_BYTES);
        errcode_t rc = ext2fs_file_read(file, x->buffer, want, &got);
        if (rc || !got)
            return fail_read(x, path, rc ? rc : EXT2_ET_SHORT_READ);
        if (archive_write_data(x->archive, x->buffer, got) < 0)
            return fail_write(x, path);
        at += got;
        x->done = PLK_MIN(x->done + got, x->total);
        if (plk_step(x->progress, STEP, x->done, x->total, x->err))
            return -1;
    }
    return 0;
}

static int write_file(Export *x, const char *path, ext2_ino_t ino, uint64_t size)
{
    ext2_file_t file;
    errcode_t rc = ext2fs_file_open(x->fs, ino, 0, &file);
    int r;

    if (rc)
        return fail_read(x, path, rc);
    r = write_data(x, path, file, size);
    ext2fs_file_close(file);
    return r;
}

/* Short targets lie in the inode, long ones in a block, both where a file's contents would be. */
static int put_target(Export *x, const char *path, ext2_ino_t ino, struct ext2_inode_large *inode,
                      struct archive_entry *entry)
{
    uint64_t size = EXT2_I_SIZE((struct ext2_inode *)inode);
    PLK_FREE char *target = NULL;
    ext2_file_t file;
    errcode_t rc;
    unsigned got;

    if (size == 0 || size > LINK_BYTES_MAX)
        return plk_fail(x->err, PLK_ERROR_FORMAT, "symbolic link '%s' of %" PRIu64 " bytes", path, size);
    target = plk_calloc(1, size + 1);
    if (!target)
        return plk_fail_nomem(x->err);
    if (ext2fs_is_fast_symlink((struct ext2_inode *)inode)) {
        memcpy(target, inode->i_block, PLK_MIN(size, sizeof inode->i_block));
    } else {
        rc = ext2fs_file_open(x->fs, ino, 0, &file);
        if (!rc) {
            rc = ext2fs_file_read(file, target, (unsigned)size, &got);
            ext2fs_file_close(file);
        }
        if (rc)
            return fail_read(x, path, rc);
    }
    archive_entry_copy_symlink(entry, target);
    return 0;
}

/* ---- one node ---- */

static int write_header(Export *x, const char *path, struct archive_entry *entry)
{
    int rc = archive_write_header(x->archive, entry);

    return rc == ARCHIVE_OK || rc == ARCHIVE_WARN ? 0 : fail_write(x, path);
}

static int export_first(Export *x, const char *path, ext2_ino_t ino, struct ext2_inode_large *inode,
                        struct archive_entry *entry)
{
    uint64_t size = S_ISREG(inode->i_mode) ? EXT2_I_SIZE((struct ext2_inode *)inode) : 0;

    archive_entry_set_size(entry, (la_int64_t)size);
    if (size > INT64_MAX)
        return plk_fail(x->err, PLK_ERROR_FORMAT, "file '%s' of %" PRIu64 " bytes", path, size);
    if (S_ISLNK(inode->i_mode) && put_target(x, path, ino, inode, entry))
        return -1;
    if (put_attributes(x, path, ino, entry) || (size && put_holes(x, path, ino, inode, entry, size)) ||
        write_header(x, path, entry))
        return -1;
    return size ? write_file(x, path, ino, size) : 0;
}

static int export_node(Export *x, const char *path, ext2_ino_t ino, struct ext2_inode_large *inode)
{
    plk_cleanup(archive_entry_freep) struct archive_entry *entry = archive_entry_new();
    const char *first = NULL;

    if (!entry)
        return plk_fail_nomem(x->err);
    if (S_ISSOCK(inode->i_mode))
        return 0;
    put_meta(entry, path, inode);
    if (!S_ISDIR(inode->i_mode) && inode->i_links_count > 1 && links_note(x, ino, path, &first))
        return -1;
    if (!first)
        return export_first(x, path, ino, inode, entry);
    archive_entry_copy_hardlink(entry, first);
    archive_entry_unset_size(entry);
    return write_header(x, path, entry);
}

/* ---- the walk ---- */

/* A directory's names, collected before any of them is followed: no iterator stays open while going deeper.
 */
typedef struct Names {
    struct {
        ext2_ino_t ino;
        char name[EXT2_NAME_LEN + 1];
    } * items;
    size_t n, cap;
    bool no_memory;
} Names;

static int add_name(ext2_ino_t dir, int entry, struct ext2_dir_entry *dirent, int offset, int blocksize,
                    char *buf, void *arg)
{
    Names *names = arg;
    size_t len = (size_t)ext2fs_dirent_name_len(dirent);

    if (entry != DIRENT_OTHER_FILE || dirent->inode == 0)
        return 0;
    if (names->n == names->cap) {
        size_t cap = names->cap ? names->cap * 2 : 16;
        void *more = plk_realloc(names->items, cap, sizeof *names->items);
        if (!more) {
            names->no_memory = true;
            return DIRENT_ABORT;
        }
        names->items = more;
        names->cap = cap;
    }
    names->items[names->n].ino = dirent->inode;
    memcpy(names->items[names->n].name, dirent->name, len);
    names->items[names->n++].name[len] = '\0';
    return 0;
}

static int read_names(Export *x, const char *path, ext2_ino_t dir, Names *ret)
{
    errcode_t rc = ext2fs_dir_iterate2(x->fs, dir, 0, NULL, add_name, ret);

    if (ret->no_memory)
        return plk_fail_nomem(x->err);
    return rc ? fail_read(x, path, rc) : 0;
}

static bool left_out(const char *path, const Names *names_of_dir)
{
    if (strcmp(path, PLK_BALLOON_NAME) == 0)
        return true;
    return strcmp(path, "lost+found") == 0 && names_of_dir && names_of_dir->n == 0;
}

static int export_dir(Export *x, const char *path, ext2_ino_t ino, unsigned depth);

static int export_child(Export *x, const char *parent, const char *name, ext2_ino_t ino, unsigned depth)
{
    PLK_FREE char *path = plk_printf("%s%s%s", parent, *parent ? "/" : "", name);
    struct ext2_inode_large inode = {0};
    errcode_t rc;

    if (!path)
        return plk_fail_nomem(x->err);
    if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
        return plk_fail(x->err, PLK_ERROR_FORMAT, "directory '%s' holds the impossible name '%s'", parent,
                        name);
    if (left_out(path, NULL))
        return 0;
    rc = ext2fs_read_inode_full(x->fs, ino, (struct ext2_inode *)&inode, sizeof inode);
    if (rc)
        return fail_read(x, path, rc);
    return S_ISDIR(inode.i_mode) ? export_dir(x, path, ino, depth + 1) : export_node(x, path, ino, &inode);
}

static int export_children(Export *x, const char *path, const Names *names, unsigned depth)
{
    for (size_t i = 0; i < names->n; i++)
        if (export_child(x, path, names->items[i].name, names->items[i].ino, depth))
            return -1;
    return 0;
}

static int export_dir(Export *x, const char *path, ext2_ino_t ino, unsigned depth)
{
    struct ext2_inode_large inode = {0};
    Names names = {0};
    errcode_t rc;
    int r;

    if (depth > DEPTH_MAX || ino > x->fs->super->s_inodes_count || ext2fs_mark_inode_bitmap2(x->seen, ino))
        return plk_fail(x->err, PLK_ERROR_FORMAT,
                        "directory '%s' is nested too deeply or in two places: repair the "
                        "filesystem first",
                        path);
    rc = ext2fs_read_inode_full(x->fs, ino, (struct ext2_inode *)&inode, sizeof inode);
    if (rc)
        return fail_read(x, path, rc);
    r = read_names(x, path, ino, &names);
    if (!r && !left_out(path, &names)) {
        r = export_node(x, *path ? path : ".", ino, &inode);
        if (!r)
            r = export_children(x, path, &names, depth);
    }
    free(names.items);
    return r;
}

/* ---- the archive ---- */

/*
 * Attributes are written once, in the form GNU tar knows too. Names are bytes, as ext4 keeps them; this
 * thread takes them for UTF-8 meanwhile, and libarchive marks those that are not.
 */
static int export_all(Export *x)
{
    if (archive_write_set_format_pax(x->archive) != ARCHIVE_OK ||
        archive_write_set_options(x->archive, "xattrheader=SCHILY") != ARCHIVE_OK ||
        archive_write_open_fd(x->archive, x->out_fd) != ARCHIVE_OK)
        return fail_write(x, ".");
    if (export_dir(x, "", EXT2_ROOT_INO, 0))
        return -1;
    if (archive_write_close(x->archive) != ARCHIVE_OK)
        return fail_write(x, ".");
    return plk_step(x->progress, STEP, x->total, x->total, x->err);
}

int plk_filesystem_export_tar(PlkDisk *disk, int out_fd, const PlkProgress *progress, PlkError *err)
{
    PLK_EXT4_AUTO ext2_filsys fs = NULL;
    PLK_FREE uint8_t *buffer = plk_malloc(BUFFER_BYTES);
    Export x = {.out_fd = out_fd, .buffer = buffer, .progress = progress, .err = err};
    PLK_UTF8_SCOPE;
    PlkPartition part;
    int rc;

    if (!buffer)
        return plk_fail_nomem(err);
    if (plk_partition_find(disk, &part, err) || plk_ext4_open(disk, &part, false, &fs, err))
        return -1;
    x.fs = fs;
    x.total = (ext2fs_blocks_count(fs->super) - ext2fs_free_blocks_count(fs->super)) * fs->blocksize;
    x.archive = archive_write_new();
    if (!x.archive || ext2fs_allocate_inode_bitmap(fs, "directories", &x.seen))
        rc = plk_fail_nomem(err);
    else
        rc = export_all(&x);
    if (x.seen)
        ext2fs_free_inode_bitmap(x.seen);
    /* Not closed yet after a failure: then there must be no tidy end that would make half an archive look
     * whole. */
    if (rc && x.archive)
        archive_write_fail(x.archive);
    archive_write_free(x.archive);
    links_clear(&x.links);
    return rc;
}
