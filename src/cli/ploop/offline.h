/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What takes a kernel device or a mount and is refused. */
#pragma once

/* "Error: NAME DETAIL: not supported ..."; returns PLK_EXIT_NOT_MOUNTED. */
int plk_offline_only(const char *name, const char *detail);
