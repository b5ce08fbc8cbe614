/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is inside a disk: made by mke2fs, filled from an archive or a directory, read out again, and clean in
 * the eyes of e2fsck after each.
 */
#include "disk.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <ploopkit/filesystem.h>

#include "base/cleanup.h"
#include "base/math.h"
#include "filesystem/e2fsck.h"
#include "filesystem/ext4-node.h"
#include "filesystem/trim.h"
#include "filesystem/utf8.h"

#define MIB (1024ull * 1024)

static PlkPartition part_of(TestDisk *t)
{
    PlkPartition part;
    PlkError err;

    CHECK_OK(plk_partition_find(t->disk, &part, &err), err);
    return part;
}

static void check_clean(TestDisk *t)
{
    PlkPartition part = part_of(t);
    PlkError err;

    CHECK_OK(plk_e2fsck(t->disk, &part, PLK_FSCK_LOOK, NULL, &err), err);
}

static int make(TestDisk *t, uint64_t bytes, uint32_t cluster, PlkMkfsSpec spec, PlkError *err)
{
    spec.struct_size = sizeof spec;
    test_disk_make(t, bytes, cluster);
    return plk_mkfs_fill(t->disk, &spec, NULL, err);
}

/* ---- making ---- */

TEST(filesystems_of_all_sizes_are_clean)
{
    static const struct {
        uint64_t kib;
        uint32_t cluster;
        const char *type;
        uint32_t block;
    } cases[] = {
        {576, 64, "ext4", 0},
        {1024, 64, "ext4", 0},
        {3 * 1024, 2048, "ext4", 0},
        {16 * 1024, 64, "ext4", 0},
        {17 * 1024, 64, "ext3", 0},
        {17 * 1024, 64, "ext3", 1024},
        {20 * 1024, 64, "ext4", 1024},
        {273 * 1024, 2048, "ext4", 0},
        {274 * 1024, 2048, "ext4", 0},
        {274 * 1024, 2048, "ext4", 1024},
        {274 * 1024, 2048, "ext3", 2048},
        {1024 * 1024, 2048, NULL, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        TestDisk t;
        PlkFsUsage usage;
        PlkError err;
        PlkMkfsSpec spec = {.type = cases[i].type, .block_bytes = cases[i].block};

        CHECK_OK(make(&t, cases[i].kib * 1024, cases[i].cluster, spec, &err), err);
        check_clean(&t);
        CHECK_OK(plk_filesystem_usage(t.disk, &usage, &err), err);
        CHECK_STR(usage.type, cases[i].type ? cases[i].type : "ext4");
        CHECK_INT(usage.block_bytes, cases[i].block ? cases[i].block : 4096);
        CHECK(usage.blocks_free > 0 && usage.blocks_free < usage.blocks);
        CHECK_INT(test_disk_files(&t), 1);
        test_disk_end(&t);
    }
}

TEST(smallest_disk_works_and_the_next_smaller_names_it)
{
    for (uint32_t cluster = 64; cluster <= 4096; cluster *= 2) {
        uint64_t min = plk_mkfs_min_sectors(cluster);
        char text[32];
        TestDisk t;
        PlkError err;

        CHECK_OK(make(&t, min * 512, cluster, (PlkMkfsSpec){0}, &err), err);
        check_clean(&t);
        test_disk_end(&t);
        CHECK_FAILS(make(&t, (min - cluster) * 512, cluster, (PlkMkfsSpec){0}, &err), err,
                    PLK_ERROR_ARGUMENT);
        snprintf(text, sizeof text, " %" PRIu64 " sectors", min);
        CHECK(strstr(err.message, text));
        test_disk_end(&t);
    }
}

TEST(a_new_filesystem_has_the_settings_of_ploop)
{
    TestDisk t;
    PlkPartition part;
    PlkError err;
    ext2_filsys fs;
    ext2_ino_t ino;
    struct ext2_inode inode;

    CHECK_OK(make(&t, 300 * MIB, 2048, (PlkMkfsSpec){0}, &err), err);
    part = part_of(&t);
    CHECK_OK(plk_ext4_open(t.disk, &part, false, &fs, &err), err);
    CHECK_INT((int16_t)fs->super->s_max_mnt_count, -1);
    CHECK_INT(fs->super->s_checkinterval, 0);
    CHECK_INT(fs->super->s_errors, EXT2_ERRORS_RO);
    CHECK_INT(fs->super->s_default_mount_opts & (EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL),
              EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL);
    CHECK_INT(fs->super->s_reserved_gdt_blocks, 1024);
    CHECK_INT(ext2fs_read_inode(fs, fs->super->s_journal_inum, &inode), 0);
    CHECK_INT(EXT2_I_SIZE(&inode), 128 * MIB);
    CHECK_INT(ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, "/" PLK_BALLOON_NAME, &ino), 0);
    CHECK_INT(ext2fs_read_inode(fs, ino, &inode), 0);
    CHECK_INT(inode.i_mode, S_IFREG | 0600);
    CHECK_INT(EXT2_I_SIZE(&inode), 0);
    plk_ext4_drop(fs);
    test_disk_end(&t);
}

/* No inode table, no journal: a guest's first mount does not fill the image either. */
TEST(a_huge_disk_costs_little)
{
    TestDisk t;
    PlkDiskInfo info;
    PlkError err;

    CHECK_OK(make(&t, 1ull << 40, 2048, (PlkMkfsSpec){0}, &err), err);
    CHECK_INT(plk_disk_flush(t.disk), 0);
    CHECK_OK(plk_disk_info(t.disk, &info, &err), err);
    CHECK(info.allocated < 48 * MIB);
    test_disk_end(&t);
}

TEST(usage_of_an_unformatted_disk_is_not_found)
{
    TestDisk t;
    PlkFsUsage usage;
    PlkError err;

    test_disk_make(&t, 8 * MIB, 64);
    CHECK_FAILS(plk_filesystem_usage(t.disk, &usage, &err), err, PLK_ERROR_NOT_FOUND);
    test_disk_end(&t);
}

/* ---- filling and reading out ---- */

typedef struct Tar {
    struct archive *a;
    char path[80];
} Tar;

static void tar_begin(Tar *tar, int filter)
{
    snprintf(tar->path, sizeof tar->path, "%s/plk-tar-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    int fd = mkstemp(tar->path);

    CHECK(fd >= 0);
    close(fd);
    tar->a = archive_write_new();
    archive_write_set_format_pax(tar->a);
    archive_write_set_options(tar->a, "hdrcharset=BINARY");
    CHECK_INT(archive_write_add_filter(tar->a, filter), ARCHIVE_OK);
    CHECK_INT(archive_write_open_filename(tar->a, tar->path), ARCHIVE_OK);
}

static struct archive_entry *tar_entry(const char *path, mode_t mode, const char *target)
{
    struct archive_entry *e = archive_entry_new();

    archive_entry_copy_pathname(e, path);
    archive_entry_set_mode(e, mode);
    archive_entry_set_uid(e, 70000);
    archive_entry_set_gid(e, 12);
    archive_entry_set_mtime(e, 981173106, 789000000);
    if (S_ISLNK(mode))
        archive_entry_copy_symlink(e, target);
    else if (target)
        archive_entry_copy_hardlink(e, target);
    return e;
}

static void tar_add(Tar *tar, struct archive_entry *e, const char *data, size_t len)
{
    archive_entry_set_size(e, (la_int64_t)len);
    CHECK(archive_write_header(tar->a, e) >= ARCHIVE_WARN);
    if (len)
        CHECK_INT(archive_write_data(tar->a, data, len), len);
    archive_entry_free(e);
}

static void tar_end(Tar *tar)
{
    CHECK_INT(archive_write_close(tar->a), ARCHIVE_OK);
    archive_write_free(tar->a);
}

static void tar_add_attributes(Tar *tar)
{
    struct archive_entry *e = tar_entry("./attributes", S_IFREG | 0640, NULL);
    const int access = ARCHIVE_ENTRY_ACL_TYPE_ACCESS;

    archive_entry_xattr_add_entry(e, "user.colour", "green", 5);
    archive_entry_xattr_add_entry(e, "security.capability", "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    archive_entry_acl_add_entry(e, access, 6, ARCHIVE_ENTRY_ACL_USER, 1234, NULL);
    archive_entry_acl_add_entry(e, access, 4, ARCHIVE_ENTRY_ACL_MASK, -1, NULL);
    archive_entry_acl_add_entry(e, access, 6, ARCHIVE_ENTRY_ACL_USER_OBJ, -1, NULL);
    archive_entry_acl_add_entry(e, access, 4, ARCHIVE_ENTRY_ACL_GROUP_OBJ, -1, NULL);
    archive_entry_acl_add_entry(e, access, 0, ARCHIVE_ENTRY_ACL_OTHER, -1, NULL);
    tar_add(tar, e, "acl", 3);
}

static void tar_add_sparse(Tar *tar)
{
    static char zeros[4 * 1024 * 1024];
    struct archive_entry *e = tar_entry("sparse", S_IFREG | 0600, NULL);

    archive_entry_set_size(e, sizeof zeros);
    archive_entry_sparse_add_entry(e, 2 * 1024 * 1024, 4096);
    memset(zeros + 2 * 1024 * 1024, 'd', 4096);
    tar_add(tar, e, zeros, sizeof zeros);
}

static void tar_add_device(Tar *tar, const char *path, mode_t mode, unsigned major, unsigned minor)
{
    struct archive_entry *e = tar_entry(path, mode, NULL);

    archive_entry_set_rdevmajor(e, major);
    archive_entry_set_rdevminor(e, minor);
    tar_add(tar, e, NULL, 0);
}

/* One of each kind, names with and without "./", a directory that is only implied, a name that comes twice.
 */
static void tar_of_everything(Tar *tar, int filter)
{
    char long_target[201] = {0};

    memset(long_target, 'x', 200);
    tar_begin(tar, filter);
    tar_add(tar, tar_entry("./", S_IFDIR | 0751, NULL), NULL, 0);
    tar_add(tar, tar_entry("/dir/", S_IFDIR | S_ISVTX | 0777, NULL), NULL, 0);
    tar_add(tar, tar_entry("dir/file", S_IFREG | S_ISUID | 0755, NULL), "old contents", 12);
    tar_add(tar, tar_entry("dir/file", S_IFREG | S_ISUID | 0755, NULL), "hello", 5);
    tar_add(tar, tar_entry("implied/deep/f\303\274r", S_IFREG | 0600, NULL), NULL, 0);
    tar_add(tar, tar_entry("hard", S_IFREG | S_ISUID | 0755, "./dir/file"), NULL, 0);
    tar_add(tar, tar_entry("short", S_IFLNK | 0777, "dir/file"), NULL, 0);
    tar_add(tar, tar_entry("long", S_IFLNK | 0777, long_target), NULL, 0);
    tar_add_device(tar, "char", S_IFCHR | 0620, 5, 1);
    tar_add_device(tar, "block", S_IFBLK | 0660, 300, 70000);
    tar_add(tar, tar_entry("fifo", S_IFIFO | 0644, NULL), NULL, 0);
    tar_add_attributes(tar);
    tar_add_sparse(tar);
    tar_end(tar);
}

/* What an archive says of `path`, as text; "" if it has no such entry. */
static void describe(const char *tar, const char *path, char *buf, size_t size)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    char data[64] = {0}, *acl;
    PLK_UTF8_SCOPE;

    archive_read_support_filter_all(a);
    archive_read_support_format_tar(a);
    CHECK_INT(archive_read_open_filename(a, tar, 65536), ARCHIVE_OK);
    *buf = '\0';
    while (archive_read_next_header(a, &e) != ARCHIVE_EOF) {
        if (strcmp(archive_entry_pathname(e), path) != 0)
            continue;
        const char *hard = archive_entry_hardlink(e), *sym = archive_entry_symlink(e);
        acl = archive_entry_acl_to_text(e, NULL, ARCHIVE_ENTRY_ACL_STYLE_SEPARATOR_COMMA);
        if (archive_entry_size(e) < 64)
            archive_read_data(a, data, sizeof data - 1);
        snprintf(buf, size, "%o %ld:%ld %ld.%ld %ld %s%.40s %ld,%ld x%d s%d %s %s",
                 (unsigned)archive_entry_mode(e), (long)archive_entry_uid(e), (long)archive_entry_gid(e),
                 (long)archive_entry_mtime(e), archive_entry_mtime_nsec(e), (long)archive_entry_size(e),
                 hard ? hard : "", sym ? sym : "", (long)archive_entry_rdevmajor(e),
                 (long)archive_entry_rdevminor(e), archive_entry_xattr_count(e),
                 archive_entry_sparse_count(e), archive_entry_acl_types(e) ? acl : "-", data);
        free(acl);
    }
    archive_read_free(a);
}

static void export_to(TestDisk *t, char *path, size_t size)
{
    PlkError err;
    int fd;

    snprintf(path, size, "%s/plk-out-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_OK(plk_filesystem_export_tar(t->disk, fd, NULL, &err), err);
    close(fd);
}

static void check_entry(const char *tar, const char *path, const char *want)
{
    char text[512];

    describe(tar, path, text, sizeof text);
    CHECK_STR(text, want);
}

static void check_everything(const char *tar)
{
    const char *all = "981173106.789000000";
    char text[512], want[512];

    describe(tar, "./", text, sizeof text);
    snprintf(want, sizeof want, "40751 70000:12 %s 0  0,0 x0 s0 - ", all);
    CHECK_STR(text, want);
    check_entry(tar, "dir/", "41777 70000:12 981173106.789000000 0  0,0 x0 s0 - ");
    describe(tar, "implied/", text, sizeof text);
    CHECK(strncmp(text, "40755 0:0 ", 10) == 0);
    check_entry(tar, "implied/deep/f\303\274r", "100600 70000:12 981173106.789000000 0  0,0 x0 s0 - ");
    check_entry(tar, "short", "120777 70000:12 981173106.789000000 0 dir/file 0,0 x0 s0 - ");
    check_entry(tar, "char", "20620 70000:12 981173106.789000000 0  5,1 x0 s0 - ");
    check_entry(tar, "block", "60660 70000:12 981173106.789000000 0  300,70000 x0 s0 - ");
    check_entry(tar, "fifo", "10644 70000:12 981173106.789000000 0  0,0 x0 s0 - ");
    check_entry(tar, "attributes",
                "100640 70000:12 981173106.789000000 3  0,0 x2 s0 "
                "user::rw-,group::r--,other::---,user:1234:rw-,mask::r-- acl");
    describe(tar, "long", text, sizeof text);
    CHECK(strstr(text, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
    describe(tar, "sparse", text, sizeof text);
    CHECK(strstr(text, " 4194304 "));
    /* Which of the two names of a file comes first is the directory's business. */
    describe(tar, "dir/file", text, sizeof text);
    describe(tar, "hard", want, sizeof want);
    CHECK(strstr(text, "hello") || strstr(want, "hello"));
    CHECK(strstr(want, "dir/file") || strstr(text, "hard"));
    describe(tar, "lost+found/", text, sizeof text);
    CHECK_STR(text, "");
    describe(tar, PLK_BALLOON_NAME, text, sizeof text);
    CHECK_STR(text, "");
}

TEST(what_a_tar_holds_comes_out_again)
{
    static const int filters[] = {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_XZ,
                                  ARCHIVE_FILTER_ZSTD};

    for (int i = 0; i < 4; i++) {
        char out[80];
        TestDisk t;
        PlkError err;
        Tar tar;

        tar_of_everything(&tar, filters[i]);
        CHECK_OK(make(&t, 64 * MIB, 2048, (PlkMkfsSpec){.populate = tar.path}, &err), err);
        check_clean(&t);
        export_to(&t, out, sizeof out);
        check_everything(out);
        unlink(tar.path);
        unlink(out);
        test_disk_end(&t);
    }
}

TEST(holes_take_no_blocks)
{
    TestDisk t;
    PlkPartition part;
    PlkError err;
    Tar tar;
    ext2_filsys fs;
    ext2_ino_t ino;
    struct ext2_inode inode;

    tar_of_everything(&tar, ARCHIVE_FILTER_NONE);
    CHECK_OK(make(&t, 64 * MIB, 2048, (PlkMkfsSpec){.populate = tar.path}, &err), err);
    part = part_of(&t);
    CHECK_OK(plk_ext4_open(t.disk, &part, false, &fs, &err), err);
    CHECK_INT(ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, "/sparse", &ino), 0);
    CHECK_INT(ext2fs_read_inode(fs, ino, &inode), 0);
    CHECK_INT(inode.i_blocks, 8);
    plk_ext4_drop(fs);
    unlink(tar.path);
    test_disk_end(&t);
}

TEST(names_that_climb_out_are_refused)
{
    static const char *const names[] = {"../evil", "a/../../evil", "a/b/.."};

    for (int i = 0; i < 3; i++) {
        TestDisk t;
        PlkError err;
        Tar tar;

        tar_begin(&tar, ARCHIVE_FILTER_NONE);
        tar_add(&tar, tar_entry(names[i], S_IFREG | 0644, NULL), "x", 1);
        tar_end(&tar);
        CHECK_FAILS(make(&t, 8 * MIB, 64, (PlkMkfsSpec){.populate = tar.path}, &err), err,
                    PLK_ERROR_ARGUMENT);
        unlink(tar.path);
        test_disk_end(&t);
    }
}

TEST(no_link_is_followed_while_filling)
{
    TestDisk t;
    PlkError err;
    Tar tar;

    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    tar_add(&tar, tar_entry("way", S_IFLNK | 0777, "/"), NULL, 0);
    tar_add(&tar, tar_entry("way/evil", S_IFREG | 0644, NULL), "x", 1);
    tar_end(&tar);
    CHECK_FAILS(make(&t, 8 * MIB, 64, (PlkMkfsSpec){.populate = tar.path}, &err), err, PLK_ERROR_MKFS);
    CHECK(strstr(err.message, "way/evil"));
    unlink(tar.path);
    test_disk_end(&t);
}

TEST(a_full_filesystem_is_no_space)
{
    static char data[4 * 1024 * 1024];
    TestDisk t;
    PlkError err;
    Tar tar;

    memset(data, 'x', sizeof data);
    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    tar_add(&tar, tar_entry("big", S_IFREG | 0644, NULL), data, sizeof data);
    tar_end(&tar);
    CHECK_FAILS(make(&t, 2 * MIB, 64, (PlkMkfsSpec){.populate = tar.path}, &err), err, PLK_ERROR_NO_SPACE);
    unlink(tar.path);
    test_disk_end(&t);
}

TEST(a_directory_fills_it_too)
{
    char dir[] = "/tmp/plk-tree-XXXXXX", path[64], other[64], out[80], text[512];
    TestDisk t;
    PlkError err;

    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    CHECK_INT(write(fd, "hello", 5), 5);
    CHECK_INT(ftruncate(fd, 3 * MIB), 0);
    close(fd);
    snprintf(other, sizeof other, "%s/link", dir);
    CHECK_INT(link(path, other), 0);
    CHECK_OK(make(&t, 16 * MIB, 64, (PlkMkfsSpec){.populate = dir}, &err), err);
    check_clean(&t);
    export_to(&t, out, sizeof out);
    describe(out, "file", text, sizeof text);
    describe(out, "link", text + 256, 256);
    CHECK(strstr(text, " 3145728 ") || strstr(text + 256, " 3145728 "));
    CHECK(strstr(text, " 0 link ") || strstr(text + 256, " 0 file "));
    unlink(path);
    unlink(other);
    rmdir(dir);
    unlink(out);
    test_disk_end(&t);
}

/* ---- on what is there ---- */

TEST(shrunk_and_grown_filesystem_is_clean)
{
    TestDisk t;
    PlkPartition part;
    PlkFsUsage usage;
    PlkError err;
    Tar tar;

    tar_of_everything(&tar, ARCHIVE_FILTER_NONE);
    CHECK_OK(make(&t, 128 * MIB, 2048, (PlkMkfsSpec){.populate = tar.path}, &err), err);
    part = part_of(&t);
    CHECK_OK(plk_e2fsck(t.disk, &part, PLK_FSCK_REPAIR, NULL, &err), err);
    CHECK_OK(plk_resize2fs(t.disk, &part, 60 * 1024, NULL, &err), err);
    check_clean(&t);
    CHECK_OK(plk_filesystem_usage(t.disk, &usage, &err), err);
    CHECK_INT(usage.blocks, 15 * 1024);
    CHECK_OK(plk_resize2fs(t.disk, &part, 0, NULL, &err), err);
    check_clean(&t);
    CHECK_OK(plk_filesystem_usage(t.disk, &usage, &err), err);
    CHECK_INT(usage.blocks, part.length / 4096);
    CHECK_FAILS(plk_resize2fs(t.disk, &part, 1024, NULL, &err), err, PLK_ERROR_RESIZE_FS);
    unlink(tar.path);
    test_disk_end(&t);
}

TEST(a_damaged_filesystem_is_an_fsck_error)
{
    uint8_t junk[8192];
    TestDisk t;
    PlkPartition part;
    PlkError err;

    CHECK_OK(make(&t, 16 * MIB, 64, (PlkMkfsSpec){0}, &err), err);
    part = part_of(&t);
    memset(junk, 0x5a, sizeof junk);
    /* The group descriptors. */
    CHECK_INT(plk_disk_write(t.disk, junk, 4096, part.offset + 4096), 0);
    CHECK_FAILS(plk_e2fsck(t.disk, &part, PLK_FSCK_LOOK, NULL, &err), err, PLK_ERROR_FSCK);
    test_disk_end(&t);
}

TEST(trimming_frees_whole_clusters_and_makes_holes_of_parts)
{
    TestDisk t;
    PlkExtent extent;
    uint64_t discarded = 0;
    char buf[3 * 32768];
    PlkError err;

    test_disk_make(&t, 8 * MIB, 64);
    memset(buf, 'x', sizeof buf);
    CHECK_INT(plk_disk_write(t.disk, buf, sizeof buf, 0), 0);
    CHECK_OK(plk_trim(t.disk, 4096, sizeof buf - 4096, &discarded, &err), err);
    CHECK_INT(discarded, sizeof buf - 8192);
    CHECK_INT(plk_disk_read(t.disk, buf, sizeof buf, 0), 0);
    CHECK(buf[4095] == 'x' && plk_is_zero(buf + 4096, sizeof buf - 8192) && buf[sizeof buf - 4096] == 'x');
    CHECK_INT(plk_disk_status(t.disk, 4096, 4096, &extent), 0);
    CHECK_INT(extent.kind, PLK_EXTENT_ZERO);
    CHECK_INT(plk_disk_flush(t.disk), 0);
    CHECK_INT(plk_disk_status(t.disk, 32768, 32768, &extent), 0);
    CHECK_INT(extent.kind, PLK_EXTENT_UNALLOCATED);
    test_disk_end(&t);
}

TEST_MAIN()
