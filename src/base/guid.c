/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/guid.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <uuid/uuid.h>

const PlkGuid PLK_GUID_NONE = {"{00000000-0000-0000-0000-000000000000}"};
const PlkGuid PLK_GUID_TOP = {"{5fbaabe3-6958-40ff-92a7-860e329aab41}"};

bool plk_guid_parse(const char *text, PlkGuid *ret)
{
    size_t len = strnlen(text, PLK_GUID_LEN + 1);
    PlkGuid g = {"{"};

    if (len == PLK_GUID_LEN && text[0] == '{' && text[PLK_GUID_LEN - 1] == '}')
        text++;
    else if (len != PLK_GUID_LEN - 2)
        return false;
    for (int i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
    }
    memcpy(g.text + 1, text, 36);
    g.text[37] = '}';
    *ret = g;
    return true;
}

bool plk_guid_equal(const PlkGuid *a, const PlkGuid *b)
{
    return strcasecmp(a->text, b->text) == 0;
}

void plk_guid_random(PlkGuid *ret)
{
    uuid_t u;
    char text[37];

    uuid_generate_random(u);
    uuid_unparse_lower(u, text);
    plk_guid_parse(text, ret);
}
