/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keepalive: a program of two messages, PING and PONG. A ping is answered by the thread that reads it, whatever
 * else runs. Peers that asked for it (feature 10) are pinged after a silence; any frame is a sign of life.
 */
#pragma once

#include "rpc/peer.h"

/* The reading role: a frame of the keepalive program has come. */
void plk_keepalive_take(PlkPeer *peer, const PlkFrame *frame);
void plk_keepalive_begin(PlkPeer *peer);
/* From time to time: pings, or ends a peer that is silent for too long. */
void plk_keepalive_tick(PlkPeer *peer, int64_t now, unsigned interval_ms, unsigned count);
