/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a pool's storage comes from: parse, print, copy, free. What a type has of it is in the table of types. */
#include "conf/source.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "conf/adapter.h"
#include "conf/document.h"
#include "conf/number.h"
#include "conf/pool-type.h"
#include "conf/secret.h"

static const char *const switch_names[] = {"no", "yes", NULL};
static const char *const auth_names[] = {"chap", "ceph", NULL};

int plk_switch_parse(const xmlNode *node, const char *attribute, int *ret, PlkError *err)
{
    g_autofree char *text = plk_element_attribute(node, attribute);

    if (!text)
        return 0;
    int index = plk_name_index(switch_names, text);
    if (index < 0)
        return plk_fail(err, PLK_ERROR_XML, "the %s '%s' of <%s> is neither yes nor no", attribute, text, node->name);
    *ret = index;
    return 0;
}

const char *plk_switch_name(int value)
{
    return value < 0 ? NULL : switch_names[value];
}

/* ---- parsing ---- */

static int parse_host(const xmlNode *node, PlkPoolHost *host, PlkError *err)
{
    g_autofree char *port = plk_element_attribute(node, "port");
    int64_t number = 0;

    host->name = plk_element_attribute(node, "name");
    if (!host->name)
        return plk_fail(err, PLK_ERROR_XML, "a <host> of a pool's <source> has no name");
    if (port && (!plk_number_parse(port, 10, &number) || number < INT32_MIN || number > INT32_MAX))
        return plk_fail(err, PLK_ERROR_XML, "the port '%s' of host '%s' is not a number", port, host->name);
    host->port = number;
    return 0;
}

static int parse_hosts(const xmlNode *node, PlkPoolSource *source, PlkError *err)
{
    for (const xmlNode *at = NULL; (at = plk_element_next(node, at, "host"));) {
        source->hosts = g_renew(PlkPoolHost, source->hosts, source->n_hosts + 1);
        PlkPoolHost *host = &source->hosts[source->n_hosts++];
        *host = (PlkPoolHost){0};
        if (parse_host(at, host, err) != 0)
            return -1;
    }
    return 0;
}

static int parse_devices(const xmlNode *node, PlkPoolSource *source, PlkError *err)
{
    for (const xmlNode *at = NULL; (at = plk_element_next(node, at, "device"));) {
        source->devices = g_renew(PlkPoolDevice, source->devices, source->n_devices + 1);
        PlkPoolDevice *device = &source->devices[source->n_devices++];
        *device = (PlkPoolDevice){.path = plk_element_attribute(at, "path"), .part_separator = -1};
        if (!device->path)
            return plk_fail(err, PLK_ERROR_XML, "a <device> of a pool's <source> has no path");
        if (plk_switch_parse(at, "part_separator", &device->part_separator, err) != 0)
            return -1;
    }
    return 0;
}

static int parse_auth(const xmlNode *node, PlkPoolSource *source, PlkError *err)
{
    const xmlNode *secret = plk_element_find(node, "secret");
    PlkPoolAuth *auth = source->auth = g_new0(PlkPoolAuth, 1);

    auth->username = plk_element_attribute(node, "username");
    if (!auth->username)
        return plk_fail(err, PLK_ERROR_XML, "the <auth> of a pool has no username");
    auth->type = plk_element_attribute(node, "type");
    if (auth->type && plk_name_index(auth_names, auth->type) < 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "the type '%s' of a pool's <auth> is neither chap nor ceph", auth->type);
    if (!secret)
        return plk_fail(err, PLK_ERROR_XML, "the <auth> of a pool has no <secret>");
    auth->secret_type = plk_element_attribute(secret, "type");
    if (plk_secret_parse(secret, &auth->secret_uuid, &auth->secret_usage, err) != 0)
        return -1;
    if (!auth->type)
        return plk_fail(err, PLK_ERROR_CONFIG, "the <auth> of a pool has no type: chap or ceph");
    return 0;
}

static int parse_format(const xmlNode *node, PlkPoolType type, PlkPoolSource *source, PlkError *err)
{
    const PlkFormatChoice *choice = &plk_pool_traits(type)->source_format;
    g_autofree char *name = plk_element_text(node, "format/@type");

    if (!choice->names)
        return 0;
    source->format = name ? plk_name_index(choice->names, name) : choice->by_default;
    if (source->format < 0)
        return plk_fail(err, PLK_ERROR_CONFIG, "the source format '%s' is not known to %s pools", name,
                        plk_pool_type_names[type]);
    return 0;
}

/* A version of NFS. Formats are compared by number, as libvirt does it: 0 is auto and 1 is nfs, for netfs. */
static int parse_protocol(const xmlNode *node, PlkPoolType type, PlkPoolSource *source, PlkError *err)
{
    source->protocol_ver = plk_element_text(node, "protocol/@ver");
    if (!source->protocol_ver)
        return 0;
    if (source->format > 1)
        return plk_fail(err, PLK_ERROR_CONFIG, "a source of format '%s' has no version of its protocol to choose",
                        plk_pool_traits(type)->source_format.names[source->format]);
    if (strchr(source->protocol_ver, ','))
        return plk_fail(err, PLK_ERROR_XML_SYNTAX, "the protocol version '%s' must not contain ','",
                        source->protocol_ver);
    return 0;
}

static void parse_names(const xmlNode *node, PlkPoolType type, PlkPoolSource *source)
{
    g_autofree char *dir = plk_element_text(node, "dir/@path");

    source->name = plk_element_text(node, "name");
    source->initiator = plk_element_text(node, "initiator/iqn/@name");
    source->vendor = plk_element_text(node, "vendor/@name");
    source->product = plk_element_text(node, "product/@name");
    if (!dir && type == PLK_POOL_GLUSTER)
        dir = g_strdup("/");
    source->dir = dir ? plk_path_sanitise(dir) : NULL;
}

static int parse(const xmlNode *node, PlkPoolType type, PlkPoolSource *source, PlkError *err)
{
    parse_names(node, type, source);
    if (type == PLK_POOL_RBD && !source->name)
        return plk_fail(err, PLK_ERROR_XML, "an rbd pool needs a <name> in its <source>: the name of the Ceph pool");
    if (parse_format(node, type, source, err) != 0 || parse_hosts(node, source, err) != 0 ||
        parse_devices(node, source, err) != 0)
        return -1;
    const xmlNode *adapter = plk_element_find(node, "adapter");
    if (adapter && plk_adapter_parse(adapter, &source->adapter, err) != 0)
        return -1;
    const xmlNode *auth = plk_element_find(node, "auth");
    if (auth && parse_auth(auth, source, err) != 0)
        return -1;
    return parse_protocol(node, type, source, err);
}

int plk_source_parse(const xmlNode *node, PlkPoolType type, PlkPoolSource *ret, PlkError *err)
{
    PlkPoolSource source = {.format = plk_pool_traits(type)->source_format.by_default};

    if (node && parse(node, type, &source, err) != 0) {
        plk_pool_source_clear(&source);
        return -1;
    }
    *ret = source;
    return 0;
}

int plk_pool_source_parse(const char *xml, PlkPoolType type, PlkPoolSource *ret, PlkError *err)
{
    plk_cleanup(plk_document_freep) xmlDoc *doc = NULL;

    if (plk_document_parse(xml, "source", &doc, err) != 0)
        return -1;
    return plk_source_parse(xmlDocGetRootElement(doc), type, ret, err);
}

/* ---- printing ---- */

static void write_hosts(PlkWriter *writer, const PlkPoolSource *source)
{
    for (size_t i = 0; i < source->n_hosts; i++) {
        plk_write_start(writer, "host");
        plk_write_attribute(writer, "name", source->hosts[i].name);
        if (source->hosts[i].port)
            plk_write_attribute_format(writer, "port", "%d", source->hosts[i].port);
        plk_write_empty(writer);
    }
}

static void write_devices(PlkWriter *writer, const PlkPoolSource *source)
{
    for (size_t i = 0; i < source->n_devices; i++) {
        plk_write_start(writer, "device");
        plk_write_attribute(writer, "path", source->devices[i].path);
        plk_write_attribute(writer, "part_separator", plk_switch_name(source->devices[i].part_separator));
        plk_write_empty(writer);
    }
}

static void write_single(PlkWriter *writer, const char *element, const char *attribute, const char *value)
{
    if (!value)
        return;
    plk_write_start(writer, element);
    plk_write_attribute(writer, attribute, value);
    plk_write_empty(writer);
}

static void write_auth(PlkWriter *writer, const PlkPoolAuth *auth)
{
    plk_write_start(writer, "auth");
    plk_write_attribute(writer, "type", auth->type);
    plk_write_attribute(writer, "username", auth->username);
    plk_write_open(writer);
    plk_secret_write(writer, auth->secret_type, auth->secret_uuid, auth->secret_usage);
    plk_write_close(writer, "auth");
}

static void write_initiator(PlkWriter *writer, const char *initiator)
{
    plk_write_section(writer, "initiator");
    write_single(writer, "iqn", "name", initiator);
    plk_write_close(writer, "initiator");
}

void plk_source_write(PlkWriter *writer, PlkPoolType type, const PlkPoolSource *source)
{
    const PlkPoolTraits *traits = plk_pool_traits(type);

    plk_write_section(writer, "source");
    if (traits->source & PLK_SOURCE_HOST)
        write_hosts(writer, source);
    if (traits->source & PLK_SOURCE_DEVICE)
        write_devices(writer, source);
    if (traits->source & PLK_SOURCE_DIR)
        write_single(writer, "dir", "path", source->dir);
    if (traits->source & PLK_SOURCE_ADAPTER && source->adapter)
        plk_adapter_write(writer, source->adapter);
    if (traits->source & PLK_SOURCE_NAME)
        plk_write_text(writer, "name", source->name);
    if (traits->source & PLK_SOURCE_INITIATOR && source->initiator)
        write_initiator(writer, source->initiator);
    if (traits->source_format.names)
        plk_write_typed(writer, "format", traits->source_format.names[source->format]);
    if (source->auth)
        write_auth(writer, source->auth);
    write_single(writer, "protocol", "ver", source->protocol_ver);
    write_single(writer, "vendor", "name", source->vendor);
    write_single(writer, "product", "name", source->product);
    plk_write_close(writer, "source");
}

char *plk_pool_sources_format(PlkPoolType type, const PlkPoolSource *sources, size_t n)
{
    PlkWriter writer = plk_writer_begin();

    plk_write_section(&writer, "sources");
    for (size_t i = 0; i < n; i++)
        plk_source_write(&writer, type, &sources[i]);
    plk_write_close(&writer, "sources");
    return plk_writer_finish(&writer);
}

/* ---- copying, freeing ---- */

static PlkPoolAuth *copy_auth(const PlkPoolAuth *auth)
{
    PlkPoolAuth *copy = g_new(PlkPoolAuth, 1);

    *copy = (PlkPoolAuth){
        .type = g_strdup(auth->type),
        .username = g_strdup(auth->username),
        .secret_type = g_strdup(auth->secret_type),
        .secret_uuid = g_strdup(auth->secret_uuid),
        .secret_usage = g_strdup(auth->secret_usage),
    };
    return copy;
}

PlkPoolSource plk_source_copy(const PlkPoolSource *source)
{
    PlkPoolSource copy = *source;

    copy.hosts = g_memdup2(source->hosts, source->n_hosts * sizeof(*source->hosts));
    for (size_t i = 0; i < copy.n_hosts; i++)
        copy.hosts[i].name = g_strdup(source->hosts[i].name);
    copy.devices = g_memdup2(source->devices, source->n_devices * sizeof(*source->devices));
    for (size_t i = 0; i < copy.n_devices; i++)
        copy.devices[i].path = g_strdup(source->devices[i].path);
    copy.dir = g_strdup(source->dir);
    copy.name = g_strdup(source->name);
    copy.initiator = g_strdup(source->initiator);
    copy.vendor = g_strdup(source->vendor);
    copy.product = g_strdup(source->product);
    copy.protocol_ver = g_strdup(source->protocol_ver);
    copy.adapter = plk_adapter_copy(source->adapter);
    copy.auth = source->auth ? copy_auth(source->auth) : NULL;
    return copy;
}

static void free_auth(PlkPoolAuth *auth)
{
    g_free(auth->type);
    g_free(auth->username);
    g_free(auth->secret_type);
    g_free(auth->secret_uuid);
    g_free(auth->secret_usage);
    g_free(auth);
}

void plk_pool_source_clear(PlkPoolSource *source)
{
    for (size_t i = 0; i < source->n_hosts; i++)
        g_free(source->hosts[i].name);
    for (size_t i = 0; i < source->n_devices; i++)
        g_free(source->devices[i].path);
    g_free(source->hosts);
    g_free(source->devices);
    g_free(source->dir);
    g_free(source->name);
    g_free(source->initiator);
    g_free(source->vendor);
    g_free(source->product);
    g_free(source->protocol_ver);
    plk_adapter_free(source->adapter);
    if (source->auth)
        free_auth(source->auth);
    *source = (PlkPoolSource){0};
}
