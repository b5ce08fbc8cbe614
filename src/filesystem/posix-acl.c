/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "filesystem/posix-acl.h"

#include <assert.h>
#include <endian.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include <archive.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/error.h"

/* linux/posix_acl_xattr.h, little-endian. */
#define ACL_VERSION 2u
#define ACL_NO_ID 0xffffffffu

typedef struct __attribute__((packed)) AclEntry {
    uint16_t tag, perm;
    uint32_t id;
} AclEntry;

/* In the order the kernel wants entries in, which is that of the tag values. */
static const struct {
    uint16_t disk;
    int archive;
    int has_id;
} tags[] = {
    {0x01, ARCHIVE_ENTRY_ACL_USER_OBJ, 0},  {0x02, ARCHIVE_ENTRY_ACL_USER, 1},
    {0x04, ARCHIVE_ENTRY_ACL_GROUP_OBJ, 0}, {0x08, ARCHIVE_ENTRY_ACL_GROUP, 1},
    {0x10, ARCHIVE_ENTRY_ACL_MASK, 0},      {0x20, ARCHIVE_ENTRY_ACL_OTHER, 0},
};
#define TAGS (sizeof tags / sizeof tags[0])

static int compare_entries(const void *a, const void *b)
{
    const AclEntry *x = a, *y = b;
    uint16_t tx = le16toh(x->tag), ty = le16toh(y->tag);
    uint32_t ix = le32toh(x->id), iy = le32toh(y->id);

    return tx != ty ? (tx > ty) - (tx < ty) : (ix > iy) - (ix < iy);
}

/* The number this host has for a name, which is what tar would give it; -1 when there is none. */
static int host_id(int tag, const char *name)
{
    char buf[16384];
    struct passwd user, *found_user = NULL;
    struct group group, *found_group = NULL;

    if (tag == ARCHIVE_ENTRY_ACL_USER && getpwnam_r(name, &user, buf, sizeof buf, &found_user) == 0)
        return found_user ? (int)user.pw_uid : -1;
    if (tag == ARCHIVE_ENTRY_ACL_GROUP && getgrnam_r(name, &group, buf, sizeof buf, &found_group) == 0)
        return found_group ? (int)group.gr_gid : -1;
    return -1;
}

static int encode_entry(int tag, int permset, int id, const char *name, AclEntry *ret, PlkError *err)
{
    size_t i = 0;

    while (i < TAGS && tags[i].archive != tag)
        i++;
    if (i == TAGS)
        return plk_fail(err, PLK_ERROR_UNSUPPORTED, "ACL entry of unknown kind %d", tag);
    if (tags[i].has_id && id < 0 && name)
        id = host_id(tag, name);
    if (tags[i].has_id && id < 0)
        return plk_fail(err, PLK_ERROR_ARGUMENT,
                        "its ACL names '%s' without a number, and this host knows nobody of that name",
                        name ? name : "");
    *ret = (AclEntry){
        .tag = htole16(tags[i].disk),
        .perm = htole16(permset & 7),
        .id = htole32(tags[i].has_id ? (uint32_t)id : ACL_NO_ID),
    };
    return 0;
}

int plk_acl_encode(struct archive_entry *entry, int type, void **ret, size_t *ret_len, PlkError *err)
{
    int n = archive_entry_acl_reset(entry, type), kind, permset, tag, id;
    PLK_FREE uint8_t *value = NULL;
    AclEntry *at;
    const char *name;
    size_t used = 0;

    *ret = NULL;
    if (n <= 0)
        return 0;
    value = plk_malloc(4 + (size_t)n * sizeof *at);
    if (!value)
        return plk_fail_nomem(err);
    memcpy(value, &(uint32_t){htole32(ACL_VERSION)}, 4);
    at = (AclEntry *)(value + 4);
    while (used < (size_t)n &&
           archive_entry_acl_next(entry, type, &kind, &permset, &tag, &id, &name) == ARCHIVE_OK)
        if (encode_entry(tag, permset, id, name, &at[used++], err))
            return -1;
    qsort(at, used, sizeof *at, compare_entries);
    *ret = PLK_TAKE(value);
    *ret_len = 4 + used * sizeof *at;
    return 0;
}

int plk_acl_decode(struct archive_entry *entry, int type, const void *value, size_t len, PlkError *err)
{
    const uint8_t *p = value;
    uint32_t version;

    if (len < 4 || (len - 4) % sizeof(AclEntry))
        return plk_fail(err, PLK_ERROR_FORMAT, "ACL of %zu bytes", len);
    memcpy(&version, p, 4);
    if (le32toh(version) != ACL_VERSION)
        return plk_fail(err, PLK_ERROR_FORMAT, "ACL of version %" PRIu32, le32toh(version));
    for (size_t at = 4; at < len; at += sizeof(AclEntry)) {
        AclEntry e;
        size_t i = 0;
        memcpy(&e, p + at, sizeof e);
        while (i < TAGS && tags[i].disk != le16toh(e.tag))
            i++;
        if (i == TAGS)
            return plk_fail(err, PLK_ERROR_FORMAT, "ACL entry of unknown kind %u", le16toh(e.tag));
        archive_entry_acl_add_entry(entry, type, le16toh(e.perm) & 7, tags[i].archive,
                                    tags[i].has_id ? (int)le32toh(e.id) : -1, NULL);
    }
    return 0;
}
