/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths as definitions keep them. */
#include <glib.h>

#include "conf/pool-def.h"

char *plk_path_sanitise(const char *path)
{
    GString *clean = g_string_sized_new(64);

    /* POSIX leaves to each system what exactly two slashes in front mean. */
    if (path[0] == '/' && path[1] == '/' && path[2] != '/') {
        g_string_append(clean, "//");
        path += 2;
    }
    while (*path) {
        if (*path != '/') {
            g_string_append_c(clean, *path++);
            continue;
        }
        while (*path == '/')
            path++;
        if (*path || clean->len == 0)
            g_string_append_c(clean, '/');
    }
    return g_string_free(clean, FALSE);
}
