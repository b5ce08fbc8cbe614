/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A storage daemon in this process, as ploopd is one: the same server, procedures, events and pools, on a tmpfs nobody else
 * sees. world_begin() makes it anew for each input, world_end() leaves nothing of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define WORLD "/mnt" /* in a mount namespace of our own */

typedef enum Door {
    DOOR_OPEN,      /* nobody need show who he is */
    DOOR_POLKIT,    /* who he is must be asked first; root is let in then */
    DOOR_READ_ONLY,
    DOORS
} Door;

void world_prepare(void); /* once; exits with 77 where such a namespace is not to be had */
void world_begin(void);
void world_end(void);
int world_connect(Door door); /* a socket that does not block */
/* All that was sent is carried out: no thread is at work, and there are as many peers as that. */
bool world_is_calm(unsigned peers);
unsigned world_descriptors(void); /* of this process */
int64_t world_ms(void);
