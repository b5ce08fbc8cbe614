/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UUIDs as people write them. */
#include <glib.h>
#include <stdio.h>

#include "conf/pool-def.h"

void plk_uuid_format(const unsigned char uuid[PLK_UUID_BYTES], char ret[PLK_UUID_CHARS + 1])
{
    char *at = ret;

    for (int i = 0; i < PLK_UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        at += sprintf(at, "%02x", uuid[i]);
    }
}

bool plk_uuid_parse(const char *text, unsigned char ret[PLK_UUID_BYTES])
{
    unsigned char uuid[PLK_UUID_BYTES];
    int n = 0;

    while (g_ascii_isspace(*text))
        text++;
    while (n < PLK_UUID_BYTES) {
        if (*text == '-' || *text == ' ') {
            text++;
            continue;
        }
        if (!g_ascii_isxdigit(text[0]) || !g_ascii_isxdigit(text[1]))
            return false;
        uuid[n++] = g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]);
        text += 2;
    }
    while (g_ascii_isspace(*text))
        text++;
    if (*text)
        return false;
    memcpy(ret, uuid, sizeof(uuid));
    return true;
}
