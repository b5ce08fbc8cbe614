/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may do what with a directory or a file.
 *
 * libvirt prints numbers above 2^31-1 as negative ones, which it then refuses to read. Ours stay what they are.
 */
#include "conf/permissions.h"

#include <inttypes.h>

#include "base/error.h"
#include "conf/document.h"
#include "conf/number.h"

static int parse_mode(const xmlNode *node, int *ret, PlkError *err)
{
    g_autofree char *text = plk_element_text(node, "mode");
    int64_t mode;

    if (!text)
        return 0;
    if (!plk_number_parse(text, 8, &mode) || (mode & ~0777))
        return plk_fail(err, PLK_ERROR_XML, "the mode '%s' is not an octal number up to 0777", text);
    *ret = mode;
    return 0;
}

/* -1 says that nobody is named, and so does 2^32-1, which is the same number to the kernel. */
static int parse_id(const xmlNode *node, const char *element, int64_t *ret, PlkError *err)
{
    g_autofree char *text = plk_element_text(node, element);
    int64_t id;

    if (!plk_element_find(node, element))
        return 0;
    if (!text || !plk_number_parse(text, 10, &id) || id < -1 || id > UINT32_MAX)
        return plk_fail(err, PLK_ERROR_XML, "the %s '%s' is not a number of a user or group", element,
                        text ? text : "");
    *ret = id == UINT32_MAX ? -1 : id;
    return 0;
}

int plk_permissions_parse(const xmlNode *node, PlkPermissions *ret, PlkError *err)
{
    PlkPermissions permissions = PLK_PERMISSIONS_NONE;

    if (node && (parse_mode(node, &permissions.mode, err) != 0 ||
                 parse_id(node, "owner", &permissions.uid, err) != 0 ||
                 parse_id(node, "group", &permissions.gid, err) != 0))
        return -1;
    permissions.label = node ? plk_element_text(node, "label") : NULL;
    *ret = permissions;
    return 0;
}

bool plk_permissions_given(const PlkPermissions *permissions)
{
    return permissions->mode >= 0 || permissions->uid >= 0 || permissions->gid >= 0 || permissions->label;
}

void plk_permissions_write(PlkWriter *writer, const char *element, const PlkPermissions *permissions)
{
    if (!plk_permissions_given(permissions))
        return;
    plk_write_section(writer, element);
    if (permissions->mode >= 0)
        plk_write_format(writer, "mode", "0%o", permissions->mode);
    if (permissions->uid >= 0)
        plk_write_format(writer, "owner", "%" PRId64, permissions->uid);
    if (permissions->gid >= 0)
        plk_write_format(writer, "group", "%" PRId64, permissions->gid);
    plk_write_text(writer, "label", permissions->label);
    plk_write_close(writer, element);
}

PlkPermissions plk_permissions_copy(const PlkPermissions *permissions)
{
    PlkPermissions copy = *permissions;

    copy.label = g_strdup(permissions->label);
    return copy;
}

void plk_permissions_clear(PlkPermissions *permissions)
{
    g_free(permissions->label);
    *permissions = PLK_PERMISSIONS_NONE;
}
