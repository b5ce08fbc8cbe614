/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making and removing nodes with libext2fs, which has the pieces but not the whole acts. */
#include "filesystem/ext4-node.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/math.h"

#define LINK_MAX_EXT4 65000u

static int dirent_type(uint16_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return EXT2_FT_REG_FILE;
    case S_IFDIR:
        return EXT2_FT_DIR;
    case S_IFCHR:
        return EXT2_FT_CHRDEV;
    case S_IFBLK:
        return EXT2_FT_BLKDEV;
    case S_IFIFO:
        return EXT2_FT_FIFO;
    case S_IFSOCK:
        return EXT2_FT_SOCK;
    case S_IFLNK:
        return EXT2_FT_SYMLINK;
    default:
        return EXT2_FT_UNKNOWN;
    }
}

/* ext4 keeps 34 bits of seconds and 30 of nanoseconds: the low 32 bits in the old field, the rest in `extra`.
 */
static void set_time(int64_t sec, uint32_t nsec, __u32 *low, __u32 *extra)
{
    const int64_t min = INT32_MIN, max = 0x37fffffffll;

    sec = sec < min ? min : sec > max ? max : sec;
    *low = (__u32)sec;
    *extra = (__u32)(((uint64_t)(sec - (int32_t)sec) >> 32) & 3) | nsec << 2;
}

static void fill_meta(struct ext2_inode_large *inode, const PlkNodeMeta *meta)
{
    inode->i_mode = meta->mode;
    inode->i_uid = meta->uid & 0xffff;
    inode->i_gid = meta->gid & 0xffff;
    ext2fs_set_i_uid_high(*inode, meta->uid >> 16);
    ext2fs_set_i_gid_high(*inode, meta->gid >> 16);
    set_time(meta->atime, meta->atime_ns, &inode->i_atime, &inode->i_atime_extra);
    set_time(meta->mtime, meta->mtime_ns, &inode->i_mtime, &inode->i_mtime_extra);
    set_time(meta->ctime, meta->ctime_ns, &inode->i_ctime, &inode->i_ctime_extra);
    inode->i_crtime = inode->i_ctime;
    inode->i_crtime_extra = inode->i_ctime_extra;
    inode->i_extra_isize = sizeof *inode - EXT2_GOOD_OLD_INODE_SIZE;
}

/* Small inodes have no room behind the old 128 bytes. */
static int inode_bytes(ext2_filsys fs)
{
    return PLK_MIN((int)sizeof(struct ext2_inode_large), (int)EXT2_INODE_SIZE(fs->super));
}

errcode_t plk_node_set_meta(ext2_filsys fs, ext2_ino_t ino, const PlkNodeMeta *meta)
{
    struct ext2_inode_large inode = {0};
    PlkNodeMeta same_type = *meta;
    errcode_t rc = ext2fs_read_inode_full(fs, ino, (struct ext2_inode *)&inode, inode_bytes(fs));

    if (rc)
        return rc;
    same_type.mode = (inode.i_mode & S_IFMT) | (meta->mode & 07777);
    fill_meta(&inode, &same_type);
    return ext2fs_write_inode_full(fs, ino, (struct ext2_inode *)&inode, inode_bytes(fs));
}

static errcode_t link_name(ext2_filsys fs, ext2_ino_t parent, const char *name, ext2_ino_t ino, int type)
{
    errcode_t rc = ext2fs_link(fs, parent, name, ino, type);

    if (rc != EXT2_ET_DIR_NO_SPACE)
        return rc;
    rc = ext2fs_expand_dir(fs, parent);
    return rc ? rc : ext2fs_link(fs, parent, name, ino, type);
}

/* Device numbers as the kernel stores them: the short form where it fits. */
static void set_device(struct ext2_inode_large *inode, uint32_t major, uint32_t minor)
{
    if (major < 256 && minor < 256)
        inode->i_block[0] = major << 8 | minor;
    else
        inode->i_block[1] = (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

/* Everything whose contents fit the inode: files (still empty), devices, fifos, sockets. */
static errcode_t create_plain(ext2_filsys fs, ext2_ino_t ino, const PlkNodeMeta *meta)
{
    struct ext2_inode_large inode = {.i_links_count = 1};
    ext2_extent_handle_t extents;
    errcode_t rc;

    fill_meta(&inode, meta);
    if (S_ISCHR(meta->mode) || S_ISBLK(meta->mode))
        set_device(&inode, meta->major, meta->minor);
    if (S_ISREG(meta->mode) && ext2fs_has_feature_extents(fs->super)) {
        inode.i_flags |= EXT4_EXTENTS_FL;
        rc = ext2fs_extent_open2(fs, ino, (struct ext2_inode *)&inode, &extents);
        if (rc)
            return rc;
        ext2fs_extent_free(extents);
    }
    rc = ext2fs_write_inode_full(fs, ino, (struct ext2_inode *)&inode, inode_bytes(fs));
    if (!rc)
        ext2fs_inode_alloc_stats2(fs, ino, +1, 0);
    return rc;
}

/*
 * ext2fs_mkdir() counts subdirectories without end; ext4 stops at 65000 names and says 1, "many", from then
 * on.
 */
static errcode_t create_dir(ext2_filsys fs, ext2_ino_t parent, ext2_ino_t ino)
{
    struct ext2_inode above;
    bool many;
    errcode_t rc = ext2fs_read_inode(fs, parent, &above);

    if (rc)
        return rc;
    many = above.i_links_count < 2 || above.i_links_count >= LINK_MAX_EXT4 - 1;
    if (many && !ext2fs_has_feature_dir_nlink(fs->super))
        return EXT2_ET_TOO_MANY_REFS;
    rc = ext2fs_mkdir(fs, parent, ino, NULL);
    if (rc || !many)
        return rc;
    rc = ext2fs_read_inode(fs, parent, &above);
    above.i_links_count = 1;
    return rc ? rc : ext2fs_write_inode(fs, parent, &above);
}

/* Without a name yet: libext2fs's own calls would link it, and give up where the directory has to grow. */
static errcode_t create_unnamed(ext2_filsys fs, ext2_ino_t parent, ext2_ino_t ino, const PlkNodeMeta *meta,
                                const char *target)
{
    struct ext2_inode_large zero = {0};
    errcode_t rc;

    /* A table never initialised, or a node removed before, leaves bytes behind the part the calls below
     * write. */
    rc = ext2fs_write_inode_full(fs, ino, (struct ext2_inode *)&zero, inode_bytes(fs));
    if (rc)
        return rc;
    if (S_ISDIR(meta->mode))
        rc = create_dir(fs, parent, ino);
    else if (S_ISLNK(meta->mode))
        rc = ext2fs_symlink(fs, parent, ino, NULL, target);
    else
        return create_plain(fs, ino, meta);
    return rc ? rc : plk_node_set_meta(fs, ino, meta);
}

errcode_t plk_node_create(ext2_filsys fs, ext2_ino_t parent, const char *name, const PlkNodeMeta *meta,
                          const char *target, ext2_ino_t *ret)
{
    ext2_ino_t ino;
    errcode_t rc = ext2fs_new_inode(fs, parent, meta->mode, NULL, &ino);

    assert(dirent_type(meta->mode) != EXT2_FT_UNKNOWN && !S_ISLNK(meta->mode) == !target);
    if (!rc)
        rc = create_unnamed(fs, parent, ino, meta, target);
    if (!rc)
        rc = link_name(fs, parent, name, ino, dirent_type(meta->mode));
    if (!rc)
        *ret = ino;
    return rc;
}

errcode_t plk_node_link(ext2_filsys fs, ext2_ino_t parent, const char *name, ext2_ino_t ino)
{
    struct ext2_inode inode;
    errcode_t rc = ext2fs_read_inode(fs, ino, &inode);

    if (rc)
        return rc;
    if (S_ISDIR(inode.i_mode))
        return EXT2_ET_INVALID_ARGUMENT;
    if (inode.i_links_count >= LINK_MAX_EXT4)
        return EXT2_ET_TOO_MANY_REFS;
    rc = link_name(fs, parent, name, ino, dirent_type(inode.i_mode));
    if (rc)
        return rc;
    inode.i_links_count++;
    return ext2fs_write_inode(fs, ino, &inode);
}

static int refuse_entry(ext2_ino_t dir, int entry, struct ext2_dir_entry *dirent, int offset, int blocksize,
                        char *buf, void *arg)
{
    bool *occupied = arg;

    if (entry != DIRENT_OTHER_FILE || dirent->inode == 0)
        return 0;
    *occupied = true;
    return DIRENT_ABORT;
}

/* Last name gone: data blocks, attributes and the inode go too. */
static errcode_t free_node(ext2_filsys fs, ext2_ino_t ino, struct ext2_inode *inode)
{
    int was_dir = S_ISDIR(inode->i_mode);
    errcode_t rc = 0;

    if (ext2fs_inode_has_valid_blocks2(fs, inode))
        rc = ext2fs_punch(fs, ino, inode, NULL, 0, ~0ULL);
    if (!rc)
        rc = ext2fs_free_ext_attr(fs, ino, NULL);
    if (rc)
        return rc;
    memset(inode, 0, sizeof *inode);
    rc = ext2fs_write_inode(fs, ino, inode);
    if (!rc)
        ext2fs_inode_alloc_stats2(fs, ino, -1, was_dir);
    return rc;
}

static errcode_t remove_dir(ext2_filsys fs, ext2_ino_t parent, ext2_ino_t ino)
{
    struct ext2_inode above;
    bool occupied = false;
    errcode_t rc = ext2fs_dir_iterate2(fs, ino, 0, NULL, refuse_entry, &occupied);

    if (rc || occupied)
        return rc ? rc : EXT2_ET_DIR_EXISTS;
    rc = ext2fs_read_inode(fs, parent, &above);
    if (rc)
        return rc;
    if (above.i_links_count > 2)
        above.i_links_count--;
    return ext2fs_write_inode(fs, parent, &above);
}

errcode_t plk_node_unlink(ext2_filsys fs, ext2_ino_t parent, const char *name, ext2_ino_t ino)
{
    struct ext2_inode inode;
    errcode_t rc = ext2fs_read_inode(fs, ino, &inode);

    if (!rc && S_ISDIR(inode.i_mode))
        rc = remove_dir(fs, parent, ino);
    if (!rc)
        rc = ext2fs_unlink(fs, parent, name, ino, 0);
    if (rc)
        return rc;
    if (!S_ISDIR(inode.i_mode) && inode.i_links_count > 1) {
        inode.i_links_count--;
        return ext2fs_write_inode(fs, ino, &inode);
    }
    return free_node(fs, ino, &inode);
}
