/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What may stand in a definition, for those who ask to have theirs held against it (PLK_PARSE_VALIDATE): elements
 * and attributes nobody knows are refused rather than read over. XML_SCHEMA. Private to conf/.
 */
#pragma once

#include <libxml/tree.h>

#include <ploopkit/error.h>

int plk_schema_check_pool(const xmlNode *pool, PlkError *err);
int plk_schema_check_volume(const xmlNode *volume, PlkError *err);

/*
 * Returns -1. What a parser refused in a definition that was to be checked breaks the schema as well: *err (NULL is
 * fine) says so from then on.
 */
int plk_schema_breach(PlkError *err);
