/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers and sizes in text. */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "conf/number.h"
#include "conf/volume-def.h"

bool plk_number_parse(const char *text, int base, int64_t *ret)
{
    char *end;

    errno = 0;
    gint64 value = g_ascii_strtoll(text, &end, base);
    if (errno || end == text || *end)
        return false;
    *ret = value;
    return true;
}

bool plk_number_parse_unsigned(const char *text, int base, uint64_t *ret)
{
    char *end;

    errno = 0;
    guint64 value = g_ascii_strtoull(text, &end, base);
    if (errno || end == text || *end || strchr(text, '-'))
        return false;
    *ret = value;
    return true;
}

/* "k", "KiB" are 1024, "KB" is 1000, and so on; 0 when it is no unit. */
static uint64_t unit_bytes(const char *unit)
{
    static const char letters[] = "kmgtpe";
    uint64_t base, bytes = 1;

    if (!unit || !*unit || g_ascii_strcasecmp(unit, "b") == 0 || g_ascii_strcasecmp(unit, "byte") == 0 ||
        g_ascii_strcasecmp(unit, "bytes") == 0)
        return 1;
    const char *letter = strchr(letters, g_ascii_tolower(unit[0]));
    if (!letter)
        return 0;
    if (!unit[1] || g_ascii_strcasecmp(unit + 1, "iB") == 0)
        base = 1024;
    else if (g_ascii_strcasecmp(unit + 1, "B") == 0)
        base = 1000;
    else
        return 0;
    for (const char *at = letters; at <= letter; at++)
        bytes *= base;
    return bytes;
}

int plk_size_scale(uint64_t number, const char *unit, uint64_t limit, uint64_t *ret, PlkError *err)
{
    uint64_t bytes = unit_bytes(unit);

    if (!bytes)
        return plk_fail(err, PLK_ERROR_UNIT, "a size has the unknown unit '%s': use K, M, G, T, KB, KiB or bytes",
                        unit);
    if (number > limit / bytes)
        return plk_fail(err, PLK_ERROR_OVERFLOW, "the size %" PRIu64 "%s is too large", number, unit ? unit : "");
    *ret = number * bytes;
    return 0;
}

int plk_scale_size(const char *number, const char *unit, uint64_t *ret, PlkError *err)
{
    uint64_t value;

    if (!plk_number_parse_unsigned(number, 10, &value))
        return plk_fail(err, PLK_ERROR_XML, "the size '%s' is not a whole number (a unit stands apart from it)",
                        number);
    return plk_size_scale(value, unit, INT64_MAX, ret, err);
}
