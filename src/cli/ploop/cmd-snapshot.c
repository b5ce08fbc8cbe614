/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploop snapshot and ploop snapshot-switch: the two that add a new, empty image on top. */
#include <ploopkit/snapshot.h>

#include "base/guid.h"
#include "cli.h"
#include "fill.h"
#include "look.h"
#include "offline.h"

enum { OPT_ALLOC = PLK_LONG_ONLY };

/* After the fact: the name of the new image is the library's choice. */
static void say_new_top(const char *path)
{
    PLK_LOOK_AUTO PlkLook look = {0};

    if (plk_look(path, &look, NULL) < 0 || !plk_look_active(&look))
        return;
    plk_say(0, "Adding snapshot %s", PLK_GUID_TOP.text);
    plk_say(0, "Storing %s.tmp", look.descriptor);
    plk_say_created(look.descriptor, plk_look_active(&look)->path);
}

static int run_snapshot(const PlkArgs *args)
{
    const char *path = args->operands[0];
    char wanted[39] = "", guid[39];
    PlkSnapshotSpec spec = {.struct_size = sizeof(spec)};
    PLK_LOOK_AUTO PlkLook look = {0};
    PlkError err;

    if (plk_arg_given(args, 'd') || plk_arg_given(args, 'F'))
        return plk_offline_only(args->name, "with -d DEVICE");
    if (plk_arg_guid(args, 'u', wanted) || plk_arg_alloc(args, OPT_ALLOC, &spec.alloc_full) ||
        plk_need_descriptor(path))
        return PLK_EXIT_PARAM;
    if (plk_look(path, &look, &err) < 0)
        return plk_cli_fail(&err);
    plk_say_opening(&look);
    fflush(stdout);
    spec.guid = wanted[0] ? wanted : NULL;
    if (plk_snapshot_create(path, plk_root, &spec, guid, &err) < 0)
        return plk_cli_fail(&err);
    say_new_top(path);
    plk_say(0, "ploop snapshot %s has been successfully created", guid);
    return PLK_EXIT_OK;
}

static int run_switch(const PlkArgs *args)
{
    const char *path = args->operands[0];
    bool keep = plk_arg_given(args, 'D');
    char guid[39];
    PLK_LOOK_AUTO PlkLook look = {0};
    PlkError err;

    if (plk_arg_guid(args, 'u', guid) || plk_need_descriptor(path))
        return PLK_EXIT_PARAM;
    if (plk_look(path, &look, &err) < 0)
        return plk_cli_fail(&err);
    if (plk_look_find(&look, guid))
        plk_say(0, "Opening delta %s", plk_look_find(&look, guid)->path);
    fflush(stdout);
    if (plk_snapshot_switch(path, plk_root, guid, keep, &err) < 0) {
        if (err.code == PLK_ERROR_NO_SNAPSHOT)
            err.code = PLK_ERROR_ARGUMENT; /* the exit code of ploop 1.15's switch; its other verbs have another */
        return plk_cli_fail(&err);
    }
    if (!keep)
        plk_say(0, "del snapshot %s", PLK_GUID_TOP.text);
    say_new_top(path);
    if (!keep && plk_look_active(&look))
        plk_say(0, "Removing %s", plk_look_active(&look)->path);
    plk_say(0, "ploop snapshot has been successfully switched");
    return PLK_EXIT_OK;
}

static const PlkOption snapshot_options[] = {
    {'u', NULL, "UUID", "name the snapshot; a random one otherwise"},
    {'d', NULL, "DEVICE", NULL},
    {'F', NULL, NULL, NULL},
    {OPT_ALLOC, "alloc", "full|sparse", "real blocks in the new image, or holes (default)"},
    {0},
};

const PlkVerb plk_verb_snapshot = {
    .name = "snapshot",
    .min = 1,
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = snapshot_options,
    .run = run_snapshot,
    .help = "freeze the present state and go on in a new image",
};

static const PlkOption switch_options[] = {
    {'u', "uuid", "UUID", "the snapshot to go on from", true},
    {'D', NULL, NULL, "keep the present state as a snapshot of its own"},
    {0},
};

static const char *const switch_notes[] = {
    "Without -D what was written since the last snapshot is thrown away.",
    NULL,
};

const PlkVerb plk_verb_snapshot_switch = {
    .name = "snapshot-switch",
    .min = 1,
    .max = 1,
    .operands = "DiskDescriptor.xml",
    .options = switch_options,
    .run = run_switch,
    .help = "go back to a snapshot",
    .notes = switch_notes,
};
