/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploopctl export: a volume's contents as a file in another format, or the files inside a ploop volume as a
 * tar archive. The volume is held against changes from beginning to end; what is at FILE stays until the
 * result is whole and on stable storage.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <ploopkit/filesystem.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "ctl.h"
#include "pump.h"
#include "volume/publish.h"
#include "volume/qemu-img.h"
#include "volume/qemu.h"
#include "volume/transfer.h"

typedef struct ExportJob {
    PlkVolume *volume;
    char *path;
    PlkStream *stream; /* holds the volume; its bytes are the active state's */
    const char *file, *format;
    char snapshot[39]; /* "" = the active state */
    bool force;
} ExportJob;

static void job_clear(ExportJob *job)
{
    plk_stream_close(job->stream);
    plk_volume_unrefp(&job->volume);
    g_free(job->path);
}

static bool is_ploop(const ExportJob *job)
{
    return job->volume->facts.type == PLK_VOLUME_PLOOP;
}

/* The stream's bytes are the disk's. */
static bool is_plain(const ExportJob *job)
{
    return job->volume->facts.format == PLK_FILE_RAW || job->volume->facts.format == PLK_FILE_ISO ||
           is_ploop(job);
}

static int open_disk(const ExportJob *job, PlkDisk **ret, PlkError *err)
{
    PlkDiskOptions options = {.struct_size = sizeof(options),
                              .refuse_dirty = true,
                              .snapshot = *job->snapshot ? job->snapshot : NULL};

    return plk_disk_open(job->path, &options, ret, err);
}

static int snapshot_to_file(const ExportJob *job, int fd, PlkError *err)
{
    PlkDisk *disk;
    int rc;

    if (open_disk(job, &disk, err) < 0)
        return -1;
    rc = plk_disk_to_file(disk, fd, job->file, plk_cli_progress(), err);
    plk_disk_close(disk, NULL);
    return rc;
}

/* QEMU is shown the files of an image one by one and opens no other. */
static int foreign_to_file(const ExportJob *job, int fd, PlkError *err)
{
    g_autofree char *directory = g_path_get_dirname(job->path);
    PLK_CLOSE int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    PlkVolumeOrigin from = {.place = {dir, directory, job->volume->name}, .facts = &job->volume->facts};

    if (dir < 0)
        return plk_fail_errno(err, PLK_ERROR_OPEN, errno, "cannot open '%s'", directory);
    return plk_qemu_convert_to_raw(&from, fd, plk_cli_progress(), err);
}

static int raw_to_file(const ExportJob *job, int fd, PlkError *err)
{
    if (*job->snapshot)
        return snapshot_to_file(job, fd, err);
    if (is_plain(job))
        return plk_pump_out(job->stream, fd, job->file, job->stream->size, true, err);
    return foreign_to_file(job, fd, err);
}

static int export_raw(const ExportJob *job, PlkError *err)
{
    PLK_PUBLISH_AUTO PlkPublish file = PLK_PUBLISH_INIT;

    if (plk_publish_begin(job->file, job->force, &file, err) < 0 || raw_to_file(job, file.fd, err) < 0)
        return -1;
    return plk_publish_commit(&file, err);
}

/* Through a sparse raw file beside FILE: QEMU reads no chains of ploop's. */
static int export_image(const ExportJob *job, PlkError *err)
{
    PLK_PUBLISH_AUTO PlkPublish file = PLK_PUBLISH_INIT, raw = PLK_PUBLISH_INIT;
    g_autofree char *name = g_strconcat(job->file, ".raw", NULL);

    if (plk_qemu_img_find(err) < 0 || plk_publish_begin_named(job->file, job->force, &file, err) < 0 ||
        plk_publish_begin_named(name, true, &raw, err) < 0 ||
        plk_need_space(raw.fd, job->file, 2 * job->volume->facts.allocation, err) < 0 ||
        raw_to_file(job, raw.fd, err) < 0 ||
        plk_qemu_img_convert("raw", raw.temp, job->format, file.temp, plk_cli_progress(), err) < 0)
        return -1;
    return plk_publish_commit(&file, err);
}

static int export_tar(const ExportJob *job, PlkError *err)
{
    PLK_PUBLISH_AUTO PlkPublish file = PLK_PUBLISH_INIT;
    bool out = strcmp(job->file, "-") == 0;
    PlkDisk *disk;
    int rc;

    if (!is_ploop(job))
        return plk_fail(err, PLK_ERROR_NOT_THIS_FORMAT,
                        "'%s': only the files inside a ploop volume can be packed", job->path);
    if (!out && plk_publish_begin(job->file, job->force, &file, err) < 0)
        return -1;
    if (open_disk(job, &disk, err) < 0)
        return -1;
    rc = plk_filesystem_export_tar(disk, out ? STDOUT_FILENO : file.fd, plk_cli_progress(), err);
    plk_disk_close(disk, NULL);
    return rc < 0 || out ? rc : plk_publish_commit(&file, err);
}

static int export_stdout(const ExportJob *job, PlkError *err)
{
    if (strcmp(job->format, "raw") != 0 || !is_plain(job) || *job->snapshot)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "only a tar archive, or the active state of a ploop or raw volume as raw, goes to "
                        "standard output");
    return plk_pump_out(job->stream, STDOUT_FILENO, "standard output", job->stream->size, false, err);
}

static int hold(const PlkSession *s, ExportJob *job, PlkError *err)
{
    if (plk_pool_volume(s->pool, s->volume, &job->volume, err) < 0)
        return -1;
    job->path = plk_pool_volume_path(s->pool, s->volume);
    if (*job->snapshot && !is_ploop(job))
        return plk_fail(err, PLK_ERROR_NO_SNAPSHOT, "'%s' is no ploop volume and has no snapshots",
                        job->path);
    return plk_pool_download(s->pool, s->volume, is_ploop(job) ? PLK_STREAM_DISK : PLK_STREAM_CONTAINER, 0, 0,
                             &job->stream, err);
}

static int export_volume(const ExportJob *job, PlkError *err)
{
    if (strcmp(job->format, "tar") == 0)
        return export_tar(job, err);
    if (strcmp(job->file, "-") == 0)
        return export_stdout(job, err);
    return strcmp(job->format, "raw") == 0 ? export_raw(job, err) : export_image(job, err);
}

static int run(const PlkArgs *args)
{
    PLK_SESSION s = {0}; /* before what is open in it, so that it ends last */
    plk_cleanup(job_clear)
        ExportJob job = {.file = plk_arg(args, OPT_FILE), .force = plk_arg_given(args, OPT_FORCE)};
    PlkError err;
    int rc = plk_arg_guid(args, OPT_SNAPSHOT, job.snapshot);

    if (rc)
        return rc;
    job.format = plk_arg(args, OPT_FORMAT) ? plk_arg(args, OPT_FORMAT) : "raw";
    if (strcmp(job.format, "tar") != 0 && plk_name_index(plk_file_format_names, job.format) < PLK_FILE_RAW)
        return plk_arg_bad(args, OPT_FORMAT, "raw, qcow2, another format of qemu-img's, or tar");
    if (strcmp(job.file, "-") == 0 && isatty(STDOUT_FILENO))
        return plk_cli_param("a volume does not go to a terminal; name a file");
    rc = plk_need_volume(args, PLK_STORAGE_COMMAND, &s);
    if (rc)
        return rc;
    if (hold(&s, &job, &err) < 0 || export_volume(&job, &err) < 0)
        return plk_cli_fail(&err);
    return PLK_EXIT_OK;
}

static const PlkOption options[] = {
    PLK_THE_VOLUME,
    {OPT_FILE, "file", "FILE", "the file to write; - is standard output", true, true},
    PLK_ITS_POOL,
    {OPT_FORMAT, "format", "FORMAT", "raw (default), qcow2, ...; tar: the files inside"},
    {OPT_SNAPSHOT, "snapshot", "UUID", "ploop: this state instead of the active one"},
    {OPT_FORCE, "force", NULL, "replace FILE if it exists"},
    {0},
};

const PlkVerb plk_verb_export = {
    .name = "export",
    .options = options,
    .run = run,
    .help = "write a volume's contents to a file of another format",
};
