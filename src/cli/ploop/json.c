/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON text. Paths need not be UTF-8: bytes that are not come out as U+FFFD, so that the text always parses.
 */
#include "json.h"

#include <inttypes.h>
#include <string.h>

/* Length of the UTF-8 sequence at s, 0 when it is none (stray byte, overlong form, surrogate). */
static size_t utf8_length(const unsigned char *s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
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

static void put_text(FILE *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    fputc('"', out);
    while (*s) {
        size_t n = utf8_length(s);

        if (n == 0)
            fputs("\\ufffd", out);
        else if (*s == '"' || *s == '\\')
            fprintf(out, "\\%c", *s);
        else if (*s < 0x20 || *s == 0x7f)
            fprintf(out, "\\u%04x", *s);
        else
            fwrite(s, 1, n, out);
        s += n ? n : 1;
    }
    fputc('"', out);
}

static void start_member(PlkJson *j, const char *key)
{
    if (j->depth)
        fprintf(j->out, "%s\n%*s", j->more ? "," : "", (int)(2 * j->depth), "");
    if (key) {
        put_text(j->out, key);
        fputs(": ", j->out);
    }
    j->more = true;
}

void plk_json_open(PlkJson *j, const char *key, char bracket)
{
    start_member(j, key);
    fputc(bracket, j->out);
    j->depth++;
    j->more = false;
}

void plk_json_close(PlkJson *j, char bracket)
{
    j->depth--;
    if (j->more)
        fprintf(j->out, "\n%*s", (int)(2 * j->depth), "");
    fputc(bracket, j->out);
    j->more = true;
    if (!j->depth)
        fputc('\n', j->out);
}

void plk_json_string(PlkJson *j, const char *key, const char *value)
{
    start_member(j, key);
    if (value)
        put_text(j->out, value);
    else
        fputs("null", j->out);
}

void plk_json_uint(PlkJson *j, const char *key, uint64_t value)
{
    start_member(j, key);
    fprintf(j->out, "%" PRIu64, value);
}

void plk_json_bool(PlkJson *j, const char *key, bool value)
{
    start_member(j, key);
    fputs(value ? "true" : "false", j->out);
}
