/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopctl vol create-from and clone: a volume with the contents of another one. */
#include <glib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "vol.h"

enum { OPT_INPUTPOOL = OPT_OWN, OPT_NEWNAME, OPT_TO_POOL, OPT_KEEP_SNAPSHOTS };

static unsigned clone_flags(const PlkArgs *args)
{
    return plk_create_flags(args) | (plk_arg_given(args, OPT_KEEP_SNAPSHOTS) ? PLK_CREATE_KEEP_SNAPSHOTS : 0);
}

/* ---- create-from: the definition is somebody's XML ---- */

static int create_from(const PlkArgs *args, const PlkSession *s, const char *xml)
{
    const char *input_pool = plk_arg(args, OPT_INPUTPOOL), *input = plk_arg(args, OPT_VOL);
    plk_cleanup(plk_pool_unrefp) PlkPool *from = NULL;
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = NULL;
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *pool = plk_pool_definition(s->pool, false);
    g_autofree char *name = NULL;
    PlkError err;

    if (!input_pool && !strchr(input, '/'))
        input_pool = plk_pool_name(s->pool);
    if (plk_find_volume(s->storage, input_pool, input, &from, &name, &err) < 0 ||
        plk_volume_def_parse(xml, pool->type,
                             PLK_PARSE_OPT_CAPACITY |
                                 (plk_arg_given(args, OPT_VALIDATE) ? PLK_PARSE_VALIDATE : 0),
                             &def, &err) < 0 ||
        plk_pool_clone_volume(s->pool, def, from, name, plk_arg(args, OPT_SNAPSHOT), clone_flags(args),
                              plk_cli_progress(), NULL, &err) < 0)
        return plk_cli_fail(&err);
    return plk_say_volume(s->pool, def->name, "Vol %s created from input vol %s", def->name, name);
}

static int run_create_from(const PlkArgs *args)
{
    g_autofree char *xml = NULL;
    PLK_SESSION s = {0};
    PlkError err;
    int rc;

    if (plk_read_text(plk_arg(args, OPT_FILE), &xml, &err) < 0)
        return plk_cli_fail(&err);
    rc = plk_need_pool(args, PLK_STORAGE_COMMAND, &s);
    return rc ? rc : create_from(args, &s, xml);
}

/* ---- clone: the definition is the source's, under another name ---- */

/* In another format only name, size and permissions are the source's. */
static int clone_definition(const PlkArgs *args, const PlkSession *s, PlkVolumeDef **ret, PlkError *err)
{
    const char *format = plk_arg(args, OPT_FORMAT), *name = plk_arg(args, OPT_NEWNAME);
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = NULL;
    PlkVolumeDef *def;
    int number = 0;

    if (format && (number = plk_name_index(plk_file_format_names, format)) < 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "--format %s: not a format of volumes", format);
    if (plk_pool_volume(s->pool, s->volume, &volume, err) < 0)
        return -1;
    if (!format || number == volume->facts.format) {
        def = plk_pool_volume_definition(s->pool, volume);
        g_free(def->name);
        def->name = g_strdup(name);
    } else {
        def = plk_volume_def_new(name, (PlkFileFormat)number, volume->facts.capacity);
        def->target.permissions.mode = (int)(volume->facts.mode & 0666);
    }
    *ret = def;
    return 0;
}

static int print_definition(const PlkSession *s, const PlkVolumeDef *def)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *pool = plk_pool_definition(s->pool, false);
    g_autofree char *xml = plk_volume_def_format(def, pool->type);

    fputs(xml, stdout);
    return PLK_EXIT_OK;
}

static int clone_into(const PlkArgs *args, const PlkSession *s, const PlkVolumeDef *def)
{
    const char *other = plk_arg(args, OPT_TO_POOL);
    plk_cleanup(plk_pool_unrefp) PlkPool *to = NULL;
    PlkError err;

    to = other ? plk_find_pool(s->storage, other, &err) : plk_pool_ref(s->pool);
    if (!to || plk_pool_clone_volume(to, def, s->pool, s->volume, plk_arg(args, OPT_SNAPSHOT),
                                     clone_flags(args), plk_cli_progress(), NULL, &err) < 0)
        return plk_cli_fail(&err);
    return plk_say_volume(to, def->name, "Vol %s cloned from %s", def->name, s->volume);
}

static int run_clone(const PlkArgs *args)
{
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = NULL;
    bool print = plk_arg_given(args, OPT_PRINT_XML);
    PLK_SESSION s = {0};
    PlkError err;
    int rc = plk_need_volume(args, print ? PLK_STORAGE_LOOK : PLK_STORAGE_COMMAND, &s);

    if (rc)
        return rc;
    if (clone_definition(args, &s, &def, &err) < 0)
        return plk_cli_fail(&err);
    return print ? print_definition(&s, def) : clone_into(args, &s, def);
}

#define CLONE_OPTIONS                                                                                        \
    {OPT_PREALLOC, "prealloc-metadata", NULL, "qcow2: make room for all its tables"},                        \
        {OPT_REFLINK, "reflink", NULL, "share the blocks, or fail"},                                         \
        {OPT_SNAPSHOT, "snapshot", "UUID", "ploop: this state of it, not the active one"},                   \
    {                                                                                                        \
        OPT_KEEP_SNAPSHOTS, "keep-snapshots", NULL, "ploop: with all its snapshots"                          \
    }

static const PlkOption create_from_options[] = {
    PLK_THE_POOL,
    {OPT_FILE, "file", "FILE", "XML of the new volume; - is standard input", true, true},
    {OPT_VOL, "vol", "VOLUME", "where the contents come from", true, true},
    {OPT_INPUTPOOL, "inputpool", "POOL", "the pool that one is in", false, true},
    {OPT_VALIDATE, "validate", NULL, "hold the XML against the schema"},
    CLONE_OPTIONS,
    {0},
};

static const PlkOption clone_options[] = {
    PLK_THE_VOLUME,
    {OPT_NEWNAME, "newname", "NAME", "name of the copy", true, true},
    PLK_ITS_POOL,
    {OPT_TO_POOL, "to-pool", "POOL", "make the copy in another pool"},
    {OPT_FORMAT, "format", "FORMAT", "in another format: ploop, raw, qcow2"},
    {OPT_PRINT_XML, "print-xml", NULL, "print the XML, make nothing"},
    CLONE_OPTIONS,
    {0},
};

const PlkVerb plk_verb_vol_create_from = {
    .name = "create-from",
    .options = create_from_options,
    .run = run_create_from,
    .help = "make a volume with another one's contents, from XML",
};

const PlkVerb plk_verb_vol_clone = {
    .name = "clone",
    .options = clone_options,
    .run = run_clone,
    .help = "copy a volume",
};
