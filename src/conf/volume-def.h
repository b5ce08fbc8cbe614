/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A volume as its XML describes it: what a client asks for when it creates one, and what it is told about one
 * that is there. Pure. Printed, byte for byte, as libvirt 9.0 prints it.
 */
#pragma once

#include <time.h>

#include "conf/pool-def.h"

typedef enum PlkEncryption {
    PLK_ENCRYPTION_NONE = -1,
    PLK_ENCRYPTION_DEFAULT, PLK_ENCRYPTION_QCOW, PLK_ENCRYPTION_LUKS, PLK_ENCRYPTION_LUKS2
} PlkEncryption;

/* encryption as written; never acted on here but for its format. */
typedef struct PlkEncryptionDef {
    PlkEncryption format;
    char *engine;
    struct PlkSecret { char *type, *uuid, *usage; } *secrets;
    size_t n_secrets;
    char *cipher_name, *cipher_mode, *cipher_hash, *ivgen_name, *ivgen_hash;
    unsigned cipher_size;
} PlkEncryptionDef;

/* What stands inside <target> and inside <backingStore>. */
typedef struct PlkVolumeTarget {
    char *path;
    int format; /* PlkFileFormat for dir, fs, netfs and their like; else an index of plk_pool_volume_formats() */
    PlkPermissions permissions;
    bool has_times;
    struct timespec atime, mtime, ctime, btime;
    PlkEncryptionDef *encryption;
    char *compat;            /* "1.1", NULL */
    uint64_t cluster;        /* bytes, 0 = not given */
    bool nocow;              /* read, never printed */
    bool has_features;       /* print <features>, though nothing may stand in it */
    bool lazy_refcounts, extended_l2;
} PlkVolumeTarget;

typedef struct PlkVolumeDef {
    char *name, *key;
    PlkVolumeType type;
    bool has_capacity, has_allocation; /* given in the XML; in what is printed both always are */
    uint64_t capacity, allocation;     /* bytes */
    uint64_t physical;                 /* 0: not printed */
    PlkVolumeTarget target;
    PlkVolumeTarget *backing; /* NULL = none */
} PlkVolumeDef;

#define PLK_PARSE_OPT_CAPACITY 4u /* capacity may be missing (clones); it may be with a backingStore anyway */

/* pool: the kind of pool it is for, which fixes the formats. allocation is capacity when not given. */
int plk_volume_def_parse(const char *xml, PlkPoolType pool, unsigned flags, PlkVolumeDef **ret, PlkError *err);
char *plk_volume_def_format(const PlkVolumeDef *def, PlkPoolType pool); /* g_free */
PlkVolumeDef *plk_volume_def_new(const char *name, PlkFileFormat format, uint64_t capacity);
PlkVolumeDef *plk_volume_def_copy(const PlkVolumeDef *def);
void plk_volume_def_free(PlkVolumeDef *def);
static inline void plk_volume_def_freep(PlkVolumeDef **def)
{
    plk_volume_def_free(*def);
}

/* "<capacity unit='G'>": a number and a unit (NULL = bytes), as XML and virsh write them. OVERFLOW, UNIT, XML. */
int plk_scale_size(const char *number, const char *unit, uint64_t *ret, PlkError *err);
