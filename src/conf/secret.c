/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See secret.h. */
#include "conf/secret.h"

#include "base/error.h"
#include "conf/document.h"

int plk_secret_parse(const xmlNode *node, char **ret_uuid, char **ret_usage, PlkError *err)
{
    g_autofree char *uuid = plk_element_attribute(node, "uuid");
    g_autofree char *usage = plk_element_attribute(node, "usage");
    unsigned char bytes[PLK_UUID_BYTES];

    if (!uuid == !usage)
        return plk_fail(err, PLK_ERROR_XML, "a <secret> has %s: it needs one of uuid and usage",
                        uuid ? "both a uuid and a usage" : "neither a uuid nor a usage");
    if (uuid) {
        if (!plk_uuid_parse(uuid, bytes))
            return plk_fail(err, PLK_ERROR_XML, "the uuid '%s' of a secret is malformed", uuid);
        g_free(uuid);
        uuid = g_malloc(PLK_UUID_CHARS + 1);
        plk_uuid_format(bytes, uuid);
    }
    *ret_uuid = g_steal_pointer(&uuid);
    *ret_usage = g_steal_pointer(&usage);
    return 0;
}

void plk_secret_write(PlkWriter *writer, const char *type, const char *uuid, const char *usage)
{
    plk_write_start(writer, "secret");
    plk_write_attribute(writer, "type", type);
    plk_write_attribute(writer, "uuid", uuid);
    plk_write_attribute(writer, "usage", usage);
    plk_write_empty(writer);
}
