/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POSIX ACLs: libarchive's list of entries <-> the binary form that the kernel and libext2fs give and take as
 * attributes "system.posix_acl_access" and "system.posix_acl_default".
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <archive_entry.h>

#include <ploopkit/error.h>

#define PLK_ACL_ACCESS "system.posix_acl_access"
#define PLK_ACL_DEFAULT "system.posix_acl_default"

/*
 * The ACL of one type (ARCHIVE_ENTRY_ACL_TYPE_ACCESS or _DEFAULT) as a malloc'd attribute value; *ret is NULL
 * when the entry has none beyond its mode. GNU tar writes names without numbers; they get the number this host
 * has for them, ARGUMENT when it has none.
 */
int plk_acl_encode(struct archive_entry *entry, int type, void **ret, size_t *ret_len, PlkError *err);

/* Adds the attribute's entries to `entry`. FORMAT when the value is no ACL. */
int plk_acl_decode(struct archive_entry *entry, int type, const void *value, size_t len, PlkError *err);
