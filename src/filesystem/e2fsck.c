/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "filesystem/e2fsck.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "host/run.h"
#include "view/view.h"

/* e2fsck(8): below 4 all is well now; 1 says that errors were corrected, 2 that a mounted system should be
 * rebooted. */
#define FSCK_ERRORS_LEFT 4

static int run_on_view(PlkView *view, const char *program, const char *const *args,
                       const PlkProgress *progress, PlkRunResult *ret, PlkError *err)
{
    PlkRun run = {
        .program = program,
        .args = args,
        .fds = plk_view_fd(view),
        .fd_count = 1,
        .progress = progress,
    };

    return plk_run(&run, ret, err);
}

/* e2fsck's first complaint: its last line is only statistics. */
static int fail_fsck(const PlkRunResult *result, PlkError *err)
{
    const char *line = result->output;
    size_t len = strcspn(line, "\n");

    while (line[len] && (len == 0 || !strncmp(line, "e2fsck ", 7) || !strncmp(line, "Pass ", 5))) {
        line += len + 1;
        len = strcspn(line, "\n");
    }
    return plk_fail(err, PLK_ERROR_FSCK, "the filesystem in the disk has errors (e2fsck status %d): %.*s",
                    result->status, (int)PLK_MIN(len, 300), line);
}

/* Looked for before anything is made for it to work on. */
static int open_view(PlkDisk *disk, const PlkPartition *part, const char *program, bool writable,
                     PlkView **ret, PlkError *err)
{
    char path[PLK_PROGRAM_PATH_MAX];

    if (plk_find_program(program, path, err))
        return -1;
    return plk_view_open(disk, part->offset, part->length, writable, ret, err);
}

static int end_view(PlkView *view, int failed, PlkError *err)
{
    return failed ? plk_view_fail(view, err) : plk_view_close(view, err);
}

int plk_e2fsck(PlkDisk *disk, const PlkPartition *part, PlkFsckMode mode, const PlkProgress *progress,
               PlkError *err)
{
    PlkView *view;
    PlkRunResult result = {0};
    bool repair = mode == PLK_FSCK_REPAIR;
    int rc;

    if (open_view(disk, part, "e2fsck", repair, &view, err))
        return -1;
    const char *args[] = {"-f", repair ? "-p" : "-n", "--", plk_view_path(view), NULL};
    rc = run_on_view(view, "e2fsck", args, progress, &result, err);
    if (!rc && result.status >= FSCK_ERRORS_LEFT)
        rc = fail_fsck(&result, err);
    plk_run_result_clear(&result);
    return end_view(view, rc, err);
}

int plk_resize2fs(PlkDisk *disk, const PlkPartition *part, uint64_t kib, const PlkProgress *progress,
                  PlkError *err)
{
    PlkView *view;
    PlkRunResult result = {0};
    char size[32];
    int rc;

    if (open_view(disk, part, "resize2fs", true, &view, err))
        return -1;
    snprintf(size, sizeof size, "%" PRIu64 "K", kib);
    const char *args[] = {"--", plk_view_path(view), kib ? size : NULL, NULL};
    rc = run_on_view(view, "resize2fs", args, progress, &result, err);
    if (!rc && result.status)
        rc = plk_run_fail(&(PlkRun){.program = "resize2fs"}, &result, PLK_ERROR_RESIZE_FS, err);
    plk_run_result_clear(&result);
    return end_view(view, rc, err);
}
