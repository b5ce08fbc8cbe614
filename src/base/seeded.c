/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/seeded.h"

#ifdef PLK_SEEDED_BUGS
PlkSeed plk_seed;
#endif
