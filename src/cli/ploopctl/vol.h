/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of `ploopctl vol`, by file. */
#pragma once

#include "ctl.h"

extern const PlkVerb plk_vol_create, plk_vol_create_as;          /* vol-create.c */
extern const PlkVerb plk_vol_create_from, plk_vol_clone;         /* vol-clone.c */
extern const PlkVerb plk_vol_list;                               /* vol-list.c */
extern const PlkVerb plk_vol_upload, plk_vol_download;           /* vol-transfer.c */
extern const PlkVerb plk_vol_info, plk_vol_dumpxml, plk_vol_path, plk_vol_key, plk_vol_name, plk_vol_pool,
    plk_vol_map;                                                 /* vol-info.c */

/* "Vol NAME created" or its JSON. */
int plk_say_volume(PlkPool *pool, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
