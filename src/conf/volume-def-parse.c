/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From XML to the definition of a volume. As with pools, what nobody knows is read over unless it is to be checked. */
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "conf/document.h"
#include "conf/encryption.h"
#include "conf/number.h"
#include "conf/permissions.h"
#include "conf/pool-type.h"
#include "conf/schema.h"

static int parse_kind(const xmlNode *volume, PlkVolumeDef *def, PlkError *err)
{
    g_autofree char *type = plk_element_text(volume, "@type");

    def->name = plk_element_text(volume, "name");
    def->key = plk_element_text(volume, "key");
    if (!def->name)
        return plk_fail(err, PLK_ERROR_XML, "the volume has no <name>");
    int index = type ? plk_name_index(plk_volume_type_names, type) : PLK_VOLUME_FILE;
    if (index < 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "volume '%s': '%s' is not a type of volume", def->name, type);
    def->type = index;
    return 0;
}

static int parse_format(const xmlNode *from, const char *path, PlkPoolType pool, int *ret, PlkError *err)
{
    const PlkFormatChoice *choice = &plk_pool_traits(pool)->volume_format;
    g_autofree char *name = plk_element_text(from, path);

    if (!choice->names)
        return 0;
    int index = name ? plk_name_index(choice->names, name) : choice->by_default;
    if (index < choice->first)
        return plk_fail(err, PLK_ERROR_CONFIG, "'%s' is not a format for volumes of a %s pool", name,
                        plk_pool_type_names[pool]);
    *ret = index;
    return 0;
}

static int parse_backing(const xmlNode *volume, PlkPoolType pool, PlkVolumeDef *def, PlkError *err)
{
    g_autofree char *path = plk_element_text(volume, "backingStore/path");

    if (!path)
        return 0;
    def->backing = g_new0(PlkVolumeTarget, 1);
    def->backing->path = g_steal_pointer(&path);
    def->backing->permissions = PLK_PERMISSIONS_NONE;
    if (parse_format(volume, "backingStore/format/@type", pool, &def->backing->format, err) != 0)
        return -1;
    return plk_permissions_parse(plk_element_find(volume, "backingStore/permissions"), &def->backing->permissions, err);
}

/* 0 with *ret_given false when there is no such element, or an empty one. */
static int parse_size(const xmlNode *volume, const char *element, bool *ret_given, uint64_t *ret, PlkError *err)
{
    g_autofree char *unit_path = g_strconcat(element, "/@unit", NULL);
    g_autofree char *number = plk_element_text(volume, element);
    g_autofree char *unit = plk_element_text(volume, unit_path);

    *ret_given = number != NULL;
    if (!number || plk_scale_size(number, unit, ret, err) == 0)
        return 0;
    plk_error_prefix(err, "%s: ", element);
    return -1;
}

static int parse_sizes(const xmlNode *volume, unsigned flags, PlkVolumeDef *def, PlkError *err)
{
    if (parse_size(volume, "capacity", &def->has_capacity, &def->capacity, err) != 0 ||
        parse_size(volume, "allocation", &def->has_allocation, &def->allocation, err) != 0)
        return -1;
    if (!def->has_capacity && !def->backing && !(flags & PLK_PARSE_OPT_CAPACITY))
        return plk_fail(err, PLK_ERROR_XML, "it has no <capacity>");
    if (!def->has_allocation)
        def->allocation = def->capacity;
    return 0;
}

/* "1.1": digits, a dot, digits. */
static bool is_version(const char *text)
{
    size_t major = strspn(text, "0123456789");
    size_t minor = text[major] == '.' ? strspn(text + major + 1, "0123456789") : 0;
    return major && minor && !text[major + 1 + minor];
}

static int parse_features(const xmlNode *features, PlkVolumeTarget *target, PlkError *err)
{
    for (const xmlNode *node = features->children; node; node = node->next) {
        const char *name = (const char *)node->name;
        if (node->type != XML_ELEMENT_NODE)
            continue;
        if (strcmp(name, "lazy_refcounts") == 0)
            target->lazy_refcounts = true;
        else if (strcmp(name, "extended_l2") == 0)
            target->extended_l2 = true;
        else
            return plk_fail(err, PLK_ERROR_CONFIG, "'%s' is not a feature of a volume's format", name);
    }
    target->has_features = true;
    if (!target->compat)
        target->compat = g_strdup("1.1");
    return 0;
}

static int parse_cluster(const xmlNode *node, PlkVolumeTarget *target, PlkError *err)
{
    g_autofree char *text = plk_element_text(node, "clusterSize");
    g_autofree char *unit = plk_element_text(node, "clusterSize/@unit");
    uint64_t number;

    if (!text)
        return 0;
    if (!plk_number_parse_unsigned(text, 10, &number))
        return plk_fail(err, PLK_ERROR_XML, "the clusterSize '%s' is not a whole number", text);
    return plk_size_scale(number, unit, UINT64_MAX, &target->cluster, err);
}

static int parse_target(const xmlNode *node, PlkVolumeTarget *target, PlkError *err)
{
    const xmlNode *encryption = plk_element_find(node, "encryption"), *features = plk_element_find(node, "features");

    target->path = plk_element_text(node, "path");
    target->nocow = plk_element_find(node, "nocow");
    target->compat = plk_element_text(node, "compat");
    if (plk_permissions_parse(plk_element_find(node, "permissions"), &target->permissions, err) != 0)
        return -1;
    if (encryption && plk_encryption_parse(encryption, &target->encryption, err) != 0)
        return -1;
    if (target->compat && !is_version(target->compat))
        return plk_fail(err, PLK_ERROR_XML, "the compat '%s' is not two numbers with a dot between", target->compat);
    if (parse_cluster(node, target, err) != 0)
        return -1;
    return features ? parse_features(features, target, err) : 0;
}

static int parse(const xmlNode *volume, PlkPoolType pool, unsigned flags, PlkVolumeDef *def, PlkError *err)
{
    const xmlNode *target = plk_element_find(volume, "target");

    if (parse_kind(volume, def, err) != 0)
        return -1;
    if (parse_backing(volume, pool, def, err) == 0 && parse_sizes(volume, flags, def, err) == 0 &&
        parse_format(volume, "target/format/@type", pool, &def->target.format, err) == 0 &&
        (!target || parse_target(target, &def->target, err) == 0))
        return 0;
    plk_error_prefix(err, "volume '%s': ", def->name);
    return -1;
}

int plk_volume_def_parse(const char *xml, PlkPoolType pool, unsigned flags, PlkVolumeDef **ret, PlkError *err)
{
    plk_cleanup(plk_document_freep) xmlDoc *doc = NULL;
    plk_cleanup(plk_volume_def_freep) PlkVolumeDef *def = g_new0(PlkVolumeDef, 1);

    def->target.permissions = PLK_PERMISSIONS_NONE;
    if (plk_document_parse(xml, "volume", &doc, err) != 0)
        return -1;
    const xmlNode *volume = xmlDocGetRootElement(doc);
    if (flags & PLK_PARSE_VALIDATE && plk_schema_check_volume(volume, err) != 0)
        return -1;
    if (parse(volume, pool, flags, def, err) != 0)
        return flags & PLK_PARSE_VALIDATE ? plk_schema_breach(err) : -1;
    *ret = g_steal_pointer(&def);
    return 0;
}
