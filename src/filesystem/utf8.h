/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stretch of code whose thread takes file names for UTF-8. libarchive converts the names in pax headers by
 * the locale and gives up in "C", which is what daemons and libvirt's helpers run in.
 */
#pragma once

#include <locale.h>

typedef struct PlkUtf8 {
    locale_t utf8, old;
} PlkUtf8;

static inline PlkUtf8 plk_utf8_begin(void)
{
    PlkUtf8 u = {.utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0)};

    if (u.utf8)
        u.old = uselocale(u.utf8);
    return u;
}

static inline void plk_utf8_end(PlkUtf8 *u)
{
    if (!u->utf8)
        return;
    uselocale(u->old);
    freelocale(u->utf8);
}

/* From here to the end of the scope. */
#define PLK_UTF8_SCOPE                                                                                       \
    plk_cleanup(plk_utf8_end) PlkUtf8 utf8_scope_ __attribute__((unused)) = plk_utf8_begin()
