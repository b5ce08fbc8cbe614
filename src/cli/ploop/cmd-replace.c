/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploop replace: swap one image of a disk by an identical copy, say on another device. */

#include <stdlib.h>
#include <string.h>

#include <ploopkit/snapshot.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "cli.h"
#include "look.h"
#include "offline.h"

/* -o NAME counts from the descriptor's directory or from here. NULL if no image is there. */
static const PlkSnapshot *image_named(const PlkLook *look, const char *name)
{
    int dir = (int)(plk_last_name(look->descriptor) - look->descriptor);
    PLK_FREE char *joined = plk_printf("%.*s%s", name[0] == '/' ? 0 : dir, look->descriptor, name);
    PLK_FREE char *beside = joined ? realpath(joined, NULL) : NULL, *here = realpath(name, NULL);

    for (size_t i = 0; i < look->list.n; i++) {
        const PlkSnapshot *s = &look->list.items[i];
        if ((beside && strcmp(beside, s->path) == 0) || (here && strcmp(here, s->path) == 0))
            return s;
    }
    return NULL;
}

static const PlkSnapshot *replaced(const PlkLook *look, const PlkReplaceSpec *spec)
{
    if (spec->current_file)
        return image_named(look, spec->current_file);
    return spec->guid ? plk_look_find(look, spec->guid) : plk_look_level(look, (uint64_t)spec->level);
}

static int replace(const PlkArgs *args, PlkReplaceSpec *spec)
{
    const char *path = args->operands[0];
    PLK_FREE char *new_path = realpath(spec->new_file, NULL); /* with -k the name is gone afterwards */
    PLK_LOOK_AUTO PlkLook look = {0};
    const PlkSnapshot *old;
    PlkError err;

    if (plk_look(path, &look, &err) < 0)
        return plk_cli_fail(&err);
    old = replaced(&look, spec);
    if (spec->current_file && !old)
        return plk_cli_param("'%s' names no image '%s'", look.descriptor, spec->current_file);
    if (spec->current_file)
        spec->current_file = old->path;
    if (plk_image_replace(path, plk_root, spec, &err) < 0)
        return plk_cli_fail(&err);
    plk_say(0, "Storing %s.tmp", look.descriptor);
    plk_say(0, "Replacing %s with %s (offline, level %d)", old ? old->path : "?",
            new_path ? new_path : spec->new_file, spec->level);
    return PLK_EXIT_OK;
}

static int run(const PlkArgs *args)
{
    char guid[39] = "";
    uint64_t level = 0;
    PlkReplaceSpec spec = {
        .struct_size = sizeof(spec),
        .current_file = plk_arg(args, 'o'),
        .new_file = plk_arg(args, 'i'),
        .keep_name = plk_arg_given(args, 'k'),
    };

    if (plk_arg_given(args, 'd') || plk_arg_given(args, 'm'))
        return plk_offline_only(args->name, "-d DEVICE or -m DIR");
    if (plk_arg_given(args, 'u') + plk_arg_given(args, 'l') + plk_arg_given(args, 'o') != 1)
        return plk_cli_param("replace needs exactly one of -u, -l and -o");
    if (plk_arg_guid(args, 'u', guid) || plk_arg_uint(args, 'l', 127, &level))
        return PLK_EXIT_PARAM;
    if (args->n == 0 || plk_need_descriptor(args->operands[0]))
        return args->n ? PLK_EXIT_PARAM : plk_cli_param("replace: which disk? name its DiskDescriptor.xml");
    spec.guid = guid[0] ? guid : NULL;
    spec.level = plk_arg_given(args, 'l') ? (int)level : -1;
    return replace(args, &spec);
}

static const PlkOption options[] = {
    {'i', NULL, "NEW", "the copy that comes in", true},
    {'u', "uuid", "UUID", "replace the image of this state"},
    {'l', NULL, "LEVEL", "or of this level; 0 is the base"},
    {'o', NULL, "FILE", "or this file, counted from here or from the descriptor"},
    {'k', "keep-name", NULL, "rename NEW over the old image"},
    {'d', NULL, "DEVICE", NULL},
    {'m', NULL, "DIR", NULL},
    {0},
};

static const char *const notes[] = {
    "Exactly one of -u, -l and -o. Without -k the old file stays where it is.",
    NULL,
};

const PlkVerb plk_verb_replace = {
    .name = "replace",
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = options,
    .run = run,
    .help = "swap an image by an identical copy",
    .notes = notes,
};
