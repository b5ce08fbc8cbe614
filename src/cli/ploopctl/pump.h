/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes between a file descriptor and a volume's stream, with the progress bar, until the end, an error or a
 * signal. The stream is neither finished nor closed here.
 */
#pragma once

#include "volume/stream.h"

/*
 * At most `length` bytes. sparse: holes of a regular file become holes of the volume. A pipe is waited for in
 * poll(), so that a signal ends the wait.
 */
int plk_pump_in(int fd, const char *name, PlkStream *to, uint64_t length, bool sparse, PlkError *err);
/* sparse: holes of the volume become holes where fd is a regular file. total: for the progress; 0 = unknown.
 */
int plk_pump_out(PlkStream *from, int fd, const char *name, uint64_t total, bool sparse, PlkError *err);
