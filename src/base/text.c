/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

size_t plk_utf8_length(const char *text)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)text;
    size_t n = *s < 0x80 ? 1 : *s >> 5 == 6 ? 2 : *s >> 4 == 14 ? 3 : *s >> 3 == 30 ? 4 : 0;
    uint32_t c = n < 2 ? *s : *s & (0x7fu >> n);

    for (size_t i = 1; i < n; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (n && (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)))
        return 0;
    return n;
}

/* ESC and its kind exist twice: below 0x20, and as U+0080 to U+009F. */
static bool is_control(const unsigned char *s)
{
    return *s < 0x20 || *s == 0x7f || (s[0] == 0xc2 && s[1] < 0xa0);
}

/* One byte as an escape; returns its length. */
static size_t escape_byte(char out[PLK_ESCAPE_MAX + 1], unsigned char c)
{
    if (c == '\n' || c == '\t')
        return (size_t)sprintf(out, "\\%c", c == '\n' ? 'n' : 't');
    return (size_t)sprintf(out, "\\x%02x", c);
}

void plk_escape(char *out, size_t size, const char *text)
{
    assert(size > 0);
    while (*text) {
        size_t n = plk_utf8_length(text), used = n;
        char escaped[PLK_ESCAPE_MAX + 1];
        const char *piece = text;

        if (n == 0 || is_control((const unsigned char *)text)) {
            n = escape_byte(escaped, (unsigned char)*text);
            used = 1;
            piece = escaped;
        }
        if (n >= size)
            break;
        memcpy(out, piece, n);
        out += n;
        size -= n;
        text += used;
    }
    *out = '\0';
}
