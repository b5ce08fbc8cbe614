/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names of kinds, and the table of what pool types differ in. The order of every list is libvirt's: it is seen in
 * capabilities, and files keep the names.
 */
#include "conf/format.h"

#include <string.h>

#include "conf/pool-type.h"

const char *const plk_pool_type_names[] = {
    "dir", "fs", "netfs", "logical", "disk", "iscsi", "iscsi-direct", "scsi", "mpath", "rbd", "sheepdog",
    "gluster", "zfs", "vstorage", NULL};

const char *const plk_volume_type_names[] = {"file", "block", "dir", "network", "netdir", "ploop", NULL};

const char *const plk_file_format_names[] = {
    "none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "cow", "qcow",
    "qcow2", "qed", "vmdk", NULL};

static const char *const filesystems[] = {
    "auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "xfs", "ocfs2", "vmfs",
    NULL};
static const char *const network_filesystems[] = {"auto", "nfs", "glusterfs", "cifs", NULL};
static const char *const volume_groups[] = {"unknown", "lvm2", NULL};
static const char *const labels[] = {"unknown", "dos", "dvh", "gpt", "mac", "bsd", "pc98", "sun", "lvm2", NULL};
static const char *const partitions[] = {
    "none", "linux", "fat16", "fat32", "linux-swap", "linux-lvm", "linux-raid", "extended", NULL};

#define FILES {plk_file_format_names, PLK_FILE_RAW, PLK_FILE_RAW}

static const PlkPoolTraits traits[PLK_POOL_TYPES] = {
    [PLK_POOL_DIR] = {.cow = true, .volume_format = FILES},
    [PLK_POOL_FS] = {
        .source = PLK_SOURCE_DEVICE, .cow = true, .options = "fs",
        .source_format = {filesystems}, .volume_format = FILES},
    [PLK_POOL_NETFS] = {
        .source = PLK_SOURCE_HOST | PLK_SOURCE_DIR, .options = "fs",
        .source_format = {network_filesystems}, .volume_format = FILES},
    [PLK_POOL_LOGICAL] = {
        .source = PLK_SOURCE_NAME | PLK_SOURCE_DEVICE, .target_in = "/dev/", .source_format = {volume_groups, 1}},
    [PLK_POOL_DISK] = {
        .source = PLK_SOURCE_DEVICE, .source_format = {labels}, .volume_format = {partitions}},
    [PLK_POOL_ISCSI] = {.source = PLK_SOURCE_HOST | PLK_SOURCE_DEVICE | PLK_SOURCE_INITIATOR},
    [PLK_POOL_ISCSI_DIRECT] = {
        .source = PLK_SOURCE_HOST | PLK_SOURCE_DEVICE | PLK_SOURCE_INITIATOR, .remote = true},
    [PLK_POOL_SCSI] = {.source = PLK_SOURCE_ADAPTER},
    [PLK_POOL_RBD] = {
        .source = PLK_SOURCE_HOST | PLK_SOURCE_NAME, .remote = true, .options = "rbd",
        .volume_format = {plk_file_format_names, PLK_FILE_RAW, PLK_FILE_RAW, .unlisted = true}},
    [PLK_POOL_SHEEPDOG] = {.source = PLK_SOURCE_HOST | PLK_SOURCE_NAME, .remote = true},
    [PLK_POOL_GLUSTER] = {
        .source = PLK_SOURCE_HOST | PLK_SOURCE_DIR | PLK_SOURCE_NAME, .remote = true, .volume_format = FILES},
    [PLK_POOL_ZFS] = {.source = PLK_SOURCE_NAME | PLK_SOURCE_DEVICE, .target_in = "/dev/zvol/"},
    [PLK_POOL_VSTORAGE] = {.source = PLK_SOURCE_NAME, .volume_format = FILES},
};

const PlkPoolTraits *plk_pool_traits(PlkPoolType type)
{
    return &traits[type];
}

int plk_name_index(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -2;
}

const char *const *plk_pool_source_formats(PlkPoolType type, int *ret_default)
{
    *ret_default = traits[type].source_format.by_default;
    return traits[type].source_format.names;
}

const char *const *plk_pool_volume_formats(PlkPoolType type, int *ret_default)
{
    *ret_default = traits[type].volume_format.by_default;
    return traits[type].volume_format.names;
}
