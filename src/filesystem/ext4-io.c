/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A libext2fs I/O channel over a byte window of a PlkDisk.
 *
 * No cache of its own: the disk's map is in memory and the host caches the file. Flushing is left to whoever
 * closes or flushes the disk: nothing here promises durability earlier than that.
 */
#include "filesystem/ext4-io.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <et/com_err.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/math.h"

typedef struct Window {
    PlkDisk *disk;
    uint64_t offset, length;
} Window;

/* io_manager.open() gets a name and nothing else; the caller of ext2fs_open() leaves the window here. */
static _Thread_local const Window *opening;

static errcode_t range(const Window *w, io_channel channel, unsigned long long block, int count,
                       uint64_t *ret_offset, size_t *ret_len)
{
    /* libext2fs: a negative count is in bytes. */
    uint64_t len = count < 0 ? (uint64_t) - (int64_t)count : (uint64_t)count * (unsigned)channel->block_size;
    uint64_t off;

    if (PLK_MUL_OVERFLOW(block, (uint64_t)channel->block_size, &off) || off > w->length ||
        len > w->length - off)
        return EXT2_ET_BAD_BLOCK_NUM;
    *ret_offset = w->offset + off;
    *ret_len = len;
    return 0;
}

static errcode_t channel_read(io_channel channel, unsigned long long block, int count, void *buf)
{
    const Window *w = channel->private_data;
    uint64_t off;
    size_t len;
    errcode_t rc = range(w, channel, block, count, &off, &len);

    return rc ? rc : -plk_disk_read(w->disk, buf, len, off);
}

static errcode_t channel_write(io_channel channel, unsigned long long block, int count, const void *buf)
{
    const Window *w = channel->private_data;
    uint64_t off;
    size_t len;
    errcode_t rc = range(w, channel, block, count, &off, &len);

    return rc ? rc : -plk_disk_write(w->disk, buf, len, off);
}

static errcode_t channel_read32(io_channel channel, unsigned long block, int count, void *buf)
{
    return channel_read(channel, block, count, buf);
}

static errcode_t channel_write32(io_channel channel, unsigned long block, int count, const void *buf)
{
    return channel_write(channel, block, count, buf);
}

static errcode_t channel_write_byte(io_channel channel, unsigned long offset, int size, const void *buf)
{
    const Window *w = channel->private_data;

    if (size < 0 || offset > w->length || (uint64_t)size > w->length - offset)
        return EXT2_ET_BAD_BLOCK_NUM;
    return -plk_disk_write(w->disk, buf, (size_t)size, w->offset + offset);
}

static errcode_t channel_zero(io_channel channel, unsigned long long block, unsigned long long count)
{
    const Window *w = channel->private_data;
    uint64_t off, len;

    if (PLK_MUL_OVERFLOW(block, (uint64_t)channel->block_size, &off) ||
        PLK_MUL_OVERFLOW(count, (uint64_t)channel->block_size, &len) || off > w->length ||
        len > w->length - off)
        return EXT2_ET_BAD_BLOCK_NUM;
    return -plk_disk_zero(w->disk, w->offset + off, len);
}

static errcode_t channel_set_blksize(io_channel channel, int size)
{
    channel->block_size = size;
    return 0;
}

static errcode_t channel_flush(io_channel channel)
{
    return 0;
}

static errcode_t channel_close(io_channel channel)
{
    if (--channel->refcount > 0)
        return 0;
    free(channel->private_data);
    free(channel->name);
    free(channel);
    return 0;
}

static errcode_t channel_open(const char *name, int flags, io_channel *ret);

static struct struct_io_manager manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "ploop disk",
    .open = channel_open,
    .close = channel_close,
    .set_blksize = channel_set_blksize,
    .read_blk = channel_read32,
    .write_blk = channel_write32,
    .flush = channel_flush,
    .write_byte = channel_write_byte,
    .read_blk64 = channel_read,
    .write_blk64 = channel_write,
    .discard = channel_zero,
    .zeroout = channel_zero,
};

static errcode_t channel_open(const char *name, int flags, io_channel *ret)
{
    io_channel channel = plk_calloc(1, sizeof *channel);
    Window *window = plk_malloc(sizeof *window);
    char *copy = plk_strdup(name);

    assert(opening);
    if (!channel || !window || !copy) {
        free(channel);
        free(window);
        free(copy);
        return EXT2_ET_NO_MEMORY;
    }
    *window = *opening;
    channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    channel->manager = &manager;
    channel->name = copy;
    channel->block_size = 1024;
    channel->refcount = 1;
    channel->private_data = window;
    *ret = channel;
    return 0;
}

int plk_fail_ext4(PlkError *err, PlkErrorCode code, errcode_t rc, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (rc == EXT2_ET_NO_MEMORY)
        return plk_fail_nomem(err);
    if (rc == EXT2_ET_BLOCK_ALLOC_FAIL || rc == EXT2_ET_INODE_ALLOC_FAIL || rc == EXT2_ET_EA_NO_SPACE)
        code = PLK_ERROR_NO_SPACE;
    if (rc > 0 && rc < 256)
        return plk_fail_io(err, code, -(int)rc, "%s", text);

    return plk_fail(err, code, "%s: %s", text, error_message(rc));
}

/* A disk goes by the name of its active image. */
static const char *disk_name(PlkDisk *disk)
{
    PlkDiskInfo info;
    const char *path = plk_disk_info(disk, &info, NULL) ? NULL : plk_disk_image_path(disk, info.levels - 1);

    return path ? path : "the disk";
}

static int fail_open(PlkDisk *disk, errcode_t rc, PlkError *err)
{
    const char *name = disk_name(disk);

    switch (rc) {
    case EXT2_ET_BAD_MAGIC:
        return plk_fail(err, PLK_ERROR_NOT_FOUND, "there is no ext4 filesystem in '%s'", name);
    case EXT2_ET_UNSUPP_FEATURE:
    case EXT2_ET_RO_UNSUPP_FEATURE:
        return plk_fail_ext4(err, PLK_ERROR_UNSUPPORTED, rc, "cannot open the filesystem in '%s'", name);
    default:
        return plk_fail_ext4(err, rc < 256 ? PLK_ERROR_READ : PLK_ERROR_FORMAT, rc,
                             "cannot open the filesystem in '%s'", name);
    }
}

int plk_ext4_open(PlkDisk *disk, const PlkPartition *part, bool writable, ext2_filsys *ret, PlkError *err)
{
    Window window = {.disk = disk, .offset = part->offset, .length = part->length};
    PLK_EXT4_AUTO ext2_filsys fs = NULL;
    errcode_t rc;

    initialize_ext2_error_table();
    opening = &window;
    rc = ext2fs_open("disk", EXT2_FLAG_64BITS | (writable ? EXT2_FLAG_RW : 0), 0, 0, &manager, &fs);
    opening = NULL;
    if (rc)
        return fail_open(disk, rc, err);
    /* Ranges, not one bit a block: 32 MiB a TiB to be zeroed first otherwise. */
    fs->default_bitmap_type = EXT2FS_BMAP64_RBTREE;
    if (ext2fs_blocks_count(fs->super) > part->length / fs->blocksize)
        return plk_fail(err, PLK_ERROR_FORMAT, "the filesystem in '%s' is bigger than its partition",
                        disk_name(disk));
    if (writable)
        fs->flags |= EXT2_FLAG_MASTER_SB_ONLY;
    *ret = PLK_TAKE(fs);
    return 0;
}

int plk_ext4_read_bitmaps(ext2_filsys fs, bool also_blocks, PlkError *err)
{
    errcode_t rc = also_blocks ? ext2fs_read_bitmaps(fs) : ext2fs_read_inode_bitmap(fs);

    return rc ? plk_fail_ext4(err, PLK_ERROR_FORMAT, rc, "cannot read the filesystem's bitmaps") : 0;
}

int plk_ext4_close(ext2_filsys fs, PlkError *err)
{
    errcode_t rc = ext2fs_flush(fs);

    plk_ext4_drop(fs);
    return rc ? plk_fail_ext4(err, PLK_ERROR_WRITE, rc, "cannot write the filesystem's tables") : 0;
}

void plk_ext4_drop(ext2_filsys fs)
{
    if (fs)
        ext2fs_free(fs);
}
