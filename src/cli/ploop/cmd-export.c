/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop export: a disk's contents as one raw or qcow2 file, or the files inside it as a tar archive. What is
 * at OUT stays until the result is whole and on stable storage.
 */
#include <string.h>
#include <unistd.h>

#include <ploopkit/filesystem.h>

#include "base/error.h"
#include "cli.h"
#include "look.h"
#include "volume/publish.h"
#include "volume/qemu-img.h"
#include "volume/transfer.h"

enum { OPT_TO = PLK_LONG_ONLY, OPT_FORCE };

typedef struct ExportJob {
    PlkDisk *disk;
    const char *out;
    bool force;
} ExportJob;

static int export_raw(const ExportJob *job, PlkError *err)
{
    PLK_PUBLISH_AUTO PlkPublish file = PLK_PUBLISH_INIT;

    if (plk_publish_begin(job->out, job->force, &file, err) < 0 ||
        plk_disk_to_file(job->disk, file.fd, job->out, plk_cli_progress(), err) < 0)
        return -1;
    return plk_publish_commit(&file, err);
}

/* QEMU does not read chains, so the contents go through a sparse raw file beside OUT; room for both is asked
 * for first. */
static int export_qcow2(const ExportJob *job, PlkError *err)
{
    PLK_PUBLISH_AUTO PlkPublish file = PLK_PUBLISH_INIT, raw = PLK_PUBLISH_INIT;
    char raw_name[4096];
    PlkDiskInfo info;

    if (snprintf(raw_name, sizeof(raw_name), "%s.raw", job->out) >= (int)sizeof(raw_name))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "'%s' is too long", job->out);
    if (plk_disk_info(job->disk, &info, err) < 0 || plk_qemu_img_find(err) < 0 ||
        plk_publish_begin_named(job->out, job->force, &file, err) < 0 ||
        plk_publish_begin_named(raw_name, true, &raw, err) < 0 ||
        plk_need_space(file.fd, job->out, 2 * info.allocated, err) < 0 ||
        plk_disk_to_file(job->disk, raw.fd, raw_name, plk_cli_progress(), err) < 0 ||
        plk_qemu_img_convert("raw", raw.temp, "qcow2", file.temp, plk_cli_progress(), err) < 0)
        return -1;
    return plk_publish_commit(&file, err);
}

static int export_tar(const ExportJob *job, PlkError *err)
{
    PLK_PUBLISH_AUTO PlkPublish file = PLK_PUBLISH_INIT;

    if (strcmp(job->out, "-") == 0) {
        if (isatty(STDOUT_FILENO))
            return plk_fail(err, PLK_ERROR_ARGUMENT, "an archive does not go to a terminal; name a file");
        return plk_filesystem_export_tar(job->disk, STDOUT_FILENO, plk_cli_progress(), err);
    }
    if (plk_publish_begin(job->out, job->force, &file, err) < 0)
        return -1;
    if (plk_filesystem_export_tar(job->disk, file.fd, plk_cli_progress(), err) < 0) {
        plk_error_prefix(err, "'%s': ", job->out);
        return -1;
    }
    return plk_publish_commit(&file, err);
}

static int open_and_export(const PlkArgs *args, int (*run_job)(const ExportJob *job, PlkError *err))
{
    PlkDiskOptions options = {.struct_size = sizeof(options), .root = plk_root, .refuse_dirty = true};
    ExportJob job = {.out = args->operands[1], .force = plk_arg_given(args, OPT_FORCE)};
    char guid[39] = "";
    PlkError err;
    int rc = PLK_EXIT_OK;

    if (plk_arg_guid(args, 'u', guid))
        return PLK_EXIT_PARAM;
    options.snapshot = guid[0] ? guid : NULL;
    if (plk_disk_open(args->operands[0], &options, &job.disk, &err) < 0)
        return plk_cli_fail(&err);
    if (run_job(&job, &err) < 0)
        rc = plk_cli_fail(&err);
    plk_disk_close(job.disk, NULL);
    return rc;
}

static int run(const PlkArgs *args)
{
    static const struct {
        const char *format;
        int (*run_job)(const ExportJob *job, PlkError *err);
    } formats[] = {{"raw", export_raw}, {"qcow2", export_qcow2}, {"tar", export_tar}};
    const char *to = plk_arg(args, OPT_TO);

    if (!to)
        to = "raw";
    if (strcmp(args->operands[1], "-") == 0 && strcmp(to, "tar") != 0)
        return plk_cli_param("only a tar archive goes to standard output; a file of that name is './-'");
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
        if (strcmp(formats[i].format, to) == 0)
            return open_and_export(args, formats[i].run_job);
    return plk_cli_param("Incorrect format specified: %s (raw, qcow2 or tar)", to);
}

static const PlkOption options[] = {
    {OPT_TO, "to", "FORMAT", "raw (default): the disk; qcow2: the same; tar: the files inside"},
    {'u', "uuid", "UUID", "the state of this snapshot instead of the active one"},
    {OPT_FORCE, "force", NULL, "replace OUT if it exists"},
    {0},
};

static const char *const notes[] = {"OUT - sends a tar archive to standard output.", NULL};

const PlkVerb plk_verb_export = {
    .name = "export",
    .min = 2,
    .max = 2,
    .operands = "DiskDescriptor.xml OUT",
    .options = options,
    .run = run,
    .help = "write a disk's contents to a file",
    .notes = notes,
};
