/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How pools and volumes look: words, JSON, XML. ploopctl(1) documents the JSON; members are only ever added.
 */
#include <glib.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl.h"

const char *plk_yes_no(bool yes)
{
    return yes ? "yes" : "no";
}

const char *plk_volume_format_name(const PlkVolume *volume)
{
    return volume->facts.format < 0 ? "unknown" : plk_file_format_names[volume->facts.format];
}

const char *plk_volume_state_name(PlkVolumeState state)
{
    static const char *const names[] = {"good", "broken", "incomplete", "building", "busy"};

    return names[state];
}

char *plk_volume_status(const PlkVolume *volume)
{
    const char *state = plk_volume_state_name(volume->state);

    return volume->reason ? g_strdup_printf("%s: %s", state, volume->reason) : g_strdup(state);
}

/* A command has no index of a pool until it asks for one: without this none of its volumes would be counted.
 */
int plk_ask_pool(PlkPool *pool, PlkPoolInfo *ret, PlkError *err)
{
    PlkVolumeList *list = NULL;

    if (plk_pool_state(pool).active && plk_pool_volumes(pool, &list, NULL) == 0)
        plk_volume_list_unref(list);
    return plk_pool_info(pool, ret, err);
}

/* ---- JSON ---- */

void plk_pool_json(PlkJson *j, const char *key, PlkPool *pool, const PlkPoolInfo *info)
{
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = plk_pool_definition(pool, false);
    char uuid[PLK_UUID_CHARS + 1];

    plk_uuid_format(info->uuid, uuid);
    plk_json_open(j, key, '{');
    plk_json_string(j, "name", plk_pool_name(pool));
    plk_json_string(j, "uuid", uuid);
    plk_json_string(j, "type", plk_pool_type_names[info->type]);
    plk_json_string(j, "target", def->target);
    plk_json_string(j, "state", info->active ? "running" : "inactive");
    plk_json_bool(j, "persistent", info->persistent);
    plk_json_bool(j, "autostart", info->autostart);
    if (info->active) {
        plk_json_bool(j, "writable", info->writable);
        plk_json_uint(j, "capacity", info->capacity);
        plk_json_uint(j, "allocation", info->allocation);
        plk_json_uint(j, "available", info->available);
        plk_json_uint(j, "volumes", info->volumes);
        plk_json_uint(j, "broken", info->broken);
    }
    plk_json_string(j, "reason", *info->reason ? info->reason : NULL);
    plk_json_close(j, '}');
}

void plk_volume_json(PlkJson *j, const char *key, PlkPool *pool, const PlkVolume *volume)
{
    g_autofree char *path = plk_pool_volume_path(pool, volume->name);
    const PlkVolumeFacts *f = &volume->facts;

    plk_json_open(j, key, '{');
    plk_json_string(j, "name", volume->name);
    plk_json_string(j, "pool", plk_pool_name(pool));
    plk_json_string(j, "path", path);
    plk_json_string(j, "type", plk_volume_type_names[f->type]);
    plk_json_string(j, "format", plk_volume_format_name(volume));
    plk_json_uint(j, "capacity", f->capacity);
    plk_json_uint(j, "allocation", f->allocation);
    plk_json_uint(j, "physical", f->physical);
    plk_json_string(j, "state", plk_volume_state_name(volume->state));
    plk_json_string(j, "reason", volume->reason);
    plk_json_string(j, "backing", f->backing);
    plk_json_uint(j, "snapshots", f->snapshots);
    plk_json_close(j, '}');
}

int plk_print_pool_json(PlkPool *pool)
{
    PlkJson j = {.out = stdout};
    PlkPoolInfo info;
    PlkError err;

    if (plk_ask_pool(pool, &info, &err) < 0)
        return plk_cli_fail(&err);
    plk_pool_json(&j, NULL, pool, &info);
    return PLK_EXIT_OK;
}

int plk_print_volume_json(PlkPool *pool, const char *name)
{
    plk_cleanup(plk_volume_unrefp) PlkVolume *volume = NULL;
    PlkJson j = {.out = stdout};
    PlkError err;

    if (plk_pool_volume(pool, name, &volume, &err) < 0)
        return plk_cli_fail(&err);
    plk_volume_json(&j, NULL, pool, volume);
    return PLK_EXIT_OK;
}

/* ---- XML ---- */

/* Each node on lines of its own, as virsh does; with --wrap below one <nodes>. */
static void print_nodes(xmlDoc *doc, const xmlNodeSet *nodes, bool wrap)
{
    xmlBuffer *buffer = xmlBufferCreate();

    for (int i = 0; nodes && i < nodes->nodeNr; i++) {
        xmlBufferEmpty(buffer);
        xmlNodeDump(buffer, doc, nodes->nodeTab[i], 0, 1);
        printf("%s%s\n", wrap ? "  " : "", (const char *)xmlBufferContent(buffer));
    }
    xmlBufferFree(buffer);
}

static int print_picked(xmlDoc *doc, const char *expression, bool wrap)
{
    xmlXPathContext *context = xmlXPathNewContext(doc);
    xmlXPathObject *found = xmlXPathEvalExpression((const xmlChar *)expression, context);
    bool good = found && found->type == XPATH_NODESET;

    if (good && wrap)
        puts("<nodes>");
    if (good)
        print_nodes(doc, found->nodesetval, wrap);
    if (good && wrap)
        puts("</nodes>");
    xmlXPathFreeObject(found);
    xmlXPathFreeContext(context);
    return good ? PLK_EXIT_OK : plk_cli_param("--xpath %s: no expression that picks nodes", expression);
}

static void say_nothing(void *arg, const char *format, ...)
{
}

int plk_print_xml(const PlkArgs *args, const char *xml)
{
    const char *expression = plk_arg(args, OPT_XPATH);
    xmlDoc *doc;
    int rc;

    if (!expression) {
        fputs(xml, stdout);
        return PLK_EXIT_OK;
    }
    xmlSetGenericErrorFunc(NULL, say_nothing);
    doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOBLANKS);
    rc = print_picked(doc, expression, plk_arg_given(args, OPT_WRAP));
    xmlFreeDoc(doc);
    xmlCleanupParser();
    return rc;
}
