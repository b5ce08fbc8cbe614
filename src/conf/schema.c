/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The structure of definitions, one row an element. A row says where the element stands, what attributes it has,
 * what its text is and which types of pools have it. Values with a meaning of their own (formats, modes, uuids) are
 * not judged here: whoever asks for a check asks the parser as well.
 */
#include "conf/schema.h"

#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "conf/document.h"
#include "conf/pool-extras.h"
#include "conf/pool-type.h"

typedef enum Text {
    NOTHING, /* elements may stand in it, text may not */
    ANYTHING,
    ABSOLUTE, /* a path from the root */
    WHOLE,    /* a number without a sign */
    TIME,     /* seconds, maybe with a fraction */
} Text;

typedef struct Rule {
    const char *path;
    const char *attributes; /* with a blank behind each; '!' in front of those that must be there */
    Text text;
    bool repeats;
    unsigned types; /* bit by PlkPoolType; 0: every one */
} Rule;

#define T(type) (1u << PLK_POOL_##type)
#define HOSTED (T(NETFS) | T(ISCSI) | T(ISCSI_DIRECT) | T(RBD) | T(SHEEPDOG) | T(GLUSTER))
#define DEVICED (T(FS) | T(LOGICAL) | T(DISK) | T(ISCSI) | T(ISCSI_DIRECT) | T(ZFS))
#define NAMED (T(LOGICAL) | T(RBD) | T(SHEEPDOG) | T(GLUSTER) | T(ZFS) | T(VSTORAGE))
#define FORMATTED (T(FS) | T(NETFS) | T(LOGICAL) | T(DISK))
#define INITIATED (T(ISCSI) | T(ISCSI_DIRECT))
#define PLACED (~(T(RBD) | T(SHEEPDOG) | T(GLUSTER) | T(ISCSI_DIRECT)))
#define SOLD (T(DIR) | T(FS) | T(NETFS) | T(LOGICAL) | T(DISK) | T(ISCSI) | T(SCSI))

#define PERMISSIONS(at, types) \
    {at "/permissions", "", NOTHING, false, types}, {at "/permissions/mode", "", ANYTHING, false, types}, \
        {at "/permissions/owner", "", ANYTHING, false, types}, \
        {at "/permissions/group", "", ANYTHING, false, types}, \
        {at "/permissions/label", "", ANYTHING, false, types}

#define TIMESTAMPS(at) \
    {at "/timestamps", "", NOTHING}, {at "/timestamps/atime", "", TIME}, {at "/timestamps/mtime", "", TIME}, \
        {at "/timestamps/ctime", "", TIME}, {at "/timestamps/btime", "", TIME}

static const Rule pool_rules[] = {
    {"pool", "!type "},
    {"pool/name", "", ANYTHING},
    {"pool/uuid", "", ANYTHING},
    {"pool/capacity", "unit ", WHOLE},
    {"pool/allocation", "unit ", WHOLE},
    {"pool/available", "unit ", WHOLE},
    {"pool/features", ""},
    {"pool/features/cow", "!state "},
    {"pool/source", ""},
    {"pool/source/host", "!name port ", NOTHING, true, HOSTED},
    {"pool/source/device", "!path part_separator ", NOTHING, true, DEVICED},
    {"pool/source/device/freeExtent", "!start !end ", NOTHING, true, DEVICED},
    {"pool/source/dir", "!path ", NOTHING, false, T(NETFS) | T(GLUSTER)},
    {"pool/source/adapter", "type name parent managed parent_wwnn parent_wwpn parent_fabric_wwn wwnn wwpn ", NOTHING,
     false, T(SCSI)},
    {"pool/source/adapter/parentaddr", "!unique_id ", NOTHING, false, T(SCSI)},
    {"pool/source/adapter/parentaddr/address", "domain bus slot function ", NOTHING, false, T(SCSI)},
    {"pool/source/name", "", ANYTHING, false, NAMED},
    {"pool/source/initiator", "", NOTHING, false, INITIATED},
    {"pool/source/initiator/iqn", "!name ", NOTHING, false, INITIATED},
    {"pool/source/format", "!type ", NOTHING, false, FORMATTED},
    {"pool/source/auth", "!type !username ", NOTHING, false, INITIATED | T(RBD)},
    {"pool/source/auth/secret", "uuid usage ", NOTHING, false, INITIATED | T(RBD)},
    {"pool/source/protocol", "!ver ", NOTHING, false, T(NETFS)},
    {"pool/source/vendor", "!name ", NOTHING, false, SOLD},
    {"pool/source/product", "!name ", NOTHING, false, SOLD},
    {"pool/target", "", NOTHING, false, PLACED},
    {"pool/target/path", "", ABSOLUTE, false, PLACED},
    PERMISSIONS("pool/target", PLACED),
    {"pool/refresh", "", NOTHING, false, T(RBD)},
    {"pool/refresh/volume", "allocation ", NOTHING, false, T(RBD)},
    {0}};

static const Rule volume_rules[] = {
    {"volume", "type "},
    {"volume/name", "", ANYTHING},
    {"volume/key", "", ANYTHING},
    {"volume/source", ""},
    {"volume/source/device", "!path ", NOTHING, true},
    {"volume/source/device/extent", "!start !end ", NOTHING, true},
    {"volume/capacity", "unit ", WHOLE},
    {"volume/allocation", "unit ", WHOLE},
    {"volume/physical", "unit ", WHOLE},
    {"volume/target", ""},
    {"volume/target/path", "", ANYTHING},
    {"volume/target/format", "!type "},
    PERMISSIONS("volume/target", 0),
    TIMESTAMPS("volume/target"),
    {"volume/target/encryption", "!format engine "},
    {"volume/target/encryption/secret", "!type uuid usage "},
    {"volume/target/encryption/cipher", "!name !size mode hash "},
    {"volume/target/encryption/ivgen", "!name hash "},
    {"volume/target/compat", "", ANYTHING},
    {"volume/target/nocow", ""},
    {"volume/target/clusterSize", "unit ", WHOLE},
    {"volume/target/features", ""},
    {"volume/target/features/lazy_refcounts", ""},
    {"volume/target/features/extended_l2", ""},
    {"volume/backingStore", ""},
    {"volume/backingStore/path", "", ABSOLUTE},
    {"volume/backingStore/format", "!type "},
    PERMISSIONS("volume/backingStore", 0),
    TIMESTAMPS("volume/backingStore"),
    {0}};

typedef struct Schema {
    const Rule *rules;
    int type; /* of the pool; -1 for a volume */
} Schema;

static const Rule *find_rule(const Schema *schema, const char *path)
{
    for (const Rule *rule = schema->rules; rule->path; rule++)
        if (strcmp(rule->path, path) == 0 && (!rule->types || schema->type < 0 || rule->types >> schema->type & 1))
            return rule;
    return NULL;
}

/* ---- attributes ---- */

static bool lists(const char *attributes, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = attributes; *at; at = strchr(at, ' ') + 1) {
        at += *at == '!';
        if (strncmp(at, name, len) == 0 && at[len] == ' ')
            return true;
    }
    return false;
}

static int check_attributes(const Rule *rule, const xmlNode *node, PlkError *err)
{
    for (const xmlAttr *attr = node->properties; attr; attr = attr->next)
        if (attr->ns || !lists(rule->attributes, (const char *)attr->name))
            return plk_fail(err, PLK_ERROR_XML_SCHEMA, "line %ld: <%s> has no attribute '%s'", xmlGetLineNo(node),
                            node->name, attr->name);
    for (const char *at = strchr(rule->attributes, '!'); at; at = strchr(at + 1, '!')) {
        g_autofree char *name = g_strndup(at + 1, strcspn(at + 1, " "));
        if (!xmlHasNsProp(node, BAD_CAST name, NULL))
            return plk_fail(err, PLK_ERROR_XML_SCHEMA, "line %ld: <%s> lacks its attribute '%s'", xmlGetLineNo(node),
                            node->name, name);
    }
    return 0;
}

/* ---- text ---- */

static bool is_time(const char *text)
{
    size_t seconds = strspn(text, "0123456789");
    bool fraction = seconds && text[seconds] == '.';
    size_t digits = fraction ? strspn(text + seconds + 1, "0123456789") : 0;
    return seconds && digits <= 9 && !text[seconds + fraction + digits];
}

static bool text_fits(Text kind, char *text)
{
    switch (kind) {
    case NOTHING:
        return !*g_strstrip(text);
    case ABSOLUTE:
        return text[0] == '/';
    case WHOLE:
        g_strstrip(text);
        return *text && !text[strspn(text, "0123456789")];
    case TIME:
        return is_time(text);
    case ANYTHING:
        break;
    }
    return true;
}

/* The text of an element itself, without that of the elements in it. */
static char *own_text(const xmlNode *node)
{
    GString *text = g_string_new("");

    for (const xmlNode *child = node->children; child; child = child->next)
        if (child->type == XML_TEXT_NODE || child->type == XML_CDATA_SECTION_NODE)
            g_string_append(text, (const char *)child->content);
    return g_string_free(text, FALSE);
}

static int check_text(const Rule *rule, const xmlNode *node, PlkError *err)
{
    static const char *const wanted[] = {
        [NOTHING] = "no text in it", [ANYTHING] = "", [ABSOLUTE] = "a path that begins with '/'",
        [WHOLE] = "a whole number", [TIME] = "a number of seconds"};
    g_autofree char *text = own_text(node);

    if (!text_fits(rule->text, text))
        return plk_fail(err, PLK_ERROR_XML_SCHEMA, "line %ld: <%s> must have %s", xmlGetLineNo(node), node->name,
                        wanted[rule->text]);
    return 0;
}

/* ---- elements ---- */

static bool appeared_before(const xmlNode *node)
{
    for (const xmlNode *at = node->prev; at; at = at->prev)
        if (at->type == XML_ELEMENT_NODE && strcmp((const char *)at->name, (const char *)node->name) == 0)
            return true;
    return false;
}

static int check_element(const Schema *schema, const char *parent, const xmlNode *node, PlkError *err)
{
    g_autofree char *path = g_strconcat(parent, *parent ? "/" : "", node->name, NULL);
    const Rule *rule = node->ns ? NULL : find_rule(schema, path);

    if (schema->type >= 0 && strcmp(parent, "pool") == 0 && plk_pool_extras_own(node, schema->type))
        return 0;
    if (!rule)
        return plk_fail(err, PLK_ERROR_XML_SCHEMA, "line %ld: <%s> does not belong into %s%s%s", xmlGetLineNo(node),
                        node->name, parent, schema->type < 0 ? "" : " of type ",
                        schema->type < 0 ? "" : plk_pool_type_names[schema->type]);
    if (!rule->repeats && *parent && appeared_before(node))
        return plk_fail(err, PLK_ERROR_XML_SCHEMA, "line %ld: <%s> is there a second time", xmlGetLineNo(node),
                        node->name);
    if (check_attributes(rule, node, err) != 0 || check_text(rule, node, err) != 0)
        return -1;
    for (const xmlNode *child = node->children; child; child = child->next)
        if (child->type == XML_ELEMENT_NODE && check_element(schema, path, child, err) != 0)
            return -1;
    return 0;
}

int plk_schema_check_pool(const xmlNode *pool, PlkError *err)
{
    g_autofree char *type = plk_element_attribute(pool, "type");
    int index = type ? plk_name_index(plk_pool_type_names, type) : -2;

    if (index < 0)
        return plk_fail(err, PLK_ERROR_XML_SCHEMA, "'%s' is not a type of pool", type ? type : "");
    return check_element(&(Schema){pool_rules, index}, "", pool, err);
}

int plk_schema_check_volume(const xmlNode *volume, PlkError *err)
{
    return check_element(&(Schema){volume_rules, -1}, "", volume, err);
}

int plk_schema_breach(PlkError *err)
{
    if (!err)
        return -1;
    switch (err->code) {
    case PLK_ERROR_XML:
    case PLK_ERROR_CONFIG:
    case PLK_ERROR_UNIT:
        err->code = PLK_ERROR_XML_SCHEMA;
        break;
    default:
        break;
    }
    return -1;
}
