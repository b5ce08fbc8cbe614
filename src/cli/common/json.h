/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small JSON writer: indented, members in the order of the calls. Inside an array the key is NULL.
 * Nothing can fail here; a full disk shows when stdout is flushed at exit.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct PlkJson {
    FILE *out;
    unsigned depth;
    bool more; /* a comma goes in front of the next member */
} PlkJson;

void plk_json_open(PlkJson *j, const char *key, char bracket); /* '{' or '[' */
void plk_json_close(PlkJson *j, char bracket);                 /* '}' or ']'; a newline after the last one */
void plk_json_string(PlkJson *j, const char *key, const char *value); /* NULL = null */
void plk_json_uint(PlkJson *j, const char *key, uint64_t value);
void plk_json_bool(PlkJson *j, const char *key, bool value);
