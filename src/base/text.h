/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text written by others, on its way to a terminal, a log or a JSON reader. */
#pragma once

#include <stddef.h>

/* Length of the UTF-8 sequence at text, 1 to 4; 0 when it is none (stray byte, overlong form, surrogate). */
size_t plk_utf8_length(const char *text);

/* What one byte can become below, NUL apart. */
#define PLK_ESCAPE_MAX 4

/*
 * Copies text to out, cut to `size` with its NUL. Control characters, those above 0x7f too, and bytes that
 * are not UTF-8 come out as \n, \t or \xNN: the result is one line and moves no cursor. Printable text, and
 * so text that was escaped before, stays as it is.
 */
void plk_escape(char *out, size_t size, const char *text);
