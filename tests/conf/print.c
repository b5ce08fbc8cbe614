/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What ploopkit makes of definitions, for scripts:
 *
 *     print pool FILE                       what is printed for it
 *     print TYPE FILE                       ... for a volume in a pool of that type
 *     print validate pool|TYPE FILE         the same, held against the schema
 *     print define FILE                     a pool that is to be kept
 *     print capabilities|pool-capabilities [TYPE...]    with these types supported
 *
 * Printed once more from what was printed it must be the same. A refusal prints "refused CODE: MESSAGE", with
 * libvirt's code.
 */
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "conf/libvirt-error.h"
#include "conf/volume-def.h"

static int print(const char *kind, const char *xml, unsigned flags, char **ret, PlkError *err)
{
    if (strcmp(kind, "pool") == 0) {
        PlkPoolDef *def;
        if (plk_pool_def_parse(xml, flags, &def, err) != 0)
            return -1;
        PlkPoolDef *copy = plk_pool_def_copy(def);
        plk_pool_def_free(def);
        *ret = plk_pool_def_format(copy);
        plk_pool_def_free(copy);
        return 0;
    }
    PlkVolumeDef *def;
    int pool = plk_name_index(plk_pool_type_names, kind);
    if (pool < 0)
        return plk_fail(err, PLK_ERROR_ARGUMENT, "no type of pools: %s", kind);
    if (plk_volume_def_parse(xml, pool, flags, &def, err) != 0)
        return -1;
    PlkVolumeDef *copy = plk_volume_def_copy(def);
    plk_volume_def_free(def);
    *ret = plk_volume_def_format(copy, pool);
    plk_volume_def_free(copy);
    return 0;
}

static int print_file(const char *kind, const char *file, unsigned flags)
{
    g_autofree char *xml = NULL, *text = NULL, *again = NULL;
    PlkError err = {0};

    if (!g_file_get_contents(file, &xml, NULL, NULL)) {
        fprintf(stderr, "cannot read %s\n", file);
        return 2;
    }
    if (print(kind, xml, flags, &text, &err) != 0) {
        printf("refused %d: %s\n", plk_libvirt_error(&err).code, err.message);
        return 0;
    }
    if (print(kind, text, 0, &again, &err) != 0 || strcmp(text, again) != 0) {
        fprintf(stderr, "%s: what is printed does not read as what it was: %s\n%s\n%s", file, err.message, text,
                again ? again : "");
        return 1;
    }
    fputs(text, stdout);
    return 0;
}

static int print_capabilities(char **types, bool of_pools)
{
    bool supported[PLK_POOL_TYPES] = {0};

    for (; *types; types++)
        supported[plk_name_index(plk_pool_type_names, *types)] = true;
    g_autofree char *text = of_pools ? plk_pool_capabilities_format(supported) : plk_capabilities_format(supported);
    fputs(text, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned flags = 0;

    if (argc > 1 && strcmp(argv[1], "capabilities") == 0)
        return print_capabilities(argv + 2, false);
    if (argc > 1 && strcmp(argv[1], "pool-capabilities") == 0)
        return print_capabilities(argv + 2, true);
    if (argc == 3 && strcmp(argv[1], "define") == 0)
        return print_file("pool", argv[2], PLK_PARSE_DEFINE);
    if (argc == 4 && strcmp(argv[1], "validate") == 0) {
        flags = PLK_PARSE_VALIDATE;
        argv++;
        argc--;
    }
    if (argc != 3) {
        fprintf(stderr, "usage: print [validate] pool|TYPE FILE\n");
        return 2;
    }
    return print_file(argv[1], argv[2], flags);
}
