/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Host bus adapters: scsi_host (one that is there, by its name or its place on the PCI bus) and fc_host (a virtual
 * port of Fibre Channel, by its world wide names).
 */
#include "conf/adapter.h"

#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "conf/document.h"
#include "conf/number.h"
#include "conf/source.h"

static const char *const type_names[] = {"default", "scsi_host", "fc_host", NULL};

/* The strings of an adapter, each an attribute; in the order they are printed. */
static const struct Field {
    const char *attribute;
    size_t offset;
} host_fields[] = {{"name", offsetof(PlkPoolAdapter, name)}, {0}},
  parent_fields[] = {
      {"parent", offsetof(PlkPoolAdapter, parent)},
      {"parent_wwnn", offsetof(PlkPoolAdapter, parent_wwnn)},
      {"parent_wwpn", offsetof(PlkPoolAdapter, parent_wwpn)},
      {"parent_fabric_wwn", offsetof(PlkPoolAdapter, parent_fabric_wwn)}, {0}},
  port_fields[] = {
      {"wwnn", offsetof(PlkPoolAdapter, wwnn)}, {"wwpn", offsetof(PlkPoolAdapter, wwpn)}, {0}};

static const struct Field *const all_fields[] = {host_fields, parent_fields, port_fields};

static char **field_of(const PlkPoolAdapter *adapter, const struct Field *field)
{
    return (char **)((char *)adapter + field->offset);
}

static void read_fields(const xmlNode *node, PlkPoolAdapter *adapter, const struct Field *field)
{
    for (; field->attribute; field++)
        *field_of(adapter, field) = plk_element_attribute(node, field->attribute);
}

static void write_fields(PlkWriter *writer, const PlkPoolAdapter *adapter, const struct Field *field)
{
    for (; field->attribute; field++)
        plk_write_attribute(writer, field->attribute, *field_of(adapter, field));
}

/* ---- parsing ---- */

/* A part of a PCI address, in whatever base it is written; 0 when it is missing. */
static int parse_part(const xmlNode *node, const char *attribute, unsigned max, unsigned *ret, PlkError *err)
{
    g_autofree char *text = plk_element_attribute(node, attribute);
    uint64_t part = 0;

    if (text && (!plk_number_parse_unsigned(text, 0, &part) || part > max))
        return plk_fail(err, PLK_ERROR_XML, "the %s '%s' of a PCI address is not a number up to 0x%x", attribute,
                        text, max);
    *ret = part;
    return 0;
}

static int parse_place(const xmlNode *parent, PlkPoolAdapter *adapter, PlkError *err)
{
    const xmlNode *address = plk_element_find(parent, "address");
    g_autofree char *id = plk_element_text(parent, "@unique_id");
    int64_t number;

    if (!address)
        return plk_fail(err, PLK_ERROR_XML, "the <parentaddr> of an adapter has no <address>");
    if (parse_part(address, "domain", 0xffff, &adapter->domain, err) != 0 ||
        parse_part(address, "bus", 0xff, &adapter->bus, err) != 0 ||
        parse_part(address, "slot", 0x1f, &adapter->slot, err) != 0 ||
        parse_part(address, "function", 7, &adapter->function, err) != 0)
        return -1;
    if (!id || !plk_number_parse(id, 10, &number) || number < 0 || number > INT32_MAX)
        return plk_fail(err, PLK_ERROR_XML, "the unique_id '%s' of an adapter's <parentaddr> is not a number",
                        id ? id : "");
    adapter->unique_id = number;
    adapter->has_parent = true;
    return 0;
}

/* Before it had types an adapter was just a name, and it still may be; but then it is nothing more. */
static int parse_untyped(const xmlNode *node, PlkPoolAdapter *adapter, PlkError *err)
{
    if (xmlHasNsProp(node, BAD_CAST "wwnn", NULL) || xmlHasNsProp(node, BAD_CAST "wwpn", NULL) ||
        xmlHasNsProp(node, BAD_CAST "parent", NULL) || plk_element_find(node, "parentaddr"))
        return plk_fail(err, PLK_ERROR_XML,
                        "an adapter with wwnn, wwpn, parent or parentaddr needs a type: scsi_host or fc_host");
    read_fields(node, adapter, host_fields);
    adapter->type = adapter->name ? PLK_ADAPTER_SCSI_HOST : PLK_ADAPTER_NONE;
    return 0;
}

static int parse(const xmlNode *node, PlkPoolAdapter *adapter, PlkError *err)
{
    g_autofree char *type = plk_element_attribute(node, "type");

    adapter->managed = -1;
    if (!type)
        return parse_untyped(node, adapter, err);
    int index = plk_name_index(type_names, type);
    if (index <= 0)
        return plk_fail(err, PLK_ERROR_XML, "the adapter type '%s' is none of scsi_host and fc_host", type);
    adapter->type = index;
    if (adapter->type == PLK_ADAPTER_FC_HOST) {
        read_fields(node, adapter, parent_fields);
        read_fields(node, adapter, port_fields);
        return plk_switch_parse(node, "managed", &adapter->managed, err);
    }
    read_fields(node, adapter, host_fields);
    const xmlNode *parent = plk_element_find(node, "parentaddr");
    return parent ? parse_place(parent, adapter, err) : 0;
}

int plk_adapter_parse(const xmlNode *node, PlkPoolAdapter **ret, PlkError *err)
{
    PlkPoolAdapter *adapter = g_new0(PlkPoolAdapter, 1);

    if (parse(node, adapter, err) != 0) {
        plk_adapter_free(adapter);
        return -1;
    }
    *ret = adapter;
    return 0;
}

/* ---- checking ---- */

static int check_wwn(const char *wwn, PlkError *err)
{
    if (wwn && (strlen(wwn) != 16 || strspn(wwn, "0123456789abcdefABCDEF") != 16))
        return plk_fail(err, PLK_ERROR_XML, "the world wide name '%s' of an adapter is not 16 hexadecimal digits",
                        wwn);
    return 0;
}

static int check_fc_host(const PlkPoolAdapter *adapter, PlkError *err)
{
    if (!adapter->wwnn || !adapter->wwpn)
        return plk_fail(err, PLK_ERROR_XML, "an fc_host adapter needs both wwnn and wwpn");
    if (check_wwn(adapter->wwnn, err) != 0 || check_wwn(adapter->wwpn, err) != 0 ||
        check_wwn(adapter->parent_wwnn, err) != 0 || check_wwn(adapter->parent_wwpn, err) != 0 ||
        check_wwn(adapter->parent_fabric_wwn, err) != 0)
        return -1;
    if (!adapter->parent_wwnn != !adapter->parent_wwpn)
        return plk_fail(err, PLK_ERROR_XML, "an fc_host adapter has parent_wwnn and parent_wwpn both, or neither");
    return 0;
}

int plk_adapter_check(const PlkPoolAdapter *adapter, PlkError *err)
{
    if (!adapter || adapter->type == PLK_ADAPTER_NONE)
        return plk_fail(err, PLK_ERROR_XML, "a scsi pool needs an <adapter> in its <source>");
    if (adapter->type == PLK_ADAPTER_FC_HOST)
        return check_fc_host(adapter, err);
    if (!adapter->name && !adapter->has_parent)
        return plk_fail(err, PLK_ERROR_XML, "a scsi_host adapter needs a name or a <parentaddr>");
    if (adapter->name && adapter->has_parent)
        return plk_fail(err, PLK_ERROR_XML, "a scsi_host adapter has a name or a <parentaddr>, not both");
    return 0;
}

/* ---- printing, copying, freeing ---- */

static void write_place(PlkWriter *writer, const PlkPoolAdapter *adapter)
{
    plk_write_open(writer);
    plk_write_start(writer, "parentaddr");
    plk_write_attribute_format(writer, "unique_id", "%d", adapter->unique_id);
    plk_write_open(writer);
    plk_write_start(writer, "address");
    plk_write_attribute_format(writer, "domain", "0x%04x", adapter->domain);
    plk_write_attribute_format(writer, "bus", "0x%02x", adapter->bus);
    plk_write_attribute_format(writer, "slot", "0x%02x", adapter->slot);
    plk_write_attribute_format(writer, "function", "0x%x", adapter->function);
    plk_write_empty(writer);
    plk_write_close(writer, "parentaddr");
    plk_write_close(writer, "adapter");
}

void plk_adapter_write(PlkWriter *writer, const PlkPoolAdapter *adapter)
{
    if (adapter->type == PLK_ADAPTER_NONE)
        return;
    plk_write_start(writer, "adapter");
    plk_write_attribute(writer, "type", type_names[adapter->type]);
    if (adapter->has_parent) {
        write_place(writer, adapter);
        return;
    }
    write_fields(writer, adapter, host_fields);
    write_fields(writer, adapter, parent_fields);
    plk_write_attribute(writer, "managed", plk_switch_name(adapter->managed));
    write_fields(writer, adapter, port_fields);
    plk_write_empty(writer);
}

PlkPoolAdapter *plk_adapter_copy(const PlkPoolAdapter *adapter)
{
    PlkPoolAdapter *copy = g_memdup2(adapter, sizeof(*adapter));

    for (size_t i = 0; copy && i < G_N_ELEMENTS(all_fields); i++)
        for (const struct Field *field = all_fields[i]; field->attribute; field++)
            *field_of(copy, field) = g_strdup(*field_of(adapter, field));
    return copy;
}

void plk_adapter_free(PlkPoolAdapter *adapter)
{
    for (size_t i = 0; adapter && i < G_N_ELEMENTS(all_fields); i++)
        for (const struct Field *field = all_fields[i]; field->attribute; field++)
            g_free(*field_of(adapter, field));
    g_free(adapter);
}
