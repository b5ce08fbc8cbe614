/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of `ploopctl vol`, by file. */
#pragma once

#include "ctl.h"

/* vol-create.c */
extern const PlkVerb plk_verb_vol_create, plk_verb_vol_create_as;
/* vol-clone.c */
extern const PlkVerb plk_verb_vol_create_from, plk_verb_vol_clone;
/* vol-list.c */
extern const PlkVerb plk_verb_vol_list;
/* vol-transfer.c */
extern const PlkVerb plk_verb_vol_upload, plk_verb_vol_download;
/* vol-info.c */
extern const PlkVerb plk_verb_vol_info, plk_verb_vol_dumpxml, plk_verb_vol_path, plk_verb_vol_key,
    plk_verb_vol_name, plk_verb_vol_pool, plk_verb_vol_map;

/* "Vol NAME created" or its JSON. */
int plk_say_volume(PlkPool *pool, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
