/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The <adapter> of a scsi pool: which host bus adapter its disks hang on. Private to conf/. */
#pragma once

#include <libxml/tree.h>

#include "conf/pool-def.h"
#include "conf/writer.h"

typedef enum PlkAdapterType {
    PLK_ADAPTER_NONE, PLK_ADAPTER_SCSI_HOST, PLK_ADAPTER_FC_HOST
} PlkAdapterType;

typedef struct PlkPoolAdapter {
    PlkAdapterType type;
    /* scsi_host: a name, or a place on the PCI bus with a number of the port there */
    char *name;
    bool has_parent;
    unsigned domain, bus, slot, function;
    int unique_id;
    /* fc_host */
    char *parent, *parent_wwnn, *parent_wwpn, *parent_fabric_wwn, *wwnn, *wwpn;
    int managed; /* -1 = not given, 0 = no, 1 = yes */
} PlkPoolAdapter;

int plk_adapter_parse(const xmlNode *node, PlkPoolAdapter **ret, PlkError *err);
int plk_adapter_check(const PlkPoolAdapter *adapter, PlkError *err); /* is it complete? */
void plk_adapter_write(PlkWriter *writer, const PlkPoolAdapter *adapter);
PlkPoolAdapter *plk_adapter_copy(const PlkPoolAdapter *adapter);
void plk_adapter_free(PlkPoolAdapter *adapter); /* NULL is fine */
