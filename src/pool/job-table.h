/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The jobs of this process; storage->jobs. */
#pragma once

#include "pool/job.h"

typedef struct PlkJobTable PlkJobTable;

PlkJobTable *plk_job_table_new(void);
/* Cancels all, and waits until the last has ended. */
void plk_job_table_free(PlkJobTable *table);
