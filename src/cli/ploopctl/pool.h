/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of `ploopctl pool`, by file. */
#pragma once

#include "ctl.h"

extern const PlkVerb plk_pool_define, plk_pool_define_as, plk_pool_create, plk_pool_create_as;    /* pool-define.c */
extern const PlkVerb plk_pool_list_verb;                                                          /* pool-list.c */
extern const PlkVerb plk_pool_info_verb, plk_pool_dumpxml, plk_pool_name_verb, plk_pool_uuid,
    plk_pool_capabilities;                                                                        /* pool-info.c */
extern const PlkVerb plk_pool_edit;                                                               /* pool-edit.c */
