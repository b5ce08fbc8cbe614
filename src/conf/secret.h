/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <secret uuid='...'/> and <secret usage='...'/>: what names a secret, and never is one. Private to conf/. */
#pragma once

#include <libxml/tree.h>

#include "conf/pool-def.h"
#include "conf/writer.h"

/* One of *ret_uuid (in its usual form) and *ret_usage is set, the other NULL. XML */
int plk_secret_parse(const xmlNode *node, char **ret_uuid, char **ret_usage, PlkError *err);
void plk_secret_write(PlkWriter *writer, const char *type, const char *uuid, const char *usage);
