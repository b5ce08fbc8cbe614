/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libarchive reads (a tar, or a directory: both give the same entries), libext2fs writes straight into the
 * disk.
 *
 * Entries come in any order and from anybody. Nothing is trusted but their bytes: paths become lists of
 * components here, and each component is looked up in the new filesystem, where a symbolic link is an end,
 * never a way on.
 */
#include "filesystem/populate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"
#include "filesystem/ext4-node.h"
#include "filesystem/posix-acl.h"
#include "filesystem/step.h"
#include "filesystem/utf8.h"

#define STEP "filling the filesystem"
#define READ_BYTES (256u * 1024)
#define WRITE_BYTES_MAX (1u << 30) /* of one ext2fs_file_write(), which counts in 32 bits */

PLK_DEFINE_CLEANUP(struct archive, archive_read_free)
PLK_DEFINE_CLEANUP(struct archive_entry, archive_entry_free)
PLK_DEFINE_CLEANUP(struct archive_entry_linkresolver, archive_entry_linkresolver_free)

typedef struct Filler {
    ext2_filsys fs;
    struct archive *archive;
    const char *source;
    size_t prefix; /* bytes of each name that are the source directory's own */
    bool is_dir;
    char *dir_path; /* the directory last used, and its inode: entries come in clusters */
    ext2_ino_t dir;
    uint64_t done, total;
    const PlkProgress *progress;
    PlkError *err;
} Filler;

static int fail_archive(Filler *f)
{
    const char *text = archive_error_string(f->archive);

    return plk_fail(f->err, PLK_ERROR_READ, "cannot read '%s': %s", f->source, text ? text : "unknown error");
}

static int fail_entry(Filler *f, const char *path, errcode_t rc)
{
    return plk_fail_ext4(f->err, PLK_ERROR_MKFS, rc, "cannot create '%s' from '%s' in the new filesystem",
                         path, f->source);
}

/* ---- names ---- */

/* "./a//b/" -> "a/b"; the root is "". malloc'd; NULL after an error. */
static char *clean_path(Filler *f, const char *raw)
{
    char *clean = plk_malloc(strlen(raw) + 1), *end = clean;

    if (!clean) {
        plk_fail_nomem(f->err);
        return NULL;
    }
    while (*raw) {
        size_t len = strcspn(raw, "/");
        if ((len == 2 && !memcmp(raw, "..", 2)) || len > EXT2_NAME_LEN) {
            plk_fail(f->err, PLK_ERROR_ARGUMENT, "'%s' holds a file with %s in its path: '%s'", f->source,
                     len == 2 ? "'..'" : "a name too long", raw);
            free(clean);
            return NULL;
        }
        if (len && !(len == 1 && *raw == '.')) {
            if (end != clean)
                *end++ = '/';
            memcpy(end, raw, len);
            end += len;
        }
        raw += len + (raw[len] == '/');
    }
    *end = '\0';
    return clean;
}

/* UTF-8, or raw bytes where the archive had something else; NULL when libarchive can make nothing of it. */
static const char *entry_path(Filler *f, struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);

    return path && strlen(path) >= f->prefix ? path + f->prefix : NULL;
}

static const char *entry_hardlink(Filler *f, struct archive_entry *entry)
{
    const char *path = archive_entry_hardlink(entry);

    return path && strlen(path) >= f->prefix ? path + f->prefix : path;
}

/* ---- directories ---- */

static errcode_t implied_dir(Filler *f, ext2_ino_t parent, const char *name, ext2_ino_t *ret)
{
    time_t now = time(NULL);
    PlkNodeMeta meta = {.mode = S_IFDIR | 0755, .atime = now, .mtime = now, .ctime = now};

    return plk_node_create(f->fs, parent, name, &meta, NULL, ret);
}

/* The inode of a cleaned directory path; missing ones are made if `make`. */
static errcode_t walk_dirs(Filler *f, char *path, bool make, ext2_ino_t *ret)
{
    ext2_ino_t dir = EXT2_ROOT_INO, next;
    errcode_t rc = 0;

    for (char *name = path, *slash; *name && !rc; name = slash ? slash + 1 : strchr(name, '\0')) {
        slash = strchr(name, '/');
        if (slash)
            *slash = '\0';
        rc = ext2fs_lookup(f->fs, dir, name, (int)strlen(name), NULL, &next);
        if (rc == EXT2_ET_FILE_NOT_FOUND && make)
            rc = implied_dir(f, dir, name, &next);
        if (slash)
            *slash = '/';
        if (!rc)
            rc = ext2fs_check_directory(f->fs, next);
        dir = next;
    }
    *ret = dir;
    return rc;
}

/* Splits a cleaned path at its last '/'; the directory part is walked, or remembered. */
static errcode_t find_parent(Filler *f, char *path, bool make, ext2_ino_t *ret_dir, char **ret_name)
{
    char *slash = strrchr(path, '/');
    PLK_FREE char *dir_path = NULL;
    errcode_t rc;

    *ret_name = slash ? slash + 1 : path;
    if (!slash) {
        *ret_dir = EXT2_ROOT_INO;
        return 0;
    }
    dir_path = strndup(path, (size_t)(slash - path));
    if (!dir_path)
        return EXT2_ET_NO_MEMORY;
    if (f->dir_path && strcmp(f->dir_path, dir_path) == 0) {
        *ret_dir = f->dir;
        return 0;
    }
    rc = walk_dirs(f, dir_path, make, ret_dir);
    if (rc)
        return rc;
    free(f->dir_path);
    f->dir_path = PLK_TAKE(dir_path);
    f->dir = *ret_dir;
    return 0;
}

/* ---- one entry ---- */

static PlkNodeMeta entry_meta(struct archive_entry *entry)
{
    PlkNodeMeta meta = {
        .mode = archive_entry_mode(entry),
        .uid = (uint32_t)archive_entry_uid(entry),
        .gid = (uint32_t)archive_entry_gid(entry),
        .mtime = archive_entry_mtime(entry),
        .mtime_ns = (uint32_t)archive_entry_mtime_nsec(entry),
        .major = (uint32_t)archive_entry_rdevmajor(entry),
        .minor = (uint32_t)archive_entry_rdevminor(entry),
    };
    bool atime = archive_entry_atime_is_set(entry);

    meta.ctime = meta.mtime;
    meta.ctime_ns = meta.mtime_ns;
    meta.atime = atime ? archive_entry_atime(entry) : meta.mtime;
    meta.atime_ns = atime ? (uint32_t)archive_entry_atime_nsec(entry) : meta.mtime_ns;
    return meta;
}

static errcode_t write_at(ext2_file_t file, const uint8_t *buf, size_t len, uint64_t offset)
{
    errcode_t rc = ext2fs_file_llseek(file, offset, EXT2_SEEK_SET, NULL);

    while (len && !rc) {
        unsigned n = 0;
        rc = ext2fs_file_write(file, buf, (unsigned)PLK_MIN(len, WRITE_BYTES_MAX), &n);
        buf += n;
        len -= n;
    }
    return rc;
}

static int tell(Filler *f, size_t more)
{
    f->done = f->is_dir ? f->done + more : (uint64_t)archive_filter_bytes(f->archive, -1);
    return plk_step(f->progress, STEP, f->done, f->total, f->err);
}

/* Only what the archive calls data is written; between lie holes. */
static int copy_blocks(Filler *f, const char *path, ext2_file_t file, uint64_t size)
{
    uint64_t end = 0;
    const void *buf;
    size_t len;
    la_int64_t offset;
    errcode_t rc;
    int got;

    while ((got = archive_read_data_block(f->archive, &buf, &len, &offset)) == ARCHIVE_OK) {
        rc = write_at(file, buf, len, (uint64_t)offset);
        if (rc)
            return fail_entry(f, path, rc);
        if (len) /* an empty block only says where a hole ends */
            end = (uint64_t)offset + len;
        if (tell(f, len))
            return -1;
    }
    if (got != ARCHIVE_EOF)
        return fail_archive(f);
    rc = size > end ? ext2fs_file_set_size2(file, size) : 0;
    return rc ? fail_entry(f, path, rc) : 0;
}

static int write_contents(Filler *f, const char *path, ext2_ino_t ino, struct archive_entry *entry)
{
    ext2_file_t file;
    errcode_t rc = ext2fs_file_open(f->fs, ino, EXT2_FILE_WRITE, &file);
    int r;

    if (rc)
        return fail_entry(f, path, rc);
    r = copy_blocks(f, path, file, (uint64_t)archive_entry_size(entry));
    rc = ext2fs_file_close(file);
    return r || !rc ? r : fail_entry(f, path, rc);
}

static int put_acl(Filler *f, struct ext2_xattr_handle *handle, const char *path, struct archive_entry *entry,
                   int type, const char *name)
{
    PLK_FREE void *value = NULL;
    size_t len;
    errcode_t rc;

    if (plk_acl_encode(entry, type, &value, &len, f->err)) {
        plk_error_prefix(f->err, "cannot create '%s' from '%s': ", path, f->source);
        return -1;
    }
    rc = value ? ext2fs_xattr_set(handle, name, value, len) : 0;
    return rc ? fail_entry(f, path, rc) : 0;
}

static int put_all_attributes(Filler *f, struct ext2_xattr_handle *handle, const char *path,
                              struct archive_entry *entry)
{
    const char *name;
    const void *value;
    size_t len;
    errcode_t rc = ext2fs_xattrs_read(handle);

    archive_entry_xattr_reset(entry);
    while (!rc && archive_entry_xattr_next(entry, &name, &value, &len) == ARCHIVE_OK)
        rc = ext2fs_xattr_set(handle, name, value, len);
    if (rc)
        return fail_entry(f, path, rc);
    if (put_acl(f, handle, path, entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, PLK_ACL_ACCESS))
        return -1;
    return put_acl(f, handle, path, entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, PLK_ACL_DEFAULT);
}

static int put_attributes(Filler *f, const char *path, ext2_ino_t ino, struct archive_entry *entry)
{
    struct ext2_xattr_handle *handle;
    errcode_t rc;
    int r;

    if (!archive_entry_xattr_count(entry) && !archive_entry_acl_types(entry))
        return 0;
    rc = ext2fs_xattrs_open(f->fs, ino, &handle);
    if (rc)
        return fail_entry(f, path, rc);
    r = put_all_attributes(f, handle, path, entry);
    rc = ext2fs_xattrs_close(&handle);
    return r || !rc ? r : fail_entry(f, path, rc);
}

static int put_hardlink(Filler *f, char *path, ext2_ino_t dir, const char *name, struct archive_entry *entry)
{
    PLK_FREE char *target = clean_path(f, entry_hardlink(f, entry));
    ext2_ino_t target_dir, ino;
    char *target_name;
    errcode_t rc;

    if (!target)
        return -1;
    rc = find_parent(f, target, false, &target_dir, &target_name);
    if (!rc)
        rc = ext2fs_lookup(f->fs, target_dir, target_name, (int)strlen(target_name), NULL, &ino);
    if (!rc)
        rc = plk_node_link(f->fs, dir, name, ino);
    if (rc)
        return plk_fail_ext4(f->err, PLK_ERROR_MKFS, rc, "cannot link '%s' to '%s' from '%s'", path, target,
                             f->source);
    return archive_entry_size(entry) > 0 ? write_contents(f, path, ino, entry) : 0;
}

static int put_new(Filler *f, char *path, ext2_ino_t dir, const char *name, struct archive_entry *entry)
{
    PlkNodeMeta meta = entry_meta(entry);
    ext2_ino_t ino;
    errcode_t rc;

    if (entry_hardlink(f, entry))
        return put_hardlink(f, path, dir, name, entry);
    if (!(meta.mode & S_IFMT) || (S_ISLNK(meta.mode) && !archive_entry_symlink(entry)))
        return plk_fail(f->err, PLK_ERROR_UNSUPPORTED, "'%s' holds a file of unknown kind: '%s'", f->source,
                        path);
    rc = plk_node_create(f->fs, dir, name, &meta, S_ISLNK(meta.mode) ? archive_entry_symlink(entry) : NULL,
                         &ino);
    if (rc)
        return fail_entry(f, path, rc);
    if (S_ISREG(meta.mode) && write_contents(f, path, ino, entry))
        return -1;
    return put_attributes(f, path, ino, entry);
}

static int put_again(Filler *f, char *path, ext2_ino_t ino, struct archive_entry *entry)
{
    PlkNodeMeta meta = entry_meta(entry);
    errcode_t rc = plk_node_set_meta(f->fs, ino, &meta);

    return rc ? fail_entry(f, path, rc) : put_attributes(f, path, ino, entry);
}

/* Is this entry the very file it claims to be a link to? */
static bool links_to_itself(Filler *f, const char *path, struct archive_entry *entry)
{
    const char *raw = entry_hardlink(f, entry);
    PLK_FREE char *target = raw ? clean_path(f, raw) : NULL;

    return target && strcmp(target, path) == 0;
}

static int put_entry(Filler *f, struct archive_entry *entry)
{
    const char *raw = entry_path(f, entry);
    PLK_FREE char *path = raw ? clean_path(f, raw) : NULL;
    ext2_ino_t dir, ino;
    char *name;
    errcode_t rc;

    if (!raw)
        return plk_fail(f->err, PLK_ERROR_UNSUPPORTED, "'%s' holds a name that cannot be read", f->source);
    if (!path)
        return -1;
    if (!*path)
        return archive_entry_filetype(entry) == AE_IFDIR ? put_again(f, path, EXT2_ROOT_INO, entry) : 0;
    rc = find_parent(f, path, true, &dir, &name);
    if (!rc)
        rc = ext2fs_lookup(f->fs, dir, name, (int)strlen(name), NULL, &ino);
    if (rc == EXT2_ET_FILE_NOT_FOUND)
        return put_new(f, path, dir, name, entry);
    if (rc)
        return fail_entry(f, path, rc);
    if (archive_entry_filetype(entry) == AE_IFDIR && ext2fs_check_directory(f->fs, ino) == 0)
        return put_again(f, path, ino, entry);
    if (links_to_itself(f, path, entry))
        return 0;
    rc = plk_node_unlink(f->fs, dir, name, ino);
    return rc ? fail_entry(f, path, rc) : put_new(f, path, dir, name, entry);
}

/* ---- the source ---- */

static int open_tar(Filler *f, PlkError *err)
{
    f->archive = archive_read_new();
    if (!f->archive)
        return plk_fail_nomem(err);
    /* Not "all": for some filters libarchive would start programs it finds in $PATH. */
    archive_read_support_filter_gzip(f->archive);
    archive_read_support_filter_bzip2(f->archive);
    archive_read_support_filter_xz(f->archive);
    archive_read_support_filter_zstd(f->archive);
    archive_read_support_format_tar(f->archive);
    return archive_read_open_filename(f->archive, f->source, READ_BYTES) == ARCHIVE_OK ? 0 : fail_archive(f);
}

static int open_dir(Filler *f, PlkError *err)
{
    f->archive = archive_read_disk_new();
    if (!f->archive)
        return plk_fail_nomem(err);
    f->prefix = strlen(f->source);
    while (f->prefix && f->source[f->prefix - 1] == '/') /* libarchive drops them, too */
        f->prefix--;
    archive_read_disk_set_symlink_hybrid(f->archive); /* follows the source itself, nothing inside */
    return archive_read_disk_open(f->archive, f->source) == ARCHIVE_OK ? 0 : fail_archive(f);
}

/* In a directory, files with several names are told apart by their inode; a tar has done that already. */
static int each_entry(Filler *f, struct archive_entry *entry, struct archive_entry_linkresolver *links)
{
    struct archive_entry *spare = NULL;

    if (f->is_dir) {
        archive_read_disk_descend(f->archive);
        archive_entry_linkify(links, &entry, &spare);
    }
    return put_entry(f, entry);
}

static int fill(Filler *f)
{
    plk_cleanup(archive_entry_freep) struct archive_entry *entry = archive_entry_new();
    plk_cleanup(archive_entry_linkresolver_freep) struct archive_entry_linkresolver *links =
        archive_entry_linkresolver_new();
    int rc;

    if (!entry || !links)
        return plk_fail_nomem(f->err);
    archive_entry_linkresolver_set_strategy(links, ARCHIVE_FORMAT_TAR);
    /* A warning says that a name is not valid in this locale; we take its bytes. */
    while ((rc = archive_read_next_header2(f->archive, entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
        if (each_entry(f, entry, links) || tell(f, 0))
            return -1;
    }
    return rc == ARCHIVE_EOF ? 0 : fail_archive(f);
}

int plk_populate(ext2_filsys fs, const char *source, const PlkProgress *progress, PlkError *err)
{
    Filler f = {.fs = fs, .source = source, .progress = progress, .err = err};
    plk_cleanup(archive_read_freep) struct archive *archive = NULL;
    PLK_UTF8_SCOPE;
    struct stat st;
    int rc;

    if (stat(source, &st))
        return plk_fail_errno(err, errno == ENOENT ? PLK_ERROR_NOT_FOUND : PLK_ERROR_OPEN, errno,
                              "cannot fill the filesystem from '%s'", source);
    f.is_dir = S_ISDIR(st.st_mode);
    f.total = f.is_dir ? 0 : (uint64_t)st.st_size;
    rc = f.is_dir ? open_dir(&f, err) : open_tar(&f, err);
    archive = f.archive;
    if (!rc)
        rc = fill(&f);
    free(f.dir_path);
    return rc ? -1 : plk_step(progress, STEP, f.is_dir ? f.done : f.total, f.is_dir ? f.done : f.total, err);
}
