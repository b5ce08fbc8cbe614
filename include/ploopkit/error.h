/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors.
 *
 * Control-path functions take `PlkError *err` last and return 0, or -1 with *err filled in. err may
 * be NULL when the caller does not care. A function never reads *err, and leaves it alone on success.
 * The struct is plain data: no ownership, nothing to free, copy it by assignment. Each message is one
 * line that names the object and the attempted act and, where there is one, the way out.
 *
 * Data-path functions (read, write, flush, ...) return 0 or a negative errno value and say nothing;
 * plk_error_from_errno() is the one seam between the two worlds.
 */
#ifndef PLOOPKIT_ERROR_H
#define PLOOPKIT_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#define PLK_API __attribute__((visibility("default"))) /* exported by libploopkit.so */

/* What went wrong, by who can mend it. Values are stable; new ones are appended. */
typedef enum PlkErrorCode {
    PLK_OK = 0,
    PLK_ERROR_ARGUMENT,    /* the caller asked for something that makes no sense */
    PLK_ERROR_UNSUPPORTED, /* it makes sense, but not here (version, filesystem, missing helper) */
    PLK_ERROR_FORMAT,      /* an image lies: damaged or hostile contents */
    PLK_ERROR_DESCRIPTOR,  /* the same for DiskDescriptor.xml */
    PLK_ERROR_DIRTY,       /* the image was not closed; a check comes first */
    PLK_ERROR_LOCKED,      /* somebody else holds the image or the descriptor */
    PLK_ERROR_BUSY,        /* in use inside this process or by an operation that excludes this one */
    PLK_ERROR_EXISTS,      /* would overwrite something */
    PLK_ERROR_NOT_FOUND,   /* file or directory is absent */
    PLK_ERROR_NO_SNAPSHOT, /* no snapshot of that GUID */
    PLK_ERROR_NO_SPACE,    /* device, quota or format limit exhausted */
    PLK_ERROR_NO_MEMORY,
    PLK_ERROR_CANCELLED, /* the progress callback said stop */
    PLK_ERROR_OPEN,      /* the device or the kernel failed, by operation */
    PLK_ERROR_CREATE,
    PLK_ERROR_READ,
    PLK_ERROR_WRITE,
    PLK_ERROR_SYNC,
    PLK_ERROR_TRUNCATE,
    PLK_ERROR_ALLOCATE,
    PLK_ERROR_STAT,
    PLK_ERROR_RENAME,
    PLK_ERROR_UNLINK,
    PLK_ERROR_LOCK_CALL, /* the lock call itself failed, as opposed to LOCKED */
    PLK_ERROR_HELPER,    /* a helper program could not be run or failed in an unnamed way */
    PLK_ERROR_MKFS,
    PLK_ERROR_FSCK,
    PLK_ERROR_RESIZE_FS,
    PLK_ERROR_PARTITION, /* reading or writing the GPT */
    PLK_ERROR_INTERNAL,  /* a bug of ours, caught */
    /* Pools, volumes and their definitions. Each stands for one error of libvirt's: conf/libvirt-error.h */
    PLK_ERROR_XML,            /* a definition is well-formed but says something impossible */
    PLK_ERROR_XML_SYNTAX,     /* it is not well-formed, or breaks a limit */
    PLK_ERROR_XML_SCHEMA,     /* it breaks the schema, and validation was asked for */
    PLK_ERROR_UNIT,           /* a size has an unknown unit */
    PLK_ERROR_OVERFLOW,       /* a size is beyond 2^63-1 */
    PLK_ERROR_CONFIG,         /* a definition asks for what cannot be combined or is not known */
    PLK_ERROR_NO_POOL,        /* no such storage pool */
    PLK_ERROR_NO_VOLUME,      /* no such volume in its pool */
    PLK_ERROR_VOLUME_EXISTS,  /* there is one of that name */
    PLK_ERROR_STATE,          /* not in this state of the pool or volume: inactive, in use, incomplete */
    PLK_ERROR_REFUSED,        /* makes sense, but collides with something: a duplicate, no room */
    PLK_ERROR_NO_SUPPORT,     /* this kind of pool or volume cannot do it at all */
    PLK_ERROR_NO_ALGORITHM,   /* this way of wiping does not exist here */
    PLK_ERROR_NOT_THIS_FORMAT, /* this format cannot do it (allocate on resize of qcow2) */
    PLK_ERROR_PROBE,          /* what a device holds could not be found out */
    PLK_ERROR_BUILT,          /* the device holds something already */
    PLK_ERROR_READ_ONLY,      /* a read-only connection, or somebody else owns the state */
    PLK_ERROR_SYSTEM,         /* a system call failed that has no code of its own above; errnum says why */
    PLK_ERROR_RPC,            /* a peer on the wire breaks the protocol, or asks for what is not there */
    PLK_ERROR_AUTH,           /* a peer could not show who it is */
    PLK_ERROR_AUTH_UNAVAILABLE, /* ... since nobody could be asked for a password */
    PLK_ERROR_DENIED,         /* access control says no */
} PlkErrorCode;

typedef struct PlkError {
    PlkErrorCode code;
    int errnum;         /* the errno value behind it, positive, or 0 */
    char message[1024]; /* one line, UTF-8, no trailing newline, control characters escaped */
} PlkError;

/* A short stable English word for a code ("corrupt image", "locked"); never NULL. */
PLK_API const char *plk_error_name(PlkErrorCode code);

#ifdef __cplusplus
}
#endif
#endif
