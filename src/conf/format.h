/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The names of kinds: pool types, volume types, formats of files and of pool sources. Numbers and order are
 * libvirt's, which fixes the order of lists in its capabilities.
 */
#pragma once

#include <stddef.h>

typedef enum PlkPoolType {
    PLK_POOL_DIR, PLK_POOL_FS, PLK_POOL_NETFS, PLK_POOL_LOGICAL, PLK_POOL_DISK, PLK_POOL_ISCSI,
    PLK_POOL_ISCSI_DIRECT, PLK_POOL_SCSI, PLK_POOL_MPATH, PLK_POOL_RBD, PLK_POOL_SHEEPDOG, PLK_POOL_GLUSTER,
    PLK_POOL_ZFS, PLK_POOL_VSTORAGE, PLK_POOL_TYPES
} PlkPoolType;

typedef enum PlkVolumeType {
    PLK_VOLUME_FILE, PLK_VOLUME_BLOCK, PLK_VOLUME_DIR, PLK_VOLUME_NETWORK, PLK_VOLUME_NETDIR, PLK_VOLUME_PLOOP,
    PLK_VOLUME_TYPES
} PlkVolumeType;

/* Of files. "auto" exists only for backing files whose format nobody wrote down. */
typedef enum PlkFileFormat {
    PLK_FILE_AUTO = -1,
    PLK_FILE_NONE, PLK_FILE_RAW, PLK_FILE_DIR, PLK_FILE_BOCHS, PLK_FILE_CLOOP, PLK_FILE_DMG, PLK_FILE_ISO,
    PLK_FILE_VPC, PLK_FILE_VDI, PLK_FILE_FAT, PLK_FILE_VHD, PLK_FILE_PLOOP, PLK_FILE_COW, PLK_FILE_QCOW,
    PLK_FILE_QCOW2, PLK_FILE_QED, PLK_FILE_VMDK, PLK_FILE_FORMATS
} PlkFileFormat;

/* NULL-terminated lists of names in enum order; the number of a name, or -2 when it is none of them. */
extern const char *const plk_pool_type_names[];
extern const char *const plk_volume_type_names[];
extern const char *const plk_file_format_names[];
int plk_name_index(const char *const *names, const char *name);

/*
 * What may stand in a pool's source/format and in target/format of its volumes: NULL where the type has no such
 * element. The numbers of a PlkPoolDef.source.format index the first list.
 */
const char *const *plk_pool_source_formats(PlkPoolType type, int *ret_default);
const char *const *plk_pool_volume_formats(PlkPoolType type, int *ret_default);
