/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <permissions>, wherever it stands. Private to conf/. */
#pragma once

#include <libxml/tree.h>

#include "conf/pool-def.h"
#include "conf/writer.h"

#define PLK_PERMISSIONS_NONE ((PlkPermissions){.mode = -1, .uid = -1, .gid = -1})

/* node NULL: nothing is given. *ret needs no clearing before. */
int plk_permissions_parse(const xmlNode *node, PlkPermissions *ret, PlkError *err);
bool plk_permissions_given(const PlkPermissions *permissions);
/* element: what it is called here. Nothing is written when nothing is given. */
void plk_permissions_write(PlkWriter *writer, const char *element, const PlkPermissions *permissions);
PlkPermissions plk_permissions_copy(const PlkPermissions *permissions);
