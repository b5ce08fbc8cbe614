/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stands in a pool's definition in a namespace: options of mounts (fs) and of Ceph (rbd), which are libvirt's,
 * and defaults of volumes, which are ours. Private to conf/.
 */
#pragma once

#include <libxml/tree.h>

#include "conf/pool-def.h"
#include "conf/writer.h"

int plk_pool_extras_parse(const xmlNode *pool, PlkPoolDef *def, PlkError *err);
void plk_pool_extras_declare(PlkWriter *writer, const PlkPoolDef *def); /* attributes of <pool> */
void plk_pool_extras_write(PlkWriter *writer, const PlkPoolDef *def);   /* the last children of <pool> */
/* Is node one of the elements read here, for a pool of this type? */
bool plk_pool_extras_own(const xmlNode *node, PlkPoolType type);
