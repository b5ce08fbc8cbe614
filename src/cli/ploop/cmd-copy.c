/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ploop copy: one image to a new file, or the receiving end of a copy that an OpenVZ host sends through a
 * pipe.
 *
 * The stream is records of a 16-byte little-endian header and its data; the last one has no data. A record of
 * 4 bytes asks for a sync, which is answered on the feedback descriptor. Anybody may be at the other end:
 * sizes and places are bounded.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ploopkit/disk.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/error.h"
#include "base/math.h"
#include "cli.h"
#include "look.h"
#include "offline.h"
#include "publish.h"
#include "transfer.h"

#define RECORD_MARK 0x4cc0ac3du
#define RECORD_MAX (64u << 20)
#define SYNC_SIZE 4
#define SYNC_ANSWER "SUCCESS\n"

typedef struct __attribute__((packed)) Record {
    PlkLe32 mark, size;
    PlkLe64 position;
} Record;
_Static_assert(sizeof(Record) == 16, "header of a record");

typedef struct Receiver {
    int in, feedback, out;
    const char *name;
    char *buf;
    size_t room;
} Receiver;

/* ---- receive ---- */

/* Waits in poll(), so that a signal ends the wait for a sender that has gone quiet. */
static int read_all(int fd, void *buf, size_t len, PlkError *err)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t have = 0;

    while (have < len) {
        ssize_t n;

        if (plk_cancelled())
            return plk_fail(err, PLK_ERROR_CANCELLED, "copy: cancelled");
        if (poll(&p, 1, 1000) <= 0)
            continue;
        n = read(fd, (char *)buf + have, len - have);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return plk_fail_errno(err, PLK_ERROR_READ, n ? errno : 0,
                                  "the sender is gone before the end of the copy");
        have += (size_t)n;
    }
    return 0;
}

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
    if (r->feedback >= 0 &&
        write(r->feedback, SYNC_ANSWER, strlen(SYNC_ANSWER)) != (ssize_t)strlen(SYNC_ANSWER))
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

/* 1 for more, 0 at the end. */
static int receive_record(Receiver *r, PlkError *err)
{
    Record head;
    uint64_t at, end;
    size_t size;

    if (read_all(r->in, &head, sizeof(head), err) < 0)
        return -1;
    size = plk_le32(head.size);
    at = plk_le64(head.position);
    if (plk_le32(head.mark) != RECORD_MARK || size > RECORD_MAX ||
        PLK_ADD_OVERFLOW(at, (uint64_t)size, &end) || end > INT64_MAX)
        return plk_fail(err, PLK_ERROR_FORMAT, "Stream corrupted");
    if (size == 0)
        return 0;
    if (make_room(r, size, err) < 0 || read_all(r->in, r->buf, size, err) < 0)
        return -1;
    if ((size == SYNC_SIZE ? answer_sync(r, err) : write_at(r, size, at, err)) < 0)
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
    if (receive_all(&r, &err) < 0) {
        plk_complain("%s", err.message);
        return err.code == PLK_ERROR_FORMAT ? PLK_EXIT_PROTOCOL : plk_exit_code(err.code);
    }
    return plk_publish_commit(&file, &err) < 0 ? plk_cli_fail(&err) : PLK_EXIT_OK;
}

/* ---- file to file ---- */

static int copy_locked(const char *source, const char *target, PlkError *err)
{
    PLK_PUBLISH_AUTO PlkPublish file = PLK_PUBLISH_INIT;
    PLK_CLOSE int in = open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (in < 0)
        return plk_fail_errno(err, PLK_ERROR_OPEN, errno, "cannot open '%s'", source);
    if (plk_publish_begin(target, false, &file, err) < 0 ||
        plk_file_to_file(in, source, file.fd, target, plk_cli_progress(), err) < 0)
        return -1;
    return plk_publish_commit(&file, err);
}

/* Opened as a disk for the sake of its lock: a copy of an image that is being written would be a torn one. */
static int copy_file(const char *source, const char *target)
{
    PlkDiskOptions options = {.struct_size = sizeof(options), .refuse_dirty = true};
    PlkDisk *disk;
    PlkError err;
    int rc = PLK_EXIT_OK;

    plk_say(0, "Opening delta %s", source);
    if (plk_disk_open(source, &options, &disk, &err) < 0)
        return plk_cli_fail(&err);
    if (copy_locked(source, target, &err) < 0)
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
    if (!target || plk_arg_given(args, 'o') || plk_arg_given(args, 'F') ||
        (stat(source, &st) == 0 && S_ISBLK(st.st_mode)))
        return plk_offline_only(args->name, "from a device");
    if (plk_is_descriptor(source))
        return plk_cli_param("copy takes one image; use export for the contents of a disk");
    return copy_file(source, target);
}

static const PlkOption options[] = {
    {'s', NULL, "DELTA", "the image to copy"},
    {'d', NULL, "FILE", "the copy; must not exist"},
    {'i', NULL, "FD", "without -s: receive from this descriptor (0)"},
    {'f', NULL, "FD", "without -s: answer the sender on this descriptor"},
    {'o', NULL, "FD", NULL},
    {'F', NULL, "COMMAND", NULL},
    {0},
};

static const char *const notes[] = {
    "With -s one image is copied, holes kept. Without it the stream of another",
    "host's `ploop copy -s DEVICE` is received; it must come from a pipe or socket.",
    NULL,
};

const PlkVerb plk_verb_copy = {
    .name = "copy",
    .options = options,
    .run = run,
    .help = "copy an image, or receive one from a pipe",
    .notes = notes,
};
