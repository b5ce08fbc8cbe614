/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One image file by its path, without a descriptor: what the commands on bare files open. */
#pragma once

#include "base/error.h"
#include "io/io.h"

/* Links in the path are followed: it was typed by the user, not read from a file. OPEN when it is not there.
 */
int plk_bare_open(const char *path, bool write, PlkIo **ret, PlkError *err);
/* The same, locked: exclusively to write, else shared. */
int plk_bare_open_locked(const char *path, bool write, PlkIo **ret, PlkError *err);
