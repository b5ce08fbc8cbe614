/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See pool-extras.h. */
#include "conf/pool-extras.h"

#include <string.h>

#include "base/error.h"
#include "conf/document.h"
#include "conf/permissions.h"
#include "conf/pool-type.h"

#define OWN_PREFIX "ploopkit"
#define OWN_URI "urn:ploopkit:storagepool:1"
#define OWN_ELEMENT "volume_defaults"

typedef struct OptionSpace {
    const char *prefix, *uri, *list, *item;
    bool valued;
} OptionSpace;

static const OptionSpace spaces[] = {
    {"fs", "http://libvirt.org/schemas/storagepool/fs/1.0", "mount_opts", "option", false},
    {"rbd", "http://libvirt.org/schemas/storagepool/rbd/1.0", "config_opts", "option", true},
};

static const OptionSpace *space_of(PlkPoolType type)
{
    const char *prefix = plk_pool_traits(type)->options;

    for (size_t i = 0; prefix && i < G_N_ELEMENTS(spaces); i++)
        if (strcmp(spaces[i].prefix, prefix) == 0)
            return &spaces[i];
    return NULL;
}

/* ---- parsing ---- */

static bool is_in(const xmlNode *node, const char *uri, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns && strcmp((const char *)node->ns->href, uri) == 0 &&
           strcmp((const char *)node->name, name) == 0;
}

static int parse_option(const xmlNode *node, const OptionSpace *space, PlkPoolOption *option, PlkError *err)
{
    option->name = plk_element_attribute(node, "name");
    option->value = space->valued ? plk_element_attribute(node, "value") : NULL;
    if (!option->name)
        return plk_fail(err, PLK_ERROR_XML, "an option in <%s:%s> has no name", space->prefix, space->list);
    if (space->valued && !option->value)
        return plk_fail(err, PLK_ERROR_XML, "the option '%s' in <%s:%s> has no value", option->name, space->prefix,
                        space->list);
    return 0;
}

static int parse_options(const xmlNode *list, const OptionSpace *space, PlkPoolDef *def, PlkError *err)
{
    for (const xmlNode *node = list->children; node; node = node->next) {
        if (!is_in(node, space->uri, space->item))
            continue;
        def->options = g_renew(PlkPoolOption, def->options, def->n_options + 1);
        PlkPoolOption *option = &def->options[def->n_options++];
        *option = (PlkPoolOption){0};
        if (parse_option(node, space, option, err) != 0)
            return -1;
    }
    return 0;
}

static int parse_defaults(const xmlNode *node, PlkPoolDef *def, PlkError *err)
{
    plk_permissions_clear(&def->volume_defaults);
    if (plk_permissions_parse(node, &def->volume_defaults, err) == 0)
        return 0;
    plk_error_prefix(err, OWN_PREFIX ":" OWN_ELEMENT ": ");
    return -1;
}

int plk_pool_extras_parse(const xmlNode *pool, PlkPoolDef *def, PlkError *err)
{
    const OptionSpace *space = space_of(def->type);

    for (const xmlNode *node = pool->children; node; node = node->next) {
        if (space && is_in(node, space->uri, space->list) && parse_options(node, space, def, err) != 0)
            return -1;
        if (is_in(node, OWN_URI, OWN_ELEMENT) && parse_defaults(node, def, err) != 0)
            return -1;
    }
    return 0;
}

bool plk_pool_extras_own(const xmlNode *node, PlkPoolType type)
{
    const OptionSpace *space = space_of(type);

    return is_in(node, OWN_URI, OWN_ELEMENT) || (space && is_in(node, space->uri, space->list));
}

/* ---- printing ---- */

void plk_pool_extras_declare(PlkWriter *writer, const PlkPoolDef *def)
{
    const OptionSpace *space = space_of(def->type);
    g_autofree char *name = space ? g_strdup_printf("xmlns:%s", space->prefix) : NULL;

    if (space && def->n_options)
        plk_write_attribute(writer, name, space->uri);
    if (plk_permissions_given(&def->volume_defaults))
        plk_write_attribute(writer, "xmlns:" OWN_PREFIX, OWN_URI);
}

static void write_options(PlkWriter *writer, const OptionSpace *space, const PlkPoolDef *def)
{
    g_autofree char *list = g_strdup_printf("%s:%s", space->prefix, space->list);
    g_autofree char *item = g_strdup_printf("%s:%s", space->prefix, space->item);

    plk_write_section(writer, list);
    for (size_t i = 0; i < def->n_options; i++) {
        plk_write_start(writer, item);
        plk_write_attribute(writer, "name", def->options[i].name);
        plk_write_attribute(writer, "value", def->options[i].value);
        plk_write_empty(writer);
    }
    plk_write_close(writer, list);
}

void plk_pool_extras_write(PlkWriter *writer, const PlkPoolDef *def)
{
    const OptionSpace *space = space_of(def->type);

    if (space && def->n_options)
        write_options(writer, space, def);
    plk_permissions_write(writer, OWN_PREFIX ":" OWN_ELEMENT, &def->volume_defaults);
}
