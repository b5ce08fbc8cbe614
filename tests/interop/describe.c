/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* describe DIR OUT: what is found in DIR as XML files in OUT, one a volume. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include <glib.h>

#include "volume/volume.h"

static int describe(const PlkPlace *place, const char *out)
{
    PlkVolumeFacts facts;
    PlkError err;
    int r = plk_volume_probe(place, &facts, &err);

    if (r < 0)
        fprintf(stderr, "%s: %s\n", place->name, err.message);
    if (r != 0)
        return r;

    PlkVolumeDef *def = plk_volume_describe(place, &facts);
    g_autofree char *xml = plk_volume_def_format(def, PLK_POOL_DIR);
    g_autofree char *path = g_strconcat(out, "/", place->name, NULL);

    plk_volume_def_free(def);
    plk_volume_facts_clear(&facts);
    return g_file_set_contents(path, xml, -1, NULL) ? 0 : -1;
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 3 ? opendir(argv[1]) : NULL;
    int r = dir ? 0 : -1;

    for (struct dirent *e; r >= 0 && (e = readdir(dir));)
        r = describe(&(PlkPlace){.dir = dirfd(dir), .dir_path = argv[1], .name = e->d_name}, argv[2]);
    if (dir)
        closedir(dir);
    return r < 0;
}
