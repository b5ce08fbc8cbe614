/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths as text. Nothing here looks at a filesystem: "a/../b" is "b" even where "a" is a link, which is
 * safe because what comes out is then opened without following links.
 */
#include "io/path.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* Appends the components of `path` to out, which is "" or "/a/b"; false when ".." climbs above "/". */
static bool append_components(char *out, size_t *len, const char *path)
{
    while (*path) {
        size_t n = strcspn(path, "/");

        if (n == 2 && path[0] == '.' && path[1] == '.') {
            if (*len == 0)
                return false;
            while (out[--*len] != '/')
                ;
        } else if (n > 0 && !(n == 1 && path[0] == '.')) {
            out[(*len)++] = '/';
            memcpy(out + *len, path, n);
            *len += n;
        }
        path += n + (path[n] == '/');
    }
    return true;
}

char *plk_path_canonical(const char *base, const char *path)
{
    PLK_FREE char *out = NULL;
    size_t len = 0;

    assert(path && (path[0] == '/' || (base && base[0] == '/')));
    if (path[0] == '/')
        base = "";
    out = plk_malloc(strlen(base) + strlen(path) + 3);
    if (!out) {
        errno = ENOMEM;
        return NULL;
    }
    if (!append_components(out, &len, base) || !append_components(out, &len, path)) {
        errno = EXDEV;
        return NULL;
    }
    if (len == 0)
        out[len++] = '/';
    out[len] = '\0';
    return PLK_TAKE(out);
}

const char *plk_path_beneath(const char *root, const char *path)
{
    size_t n = strlen(root);

    if (n == 1) /* "/" */
        return path + 1;
    if (strncmp(root, path, n) != 0)
        return NULL;
    if (path[n] == '\0')
        return path + n;
    return path[n] == '/' ? path + n + 1 : NULL;
}

int plk_path_resolve(const PlkDir *dir, const char *name, char **ret_path)
{
    PLK_FREE char *path = NULL;
    const char *rest;

    if (!name || !*name)
        return -EINVAL;
    path = plk_path_canonical(dir->path, name);
    if (!path)
        return -errno;
    rest = plk_path_beneath(dir->root, path);
    if (!rest)
        return -EXDEV;
    if (!*rest)
        return -EINVAL;
    *ret_path = PLK_TAKE(path);
    return 0;
}
