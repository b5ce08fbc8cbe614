/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "disk/disk.h"

/* BAT pages one flush writes behind one data sync; also how many may be dirty before a writer flushes. */
#define PLK_FLUSH_BATCH 256

/* With flush_lock held. 0 or -errno. */
int plk_disk_flush_locked(PlkDisk *disk);
