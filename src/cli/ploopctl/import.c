/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploopctl import: a new volume with the contents of a file. The file's format is what --from or its name
 * says, never what its bytes look like: those may be a guest's. What fails leaves no volume.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "ctl.h"
#include "pump.h"
#include "volume/publish.h"
#include "volume/qemu-img.h"

enum { OPT_FROM = OPT_OWN };

typedef struct ImportJob {
    const char *file, *from, *to; /* formats */
    int fd;                       /* of the bytes to upload */
    PlkPublish converted;         /* a temporary file, removed at the end; fd -1 = none */
    uint64_t capacity;            /* 0 = to be found out */
} ImportJob;

static void job_clear(ImportJob *job)
{
    if (job->fd > STDIN_FILENO && job->fd != job->converted.fd)
        close(job->fd);
    plk_publish_end(&job->converted);
}

static const char *format_by_name(const char *file)
{
    static const struct {
        const char *suffix, *format;
    } suffixes[] = {
        {".qcow2", "qcow2"}, {".vmdk", "vmdk"}, {".vdi", "vdi"}, {".vhd", "vpc"}, {".qed", "qed"}};

    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++)
        if (g_str_has_suffix(file, suffixes[i].suffix))
            return suffixes[i].format;
    return "raw";
}

/* A qcow2 volume takes the file of a qcow2; the others take the disk in it. */
static const char *upload_format(const ImportJob *job)
{
    return strcmp(job->to, "qcow2") == 0 ? "qcow2" : "raw";
}

static int convert(ImportJob *job, PlkError *err)
{
    const char *tmp = getenv("TMPDIR");
    g_autofree char *name = g_build_filename(tmp && *tmp ? tmp : "/var/tmp", "ploopctl-import", NULL);
    uint64_t size;

    if (strcmp(job->file, "-") == 0)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "only a raw disk for a raw or ploop volume comes from standard input");
    if (strcmp(job->from, "qcow2") == 0 && plk_qcow2_check(job->fd, job->file, &size, err) < 0)
        return -1;
    if (plk_publish_begin_named(name, true, &job->converted, err) < 0 ||
        plk_qemu_img_convert(job->from, job->file, upload_format(job), job->converted.temp,
                             plk_cli_progress(), err) < 0)
        return -1;
    close(job->fd);
    job->fd = job->converted.fd;
    return 0;
}

static int find_capacity(ImportJob *job, PlkError *err)
{
    off_t size;

    if (strcmp(job->to, "qcow2") == 0)
        return plk_qcow2_check(job->fd, job->file, &job->capacity, err);
    size = lseek(job->fd, 0, SEEK_END);
    if (size >= 0 && lseek(job->fd, 0, SEEK_SET) == 0) {
        job->capacity = job->capacity ? job->capacity : (uint64_t)size;
        return 0;
    }
    if (job->capacity)
        return 0;
    return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' does not tell its size; give --capacity", job->file);
}

static int open_file(ImportJob *job, PlkError *err)
{
    job->fd = strcmp(job->file, "-") == 0 ? STDIN_FILENO : open(job->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (job->fd < 0)
        return plk_fail_errno(err, PLK_ERROR_NOT_FOUND, errno, "cannot open '%s'", job->file);
    if (strcmp(job->from, upload_format(job)) != 0 && convert(job, err) < 0)
        return -1;
    return find_capacity(job, err);
}

static int upload(const PlkSession *s, const char *name, const ImportJob *job, PlkError *err)
{
    PlkStreamWhat what = strcmp(job->to, "ploop") == 0 ? PLK_STREAM_DISK : PLK_STREAM_CONTAINER;
    PlkStream *stream;
    int rc;

    if (plk_pool_upload(s->pool, name, what, 0, 0, &stream, err) < 0)
        return -1;
    rc = lseek(job->fd, 0, SEEK_SET) < 0 && errno != ESPIPE
             ? plk_fail_errno(err, PLK_ERROR_READ, errno, "cannot read '%s'", job->file)
             : plk_pump_in(job->fd, job->file, stream, UINT64_MAX, true, err);
    if (rc == 0)
        rc = plk_stream_finish(stream, err);
    plk_stream_close(stream);
    return rc;
}

static int import_volume(const PlkSession *s, const char *name, const ImportJob *job, PlkError *err)
{
    PlkFileFormat format = (PlkFileFormat)plk_name_index(plk_file_format_names, job->to);
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = plk_volume_def_new(name, format, job->capacity);

    def->has_allocation = true; /* none is reserved: the bytes that come take their room */
    def->allocation = 0;
    if (plk_pool_create_volume(s->pool, def, format == PLK_FILE_PLOOP ? PLK_CREATE_EMPTY : 0,
                               plk_cli_progress(), NULL, err) < 0)
        return -1;
    if (upload(s, name, job, err) == 0)
        return 0;
    (void)plk_pool_delete_volume(s->pool, name, 0, NULL);
    return -1;
}

/* 0 or the exit code. */
static int formats_of(const PlkArgs *args, ImportJob *job)
{
    job->from = plk_arg(args, OPT_FROM) ? plk_arg(args, OPT_FROM) : format_by_name(job->file);
    job->to = plk_arg(args, OPT_FORMAT) ? plk_arg(args, OPT_FORMAT) : "ploop";
    if (plk_name_index(plk_file_format_names, job->from) < PLK_FILE_RAW)
        return plk_arg_bad(args, OPT_FROM, "raw, qcow2, or another format of qemu-img's");
    if (strcmp(job->to, "ploop") != 0 && strcmp(job->to, "raw") != 0 && strcmp(job->to, "qcow2") != 0)
        return plk_arg_bad(args, OPT_FORMAT, "ploop, raw or qcow2");
    return 0;
}

static int run(const PlkArgs *args)
{
    plk_cleanup(job_clear)
        ImportJob job = {.file = plk_arg(args, OPT_FILE), .fd = -1, .converted = PLK_PUBLISH_INIT};
    const char *name = plk_arg(args, OPT_NAME);
    PLK_SESSION s = {0};
    PlkError err;
    int rc = formats_of(args, &job);

    if (rc == 0)
        rc = plk_arg_size(args, OPT_CAPACITY, &job.capacity);
    if (rc == 0)
        rc = plk_need_pool(args, PLK_STORAGE_COMMAND, &s);
    if (rc)
        return rc;
    if (open_file(&job, &err) < 0 || import_volume(&s, name, &job, &err) < 0)
        return plk_cli_fail(&err);
    if (plk_settings.json)
        return plk_print_volume_json(s.pool, name);
    plk_say(1, "Vol %s created from %s", name, job.file);
    return PLK_EXIT_OK;
}

static const PlkOption options[] = {
    PLK_THE_POOL,
    {OPT_NAME, "name", "NAME", "name of the new volume", true, true},
    {OPT_FILE, "file", "FILE", "the disk; - is standard input", true, true},
    {OPT_FORMAT, "format", "FORMAT", "of the volume: ploop (default), raw, qcow2"},
    {OPT_FROM, "from", "FORMAT", "of the file: raw, qcow2, ...; else its name tells"},
    {OPT_CAPACITY, "capacity", "SIZE", "size of the volume; else that of the disk"},
    {0},
};

static const char *const notes[] = {"The format of FILE is never guessed from what is in it.", NULL};

const PlkVerb plk_verb_import = {
    .name = "import",
    .options = options,
    .run = run,
    .help = "make a volume of a file",
    .notes = notes,
};
