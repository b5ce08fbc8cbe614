/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of `ploopctl pool`, by file. */
#pragma once

#include "ctl.h"

/* pool-define.c */
extern const PlkVerb plk_verb_pool_define, plk_verb_pool_define_as, plk_verb_pool_create,
    plk_verb_pool_create_as;
/* pool-list.c */
extern const PlkVerb plk_verb_pool_list;
/* pool-info.c */
extern const PlkVerb plk_verb_pool_info, plk_verb_pool_dumpxml, plk_verb_pool_name, plk_verb_pool_uuid,
    plk_verb_pool_capabilities;
/* pool-edit.c */
extern const PlkVerb plk_verb_pool_edit;
/* pool-find.c */
extern const PlkVerb plk_verb_pool_find_sources;
