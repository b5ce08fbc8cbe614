/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mounts and block devices of this machine, through libmount and libblkid. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <ploopkit/error.h>

/* What is mounted on `target` (topmost); false = nothing. Strings are malloc'd. */
typedef struct PlkMount {
    char *source, *type, *options;
} PlkMount;
int plk_mount_find(const char *target, bool *ret_found, PlkMount *ret, PlkError *err);
void plk_mount_clear(PlkMount *mount);

/* options: "a,b=c"; type NULL = found out. SYSTEM with the kernel's or the helper's reason. */
int plk_mount(const char *source, const char *target, const char *type, const char *options, PlkError *err);
int plk_umount(const char *target, PlkError *err);

/*
 * A process that has something beneath `target` open, is in it or runs from it; its name into ret_name. 0 = none that we may
 * see. Asks nothing of the filesystem itself.
 */
pid_t plk_mount_user(const char *target, char *ret_name, size_t size);

/* What a device or image holds: "ext4", "xfs", a partition table's name, "" = nothing known. PROBE on failure. */
int plk_blkid_probe(const char *device, char *ret_type, size_t size, PlkError *err);
