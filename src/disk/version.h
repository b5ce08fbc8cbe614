/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rolling back a version conversion that was cut short; see version.c for how one runs. */
#pragma once

#include "disk/store.h"

/* With the descriptor locked and loaded. Cheap when there is nothing to do. */
int plk_version_recover(PlkStore *store, PlkError *err);
