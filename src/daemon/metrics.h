/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Figures for OpenMetrics: peers, calls with their times, pools with their sizes and volumes, jobs. Served as text over
 * HTTP/1.0 on a unix socket, a connection a time:
 *
 *     curl --unix-socket PATH http://localhost/metrics
 */
#pragma once

#include "daemon/daemon.h"

typedef struct PlkMetrics PlkMetrics;

/* Serves from a thread of its own. path is borrowed. */
int plk_metrics_new(PlkDaemon *daemon, const char *path, PlkMetrics **ret, PlkError *err);
void plk_metrics_free(PlkMetrics *metrics); /* NULL is fine */

/* A call of libvirt's program has been answered. Any thread; costs a few atomic additions. */
void plk_metrics_note(const PlkProcedure *procedure, uint64_t nanoseconds, bool failed);
