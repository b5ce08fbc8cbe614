/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking polkit on the system bus. Waits for its answer, in the thread of the call. */
#pragma once

#include "rpc/peer.h"

typedef struct PlkPolkitDetail {
    const char *name, *value; /* value NULL: left out */
} PlkPolkitDetail;

/*
 * Whether `who` may do `action`. details ends with a NULL name; NULL = none. AUTH when polkit says no, AUTH_UNAVAILABLE
 * when somebody would have to give a password and there is no agent to ask for it, or ask_person is false; AUTH, too, when polkit
 * cannot be asked.
 */
int plk_polkit_check(const PlkIdentity *who, const char *action, const PlkPolkitDetail *details, bool ask_person, PlkError *err);
