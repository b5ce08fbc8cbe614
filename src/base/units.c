/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/units.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/math.h"

#define SECTORS_LIMIT (0xffffffffull * 512)

int plk_parse_sectors(const char *text, uint64_t *ret_sectors)
{
    unsigned long long v;
    uint64_t unit = 1, sectors;
    char *end;

    if (!isdigit((unsigned char)text[0])) /* strtoull would take signs and blanks */
        return -EINVAL;
    errno = 0;
    v = strtoull(text, &end, 0);
    if (errno == ERANGE)
        return -ERANGE;
    switch (toupper((unsigned char)*end)) {
    case 'T':
        unit = 1ull << 31;
        break;
    case 'G':
        unit = 1ull << 21;
        break;
    case 'M':
        unit = 1ull << 11;
        break;
    case 'K':
        unit = 2;
        break;
    case '\0':
        break;
    default:
        return -EINVAL;
    }
    if (*end && end[1])
        return -EINVAL;
    if (PLK_MUL_OVERFLOW((uint64_t)v, unit, &sectors) || sectors >= SECTORS_LIMIT)
        return -ERANGE;
    *ret_sectors = sectors;
    return 0;
}

const char *plk_human_size(uint64_t bytes, char *buf, size_t len)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    unsigned u = 0;

    while (v >= 1024 && u < 6) {
        v /= 1024;
        u++;
    }
    snprintf(buf, len, v == (double)(uint64_t)v ? "%.0f %s" : "%.1f %s", v, unit[u]);
    return buf;
}
