/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploop map: a picture of the disk, by which image holds what. Takes no lock. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "cli.h"
#include "look.h"
#include "picture.h"
#include "volume/publish.h"

#define DEFAULT_WIDTH 64

enum { OPT_SVG = PLK_LONG_ONLY, OPT_WIDTH, OPT_FORCE };

static int write_svg(const PlkPicture *picture, PlkDisk *disk, const char *path, bool force, PlkError *err)
{
    PLK_PUBLISH_AUTO PlkPublish file = PLK_PUBLISH_INIT;
    FILE *out;
    int fd, failed;

    if (plk_publish_begin(path, force, &file, err) < 0)
        return -1;
    fd = dup(file.fd);
    out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out) {
        if (fd >= 0)
            close(fd);
        return plk_fail_errno(err, PLK_ERROR_WRITE, errno, "cannot write '%s'", path);
    }
    plk_picture_draw_svg(picture, disk, out);
    failed = ferror(out);
    if (fclose(out) != 0 || failed)
        return plk_fail_errno(err, PLK_ERROR_WRITE, errno, "cannot write '%s'", path);
    return plk_publish_commit(&file, err);
}

static int draw(const PlkArgs *args, PlkDisk *disk, unsigned width)
{
    const char *svg = plk_arg(args, OPT_SVG);
    PlkPicture picture;
    PlkError err;
    int rc = PLK_EXIT_OK;

    if (plk_picture_take(disk, width, plk_cli_progress(), &picture, &err) < 0)
        return plk_cli_fail(&err);
    plk_progress_clear();
    if (!svg)
        plk_picture_draw_text(&picture, disk, isatty(STDOUT_FILENO) && !getenv("NO_COLOR"));
    else if (write_svg(&picture, disk, svg, plk_arg_given(args, OPT_FORCE), &err) < 0)
        rc = plk_cli_fail(&err);
    plk_picture_clear(&picture);
    return rc;
}

static int run(const PlkArgs *args)
{
    uint64_t width = DEFAULT_WIDTH;
    PlkDisk *disk;
    PlkError err;
    int rc;

    if (plk_arg_uint(args, OPT_WIDTH, 1000, &width))
        return PLK_EXIT_PARAM;
    if (width == 0)
        return plk_cli_param("--width must be above 0");
    if (plk_cli_open(args->operands[0], false, &disk, &err) < 0)
        return plk_cli_fail(&err);
    rc = draw(args, disk, (unsigned)width);
    plk_disk_close(disk, NULL);
    return rc;
}

static const PlkOption options[] = {
    {OPT_SVG, "svg", "FILE", "write the picture to this file"},
    {OPT_WIDTH, "width", "N", "cells in a row (64)"},
    {OPT_FORCE, "force", NULL, "replace FILE if it exists"},
    {0},
};

static const char *const notes[] = {
    "A cell shows the image that holds most of it. NO_COLOR=1 gives letters on a",
    "terminal too.",
    NULL,
};

const PlkVerb plk_verb_map = {
    .name = "map",
    .min = 1,
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = options,
    .run = run,
    .help = "draw which image holds which part of the disk",
    .notes = notes,
};
