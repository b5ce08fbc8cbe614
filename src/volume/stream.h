/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of one volume in motion, front to back. A reader asks for the next run (data or hole) and reads or
 * skips it; a writer writes data and holes. Data calls return 0 or -errno (read: bytes), allocate nothing, and
 * keep the first error: finish() repeats it.
 *
 * A hole over old data reads as zeros afterwards. Writing never shortens a file and never goes past `length`
 * (-ENOSPC past a fixed size is the file system's, -EFBIG ours). finish() syncs, does what the format needs
 * after new content (ploop: the descriptor, written anew atomically), and only then says 0.
 * close() frees; without finish() the volume keeps what was written, and who opened it knows that it is incomplete.
 * One thread at a time.
 */
#pragma once

#include "volume/volume.h"

typedef struct PlkStreamOps {
    ssize_t (*read)(PlkStream *s, void *buf, size_t len);
    int (*next)(PlkStream *s, bool *ret_data, uint64_t *ret_len); /* ret_len 0 = the end */
    int (*skip)(PlkStream *s, uint64_t len);                      /* reading: go on behind a hole */
    int (*write)(PlkStream *s, const void *buf, size_t len);
    int (*hole)(PlkStream *s, uint64_t len);
    int (*finish)(PlkStream *s, PlkError *err);
    void (*close)(PlkStream *s);
} PlkStreamOps;

struct PlkStream {
    const PlkStreamOps *ops;
    int fd;            /* bytes come from / go to here unchanged, at `position` of the file: for sendfile; -1 = no */
    uint64_t position; /* next byte, as an offset in the file or disk */
    uint64_t end;      /* UINT64_MAX = none */
    uint64_t size;     /* of the whole file or disk, when opened */
    int failed;        /* first -errno */
};

/* At most up to the end of the present run. 0 = the end. */
static inline ssize_t plk_stream_read(PlkStream *s, void *buf, size_t len)
{
    return s->ops->read(s, buf, len);
}
static inline int plk_stream_next(PlkStream *s, bool *ret_data, uint64_t *ret_len)
{
    return s->ops->next(s, ret_data, ret_len);
}
static inline int plk_stream_skip(PlkStream *s, uint64_t len)
{
    return s->ops->skip(s, len);
}
static inline int plk_stream_write(PlkStream *s, const void *buf, size_t len)
{
    return s->ops->write(s, buf, len);
}
static inline int plk_stream_hole(PlkStream *s, uint64_t len)
{
    return s->ops->hole(s, len);
}
static inline int plk_stream_finish(PlkStream *s, PlkError *err)
{
    return s->ops->finish(s, err);
}
static inline void plk_stream_close(PlkStream *s)
{
    if (s)
        s->ops->close(s);
}

/* The plain file behind fd (taken over), for raw and container streams. size: of the file now. */
int plk_stream_file(int fd, bool writing, uint64_t offset, uint64_t length, PlkStream **ret, PlkError *err);
