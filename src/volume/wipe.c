/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Overwriting: passes of a byte pattern or of random bytes, each on stable storage before the next begins, since
 * otherwise only the last would ever reach the disk. Some methods end with a look at what was written, past
 * the page cache.
 *
 * Only what takes room is written to; a hole has nothing to hide, and a sparse volume stays sparse. Whether a disk
 * keeps old sectors elsewhere, or the filesystem writes to new places, no program can know.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/math.h"
#include "volume/plain.h"

/* A multiple of three, so that patterns of three bytes go on from one write to the next. */
#define BUFFER (3u << 20)
#define TRIM_UNIT (1u << 20) /* at least a block of any filesystem */

/* Patterns are three bytes long. */
typedef struct Pass {
    enum { END, PATTERN, RANDOM, VERIFY } kind; /* VERIFY: of the pass before */
    unsigned char bytes[3];
} Pass;

#define EACH(b) {PATTERN, {b, b, b}}
#define THREE(a, b, c) {PATTERN, {a, b, c}}
#define R {RANDOM, {0}}

static const Pass zero[] = {EACH(0x00), {END}};
static const Pass nnsa[] = {R, R, EACH(0x00), {VERIFY}, {END}};
static const Pass dod[] = {R, EACH(0x00), EACH(0xff), {VERIFY}, {END}};
static const Pass bsi[] = {EACH(0xff), EACH(0xfe), EACH(0xfd), EACH(0xfb), EACH(0xf7),
                           EACH(0xef), EACH(0xdf), EACH(0xbf), EACH(0x7f), {END}};
static const Pass gutmann[] = {
    R, R, R, R,
    EACH(0x55), EACH(0xaa), THREE(0x92, 0x49, 0x24), THREE(0x49, 0x24, 0x92), THREE(0x24, 0x92, 0x49),
    EACH(0x00), EACH(0x11), EACH(0x22), EACH(0x33), EACH(0x44), EACH(0x55), EACH(0x66), EACH(0x77),
    EACH(0x88), EACH(0x99), EACH(0xaa), EACH(0xbb), EACH(0xcc), EACH(0xdd), EACH(0xee), EACH(0xff),
    THREE(0x92, 0x49, 0x24), THREE(0x49, 0x24, 0x92), THREE(0x24, 0x92, 0x49),
    THREE(0x6d, 0xb6, 0xdb), THREE(0xb6, 0xdb, 0x6d), THREE(0xdb, 0x6d, 0xb6),
    R, R, R, R, {END}};
static const Pass schneier[] = {EACH(0x00), EACH(0xff), R, R, R, R, R, {END}};
static const Pass pfitzner7[] = {R, R, R, R, R, R, R, {END}};
static const Pass pfitzner33[] = {R, R, R, R, R, R, R, R, R, R, R, R, R, R, R, R, R,
                                  R, R, R, R, R, R, R, R, R, R, R, R, R, R, R, R, {END}};
static const Pass random_bytes[] = {R, {END}};

static const Pass *const methods[] = {
    [PLK_WIPE_ZERO] = zero,           [PLK_WIPE_NNSA] = nnsa,         [PLK_WIPE_DOD] = dod,
    [PLK_WIPE_BSI] = bsi,             [PLK_WIPE_GUTMANN] = gutmann,   [PLK_WIPE_SCHNEIER] = schneier,
    [PLK_WIPE_PFITZNER7] = pfitzner7, [PLK_WIPE_PFITZNER33] = pfitzner33, [PLK_WIPE_RANDOM] = random_bytes,
};

typedef struct Wipe {
    int fd;
    uint64_t size;
    PlkPace pace;
    uint64_t state[4];      /* of the random generator */
    unsigned char *bytes;   /* BUFFER of what this pass writes */
    unsigned char *readback; /* BUFFER */
} Wipe;

/* ---- bytes ---- */

static uint64_t rotate(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

/* xoshiro256**, seeded by the kernel: nobody is to guess it from the disk, and it keeps up with disks. */
static uint64_t next_random(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

static void fill(Wipe *w, const Pass *pass)
{
    uint64_t *words = (uint64_t *)w->bytes;

    if (pass->kind == RANDOM) {
        for (size_t i = 0; i < BUFFER / sizeof *words; i++)
            words[i] = next_random(w->state);
        return;
    }
    for (size_t i = 0; i < BUFFER; i += 3)
        memcpy(w->bytes + i, pass->bytes, 3);
}

/* ---- where data lies ---- */

/* The next stretch that takes room, from `at` on; false when there is none. */
static bool next_run(const Wipe *w, uint64_t at, uint64_t *ret_start, uint64_t *ret_end)
{
    off_t start = lseek(w->fd, (off_t)at, SEEK_DATA), end = (off_t)w->size;

    if (start < 0 && errno != ENXIO)
        start = (off_t)at; /* a filesystem that knows no holes */
    else if (start >= 0)
        end = lseek(w->fd, start, SEEK_HOLE);
    if (at >= w->size || start < 0 || (uint64_t)start >= w->size)
        return false;
    *ret_start = (uint64_t)start;
    *ret_end = end < start ? w->size : PLK_MIN((uint64_t)end, w->size);
    return true;
}

/* What a pass does with one piece: `len` bytes at `at`, at most BUFFER of them and from a multiple of it. */
typedef int Touch(Wipe *w, uint64_t at, size_t len);

static int overwrite(Wipe *w, uint64_t at, size_t len)
{
    const unsigned char *from = w->bytes + at % BUFFER;

    for (ssize_t n; len; from += n, at += (uint64_t)n, len -= (size_t)n) {
        n = pwrite(w->fd, from, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n < 0)
            return -errno;
    }
    return 0;
}

static int verify(Wipe *w, uint64_t at, size_t len)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = pread(w->fd, w->readback + got, len - got, (off_t)(at + got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        got += (size_t)n;
    }
    return memcmp(w->readback, w->bytes + at % BUFFER, len) ? -EIO : 0;
}

static int touch_all(Wipe *w, Touch *touch, const Pass *pass)
{
    uint64_t at, end = 0;
    int r = 0;

    while (r == 0 && next_run(w, end, &at, &end)) {
        for (uint64_t len; r == 0 && at < end; at += len) {
            len = PLK_MIN(end - at, BUFFER - at % BUFFER);
            if (pass->kind == RANDOM)
                fill(w, pass);
            r = touch(w, at, len);
            if (r == 0)
                r = plk_pace(&w->pace, len);
        }
    }
    return r;
}

static int run_pass(Wipe *w, const Pass *pass)
{
    int r;

    if (pass->kind == VERIFY) {
        (void)!posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
        /* No reading ahead: room that was never written would be in memory then, and looks like data. */
        (void)!posix_fadvise(w->fd, 0, 0, POSIX_FADV_RANDOM);
        return touch_all(w, verify, pass);
    }
    fill(w, pass);
    r = touch_all(w, overwrite, pass);
    if (r == 0 && fdatasync(w->fd) < 0)
        r = -errno;
    return r;
}

/* ---- all of it ---- */

static uint64_t bytes_with_room(const Wipe *w)
{
    uint64_t sum = 0, start, end = 0;

    while (next_run(w, end, &start, &end))
        sum += end - start;
    return sum;
}

static unsigned count_passes(const Pass *passes)
{
    unsigned n = 0;

    while (passes[n].kind != END)
        n++;
    return n;
}

static int run_all(Wipe *w, const Pass *passes)
{
    int r = 0;

    w->pace.total = bytes_with_room(w) * count_passes(passes);
    for (; r == 0 && passes->kind != END; passes++)
        r = run_pass(w, passes);
    return r;
}

static int wipe_by(Wipe *w, const Pass *passes)
{
    int r = -ENOMEM;

    w->bytes = plk_malloc(BUFFER);
    w->readback = plk_malloc(BUFFER);
    if (w->bytes && w->readback)
        r = getrandom(w->state, sizeof w->state, 0) == sizeof w->state ? run_all(w, passes) : -EIO;
    free(w->bytes);
    free(w->readback);
    return r;
}

/* The filesystem hands the blocks back, and to the disk as far as it passes discards on. */
static int trim(const PlkPlace *at, Wipe *w, PlkError *err)
{
    uint64_t blocks = PLK_MIN(plk_round_up(w->size, TRIM_UNIT), INT64_MAX); /* the last one whole */

    if (w->size && fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)blocks) < 0) {
        if (errno == EOPNOTSUPP)
            return plk_fail(err, PLK_ERROR_NO_ALGORITHM, "'%s/%s': its filesystem cannot trim", at->dir_path,
                            at->name);
        return plk_fail_io(err, PLK_ERROR_WRITE, -errno, "cannot trim '%s/%s'", at->dir_path, at->name);
    }
    return plk_plain_finish(at, w->fd, NULL, err);
}

int plk_plain_wipe(const PlkPlace *at, int fd, PlkWipe how, const PlkProgress *progress, PlkError *err)
{
    Wipe w = {.fd = fd, .pace = {.progress = progress, .what = "wiping"}};
    struct stat st;
    int r;

    if (how < 0 || how >= PLK_WIPE_ALGORITHMS)
        return plk_fail(err, PLK_ERROR_NO_ALGORITHM, "there is no wiping algorithm %d", (int)how);
    if (fstat(fd, &st) < 0)
        return plk_fail_io(err, PLK_ERROR_STAT, -errno, "'%s/%s'", at->dir_path, at->name);
    w.size = (uint64_t)st.st_size;
    if (how == PLK_WIPE_TRIM)
        return trim(at, &w, err);
    r = wipe_by(&w, methods[how]);
    if (r < 0)
        return plk_fail_io(err, PLK_ERROR_WRITE, r, "'%s/%s' is not wiped completely", at->dir_path, at->name);
    return 0;
}
