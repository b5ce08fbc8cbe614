/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ploopctl vol create and create-as: volumes from XML, or from options that become XML. */
#include <glib.h>

#include "base/cleanup.h"
#include "vol.h"
#include "xml-text.h"

enum { OPT_BACKING = OPT_OWN, OPT_BACKING_FORMAT, OPT_EMPTY };

static PlkPoolType type_of(PlkPool *pool)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = plk_pool_definition(pool, false);

    return def->type;
}

static int create(const PlkArgs *args, PlkPool *pool, const char *xml, const char *file)
{
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = NULL;
    unsigned flags = plk_create_flags(args);
    PlkError err;

    if (plk_arg_if_any(args, OPT_EMPTY))
        flags |= PLK_CREATE_EMPTY;
    if (plk_volume_def_parse(xml, type_of(pool), plk_arg_if_any(args, OPT_VALIDATE) ? PLK_PARSE_VALIDATE : 0,
                             &def, &err) < 0 ||
        plk_pool_create_volume(pool, def, flags, plk_cli_progress(), NULL, &err) < 0)
        return plk_cli_fail(&err);
    return plk_say_volume(pool, def->name, "Vol %s created%s%s", def->name, file ? " from " : "",
                          file ? file : "");
}

static int run_create(const PlkArgs *args)
{
    const char *file = plk_arg(args, OPT_FILE);
    g_autofree char *xml = NULL;
    PLK_SESSION s = {0};
    PlkError err;
    int rc;

    if (plk_read_text(file, &xml, &err) < 0)
        return plk_cli_fail(&err);
    rc = plk_need_pool(args, PLK_STORAGE_COMMAND, &s);
    return rc ? rc : create(args, s.pool, xml, file);
}

/* ---- options to XML, in virsh's order ---- */

static void put_size(GString *xml, const char *element, uint64_t size)
{
    g_string_append_printf(xml, "  <%s>%" G_GUINT64_FORMAT "</%s>\n", element, size, element);
}

static void put_format(GString *xml, const char *format)
{
    if (!format)
        return;
    plk_xml_open(xml, 2, "target");
    plk_xml_attribute(xml, 4, "format", "type", format);
    plk_xml_close(xml, 2, "target");
}

static char *volume_xml(const PlkArgs *args, uint64_t capacity, uint64_t allocation, const char *backing)
{
    GString *xml = g_string_new("<volume>\n");

    plk_xml_element(xml, 2, "name", plk_arg(args, OPT_NAME));
    put_size(xml, "capacity", capacity);
    if (plk_arg_given(args, OPT_ALLOCATION))
        put_size(xml, "allocation", allocation);
    put_format(xml, plk_arg(args, OPT_FORMAT));
    if (backing) {
        plk_xml_open(xml, 2, "backingStore");
        plk_xml_element(xml, 4, "path", backing);
        plk_xml_attribute(xml, 4, "format", "type", plk_arg(args, OPT_BACKING_FORMAT));
        plk_xml_close(xml, 2, "backingStore");
    }
    plk_xml_close(xml, 0, "volume");
    return g_string_free(xml, FALSE);
}

/* Its path; NULL when none is asked for. 0 or the exit code. */
static int backing_path(const PlkArgs *args, const PlkSession *s, char **ret)
{
    const char *volume = plk_arg(args, OPT_BACKING);
    plk_cleanup(plk_volume_unrefp) PlkVolume *found = NULL;
    plk_cleanup(plk_pool_unrefp) PlkPool *pool = NULL;
    g_autofree char *name = NULL;
    PlkError err;

    if (!volume)
        return 0;
    if (plk_find_volume(s->storage, *volume == '/' ? NULL : plk_pool_name(s->pool), volume, &pool, &name,
                        &err) < 0 ||
        plk_pool_volume(pool, name, &found, &err) < 0)
        return plk_cli_fail(&err);
    *ret = plk_pool_volume_path(pool, name);
    return 0;
}

static int run_create_as(const PlkArgs *args)
{
    g_autofree char *backing = NULL, *xml = NULL;
    uint64_t capacity = 0, allocation = 0;
    PLK_SESSION s = {0};
    int rc = plk_arg_size(args, OPT_CAPACITY, &capacity);

    if (rc == 0)
        rc = plk_arg_size(args, OPT_ALLOCATION, &allocation);
    if (rc == 0)
        rc = plk_need_pool(args, plk_arg_given(args, OPT_PRINT_XML) ? PLK_STORAGE_LOOK : PLK_STORAGE_COMMAND,
                           &s);
    if (rc == 0)
        rc = backing_path(args, &s, &backing);
    if (rc)
        return rc;
    xml = volume_xml(args, capacity, allocation, backing);
    if (!plk_arg_given(args, OPT_PRINT_XML))
        return create(args, s.pool, xml, NULL);
    fputs(xml, stdout);
    return PLK_EXIT_OK;
}

static const PlkOption create_options[] = {
    PLK_THE_POOL,
    {OPT_FILE, "file", "FILE", "its XML; - is standard input", true, true},
    {OPT_PREALLOC, "prealloc-metadata", NULL, "qcow2: make room for all its tables"},
    {OPT_VALIDATE, "validate", NULL, "hold it against the schema"},
    {OPT_EMPTY, "empty", NULL, "ploop: no partition, no filesystem"},
    {0},
};

static const PlkOption create_as_options[] = {
    PLK_THE_POOL,
    {OPT_NAME, "name", "NAME", "name of the new volume", true, true},
    {OPT_CAPACITY, "capacity", "SIZE", "its size: NUMBER[UNIT], for example 10G", true, true},
    {OPT_ALLOCATION, "allocation", "SIZE", "room to reserve now; all of it by default, 0 for none", false,
     true},
    {OPT_FORMAT, "format", "FORMAT", "ploop, raw (default), qcow2, dir, ...", false, true},
    {OPT_BACKING, "backing-vol", "VOLUME", "qcow2: what is beneath it", false, true},
    {OPT_BACKING_FORMAT, "backing-vol-format", "FORMAT", "the format of that", false, true},
    {OPT_PREALLOC, "prealloc-metadata", NULL, "qcow2: make room for all its tables"},
    {OPT_PRINT_XML, "print-xml", NULL, "print the XML, make nothing"},
    {OPT_EMPTY, "empty", NULL, "ploop: no partition, no filesystem"},
    {0},
};

const PlkVerb plk_verb_vol_create = {
    .name = "create",
    .options = create_options,
    .run = run_create,
    .help = "make a volume, from XML",
};

const PlkVerb plk_verb_vol_create_as = {
    .name = "create-as",
    .options = create_as_options,
    .run = run_create_as,
    .help = "make a volume, from options",
};
