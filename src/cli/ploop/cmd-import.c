/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop import: a new disk from a raw or qcow2 image, or from a tar archive or directory. The format is what
 * --from or the name says, never what the contents look like: a guest can write those.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ploopkit/filesystem.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "cli.h"
#include "fill.h"
#include "volume/publish.h"
#include "volume/qemu-img.h"
#include "volume/transfer.h"

enum { OPT_FROM = PLK_LONG_ONLY, OPT_ALLOC };

typedef struct ImportSource {
    int fd;
    const char *name;
} ImportSource;

static int fill_from_file(PlkDisk *disk, void *arg, const PlkProgress *progress, PlkError *err)
{
    const ImportSource *source = arg;

    return plk_file_to_disk(source->fd, source->name, disk, progress, err);
}

/* Only a regular file or a block device has a length; opening must not hang on a FIFO. */
static int open_source(const char *name, PlkError *err)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_OPEN, errno, "cannot open '%s'", name);
    if (fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
        return fd;
    close(fd);
    return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' is neither a file nor a block device", name);
}

static int import_fd(int fd, const char *name, PlkNewDisk *want)
{
    ImportSource source = {fd, name};
    off_t end = lseek(fd, 0, SEEK_END);
    uint64_t sectors = end > 0 ? plk_div_up((uint64_t)end, PLK_SECTOR) : 0;

    if (sectors == 0)
        return plk_cli_param("'%s' is empty", name);
    if (want->spec.size_sectors && want->spec.size_sectors < sectors)
        return plk_cli_param("-s is smaller than '%s', which has %llu sectors", name,
                             (unsigned long long)sectors);
    if (!want->spec.size_sectors)
        want->spec.size_sectors = sectors;
    want->fill = fill_from_file;
    want->fill_arg = &source;
    want->filesystem = "none";
    return plk_new_disk(want);
}

static int import_raw(const char *in, PlkNewDisk *want)
{
    PlkError err;
    PLK_CLOSE int fd = open_source(in, &err);

    return fd < 0 ? plk_cli_fail(&err) : import_fd(fd, in, want);
}

/* Through a sparse raw file beside the disk to be. */
static int import_qcow2(const char *in, PlkNewDisk *want)
{
    PLK_PUBLISH_AUTO PlkPublish raw = PLK_PUBLISH_INIT;
    char raw_name[4096];
    uint64_t size;
    struct stat st;
    PlkError err;
    PLK_CLOSE int fd = open_source(in, &err), raw_fd = -1;

    if (snprintf(raw_name, sizeof(raw_name), "%s.raw", want->base) >= (int)sizeof(raw_name))
        return plk_cli_param("'%s' is too long", want->base);
    if (fd < 0 || plk_qcow2_check(fd, in, &size, &err) < 0 || plk_qemu_img_find(&err) < 0 ||
        plk_publish_begin_named(raw_name, true, &raw, &err) < 0)
        return plk_cli_fail(&err);
    if (fstat(fd, &st) == 0 && plk_need_space(raw.fd, raw_name, 2 * (uint64_t)st.st_blocks * 512, &err) < 0)
        return plk_cli_fail(&err);
    if (plk_qemu_img_convert("qcow2", in, "raw", raw.temp, plk_cli_progress(), &err) < 0)
        return plk_cli_fail(&err);
    raw_fd = open_source(raw.temp, &err);
    return raw_fd < 0 ? plk_cli_fail(&err) : import_fd(raw_fd, in, want);
}

static int import_files(const char *in, PlkNewDisk *want)
{
    PlkMkfsSpec mkfs = {.struct_size = sizeof(mkfs), .type = "ext4", .populate = in};

    if (want->spec.size_sectors == 0)
        return plk_cli_param("-s SIZE is missing: an archive does not tell how large the disk shall be");
    want->fill = plk_mkfs_fill;
    want->fill_arg = &mkfs;
    want->filesystem = "ext4";
    return plk_new_disk(want);
}

/* disk.qcow2, backup.tar, backup.tar.gz, a directory; anything else is raw. */
static const char *format_of_name(const char *name)
{
    const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name, *dot = strrchr(last, '.');
    struct stat st;

    if (stat(name, &st) == 0 && S_ISDIR(st.st_mode))
        return "tar";
    if (dot && strcmp(dot, ".qcow2") == 0)
        return "qcow2";
    if (dot && (strcmp(dot, ".tar") == 0 || strcmp(dot, ".tgz") == 0 || strstr(last, ".tar.")))
        return "tar";
    return "raw";
}

static int run(const PlkArgs *args)
{
    static const struct {
        const char *format;
        int (*import)(const char *in, PlkNewDisk *want);
    } formats[] = {{"raw", import_raw}, {"qcow2", import_qcow2}, {"tar", import_files}};
    const char *in = args->operands[0], *from = plk_arg(args, OPT_FROM);
    PlkNewDisk want = {.base = args->operands[1], .spec = {.struct_size = sizeof(want.spec)}};
    uint64_t cluster = 0, version = 0;

    if (plk_arg_sectors(args, 's', &want.spec.size_sectors) ||
        plk_arg_uint(args, 'b', UINT32_MAX, &cluster) || plk_arg_uint(args, 'v', 2, &version) ||
        plk_arg_alloc(args, OPT_ALLOC, &want.spec.alloc_full))
        return PLK_EXIT_PARAM;
    want.spec.cluster_sectors = (uint32_t)cluster;
    want.spec.version = (int)version;
    if (!from)
        from = format_of_name(in);
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
        if (strcmp(formats[i].format, from) == 0)
            return formats[i].import(in, &want);
    return plk_cli_param("Incorrect format specified: %s (raw, qcow2 or tar)", from);
}

static const PlkOption options[] = {
    {OPT_FROM, "from", "FORMAT", "raw, qcow2 or tar; by default what the name of IN ends in, else raw"},
    {'s', NULL, "SIZE", "size of the disk; needed for tar, else the size of IN"},
    {'v', NULL, "VERSION", "image version 2 (default) or 1"},
    {'b', NULL, "SECTORS", "cluster size (2048; below 16 MiB of disk 64)"},
    {OPT_ALLOC, "alloc", "full|sparse", "real blocks for every cluster, or holes (default)"},
    {0},
};

static const char *const notes[] = {
    "DELTA is the image to be; DiskDescriptor.xml is made beside it. With tar, IN is",
    "an archive or a directory and its files go into a new ext4.",
    NULL,
};

const PlkVerb plk_verb_import = {
    .name = "import",
    .min = 2,
    .max = 2,
    .operands = "IN DELTA",
    .options = options,
    .run = run,
    .help = "make a disk from another format",
    .notes = notes,
};
