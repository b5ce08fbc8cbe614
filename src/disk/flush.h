/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "disk/disk.h"

/* With flush_lock held. 0 or -errno. */
int plk_disk_flush_locked(PlkDisk *disk);
