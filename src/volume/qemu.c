/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2 and all formats that are not ours, by qemu-img: a program of its own, with limits on memory and time,
 * so that a hostile image can at worst make one operation fail.
 *
 * It sees files as /proc/self/fd/N only, never a name from a user, and a backing file of a new image is
 * written down without being opened (-u): that it is there is checked here. A relative one counts from the
 * pool directory, where the image will stand when it is published, not from where it is made.
 */
#include "volume/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "host/run.h"
#include "io/lock.h"
#include "volume/plain.h"
#include "volume/ploop.h"
#include "volume/stream.h"

#define ADDRESS_SPACE (2ull << 30) /* its threads' stacks count too */
#define CPU_SECONDS 120
#define CPU_BYTES_A_SECOND (4ull << 20) /* far below what any machine converts */
#define KIB 1024

/* ---- running ---- */

typedef struct Call {
    GPtrArray *args; /* of char *, owned */
    GArray *fds;     /* of int */
    const char *what;
    uint64_t bytes; /* to be moved */
} Call;

static Call call_new(const char *verb, const char *what)
{
    Call call = {.args = g_ptr_array_new_with_free_func(g_free),
                 .fds = g_array_new(FALSE, FALSE, sizeof(int)),
                 .what = what};

    g_ptr_array_add(call.args, g_strdup(verb));
    g_ptr_array_add(call.args, g_strdup("-q"));
    return call;
}

static void call_clear(Call *call)
{
    g_ptr_array_free(call->args, TRUE);
    g_array_free(call->fds, TRUE);
}

static void add(Call *call, const char *arg)
{
    g_ptr_array_add(call->args, g_strdup(arg));
}

static void add_option(Call *call, const char *option, const char *value)
{
    add(call, option);
    add(call, value);
}

static void add_chain(Call *call, const PlkQemuChain *chain)
{
    size_t n;
    const int *fds = plk_qemu_chain_fds(chain, &n);

    g_ptr_array_add(call->args, plk_qemu_chain_json(chain));
    g_array_append_vals(call->fds, fds, (guint)n);
}

static void add_fd(Call *call, int fd)
{
    g_ptr_array_add(call->args, g_strdup_printf("/proc/self/fd/%d", fd));
    g_array_append_val(call->fds, fd);
}

/* By directory and name: some formats write their own name down inside. */
static void add_place(Call *call, const PlkPlace *at)
{
    g_ptr_array_add(call->args, g_strdup_printf("/proc/self/fd/%d/%s", at->dir, at->name));
    g_array_append_val(call->fds, at->dir);
}

static int judge(const PlkPlace *at, const PlkRun *run, const PlkRunResult *result, PlkError *err)
{
    PlkErrorCode code = PLK_ERROR_HELPER;

    if (result->status == 0)
        return 0;
    if (strstr(result->output, g_strerror(ENOSPC)) || strstr(result->output, "No space left on device"))
        code = PLK_ERROR_NO_SPACE;
    else if (strstr(result->output, " lock"))
        code = PLK_ERROR_STATE; /* somebody came between our look and its own */
    plk_run_fail(run, result, code, err);
    plk_error_prefix(err, "'%s/%s': ", at->dir_path, at->name);
    return -1;
}

static int run_call(Call *call, const PlkPlace *at, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_run_result_clear) PlkRunResult result = {0};
    static const char *const env[] = {"MALLOC_ARENA_MAX=2", NULL}; /* each thread's own would be 64 MiB of it */
    PlkRun run = {.program = "qemu-img",
                  .env = env,
                  .cpu_seconds = CPU_SECONDS,
                  .address_space = ADDRESS_SPACE,
                  .progress = progress,
                  .what = call->what};

    g_ptr_array_add(call->args, NULL);
    run.args = (const char *const *)call->args->pdata;
    run.fds = (const int *)(void *)call->fds->data;
    run.fd_count = call->fds->len;
    run.cpu_seconds += (unsigned)PLK_MIN(call->bytes / CPU_BYTES_A_SECOND, UINT32_MAX / 2);
    if (plk_run(&run, &result, err) < 0)
        return -1;
    return judge(at, &run, &result, err);
}

static int sync_file(const PlkPlace *at, const PlkPermissions *permissions, PlkError *err)
{
    PLK_CLOSE int fd = -1;

    if (plk_plain_open(at, O_RDWR, PLK_IO_LOCK_NONE, &fd, err) < 0)
        return -1;
    return plk_plain_finish(at, fd, permissions, err);
}

/* ---- what can be refused without a look at the disk ---- */

static bool is_creatable(PlkFileFormat format)
{
    return format == PLK_FILE_QCOW2 || format == PLK_FILE_QCOW || format == PLK_FILE_QED ||
           format == PLK_FILE_VMDK || format == PLK_FILE_VPC || format == PLK_FILE_VDI;
}

static bool is_old_compat(const PlkVolumeTarget *t)
{
    return t->compat && strcmp(t->compat, "0.10") == 0;
}

static int check_qcow2(const PlkVolumeDef *def, unsigned flags, PlkError *err)
{
    const PlkVolumeTarget *t = &def->target;

    if (t->compat && !is_old_compat(t) && strcmp(t->compat, "1.1"))
        return plk_fail(err, PLK_ERROR_CONFIG, "volume '%s': compat '%s' is not known; 0.10 and 1.1 are",
                        def->name, t->compat);
    if ((t->lazy_refcounts || t->extended_l2) && is_old_compat(t))
        return plk_fail(err, PLK_ERROR_CONFIG, "volume '%s': its features need compat 1.1", def->name);
    if (t->cluster && (!plk_is_pow2(t->cluster) || t->cluster < 512 || t->cluster > 2u << 20))
        return plk_fail(err, PLK_ERROR_CONFIG,
                        "volume '%s': a cluster is a power of two from 512 bytes to 2 MiB, not %llu bytes",
                        def->name, (unsigned long long)t->cluster);
    if ((flags & PLK_CREATE_PREALLOC_METADATA) && def->backing)
        return plk_fail(err, PLK_ERROR_CONFIG,
                        "volume '%s': preallocation and a backing store exclude each other", def->name);
    return 0;
}

static int check_others(const PlkVolumeDef *def, unsigned flags, PlkError *err)
{
    const PlkVolumeTarget *t = &def->target;
    const char *format = plk_file_format_names[t->format];

    if (flags & PLK_CREATE_PREALLOC_METADATA)
        return plk_fail(err, PLK_ERROR_CONFIG, "volume '%s': only qcow2 has metadata to preallocate, not %s",
                        def->name, format);
    if (t->compat || t->lazy_refcounts || t->extended_l2 || t->cluster)
        return plk_fail(err, PLK_ERROR_CONFIG,
                        "volume '%s': compat, features and clusterSize are for qcow2, not %s", def->name,
                        format);
    if (def->backing && (t->format == PLK_FILE_VPC || t->format == PLK_FILE_VDI))
        return plk_fail(err, PLK_ERROR_CONFIG, "volume '%s': %s cannot have a backing store", def->name,
                        format);
    return 0;
}

static int qemu_check(const PlkVolumeDef *def, unsigned flags, PlkError *err)
{
    char program[PLK_PROGRAM_PATH_MAX];

    if (!is_creatable(def->target.format))
        return plk_fail(err, PLK_ERROR_UNSUPPORTED,
                        "volume '%s': images of format '%s' can be read but not made", def->name,
                        plk_file_format_names[def->target.format]);
    if (plk_plain_check(def, err) < 0)
        return -1;
    if (def->backing && !plk_qemu_format(def->backing->format))
        return plk_fail(
            err, PLK_ERROR_CONFIG, "volume '%s': nothing can rest on an image of format '%s'", def->name,
            def->backing->format == PLK_FILE_AUTO ? "auto" : plk_file_format_names[def->backing->format]);
    if (def->target.format == PLK_FILE_QCOW2 ? check_qcow2(def, flags, err) < 0
                                             : check_others(def, flags, err) < 0)
        return -1;
    return plk_find_program("qemu-img", program, err);
}

/* ---- create ---- */

static void qcow2_options(const PlkVolumeDef *def, unsigned flags, uint64_t capacity, GString *o)
{
    const PlkVolumeTarget *t = &def->target;
    bool features = t->lazy_refcounts || t->extended_l2;

    if (flags & PLK_CREATE_PREALLOC_METADATA)
        g_string_append(o, capacity > def->allocation ? ",preallocation=metadata" : ",preallocation=falloc");
    if (t->compat)
        g_string_append_printf(o, ",compat=%s", t->compat);
    else
        g_string_append(o, (flags & PLK_CREATE_COMPAT_0_10) && !features ? ",compat=0.10" : ",compat=1.1");
    if (t->cluster)
        g_string_append_printf(o, ",cluster_size=%llu", (unsigned long long)t->cluster);
    if (t->lazy_refcounts)
        g_string_append(o, ",lazy_refcounts=on");
    if (t->extended_l2)
        g_string_append(o, ",extended_l2=on");
}

static void add_options(Call *call, const PlkVolumeDef *def, unsigned flags, uint64_t capacity)
{
    GString *o = g_string_new(def->target.nocow ? ",nocow=on" : "");

    if (def->target.format == PLK_FILE_QCOW2)
        qcow2_options(def, flags, capacity, o);
    if (o->len)
        add_option(call, "-o", o->str + 1);
    g_string_free(o, TRUE);
}

/* An empty image at the target that add_target() names; backing NULL = none, whatever def says. */
static void add_create(Call *call, const PlkVolumeDef *def, unsigned flags, uint64_t capacity,
                       const PlkVolumeTarget *backing)
{
    add_option(call, "-f", plk_qemu_format(def->target.format));
    if (backing) {
        add(call, "-u");
        add_option(call, "-b", backing->path);
        add_option(call, "-F", plk_qemu_format(backing->format));
    }
    add_options(call, def, flags, capacity);
    add(call, "--");
}

static void add_size(Call *call, uint64_t capacity)
{
    g_ptr_array_add(call->args, g_strdup_printf("%llu", (unsigned long long)plk_round_up(capacity, KIB)));
}

static int make_image(const PlkPlace *at, const PlkVolumeDef *def, unsigned flags, uint64_t capacity,
                      const PlkVolumeTarget *backing, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(call_clear) Call call = call_new("create", "creating");

    add_create(&call, def, flags, capacity, backing);
    add_place(&call, at);
    add_size(&call, capacity);
    return run_call(&call, at, progress, err);
}

/* The backing store must be there; a new image without a size of its own gets its. */
static int find_capacity(const PlkPlace *at, const PlkVolumeDef *def, uint64_t *ret, PlkError *err)
{
    plk_cleanup(plk_qemu_chain_freep) PlkQemuChain *chain = NULL;
    g_autofree char *own = plk_place_path(at), *path = NULL;

    *ret = def->capacity;
    if (!def->backing)
        return 0;
    path = plk_backing_path(own, def->backing->path);
    if (!path)
        return plk_fail(
            err, PLK_ERROR_REFUSED,
            "volume '%s': its backing store '%s' is not a file; write './NAME' for a name with a colon",
            def->name, def->backing->path);
    if (plk_qemu_chain_open_path(path, def->backing->format, &chain, err) < 0) {
        plk_error_prefix(err, "volume '%s': ", def->name);
        return -1;
    }
    if (!def->capacity)
        *ret = plk_qemu_chain_capacity(chain);
    return 0;
}

static int qemu_create(const PlkPlace *at, const PlkVolumeDef *def, unsigned flags,
                       const PlkProgress *progress, PlkError *err)
{
    PLK_CLOSE int fd = -1;
    uint64_t capacity;
    int r;

    if (qemu_check(def, flags, err) < 0 || find_capacity(at, def, &capacity, err) < 0 ||
        plk_plain_create(at, &fd, err) < 0)
        return -1;
    r = make_image(at, def, flags, capacity, def->backing, progress, err);
    if (r == 0)
        r = sync_file(at, &def->target.permissions, err);
    if (r < 0)
        plk_plain_undo(at);
    return r;
}

/* ---- clone ---- */

/* The name of what is below is good in the new place too. */
static bool may_share_container(const PlkVolumeDef *def, const PlkVolumeOrigin *from)
{
    return from->facts->format == def->target.format && def->capacity <= from->facts->capacity &&
           !from->facts->backing;
}

static int clone_by_reflink(const PlkPlace *at, const PlkVolumeDef *def, const PlkVolumeOrigin *from, int fd,
                            const PlkProgress *progress, PlkError *err)
{
    PLK_CLOSE int in = -1;
    struct stat st;

    if (!may_share_container(def, from))
        return plk_fail(
            err, PLK_ERROR_ARGUMENT,
            "'%s/%s' can share blocks only with an image of its own format and size that rests on no other",
            at->dir_path, at->name);
    if (plk_plain_open(&from->place, O_RDONLY, PLK_IO_LOCK_SHARED, &in, err) < 0)
        return -1;
    if (fstat(in, &st) < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, -errno, "'%s/%s'", from->place.dir_path, from->place.name);
    return plk_plain_copy(at, in, fd, (uint64_t)st.st_size, true, progress, err);
}

/* to_fd: the file that is written to; -1: the one at `at`. */
static int convert(const PlkPlace *at, const PlkQemuChain *chain, const char *format, int to_fd,
                   const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(call_clear) Call call = call_new("convert", "converting");

    call.bytes = plk_qemu_chain_capacity(chain);
    add(&call, "-n");
    add(&call, "--target-is-zero");
    add_option(&call, "-O", format);
    add(&call, "--");
    add_chain(&call, chain);
    if (to_fd >= 0)
        add_fd(&call, to_fd);
    else
        add_place(&call, at);
    return run_call(&call, at, progress, err);
}

/* What only qemu-img can read. In use is found out here, for a good message; qemu-img locks it while it
 * reads. */
static int open_source(const PlkVolumeOrigin *from, PlkQemuChain **ret, PlkError *err)
{
    plk_cleanup(plk_qemu_chain_freep) PlkQemuChain *chain = NULL;

    if (plk_volume_driver_of(from->facts) == &plk_driver_dir)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "'%s/%s' holds no disk that could be cloned",
                        from->place.dir_path, from->place.name);
    if (from->facts->encryption != PLK_ENCRYPTION_NONE)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "'%s/%s' is encrypted; there is no store of secrets here",
                        from->place.dir_path, from->place.name);
    if (plk_qemu_chain_open(&from->place, from->facts->format, &chain, err) < 0 ||
        plk_plain_test_lock(&from->place, plk_qemu_chain_top(chain), PLK_IO_LOCK_SHARED, err) < 0)
        return -1;
    *ret = PLK_TAKE(chain);
    return 0;
}

/* The disk of a ploop volume as a raw file without a name, for qemu-img to read. */
static int flatten_ploop(const PlkPlace *at, const PlkVolumeOrigin *from, const PlkProgress *progress,
                         int *ret_fd, PlkQemuChain **ret, PlkError *err)
{
    PLK_CLOSE int fd = openat(at->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    off_t size;

    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno,
                              "'%s/%s': this filesystem has no nameless files, so clone to a raw image first",
                              at->dir_path, at->name);
    if (plk_ploop_export(from, fd, progress, err) < 0)
        return -1;
    size = lseek(fd, 0, SEEK_END);
    if (size < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, -errno, "'%s/%s'", at->dir_path, at->name);
    *ret = plk_qemu_chain_of_raw(fd, (uint64_t)size);
    *ret_fd = PLK_TAKE_FD(fd);
    return 0;
}

static int clone_by_qemu(const PlkPlace *at, const PlkVolumeDef *def, const PlkVolumeOrigin *from,
                         unsigned flags, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_qemu_chain_freep) PlkQemuChain *chain = NULL;
    PLK_CLOSE int flat = -1;
    uint64_t capacity;
    int r;

    if (plk_volume_driver_of(from->facts) == &plk_driver_ploop)
        r = flatten_ploop(at, from, progress, &flat, &chain, err);
    else
        r = open_source(from, &chain, err);
    if (r < 0)
        return r;
    capacity = PLK_MAX(def->capacity, plk_qemu_chain_capacity(chain));
    if (make_image(at, def, flags, capacity, NULL, progress, err) < 0)
        return -1;
    return convert(at, chain, plk_qemu_format(def->target.format), -1, progress, err);
}

static int qemu_clone(const PlkPlace *at, const PlkVolumeDef *def, const PlkVolumeOrigin *from,
                      unsigned flags, const PlkProgress *progress, PlkError *err)
{
    PLK_CLOSE int fd = -1;
    int r;

    if (qemu_check(def, flags, err) < 0 || plk_plain_create(at, &fd, err) < 0)
        return -1;
    if (flags & PLK_CREATE_REFLINK)
        r = clone_by_reflink(at, def, from, fd, progress, err);
    else
        r = clone_by_qemu(at, def, from, flags, progress, err);
    if (r == 0)
        r = sync_file(at, &def->target.permissions, err);
    if (r < 0)
        plk_plain_undo(at);
    return r;
}

int plk_qemu_convert_to_raw(const PlkVolumeOrigin *from, int fd, const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_qemu_chain_freep) PlkQemuChain *chain = NULL;

    if (open_source(from, &chain, err) < 0)
        return -1;
    if (ftruncate(fd, (off_t)plk_qemu_chain_capacity(chain)) < 0)
        return plk_fail_io(err, PLK_ERROR_TRUNCATE, -errno, "the copy of '%s/%s'", from->place.dir_path, from->place.name);
    return convert(&from->place, chain, "raw", fd, progress, err);
}

/* ---- what is done to one that is there ---- */

static int qemu_remove(const PlkPlace *at, const PlkVolumeFacts *facts, PlkError *err)
{
    return plk_plain_remove(at, err);
}

static int check_resize(const PlkPlace *at, const PlkVolumeFacts *facts, uint64_t capacity, unsigned flags,
                        PlkError *err)
{
    if (facts->format != PLK_FILE_QCOW2 && facts->format != PLK_FILE_QED)
        return plk_fail(err, PLK_ERROR_NOT_THIS_FORMAT,
                        "'%s/%s': an image of format '%s' has its size for ever", at->dir_path, at->name,
                        plk_file_format_names[facts->format]);
    if (flags & PLK_RESIZE_ALLOCATE)
        return plk_fail(err, PLK_ERROR_NOT_THIS_FORMAT, "'%s/%s': room can be reserved in raw images only",
                        at->dir_path, at->name);
    if (capacity < facts->capacity && !(flags & PLK_RESIZE_SHRINK))
        return plk_fail(
            err, PLK_ERROR_ARGUMENT,
            "'%s/%s' is larger than %llu bytes; shrinking loses what lies behind and is to be asked for",
            at->dir_path, at->name, (unsigned long long)capacity);
    return 0;
}

static int qemu_resize(const PlkPlace *at, const PlkVolumeFacts *facts, uint64_t capacity, unsigned flags,
                       const PlkProgress *progress, PlkError *err)
{
    plk_cleanup(plk_qemu_chain_freep) PlkQemuChain *chain = NULL;
    plk_cleanup(call_clear) Call call = call_new("resize", "resizing");
    PLK_CLOSE int fd = -1;

    if (check_resize(at, facts, capacity, flags, err) < 0 ||
        plk_plain_open(at, O_RDWR, PLK_IO_LOCK_NONE, &fd, err) < 0 ||
        plk_plain_test_lock(at, fd, PLK_IO_LOCK_EXCLUSIVE, err) < 0 ||
        plk_qemu_chain_open(at, facts->format, &chain, err) < 0)
        return -1;
    if (flags & PLK_RESIZE_SHRINK)
        add(&call, "--shrink");
    add(&call, "--");
    add_chain(&call, chain);
    g_ptr_array_add(call.args,
                    g_strdup_printf("%llu", (unsigned long long)plk_round_up(capacity, PLK_SECTOR)));
    if (run_call(&call, at, progress, err) < 0)
        return -1;
    return plk_plain_finish(at, fd, NULL, err);
}

/* The file that is there becomes an empty image like the one it was, resting on nothing. */
static int remake(const PlkPlace *at, int fd, const PlkVolumeFacts *facts, const PlkProgress *progress,
                  PlkError *err)
{
    plk_cleanup(call_clear) Call call = call_new("create", "creating");
    PlkVolumeDef like = {.name = (char *)at->name, .capacity = facts->capacity};

    like.target.format = facts->format;
    like.target.cluster = facts->cluster;
    if (facts->format == PLK_FILE_QCOW2)
        like.target.compat = (char *)(facts->compat_1_1 ? "1.1" : "0.10");
    like.target.lazy_refcounts = facts->lazy_refcounts;
    like.target.extended_l2 = facts->extended_l2;
    add_create(&call, &like, 0, facts->capacity, NULL);
    add_fd(&call, fd);
    add_size(&call, facts->capacity);
    if (run_call(&call, at, progress, err) < 0)
        return -1;
    return plk_plain_finish(at, fd, NULL, err);
}

static int qemu_wipe(const PlkPlace *at, const PlkVolumeFacts *facts, PlkWipe how,
                     const PlkProgress *progress, PlkError *err)
{
    char program[PLK_PROGRAM_PATH_MAX];
    PLK_CLOSE int fd = -1;

    if (!is_creatable(facts->format) || facts->encryption != PLK_ENCRYPTION_NONE)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT,
                        "'%s/%s' could not be made again as what it is; delete it instead", at->dir_path,
                        at->name);
    if (plk_find_program("qemu-img", program, err) < 0 ||
        plk_plain_open(at, O_RDWR, PLK_IO_LOCK_EXCLUSIVE, &fd, err) < 0 ||
        plk_plain_wipe(at, fd, how, progress, err) < 0)
        return -1;
    plk_lock_fd(fd, PLK_IO_LOCK_NONE); /* qemu-img takes its own */
    return remake(at, fd, facts, progress, err);
}

const PlkVolumeDriver plk_driver_qemu = {
    .name = "qemu",
    .type = PLK_VOLUME_FILE,
    .check = qemu_check,
    .create = qemu_create,
    .clone = qemu_clone,
    .remove = qemu_remove,
    .resize = qemu_resize,
    .wipe = qemu_wipe,
    .open = plk_plain_stream,
};
