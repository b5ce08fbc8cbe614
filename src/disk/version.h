/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conversion between the format's versions in place, and rolling back one that was cut short; see version.c for how it runs. */
#pragma once

#include <ploopkit/create.h>

#include "disk/store.h"

int plk_store_convert_version(PlkStore *store, int to, const PlkProgress *progress, PlkError *err);
/* With the descriptor locked and loaded. Cheap when there is nothing to do. */
int plk_version_recover(PlkStore *store, PlkError *err);
