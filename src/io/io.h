/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One vtable for file I/O and one gate in front of it.
 *
 * A PlkIo is an open file (or something that behaves like one: memory, a shim around another PlkIo).
 * Nobody above io/ calls a backend: everything passes the plk_io_* gate functions below, which
 *
 *  - assert what callers must keep (ranges that do not wrap, non-NULL buffers);
 *  - finish short transfers and retry EINTR, so backends may be as partial as system calls are;
 *  - read zeros beyond the end of the file;
 *  - refuse with -EPERM a data write, punch, clone or truncation that would touch metadata: bytes below
 *    `meta_end`, which only the metadata writer (points PLK_POINT_META_*) may change;
 *  - carry the name of the act (PlkPoint) to debug output and to the fault and recording shims;
 *  - remember a failed sync: from then on every write and sync fails with -EIO (a second fsync after
 *    a failed one may lie), until the file is opened anew.
 *
 * All gate functions return 0 or -errno. They allocate nothing on the way to a system call.
 * Threads: a PlkIo may be used from any number of threads at once; closing is the owner's.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct PlkIo PlkIo;

/* Named by meaning, so that a test can say "fail the header write that marks the image in use". */
typedef enum PlkPoint {
    PLK_POINT_NONE,
    PLK_POINT_OPEN_READ,  /* header and descriptor bytes read while opening */
    PLK_POINT_BAT_READ,   /* BAT page read */
    PLK_POINT_DATA_READ,  /* guest data read */
    PLK_POINT_DATA_WRITE, /* guest data written */
    PLK_POINT_DATA_ZERO,  /* zeros written or punched in place */
    PLK_POINT_DATA_COPY,  /* cluster copied: copy-up, merge, relocation */
    PLK_POINT_DATA_EXTEND, /* file grown for new clusters */
    PLK_POINT_DATA_SYNC,  /* data made durable before the BAT that names it */
    PLK_POINT_FREE_PUNCH, /* freed cluster given back, after its slot's clearing is durable */
    PLK_POINT_TAIL_TRUNCATE, /* unreferenced tail cut off */
    PLK_POINT_META_BAT,    /* BAT page written */
    PLK_POINT_META_HEADER, /* header written, marks unchanged */
    PLK_POINT_META_IN_USE, /* header written to mark the image in use */
    PLK_POINT_META_CLOSE,  /* header written to mark the image closed */
    PLK_POINT_META_INIT,   /* header and BAT area of a new image */
    PLK_POINT_META_SYNC,   /* metadata made durable */
    PLK_POINT_FILE_WRITE,  /* whole-file text: descriptor, lock file */
    PLK_POINT_FILE_SYNC,
    PLK_POINT_DIR_CREATE,
    PLK_POINT_DIR_RENAME,
    PLK_POINT_DIR_UNLINK,
    PLK_POINT_DIR_SYNC,
    PLK_POINT_COUNT,
} PlkPoint;

const char *plk_point_name(PlkPoint point); /* "data-write"; never NULL */

/* Which locks an opener takes on an image; the ranges are QEMU's, see io/lock.h. */
typedef enum PlkIoLock {
    PLK_IO_LOCK_NONE,
    PLK_IO_LOCK_SHARED,    /* reader, or lower delta: no writer may come */
    PLK_IO_LOCK_EXCLUSIVE, /* the one writer */
} PlkIoLock;

/*
 * Backend operations, each as partial as the system call it stands for. Required: all but those marked
 * optional, which return -EOPNOTSUPP where a backend or a filesystem has no such thing (NULL = the
 * same). Offsets and lengths have passed the gate.
 */
typedef struct PlkIoOps {
    size_t struct_size; /* sizeof(PlkIoOps); members are only ever appended */
    const char *name;   /* "file", "memory", "fault" */
    ssize_t (*read)(PlkIo *io, void *buf, size_t len, uint64_t off, PlkPoint point);
    ssize_t (*write)(PlkIo *io, const void *buf, size_t len, uint64_t off, PlkPoint point);
    int (*sync)(PlkIo *io, PlkPoint point); /* data and size durable */
    int (*size)(PlkIo *io, uint64_t *ret);
    int (*truncate)(PlkIo *io, uint64_t size, PlkPoint point);
    int (*punch)(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point);    /* optional; size is kept */
    int (*allocate)(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point); /* optional; extends */
    int (*clone_range)(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, uint64_t len,
                       PlkPoint point); /* optional: share blocks */
    ssize_t (*copy_range)(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, size_t len,
                          PlkPoint point); /* optional: copy in the kernel */
    /* The first run of data at or after off; *ret_start == *ret_end == size when there is none. */
    int (*next_data)(PlkIo *io, uint64_t off, uint64_t *ret_start, uint64_t *ret_end); /* optional */
    int (*lock)(PlkIo *io, PlkIoLock mode);      /* -EAGAIN when somebody else is in the way */
    int (*lock_test)(PlkIo *io, PlkIoLock mode); /* would lock() succeed? takes nothing */
    int (*drop_cache)(PlkIo *io);                /* optional: forget clean cached pages */
    int (*fd)(PlkIo *io);                        /* optional: the descriptor, or -EOPNOTSUPP */
    void (*close)(PlkIo *io);                    /* frees io */
} PlkIoOps;

/* Backends embed this first and allocate their own size. */
struct PlkIo {
    const PlkIoOps *ops;
    char *name;               /* for messages; freed by plk_io_close */
    _Atomic uint64_t meta_end; /* bytes below belong to the metadata writer; 0 = none */
    _Atomic bool poisoned;     /* a sync failed */
    bool writable;
    bool no_holes; /* zeros are written, not punched: the file is to keep real blocks everywhere */
};

/* For backends: fill the common part. name is copied; false when out of memory. */
bool plk_io_init(PlkIo *io, const PlkIoOps *ops, const char *name, bool writable);

/* Closes and frees; NULL is fine. Locks go with it. Does not sync. After a failed sync cached pages are dropped. */
void plk_io_close(PlkIo *io);
static inline void plk_io_closep(PlkIo **io)
{
    plk_io_close(*io);
}

/* ---- the gate ---- */

/* All of buf, zeros beyond the end of the file. */
int plk_io_read(PlkIo *io, void *buf, size_t len, uint64_t off, PlkPoint point);
/* As above, but *ret_len says how much the file really held. */
int plk_io_read_upto(PlkIo *io, void *buf, size_t len, uint64_t off, size_t *ret_len,
                     PlkPoint point);
int plk_io_write(PlkIo *io, const void *buf, size_t len, uint64_t off, PlkPoint point);
int plk_io_sync(PlkIo *io, PlkPoint point);
int plk_io_size(PlkIo *io, uint64_t *ret);
int plk_io_truncate(PlkIo *io, uint64_t size, PlkPoint point);

/*
 * [off, off+len) reads as zeros afterwards: by a hole if the filesystem can, else by writing zeros. The size
 * stays.
 */
int plk_io_zero(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point);
/* Give the space back; -EOPNOTSUPP where that is impossible (contents then unchanged). */
int plk_io_punch(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point);
/* Reserve space, contents kept, file extended; -EOPNOTSUPP possible. */
int plk_io_allocate(PlkIo *io, uint64_t off, uint64_t len, PlkPoint point);

/*
 * Copy len bytes: by reflink, else in the kernel, else through `bounce` (at least bounce_len bytes of
 * the caller's; at least 4096). Holes stay holes, as plk_io_zero() makes them. Source bytes beyond its end are zeros. dst may equal src (ranges must
 * not overlap); afterwards dst reaches at least to dst_off + len. A method that a pair of files refused
 * once is not tried again when *method, which starts as PLK_COPY_CLONE, is kept between calls; it may be NULL.
 */
typedef enum PlkCopyMethod { PLK_COPY_CLONE, PLK_COPY_RANGE, PLK_COPY_BOUNCE } PlkCopyMethod;
int plk_io_copy(PlkIo *dst, uint64_t dst_off, PlkIo *src, uint64_t src_off, uint64_t len,
                _Atomic int *method, void *bounce, size_t bounce_len, PlkPoint point);

/* Where data is; a backend that cannot tell says "all of it". */
int plk_io_next_data(PlkIo *io, uint64_t off, uint64_t *ret_start, uint64_t *ret_end);

int plk_io_lock(PlkIo *io, PlkIoLock mode);
int plk_io_lock_test(PlkIo *io, PlkIoLock mode);
int plk_io_drop_cache(PlkIo *io);
/*
 * Reads see the disk from now on, not pages that an earlier, failed sync left in the cache as if they were
 * written: what others wrote is synced, which may fail, and the cache dropped, where there is one. For a writable file.
 */
int plk_io_reload(PlkIo *io);
int plk_io_fd(PlkIo *io); /* descriptor for handing to a helper, or -EOPNOTSUPP */

/* Bytes [0, end) are metadata from now on. */
void plk_io_set_meta_end(PlkIo *io, uint64_t end);
