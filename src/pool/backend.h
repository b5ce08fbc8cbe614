/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A kind of pool: what start, stop, build and delete mean for it. One file each in pool/backends/, ending in a const
 * table; backend.c lists them. All that is about files in the directory is the same for every kind and stands in pool/.
 * Called in a pool's turn, with no other lock but the state lock held. What looks at the target is given up on after
 * PLK_PATIENCE_MS (backends/target.c): SYSTEM with ETIMEDOUT. A mount, its end and mkfs are waited for, since to give
 * up on them would leave open what they did; that holds up nobody but who wants to change the same pool.
 */
#pragma once

#include "pool/storage.h"

typedef struct PlkBackend {
    PlkPoolType type;
    /* Is what it needs on this machine? NULL = always. */
    bool (*supported)(void);
    /* 0: it is up already (mounted with the matching source; dir: the target exists) -> *ret_up. */
    int (*check)(const PlkPoolDef *def, bool *ret_up, PlkError *err);
    int (*start)(const PlkPoolDef *def, PlkError *err);
    int (*stop)(const PlkPoolDef *def, PlkError *err);
    int (*build)(const PlkPoolDef *def, unsigned flags, PlkError *err); /* NULL: NO_SUPPORT, as the others */
    int (*remove)(const PlkPoolDef *def, unsigned flags, PlkError *err);
    /* See plk_storage_find_sources(); NULL: NO_SUPPORT. */
    int (*find_sources)(const char *spec_xml, const PlkProgress *progress, char **ret_xml, PlkError *err);
} PlkBackend;

extern const PlkBackend plk_backend_dir, plk_backend_fs, plk_backend_netfs, plk_backend_vstorage;

/* NULL for types that this driver does not have; *err then says so as libvirt does. */
const PlkBackend *plk_backend(PlkPoolType type, PlkError *err);

int plk_netfs_find(const char *spec_xml, const PlkProgress *progress, char **ret_xml, PlkError *err); /* netfs-find.c */

/* What the kinds share (backends/target.c). build: the directory with mode (0711 if none is given), owner and label; one that is
 * there stays, and gets what is given. remove: rmdir. */
int plk_target_build(const PlkPoolDef *def, PlkError *err);
/* STATE if the flags ask to write on a device and the pool has none. */
int plk_target_check_flags(const PlkPoolDef *def, unsigned flags, PlkError *err);
int plk_target_remove(const PlkPoolDef *def, unsigned flags, PlkError *err);
/* An open directory; SYSTEM. */
int plk_target_open(const PlkPoolDef *def, int *ret_fd, PlkError *err);
/* Where it is without links, malloc'd; NULL if there is nothing. */
int plk_target_resolve(const PlkPoolDef *def, char **ret, PlkError *err);

/* STATE naming who keeps it busy, if that is known. */
int plk_target_unmount(const PlkPoolDef *def, PlkError *err);

/* backends/allowed.c. Refuses "/", "/etc", relative paths and the like, unless under one of `roots`; 23 of the attack list. */
int plk_target_allowed(const PlkPoolDef *def, const char *const *roots, PlkError *err);
