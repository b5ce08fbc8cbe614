/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What changes the state of pools: done here, or, if a daemon owns the state, asked of it over its socket. Work on
 * volumes is done here in any case; the daemon sees it as it sees that of any other process.
 */
#pragma once

#include "ctl.h"

/* As the functions of pool/storage.h. def is taken over; on success session->pool is the pool. */
int plk_state_define(PlkSession *session, PlkPoolDef *def, PlkError *err);
int plk_state_create(PlkSession *session, PlkPoolDef *def, unsigned flags, PlkError *err);

int plk_state_build(PlkSession *session, unsigned flags, PlkError *err);
int plk_state_start(PlkSession *session, unsigned flags, PlkError *err);
int plk_state_destroy(PlkSession *session, PlkError *err);
int plk_state_delete(PlkSession *session, PlkError *err);
int plk_state_undefine(PlkSession *session, PlkError *err);
int plk_state_refresh(PlkSession *session, PlkError *err);
int plk_state_set_autostart(PlkSession *session, bool on, PlkError *err);
