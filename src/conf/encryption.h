/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <encryption> of a volume. Private to conf/. */
#pragma once

#include <libxml/tree.h>

#include "conf/volume-def.h"
#include "conf/writer.h"

int plk_encryption_parse(const xmlNode *node, PlkEncryptionDef **ret, PlkError *err);
void plk_encryption_write(PlkWriter *writer, const PlkEncryptionDef *encryption);
PlkEncryptionDef *plk_encryption_copy(const PlkEncryptionDef *encryption); /* NULL is fine */
void plk_encryption_free(PlkEncryptionDef *encryption);                    /* NULL is fine */
