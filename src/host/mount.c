/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mounts and block devices. The table is the kernel's own (/proc/self/mountinfo); /etc/fstab and /etc/mtab have no
 * say. libmount calls the helpers a network filesystem needs (mount.nfs, mount.glusterfs).
 */
#include <blkid/blkid.h>
#include <errno.h>
#include <libmount/libmount.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "host/mount.h"

void plk_mount_clear(PlkMount *mount)
{
    free(mount->source);
    free(mount->type);
    free(mount->options);
    *mount = (PlkMount){0};
}

static int copy_mount(struct libmnt_fs *fs, PlkMount *ret, PlkError *err)
{
    const char *source = mnt_fs_get_source(fs), *type = mnt_fs_get_fstype(fs), *options = mnt_fs_get_options(fs);
    PlkMount mount = {plk_strdup(source ? source : ""), plk_strdup(type ? type : ""),
                      plk_strdup(options ? options : "")};

    if (!mount.source || !mount.type || !mount.options) {
        plk_mount_clear(&mount);
        return plk_fail_nomem(err);
    }
    *ret = mount;
    return 0;
}

int plk_mount_find(const char *target, bool *ret_found, PlkMount *ret, PlkError *err)
{
    struct libmnt_table *table = mnt_new_table();
    struct libmnt_fs *fs;
    int result = 0;

    if (!table)
        return plk_fail_nomem(err);
    errno = 0;
    if (mnt_table_parse_file(table, "/proc/self/mountinfo") != 0) {
        mnt_unref_table(table);
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errno ? errno : EIO, "cannot read the list of mounts");
    }
    /* Without a cache the names are compared as they are: no stat that a dead server could hold. */
    fs = mnt_table_find_target(table, target, MNT_ITER_BACKWARD);
    if (fs)
        result = copy_mount(fs, ret, err);
    mnt_unref_table(table);
    if (result == 0)
        *ret_found = fs != NULL;
    return result;
}

static int fail_mount(struct libmnt_context *context, int rc, const char *act, const char *target, PlkError *err)
{
    char reason[512] = "";
    int errnum = mnt_context_get_syscall_errno(context);

    mnt_context_get_excode(context, rc, reason, sizeof(reason));
    if (errnum < 0)
        errnum = -errnum;
    if (reason[0] == '\0')
        return plk_fail_errno(err, PLK_ERROR_SYSTEM, errnum ? errnum : EIO, "cannot %s '%s'", act, target);
    plk_error_set(err, PLK_ERROR_SYSTEM, "cannot %s '%s': %s", act, target, reason);
    if (err)
        err->errnum = errnum;
    return -1;
}

int plk_mount(const char *source, const char *target, const char *type, const char *options, PlkError *err)
{
    struct libmnt_context *context = mnt_new_context();
    int rc, result = 0;

    if (!context)
        return plk_fail_nomem(err);
    if (mnt_context_set_source(context, source) != 0 || mnt_context_set_target(context, target) != 0 ||
        mnt_context_set_optsmode(context, MNT_OMODE_NOTAB) != 0 ||
        (type && mnt_context_set_fstype(context, type) != 0) ||
        (options && mnt_context_set_options(context, options) != 0)) {
        mnt_free_context(context);
        return plk_fail_nomem(err);
    }
    mnt_context_disable_mtab(context, 1);
    rc = mnt_context_mount(context);
    if (rc != 0 || !mnt_context_get_status(context))
        result = fail_mount(context, rc, "mount", target, err);
    mnt_free_context(context);
    return result;
}

int plk_umount(const char *target, PlkError *err)
{
    struct libmnt_context *context = mnt_new_context();
    int rc, result = 0;

    if (!context)
        return plk_fail_nomem(err);
    if (mnt_context_set_target(context, target) != 0) {
        mnt_free_context(context);
        return plk_fail_nomem(err);
    }
    mnt_context_disable_mtab(context, 1);
    rc = mnt_context_umount(context);
    if (rc != 0 || !mnt_context_get_status(context))
        result = fail_mount(context, rc, "unmount", target, err);
    mnt_free_context(context);
    return result;
}

/* 1 = nothing found, 0 = *ret_name (belongs to the probe), negative: an error or signatures of several kinds. */
static int look(blkid_probe probe, const char **ret_name)
{
    const char *name;
    int rc;

    blkid_probe_enable_superblocks(probe, 1);
    blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
    blkid_probe_enable_partitions(probe, 1);
    rc = blkid_do_safeprobe(probe);
    if (rc != 0)
        return rc;
    if (blkid_probe_lookup_value(probe, "TYPE", &name, NULL) != 0 &&
        blkid_probe_lookup_value(probe, "PTTYPE", &name, NULL) != 0)
        return 1;
    *ret_name = name;
    return 0;
}

int plk_blkid_probe(const char *device, char *ret_type, size_t size, PlkError *err)
{
    const char *name = "";
    blkid_probe probe;
    int rc;

    errno = 0;
    probe = blkid_new_probe_from_filename(device);
    if (!probe)
        return plk_fail_errno(err, PLK_ERROR_PROBE, errno ? errno : EIO, "cannot probe '%s'", device);
    rc = look(probe, &name);
    if (rc >= 0)
        snprintf(ret_type, size, "%s", name);
    blkid_free_probe(probe);
    if (rc == -2)
        return plk_fail(err, PLK_ERROR_PROBE, "'%s' carries signatures of several kinds; look with wipefs", device);
    return rc < 0 ? plk_fail_errno(err, PLK_ERROR_PROBE, errno ? errno : EIO, "cannot probe '%s'", device) : 0;
}
