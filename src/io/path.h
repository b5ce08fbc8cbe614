/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names within a PlkDir as text, for the directory backends. */
#pragma once

#include "io/dir.h"

/*
 * The canonical absolute path that `name` means in `dir`. -EINVAL: empty, or the root itself; -EXDEV: leaves
 * the root; -ENOMEM.
 */
int plk_path_resolve(const PlkDir *dir, const char *name, char **ret_path);
