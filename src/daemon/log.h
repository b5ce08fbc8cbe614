/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the daemon says of itself: to the journal with fields (PLOOPKIT_POOL=, _VOLUME=, _CLIENT=, _JOB=) when it runs under
 * systemd, else one line to standard error. What it says at DEBUG is chosen by PLK_DEBUG and --verbose, while it runs.
 */
#pragma once

#include <syslog.h>

typedef struct PlkLogFields {
    const char *pool, *volume, *job; /* NULL: not about one */
    unsigned long client;            /* 0 = not about one */
} PlkLogFields;

/* What the calling thread works on, for the fields of all it says until the next such call: NULL = nothing. */
void plk_log_about(const char *pool, const char *volume);
void plk_log_setup(int highest_level); /* of syslog: LOG_INFO, LOG_DEBUG */
/* fields may be NULL. Any thread. */
void plk_log(int level, const PlkLogFields *fields, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
