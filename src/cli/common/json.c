/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON text. Paths need not be UTF-8: bytes that are not come out as U+FFFD, so that the text always parses.
 */
#include "json.h"

#include <inttypes.h>

#include "base/text.h"

static void put_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (const char *s = text; *s;) {
        size_t n = plk_utf8_length(s);

        if (n == 0)
            fputs("\\ufffd", out);
        else if (*s == '"' || *s == '\\')
            fprintf(out, "\\%c", *s);
        else if ((unsigned char)*s < 0x20 || *s == 0x7f)
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
