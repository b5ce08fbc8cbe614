/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop copy: one image to a new file; or through a pipe, whose ends may be hosts apart: the sender, and the receiver,
 * which also takes what an OpenVZ host sends. Anybody may be at the other end: sizes and places are bounded.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ploopkit/disk.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/crc64.h"
#include "base/error.h"
#include "base/math.h"
#include "cli.h"
#include "copy-stream.h"
#include "look.h"
#include "offline.h"
#include "volume/publish.h"
#include "volume/transfer.h"

#define RECORD_MAX (64u << 20)

enum { OPT_VERIFY = PLK_LONG_ONLY };

typedef struct Receiver {
    int in, feedback, out;
    const char *name;
    char *buf;
    size_t room;
    uint64_t crc;   /* of all records so far */
    bool verify;    /* read again from the disk what was written */
    bool checked;   /* the sender has given a checksum, and it was right */
    bool unchecked; /* something came after it */
} Receiver;

/* ---- receive ---- */

static int write_at(const Receiver *r, size_t len, uint64_t at, PlkError *err)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pwrite(r->out, r->buf + done, len - done, (off_t)(at + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return plk_fail_io(err, PLK_ERROR_WRITE, -(n ? errno : EIO), "cannot write '%s'", r->name);
        done += (size_t)n;
    }
    return 0;
}

static int answer_sync(const Receiver *r, PlkError *err)
{
    if (fdatasync(r->out) < 0)
        return plk_fail_errno(err, PLK_ERROR_SYNC, errno, "cannot sync '%s'", r->name);
    if (r->feedback >= 0 && write(r->feedback, PLK_STREAM_ANSWER, strlen(PLK_STREAM_ANSWER)) !=
                                (ssize_t)strlen(PLK_STREAM_ANSWER))
        return plk_fail_errno(err, PLK_ERROR_WRITE, errno, "cannot answer the sender");
    return 0;
}

static int make_room(Receiver *r, size_t size, PlkError *err)
{
    char *buf;

    if (size <= r->room)
        return 0;
    buf = plk_realloc(r->buf, size, 1);
    if (!buf)
        return plk_fail_nomem(err);
    r->buf = buf;
    r->room = size;
    return 0;
}

static int take_check(Receiver *r, uint64_t crc, PlkError *err)
{
    if (crc != r->crc)
        return plk_fail(err, PLK_ERROR_FORMAT, "Stream corrupted: what arrives is not what was sent");
    r->checked = true;
    r->unchecked = false;
    return answer_sync(r, err);
}

static int take_data(Receiver *r, const PlkStreamRecord *head, size_t size, uint64_t at, PlkError *err)
{
    PlkLe32 word;

    if (size == PLK_STREAM_SYNC) {
        memcpy(&word, r->buf, sizeof word);
        if (plk_le32(word) == PLK_STREAM_CHECK)
            return take_check(r, at, err);
    }
    r->crc = plk_crc64(plk_crc64(r->crc, head, sizeof *head), r->buf, size);
    r->unchecked = r->checked;
    if (size == PLK_STREAM_SYNC)
        return answer_sync(r, err);
    if (write_at(r, size, at, err) < 0)
        return -1;
    return r->verify ? plk_verify_piece(r->out, r->name, r->buf, size, at, err) : 0;
}

/* 1 for more, 0 at the end. */
static int receive_record(Receiver *r, PlkError *err)
{
    PlkStreamRecord head;
    uint64_t at, end;
    size_t size;

    if (plk_copy_read(r->in, &head, sizeof(head), err) < 0)
        return -1;
    size = plk_le32(head.size);
    at = plk_le64(head.position);
    /* The place of a check is a checksum. */
    if (plk_le32(head.mark) != PLK_STREAM_MARK || size > RECORD_MAX ||
        (size != PLK_STREAM_SYNC && (PLK_ADD_OVERFLOW(at, (uint64_t)size, &end) || end > INT64_MAX)) ||
        (size == 0 && r->unchecked))
        return plk_fail(err, PLK_ERROR_FORMAT, "Stream corrupted");
    if (size == 0)
        return 0;
    if (make_room(r, size, err) < 0 || plk_copy_read(r->in, r->buf, size, err) < 0 ||
        take_data(r, &head, size, at, err) < 0)
        return -1;
    return 1;
}

static int receive_all(Receiver *r, PlkError *err)
{
    int more;

    do
        more = receive_record(r, err);
    while (more > 0);
    free(r->buf);
    r->buf = NULL;
    return more;
}

static bool is_stream(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

static int receive(const PlkArgs *args)
{
    PLK_PUBLISH_AUTO PlkPublish file = PLK_PUBLISH_INIT;
    uint64_t in = STDIN_FILENO, feedback = UINT64_MAX;
    Receiver r = {.name = plk_arg(args, 'd')};
    PlkError err;

    if (plk_arg_uint(args, 'i', 1 << 20, &in) || plk_arg_uint(args, 'f', 1 << 20, &feedback))
        return PLK_EXIT_PARAM;
    if (!is_stream((int)in))
        return plk_cli_param("the input of copy must be a pipe or a socket");
    if (plk_publish_begin(r.name, false, &file, &err) < 0)
        return plk_cli_fail(&err);
    r.in = (int)in;
    r.feedback = feedback == UINT64_MAX ? -1 : (int)feedback;
    r.out = file.fd;
    r.verify = plk_arg_given(args, OPT_VERIFY);
    if (receive_all(&r, &err) < 0) {
        plk_complain("%s", err.message);
        return err.code == PLK_ERROR_FORMAT ? PLK_EXIT_PROTOCOL : plk_exit_code(err.code);
    }
    return plk_publish_commit(&file, &err) < 0 ? plk_cli_fail(&err) : PLK_EXIT_OK;
}

/* ---- file to file ---- */

static int copy_locked(const char *source, const char *target, bool verify, PlkError *err)
{
    PLK_PUBLISH_AUTO PlkPublish file = PLK_PUBLISH_INIT;
    PLK_CLOSE int in = open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (in < 0)
        return plk_fail_errno(err, PLK_ERROR_OPEN, errno, "cannot open '%s'", source);
    if (plk_publish_begin(target, false, &file, err) < 0 ||
        plk_file_to_file(in, source, file.fd, target, plk_cli_progress(), err) < 0 ||
        (verify && plk_verify_files(in, source, file.fd, target, err) < 0))
        return -1;
    return plk_publish_commit(&file, err);
}

static int send_locked(const PlkArgs *args, const char *source, PlkError *err)
{
    uint64_t out = STDOUT_FILENO, feedback = UINT64_MAX;
    PLK_CLOSE int in = open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (in < 0)
        return plk_fail_errno(err, PLK_ERROR_OPEN, errno, "cannot open '%s'", source);
    if (plk_arg_uint(args, 'o', 1 << 20, &out) || plk_arg_uint(args, 'f', 1 << 20, &feedback) ||
        !is_stream((int)out))
        return plk_fail(err, PLK_ERROR_ARGUMENT, "copy sends to a pipe or a socket only");
    return plk_copy_send(in, source, (int)out, feedback == UINT64_MAX ? -1 : (int)feedback, err);
}

/* Opened as a disk for the sake of its lock: a copy of an image that is being written would be a torn one. */
static int copy_file(const PlkArgs *args, const char *source, const char *target)
{
    PlkDiskOptions options = {.struct_size = sizeof(options), .refuse_dirty = true};
    PlkDisk *disk;
    PlkError err;
    int rc = PLK_EXIT_OK;

    if (target) /* else the stream may be our output */
        plk_say(0, "Opening delta %s", source);
    if (plk_disk_open(source, &options, &disk, &err) < 0)
        return plk_cli_fail(&err);
    if ((target ? copy_locked(source, target, plk_arg_given(args, OPT_VERIFY), &err)
                : send_locked(args, source, &err)) < 0)
        rc = plk_cli_fail(&err);
    plk_disk_close(disk, NULL);
    return rc;
}

static int run(const PlkArgs *args)
{
    const char *source = plk_arg(args, 's'), *target = plk_arg(args, 'd');
    struct stat st;

    if (!source && !target)
        return plk_cli_param("copy needs -s, -d or both");
    if (!source)
        return receive(args);
    if (plk_arg_given(args, 'F') || (target && plk_arg_given(args, 'o')) ||
        (stat(source, &st) == 0 && S_ISBLK(st.st_mode)))
        return plk_offline_only(args->name, "from a device");
    if (plk_is_descriptor(source))
        return plk_cli_param("copy takes one image; use export for the contents of a disk");
    return copy_file(args, source, target);
}

static const PlkOption options[] = {
    {'s', NULL, "DELTA", "the image to copy"},
    {'d', NULL, "FILE", "the copy; must not exist"},
    {'i', NULL, "FD", "without -s: receive from this descriptor (0)"},
    {'f', NULL, "FD", "answer the sender, or wait for the receiver's answer, here"},
    {'o', NULL, "FD", "without -d: send to this descriptor (1)"},
    {'F', NULL, "COMMAND", NULL},
    {OPT_VERIFY, "verify", NULL, "read the copy again from the disk, and compare"},
    {0},
};

static const char *const notes[] = {
    "With -s and -d one image is copied, holes kept. With -s alone it is sent, with a",
    "checksum; with -d alone a stream is received, also that of another host's",
    "`ploop copy -s DEVICE`. Streams go through a pipe or socket. A copy whose",
    "checksum is wrong does not get its name.",
    NULL,
};

const PlkVerb plk_verb_copy = {
    .name = "copy",
    .options = options,
    .run = run,
    .help = "copy an image, or receive one from a pipe",
    .notes = notes,
};
