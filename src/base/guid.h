/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * GUIDs as ploop writes them: "{8-4-4-4-12}" hex in braces. The text is kept as found (case
 * included); comparison ignores case.
 */
#pragma once

#include <stdbool.h>

#define PLK_GUID_LEN 38

typedef struct PlkGuid {
    char text[PLK_GUID_LEN + 1];
} PlkGuid;

extern const PlkGuid PLK_GUID_NONE; /* {00000000-...}: the parent of a base image */
extern const PlkGuid PLK_GUID_TOP;  /* {5fbaabe3-...}: always the active state */

/* Accepts the braced or the bare 36-character form; false when it is neither. */
bool plk_guid_parse(const char *text, PlkGuid *ret);
bool plk_guid_equal(const PlkGuid *a, const PlkGuid *b);
void plk_guid_random(PlkGuid *ret);
