/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploopctl vol upload and download: bytes into a volume and out of it. An upload that does not end leaves the
 * volume marked incomplete; a download that does not end leaves no new file.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "pump.h"
#include "vol.h"
#include "volume/publish.h"

typedef struct Window {
    uint64_t offset, length; /* length 0: all there is */
    PlkStreamWhat what;
    bool sparse;
} Window;

static int window_of(const PlkArgs *args, Window *ret)
{
    *ret = (Window){
        .what = plk_arg_given(args, OPT_DISK) ? PLK_STREAM_DISK : PLK_STREAM_CONTAINER,
        .sparse = plk_arg_given(args, OPT_SPARSE),
    };
    if (plk_arg_uint(args, OPT_OFFSET, INT64_MAX, &ret->offset) ||
        plk_arg_uint(args, OPT_LENGTH, INT64_MAX, &ret->length))
        return PLK_EXIT_USAGE;
    return 0;
}

static bool is_dash(const char *file)
{
    return strcmp(file, "-") == 0;
}

/* ---- upload ---- */

static int upload(const PlkSession *s, int fd, const char *name, const Window *w, PlkError *err)
{
    PlkStream *stream;
    int rc;

    if (plk_pool_upload(s->pool, s->volume, w->what, w->offset, w->length, &stream, err) < 0)
        return -1;
    rc = plk_pump_in(fd, name, stream, w->length ? w->length : UINT64_MAX, w->sparse, err);
    if (rc == 0)
        rc = plk_stream_finish(stream, err);
    plk_stream_close(stream);
    return rc;
}

static int run_upload(const PlkArgs *args)
{
    const char *file = plk_arg(args, OPT_FILE);
    PLK_CLOSE int opened = -1;
    PLK_SESSION s = {0};
    Window w;
    PlkError err;
    int rc = window_of(args, &w);

    if (rc)
        return rc;
    if (!is_dash(file)) {
        opened = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (opened < 0) {
            plk_fail_errno(&err, PLK_ERROR_NOT_FOUND, errno, "cannot open '%s'", file);
            return plk_cli_fail(&err);
        }
    }
    rc = plk_need_volume(args, PLK_STORAGE_COMMAND, &s);
    if (rc)
        return rc;
    if (upload(&s, opened < 0 ? STDIN_FILENO : opened, opened < 0 ? "standard input" : file, &w, &err) < 0)
        return plk_cli_fail(&err);
    return PLK_EXIT_OK;
}

/* ---- download ---- */

/* How much there is to come, for the bar alone. */
static uint64_t expected(const PlkStream *stream, const Window *w)
{
    uint64_t left = stream->size > w->offset ? stream->size - w->offset : 0;

    return w->length ? PLK_MIN(left, w->length) : left;
}

static int download(const PlkSession *s, int fd, const char *name, const Window *w, PlkError *err)
{
    PlkStream *stream;
    int rc;

    if (plk_pool_download(s->pool, s->volume, w->what, w->offset, w->length, &stream, err) < 0)
        return -1;
    rc = plk_pump_out(stream, fd, name, expected(stream, w), w->sparse, err);
    if (rc == 0)
        rc = plk_stream_finish(stream, err);
    plk_stream_close(stream);
    return rc;
}

/* What is neither absent nor a regular file (a device, a pipe) is written as it stands. */
static int download_to(const PlkSession *s, const char *file, const Window *w, PlkError *err)
{
    PLK_PUBLISH_AUTO PlkPublish published = PLK_PUBLISH_INIT;
    PLK_CLOSE int fd = -1;
    struct stat st;

    if (is_dash(file))
        return download(s, STDOUT_FILENO, "standard output", w, err);
    if (stat(file, &st) < 0 || S_ISREG(st.st_mode)) {
        if (plk_publish_begin(file, true, &published, err) < 0 || download(s, published.fd, file, w, err) < 0)
            return -1;
        return plk_publish_commit(&published, err);
    }
    fd = open(file, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return plk_fail_errno(err, PLK_ERROR_OPEN, errno, "cannot open '%s'", file);
    return download(s, fd, file, w, err);
}

static int run_download(const PlkArgs *args)
{
    const char *file = plk_arg(args, OPT_FILE);
    PLK_SESSION s = {0};
    Window w;
    PlkError err;
    int rc = window_of(args, &w);

    if (rc)
        return rc;
    if (is_dash(file) && isatty(STDOUT_FILENO))
        return plk_cli_param("a volume does not go to a terminal; name a file");
    rc = plk_need_volume(args, PLK_STORAGE_COMMAND, &s);
    if (rc)
        return rc;
    return download_to(&s, file, &w, &err) < 0 ? plk_cli_fail(&err) : PLK_EXIT_OK;
}

#define WINDOW_OPTIONS                                                                                       \
    {OPT_OFFSET, "offset", "BYTES", "where in the volume to begin", false, true},                            \
        {OPT_LENGTH, "length", "BYTES", "how much; all there is by default", false, true},                   \
        {OPT_SPARSE, "sparse", NULL, "holes stay holes"},                                                    \
    {                                                                                                        \
        OPT_DISK, "disk", NULL, "ploop: the disk as a raw image, not root.hds"                               \
    }

static const PlkOption upload_options[] = {
    PLK_THE_VOLUME,
    {OPT_FILE, "file", "FILE", "where the bytes come from; - is standard input", true, true},
    PLK_ITS_POOL,
    WINDOW_OPTIONS,
    {0},
};
static const char *const upload_notes[] = {
    "An upload that does not end leaves the volume incomplete: upload again, wipe",
    "it, or say 'ploopctl vol accept'.",
    NULL,
};

static const PlkOption download_options[] = {
    PLK_THE_VOLUME,
    {OPT_FILE, "file", "FILE", "where the bytes go; - is standard output", true, true},
    PLK_ITS_POOL,
    WINDOW_OPTIONS,
    {0},
};

const PlkVerb plk_verb_vol_upload = {
    .name = "upload",
    .options = upload_options,
    .run = run_upload,
    .help = "write a file into a volume",
    .notes = upload_notes,
};

const PlkVerb plk_verb_vol_download = {
    .name = "download",
    .options = download_options,
    .run = run_download,
    .help = "write a volume to a file",
};
