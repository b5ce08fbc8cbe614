/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The <source> of a pool: what parsers, printers and copiers of pools share. Private to conf/. */
#pragma once

#include <libxml/tree.h>

#include "conf/pool-def.h"
#include "conf/writer.h"

/* node: the <source>, or NULL for one that says nothing. What the type needs is not asked for yet. */
int plk_source_parse(const xmlNode *node, PlkPoolType type, PlkPoolSource *ret, PlkError *err);
void plk_source_write(PlkWriter *writer, PlkPoolType type, const PlkPoolSource *source);
PlkPoolSource plk_source_copy(const PlkPoolSource *source);

/* "yes" and "no" of an attribute: 1, 0; -1 when it is missing. */
int plk_switch_parse(const xmlNode *node, const char *attribute, int *ret, PlkError *err);
const char *plk_switch_name(int value); /* NULL for -1 */
