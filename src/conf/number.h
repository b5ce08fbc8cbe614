/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole numbers and sizes in text: blanks in front are fine, anything behind is not. Private to conf/. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <ploopkit/error.h>

bool plk_number_parse(const char *text, int base, int64_t *ret);
bool plk_number_parse_unsigned(const char *text, int base, uint64_t *ret); /* no '-' */

/* number units, at most limit bytes. UNIT, OVERFLOW */
int plk_size_scale(uint64_t number, const char *unit, uint64_t limit, uint64_t *ret, PlkError *err);
