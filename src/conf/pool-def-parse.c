/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From XML to the definition of a pool.
 *
 * Without PLK_PARSE_VALIDATE elements are picked by name and the rest is read over, as libvirt does: definitions in
 * the field have things in them that only their authors remember. What is picked must make sense for the type.
 */
#include <string.h>
#include <uuid/uuid.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "conf/adapter.h"
#include "conf/document.h"
#include "conf/permissions.h"
#include "conf/pool-def.h"
#include "conf/pool-extras.h"
#include "conf/pool-type.h"
#include "conf/schema.h"
#include "conf/source.h"

static int parse_type(const xmlNode *pool, PlkPoolDef *def, PlkError *err)
{
    g_autofree char *type = plk_element_attribute(pool, "type");
    int index = type ? plk_name_index(plk_pool_type_names, type) : -1;

    if (!type)
        return plk_fail(err, PLK_ERROR_XML, "the <pool> has no type");
    if (index < 0)
        return plk_fail(err, PLK_ERROR_XML, "'%s' is not a type of pool", type);
    def->type = index;
    return 0;
}

static int parse_name(const xmlNode *pool, unsigned flags, PlkPoolDef *def, PlkError *err)
{
    def->name = plk_element_text(pool, "name");
    if (!def->name && plk_pool_traits(def->type)->source & PLK_SOURCE_NAME)
        def->name = g_strdup(def->source.name);
    if (!def->name)
        return plk_fail(err, PLK_ERROR_XML, "the pool has no <name>");
    if (strchr(def->name, '/'))
        return plk_fail(err, PLK_ERROR_XML, "the name '%s' of a pool must not contain '/'", def->name);
    if (flags & PLK_PARSE_DEFINE && strchr(def->name, '\n'))
        return plk_fail(err, PLK_ERROR_XML_SYNTAX, "the name '%s' of a pool must be one line", def->name);
    return 0;
}

static int parse_uuid(const xmlNode *pool, PlkPoolDef *def, PlkError *err)
{
    g_autofree char *text = plk_element_text(pool, "uuid");

    if (!text)
        uuid_generate(def->uuid);
    else if (!plk_uuid_parse(text, def->uuid))
        return plk_fail(err, PLK_ERROR_XML, "pool '%s': the uuid '%s' is malformed", def->name, text);
    return 0;
}

static int parse_features(const xmlNode *pool, PlkPoolDef *def, PlkError *err)
{
    const xmlNode *cow = plk_element_find(pool, "features/cow");

    def->cow = -1;
    if (cow && plk_switch_parse(cow, "state", &def->cow, err) != 0)
        return -1;
    if (def->cow >= 0 && !plk_pool_traits(def->type)->cow)
        return plk_fail(err, PLK_ERROR_NO_SUPPORT, "pool '%s': copy on write cannot be chosen for a %s pool",
                        def->name, plk_pool_type_names[def->type]);
    return 0;
}

/* What the type needs of <source>. */
static int check_source(PlkPoolDef *def, PlkError *err)
{
    unsigned has = plk_pool_traits(def->type)->source;
    const char *missing = NULL;

    if (has & PLK_SOURCE_HOST && !def->source.n_hosts)
        missing = "a <host>";
    else if (has & PLK_SOURCE_DIR && !def->source.dir)
        missing = "a <dir>";
    else if (has == PLK_SOURCE_DEVICE && !def->source.n_devices)
        missing = "a <device>";
    if (missing)
        return plk_fail(err, PLK_ERROR_XML, "pool '%s': a %s pool needs %s in its <source>", def->name,
                        plk_pool_type_names[def->type], missing);
    if (has & PLK_SOURCE_NAME && !def->source.name)
        def->source.name = g_strdup(def->name);
    return has & PLK_SOURCE_ADAPTER ? plk_adapter_check(def->source.adapter, err) : 0;
}

static int parse_target(const xmlNode *pool, PlkPoolDef *def, PlkError *err)
{
    const PlkPoolTraits *traits = plk_pool_traits(def->type);
    g_autofree char *path = NULL;

    if (traits->remote)
        return 0;
    if (traits->target_in)
        path = g_strconcat(traits->target_in, def->source.name, NULL);
    else
        path = plk_element_text(pool, "target/path");
    if (!path)
        return plk_fail(err, PLK_ERROR_XML, "pool '%s': a %s pool needs a <path> in its <target>", def->name,
                        plk_pool_type_names[def->type]);
    def->target = plk_path_sanitise(path);
    return plk_permissions_parse(plk_element_find(pool, "target/permissions"), &def->permissions, err);
}

static int parse_refresh(const xmlNode *pool, PlkPoolDef *def, PlkError *err)
{
    static const char *const names[] = {"default", "capacity", NULL};

    def->refresh_allocation = plk_element_text(pool, "refresh/volume/@allocation");
    if (def->refresh_allocation && plk_name_index(names, def->refresh_allocation) < 0)
        return plk_fail(err, PLK_ERROR_CONFIG,
                        "pool '%s': the allocation '%s' of refreshed volumes is neither default nor capacity",
                        def->name, def->refresh_allocation);
    return 0;
}

static int parse(const xmlNode *pool, unsigned flags, PlkPoolDef *def, PlkError *err)
{
    if (parse_type(pool, def, err) != 0 ||
        plk_source_parse(plk_element_find(pool, "source"), def->type, &def->source, err) != 0 ||
        parse_name(pool, flags, def, err) != 0 || parse_uuid(pool, def, err) != 0 ||
        parse_features(pool, def, err) != 0 || check_source(def, err) != 0 || parse_target(pool, def, err) != 0)
        return -1;
    if (def->type == PLK_POOL_ISCSI_DIRECT && !def->source.initiator)
        return plk_fail(err, PLK_ERROR_CONFIG, "pool '%s': an iscsi-direct pool needs an <initiator> with its <iqn>",
                        def->name);
    return parse_refresh(pool, def, err) != 0 ? -1 : plk_pool_extras_parse(pool, def, err);
}

int plk_pool_def_parse(const char *xml, unsigned flags, PlkPoolDef **ret, PlkError *err)
{
    plk_cleanup(plk_document_freep) xmlDoc *doc = NULL;
    plk_cleanup(plk_pool_def_freep) PlkPoolDef *def = g_new0(PlkPoolDef, 1);

    def->permissions = def->volume_defaults = PLK_PERMISSIONS_NONE;
    if (plk_document_parse(xml, "pool", &doc, err) != 0)
        return -1;
    const xmlNode *pool = xmlDocGetRootElement(doc);
    if (flags & PLK_PARSE_VALIDATE && plk_schema_check_pool(pool, err) != 0)
        return -1;
    if (parse(pool, flags, def, err) != 0)
        return flags & PLK_PARSE_VALIDATE ? plk_schema_breach(err) : -1;
    *ret = g_steal_pointer(&def);
    return 0;
}
